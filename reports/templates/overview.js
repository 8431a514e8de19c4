// The overview: what came out, why not, and the table of cases and backends with its filters.

function overview(data) {
  const cases = data.cases.map((one, order) => summary(data, one, order));
  const features = [...new Set(data.cases.flatMap((one) => one.features))].sort();
  const statuses = STATUSES.filter((name) => cases.some((one) => one.statuses.has(name)));
  const wanted = filtersAsked({ status: statuses, backend: data.backends.map((one) => one.name), feature: features, sort: Object.keys(ORDERS) });
  const tables = data.tables.map((given) => {
    const title = tableTitle(data, given, data.tables.length > 1);
    return { title, ...casesTable(data, { ...given, label: title }, cases) };
  });
  const count = el("span", { class: "count", role: "status" });

  const shown = () => {
    let [total, runs] = [0, 0];
    for (const grid of tables) {
      const left = grid.show(wanted, ORDERS[wanted.sort]);
      total += left.cases;
      runs += left.runs;
      grid.section.hidden = left.runs === 0 && tables.length > 1;
    }
    count.textContent = `${total} of ${plural(most, "case")}, ${plural(runs, "run")}`;
  };

  const changed = () => {
    shown();
    history.replaceState(null, "", filterAddress(wanted));
  };
  const chips = statuses.map((name) => {
    const total = cases.reduce((sum, one) => sum + (one.statuses.get(name) ?? 0), 0);
    const chip = el("button", {
      type: "button", "aria-pressed": String(wanted.status.has(name)), class: `status-${name}`,
      click: () => {
        const on = !wanted.status.delete(name);
        if (on) wanted.status.add(name);
        chip.setAttribute("aria-pressed", String(on));
        changed();
      },
    }, total.toLocaleString("en"), " ", status(name));
    return chip;
  });
  const search = el("input", {
    type: "search", placeholder: "Search", "aria-label": "Search cases, causes, messages",
    input: () => {
      wanted.text = search.value.toLowerCase().trim();
      changed();
    },
  });
  search.value = wanted.text;
  const sort = el("select", {
    "aria-label": "Sort by",
    change: () => {
      wanted.sort = sort.value;
      changed();
    },
  }, Object.keys(ORDERS).map((name) => el("option", { value: name, selected: name === wanted.sort }, ORDER_NAMES[name])));
  const bar = el("div", { class: "bar filters", role: "group", "aria-label": "Filters" }, chips, search,
    choice("Backends", data.backends.map((one) => one.name), wanted.backend, changed),
    features.length > 0 && choice("Features", features, wanted.feature, changed), sort, count);

  const most = data.tables.reduce((sum, given) => sum + given.cases.length, 0);
  const limits = new Set(data.cases.flatMap((one) => one.runs.filter((run) => run.limit).map((run) => num(run.limit.sigma) ?? null)));
  for (const grid of tables) grid.section = el("section", { class: "cases" }, el("h2", {}, grid.title), grid.element);
  const element = el("div", {}, causesOf(data),
    data.cases.length === 0 ? el("p", {}, "No runs.") : [
      bar, tables.map((grid) => grid.section),
      el("p", { class: "small soft noprint" },
        "t 4, or 4 alone in a narrow column: the first wrong timestep. Other numbers: the largest error, in units of expected rounding (sigma): about 1 is healthy, above the limit is wrong. A frame: a known finding. Arrow keys move from cell to cell."),
      legend(limits.size === 1 ? [...limits][0] : null)],
    data.reduced && el("p", { class: "small soft" }, data.reduced),
    refused(data), surroundings(data));
  shown();
  // Whoever comes back finds the filters, and the address that has them.
  const entered = () => {
    history.replaceState(null, "", filterAddress(wanted));
    for (const grid of tables) grid.entered();
  };
  return { element, entered, address: () => filterAddress(wanted) };
}

/** What the table, the filters and the sorting ask of a case. */
function summary(data, one, order) {
  const runs = Array(data.backends.length).fill(null);
  const statuses = new Map();
  const texts = [one.name, one.description ?? "", ...one.features];
  for (const run of one.runs) {
    runs[run.b] = run;
    const name = statusOf(run);
    statuses.set(name, (statuses.get(name) ?? 0) + 1);
    texts.push(run.known ?? "", run.message ?? "", ...(run.diagnosis ?? []).flatMap((why) => [why.fault, why.message]));
  }
  return { one, order, runs, statuses, text: texts.join("\n").toLowerCase() };
}

function matches(row, wanted, columns) {
  const present = columns.map((b) => row.runs[b]).filter(Boolean);
  return present.length > 0
    && (!wanted.text || row.text.includes(wanted.text))
    && (!wanted.status.size || present.some((run) => wanted.status.has(statusOf(run))))
    && [...wanted.feature].every((name) => row.one.features.includes(name));
}

const ORDER_NAMES = { order: "in the given order", worst: "by worst sigma", name: "by name" };
const NAMES_IN_ORDER = new Intl.Collator("en", { numeric: true });
const ORDERS = {
  order: () => (a, b) => a.order - b.order,
  name: () => (a, b) => NAMES_IN_ORDER.compare(a.one.name, b.one.name) || a.order - b.order,
  worst: (columns) => {
    const worst = (row) => Math.max(...columns.map((b) => distance(num(row.runs[b]?.sigma))));
    return (a, b) => (worst(b) === worst(a) ? a.order - b.order : worst(b) - worst(a));
  },
};

/** A list of boxes to tick; none ticked means all. */
function choice(title, options, chosen, changed) {
  const heading = () => (chosen.size ? `${title}: ${chosen.size}` : title);
  const named = el("summary", {}, heading());
  const details = el("details", {
    class: "choice",
    keydown: (event) => {
      if (event.key === "Escape") details.open = false;
    },
    focusout: (event) => {
      if (event.relatedTarget && !details.contains(event.relatedTarget)) details.open = false;
    },
  }, named, el("div", { role: "group", "aria-label": title }, options.map((value) => el("label", {},
    el("input", {
      type: "checkbox", checked: chosen.has(value),
      change: (event) => {
        if (event.target.checked) chosen.add(value);
        else chosen.delete(value);
        named.textContent = heading();
        changed();
      },
    }), value))));
  return details;
}

const plural = (number, word) => `${number.toLocaleString("en")} ${word}${number === 1 ? "" : "s"}`;

const MOST_LINKS = 200;

function links(data, found) {
  const shown = found.slice(0, MOST_LINKS).map(([one, run]) =>
    el("a", { href: address(one.name, data.backends[run.b].name, run.first?.t) }, `${short(one.name)} · ${short(data.backends[run.b].name)}`));
  return el("div", { class: "links" }, shown, found.length > MOST_LINKS && `and ${found.length - MOST_LINKS} more: use the filters of the table below.`);
}

/** A name that fits a line. */
const short = (text, most = 80) => (text.length > most ? `${text.slice(0, most - 1)}…` : text);

/** What is not supported, by reason, with who says so of how many cases. */
function refused(data) {
  const reasons = new Map();
  for (const one of data.cases) {
    for (const run of one.runs) {
      if (run.status !== "unsupported") continue;
      const reason = run.message ?? "no reason given";
      if (!reasons.has(reason)) reasons.set(reason, []);
      reasons.get(reason).push([one, run]);
    }
  }
  if (reasons.size === 0) return null;
  const order = [...reasons].sort((a, b) => b[1].length - a[1].length);
  const group = ([reason, found]) => {
    const names = [...new Set(found.map(([, run]) => data.backends[run.b].name))];
    const label = el("span", { class: "what" }, reason, el("span", { class: "soft" }, ` (${names.slice(0, 6).map((name) => short(name)).join(", ")}${names.length > 6 ? ", …" : ""})`));
    return disclosure([label, el("span", { class: "many" }, plural(found.length, "run"))], () => el("div", { class: "inside" }, links(data, found)), { cls: "group" });
  };
  return el("section", { "aria-labelledby": "refused" }, el("h2", { id: "refused" }, "Not supported, and why"), order.slice(0, 30).map(group),
    order.length > 30 && disclosure(plural(order.length - 30, "more reason"), () => order.slice(30).map(group)));
}

/** The environment, and the versions of what ran. */
function surroundings(data) {
  const told = (value) => (typeof value === "object" && value !== null ? Object.entries(value).map(([key, part]) => `${key} ${told(part)}`).join(", ") : String(value));
  const versions = data.backends.filter((one) => Object.keys(one.versions ?? {}).length > 0);
  return el("section", { "aria-labelledby": "surroundings" }, el("h2", { id: "surroundings" }, "Environment and versions"),
    terms(Object.entries(data.environment).filter(([key]) => key !== "command" && key !== "time").map(([key, value]) => [key, told(value)])),
    versions.length > 0 && disclosure(`Versions of ${plural(versions.length, "backend")}`, () =>
      table("Versions", [["backend", (one) => one.name], ["versions", (one) => told(one.versions), "text"]], versions)));
}
