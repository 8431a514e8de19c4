// The table of cases and backends. Only rows near the view exist: 40,000 cells would be slow, 800 are not.

const ROW = 28; // pixels, as the style sheet has it
const MARGIN = 8; // rows made beyond the edges of the view
const MOST_PRINTED = 400; // rows; paper is not searched

function casesTable(data) {
  const head = el("thead", {});
  const body = el("tbody", {});
  const inner = el("table", { "aria-labelledby": "cases-heading" }, head, body);
  const element = el("div", { class: "scroll", id: "overview-table", tabindex: "0", role: "region", "aria-label": "Cases and backends" }, inner);
  const note = el("p", { class: "small soft" });
  let rows = [], columns = [], statuses = new Set(), made = new Map(), above, below;

  const line = (index) => {
    const row = rows[index];
    const cells = columns.map((b) => cell(data, row, b, statuses));
    return el("tr", { "aria-rowindex": index + 2, "data-row": index },
      el("th", { scope: "row" }, el("a", { href: address(row.one.name), title: caseTitle(row.one) }, short(row.one.name))), cells);
  };

  const draw = (all = false) => {
    const from = all ? 0 : Math.max(0, Math.floor(element.scrollTop / ROW) - MARGIN);
    const to = all ? Math.min(rows.length, MOST_PRINTED) : Math.min(rows.length, Math.ceil((element.scrollTop + (element.clientHeight || 900)) / ROW) + MARGIN);
    for (const [index, tr] of made) {
      if (index >= from && index < to) continue;
      if (tr.contains(document.activeElement)) element.focus({ preventScroll: true });
      tr.remove();
      made.delete(index);
    }
    // From the end: each row goes in front of the one that follows it.
    let next = below;
    for (let index = to - 1; index >= from; index--) {
      if (!made.has(index)) {
        made.set(index, line(index));
        next.before(made.get(index));
      }
      next = made.get(index);
    }
    above.firstChild.style.height = `${from * ROW}px`;
    below.firstChild.style.height = `${all ? 0 : (rows.length - to) * ROW}px`;
    above.hidden = from === 0;
    below.hidden = all || to === rows.length;
    note.textContent = all && to < rows.length ? `Not printed: ${plural(rows.length - to, "more case")}. Use the filters, or see the page on a screen.` : "";
  };

  const show = (newRows, newColumns, newStatuses) => {
    [rows, columns, statuses] = [newRows, newColumns, newStatuses];
    const gap = () => el("tr", { class: "gap", "aria-hidden": "true" }, el("td", { colspan: columns.length + 1 }));
    [above, below] = [gap(), gap()];
    made = new Map();
    inner.setAttribute("aria-rowcount", rows.length + 1);
    head.replaceChildren(el("tr", { "aria-rowindex": 1 }, el("th", { scope: "col" }, "case"),
      columns.map((b) => el("th", { scope: "col", title: data.backends[b].name }, el("span", {}, broken(data.backends[b].name))))));
    body.replaceChildren(above, below);
    element.scrollTop = 0;
    draw();
  };

  let asked = false;
  element.addEventListener("scroll", () => {
    if (asked) return;
    asked = true;
    requestAnimationFrame(() => {
      asked = false;
      draw();
    });
  });
  new ResizeObserver(() => draw()).observe(element);
  element.addEventListener("keydown", (event) => {
    const step = { ArrowDown: [1, 0], ArrowUp: [-1, 0], ArrowRight: [0, 1], ArrowLeft: [0, -1] }[event.key];
    const place = event.target.closest?.("th, td");
    if (!step || !place || !body.contains(place)) return;
    event.preventDefault();
    const index = Math.max(0, Math.min(rows.length - 1, Number(place.parentElement.dataset.row) + step[0]));
    if (!made.has(index)) {
      element.scrollTop = index * ROW - element.clientHeight / 2;
      draw();
    }
    const cells = [...made.get(index).children];
    let column = place.cellIndex + step[1];
    while (cells[column] && !cells[column].querySelector("a")) column += step[1] || cells.length;
    (cells[column] ?? cells[place.cellIndex]).querySelector("a")?.focus();
  });
  addEventListener("beforeprint", () => draw(true));
  addEventListener("afterprint", () => draw());
  return { element: el("div", {}, element, note), show, entered: () => draw() };
}

const caseTitle = (one) => short([one.name, one.description].filter(Boolean).join(": "));

/** A backend's name, which may be parted behind its underscores. */
const broken = (name) => short(name).split(/(?<=_)/).flatMap((part) => [part, el("wbr", {})]);

function cell(data, row, b, statuses) {
  const run = row.runs[b];
  if (!run) return el("td", { class: "none" }, el("span", { "aria-label": "not run" }, "–"));
  const name = statusOf(run);
  const why = run.status === "diverge" ? run.diagnosis?.[0]?.fault : run.message;
  const step = toneOf(run);
  const classes = [`status-${name}`, step && `tone ${step}`, !step && name !== "unsupported" && "broken", name === "known" && "known",
    statuses.size > 0 && !statuses.has(name) && "dim"].filter(Boolean).join(" ");
  return el("td", { class: classes }, el("a", {
    href: address(row.one.name, data.backends[b].name, run.first?.t), tabindex: "-1", title: why ? short(why) : null,
  }, status(name), run.sigma !== null && run.sigma !== undefined && el("span", { class: "value" }, number(num(run.sigma)))));
}
