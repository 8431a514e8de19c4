// The tables of the overview: cases by backends, or the runs of one backend, or of tests, each with its error over time.

const SPOT = 26; // pixels of the narrowest column
const WIDEST = 224; // and of the widest: a wider one says no more

/** What a table of the overview needs: show(rows, wanted) draws what the filters leave, and tells how much that is. */
function casesTable(data, given, summaries) {
  return given.form === "matrix" ? matrixTable(data, given, summaries) : listTable(data, given, summaries);
}

function tableTitle(data, given, several) {
  const only = given.form === "list" ? `: ${short(data.backends[given.backends[0]].name)}` : "";
  return several || given.form !== "matrix" ? `${given.title}${only}` : "Cases and backends";
}

function matrixTable(data, given, summaries) {
  let statuses = new Set(), columns = [], rows = [], mode = "";
  const line = (row) => [rowHead(row.one), columns.map((b) => cell(data, row, b, statuses))];
  const grid = virtualTable(given.label, line);
  // Columns share the width; where it is short they say less: the title and the case itself say it all.
  const fit = () => {
    const width = grid.scroll.clientWidth || 1200;
    const first = Math.max(104, Math.min(270, width * 0.19));
    const each = Math.max(SPOT, Math.min(WIDEST, Math.floor((width - first) / Math.max(columns.length, 1))));
    grid.inner.style.setProperty("--first", `${first}px`);
    grid.inner.style.setProperty("--column", `${each}px`);
    grid.inner.style.width = `${first + each * columns.length}px`;
    const now = each >= 140 ? "wide" : each >= 96 ? "full" : each >= 56 ? "brief" : "spots";
    if (now !== mode) grid.inner.className = mode = now;
  };
  new ResizeObserver(fit).observe(grid.scroll);
  const show = (wanted, order) => {
    statuses = wanted.status;
    columns = given.backends.filter((b) => !wanted.backend.size || wanted.backend.has(data.backends[b].name));
    rows = given.cases.map((k) => summaries[k]).filter((row) => matches(row, wanted, columns)).sort(order(columns));
    const heads = [el("th", { scope: "col" }, "case"),
      columns.map((b) => el("th", { scope: "col", title: data.backends[b].name }, el("span", {}, broken(data.backends[b].name))))].flat();
    mode = "";
    grid.show(rows, heads, "");
    fit();
    return { cases: rows.length, runs: rows.reduce((sum, row) => sum + columns.filter((b) => row.runs[b]).length, 0) };
  };
  return { ...grid, show };
}

function listTable(data, given, summaries) {
  const tests = given.form === "tests";
  const line = ({ row, run }) => [tests ? [testHead(data.backends[run.b].test, row.one, run), el("td", {}, el("a", { href: address(row.one.name), tabindex: "-1" }, short(row.one.name)))] : rowHead(row.one), listed(data, row.one, run)];
  const grid = virtualTable(given.label, line);
  const heads = () => [tests && ["test", "head"], ["case", tests ? "" : "head"], ["status", "what"], ["first wrong timestep", "first"], ["worst error", "worst"], ["error over time", "over"]]
    .filter(Boolean).map(([text, cls]) => el("th", { scope: "col", class: cls }, text));
  const show = (wanted, order) => {
    const columns = given.backends.filter((b) => !wanted.backend.size || wanted.backend.has(data.backends[b].name));
    const rows = columns.flatMap((b) => given.cases.map((k) => summaries[k]).filter((row) => row.runs[b] && matches(row, wanted, [b])).sort(order([b]))
      .map((row) => ({ row, run: row.runs[b] })));
    // By worst sigma or by name the runs of all tests together; else test by test.
    if (wanted.sort !== "order") rows.sort((x, y) => order([x.run.b])(x.row, y.row) || order([y.run.b])(x.row, y.row));
    grid.show(rows, heads(), tests ? "runs tests" : "runs");
    return { cases: new Set(rows.map(({ row }) => row)).size, runs: rows.length };
  };
  return { ...grid, show };
}

const rowHead = (one) => el("th", { scope: "row" }, el("a", { href: address(one.name), title: caseTitle(one) }, short(one.name)));

/** A test by its function and file; its folders are in the title. */
function testHead({ port, test }, one, run) {
  const [path, ...names] = test.split("::");
  return el("th", { scope: "row" }, el("a", { href: address(one.name, `${port} (${test})`, run.first?.t), title: short(`${test} checks ${port}`) },
    names.join("::"), el("span", { class: "soft" }, ` ${path.split("/").at(-1)}`)));
}

const caseTitle = (one) => short([one.name, one.description].filter(Boolean).join(": "));

/** A backend's name, which may be parted behind its underscores. */
const broken = (name) => short(name).split(/(?<=_)/).flatMap((part) => [part, el("wbr", {})]);

/** Where a run is wrong first, shortly: its timestep, or the name of what has none. */
function firstText(run) {
  if (!run.first) return null;
  const tensor = run.tensors.find((found) => found.name === run.first.tensor);
  return tensor && !tensor.timed ? short(run.first.tensor) : `t ${run.first.t}`;
}

function why(run) {
  return [run.first && `first wrong in ${run.first.tensor}${whenOf(run, run.first)}`, run.status === "diverge" ? run.diagnosis[0]?.fault : run.message]
    .filter(Boolean).join(": ");
}

const href = (data, one, run) => address(one.name, data.backends[run.b].name, run.first?.t);

/** The classes of a run's cell: its status, and how far it is from the limit. */
function look(run) {
  const name = statusOf(run), step = toneOf(run);
  return [`status-${name}`, step && `tone ${step}`, !step && name !== "unsupported" && "broken", name === "known" && "known"].filter(Boolean).join(" ");
}

function cell(data, row, b, statuses) {
  const run = row.runs[b];
  if (!run) return el("td", { class: "none" }, el("span", { "aria-label": "not run" }, "–"));
  const name = statusOf(run), first = firstText(run);
  const dim = statuses.size > 0 && !statuses.has(name) ? " dim" : "";
  return el("td", { class: look(run) + dim }, el("a", {
    href: href(data, row.one, run), tabindex: "-1", title: short(`${data.backends[b].name}, ${row.one.name}: ${[name, why(run)].filter(Boolean).join(", ")}`),
  }, status(name), " ", first && el("span", { class: "first" }, el("span", { class: "t" }, first.startsWith("t ") && "t "), first.replace(/^t /, "")), " ", hasSigma(run) && el("span", { class: "value" }, number(num(run.sigma)))));
}

const hasSigma = (run) => run.sigma !== null && run.sigma !== undefined;

/** The cells of a run in a list. */
function listed(data, one, run) {
  const first = firstText(run);
  return [
    el("td", { class: `what ${look(run)}` }, el("a", { href: href(data, one, run), tabindex: "-1", title: short(why(run)) || null }, status(statusOf(run)))),
    el("td", { class: "first" }, first ? [first, first.startsWith("t ") && el("span", { class: "also" }, `, ${short(run.first.tensor)}`)] : "–"),
    el("td", { class: "worst" }, run.worst ? [number(num(run.sigma)), el("span", { class: "also" }, ` sigma in ${short(run.worst.tensor)}`)] : "–"),
    el("td", { class: "over" }, run.status === "unsupported" && run.message ? el("span", { class: "soft", title: short(run.message) }, short(run.message)) : spark(one, run)),
  ];
}

/** The largest error of all tensors at each timestep, from a thousandth of the limit to a million limits. */
function spark(one, run) {
  const all = timed(run).map((tensor) => series(tensor, one)).filter((found) => found.timesteps === one.timesteps);
  const longest = all.reduce((most, found) => (found.count > (most?.count ?? 0) ? found : most), null);
  if (!longest) return null;
  const limit = limitOf(run), [low, high] = [-3, 6];
  const y = (sigma) => (Number.isNaN(sigma) ? 2 : 2 + (96 * (high - Math.max(low, Math.min(high, Math.log10(sigma / limit))))) / (high - low));
  const worst = longest.sigma.map((_, k) => all.map((found) => found.sigma[k]).reduce((a, b) => (distance(b) > distance(a) ? b : a)));
  // What cannot be compared is drawn at the top, as the table has it farthest away.
  const line = { cls: "observed", t: worst.map((_, k) => longest.worst(k)), y: worst.map((sigma) => (Number.isNaN(sigma) ? Infinity : sigma)) };
  return svg("svg", { viewBox: `0 0 ${WIDE} ${HIGH}`, preserveAspectRatio: "none", role: "img", "aria-label": `error over time: ${number(num(run.sigma))} sigma at most` },
    svg("path", { class: "limit-line", d: `M0 ${y(limit)}H${WIDE}`, ...FIXED }), drawn(line, (t) => (WIDE * (t + 0.5)) / one.timesteps, { y }, 12));
}
