// Reads what the page holds: JSON, gzipped, as base64. Its form is told in reports/page_data.py.

function bytes(text) {
  if (Uint8Array.fromBase64) return Uint8Array.fromBase64(text);
  const characters = atob(text);
  const found = new Uint8Array(characters.length);
  for (let k = 0; k < found.length; k++) found[k] = characters.charCodeAt(k);
  return found;
}

// What a run has not is left out of the data.
const NOTHING = {
  known: null, sigma: null, worst: null, limit: null, first: null, message: null, stderr: null, text: "", diagnosis: [], notes: [],
  rerun: null, markdown: null, seconds: {}, versions: {}, device: null, parameters: [], repeatable: null, local: null,
  localFirst: null, tensors: [], details: null, cause: null,
};

async function inflated(text) {
  const stream = new Blob([bytes(text)]).stream().pipeThrough(new DecompressionStream("gzip"));
  const data = JSON.parse(await new Response(stream).text());
  for (const one of data.cases) one.runs = one.runs.map((run) => ({ ...NOTHING, ...run }));
  return data;
}

/** Numbers that JSON cannot hold are strings. */
const num = (value) => (typeof value === "string" ? Number(value) : value);

/** Sorts sigma: NaN is farthest away, then infinity; null, nothing, comes last. */
const distance = (sigma) => (sigma === null || sigma === undefined ? -1 : Number.isNaN(sigma) ? Number.MAX_VALUE * 2 : sigma);

/** Base64 of little-endian float32 as rows of numbers. */
function rows(text, count) {
  const flat = new Float32Array(bytes(text).buffer);
  const width = flat.length / count;
  return Array.from({ length: count }, (_, k) => flat.subarray(k * width, (k + 1) * width));
}

/** The numbers of a tensor at some places: null where the results do not hold them. */
function unpacked(one, run, tensor) {
  const detail = run.details?.[tensor];
  if (!detail || detail.at.length === 0 || detail.t.length === 0) return null;
  const count = detail.at.length;
  const shared = (indices) => indices.map((index) => rows(one.shared[index], 1)[0]);
  const expected = shared(detail.expected);
  const noise = shared(detail.noise);
  const error = rows(detail.error, count);
  const counter = detail.counterfactual ? rows(detail.counterfactual, count) : null;
  return { t: detail.t, at: detail.at, expected, noise, error, counter, detail };
}

/** Codes of a heat map, row by row; a code's sigma is on a log scale from 0.01 (0) to 1e6 (254), 255 is NaN. */
function heat(detail) {
  const codes = bytes(detail.heat);
  const columns = codes.length / detail.heat_t.length;
  return { codes, columns, sigma: (code) => (code === 255 ? NaN : 10 ** (-2 + (8 * code) / 254)) };
}

/** A tensor's series over buckets of timesteps: sigma as numbers, and for each bucket where it begins and is worst. */
function series(tensor, one) {
  const every = tensor.every ?? 1;
  const sigma = (tensor.sigma ?? []).map(num); // none where there are no timesteps
  const count = sigma.length;
  // What belongs to a decoder's source has as many timesteps as that.
  const timesteps = Math.ceil(one.timesteps / every) === count ? one.timesteps : count * every;
  const start = (k) => Math.min(k * every, timesteps);
  return {
    timesteps,
    sigma, count, start,
    worst: (k) => tensor.tbest?.[k] ?? start(k),
    bucket: (t) => Math.max(0, Math.min(Math.floor(t / every), count - 1)),
    name: (k) => (every > 1 && start(k + 1) - start(k) > 1 ? `timesteps ${start(k)} to ${start(k + 1) - 1}` : `timestep ${start(k)}`),
    reduced: every > 1,
  };
}
