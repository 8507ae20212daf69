// Headings of a table sort its rows.
"use strict";
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => head.querySelector("button").addEventListener("click", () => {
    const before = head.getAttribute("aria-sort");
    // Names from A, p from the smallest, figures from the largest first; then the other way.
    const rising = column === 0 || head.textContent === "p";
    const up = before === null ? rising : before === "descending";
    heads.forEach(other => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", up ? "ascending" : "descending");
    const key = row => { const cell = row.cells[column]; return cell.dataset.value === undefined ? null : Number(cell.dataset.value); };
    const rows = [...table.tBodies[0].rows].sort((a, b) => {
      if (column === 0) return a.cells[0].textContent.localeCompare(b.cells[0].textContent);
      const x = key(a), y = key(b);
      const none = v => v === null || Number.isNaN(v);
      return none(x) && none(y) ? 0 : none(x) ? 1 : none(y) ? -1 : x - y;
    });
    if (!up) rows.reverse();
    rows.sort((a, b) => (a.cells[column].textContent === "") - (b.cells[column].textContent === ""));
    table.tBodies[0].append(...rows);
    document.getElementById("sorted").textContent =
      `sorted by ${head.textContent}, ${up ? "ascending" : "descending"}`;
  }));
}
