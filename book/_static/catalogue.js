/* Filters for the tables of the catalogue.

   The page is complete without this script: the table is there, and the controls are made here. Each
   table inside .filterable gets a text box, and a list for each column named in CHOICES. */

"use strict";

const CHOICES = ["kind", "family", "attention"];

function labelled(text, control, id) {
  const group = document.createElement("span");
  const label = document.createElement("label");
  label.htmlFor = control.id = id;
  label.textContent = text;
  group.append(label, " ", control);
  return group;
}

function choice(rows, column) {
  const select = document.createElement("select");
  const values = new Set(rows.map((row) => row.cells[column].textContent.trim()));
  for (const value of ["", ...[...values].sort()]) {
    select.add(new Option(value || "all", value));
  }
  return select;
}

function addFilter(table, index) {
  const rows = [...table.tBodies[0].rows];
  const headings = [...table.tHead.rows[0].cells].map((cell) => cell.textContent.trim());
  const texts = rows.map((row) => row.textContent.toLowerCase());
  const form = document.createElement("form");
  const words = document.createElement("input");
  const count = document.createElement("output");
  const choices = [];

  form.className = "catalogue-filter";
  form.setAttribute("role", "search");
  form.setAttribute("aria-label", "Filter the table");
  words.type = "search";
  words.autocomplete = "off";
  form.append(labelled("Find", words, `filter-${index}-words`));
  headings.forEach((heading, column) => {
    if (CHOICES.includes(heading)) {
      const select = choice(rows, column);
      choices.push({ column, select });
      form.append(labelled(heading, select, `filter-${index}-${column}`));
    }
  });
  const reset = document.createElement("button");
  reset.type = "reset";
  reset.textContent = "Show all";
  form.append(reset, count);

  function apply() {
    const wanted = words.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    rows.forEach((row, place) => {
      const fits =
        wanted.every((word) => texts[place].includes(word)) &&
        choices.every(
          ({ column, select }) =>
            !select.value || row.cells[column].textContent.trim() === select.value
        );
      row.hidden = !fits;
      shown += fits ? 1 : 0;
    });
    count.textContent = `${shown} of ${rows.length} rows`;
  }

  form.addEventListener("input", apply);
  form.addEventListener("reset", () => setTimeout(apply));
  form.addEventListener("submit", (event) => event.preventDefault());
  table.closest(".filterable").prepend(form);
  apply();
}

document.querySelectorAll(".filterable table").forEach(addFilter);
