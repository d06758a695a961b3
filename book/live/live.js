/* The Live button: this page's Python, run in the reader's browser.
 *
 * A worker runs the cells (worker.js, kernel.py); nothing is fetched but files of this book.  Widgets
 * then take any value, cells can be edited and run.  If Python cannot be loaded, the page stays as it is.
 */
(() => {
  "use strict";
  const HERE = document.currentScript.src;
  const cells = [...document.querySelectorAll(".cell")].filter((cell) => cell.querySelector(".cell_input pre"));
  if (!cells.length || !location.protocol.startsWith("http")) return;

  const sources = cells.map((cell) => cell.querySelector(".cell_input pre"));
  const bar = document.createElement("div");
  bar.className = "live-bar";
  bar.innerHTML = '<button type="button">Live</button><span role="status">Run this page’s Python in your browser (9 MB): any value in its widgets, code to edit.</span>';
  const [button, status] = bar.children;
  document.querySelector("article h1").after(bar);
  button.addEventListener("click", start);

  const open = new Map();
  let worker;
  let count = 0;

  function call(what, given) {
    count += 1;
    worker.postMessage({ id: count, what, arguments: given });
    return new Promise((resolve) => open.set(count, resolve));
  }

  const code = () => sources.map((source) => source.textContent.replace(/\n$/, ""));

  async function start() {
    button.disabled = true;
    status.textContent = "Loading Python ...";
    try {
      await new Promise((resolve, reject) => {
        worker = new Worker(new URL("worker.js", HERE), { type: "module" });
        worker.onerror = (event) => reject(new Error(event.message || "the worker did not start"));
        worker.onmessage = ({ data }) => {
          if (data.ready) resolve();
          else if (data.failed) reject(new Error(data.failed));
          else {
            open.get(data.id)(data.found);
            open.delete(data.id);
          }
        };
      });
      for (const [place, cell] of cells.entries()) {
        if (cell.querySelector(".kv-explore")) await run(place);
      }
      cells.forEach(editable);
      bar.dataset.live = "yes";
      status.textContent = "Live: widgets take any value, cells can be edited and run.";
    } catch (error) {
      worker?.terminate();
      button.disabled = false;
      status.textContent = `Python could not be loaded (${error.message}). The page stays as it is.`;
    }
  }

  /* ---- cells ---- */

  async function run(place) {
    const cell = cells[place];
    const found = await call("run", { cells: code(), place });
    let output = cell.querySelector(".cell_output");
    if (!output) {
      output = document.createElement("div");
      output.className = "cell_output docutils container";
      cell.append(output);
    }
    if (found.widget && !found.error) {
      const old = document.getElementById(`kv-${found.widget}`);
      if (output.contains(old) && !old.dataset.live && !cell.dataset.edited) {
        enliven(old, found);
        return;
      }
    }
    output.replaceChildren();
    for (const [kind, text] of Object.entries({ text: found.text, value: found.value, error: found.error })) {
      if (!text) continue;
      const shown = document.createElement("pre");
      shown.className = `output live-${kind}`;
      shown.textContent = text;
      output.append(shown);
    }
    if (found.html) {
      const shown = document.createElement("div");
      shown.className = "output text_html";
      shown.innerHTML = found.html;
      output.append(shown);
      if (found.widget) {
        window.kvlibWidgets.start();
        enliven(shown.querySelector(".kv-explore"), found);
      }
    }
  }

  function editable(cell, place) {
    const source = sources[place];
    const original = source.innerHTML;
    source.contentEditable = "plaintext-only";
    source.spellcheck = false;
    source.setAttribute("role", "textbox");
    source.setAttribute("aria-multiline", "true");
    source.setAttribute("aria-label", `Code of cell ${place + 1}`);
    const tools = document.createElement("div");
    tools.className = "live-tools";
    tools.innerHTML = '<button type="button">Run</button><button type="button" hidden>Undo edits</button><span role="status"></span>';
    const [go, undo, said] = tools.children;
    source.closest(".cell_input").append(tools);
    async function execute() {
      go.disabled = true;
      said.textContent = "running ...";
      await run(place);
      go.disabled = false;
      said.textContent = "";
    }
    go.addEventListener("click", execute);
    undo.addEventListener("click", () => {
      source.innerHTML = original;
      undo.hidden = true;
      execute();
    });
    source.addEventListener("input", () => {
      cell.dataset.edited = "yes";
      undo.hidden = false;
    });
    source.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && event.shiftKey) {
        event.preventDefault();
        execute();
      }
    });
  }

  /* ---- widgets ---- */

  function enliven(root, { widget: name, axes }) {
    const widget = root.widget;
    const view = root.querySelector(".kv-view");
    const readers = widget.controls.map((control, place) => {
      const { numbers, whole } = axes[place];
      if (!numbers) return () => control.selectedIndex;
      const box = document.createElement("input");
      Object.assign(box, { type: "number", min: numbers[0], max: numbers.at(-1), step: whole ? 1 : "any" });
      box.className = "kv-any";
      box.ariaLabel = `${widget.held.axes[place].label}, any value from ${numbers[0]} to ${numbers.at(-1)}`;
      box.value = numbers[control.value];
      control.parentElement.querySelector("output").replaceWith(box);
      control.addEventListener("input", () => { box.value = numbers[control.value]; }, { capture: true });
      box.addEventListener("input", () => {
        if (!box.validity.valid || box.value === "") return;
        const nearest = numbers.reduce((best, own, at) => Math.abs(own - box.value) < Math.abs(numbers[best] - box.value) ? at : best, 0);
        control.value = nearest;
        widget.move();
      });
      return () => Number(box.value);
    });
    let asked = false;
    let again = false;
    widget.show = async () => {
      again = true;
      if (asked) return;
      asked = true;
      while (again) {
        again = false;
        const found = await call("ask", { name, values: readers.map((read) => read()) });
        if (found.error) {
          const why = view.querySelector(".kv-why");
          why.hidden = false;
          why.style.display = "";
          why.textContent = found.error;
          continue;
        }
        view.innerHTML = found.view;
        widget.bind();
        widget.controls.forEach((control, place) => control.setAttribute("aria-valuetext", found.texts[place]));
      }
      asked = false;
    };
    root.dataset.live = "yes";
  }
})();
