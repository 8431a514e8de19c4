// An LSTM in Rust that Lockstep can check: one layer, one direction, with or without lengths, float32 or float64.
//
//   rustc --edition 2021 -O -o ./lstm cases/ports/lstm.rs
//   lockstep check --command "./lstm {problem} {answer}"
//
// It needs Rust 1.63, no crates, and computes in f64 whatever the file holds. Other layers it refuses, by exit status 77.
#![allow(non_snake_case)] // T, B, I, H, W and R are the names that papers have
use std::{env, fs, process};

/// A file in the format safetensors: the length of the header in 8 bytes, the header, the numbers.
struct Problem {
    header: String,
    data: Vec<u8>,
}

struct Array {
    shape: Vec<usize>,
    values: Vec<f64>,
}

fn stop(status: i32, reason: &str) -> ! {
    eprintln!("{}", reason);
    process::exit(status)
}

fn read_problem(path: &str) -> Problem {
    let bytes = fs::read(path).unwrap_or_else(|error| stop(1, &format!("cannot read {}: {}", path, error)));
    let start = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    Problem { header: String::from_utf8_lossy(&bytes[8..start]).into_owned(), data: bytes[start..].to_vec() }
}

/// The whole numbers in brackets behind a key, as in "shape":[9,4,3].
fn numbers(entry: &str, key: &str) -> Vec<usize> {
    let list = entry.split_once(&format!("\"{}\":[", key)).and_then(|(_, rest)| rest.split_once(']'));
    list.map_or(vec![], |(list, _)| list.split(',').filter_map(|number| number.parse().ok()).collect())
}

impl Problem {
    /// Whether the header's metadata, JSON in a text of JSON, has a key with a value.
    fn says(&self, key: &str, value: &str) -> bool {
        self.header.contains(&format!("\\\"{}\\\":{}", key, value))
    }

    /// An array by its name, which the header tells of as "x":{"dtype":"F32","shape":[9,4,3],"data_offsets":[0,432]}.
    fn array(&self, name: &str) -> Option<Array> {
        let entry = self.header.split_once(&format!("\"{}\":{{", name))?.1.split_once('}')?.0;
        let offsets = numbers(entry, "data_offsets");
        let part = &self.data[offsets[0]..offsets[1]];
        let values = if entry.contains("\"F32\"") {
            part.chunks(4).map(|number| f32::from_le_bytes(number.try_into().unwrap()).into()).collect()
        } else if entry.contains("\"F64\"") {
            part.chunks(8).map(|number| f64::from_le_bytes(number.try_into().unwrap())).collect()
        } else if entry.contains("\"I64\"") {
            part.chunks(8).map(|number| i64::from_le_bytes(number.try_into().unwrap()) as f64).collect()
        } else {
            stop(77, &format!("arrays must be F32 or F64, not as is {}", name))
        };
        Some(Array { shape: numbers(entry, "shape"), values })
    }
}

fn sigmoid(z: f64) -> f64 {
    1.0 / (1.0 + (-z).exp())
}

/// YOUR LSTM HERE: h and c after each timestep, (T, B, H), row after row.
/// W (4H, I), R (4H, H) and b (4H) have gates i, f, g, o.
fn lstm(x: &Array, W: &[f64], R: &[f64], b: &[f64], h0: &[f64], c0: &[f64], lengths: Option<&[f64]>) -> [Vec<f64>; 2] {
    let (T, B, I, H) = (x.shape[0], x.shape[1], x.shape[2], b.len() / 4);
    let (mut h, mut c) = (h0.to_vec(), c0.to_vec());
    let (mut h_seq, mut c_seq) = (vec![], vec![]);
    for t in 0..T {
        let h_before = h.clone();
        for n in 0..B {
            let valid = lengths.map_or(true, |lengths| (t as f64) < lengths[n]);
            for unit in 0..H {
                let z = |gate: usize| {
                    let (row, x_t) = (gate * H + unit, &x.values[(t * B + n) * I..]);
                    let from_x: f64 = (0..I).map(|k| W[row * I + k] * x_t[k]).sum();
                    let from_h: f64 = (0..H).map(|k| R[row * H + k] * h_before[n * H + k]).sum();
                    from_x + from_h + b[row]
                };
                let (i, f, g, o) = (sigmoid(z(0)), sigmoid(z(1)), z(2).tanh(), sigmoid(z(3)));
                if valid {
                    c[n * H + unit] = f * c[n * H + unit] + i * g;
                    h[n * H + unit] = o * c[n * H + unit].tanh();
                }
                h_seq.push(if valid { h[n * H + unit] } else { 0.0 });
                c_seq.push(c[n * H + unit]);
            }
        }
    }
    [h_seq, c_seq]
}

fn main() {
    let words: Vec<String> = env::args().skip(1).collect();
    let paths = if words.len() == 2 { words } else { stop(1, "two paths are needed: PROBLEM ANSWER") };
    let problem = read_problem(&paths[0]);
    if !problem.says("plain", "true") {
        stop(77, "only one plain layer, without gradients, is computed");
    }
    let [x, W, R, b, h0, c0] = ["x", "W", "R", "b", "h0", "c0"].map(|name| problem.array(name).unwrap());
    let lengths = problem.array("lengths").map(|array| array.values);
    let results = lstm(&x, &W.values, &R.values, &b.values, &h0.values, &c0.values, lengths.as_deref());
    let (wide, size) = (problem.says("dtype", "\\\"float64"), results[0].len());
    let (name, bytes) = if wide { ("F64", 8 * size) } else { ("F32", 4 * size) };
    let kind = format!("\"dtype\":\"{}\",\"shape\":[{},{},{}]", name, x.shape[0], x.shape[1], R.shape[1]);
    let entry = |name, start, end| format!("\"{}\":{{{},\"data_offsets\":[{},{}]}}", name, kind, start, end);
    let header = format!("{{{},{}}}", entry("h_seq", 0, bytes), entry("c_seq", bytes, 2 * bytes));
    let mut answer = (header.len() as u64).to_le_bytes().to_vec();
    answer.extend(header.bytes());
    for value in results.concat() {
        if wide { answer.extend(value.to_le_bytes()) } else { answer.extend((value as f32).to_le_bytes()) }
    }
    fs::write(&paths[1], answer).unwrap_or_else(|error| stop(1, &format!("cannot write {}: {}", paths[1], error)));
}
