// Sigma in colors and words: one hue in steps up to the limit, another one beyond it; a status is a shape and a word too.

const STATUSES = ["diverge", "failed", "crashed", "timeout", "known", "agree", "unsupported"];
const MARKS = { agree: "✓", diverge: "✕", known: "◆", unsupported: "○", failed: "▲", crashed: "■", timeout: "◔" };

const WITHIN = [0.03, 0.1, 0.2, 0.35, 0.6, 1]; // of the limit: a0 .. a5
const BEYOND = [3, 10, 100, 1e3, 1e4, Infinity]; // times the limit: b0 .. b5
const USUAL = 10; // sigma, where a case's limit is not one of sigma

/** What a run came to: a known finding was expected, and is told apart. */
const statusOf = (run) => (run.known ? "known" : run.status);

const limitOf = (run) => num(run.limit?.sigma) ?? USUAL;

/** What colors turn at, in words: a limit need not be one of sigma. */
const boundOf = (run) => (run.limit?.sigma === undefined || run.limit?.sigma === null ? `${USUAL} sigma` : "the limit");

/** The class of a color step. */
function tone(sigma, limit) {
  if (sigma === null || sigma === undefined) return "";
  if (Number.isNaN(sigma)) return "nan";
  const share = sigma / limit;
  return share <= 1 ? `a${WITHIN.findIndex((most) => share <= most)}` : `b${BEYOND.findIndex((most) => share <= most)}`;
}

/** A run's step. What it came to decides on the side of the turning point: a limit need not be one of sigma. */
function toneOf(run) {
  const found = tone(num(run.sigma), limitOf(run));
  if (run.status === "agree" && found.startsWith("b")) return "a5";
  return run.status === "diverge" && found.startsWith("a") ? "b0" : found;
}

/** Writes a measure shortly: 0.83, 12, 4.3e5, inf. */
function number(value) {
  if (value === null || value === undefined) return "–";
  if (!Number.isFinite(value)) return Number.isNaN(value) ? "nan" : value > 0 ? "inf" : "-inf";
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size >= 1e5 || size < 1e-3) return value.toExponential(1).replace(".0", "").replace("+", "");
  if (size >= 100) return String(Number(value.toPrecision(3)));
  return size < 10 ? String(Number(value.toPrecision(2))) : String(Math.round(value));
}

/** A value in full, as far as float32 tells it. */
const full = (value) =>
  value === null || value === undefined ? "–" : Number.isFinite(value) ? String(Number(value.toPrecision(9))) : number(value);

/** A status as shape and word. */
const status = (name) =>
  [el("span", { class: "mark", "aria-hidden": "true" }, MARKS[name] ?? "?"), " ", el("span", { class: "word" }, name)];

/** A value that was put together from float32: further digits would not be those that were compared. */
const about = (value) =>
  value === null || value === undefined ? "–" : Number.isFinite(value) ? String(Number(value.toPrecision(6))) : number(value);

/** The colors in words; without a limit, where runs have several, by multiples of it. */
function legend(limit) {
  const measure = (times) => (limit ? number(times * limit) : `${number(times)} limits`);
  const steps = (letter, count) => Array.from({ length: count }, (_, k) => el("i", { class: `${letter}${k}` }));
  return el("div", { class: "legend" },
    el("span", {}, "largest error of all tensors, in sigma"),
    el("span", {}, `${measure(0.03)} or less`),
    el("span", { class: "steps", role: "img", "aria-label": `Colors: six steps of blue up to the limit, six of orange beyond it` },
      steps("a", 6), el("b", {}), steps("b", 6)),
    el("span", {}, `${measure(1e4)} or more`),
    el("span", {}, `from blue to orange: the limit${limit ? `, ${number(limit)} sigma` : " of each run, or 10 sigma if it is none of sigma"}`),
    el("span", {}, el("i", { class: "nan" }), "not comparable (NaN)"));
}
