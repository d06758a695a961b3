/* The Live button: this page's Python, run in the reader's browser.
 *
 * A worker runs the cells (worker.js, kernel.py); nothing is fetched but files of this book.  Widgets
 * then take any value, and cells can be edited and run.  If Python cannot be loaded, the page stays
 * as it is.
 */
(() => {
  "use strict";

  const HERE = document.currentScript.src;
  const WIDGETS = document.querySelector(".kv-explore") ? "widgets take any value, " : "";
  const OFFER = `Run this page’s Python in your browser (9 MB): ${WIDGETS}cells can be edited and run.`;
  const NOT_RUN = ".tag_no-output, .tag_nbval-ignore-output"; // set-up; figures and timings
  const cells = [...document.querySelectorAll(".cell:has(.cell_input pre)")];
  if (!cells.length || !location.protocol.startsWith("http")) return;
  const sources = cells.map((cell) => cell.querySelector(".cell_input pre"));

  function made(tag, properties, ...children) {
    const element = Object.assign(document.createElement(tag), properties);
    element.append(...children);
    return element;
  }

  /* The code of a cell, folded or not; editing may leave <br> for a line's end. */
  function code(source) {
    const copy = source.cloneNode(true);
    for (const end of copy.querySelectorAll("br")) end.replaceWith("\n");
    return copy.textContent.replace(/\n$/, "");
  }

  /* ---- the worker ---- */

  let worker;
  let calls = 0;
  const open = new Map();

  function boot() {
    return new Promise((resolve, reject) => {
      worker = new Worker(new URL("worker.js", HERE), { type: "module" });
      worker.onerror = (event) => reject(new Error(event.message || "the worker did not start"));
      worker.onmessage = ({ data }) => {
        if (data.ready) resolve();
        else if (data.failed) reject(new Error(data.failed));
        else settle(data.id, data.found);
      };
    });
  }

  function settle(id, found) {
    open.get(id)(found);
    open.delete(id);
  }

  /* Ask the worker; a call always says which code is meant, because a worker may be a new one. */
  function call(what, place, more = {}) {
    const id = (calls += 1);
    worker.postMessage({ id, what, arguments: { cells: sources.map(code), place, ...more } });
    return new Promise((resolve) => open.set(id, resolve));
  }

  function stop() {
    worker.terminate();
    boot().catch(() => {});
    for (const id of [...open.keys()]) settle(id, { error: "stopped" });
  }

  /* ---- the button ---- */

  const button = made("button", { type: "button", textContent: "Live" });
  const status = made("span", { role: "status", textContent: OFFER });
  const bar = made("div", { className: "live-bar" }, button, status);
  document.querySelector("article h1").after(bar);

  button.addEventListener("click", async () => {
    button.disabled = true;
    status.textContent = "Loading Python ...";
    try {
      await boot();
    } catch (error) {
      worker.terminate();
      button.disabled = false;
      status.textContent = `Python could not be loaded: ${error.message}. The page stays as it is.`;
      return;
    }
    let rest = "";
    for (const [place, cell] of cells.entries()) {
      const face = cell.querySelector(".kv-explore");
      if (!face) continue;
      const found = await call("run", place, { held: { [face.id.slice(3)]: face.widget.held } });
      if (found.widget) show(place, found);
      else rest = ` A widget keeps its held values: ${found.error.split("\n")[0]}`;
    }
    cells.forEach(edit);
    bar.dataset.live = "yes";
    status.textContent = `Live: ${WIDGETS}cells can be edited, and run with Shift+Enter.${rest}`;
  });

  /* ---- cells ---- */

  function edit(cell, place) {
    const source = sources[place];
    source.contentEditable = "plaintext-only";
    source.spellcheck = false;
    source.role = "textbox";
    source.ariaMultiLine = "true";
    source.ariaLabel = `Code of cell ${place + 1}`;
    source.addEventListener("input", () => { cell.dataset.edited = "yes"; });
    if (cell.matches(NOT_RUN)) return;
    const run = made("button", { type: "button", textContent: "Run" });
    source.closest(".cell_input").append(made("div", { className: "live-tools" }, run));
    run.addEventListener("click", async () => {
      if (run.textContent === "Stop") return stop();
      run.textContent = "Stop";
      show(place, await call("run", place));
      run.textContent = "Run";
    });
    source.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || !event.shiftKey) return;
      event.preventDefault();
      if (run.textContent === "Run") run.click();
    });
  }

  function show(place, found) {
    const cell = cells[place];
    let output = cell.querySelector(".cell_output");
    const face = output?.querySelector(".kv-explore");
    if (face && found.widget && !face.dataset.live && !cell.dataset.edited) return enliven(face, place, found);
    if (!output) cell.append((output = made("div", { className: "cell_output docutils container" })));
    const parts = ["text", "value", "error"].filter((kind) => found[kind]);
    output.replaceChildren(...parts.map((kind) => made("pre", { className: `live-${kind}`, textContent: found[kind] })));
    output.querySelectorAll("pre").forEach(window.wrapSentences);
    if (found.html) output.append(made("div", { className: "output text_html", innerHTML: found.html }));
    if (found.widget) {
      window.kvlibWidgets.start();
      enliven(output.querySelector(".kv-explore"), place, found);
    }
  }

  /* ---- widgets ---- */

  function enliven(face, place, { widget: name, axes }) {
    const widget = face.widget;
    const view = face.querySelector(".kv-view");
    const reading = widget.controls.map((control, at) => reader(widget, control, at, axes[at]));
    let wanted = false;
    let busy = false;
    widget.show = async () => {
      wanted = true;
      if (busy) return; // what is asked last is answered last; what lies between is skipped
      busy = true;
      while (wanted) {
        wanted = false;
        const found = await call("ask", place, { name, values: reading.map((read) => read()) });
        if (found.error) view.replaceChildren(made("p", { className: "live-error", textContent: found.error }));
        else {
          view.innerHTML = found.view;
          widget.bind();
          widget.controls.forEach((control, at) => { if (axes[at].numbers) control.ariaValueText = found.texts[at]; });
        }
      }
      busy = false;
    };
    face.dataset.live = "yes";
  }

  /* Give a slider a box that takes any number; return how its control is read. */
  function reader(widget, control, at, { numbers, whole }) {
    if (!numbers) return () => control.selectedIndex;
    const [min, max] = [numbers[0], numbers.at(-1)];
    const box = made("input", { type: "number", className: "kv-any", min, max, step: whole ? 1 : "any" });
    box.ariaLabel = `${widget.held.axes[at].label}, any value from ${min} to ${max}`;
    box.value = numbers[control.value];
    control.parentElement.querySelector("output").replaceWith(box);
    control.addEventListener("input", () => { box.value = numbers[control.value]; }, { capture: true });
    box.addEventListener("input", () => {
      if (!box.validity.valid || box.value === "") return;
      const distances = numbers.map((number) => Math.abs(number - box.value));
      control.value = distances.indexOf(Math.min(...distances));
      widget.move();
    });
    return () => Number(box.value);
  }
})();
