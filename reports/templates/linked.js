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
    { name: "expected", cls: "expected", t: numbers.t, y: expected, text: full },
    { name: "observed", cls: "observed", t: numbers.t, y: observed, text: full },
    counter && { name: "counterfactual", cls: "counter", t: numbers.t, y: counter, text: full },
  ].filter(Boolean);
  const note = thin ? `Allowed band: ± ${number(widest)} at most (${number(limit)} sigma), too thin to see here.` : `Allowed band: expected ± ${number(limit)} sigma.`;
  return chart({ title: title ?? `Values of ${short(name)}`, note, lines, scale, band, timesteps, chosen,
    label: `Line chart of observed and expected values of ${short(name)} over time; the numbers are in the table below.` });
}

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
  return chart({ title: "Observed - expected", note: `Allowed band: ± ${number(limit)} sigma, ${number(Math.max(...edge.filter(Number.isFinite)))} at most.`, lines, scale, band, timesteps, chosen,
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

/** Time across, units down; each cell the largest sigma over sequences. */
function heatMap(one, run, tensor, numbers, chosen) {
  const { codes, columns, sigma } = heat(numbers.detail);
  const { timesteps } = series(tensor, one);
  const starts = numbers.detail.heat_t, limit = limitOf(run), units = numbers.detail.units;
  const paths = new Map();
  let worst = [0, 0, -1];
  starts.forEach((start, row) => {
    const width = (starts[row + 1] ?? timesteps) - start;
    for (let column = 0; column < columns; column++) {
      const code = codes[row * columns + column];
      if (code > worst[2]) worst = [start, column, code];
      const step = tone(sigma(code), limit);
      paths.set(step, (paths.get(step) ?? "") + `M${start} ${column}h${width}v1h${-width}z`);
    }
  });
  const size = (code) => (code === 254 ? `${number(sigma(code))} or more` : number(sigma(code)));
  const each = Math.ceil(units / columns);
  const unit = (column) => (each === 1 ? `unit ${column}` : `units ${column * each} to ${Math.min(units, (column + 1) * each) - 1}`);
  const picture = svg("svg", { viewBox: `0 0 ${timesteps} ${columns}`, preserveAspectRatio: "none", role: "img",
    "aria-label": `Heat map of ${short(tensor.name)}: time across, ${units} units down. Worst: ${size(worst[2])} sigma, ${unit(worst[1])}, timestep ${worst[0]}.` },
    [...paths].map(([step, d]) => svg("path", { class: step, d })));
  const plot = el("div", { class: "plot" }, picture, placed("tick", "unit 0", 0), columns > 1 && placed("tick", `unit ${units - 1}`, 100));
  pick(plot, timesteps, chosen);
  const value = el("p", { class: "small" });
  const element = el("section", { class: "track chart heat" }, el("div", { class: "name" }, el("h3", {}, `All units of ${short(tensor.name)}`), value,
    el("p", { class: "small soft" }, `Worst: ${size(worst[2])} sigma, ${unit(worst[1])}, timestep ${worst[0]}${starts.length < timesteps || each > 1 ? "; each cell shows the largest of several" : ""}.`)), plot);
  const draw = (t) => {
    let row = starts.findLastIndex((start) => start <= t);
    row = Math.max(row, 0);
    let column = 0;
    for (let k = 1; k < columns; k++) if (codes[row * columns + k] > codes[row * columns + column]) column = k;
    value.textContent = `At timestep ${starts[row]}: ${size(codes[row * columns + column])} sigma, ${unit(column)}`;
  };
  const bySteps = () => table(`Largest sigma of ${short(tensor.name)} by time and unit`, [["from timestep", (row) => starts[row]], ["largest sigma", (row) => size(Math.max(...codes.subarray(row * columns, (row + 1) * columns)))],
    ["at", (row) => unit(codes.subarray(row * columns, (row + 1) * columns).indexOf(Math.max(...codes.subarray(row * columns, (row + 1) * columns))))],
    ["beyond the limit", (row) => `${codes.subarray(row * columns, (row + 1) * columns).filter((code) => !(sigma(code) <= limit)).length} of ${columns}`]], starts.map((_, row) => row));
  return { element, draw, table: bySteps };
}
