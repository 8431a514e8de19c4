// Lanes: for each backend and tensor a row of ticks, one for each timestep (or bucket of timesteps), colored by sigma.
// All share one axis of time and one cursor. Each lane is a slider to the keyboard and to those who listen.

const MOST_OPEN = 24; // lanes shown at once; else backends that agree begin folded

function lanes(data, one, view, select) {
  const total = one.runs.reduce((sum, run) => sum + timed(run).length, 0);
  const opened = new Set(one.runs.filter((run) => total <= MOST_OPEN || run === view.run).map((run) => run.b));
  const element = el("div", {
    class: "lanes", role: "group", "aria-label": "Lanes: left and right move in time, up and down from lane to lane",
    keydown: (event) => moveKeys(event, one, view, select),
  });
  const all = new Map(); // "b tensor" -> lane
  const heads = new Map();

  const build = () => {
    all.clear();
    heads.clear();
    element.replaceChildren(ruler(one.timesteps, view.t, (t) => select({ t })), ...one.runs.flatMap((run) => {
      const name = data.backends[run.b].name;
      const tensors = timed(run);
      const open = opened.has(run.b);
      const button = el("button", { type: "button", "aria-pressed": "false", title: name, click: () => select({ run }) }, name);
      heads.set(run, button);
      const fold = tensors.length > 0 && el("button", {
        type: "button", class: "fold", "aria-expanded": String(open), "aria-label": `Lanes of ${short(name)}`,
        click: () => {
          if (!opened.delete(run.b)) opened.add(run.b);
          build();
          draw();
          heads.get(run).parentElement.querySelector(".fold").focus();
        },
      }, open ? "▾" : "▸");
      const worst = run.sigma === null || run.sigma === undefined ? "" : `${number(num(run.sigma))} sigma`;
      const head = el("div", { class: "backend-head" }, fold, button,
        el("span", { class: `status-${statusOf(run)}` }, status(statusOf(run))), el("span", { class: "soft" }, worst),
        open ? once(run, view, select) : worst && el("span", { class: "soft small" }, `${plural(tensors.length, "lane")} folded`));
      const rowsOf = open ? tensors.map((tensor) => {
        const found = lane(one, run, tensor, name, view, select);
        all.set(`${run.b} ${tensor.name}`, found);
        return found.element;
      }) : [];
      return [head, ...rowsOf];
    }));
  };

  const draw = () => {
    if (!opened.has(view.run.b)) {
      opened.add(view.run.b);
      build();
    }
    for (const [run, button] of heads) button.setAttribute("aria-pressed", String(run === view.run));
    for (const [key, found] of all) found.draw(key === `${view.run.b} ${view.tensor?.name}`);
    element.querySelector(".now").replaceWith(now(one.timesteps, view.t));
    for (const chip of element.querySelectorAll(".once button")) chip.setAttribute("aria-pressed", String(chip.dataset.of === `${view.run.b} ${view.tensor?.name}`));
  };
  const focus = () => all.get(`${view.run.b} ${view.tensor?.name}`)?.focus();
  build();
  return { element, draw, focus };
}

const timed = (run) => (run.tensors ?? []).filter((tensor) => tensor.timed);

/** Whether computation goes from the last timestep to the first. */
const backward = (tensor) => Boolean(tensor.reverse) !== Boolean(tensor.gradient);

function lane(one, run, tensor, backend, view, select) {
  const all = series(tensor, one);
  const limit = limitOf(run);
  const back = backward(tensor);
  const picture = ticks(all, limit);
  const plot = el("div", { class: "plot" }, picture);
  if (tensor.first) {
    const flag = el("span", { class: "flag", title: `first divergence: timestep ${tensor.first.t}` });
    flag.style.left = `${(100 * (tensor.first.t + 0.5)) / all.timesteps}%`;
    put(plot, flag);
  }
  const worst = num(tensor.worst.sigma);
  const slider = el("div", {
    class: "track lane", role: "slider", tabindex: "-1", "data-of": `${run.b} ${tensor.name}`,
    "aria-label": `${short(backend)}, ${short(tensor.name)}${back ? ", computed backward in time" : ""}`,
    "aria-valuemin": 0, "aria-valuemax": Math.max(0, all.timesteps - 1),
  }, el("div", { class: "name" }, el("span", { title: tensor.name }, tensor.name),
    el("span", { class: "way", title: back ? "computed backward: from the last timestep to the first" : "computed forward" }, back ? ["◀", el("span", {}, " backward")] : "▶"),
    el("span", { class: "value" }, number(worst))), plot);
  if (all.timesteps !== one.timesteps) put(slider.firstChild.firstChild, el("span", { class: "soft" }, ` (${all.timesteps} source steps)`));
  pick(plot, all.timesteps, (t) => select({ run, tensor, t: all.reduced ? all.worst(all.bucket(t)) : t }));
  const draw = (current) => {
    const bucket = all.bucket(view.t);
    const sigma = all.sigma[bucket];
    if (all.timesteps !== one.timesteps) cursor(plot, view.t, all.timesteps);
    slider.setAttribute("aria-current", String(current));
    slider.tabIndex = current ? 0 : -1;
    slider.setAttribute("aria-valuenow", view.t);
    slider.setAttribute("aria-valuetext", `timestep ${view.t}: ${number(sigma)} sigma, ${sigma <= limit ? "within" : "beyond"} ${boundOf(run)}`
      + (tensor.first && all.bucket(tensor.first.t) === bucket ? ", first divergence" : ""));
  };
  return { element: slider, draw, focus: () => slider.focus() };
}

/** All ticks of a lane as one path for each color: within the limit they are low, beyond it they fill the lane. */
function ticks({ sigma, count, start, timesteps }, limit) {
  const paths = new Map();
  const air = count <= 160 ? Math.min(0.14, count / 400) : 0; // of a tick's width: about two pixels
  sigma.forEach((value, k) => {
    const step = tone(value, limit);
    const top = step.startsWith("a") ? 4 : 0;
    const width = start(k + 1) - start(k) || 1;
    const d = `M${start(k) + (air * width) / 2} ${top}h${width * (1 - air)}V14h${-width * (1 - air)}z`;
    paths.set(step, (paths.get(step) ?? "") + d);
  });
  return svg("svg", { viewBox: `0 0 ${timesteps} 14`, preserveAspectRatio: "none", "aria-hidden": "true" },
    svg("rect", { class: "bed", x: 0, y: 4, width: timesteps, height: 10 }),
    [...paths].map(([step, d]) => svg("path", { class: step, d })));
}

/** What has no timesteps: final states, and gradients of weights. */
function once(run, view, select) {
  const tensors = (run.tensors ?? []).filter((tensor) => !tensor.timed);
  if (tensors.length === 0) return null;
  return el("div", { class: "once", role: "group", "aria-label": "Tensors without timesteps" }, tensors.map((tensor) => el("button", {
    type: "button", class: `tone ${tone(num(tensor.worst.sigma), limitOf(run))}`, "data-of": `${run.b} ${tensor.name}`, "aria-pressed": "false",
    click: () => select({ run, tensor }),
  }, `${tensor.verdict === "diverge" ? "✕ " : ""}${short(tensor.name)} ${number(num(tensor.worst.sigma))}`)));
}

/** The axis of time, with the selected timestep. */
function ruler(timesteps, t, chosen) {
  const plot = el("div", { class: "plot" });
  for (const at of marks(0, timesteps - 1, 6).filter((mark) => Number.isInteger(mark))) {
    const mark = el("span", {}, at);
    mark.style.left = `${(100 * (at + 0.5)) / timesteps}%`;
    put(plot, mark);
  }
  put(plot, now(timesteps, t));
  pick(plot, timesteps, chosen);
  return el("div", { class: "track ruler", "aria-hidden": "true" }, el("div", { class: "name soft small" }, el("span", {}, "timestep")), plot);
}

function now(timesteps, t) {
  const mark = el("span", { class: "now" }, `t = ${t}`);
  mark.style.left = `clamp(2rem, ${(100 * (t + 0.5)) / timesteps}%, calc(100% - 2rem))`;
  return mark;
}

/** Moves the cursor, which every plot within an element has. */
const cursor = (element, t, timesteps) => element.style.setProperty("--cursor", Math.min((t + 0.5) / Math.max(timesteps, 1), 1));

/** Tells the timestep under a pointer that is pressed, or dragged. */
function pick(plot, timesteps, chosen) {
  const at = (event) => {
    const box = plot.getBoundingClientRect();
    const t = Math.floor(((event.clientX - box.left) / box.width) * timesteps);
    chosen(Math.max(0, Math.min(timesteps - 1, t)));
  };
  plot.addEventListener("pointerdown", (event) => {
    if (event.button === 0) at(event);
  });
  plot.addEventListener("pointermove", (event) => {
    if (event.buttons & 1) at(event);
  });
}

/** The keys of the lanes: along time, and from lane to lane. */
function moveKeys(event, one, view, select) {
  const slider = event.target.closest?.("[role=slider]");
  if (!slider || event.altKey || event.ctrlKey || event.metaKey) return;
  const all = view.tensor?.timed ? series(view.tensor, one) : null;
  const last = (all?.timesteps ?? one.timesteps) - 1;
  const step = all?.reduced && !event.shiftKey ? (way) => all.worst(Math.max(0, Math.min(all.count - 1, all.bucket(view.t) + way))) : (way) => view.t + way;
  const moves = {
    ArrowLeft: () => step(-1), ArrowRight: () => step(1), PageUp: () => step(-10), PageDown: () => step(10),
    Home: () => 0, End: () => last,
  };
  const sliders = [...event.currentTarget.querySelectorAll("[role=slider]")];
  const next = { ArrowUp: -1, ArrowDown: 1 }[event.key];
  if (next) {
    const other = sliders[sliders.indexOf(slider) + next];
    if (other) {
      const [b, ...name] = other.dataset.of.split(" ");
      const run = one.runs.find((found) => found.b === Number(b));
      select({ run, tensor: run.tensors.find((tensor) => tensor.name === name.join(" ")), t: view.t, focus: true });
    }
  } else if (moves[event.key]) {
    select({ t: Math.max(0, Math.min(last, moves[event.key]())) });
  } else return;
  event.preventDefault();
}
