//! The kernels of a card, measured: time, and what was achieved against what the card can do. Nothing is
//! estimated, and nothing is measured on an emulator: its time says nothing of any card.

use serde::{Deserialize, Serialize};

use super::{ExperimentError, Machine, commit, machine, now};
use crate::device::{Device, cuda};
use crate::ring::Ring;
use work::{At, FAMILIES};

mod work;

/// One kernel on one card.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct KernelRecord {
    /// The experiment: `gpu-kernel`.
    pub experiment: String,
    /// The card's name.
    pub card: String,
    /// Which operation.
    pub operation: String,
    /// The ring of its elements.
    #[serde(default)]
    pub ring: Ring,
    /// Its size: `16777216 elements`, `2048 × 2048 × 2048`.
    pub size: String,
    /// Seconds by the card's clock: the median.
    pub seconds: f64,
    /// Bytes that must go to or from the card's memory.
    pub bytes: f64,
    /// Multiply-adds in the ring of a product; 0 for others.
    pub multiply_adds: f64,
    /// Bytes a second that the card's memory moves at most.
    pub peak_bytes_per_second: f64,
    /// 32-bit multiply-adds a second of the card's integer units at most; one modulo 2^64 takes four, one modulo 2^32 one.
    pub peak_multiply_adds_per_second: f64,
    /// 8-bit multiply-adds a second of the card's tensor cores at most, where that is known; one modulo 2^64 takes 36, one
    /// modulo 2^32 10.
    pub peak_int8_multiply_adds_per_second: Option<f64>,
    /// The machine.
    pub machine: Machine,
    /// Commit that the program was built from; a `+` says that its sources differed from it.
    pub commit: String,
    /// When it was measured, RFC 3339, UTC.
    pub time: String,
}

impl KernelRecord {
    /// The part of the memory's speed that was achieved.
    pub fn of_bandwidth(&self) -> f64 {
        self.bytes / self.seconds / self.peak_bytes_per_second
    }

    /// Multiply-adds in the ring against what integer units can do at most; above 1 where tensor cores work.
    pub fn of_integer_units(&self) -> f64 {
        self.multiply_adds / self.seconds / (self.peak_multiply_adds_per_second / limb_products(self.ring, 32))
    }

    /// Multiply-adds in the ring against what tensor cores can do at most with bytes, where that is known.
    pub fn of_tensor_cores(&self) -> Option<f64> {
        let peak = self.peak_int8_multiply_adds_per_second? / limb_products(self.ring, 8);
        Some(self.multiply_adds / self.seconds / peak)
    }
}

/// Products of limbs of so many bits that one product in a ring takes: q(q + 1)/2 with q limbs a word. The upper half of a product of
/// 32 bits modulo 2^64 is a multiply-add more.
fn limb_products(ring: Ring, bits: u32) -> f64 {
    let limbs = ring.bits() / bits;
    let upper = if (ring, bits) == (Ring::Z64, 32) { 1 } else { 0 };
    f64::from(limbs * (limbs + 1) / 2 + upper)
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

/// Bytes of an operand of an element-wise operation: more than any cache.
const BYTES: usize = 64 << 20;

/// How often each operation is timed.
const TIMES: usize = 11;

/// Measures every operation of a card in a ring, one record each.
///
/// # Errors
/// [`ExperimentError::Declaration`] for a CPU and for an emulator, [`ExperimentError::Device`] without a card or for
/// whatever the card reports.
pub fn measure_kernels(device: Device, ring: Ring) -> Result<Vec<KernelRecord>, ExperimentError> {
    let ordinal = check(device)?;
    let peak = cuda::peak(ordinal)?;
    let card = device.card_name()?.unwrap_or_default();
    let mut records = vec![];
    for family in FAMILIES {
        for mut work in family(At { device, ring, elements: BYTES / ring.bytes() }) {
            let mut refused = None;
            let seconds = cuda::seconds(ordinal, TIMES, |_| refused = work.body.ask().err())?;
            refused.map_or(Ok(()), Err)?;
            work.body.check()?;
            records.push(KernelRecord {
                experiment: "gpu-kernel".to_owned(),
                card: card.clone(),
                operation: work.operation.to_owned(),
                ring,
                size: work.size,
                seconds,
                bytes: work.bytes as f64,
                multiply_adds: work.multiply_adds,
                peak_bytes_per_second: peak.bytes_per_second,
                peak_multiply_adds_per_second: peak.multiply_adds_per_second,
                peak_int8_multiply_adds_per_second: peak.int8_multiply_adds_per_second,
                machine: machine().clone(),
                commit: commit().to_owned(),
                time: now(),
            });
        }
    }
    Ok(records)
}

/// Asks a device for every operation that [`measure_kernels`] measures, once and on few elements, and takes no time: what
/// can be tried of it without a card. The answer is how many operations there are.
///
/// # Errors
/// Whatever the device reports.
pub fn try_kernels(device: Device, ring: Ring) -> Result<usize, ExperimentError> {
    let mut tried = 0;
    for mut work in FAMILIES.into_iter().flat_map(|family| family(At { device, ring, elements: 1 << 16 })) {
        work.body.ask()?;
        work.body.check()?;
        tried += 1;
    }
    Ok(tried)
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
    fn every_operation_that_is_measured_runs() {
        for ring in [Ring::Z64, Ring::Z32] {
            assert_eq!(try_kernels(Device::Cpu, ring).unwrap(), 36, "{ring}");
        }
    }

    #[test]
    fn achieved_stands_against_the_peak() {
        let mut record = KernelRecord {
            experiment: "gpu-kernel".into(),
            card: "a card".into(),
            operation: "add".into(),
            ring: Ring::Z64,
            size: "10 elements".into(),
            seconds: 2.0,
            bytes: 100.0,
            multiply_adds: 40.0,
            peak_bytes_per_second: 200.0,
            peak_multiply_adds_per_second: 160.0,
            peak_int8_multiply_adds_per_second: Some(7200.0),
            machine: Machine::default(),
            commit: "c".into(),
            time: now(),
        };
        assert_eq!((record.of_bandwidth(), record.of_integer_units()), (0.25, 0.5));
        assert_eq!(record.of_tensor_cores(), Some(0.1));
        // One product of 32 bits in place of four, and ten of bytes in place of 36.
        record.ring = Ring::Z32;
        assert_eq!((record.of_integer_units(), record.of_tensor_cores()), (0.125, Some(10.0 / 360.0)));
    }
}
