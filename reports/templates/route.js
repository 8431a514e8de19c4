// Addresses within the page: #case/backend/t, each part encoded; nothing, or the filters behind #?, is the overview.

const whole = (text) => (text.toWellFormed ? text.toWellFormed() : text.replace(/[\ud800-\udfff]/g, "\ufffd"));
const encoded = (text) => encodeURIComponent(whole(String(text)));

/** The address of a case, and of a backend and a timestep in it. */
const address = (name, backend, t) =>
  "#" + [name, backend, t].filter((part) => part !== null && part !== undefined).map(encoded).join("/");

/** What the address asks for: {name, backend, t}, each null where it is left out; null for the overview. */
function route() {
  if (location.hash.startsWith("#?")) return null;
  const [name, backend = null, t = null] = location.hash.slice(1).split("/").map(decoded);
  return name ? { name, backend: backend || null, t: t === null || t === "" ? null : t } : null;
}

function decoded(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

/** The filters of the overview as an address: each list under its name, what is not set left out. */
function filterAddress(wanted) {
  const parts = new URLSearchParams();
  if (wanted.text) parts.set("search", whole(wanted.text));
  for (const name of ["status", "backend", "feature"]) for (const value of wanted[name]) parts.append(name, whole(value));
  if (wanted.sort !== "order") parts.set("sort", wanted.sort);
  return parts.size ? `#?${parts}` : "#";
}

/** The filters that an address has; what this report does not know is left out. */
function filtersAsked(known) {
  const parts = new URLSearchParams(location.hash.startsWith("#?") ? location.hash.slice(2) : "");
  const chosen = (name) => new Set(known[name].filter((value) => parts.getAll(name).includes(whole(value))));
  const sort = parts.get("sort");
  return { text: (parts.get("search") ?? "").toLowerCase(), status: chosen("status"), backend: chosen("backend"), feature: chosen("feature"), sort: known.sort.includes(sort) ? sort : "order" };
}

/** Keeps the address up to date without a new entry in the browser's history. */
const remember = (name, backend, t) => history.replaceState(null, "", address(name, backend, t));
