// One case: its lanes, and below them the charts and tables of what is selected in them.

function caseView(data, index, asked) {
  const one = data.cases[index];
  const named = asked.backend === null ? null : one.runs.find((run) => data.backends[run.b].name === asked.backend || printable(asked.backend) === data.backends[run.b].name);
  const view = { run: named ?? worstRun(one), tensor: null, place: 0, t: 0 };
  settle(one, view);
  const complaints = [asked.backend !== null && !named && `This case has no backend “${short(asked.backend)}” in this report.`];
  if (asked.t !== null) {
    const t = Number(asked.t);
    if (/^\d+$/.test(asked.t) && t < Math.max(one.timesteps, 1)) view.t = t;
    else complaints.push(`“${short(asked.t)}” is not a timestep of this case: it has timesteps 0 to ${Math.max(one.timesteps - 1, 0)}.`);
  }

  const above = el("section", { class: "above", "aria-labelledby": "lanes" });
  const aside = el("div", { class: "aside" });
  const below = el("div", { class: "below" });
  const facts = el("div", { class: "below" });
  const tracks = el("div", { class: "case" }, above, aside, below, facts);
  let parts = [];
  const select = (change) => {
    const before = { ...view };
    Object.assign(view, change);
    if (view.run !== before.run && !change.tensor) {
      // The same tensor of another backend, at the same time: what one compares.
      view.tensor = (view.run.tensors ?? []).find((tensor) => tensor.name === before.tensor?.name) ?? null;
      if (!view.tensor) settle(one, view);
    }
    if (view.run !== before.run) view.t = change.t ?? before.t;
    if (view.run !== before.run || view.tensor !== before.tensor) view.place = samePlace(one, view, before);
    view.t = Math.max(0, Math.min(view.t, longest(one) - 1));
    draw(view.run !== before.run, view.tensor !== before.tensor || view.run !== before.run || view.place !== before.place);
    remember(one.name, data.backends[view.run.b].name, view.t);
    if (change.focus) own.focus();
  };
  const own = lanes(data, one, view, select);
  const draw = (otherRun, other) => {
    cursor(tracks, view.t, one.timesteps);
    own.draw();
    if (otherRun) {
      aside.replaceChildren(told(data, one, view.run), factsOf(data, view.run));
      facts.replaceChildren(...[parametersOf(view.run)].filter(Boolean));
    }
    if (other) {
      parts = linked(data, one, view, select);
      const [head, rest] = [parts.filter((part) => !part.track), parts.filter((part) => part.track)];
      below.replaceChildren(head[0].element, el("div", { class: "charts" }, rest.map((part) => part.element)), ...head.slice(1).map((part) => part.element));
    }
    for (const part of parts) part.draw?.(view.t);
  };
  put(above, el("h2", { id: "lanes" }, "Lanes"), el("p", { class: "small soft noprint" },
    "One tick for each timestep: low and blue within the limit, high and orange beyond it. ▼ marks the first divergence in order of computation; lanes marked ◀ are computed backward in time."), signed(own.element));
  draw(true, true);
  return el("div", {}, caseHead(data, index), complaints.filter(Boolean).map((text) => el("p", { class: "notice", role: "alert" }, text)),
    tracks, pairsTable(data, one));
}

const longest = (one) => Math.max(1, one.timesteps, ...one.runs.flatMap((run) => timed(run).map((tensor) => series(tensor, one).timesteps)));

/** The run to begin with: the first that is not right, else the first. */
const worstRun = (one) => one.runs.find((run) => statusOf(run) === "diverge") ?? one.runs.find((run) => run.known) ?? one.runs.find((run) => run.status !== "agree" && run.status !== "unsupported")
  ?? one.runs.find((run) => run.status === "agree") ?? one.runs[0];

/** Selects where a run first diverges, or is worst. */
function settle(one, view) {
  const tensors = view.run.tensors ?? [];
  const where = view.run.first ?? view.run.worst;
  view.tensor = tensors.find((tensor) => tensor.name === where?.tensor && tensor.timed) ?? tensors.find((tensor) => tensor.timed) ?? tensors[0] ?? null;
  view.t = where?.t ?? 0;
  view.place = firstPlace(one, view);
}

function firstPlace(one, view) {
  const numbers = view.tensor && unpacked(one, view.run, view.tensor.name);
  const told = (view.tensor?.first ?? view.tensor?.worst)?.at.slice(1);
  return Math.max(0, numbers?.at.findIndex((at) => String(at) === String(told)) ?? 0);
}

function samePlace(one, view, before) {
  const earlier = before.tensor && unpacked(one, before.run, before.tensor.name)?.at[before.place];
  const now = view.tensor && unpacked(one, view.run, view.tensor.name)?.at;
  const found = earlier && now ? now.findIndex((at) => String(at) === String(earlier)) : -1;
  return found >= 0 ? found : firstPlace(one, view);
}

function caseHead(data, index) {
  const one = data.cases[index];
  const sizes = Object.entries({ T: one.timesteps, ...one.facts }).map(([key, value]) => (["T", "B", "I", "H"].includes(key) ? `${key} ${value}` : value))
    .filter((value) => !one.features.includes(value));
  const beside = (other, text) => other && el("a", { href: address(other.name), title: short(other.name) }, text);
  return el("header", {},
    el("nav", { class: "bar", "aria-label": "Cases" }, data.cases.length > 1 && el("a", { href: "#" }, "← All cases"),
      data.above && el("a", { href: data.above }, "← The whole report"),
      beside(data.cases[index - 1], "Previous case"), beside(data.cases[index + 1], "Next case"),
      one.page && el("a", { href: one.page + location.hash }, "This case in full detail")),
    el("h1", { tabindex: "-1" }, one.name), one.description && el("p", {}, one.description),
    el("p", { class: "facts" }, el("span", {}, sizes.join(", ")), one.features.map((name) => el("span", { class: "chip" }, name))));
}

/** The charts and tables of the selected tensor. */
function linked(data, one, view, select) {
  const { run, tensor } = view;
  if (!tensor) return [{ element: el("p", { class: "notice" }, "This run returned nothing to compare.") }];
  const numbers = unpacked(one, run, tensor.name);
  const at = (t) => select({ t });
  const parts = [controls(one, view, select, numbers)];
  const all = series(tensor, one);
  if (tensor.timed) {
    const axis = ruler(all.timesteps, view.t, at);
    // In sight while the curves scroll.
    parts.push({ element: axis, draw: (t) => axis.querySelector(".now").replaceWith(now(all.timesteps, t)) });
    if (numbers) {
      parts.push(valuesChart(one, run, tensor, numbers, view.place, at), differenceChart(one, run, tensor, numbers, view.place, at));
      const other = besides(one, run, tensor);
      if (other) parts.push(other.chart(view, at));
    } else parts.push({ element: el("p", { class: "notice" }, withoutNumbers(data, one, run)) });
    parts.push(errorChart(one, run, tensor, numbers, view.place, at));
    const local = localChart(one, run, tensor, at);
    parts.push(local ?? { element: el("p", { class: "small soft" }, run.local ? `Single timesteps of ${short(tensor.name)} were not replayed.` : "Single timesteps of this run were not replayed.") });
    if (numbers) parts.push(heatMap(one, run, tensor, numbers, at));
  }
  // Values and gradients share the cursor of the lanes; what has another axis has its own.
  if (all.timesteps !== one.timesteps) for (const part of parts) part.draw = both(part.draw, (t) => cursor(part.element, t, all.timesteps));
  const [selected, ...tracks] = parts;
  return [selected, ...tracks.map((part) => ({ ...part, track: true })), { element: tables(one, view, numbers, tracks.at(-1)?.table) }];
}

const both = (one, other) => (t) => {
  one?.(t);
  other(t);
};

function withoutNumbers(data, one, run) {
  if (data.reduced) return one.page ? [el("a", { href: one.page + location.hash }, "This case's own page"), " has the numbers; this page leaves them out."] : data.reduced;
  if (run.details) return "The results do not contain the single numbers of this tensor.";
  return "These results contain only the largest differences. For values over time, heat maps and pairwise agreement run it again with --html or --json and this version of Lockstep.";
}

/** Of a value its gradient, of a gradient the value: the other chart that stands beside. */
function besides(one, run, tensor) {
  const others = timed(run).filter((other) => Boolean(other.gradient) !== Boolean(tensor.gradient) && run.details?.[other.name]);
  const suffix = /_l\d+(_reverse)?$/.exec(tensor.name)?.[0] ?? "";
  const other = (tensor.gradient ? others.find((found) => found.name === `h${suffix}`) : others.find((found) => found.name === "dx")) ?? others[0];
  if (!other) return null;
  return {
    chart: (view, at) => {
      const numbers = unpacked(one, run, other.name);
      const place = Math.min(view.place, numbers.at.length - 1);
      const { timesteps } = series(other, one);
      const apart = timesteps === series(tensor, one).timesteps ? "" : `, over its own ${timesteps} timesteps`;
      return valuesChart(one, run, other, numbers, place, at, `${other.gradient ? "Gradient" : "Value"} beside it: ${short(other.name)}, ${placeText(numbers.at[place])}${apart}`);
    },
  };
}

/** What is selected, where one can jump to, and the numbers there. */
function controls(one, view, select, numbers) {
  const { run, tensor } = view;
  const all = series(tensor, one);
  const jump = (text, where) => where && el("button", {
    type: "button",
    click: () => {
      const place = numbers?.at.findIndex((at) => String(at) === String(where.at.slice(1))) ?? -1;
      select({ t: where.t, place: place >= 0 ? place : view.place });
    },
  }, text);
  const tensors = el("select", { "aria-label": "Tensor", change: (event) => select({ tensor: run.tensors[Number(event.target.value)] }) },
    run.tensors.map((other, k) => el("option", { value: k, selected: other === tensor }, short(other.name))));
  const places = numbers && el("select", { "aria-label": "Sequence and unit", change: (event) => select({ place: Number(event.target.value) }) },
    numbers.at.map((at, k) => el("option", { value: k, selected: k === view.place }, placeText(at))));
  const time = tensor.timed && el("input", { type: "number", min: 0, max: all.timesteps - 1, "aria-label": "Timestep", change: (event) => select({ t: Math.round(Number(event.target.value)) || 0 }) });
  const readout = el("p", { class: "readout", role: "status" });
  const element = el("section", { "aria-labelledby": "selected" }, el("h2", { id: "selected" }, `Selected: ${short(tensor.name)}`),
    el("div", { class: "bar noprint" }, tensors, places, time && el("label", {}, "timestep ", time), jump("First divergence", tensor.first), jump("Worst", tensor.worst)), readout);
  const draw = (t) => {
    if (time && document.activeElement !== time) time.value = t;
    readout.textContent = printable(readoutText(one, view, numbers, all, t));
  };
  return { element, draw };
}

function readoutText(one, view, numbers, all, t) {
  const { tensor, run, place } = view;
  const limit = `limit ${run.limit?.text ?? "none"}`;
  if (!tensor.timed) {
    const { worst } = tensor;
    const value = worst.observed === undefined ? "" : ` observed ${full(num(worst.observed))}, expected ${full(num(worst.expected))};`;
    return `${tensor.name}[${worst.at.join(", ")}]:${value} ${number(num(worst.sigma))} sigma, the worst of ${tensor.size} numbers; ${limit}`;
  }
  const bucket = all.bucket(t);
  const joined = all.name(bucket);
  const largestText = `largest of all units at ${joined}: ${number(all.sigma[bucket])} sigma${tensor.at?.[bucket] ? ` at [${tensor.at[bucket].join(", ")}]` : ""}`;
  if (!numbers) return `${largestText}; ${limit}`;
  const k = nearest(numbers.t, t);
  const found = track(numbers, place);
  const named = `${tensor.name}[${[numbers.t[k], ...numbers.at[place]].join(", ")}]`;
  const missing = numbers.t[k] === t ? "" : " (the nearest timestep in the results)";
  return `${named}${missing}: observed ${about(found.observed[k])}, expected ${about(found.expected[k])} ± ${number(found.noise[k])}: ${number(Math.abs(found.error[k]))} sigma; ${limit}. ${largestText}.`;
}

function tables(one, view, numbers, heatTable) {
  const { run, tensor, place } = view;
  const all = series(tensor, one);
  const pairs = (name, worst) => (worst ? full(num(worst[name])) : "–");
  const measure = (name) => (row) => number(num(row.worst[name]));
  const byTensor = () => table("All tensors of this run: the largest difference in each", [
    ["tensor", (row) => row.name], ["verdict", (row) => [el("span", { "aria-hidden": "true" }, MARKS[row.verdict]), ` ${row.verdict}`]],
    ["sigma", measure("sigma")], ["ulp", measure("ulp")], ["absolute", measure("abs")], ["relative", measure("rel")], ["at", (row) => `[${row.worst.at.join(", ")}]`],
    ["observed", (row) => (row.worst.observed === undefined ? "–" : pairs("observed", row.worst))], ["expected", (row) => (row.worst.expected === undefined ? "–" : pairs("expected", row.worst))],
    ["first divergence", (row) => (row.first ? `${row.timed ? `t = ${row.first.t}, ` : ""}[${row.first.at.join(", ")}]: ${number(num(row.first.sigma))} sigma` : "–"), "text"],
    run.tensors.some((row) => row.golden) && ["golden", (row) => (row.golden ? `${row.golden.verdict}: ${number(num(row.golden.abs))} away, allowed ${number(row.golden.atol)} (${row.golden.source})` : "–"), "text"]].filter(Boolean), run.tensors);
  const overTime = () => {
    const found = track(numbers, place);
    return table(`${tensor.name}, ${placeText(numbers.at[place])}, over time`, [["timestep", (k) => numbers.t[k]], ["observed", (k) => about(found.observed[k])], ["expected", (k) => about(found.expected[k])],
      ["noise", (k) => number(found.noise[k])], ["sigma", (k) => number(found.error[k])], ["diagnosis", (k) => (found.counter ? about(found.counter[k]) : "–")]], numbers.t.map((_, k) => k));
  };
  const largestOverTime = () => {
    const alone = run.local?.[tensor.name]?.map(num);
    return table(`${tensor.name}: the largest of all units over time`, [["timestep", (k) => (all.reduced ? `${all.start(k)} to ${all.start(k + 1) - 1}` : k)], ["sigma", (k) => number(all.sigma[k])],
      ["ulp", (k) => number(num(tensor.ulp?.[k]))], ["single timestep", (k) => number(alone?.[k])], ["at", (k) => (tensor.at?.[k] ? `[${tensor.at[k].join(", ")}]` : "–")]], all.sigma.map((_, k) => k));
  };
  return el("section", { "aria-labelledby": "numbers" }, el("h2", { id: "numbers" }, "Numbers"), disclosure("All tensors of this run", byTensor, { open: true }),
    tensor.timed && numbers && disclosure("The selected place over time", overTime), tensor.timed && disclosure("The largest of all units over time", largestOverTime),
    heatTable && disclosure("The heat map as a table", heatTable));
}

/** How far every two backends are from each other. */
function pairsTable(data, one) {
  const { pairs } = one;
  if (!pairs) return null;
  const name = (k) => data.backends[pairs.backends[k]].name;
  const limit = limitOf(one.runs.find((run) => run.limit) ?? {});
  const square = pairs.backends.map((_, k) => k);
  const between = (row, k) => {
    const sigma = num(pairs.sigma[row][k]);
    return k === row ? "" : `${sigma > limit || Number.isNaN(sigma) ? "✕ " : ""}${number(sigma)}`;
  };
  const step = (row, k) => (k === row ? "" : `tone ${tone(num(pairs.sigma[row][k]), limit)}`);
  return el("section", { "aria-labelledby": "pairs" }, el("h2", { id: "pairs" }, "Pairwise agreement"),
    table(`Largest difference between each two backends, in sigma, over ${pairs.of}`, [["backend", name], ...square.map((k) => [short(name(k)), (row) => between(row, k), (row) => step(row, k)])], square, "numbers pairs"));
}
