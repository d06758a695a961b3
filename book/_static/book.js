/* What the theme leaves open: names for those who hear the page, frames for what is wide. */
"use strict";

const COLUMNS = /\S {2,}\S/; // what is printed in columns keeps its lines

function wrapSentences(printed) {
  printed.classList.toggle("sentences", !COLUMNS.test(printed.textContent));
}

document.addEventListener("DOMContentLoaded", () => {
  for (const toggle of document.querySelectorAll(".bd-sidebar-primary summary")) {
    const page = toggle.closest("li")?.querySelector("a");
    toggle.ariaLabel = `Pages under ${page?.textContent.trim() ?? "this one"}`;
  }
  for (const list of document.querySelectorAll("main [role=list]")) {
    const items = [...list.children];
    if (items.some((item) => item.role !== "listitem" && item.tagName !== "LI")) list.removeAttribute("role");
  }
  document.querySelectorAll(".cell_output pre").forEach(wrapSentences);
  const figures = [...document.querySelectorAll(".cell_output figure > img")].map((image) => {
    const frame = Object.assign(document.createElement("div"), { className: "figure-frame" });
    image.replaceWith(frame);
    frame.append(image);
    return frame;
  });
  const tables = [...document.querySelectorAll(".pst-scrollable-table-container, .catalogue")];
  const reach = () => {
    for (const frame of [...figures, ...tables]) {
      const scrolls = frame.scrollWidth > frame.clientWidth;
      frame.tabIndex = scrolls ? 0 : -1;
      frame.role = scrolls ? "group" : null;
      frame.ariaLabel = scrolls ? "Scrolls sideways" : null;
    }
  };
  window.addEventListener("load", reach);
  window.addEventListener("resize", reach);
});
