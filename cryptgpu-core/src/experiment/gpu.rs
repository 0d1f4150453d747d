//! The kernels of a card, measured: time, and what was achieved against what the card can do. Nothing is
//! estimated, and nothing is measured on an emulator: its time says nothing of any card.

use serde::{Deserialize, Serialize};

use super::{ExperimentError, Machine, commit, machine, now};
use crate::device::{Binary, Buffer, Device, Unary, View, ViewMut, Window, cuda};
use crate::prg::{Correlated, Key, Keys, Randomness, Stream};

/// One kernel on one card.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct KernelRecord {
    /// The experiment: `gpu-kernel`.
    pub experiment: String,
    /// The card's name.
    pub card: String,
    /// Which operation.
    pub operation: String,
    /// Its size: `16777216 words`, `2048 × 2048 × 2048`.
    pub size: String,
    /// Seconds by the card's clock: the median.
    pub seconds: f64,
    /// Bytes that must go to or from the card's memory.
    pub bytes: f64,
    /// Multiply-adds modulo 2^64 of a product; 0 for others.
    pub multiply_adds: f64,
    /// Bytes a second that the card's memory moves at most.
    pub peak_bytes_per_second: f64,
    /// 32-bit multiply-adds a second of the card's integer units at most; one modulo 2^64 takes four.
    pub peak_multiply_adds_per_second: f64,
    /// The machine.
    pub machine: Machine,
    /// Commit of the program; a `+` says that files were changed since.
    pub commit: String,
    /// When it was measured, RFC 3339, UTC.
    pub time: String,
}

impl KernelRecord {
    /// Of the memory's speed, the part that was achieved.
    pub fn of_bandwidth(&self) -> f64 {
        self.bytes / self.seconds / self.peak_bytes_per_second
    }

    /// Multiply-adds modulo 2^64 against what integer units can do at most; above 1 where tensor cores work.
    pub fn of_integer_units(&self) -> f64 {
        self.multiply_adds / self.seconds / (self.peak_multiply_adds_per_second / 4.0)
    }
}

/// Why a device cannot be measured, if it cannot.
///
/// # Errors
/// [`ExperimentError::Declaration`] for a CPU and for an emulator, [`ExperimentError::Device`] without a card.
pub fn check(device: Device) -> Result<u32, ExperimentError> {
    let refuse = |hint: &str| {
        let (field, value) = ("device", device.to_string());
        Err(ExperimentError::Declaration { field, value, hint: hint.to_owned() })
    };
    let Device::Cuda(ordinal) = device else { return refuse("it is no card; `cargo bench` measures the CPU") };
    let substitute = cuda::probe().substitute;
    let emulated = device.card_name()?.is_some_and(|name| name.contains("emulator"));
    match substitute {
        Some(path) if emulated => refuse(&format!(
            "{} is an emulator, whose time says nothing of any card, and no GPU time is shown that was not measured; \
             unset CRYPTGPU_LIBCUDA on a machine with a card",
            path.display()
        )),
        _ => Ok(ordinal),
    }
}

/// Words of an element-wise operation: 128 MiB an operand, more than any cache.
const WORDS: usize = 1 << 24;

/// How often each kernel is timed.
const TIMES: usize = 11;

/// An operation that is timed: name, bytes, and what is asked of the device.
type Operation<'a> = (&'a str, usize, Box<dyn FnMut(Device) + 'a>);

/// Measures the kernels of a card, one record each.
///
/// # Errors
/// [`ExperimentError::Declaration`] for a CPU and for an emulator, [`ExperimentError::Device`] without a card or for
/// whatever the card reports.
pub fn measure_kernels(device: Device) -> Result<Vec<KernelRecord>, ExperimentError> {
    let ordinal = check(device)?;
    let peak = cuda::peak(ordinal)?;
    let card = device.card_name()?.unwrap_or_default();
    let record = |operation: &str, size: String, seconds: f64, bytes: usize, multiply_adds: f64| KernelRecord {
        experiment: "gpu-kernel".to_owned(),
        card: card.clone(),
        operation: operation.to_owned(),
        size,
        seconds,
        bytes: bytes as f64,
        multiply_adds,
        peak_bytes_per_second: peak.bytes_per_second,
        peak_multiply_adds_per_second: peak.multiply_adds_per_second,
        machine: machine().clone(),
        commit: commit().to_owned(),
        time: now(),
    };
    let mut records = vec![];
    let streams = [Randomness::Aes128Ctr, Randomness::InsecurePhilox].map(stream);
    let (x, y) = (device.full(WORDS, 3), device.full(WORDS, 5));
    let (mut out, mut message, mut top, mut top_mask) =
        (device.alloc(WORDS), device.alloc(95 * WORDS / 64), device.alloc(WORDS / 64), device.alloc(WORDS / 64));
    for (operation, bytes, mut body) in
        operations([x.view(), y.view()], &streams, [&mut out, &mut message, &mut top, &mut top_mask])
    {
        let seconds = cuda::seconds(ordinal, TIMES, &mut body)?;
        records.push(record(operation, format!("{WORDS} words"), seconds, bytes, 0.0));
    }
    for side in [256usize, 1024, 2048] {
        let [a, b] = [&x, &y].map(|words| words.slice(0..side * side));
        let (mut out, mut refused) = (device.alloc(side * side), None);
        let seconds = cuda::seconds(ordinal, TIMES, |device| {
            let terms = [(a, b), (b, a)];
            refused = device.matmul_sum([side; 2], [side; 2], false, terms, out.view_mut()).err();
        })?;
        refused.map_or(Ok(()), Err)?;
        out.view().slice(0..1).to_host()?;
        let size = format!("two products {side} × {side} × {side}");
        records.push(record("matmul", size, seconds, 8 * 5 * side * side, 2.0 * (side as f64).powi(3)));
    }
    // What went wrong in a kernel shows here.
    for buffer in [&x, &y] {
        buffer.slice(0..1).to_host()?;
    }
    Ok(records)
}

/// Element-wise operations, streams, a transpose: every family that memory bounds, or that should be.
fn operations<'a>([x, y]: [View<'a>; 2], streams: &'a [Stream; 2], outputs: [&'a mut Buffer; 4]) -> Vec<Operation<'a>> {
    let [out, message, top, top_mask] = outputs;
    let out = std::rc::Rc::new(std::cell::RefCell::new(out));
    let to = |body: Box<dyn Fn(Device, ViewMut) + 'a>| -> Box<dyn FnMut(Device) + 'a> {
        let out = out.clone();
        Box::new(move |device| body(device, out.borrow_mut().view_mut()))
    };
    let window = Window { low: 0, width: 64 };
    vec![
        ("add", 24 * WORDS, to(Box::new(move |d, out| d.binary(Binary::Add, x, y, out)))),
        ("multiply by a constant", 16 * WORDS, to(Box::new(move |d, out| d.unary(Unary::Mul(3), x, out)))),
        ("product share", 40 * WORDS, to(Box::new(move |d, out| d.product_share([x, y], [y, x], out)))),
        ("AES-128-CTR", 8 * WORDS, to(Box::new(move |d, out| d.fill(&streams[0], out)))),
        ("Philox", 8 * WORDS, to(Box::new(move |d, out| d.fill(&streams[1], out)))),
        (
            "sign bit, role 0",
            (16 + 3 * 12) * WORDS,
            Box::new(move |d: Device| {
                let message = message.view_mut();
                d.sign_share_bits(window, [x, y], &streams[1], message, top.view_mut(), top_mask.view_mut())
            }),
        ),
    ]
}

/// A stream of a key that hides nothing.
fn stream(randomness: Randomness) -> Stream {
    let mut correlated = Correlated::new(randomness, &Keys::alone(Key::from_bytes([1; 16])));
    let nonce = correlated.nonce();
    correlated.own(nonce)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_card_is_not_measured() {
        let error = check(Device::Cpu).unwrap_err().to_string();
        assert!(error.contains("no card"), "{error}");
        let error = check(Device::Cuda(63)).unwrap_err().to_string();
        assert!(error.contains("cuda:63"), "{error}");
    }

    #[test]
    fn achieved_stands_against_the_peak() {
        let record = KernelRecord {
            experiment: "gpu-kernel".into(),
            card: "a card".into(),
            operation: "add".into(),
            size: "10 words".into(),
            seconds: 2.0,
            bytes: 100.0,
            multiply_adds: 40.0,
            peak_bytes_per_second: 200.0,
            peak_multiply_adds_per_second: 160.0,
            machine: Machine::default(),
            commit: "c".into(),
            time: now(),
        };
        assert_eq!((record.of_bandwidth(), record.of_integer_units()), (0.25, 0.5));
    }
}
