// Every text of a page, with what it is about: for each [address, whether to open what is folded] a list of [about, text].
async (addresses) => {
  const said = (text) => text.replace(/\s+/g, " ").trim();
  const BLOCKS = /^(TD|TH|P|LI|DT|DD|H[1-6]|OPTION|SUMMARY|CAPTION|BUTTON|PRE)$/; // whose style need not be asked
  const block = (node) => {
    let element = node.parentElement;
    if (element.matches(".chart li b")) return element;
    while (!BLOCKS.test(element.tagName) && getComputedStyle(element).display === "inline") element = element.parentElement;
    return element;
  };
  const within = (element, selector, name) => {
    const found = element.closest(selector);
    return found ? name(found) : null;
  };
  const headOf = (cell) => {
    const line = cell.closest("tr"), head = cell.closest("table").tHead.rows[0].cells;
    return `${said(line.cells[0].textContent)} | ${said(head[cell.cellIndex].textContent)}`;
  };
  // A page has a text at many places: what it is about is asked once for each element.
  const known = new WeakMap();
  const about = (element) => {
    if (!known.has(element)) known.set(element, placeOf(element));
    return known.get(element);
  };
  const placeOf = (element) =>
    within(element, ".numbers td, .numbers tbody th", (cell) => `${said(cell.closest("table").caption.textContent)} | ${headOf(cell)}`)
    ?? within(element, ".grid-scroll td", (cell) => `cell | ${headOf(cell)} | ${decodeURIComponent(cell.querySelector("a")?.hash ?? cell.previousElementSibling.querySelector("a")?.hash ?? "")}`)
    ?? within(element, ".banner", (banner) => `banner ${banner.getAttribute("aria-labelledby").split("-")[1]}`)
    ?? within(element, ".group", (group) => `group | ${said(group.querySelector(".what").textContent)}`)
    ?? within(element, "dd", (dd) => `term ${said(dd.previousElementSibling.textContent)}`)
    ?? within(element, ".chart li b", (value) => `legend | ${said(value.closest(".chart").querySelector("h3").textContent)} | ${said(value.previousElementSibling.textContent)}`)
    ?? within(element, ".chart", (chart) => `chart | ${said(chart.querySelector("h3").textContent)}`)
    ?? within(element, ".lane", (lane) => `lane ${lane.dataset.of}`)
    ?? within(element, ".backend-head", (head) => `head | ${head.querySelector("button:not(.fold)").title}`)
    ?? within(element, "section[aria-labelledby], section", (section) => `section ${section.getAttribute("aria-labelledby") ?? said(section.querySelector("h2")?.textContent ?? "")}`)
    ?? element.closest("header, main, nav").tagName.toLowerCase();
  const texts = (root) => {
    const blocks = new Map(), walk = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
    while (walk.nextNode()) {
      // A list of a table is a text of its own, with what stands in its cell.
      const cell = walk.currentNode.parentElement.closest("td, th");
      const element = cell ?? block(walk.currentNode);
      blocks.set(element, (blocks.get(element) ?? "") + walk.currentNode.data);
    }
    const found = [...blocks].filter(([, text]) => said(text)).map(([element, text]) => [about(element), said(text)]);
    for (const element of root.querySelectorAll("[aria-label], [title], [aria-valuetext]")) {
      for (const name of ["aria-label", "title", "aria-valuetext"]) if (element.hasAttribute(name)) found.push([`${name} of ${about(element)}`, element.getAttribute(name)]);
    }
    return found;
  };
  const all = [];
  for (const [address, opens] of addresses) {
    if ((location.hash || "#") !== address) {
      const moved = new Promise((done) => addEventListener("hashchange", done, { once: true }));
      location.hash = address;
      await moved;
    }
    for (const part of document.querySelectorAll("main details:not(.choice)")) part.open ||= opens;
    await new Promise((done) => setTimeout(done)); // what opens is filled by its event
    await new Promise((done) => setTimeout(done));
    all.push(texts(document.getElementById("app")));
  }
  return all;
}
