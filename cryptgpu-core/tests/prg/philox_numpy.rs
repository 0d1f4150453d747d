//! Thousands of random scripts run here and by NumPy itself, compared bit for bit after every step,
//! state included. Needs a Python with NumPy: `CRYPTGPU_PYTHON`, or `.venv` in the workspace's
//! root; without one it says so and passes. `PHILOX_NUMPY_SCRIPTS` sets how many scripts are run.

#![allow(clippy::unwrap_used)]

use cryptgpu_core::prg::PrgError;
use cryptgpu_core::prg::philox::{Choice, Entropy, Generator, Int256, Integer, Philox, PhiloxState, SeedSequence};
use ndarray::{Array, Axis};
use serde_json::{Value, json};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const ORACLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/philox_numpy.py");

/// Makes the scripts: itself a Philox, so a failure can be repeated.
struct Random(Generator);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0.integer(0..n).unwrap()
    }

    fn flip(&mut self) -> bool {
        self.0.integer(..).unwrap()
    }

    fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }

    /// An integer of up to 320 bits with all sizes likely, in hexadecimal as both sides read it.
    fn big(&mut self) -> (String, String) {
        let digits = 1 + self.below(80);
        let digit: String = (0..digits).map(|_| char::from_digit(self.below(16) as u32, 16).unwrap()).collect();
        let text = format!("0x{digit}");
        let decimal = decimal(&digit);
        (text, decimal)
    }

    /// A signed decimal integer.
    fn delta(&mut self) -> String {
        let sign = if self.flip() { "-" } else { "" };
        format!("{sign}{}", self.big().1)
    }

    fn entropy(&mut self, depth: usize) -> Value {
        if depth > 0 && self.below(3) == 0 {
            return (0..self.below(12)).map(|_| self.entropy(depth - 1)).collect();
        }
        Value::String(self.big().1)
    }

    fn shape(&mut self) -> Vec<usize> {
        match self.below(4) {
            0 => vec![],
            1 => vec![self.below(6), 1 + self.below(5)],
            2 => vec![self.below(5), self.below(4), self.below(4)],
            _ => vec![self.below(70)],
        }
    }

    /// A number as text, which both sides read exactly; JSON's numbers are not.
    fn float(&mut self) -> String {
        let scale = self.pick(&[0.0, 1e-300, 1e-3, 1.0, 1e6, 1e300, 1.7e308]);
        format!("{:e}", (self.0.next_f64() * 2.0 - 1.0) * scale)
    }

    /// Bounds within a type's, of narrow, middling and full ranges.
    fn bounds<T: Integer>(&mut self) -> (i128, i128) {
        let (min, max) = (T::MIN.widen(), T::MAX.widen());
        let wide = |random: &mut Self| i128::from(random.0.integer::<u64>(..).unwrap()) % (max - min + 1);
        let low = if self.flip() { min + wide(self) } else { min };
        let high = match self.below(5) {
            0 => max,
            1 => low + i128::from(u32::MAX) - 1 + self.below(3) as i128,
            2 => low + wide(self) % 300,
            _ => low + wide(self),
        };
        (low, high.min(max))
    }

    fn probabilities(&mut self, n: usize) -> Vec<f64> {
        let weights: Vec<f64> = (0..n).map(|_| if self.below(5) == 0 { 0.0 } else { self.0.next_f64() }).collect();
        let sum: f64 = weights.iter().sum();
        let wrong = if self.below(12) == 0 { 1.1 } else { 1.0 };
        weights.iter().map(|w| w / sum * wrong).map(|p| if p.is_finite() { p } else { -1.0 }).collect()
    }

    fn op(&mut self) -> Value {
        let shape = self.shape();
        let n = self.below(50);
        match self.below(19) {
            0 => json!({"op": "raw", "shape": shape}),
            1 => json!({"op": "random", "shape": shape}),
            2 => json!({"op": "random_f32", "shape": shape}),
            3 => json!({"op": "standard_normal", "shape": [self.below(400)]}),
            4 => json!({"op": "normal", "shape": shape, "loc": self.float(), "scale": self.float()}),
            5 => json!({"op": "uniform", "shape": shape, "low": self.float(), "high": self.float()}),
            6..=9 => self.integers_op(&shape),
            10 => json!({"op": "bytes", "n": n}),
            11 => json!({"op": "permutation", "n": n}),
            12 => json!({"op": "shuffle", "n": n}),
            13 | 14 => {
                let shape = [1 + self.below(5), 1 + self.below(5), 1 + self.below(5)];
                json!({"op": self.pick(&["shuffle_axis", "permuted_copy"]), "shape": shape, "axis": self.below(3)})
            }
            15 => self.choice_op(),
            16 => json!({"op": "advance", "delta": self.delta()}),
            17 if self.flip() => json!({"op": "jumped", "jumps": self.delta()}),
            17 => json!({"op": "spawn", "n": 1 + self.below(4)}),
            _ => json!({"op": "state", "state": self.state()}),
        }
    }

    fn integers_op(&mut self, shape: &[usize]) -> Value {
        let dtype = self.pick(&["bool", "uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64"]);
        let (low, high) = match dtype {
            "bool" => self.bounds::<bool>(),
            "uint8" => self.bounds::<u8>(),
            "uint16" => self.bounds::<u16>(),
            "uint32" => self.bounds::<u32>(),
            "uint64" => self.bounds::<u64>(),
            "int8" => self.bounds::<i8>(),
            "int16" => self.bounds::<i16>(),
            "int32" => self.bounds::<i32>(),
            _ => self.bounds::<i64>(),
        };
        let scalar = self.below(3) == 0;
        let shape = if scalar { vec![self.below(8)] } else { shape.to_vec() };
        json!({"op": "integers", "dtype": dtype, "low": low.to_string(), "high": high.to_string(),
               "scalar": scalar, "shape": shape})
    }

    fn choice_op(&mut self) -> Value {
        let n = match self.below(8) {
            0 => 10_001 + self.below(2000),
            1 => self.below(2),
            _ => 1 + self.below(60),
        };
        let size = if n > 10_000 { self.below(1200) } else { self.below(n + 2) };
        let p = (n < 100 && self.flip()).then(|| self.probabilities(n));
        let p = p.map(|p| p.iter().map(|x| format!("{x:e}")).collect::<Vec<_>>());
        json!({"op": "choice", "n": n, "shape": [size], "replace": self.flip(), "p": p, "shuffle": self.flip()})
    }

    fn state(&mut self) -> Value {
        let mut word = || self.0.bit_generator_mut().random_raw();
        let state = PhiloxState {
            counter: [u64::MAX - word() % 3, u64::MAX, word(), word()],
            key: [word(), word()],
            buffer: [word(), word(), word(), word()],
            buffer_pos: (word() % 5) as usize,
            has_uint32: word() % 2 == 1,
            uinteger: word() as u32,
        };
        serde_json::to_value(state).unwrap()
    }

    fn script(&mut self) -> Value {
        let counter: Vec<String> =
            (0..4).map(|_| if self.flip() { u64::MAX } else { self.below(1 << 40) as u64 }.to_string()).collect();
        let mut ops: Vec<Value> = (0..8).map(|_| self.op()).collect();
        // What NumPy spawns from a jumped generator is random.
        if let Some(jump) = ops.iter().position(|op| op["op"] == "jumped") {
            let mut place = 0..;
            ops.retain(|op| place.next() <= Some(jump) || op["op"] != "spawn");
        }
        let spawn_key: Vec<Value> = (0..self.below(3)).map(|_| self.entropy(0)).collect();
        json!({"entropy": self.entropy(2), "spawn_key": spawn_key, "pool_size": 4 + self.below(3) * self.below(5),
               "counter": counter, "ops": ops})
    }
}

/// Decimal digits of a hexadecimal number.
fn decimal(hex: &str) -> String {
    let mut digits = vec![0u32];
    for c in hex.chars() {
        let mut carry = c.to_digit(16).unwrap();
        for digit in &mut digits {
            carry += *digit * 16;
            *digit = carry % 10;
            carry /= 10;
        }
        while carry > 0 {
            digits.push(carry % 10);
            carry /= 10;
        }
    }
    digits.iter().rev().map(|d| char::from_digit(*d, 10).unwrap()).collect()
}

fn entropy(value: &Value) -> Entropy {
    match value {
        Value::Array(list) => list.iter().map(entropy).collect(),
        one => one.as_str().unwrap().parse().unwrap(),
    }
}

fn usizes(value: &Value) -> Vec<usize> {
    serde_json::from_value(value.clone()).unwrap()
}

fn integers<T: Integer + TryFrom<i128>>(rng: &mut Generator, op: &Value) -> Result<Vec<i128>, PrgError> {
    let bound = |name: &str| T::try_from(op[name].as_str().unwrap().parse().unwrap()).ok().unwrap();
    ranged(rng, op, bound("low")..=bound("high"))
}

fn ranged<T: Integer>(
    rng: &mut Generator,
    op: &Value,
    range: std::ops::RangeInclusive<T>,
) -> Result<Vec<i128>, PrgError> {
    let shape = usizes(&op["shape"]);
    if op["scalar"].as_bool().unwrap() {
        return (0..shape[0]).map(|_| Ok(rng.integer(range.clone())?.widen())).collect();
    }
    Ok(rng.integers(range, shape)?.iter().map(|x| x.widen()).collect())
}

fn floats<D: ndarray::Dimension>(array: &Array<f64, D>) -> Vec<i128> {
    array.iter().map(|x| i128::from(x.to_bits())).collect()
}

fn indices<'a>(items: impl IntoIterator<Item = &'a usize>) -> Vec<i128> {
    items.into_iter().map(|&i| i as i128).collect()
}

/// Runs an operation here: what came out as integers, or why it was refused.
fn run(rng: &mut Generator, op: &Value) -> Result<Vec<i128>, PrgError> {
    let shape = || usizes(&op["shape"]);
    let float = |name: &str| op[name].as_str().unwrap().parse().unwrap();
    let n = || op["n"].as_u64().unwrap() as usize;
    Ok(match op["op"].as_str().unwrap() {
        "raw" => {
            let mut out = vec![0; shape().iter().product()];
            rng.bit_generator_mut().fill_raw(&mut out);
            out.iter().map(|&x| i128::from(x)).collect()
        }
        "random" => floats(&rng.random(shape())),
        "random_f32" => rng.random_f32(shape()).iter().map(|x| i128::from(x.to_bits())).collect(),
        "standard_normal" => floats(&rng.standard_normal(shape())),
        "normal" => floats(&rng.normal(float("loc"), float("scale"), shape())?),
        "uniform" => floats(&rng.uniform(float("low"), float("high"), shape())?),
        "integers" => match op["dtype"].as_str().unwrap() {
            "bool" => ranged(rng, op, op["low"] == "1"..=op["high"] == "1")?,
            "uint8" => integers::<u8>(rng, op)?,
            "uint16" => integers::<u16>(rng, op)?,
            "uint32" => integers::<u32>(rng, op)?,
            "uint64" => integers::<u64>(rng, op)?,
            "int8" => integers::<i8>(rng, op)?,
            "int16" => integers::<i16>(rng, op)?,
            "int32" => integers::<i32>(rng, op)?,
            _ => integers::<i64>(rng, op)?,
        },
        "bytes" => rng.bytes(n()).iter().map(|&x| i128::from(x)).collect(),
        "permutation" => indices(&rng.permutation(n())),
        "shuffle" => {
            let mut items: Vec<usize> = (0..n()).collect();
            rng.shuffle(&mut items);
            indices(&items)
        }
        "shuffle_axis" | "permuted_copy" => {
            let (shape, axis) = (shape(), Axis(op["axis"].as_u64().unwrap() as usize));
            let size: usize = shape.iter().product();
            let mut items = Array::from_shape_vec(shape, (0..size).collect::<Vec<_>>()).unwrap();
            if op["op"] == "shuffle_axis" {
                rng.shuffle_axis(&mut items, axis)?;
                indices(&items)
            } else {
                indices(&rng.permuted_copy(&items, axis)?)
            }
        }
        "choice" => {
            let p: Option<Vec<String>> = serde_json::from_value(op["p"].clone()).unwrap();
            let p: Option<Vec<f64>> = p.map(|p| p.iter().map(|x| x.parse().unwrap()).collect());
            let flag = |name: &str| op[name].as_bool().unwrap();
            let how = Choice { replace: flag("replace"), p: p.as_deref(), shuffle: flag("shuffle") };
            indices(&rng.choice(n(), shape(), how)?)
        }
        "advance" => {
            rng.bit_generator_mut().advance(op["delta"].as_str().unwrap().parse::<Int256>()?);
            vec![]
        }
        "jumped" => {
            *rng = Generator::new(rng.bit_generator().jumped(op["jumps"].as_str().unwrap().parse::<Int256>()?));
            vec![]
        }
        "spawn" => {
            *rng = rng.spawn(n())?.pop().unwrap();
            vec![]
        }
        "state" => {
            rng.bit_generator_mut().set_state(serde_json::from_value(op["state"].clone()).unwrap())?;
            vec![]
        }
        other => panic!("unknown operation {other}"),
    })
}

/// Runs a script here and compares every step with NumPy's answers; returns how many were refused by both.
fn compare(script: &Value, answers: &Value) -> usize {
    let seeds = SeedSequence::new(entropy(&script["entropy"]))
        .with_spawn_key(entropy(&script["spawn_key"]))
        .with_pool_size(script["pool_size"].as_u64().unwrap() as usize)
        .unwrap();
    let counter: Vec<u64> =
        script["counter"].as_array().unwrap().iter().map(|c| c.as_str().unwrap().parse().unwrap()).collect();
    let philox = Philox::builder().seed(seeds).counter(counter.try_into().unwrap()).build().unwrap();
    let mut rng = Generator::new(philox);
    let mut refused = 0;
    for (op, answer) in script["ops"].as_array().unwrap().iter().zip(answers.as_array().unwrap()) {
        match (run(&mut rng, op), &answer["out"]) {
            (Err(_), Value::Null) => refused += 1,
            (Err(why), _) => panic!("{op}: refused here ({why}), not by NumPy"),
            (Ok(_), Value::Null) => panic!("{op}: refused by NumPy, not here"),
            (Ok(ours), theirs) => {
                let theirs: Vec<i128> = serde_json::from_value(theirs.clone()).unwrap();
                assert_eq!(ours, theirs, "{op} in {script}");
            }
        }
        let theirs: PhiloxState = serde_json::from_value(answer["state"].clone()).unwrap();
        assert_eq!(rng.bit_generator().state(), theirs, "state after {op}");
    }
    refused
}

/// A Python that imports NumPy.
fn python() -> Result<PathBuf, String> {
    let python = match std::env::var_os("CRYPTGPU_PYTHON") {
        Some(path) => PathBuf::from(path),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../.venv/bin/python"),
    };
    let run = Command::new(&python).args(["-c", "import numpy"]).output();
    match run {
        Ok(run) if run.status.success() => Ok(python),
        Ok(_) => Err(format!("{} has no NumPy", python.display())),
        Err(e) => Err(format!("{} does not start: {e}", python.display())),
    }
}

fn ask(python: &Path, scripts: &[Value]) -> Vec<Value> {
    let mut child = Command::new(python).arg(ORACLE).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    // NumPy's side reads all before it writes, so writing first cannot block for good.
    child.stdin.take().unwrap().write_all(&serde_json::to_vec(scripts).unwrap()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "NumPy's side failed");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn random_scripts_agree_with_numpy() {
    // Not println!, which the test harness hides when all is well.
    let say = |text: String| writeln!(std::io::stdout(), "philox against NumPy: {text}").unwrap();
    let python = match python() {
        Ok(python) => python,
        Err(why) => return say(format!("skipped, {why}; set CRYPTGPU_PYTHON to a Python with NumPy")),
    };
    let scripts = std::env::var("PHILOX_NUMPY_SCRIPTS").map_or(1000, |n| n.parse().unwrap());
    let mut random = Random(Generator::seeded(20_260_101u64));
    let scripts: Vec<Value> = (0..scripts).map(|_| random.script()).collect();
    let answers = ask(&python, &scripts);
    assert_eq!(answers.len(), scripts.len());
    let refused: usize = scripts.iter().zip(&answers).map(|(script, answers)| compare(script, answers)).sum();
    let operations: usize = scripts.iter().map(|script| script["ops"].as_array().unwrap().len()).sum();
    say(format!("{} scripts agree, {operations} operations, {refused} of them refused by both", scripts.len()));
}
