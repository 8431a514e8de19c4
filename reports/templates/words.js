// The texts of a run: the diagnosis with its fix, the facts of the call, and what can be copied.

function diagnosisOf(data, one, run) {
  const [why, ...others] = run.status === "diverge" || run.known ? run.diagnosis ?? [] : [];
  const elsewhere = why?.told_apart_by && data.cases.some((other) => other.name === why.told_apart_by);
  const apart = !why?.told_apart_by ? "No shipped case tells them apart." : [
    "Case ", elsewhere ? el("a", { href: address(why.told_apart_by) }, why.told_apart_by) : `“${why.told_apart_by}”`, " tells some of them apart."];
  return terms([
    ["Why", why && [el("span", { class: "because" }, why.message), " ", el("span", { class: "fault" }, why.fault)]],
    ["Known", why?.facts?.length ? el("ul", {}, why.facts.map((fact) => el("li", {}, fact))) : null],
    ["Proof", why?.facts?.length ? null : why?.evidence],
    ["Fix", why?.fix && el("strong", {}, why.fix)],
    ["Seen before in", why?.met],
    ["Or", why?.indistinguishable_from?.length ? ["Fits these numbers equally well ", why.indistinguishable_from.map((name, k) => [k ? ", " : "", el("span", { class: "fault" }, name)]), ". ", apart,
      others.length > 0 && disclosure("In words", () => el("ul", {}, others.map((other) => el("li", {}, other.message, " ", el("span", { class: "fault" }, other.fault)))))] : null],
    ["Finding", run.known && ["A known finding, as expected. Details: ", el("code", {}, `lockstep findings ${run.known}`)]],
    ["Notes", run.notes?.length ? el("ul", {}, run.notes.map((note) => el("li", {}, note))) : null],
  ], "words");
}

/** When something shows; final states and gradients of weights have no timestep. */
const whenOf = (run, where) => (run.tensors.find((tensor) => tensor.name === where.tensor)?.timed ? ` at timestep ${where.t}` : "");

function told(data, one, run) {
  const name = data.backends[run.b].name;
  const first = run.first ? `first divergence: ${run.first.tensor}${whenOf(run, run.first)}${run.first.backward ? ", in the backward pass" : ""}` : null;
  const worst = run.worst ? `worst: ${number(num(run.sigma))} sigma in ${run.worst.tensor}${whenOf(run, run.worst)}` : null;
  return el("section", { "aria-labelledby": "told" },
    el("h2", { id: "told" }, short(name), " ", el("span", { class: `status-${statusOf(run)}` }, status(statusOf(run)))),
    el("p", {}, [first, worst].filter(Boolean).join("; ")),
    run.status !== "diverge" && run.message && el("p", { class: "notice" }, run.message),
    diagnosisOf(data, one, run),
    run.stderr && [el("h3", {}, "Printed by the backend"), printed("Printed by the backend", run.stderr)],
    el("div", { class: "bar noprint" }, run.markdown && copyButton("Copy as Markdown", run.markdown), run.rerun && copyButton("Copy command", run.rerun)),
    run.rerun && el("p", { class: "small" }, "To run exactly this again: ", el("code", {}, run.rerun)),
    run.text && disclosure("The same as text", () => printed("The same as text", run.text)));
}

function factsOf(data, run) {
  const pairs = (found) => Object.entries(found ?? {}).map(([key, value]) => `${key} ${value}`).join(", ");
  const versions = pairs(run.versions) || pairs(data.backends[run.b].versions);
  const origins = { derived: "the default", case: "set by the case", option: "set by an option", pyproject: "set in pyproject.toml" };
  const seconds = Object.entries(run.seconds ?? {}).map(([key, value]) => `${key} ${number(num(value))} s`).join(", ");
  return el("section", { "aria-labelledby": "facts" }, el("h2", { id: "facts" }, "The run"), terms([
    ["Limit", run.limit && `${run.limit.text}, ${origins[run.limit.origin] ?? run.limit.origin}`],
    ["Repeatable", run.repeatable === null || run.repeatable === undefined ? null : run.repeatable ? "yes: a second call gave the same bits" : "no: a second call gave different bits"],
    ["Device", run.device], ["Versions", versions], ["Time", seconds],
  ]));
}

/** What the framework created, and who reads it, as far as results tell. */
function parametersOf(run) {
  const found = run.parameters ?? [];
  if (found.length === 0) return null;
  const told = (key) => found.some((one) => one[key] !== null && one[key] !== undefined);
  const extra = Object.keys(found[0]).filter((key) => key !== "name" && key !== "shape" && told(key));
  const words = { read_by: "read by" };
  const said = (value) => (Array.isArray(value) ? value.join(", ") : value === null || value === undefined ? "–" : String(value));
  return el("section", { "aria-labelledby": "parameters" }, el("h2", { id: "parameters" }, "Parameters"),
    table("Variables created by the framework", [["name", (one) => one.name], ["shape", (one) => `(${one.shape.join(", ")}${one.shape.length === 1 ? "," : ""})`],
      ...extra.map((key) => [words[key] ?? key, (one) => said(one[key]), "text"])], found),
    extra.length === 0 && el("p", { class: "small soft" }, "The results do not say which timestep reads which variable. For a model of your own, see: ", el("code", {}, "lockstep variables FILE.py:BUILD")));
}
