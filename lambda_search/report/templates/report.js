(() => {
  "use strict";
  // Tables: a click on a heading sorts by its column, a second one the other way round.
  const value = (row, column) => {
    const cell = row.cells[column], text = cell.dataset.value ?? cell.textContent.trim();
    const number = Number(text);
    return text === "" || text === "–" ? null : Number.isNaN(number) ? text : number;
  };
  const compare = (a, b) => (typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b)));
  const sortable = (root) => {
    for (const table of root.querySelectorAll("table.sortable")) {
      const headings = [...table.tHead.rows[0].cells];
      headings.forEach((heading, column) => {
        const button = document.createElement("button");
        button.textContent = heading.textContent;
        heading.replaceChildren(button);
        button.addEventListener("click", () => {
          const falling = heading.getAttribute("aria-sort") === "ascending";
          headings.forEach((other) => other.removeAttribute("aria-sort"));
          heading.setAttribute("aria-sort", falling ? "descending" : "ascending");
          const rows = [...table.tBodies[0].rows];
          rows.sort((a, b) => {
            const x = value(a, column), y = value(b, column);
            if (x === null || y === null) return (x === null) - (y === null); // what is open comes last
            return falling ? compare(y, x) : compare(x, y);
          });
          table.tBodies[0].append(...rows);
        });
      });
    }
  };
  sortable(document);

  // Figures: in the page's theme, on paper in the light one.
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const read = (id) => JSON.parse(document.getElementById(id).textContent);
  const places = () => [...document.querySelectorAll("[data-figure]")];
  const theme = () => read("themes")[dark.matches ? "dark" : "light"];
  const draw = () => {
    if (!places().length) return;
    if (!window.Plotly) {
      for (const place of places()) {
        place.style.minHeight = "";
        place.textContent = "The figures need plotly.min.js, which was written beside this page.";
      }
      return;
    }
    const figures = read("figures");
    for (const place of places()) {
      const { data, layout } = figures[place.dataset.figure];
      if (!place.classList.contains("js-plotly-plot")) place.replaceChildren();
      window.Plotly.react(place, data, { ...layout, template: theme() }, { responsive: true, displayModeBar: false, scrollZoom: false });
    }
  };
  draw();
  const dress = (change) => places().forEach((place) => window.Plotly && window.Plotly.relayout(place, change()));
  dark.addEventListener("change", () => dress(() => ({ template: theme() })));
  window.addEventListener("beforeprint", () => dress(() => ({ template: read("themes").light, width: 680 })));
  window.addEventListener("afterprint", () => dress(() => ({ template: theme(), width: null, autosize: true })));
  window.report = { sortable, draw };
})();
