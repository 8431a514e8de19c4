// Charts over the same axis of time as the lanes. Lines are stretched with the window; texts are HTML beside them.

const WIDE = 1000, HIGH = 100; // a chart's own units

/** Round numbers between two, about so many. */
function marks(low, high, about) {
  if (!(high > low)) return [low];
  const raw = (high - low) / about;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((k) => k * power).find((candidate) => candidate >= raw) ?? power;
  const first = Math.ceil(low / step - 1e-9);
  return Array.from({ length: Math.floor(high / step + 1e-9) - first + 1 }, (_, k) => Number(((first + k) * step).toPrecision(12)));
}

/** From the smallest to the largest of some numbers, with room around them. */
function linear(values) {
  let [low, high] = [Infinity, -Infinity];
  for (const value of values) {
    if (value < low && value !== -Infinity) low = value;
    if (value > high && value !== Infinity) high = value;
  }
  if (low > high) [low, high] = [-1, 1];
  const room = (high - low || Math.abs(high) || 1) * 0.08;
  [low, high] = [low - room, high + room];
  return { marks: marks(low, high, 4), text: (value) => (value !== 0 && Math.abs(value) < 1e-3 ? value.toExponential().replace(/(\.\d\d)\d+e/, "$1e") : String(Number(value.toPrecision(6)))), y: (value) => (HIGH * (high - value)) / (high - low), low, high };
}

/** Powers of ten from 0.01 to the one above all. */
function logarithmic(values, limit) {
  const most = Math.max(...values.map((value) => (Number.isFinite(value) ? value : 0)), 10 * limit);
  const top = Math.min(Math.max(Math.ceil(Math.log10(most)), 2), 12);
  const powers = Array.from({ length: top + 3 }, (_, k) => k - 2).filter((power) => (top > 5 ? power % 2 === 0 : true));
  const y = (value) => HIGH * (1 - (Math.log10(Math.min(Math.max(value, 0.01), 10 ** top)) + 2) / (top + 2));
  return { marks: powers.map((power) => 10 ** power), text: (value) => (value >= 1e4 ? value.toExponential(0).replace("+", "") : String(Number(value.toPrecision(1)))), y };
}

const FIXED = { "vector-effect": "non-scaling-stroke" };
const clip = (y) => Math.max(-2, Math.min(HIGH + 2, y));

/** A line, and if its numbers are few a dot for each. */
function drawn(line, x, scale, most = 40) {
  let d = "", pen = "M", dots = "";
  for (let k = 0; k < line.t.length; k++) {
    const value = line.y[k];
    if (value === null || Number.isNaN(value)) {
      pen = "M";
      continue;
    }
    const place = `${x(line.t[k]).toFixed(1)} ${clip(scale.y(value)).toFixed(2)}`;
    d += pen + place;
    dots += `M${place}h0`;
    pen = "L";
  }
  return [svg("path", { class: `line ${line.cls}`, d, ...FIXED }), line.t.length <= most && svg("path", { class: `dots ${line.cls}`, d: dots, ...FIXED })];
}

/**
 * A chart: lines [{name, cls, t, y, start?}] of numbers y at timesteps t (NaN parts a line, infinity is drawn at the edge).
 * band: {t, low, high}. limit: a line across. Gives {element, draw(t)}, which tells the values at a timestep.
 */
function chart({ title, note, lines, scale, band, limit, limitText, timesteps, chosen, label }) {
  const x = (t) => (WIDE * (t + 0.5)) / timesteps;
  const picture = svg("svg", { viewBox: `0 0 ${WIDE} ${HIGH}`, preserveAspectRatio: "none", role: "img", "aria-label": label });
  for (const mark of scale.marks) put(picture, svg("path", { class: "grid", d: `M0 ${scale.y(mark)}H${WIDE}`, ...FIXED }));
  if (band) {
    const above = band.t.map((t, k) => `${x(t)} ${clip(scale.y(band.high[k]))}`);
    const below = band.t.map((t, k) => `${x(t)} ${clip(scale.y(band.low[k]))}`).reverse();
    put(picture, svg("path", { class: "band", d: `M${[...above, ...below].join("L")}z` }));
  }
  if (limit) put(picture, svg("path", { class: "limit-line", d: `M0 ${scale.y(limit)}H${WIDE}`, ...FIXED }));
  for (const line of lines) put(picture, drawn(line, x, scale));
  const plot = el("div", { class: "plot" }, picture);
  for (const mark of scale.marks) if (scale.y(mark) < 97) put(plot, placed("tick", scale.text(mark), scale.y(mark)));
  if (limit) put(plot, placed("tick limit", limitText, scale.y(limit)));
  pick(plot, timesteps, chosen);
  const values = lines.map(() => el("b", {}));
  const names = lines.map((line, k) => el("li", {},
    svg("svg", { viewBox: "0 0 24 10", "aria-hidden": "true" }, svg("path", { class: `line ${line.cls}`, d: "M1 5H23" })), el("span", {}, line.name), values[k]));
  const element = el("section", { class: "track chart" }, el("div", { class: "name" }, el("h3", {}, title), el("ul", {}, names), note && el("p", { class: "small soft" }, note)), plot);
  const draw = (t) => lines.forEach((line, k) => {
    values[k].textContent = (line.text ?? number)(line.y[line.nearest ? line.nearest(t) : nearest(line.t, t)]);
  });
  return { element, draw };
}

function placed(cls, text, y) {
  const mark = el("span", { class: cls }, text);
  mark.style.top = `${Math.max(4, Math.min(96, y))}%`;
  return mark;
}

/** The index of the timestep nearest to t, in a sorted list. */
function nearest(list, t) {
  let [low, high] = [0, list.length - 1];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (list[middle] < t) low = middle + 1;
    else high = middle;
  }
  return low > 0 && t - list[low - 1] <= list[low] - t ? low - 1 : low;
}
