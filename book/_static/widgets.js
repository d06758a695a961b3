/* Moves the widgets that kvlib.widgets.explore puts on a page.
 *
 * Each widget carries its whole grid as JSON.  When a control moves, the held numbers are written
 * into the table and the paths of the chart are drawn anew, on the scales that Python chose.
 * Nothing is computed but places on those scales, nothing between the held values is made up.
 */
(() => {
  "use strict";

  const MISSING = "not available";
  const SUPERSCRIPT = { "-": "⁻", 0: "⁰", 1: "¹", 2: "²", 3: "³", 4: "⁴", 5: "⁵", 6: "⁶", 7: "⁷", 8: "⁸", 9: "⁹" };

  /* As kvlib.widgets._text.number writes it. */
  function written(value) {
    if (value === 0) return "0";
    const sign = value < 0 ? "−" : "";
    const size = Math.abs(value);
    if (size >= 1e-3 && size < 1e9) {
      const [whole, rest] = String(size).split(".");
      const grouped = whole.length > 4 ? whole.replace(/\B(?=(\d{3})+$)/g, "\u202f") : whole;
      return sign + grouped + (rest ? `.${rest}` : "");
    }
    const [mantissa, exponent] = size.toExponential().split("e");
    const power = exponent.replace("+", "").replace(/./g, (digit) => SUPERSCRIPT[digit]);
    return `${sign}${mantissa} × 10${power}`;
  }

  /* A number's place on a scale [low, high, logarithmic, start, end]; as kvlib.widgets._scale. */
  function place([low, high, log, start, end], value) {
    if (log && value <= 0) return start;
    const part = log ? Math.log(value / low) / Math.log(high / low) : (value - low) / (high - low);
    return Math.round(10 * (start + part * (end - start))) / 10;
  }

  /* A row-major place in a table; along an axis of size 1 the result never changes. */
  function flat(shape, positions) {
    return positions.reduce((sum, at, axis) => sum * shape[axis] + (shape[axis] > 1 ? at : 0), 0);
  }

  function reveal(part, shown) {
    part.hidden = !shown;
    part.style.display = shown ? "" : "none";
  }

  class Widget {
    constructor(root) {
      this.root = root;
      this.held = JSON.parse(root.querySelector('script[type="application/json"]').textContent);
      this.controls = [...root.querySelectorAll("[data-axis]")];
      this.said = root.querySelector(".kv-said");
      this.bind();
      for (const control of this.controls) control.addEventListener("input", () => this.move());
      reveal(root.querySelector(".kv-controls"), true);
      if (this.controls.some((control) => this.at(control) !== this.first(control))) this.show();
    }

    /* Find what moves. */
    bind() {
      const view = this.root.querySelector(".kv-view");
      this.caption = view.querySelector("caption");
      this.cells = [...view.querySelectorAll(".kv-value")];
      this.why = view.querySelector(".kv-why");
      this.paths = [...view.querySelectorAll(".kv-chart svg > path")];
      this.tabled = this.held.results.filter((result) => result.length === null);
    }

    at(control) {
      return control.tagName === "SELECT" ? control.selectedIndex : Number(control.value);
    }

    first(control) {
      if (control.tagName !== "SELECT") return Number(control.defaultValue);
      return [...control.options].findIndex((option) => option.defaultSelected);
    }

    move() {
      this.show();
      clearTimeout(this.pause);
      this.pause = setTimeout(() => this.say(), 600);
    }

    positions() {
      return this.controls.map((control) => this.at(control));
    }

    /* A result at a point: a number, a word, an array, or null. */
    value(result, positions) {
      const size = result.length ?? 1;
      const from = flat(result.shape, positions) * size;
      if (result.length !== null) return result.values.slice(from, from + size);
      const found = result.values[from];
      return result.words && found !== null ? result.words[found] : found;
    }

    show() {
      const positions = this.positions();
      const texts = this.held.axes.map((axis, place) => axis.texts[positions[place]]);
      this.controls.forEach((control, place) => {
        if (control.tagName === "SELECT") return;
        control.setAttribute("aria-valuetext", texts[place]);
        control.parentElement.querySelector("output").textContent = texts[place];
      });
      this.caption.textContent = this.held.axes.map((axis, place) => `${axis.label} ${texts[place]}`).join(", ");
      this.tabled.forEach((result, row) => {
        const value = this.value(result, positions);
        this.cells[row].textContent =
          value === null ? MISSING : typeof value === "string" ? value : written(value);
      });
      this.explain(positions);
      (this.held.marks ?? []).forEach((mark, own) => this.paths[own].setAttribute("d", this.path(mark, positions)));
    }

    explain(positions) {
      const point = flat(this.held.axes.map((axis) => axis.texts.length), positions);
      const found = this.held.reasons.find(([, points]) => points.includes(point));
      reveal(this.why, Boolean(found));
      this.why.textContent = found ? `Not available: ${found[0]}` : "";
    }

    /* Tell those who cannot see it, once the control rests. */
    say() {
      const rows = this.tabled.map((result, row) => `${result.label} ${this.cells[row].textContent} ${result.unit}`);
      this.said.textContent = `${this.caption.textContent}: ${rows.join(", ")}`;
    }

    /* The path of a mark; as kvlib.widgets._drawing. */
    path(mark, positions) {
      const { results, x, y, along, places } = this.held;
      const many = (index, at) => [this.value(results[index], at)].flat();
      if (mark.shape === "boxes") {
        const sums = (indices) =>
          many(indices[0], positions).map((_, own) =>
            indices.reduce((sum, index) => {
              const one = many(index, positions)[own];
              return sum === null || one === null ? null : sum + one;
            }, 0),
          );
        const ends = sums(mark.y);
        const starts = mark.x.length ? sums(mark.x) : ends.map(() => (x[2] ? x[0] : 0));
        return ends
          .map((end, own) =>
            end === null || starts[own] === null
              ? ""
              : `M${place(x, starts[own])} ${mark.top}H${place(x, end)}V${mark.bottom}H${place(x, starts[own])}Z`,
          )
          .join("");
      }
      let across, up;
      if (mark.x.length) {
        across = many(mark.x[0], positions).map((value) => (value === null ? null : place(x, value)));
        up = many(mark.y[0], positions);
      } else if (mark.shape === "dot") {
        across = [places[positions[along]]];
        up = many(mark.y[0], positions);
      } else {
        across = places;
        up = places.map((_, at) => this.value(results[mark.y[0]], positions.with(along, at)));
      }
      let path = "";
      let pen = "M";
      across.forEach((left, own) => {
        if (left === null || up[own] === null) {
          pen = "M";
        } else if (mark.shape === "line") {
          path += `${pen}${left} ${place(y, up[own])}`;
          pen = "L";
        } else {
          path += `M${left} ${place(y, up[own])}h0`;
        }
      });
      return path;
    }
  }

  function start() {
    for (const root of document.querySelectorAll(".kv-explore")) {
      if (!root.widget) root.widget = new Widget(root);
    }
  }
  window.kvlibWidgets = { start };
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", start);
  else start();
})();
