// The charts of what is selected: values with their noise, error in sigma, each step alone, and the picture of all units.

/** What was observed, expected, and what the diagnosis' fault gives, at one place of a tensor. */
function track(numbers, place) {
  const expected = numbers.expected[place], noise = numbers.noise[place], error = numbers.error[place];
  // An error of nothing is nothing, however small the noise; else 0 * infinity would be NaN.
  const moved = (sigma, k) => (sigma === 0 ? expected[k] : expected[k] + sigma * noise[k]);
  const observed = Array.from(error, moved);
  const counter = numbers.counter ? Array.from(numbers.counter[place], moved) : null;
  return { expected: Array.from(expected), noise: Array.from(noise), error: Array.from(error), observed, counter,
    counterError: numbers.counter ? Array.from(numbers.counter[place]) : null };
}

/** A place in words: [sequence, unit], of other tensors their own axes. */
const placeText = (at) => (at.length === 2 ? `sequence ${at[0]}, unit ${at[1]}` : at.length === 1 ? `[${at[0]}]` : `[${at.join(", ")}]`);

function valuesChart(one, run, tensor, numbers, place, chosen, title) {
  const { timesteps } = series(tensor, one);
  const { expected, noise, observed, counter } = track(numbers, place);
  const limit = limitOf(run);
  const scale = linear([...expected, ...observed, ...(counter ?? [])]);
  const band = { t: numbers.t, low: expected.map((value, k) => value - limit * noise[k]), high: expected.map((value, k) => value + limit * noise[k]) };
  const widest = Math.max(...noise.filter(Number.isFinite)) * limit;
  const thin = widest / (scale.high - scale.low) < 1 / 150;
  const name = `${tensor.name}, ${placeText(numbers.at[place])}`;
  const lines = [
    { name: "expected", cls: "expected", t: numbers.t, y: expected, text: about },
    { name: "observed", cls: "observed", t: numbers.t, y: observed, text: about },
    counter && { name: "counterfactual", cls: "counter", t: numbers.t, y: counter, text: about },
  ].filter(Boolean);
  const note = `${bandName(run)}: expected ± ${number(limit)} sigma${thin ? `, ${number(widest)} at most: too thin to see here` : ""}.`;
  return chart({ title: title ?? `Values of ${short(name)}`, note, lines, scale, band, timesteps, chosen,
    label: `Line chart of observed and expected values of ${short(name)} over time; the numbers are in the table below.` });
}

/** What a band around expected values is: a limit need not be one of sigma. */
const bandName = (run) => (boundOf(run) === "the limit" ? "Allowed band" : "Band");

/** Observed - expected: here the noise band can be seen. */
function differenceChart(one, run, tensor, numbers, place, chosen) {
  const { timesteps } = series(tensor, one);
  const { noise, error, counterError } = track(numbers, place);
  const limit = limitOf(run);
  const less = (sigmas) => sigmas.map((sigma, k) => (sigma === 0 ? 0 : sigma * noise[k]));
  const edge = noise.map((value) => limit * value);
  const band = { t: numbers.t, low: edge.map((value) => -value), high: edge };
  const lines = [
    { name: "observed", cls: "observed", t: numbers.t, y: less(error) },
    counterError && { name: "counterfactual", cls: "counter", t: numbers.t, y: less(counterError) },
  ].filter(Boolean);
  const scale = linear([...lines.flatMap((line) => line.y), ...edge, ...band.low]);
  return chart({ title: "Observed - expected", note: `${bandName(run)}: ± ${number(limit)} sigma, ${number(Math.max(...edge.filter(Number.isFinite)))} at most.`, lines, scale, band, timesteps, chosen,
    label: `Line chart of observed - expected of ${short(tensor.name)}, with the allowed band; the numbers are in the table below.` });
}

function errorChart(one, run, tensor, numbers, place, chosen) {
  const all = series(tensor, one);
  const limit = limitOf(run);
  const worst = { name: "largest of all units", cls: "all", t: all.sigma.map((_, k) => all.worst(k)), y: all.sigma, nearest: all.bucket };
  const { error, counterError } = numbers ? track(numbers, place) : { error: null };
  const lines = [
    worst,
    error && { name: placeText(numbers.at[place]), cls: "observed", t: numbers.t, y: error.map(Math.abs) },
    counterError && { name: "counterfactual − observed", cls: "counter", t: numbers.t, y: error.map((sigma, k) => Math.abs(sigma - counterError[k])) },
  ].filter(Boolean);
  const scale = logarithmic(lines.flatMap((line) => line.y), limit);
  return chart({ title: "Error in sigma", note: "Logarithmic scale. 0.01 and less is drawn at the bottom.", lines, scale, limit: num(run.limit?.sigma) ?? null,
    limitText: `limit ${number(limit)}`, timesteps: all.timesteps, chosen,
    label: `Line chart of the error of ${short(tensor.name)} in sigma over time, on a logarithmic scale; the numbers are in the table below.` });
}

function localChart(one, run, tensor, chosen) {
  const alone = run.local?.[tensor.name]?.map(num);
  if (!alone) return null;
  const all = series(tensor, one);
  const every = tensor.every ?? 1;
  const limit = limitOf(run);
  const lines = [
    { name: "whole run", cls: "all", t: all.sigma.map((_, k) => all.worst(k)), y: all.sigma, nearest: all.bucket },
    { name: "single timesteps", cls: "observed", t: alone.map((_, k) => k * every), y: alone },
  ];
  const note = run.localFirst === null || run.localFirst === undefined
    ? "Replayed from your own previous state, every single timestep is right: the error accumulates over time."
    : `Replayed from your own previous state, timestep ${run.localFirst} is still wrong.`;
  return chart({ title: "Single timesteps against the whole run", note: alone.every((value) => value <= limit) && run.status === "agree" ? "Single timesteps: each one replayed from your own previous state." : note,
    lines, scale: logarithmic(lines.flatMap((line) => line.y), limit), limit: num(run.limit?.sigma) ?? null, limitText: `limit ${number(limit)}`, timesteps: all.timesteps, chosen,
    label: `Line chart of the error of ${short(tensor.name)} of the whole run and of single timesteps, in sigma over time; the numbers are in the table below.` });
}

/** Time across, units down; each cell the largest sigma over sequences. The numbers in words are those of the tensor: a color has no more than steps. */
function heatMap(one, run, tensor, numbers, chosen) {
  const { codes, columns, sigma } = heat(numbers.detail);
  const all = series(tensor, one);
  const starts = numbers.detail.heat_t, limit = limitOf(run), units = numbers.detail.units;
  const paths = new Map();
  starts.forEach((start, row) => {
    const width = (starts[row + 1] ?? all.timesteps) - start;
    for (let column = 0; column < columns; column++) {
      const step = tone(sigma(codes[row * columns + column]), limit);
      paths.set(step, (paths.get(step) ?? "") + `M${start} ${column}h${width}v1h${-width}z`);
    }
  });
  const each = Math.ceil(units / columns);
  const place = (at) => (at ? ` at [${at.join(", ")}]` : "");
  const worst = `${number(num(tensor.worst.sigma))} sigma${place(tensor.worst.at)}`;
  const picture = svg("svg", { viewBox: `0 0 ${all.timesteps} ${columns}`, preserveAspectRatio: "none", role: "img",
    "aria-label": `Heat map of ${short(tensor.name)}: time across, ${plural(units, "unit")} down. Worst: ${worst}.` },
    [...paths].map(([step, d]) => svg("path", { class: step, d })));
  const plot = el("div", { class: "plot" }, picture, placed("tick", "unit 0", 0), columns > 1 && placed("tick", `unit ${units - 1}`, 100));
  pick(plot, all.timesteps, chosen);
  const value = el("p", { class: "small" });
  const element = el("section", { class: "track chart heat" }, el("div", { class: "name" }, el("h3", {}, `All units of ${short(tensor.name)}`), value,
    el("p", { class: "small soft" }, `Worst: ${worst}.${starts.length < all.timesteps || each > 1 ? " Each cell shows the largest of several." : ""}`)), plot);
  const draw = (t) => {
    const bucket = all.bucket(t);
    value.textContent = `${capital(all.name(bucket))}: ${number(all.sigma[bucket])} sigma${place(tensor.at?.[bucket])}`;
  };
  const beyond = (row) => codes.subarray(row * columns, (row + 1) * columns).filter((code) => !(sigma(code) <= limit)).length;
  const bySteps = () => table(`Units of ${short(tensor.name)} beyond ${boundOf(run)} over time`, [["from timestep", (row) => starts[row]],
    [each > 1 ? `groups of ${each} units beyond ${boundOf(run)}` : `units beyond ${boundOf(run)}`, (row) => `${beyond(row)} of ${columns}`]], starts.map((_, row) => row));
  return { element, draw, table: bySteps };
}
