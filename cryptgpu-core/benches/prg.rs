//! Speed of the generators, each by the side of a reference measured in the same run:
//! `cargo bench -p cryptgpu-core --bench prg`.

use cryptgpu_core::prg::philox::Generator;
use cryptgpu_core::prg::{Correlated, Key, Keys, Randomness, Stream};
use std::hint::black_box;
use std::process::Command;
use std::time::{Duration, Instant};

/// Bytes of one fill.
const SIZES: [usize; 5] = [64, 1 << 10, 8 << 10, 64 << 10, 16 << 20];

fn main() {
    let clock = clock_hz();
    println!("one thread; clock {:.2} GHz, from a chain of dependent multiplications\n", clock / 1e9);
    let aes = fill_table("AES-128-CTR", &stream(Randomness::Aes128Ctr), clock);
    match openssl() {
        Ok(speed) => println!(
            "openssl speed -evp aes-128-ctr, 16 KiB blocks: {:.2} GB/s; ours, 64 KiB fills: {:.2} of it\n",
            speed / 1e9,
            aes / speed
        ),
        Err(why) => println!("no comparison with openssl: {why}\n"),
    }
    let philox = fill_table("Philox4x64-10", &stream(Randomness::InsecurePhilox), clock);
    println!("Philox over AES-128-CTR, 64 KiB fills: {:.2}", philox / aes);
    match numpy() {
        Ok(speed) => println!(
            "numpy.random.Philox.random_raw, 64 KiB: {:.2} GB/s; ours over it: {:.2}\n",
            speed / 1e9,
            philox / speed
        ),
        Err(why) => println!("no comparison with NumPy: {why}\n"),
    }
    generator_table();
}

fn stream(randomness: Randomness) -> Stream {
    let mut correlated = Correlated::new(randomness, &Keys::alone(Key::from_bytes([1; 16])));
    let nonce = correlated.nonce();
    correlated.own(nonce)
}

/// Prints a row per size; returns bytes per second at 64 KiB.
fn fill_table(name: &str, stream: &Stream, clock: f64) -> f64 {
    println!("{name:<16}{:>12}{:>12}{:>12}{:>14}", "bytes", "ns", "GB/s", "bytes/cycle");
    let mut at_64k = 0.0;
    for bytes in SIZES {
        let mut out = vec![0u64; bytes / 8];
        let seconds = best(|| stream.fill(0, black_box(&mut out)));
        let speed = bytes as f64 / seconds;
        if bytes == 64 << 10 {
            at_64k = speed;
        }
        println!("{:<16}{bytes:>12}{:>12.1}{:>12.2}{:>14.2}", "", seconds * 1e9, speed / 1e9, speed / clock);
    }
    let mut out = vec![0u64; SIZES[4] / 8];
    let seconds = best(|| stream.fill_parallel(0, black_box(&mut out)));
    println!(
        "{:<16}{:>12}{:>12.1}{:>12.2}   {} threads",
        "",
        SIZES[4],
        seconds * 1e9,
        SIZES[4] as f64 / seconds / 1e9,
        rayon::current_num_threads()
    );
    at_64k
}

/// Distributions that take the words one by one.
fn generator_table() {
    const N: usize = 1 << 16;
    let mut rng = Generator::seeded(1u64);
    println!("{:<32}{:>12}", "Generator, 65,536 at a time", "ns each");
    let row = |name: &str, seconds: f64| println!("{name:<32}{:>12.2}", seconds / N as f64 * 1e9);
    row("random, f64", best(|| drop(black_box(rng.random(N)))));
    row("standard_normal", best(|| drop(black_box(rng.standard_normal(N)))));
    row("integers(0..1000), i64", best(|| drop(black_box(rng.integers(0i64..1000, N)))));
    row("permutation", best(|| drop(black_box(rng.permutation(N)))));
}

/// Bytes per second of NumPy's `random_raw`, the best of many calls.
fn numpy() -> Result<f64, String> {
    const SCRIPT: &str = "
import time, numpy
philox = numpy.random.Philox(1)
def once():
    start = time.perf_counter()
    philox.random_raw(8192)
    return time.perf_counter() - start
print(65536 / min(once() for _ in range(8000)))";
    let python = std::env::var_os("CRYPTGPU_PYTHON")
        .unwrap_or_else(|| concat!(env!("CARGO_MANIFEST_DIR"), "/../.venv/bin/python").into());
    let run = Command::new(&python).args(["-c", SCRIPT]).output();
    match run {
        Ok(run) if run.status.success() => {
            let text = String::from_utf8_lossy(&run.stdout);
            text.trim().parse().map_err(|_| format!("NumPy's side printed {text:?}"))
        }
        _ => Err("no Python with NumPy: set CRYPTGPU_PYTHON to one".to_owned()),
    }
}

/// Seconds of one call: the best of many batches, so that other work on the machine shows little.
fn best(mut call: impl FnMut()) -> f64 {
    call();
    let start = Instant::now();
    call();
    let once = start.elapsed().as_secs_f64().max(1e-8);
    let batch = (2e-3 / once).ceil() as u32;
    let until = Instant::now() + Duration::from_millis(400);
    let mut best = f64::INFINITY;
    while Instant::now() < until {
        let start = Instant::now();
        (0..batch).for_each(|_| call());
        best = best.min(start.elapsed().as_secs_f64() / f64::from(batch));
    }
    best
}

/// Cycles per second: a step of the chain is an exclusive or (1 cycle) and a multiplication (3).
fn clock_hz() -> f64 {
    const STEPS: u32 = 10_000;
    let seconds = best(|| {
        let mut x = black_box(1u64);
        for i in 0..STEPS {
            x = (x ^ u64::from(i)).wrapping_mul(black_box(0x9e37_79b9_7f4a_7c15));
        }
        black_box(x);
    });
    4.0 * f64::from(STEPS) / seconds
}

/// Bytes per second of OpenSSL's AES-128-CTR on one core.
fn openssl() -> Result<f64, String> {
    let run = Command::new("openssl")
        .args(["speed", "-evp", "aes-128-ctr", "-seconds", "1", "-bytes", "16384"])
        .output()
        .map_err(|e| format!("openssl does not start ({e}): install it to see the ratio"))?;
    // The last line: `AES-128-CTR    9760123.45k`, in thousands of bytes per second.
    let text = String::from_utf8_lossy(&run.stdout);
    let last = text.split_whitespace().last().and_then(|word| word.strip_suffix('k'));
    last.and_then(|number| number.parse::<f64>().ok())
        .map(|thousands| thousands * 1e3)
        .ok_or_else(|| format!("openssl speed printed {text:?}"))
}
