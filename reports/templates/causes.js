// A banner for each cause: where it shows first, why, what to do, the numbers around that, and how to run it again.

const MOST_FULL = 8; // banners with plot and source; of further causes what is said in words
const MOST_SHOWN = 60;
const LINES = 24; // of a source that are shown at once

function causesOf(data) {
  const wrong = data.causes.map((cause, index) => ({ ...cause, index })).filter((cause) => cause.kind !== "known");
  const known = data.causes.map((cause, index) => ({ ...cause, index })).filter((cause) => cause.kind === "known");
  const section = (id, title, found, made) => found.length > 0 && el("section", { "aria-labelledby": id }, el("h2", { id }, title, el("span", { class: "many" }, ` ${found.length}`)), made);
  return [
    section("causes", "What is wrong, by cause", wrong, [
      el("div", { class: wrong.length > 2 ? "banners many-banners" : "banners" }, wrong.slice(0, MOST_SHOWN).map((cause, k) => banner(data, cause, k < MOST_FULL))),
      wrong.length > MOST_SHOWN && disclosure(plural(wrong.length - MOST_SHOWN, "more cause"), () => wrong.slice(MOST_SHOWN).map((cause) => banner(data, cause, false)))]),
    section("known", "Known findings, as expected", known, known.map((cause) => folded(data, cause))),
  ];
}

const exampleOf = (data, cause) => {
  const one = data.cases[cause.case];
  return { one, run: one.runs.find((run) => run.b === cause.b) };
};

function banner(data, cause, full) {
  const { one, run } = exampleOf(data, cause);
  const [why] = run.diagnosis;
  const id = `cause-${cause.index}`;
  const source = full && cause.source !== undefined && data.sources[cause.source];
  const title = cause.where ? capital(cause.where) : run.status === "diverge" ? cause.headline : cause.name;
  const heading = el("h3", { id }, el("span", { class: `status-${cause.kind}` }, status(cause.kind)), " ", short(title, 200).replace(/ (?=\S+$)/, "\u00a0"), " ", el("span", { class: "many" }, amount(cause)));
  const said = el("div", { class: "said-so" },
    el("p", { class: "soft" }, cause.where ? "First wrong there in case " : "In case ", el("a", { href: href(data, one, run) }, short(one.name)), `, ${short(data.backends[run.b].name)}.`),
    why && el("p", { class: "because" }, why.message.split(" And: ").map((sentence, k) => [k > 0 && el("br", {}), sentence]), " ", el("span", { class: "fault" }, why.fault)),
    why?.fix && el("p", {}, el("b", { class: "label" }, "Fix"), " ", why.fix),
    why?.facts.length > 0 && el("ul", { class: "known-facts" }, why.facts.map((fact) => el("li", {}, fact))),
    !why && run.stderr && printed("Printed by the backend", lastLines(run.stderr, 8)),
    full && cause.values && el("p", { class: "small" }, cause.values),
    full && why?.evidence && el("p", { class: "small soft" }, why.evidence),
    full && why?.indistinguishable_from.length > 0 && el("p", { class: "small soft" }, `${plural(why.indistinguishable_from.length, "other explanation")} fit${why.indistinguishable_from.length === 1 ? "s" : ""} these numbers equally well: see the case.`),
    run.rerun && el("div", { class: "rerun" }, el("code", {}, run.rerun)),
    el("div", { class: "bar noprint" }, run.rerun && copyButton("Copy command", run.rerun), full && run.markdown && copyButton("Copy as Markdown", run.markdown)),
    cause.runs > 1 && disclosure(`All ${plural(cause.runs, "run")}`, () => links(data, runsOf(data, cause))));
  return el("article", { class: `banner${source ? " with-source" : ""}${full ? "" : " in-words"}`, "aria-labelledby": id }, heading, said,
    full && cause.plot && smallPlot(cause.plot), source && sourceOf(source, cause));
}

/** A known finding: it was expected, and takes one line. */
function folded(data, cause) {
  const { run } = exampleOf(data, cause);
  const label = el("span", { class: "what" }, el("span", { class: "status-known" }, status("known")), " ", el("span", { class: "fault" }, cause.name), " ", run.diagnosis[0]?.message ?? run.message ?? "");
  return disclosure([label, el("span", { class: "many" }, amount(cause))], () => el("div", { class: "inside" },
    el("p", {}, "Details: ", el("code", {}, `lockstep findings ${cause.name}`)), links(data, runsOf(data, cause))), { cls: "group" });
}

const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);

const amount = (cause) => `${plural(cause.runs, "run")} in ${plural(cause.cases, "case")}`;

const lastLines = (text, most) => text.trimEnd().split("\n").slice(-most).join("\n");

const runsOf = (data, cause) => data.cases.flatMap((one) => one.runs.filter((run) => run.cause === cause.index).map((run) => [one, run]));

/** The lines of a port, numbered as in its file. */
function sourceOf(source, cause) {
  const lines = source.text.split("\n");
  const numbered = (from, to) => el("pre", { class: "source", tabindex: "0", role: "region", "aria-label": `Source of the port, from line ${source.line + from}` },
    lines.slice(from, to).map((line, k) => el("span", { class: "code-line" }, el("span", { class: "line-number", "aria-hidden": "true" }, source.line + from + k), el("span", {}, line || " "))));
  return el("figure", { class: "port-source" }, el("figcaption", { class: "small soft" }, "The port: ", el("code", {}, `${source.file}:${source.line}`)), numbered(0, LINES),
    cause.also && el("p", { class: "small soft" }, "The same in ", cause.also.map((place, k) => [k > 0 && ", ", el("code", {}, place)]), "."),
    lines.length > LINES && disclosure(plural(lines.length - LINES, "more line"), () => numbered(LINES, lines.length)));
}

/** Observed against expected up to the first divergence, and a little beyond; where the two are too near, their difference. */
function smallPlot({ name, t, observed, expected, difference, first }) {
  const [mine, right] = difference ? [difference.map(num), difference.map(() => 0)] : [observed.map(num), expected.map(num)];
  const scale = linear([...mine, ...right]);
  const title = difference ? `${short(name)}: observed − expected` : short(name);
  const [low, high] = [t[0], t.at(-1)];
  const x = (at) => (WIDE * (at - low + 0.5)) / (high - low + 1);
  const lines = [{ cls: "expected", t, y: right }, { cls: "observed", t, y: mine }];
  const picture = svg("svg", { viewBox: `0 0 ${WIDE} ${HIGH}`, preserveAspectRatio: "none", role: "img",
    "aria-label": `${title}, timesteps ${low} to ${high}. At timestep ${first}: observed ${about(num(observed[t.indexOf(first)]))}, expected ${about(num(expected[t.indexOf(first)]))}.` },
    scale.marks.map((mark) => svg("path", { class: "grid", d: `M0 ${scale.y(mark)}H${WIDE}`, ...FIXED })), lines.map((line) => drawn(line, x, scale)));
  const flag = el("span", { class: "flag" });
  flag.style.left = `${x(first) / 10}%`;
  const axis = [low, first, high].filter((at, index, all) => all.indexOf(at) === index && (at === first || Math.abs(x(at) - x(first)) > 120)).map((at) => {
    const mark = el("span", {}, at === first ? `t = ${at}` : at);
    mark.style.left = `${x(at) / 10}%`;
    return mark;
  });
  const key = (cls) => el("span", {}, svg("svg", { viewBox: "0 0 24 10", "aria-hidden": "true" }, svg("path", { class: `line ${cls}`, d: "M1 5H23" })), cls);
  return el("figure", { class: "small-plot" }, el("figcaption", { class: "small" }, el("b", {}, title), key("expected"), key("observed")),
    el("div", { class: "plot still" }, picture, flag, scale.marks.filter((mark) => scale.y(mark) < 97 && scale.y(mark) > 3).map((mark) => placed("tick", scale.text(mark), scale.y(mark)))),
    el("div", { class: "axis small soft" }, axis));
}
