// An LSTM in JavaScript that Lockstep can check: one layer, one direction, with or without lengths, float32 or float64.
//
//   lockstep check --command "node cases/ports/lstm.js {problem} {answer}"
//   lockstep check --command-serve "node cases/ports/lstm.js"
//
// It needs Node 18 and no packages. Without paths it serves: it reads lines with two paths each, and answers each line.
// It computes in double whatever the file holds. What is not one plain layer it leaves out, as unsupported.
"use strict";
const fs = require("fs");
const readline = require("readline");

const KINDS = { F32: Float32Array, F64: Float64Array, I64: BigInt64Array };

class Unsupported extends Error {}

/** The arrays of a safetensors file by name, and what it says of its case. */
function readProblem(path) {
  const bytes = fs.readFileSync(path);
  const start = 8 + Number(bytes.readBigUInt64LE(0)); // the first 8 bytes are the length of the header
  const { __metadata__: metadata, ...entries } = JSON.parse(bytes.toString("utf8", 8, start));
  const arrays = {};
  for (const [name, { dtype, shape, data_offsets: offsets }] of Object.entries(entries)) {
    if (!(dtype in KINDS)) throw new Unsupported(`${name} is ${dtype}: only F32 and F64 are read`);
    const part = Uint8Array.from(bytes.subarray(start + offsets[0], start + offsets[1])); // aligned, being its own
    arrays[name] = { shape, values: Array.from(new KINDS[dtype](part.buffer), Number) };
  }
  return { arrays, about: JSON.parse(metadata.case) };
}

/** Write arrays of one shape into a safetensors file. */
function writeAnswer(path, dtype, shape, arrays) {
  const header = {};
  const parts = [];
  let end = 0;
  for (const [name, values] of Object.entries(arrays)) {
    const typed = KINDS[dtype].from(values);
    header[name] = { dtype, shape, data_offsets: [end, (end += typed.byteLength)] };
    parts.push(Buffer.from(typed.buffer));
  }
  const text = Buffer.from(JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(text.length));
  fs.writeFileSync(path, Buffer.concat([length, text, ...parts]));
}

const sigmoid = (z) => 1 / (1 + Math.exp(-z));

/**
 * YOUR LSTM HERE: h and c after each timestep, (T, B, H), row after row.
 * W (4H, I), R (4H, H) and b (4H) have gates i, f, g, o; lengths is undefined where all sequences are whole.
 */
function lstm({ T, B, I, H }, x, { W, R, b }, h0, c0, lengths) {
  const hSeq = [];
  const cSeq = [];
  let h = h0;
  let c = c0;
  for (let t = 0; t < T; t++) {
    const hNew = [];
    const cNew = [];
    for (let n = 0; n < B; n++) {
      const valid = lengths === undefined || t < lengths[n];
      for (let unit = 0; unit < H; unit++) {
        const z = [0, 1, 2, 3].map((gate) => {
          const row = gate * H + unit;
          let sum = b[row];
          for (let k = 0; k < I; k++) sum += W[row * I + k] * x[(t * B + n) * I + k];
          for (let k = 0; k < H; k++) sum += R[row * H + k] * h[n * H + k];
          return sum;
        });
        const [i, f, g, o] = [sigmoid(z[0]), sigmoid(z[1]), Math.tanh(z[2]), sigmoid(z[3])];
        const before = n * H + unit;
        // Past its end a sequence keeps its state.
        cNew.push(valid ? f * c[before] + i * g : c[before]);
        hNew.push(valid ? o * Math.tanh(cNew[before]) : h[before]);
        hSeq.push(valid ? hNew[before] : 0);
        cSeq.push(cNew[before]);
      }
    }
    h = hNew;
    c = cNew;
  }
  return { h_seq: hSeq, c_seq: cSeq };
}

function answer(problemPath, answerPath) {
  const { arrays, about } = readProblem(problemPath);
  if (!about.plain) throw new Unsupported("only one plain layer, without gradients, is computed");
  const { x, W, R, b, h0, c0, lengths } = Object.fromEntries(
    Object.entries(arrays).map(([name, array]) => [name, array.values])
  );
  const sizes = { T: about.timesteps, B: about.batch, I: about.input_size, H: about.hidden_size };
  const results = lstm(sizes, x, { W, R, b }, h0, c0, lengths);
  writeAnswer(answerPath, about.dtype === "float64" ? "F64" : "F32", [sizes.T, sizes.B, sizes.H], results);
}

function serve() {
  readline.createInterface({ input: process.stdin }).on("line", (line) => {
    try {
      answer(...line.split("\t"));
      console.log("ok");
    } catch (error) {
      console.log(`${error instanceof Unsupported ? "unsupported" : "error"} ${error.message.split("\n")[0]}`);
    }
  });
}

const paths = process.argv.slice(2);
try {
  paths.length ? answer(...paths) : serve();
} catch (error) {
  console.error(error instanceof Unsupported ? error.message : error);
  process.exitCode = error instanceof Unsupported ? 77 : 1;
}
