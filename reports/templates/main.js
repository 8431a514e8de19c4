// The page as a whole: its head, and the view that the address asks for.

function pageHead(data) {
  const counts = STATUSES.filter((name) => data.counts[name]).map((name) => `${data.counts[name].toLocaleString("en")} ${name}`).join(", ") || "no runs";
  const button = el("button", { type: "button", class: "noprint" });
  const THEMES = ["auto", "light", "dark"];
  const set = (theme) => {
    if (theme === "auto") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = theme;
    button.textContent = `Colors: ${theme}`;
    button.dataset.theme = theme;
  };
  button.addEventListener("click", () => {
    const theme = THEMES[(THEMES.indexOf(button.dataset.theme) + 1) % THEMES.length];
    set(theme);
    try {
      localStorage.setItem("lockstep-colors", theme);
    } catch { /* a page from disk may have nowhere to keep it */ }
  });
  let kept = null;
  try {
    kept = localStorage.getItem("lockstep-colors");
  } catch { /* likewise */ }
  set(THEMES.includes(kept) ? kept : "auto");
  return el("div", { class: "top" }, el("div", { class: "grow" }, el("strong", {}, "Lockstep report"), ` · ${counts}${data.known ? `, ${data.known} of them known` : ""}`), button, cameAbout(data));
}

const MOST_VERSIONS = 8; // in the header; all of them are at the end of the overview

/** When results came about, by which command, with which versions. */
function cameAbout(data) {
  const { time, command, ...environment } = data.environment;
  const versions = new Map(["lockstep", "python", "numpy"].filter((name) => typeof environment[name] === "string").map((name) => [name, new Set([environment[name]])]));
  for (const backend of data.backends) for (const [name, version] of Object.entries(backend.versions ?? {})) versions.set(name, (versions.get(name) ?? new Set()).add(version));
  const named = [...versions].map(([name, found]) => `${name} ${[...found][0]}${found.size > 1 ? ` and ${plural(found.size - 1, "other version")}` : ""}`);
  const more = named.length > MOST_VERSIONS ? ` and ${named.length - MOST_VERSIONS} more` : "";
  const when = typeof time === "string" && /^\d{4}-\d\d-\d\dT\d\d:\d\d/.test(time) ? `${time.slice(0, 10)} ${time.slice(11, 16)}${/(\+00:00|Z)$/.test(time) ? " UTC" : ""}` : null;
  return el("div", { class: "came" }, [when && el("time", { datetime: time }, when), typeof command === "string" && el("code", {}, short(command, 300)),
    named.length > 0 && `${named.slice(0, MOST_VERSIONS).join(", ")}${more}`].filter(Boolean).map((part) => el("span", {}, part)));
}

function start(data) {
  const main = el("main", { id: "main", tabindex: "-1" });
  put(document.getElementById("app"), el("header", {}, pageHead(data)), main);
  document.querySelector(".skip").addEventListener("click", (event) => {
    event.preventDefault();
    main.focus();
  });
  addEventListener("beforeprint", () => document.documentElement.classList.add("paper"));
  addEventListener("afterprint", () => document.documentElement.classList.remove("paper"));

  // By what a name is in an address, where half of a surrogate pair cannot stand.
  const index = new Map(data.cases.map((one, k) => [whole(one.name), k]));
  let front = null, scrolled = 0, shownCase = null;
  const go = (moved) => {
    const asked = data.above && !route() ? { name: data.cases[0].name, backend: null, t: null } : route();
    if (shownCase === null && front) scrolled = scrollY;
    if (asked === null) {
      if (location.hash.startsWith("#?") && location.hash !== front?.address()) front = null;
      front ??= overview(data);
      shownCase = null;
      document.title = "Lockstep report";
      main.replaceChildren(el("h1", { class: "said", tabindex: "-1" }, "Overview"), front.element);
      front.entered();
      scrollTo(0, scrolled);
    } else if (index.has(asked.name) || index.has(printable(asked.name))) {
      const k = index.get(asked.name) ?? index.get(printable(asked.name));
      shownCase = k;
      document.title = printable(`${short(data.cases[k].name)} – Lockstep report`);
      main.replaceChildren(caseView(data, k, asked));
      scrollTo(0, 0);
    } else {
      shownCase = -1;
      document.title = "Unknown case – Lockstep report";
      main.replaceChildren(el("h1", { tabindex: "-1" }, "No such case"), el("p", { role: "alert" }, `This report has no case “${short(asked.name)}”.`), el("p", {}, el("a", { href: "#" }, "All cases")));
    }
    if (moved) main.querySelector("h1").focus({ preventScroll: true });
  };
  addEventListener("hashchange", () => go(true));
  go(false);
}

inflated(document.getElementById("data").textContent).then(start).catch((error) => {
  put(document.getElementById("app"), el("main", {}, el("h1", {}, "Lockstep report"), el("p", { role: "alert" },
    `This page could not be drawn: ${error.message}. It needs a browser from 2023 or later.`)));
  console.error(error);
});
