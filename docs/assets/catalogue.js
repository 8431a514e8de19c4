/* The filter of the catalogue: rows that have all words in their own text or in that of their sites, of one family or all. */
"use strict";
(() => {
  const form = document.getElementById("catalogue-filter");
  const { word, family, shown } = form.elements;

  // Read anew each time: once the page is ready the theme wraps its tables.
  function families() {
    const sections = [];
    let sites = null;
    for (const element of form.parentElement.children) {
      const section = sections.at(-1);
      const table = element.matches("table") ? element : element.querySelector("table");
      if (element.matches("h2")) sections.push({ heading: element, text: [element], lists: [] });
      else if (section && element.matches("ul")) sites = element;
      else if (section && table) section.lists.push({ sites, element, rows: [...table.tBodies[0].rows] });
      else if (section) section.text.push(element);
    }
    return sections;
  }

  function filter() {
    const words = word.value.toLowerCase().split(/\s+/).filter(Boolean);
    let count = 0;
    let all = 0;
    for (const { heading, text, lists } of families()) {
      let inFamily = 0;
      for (const { sites, element, rows } of lists) {
        let inList = 0;
        for (const row of rows) {
          const content = `${sites.textContent} ${row.textContent}`.toLowerCase();
          const fits = (!family.value || family.value === heading.id) && words.every((part) => content.includes(part));
          row.hidden = !fits;
          inList += fits;
        }
        sites.hidden = element.hidden = !inList;
        inFamily += inList;
        all += rows.length;
      }
      for (const element of text) element.hidden = !inFamily;
      count += inFamily;
    }
    shown.value = `${count} of ${all} edits`;
  }

  for (const { heading } of families()) family.add(new Option(heading.firstChild.textContent, heading.id));
  form.addEventListener("input", filter);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.hidden = false;
  filter(); // the browser may have kept what was typed
})();
