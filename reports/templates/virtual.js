// A table whose rows exist only near the view: 40,000 cells would be slow, 800 are not.

const ROW = 28; // pixels, as the style sheet has it
const MARGIN = 8; // rows made beyond the edges of the view
const MOST_PRINTED = 400; // rows; paper is not searched

/** line(row) makes the cells of a row, the first of which heads it; show(rows, heads, cls, least) draws them anew. */
function virtualTable(label, line) {
  const head = el("thead", {});
  const body = el("tbody", {});
  const inner = el("table", { "aria-label": label }, head, body);
  const scroll = el("div", { class: "scroll grid-scroll", tabindex: "0", role: "region", "aria-label": label }, inner);
  const note = el("p", { class: "small soft" });
  let rows = [], columns = 1, made = new Map(), above, below;

  const draw = (all = false) => {
    if (!above) return;
    const from = all ? 0 : Math.max(0, Math.floor(scroll.scrollTop / ROW) - MARGIN);
    const to = all ? Math.min(rows.length, MOST_PRINTED) : Math.min(rows.length, Math.ceil((scroll.scrollTop + (scroll.clientHeight || 900)) / ROW) + MARGIN);
    for (const [index, tr] of made) {
      if (index >= from && index < to) continue;
      if (tr.contains(document.activeElement)) scroll.focus({ preventScroll: true });
      tr.remove();
      made.delete(index);
    }
    // From the end: each row goes in front of the one that follows it.
    let next = below;
    for (let index = to - 1; index >= from; index--) {
      if (!made.has(index)) {
        made.set(index, el("tr", { "aria-rowindex": index + 2, "data-row": index }, line(rows[index])));
        next.before(made.get(index));
      }
      next = made.get(index);
    }
    above.firstChild.style.height = `${from * ROW}px`;
    below.firstChild.style.height = `${all ? 0 : (rows.length - to) * ROW}px`;
    above.hidden = from === 0;
    below.hidden = all || to === rows.length;
    note.textContent = all && to < rows.length ? `Not printed: ${plural(rows.length - to, "more row")}. Use the filters, or see the page on a screen.` : "";
  };

  const show = (newRows, heads, cls) => {
    [rows, columns, made] = [newRows, heads.length, new Map()];
    const gap = () => el("tr", { class: "gap", "aria-hidden": "true" }, el("td", { colspan: columns }));
    [above, below] = [gap(), gap()];
    inner.className = cls;
    inner.setAttribute("aria-rowcount", rows.length + 1);
    head.replaceChildren(el("tr", { "aria-rowindex": 1 }, heads));
    body.replaceChildren(above, below);
    scroll.scrollTop = 0;
    draw();
  };

  let asked = false;
  scroll.addEventListener("scroll", () => {
    if (asked) return;
    asked = true;
    requestAnimationFrame(() => {
      asked = false;
      draw();
    });
  });
  new ResizeObserver(() => draw()).observe(scroll);
  scroll.addEventListener("keydown", (event) => {
    const step = { ArrowDown: [1, 0], ArrowUp: [-1, 0], ArrowRight: [0, 1], ArrowLeft: [0, -1] }[event.key];
    const place = event.target.closest?.("th, td");
    if (!step || !place || !body.contains(place)) return;
    event.preventDefault();
    const index = Math.max(0, Math.min(rows.length - 1, Number(place.parentElement.dataset.row) + step[0]));
    if (!made.has(index)) {
      scroll.scrollTop = index * ROW - scroll.clientHeight / 2;
      draw();
    }
    const cells = [...made.get(index).children];
    let column = place.cellIndex + step[1];
    while (cells[column] && !cells[column].querySelector("a")) column += step[1] || cells.length;
    (cells[column] ?? cells[place.cellIndex]).querySelector("a")?.focus();
  });
  addEventListener("beforeprint", () => draw(true));
  addEventListener("afterprint", () => draw());
  return { element: el("div", {}, signed(scroll), note), scroll, inner, show, entered: () => draw() };
}

/** Lines as they were printed. */
const printed = (label, text) => signed(el("pre", { tabindex: "0", role: "region", "aria-label": label }, text));

/** What scrolls, with a sign at each edge beyond which there is more. */
function signed(scroll) {
  const box = el("div", { class: "signed" }, scroll);
  const sign = () => {
    box.classList.toggle("more-right", scroll.scrollLeft + scroll.clientWidth < scroll.scrollWidth - 2);
    box.classList.toggle("more-below", scroll.scrollTop + scroll.clientHeight < scroll.scrollHeight - 2);
  };
  scroll.addEventListener("scroll", sign, { passive: true });
  const watch = new ResizeObserver(sign);
  watch.observe(scroll);
  for (const child of scroll.children) watch.observe(child);
  new MutationObserver(sign).observe(scroll, { childList: true });
  return box;
}
