/* Names for what the theme leaves nameless, for those who hear the page. */
"use strict";

document.addEventListener("DOMContentLoaded", () => {
  for (const toggle of document.querySelectorAll(".bd-sidebar-primary summary")) {
    const page = toggle.closest("li")?.querySelector("a");
    toggle.ariaLabel = `Pages under ${page?.textContent.trim() ?? "this one"}`;
  }
  for (const list of document.querySelectorAll("main [role=list]")) {
    const items = [...list.children];
    if (items.some((item) => item.role !== "listitem" && item.tagName !== "LI")) list.removeAttribute("role");
  }
});
