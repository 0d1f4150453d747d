//! How long kernels take on a card, and what the card could do: for `cryptgpu bench gpu`.

use super::card;
use crate::device::{Device, DeviceError};
use cudarc::driver::sys::{self, CUdevice_attribute as Attribute};

/// What a card can do at most, computed from its clocks and units.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Peak {
    /// Bytes that its memory moves in a second: twice the memory clock times the width of the bus.
    pub bytes_per_second: f64,
    /// 32-bit integer multiply-adds in a second: 64 a clock and multiprocessor, on compute capabilities
    /// 7.0 to 9.0 (CUDA C++ Programming Guide, table of arithmetic throughput).
    pub multiply_adds_per_second: f64,
    /// 8-bit multiply-adds in a second of the tensor cores, without sparsity: 2048 a clock and multiprocessor on compute
    /// capability 8.0, 4096 on 9.0 (the rates in the data sheets of the A100 and the H100, over their clocks and
    /// multiprocessors); not known of others.
    pub int8_multiply_adds_per_second: Option<f64>,
}

/// What the card's attributes say.
///
/// # Errors
/// [`DeviceError::Unavailable`] without the card; a fault.
pub fn peak(ordinal: u32) -> Result<Peak, DeviceError> {
    let card = card(ordinal)?;
    let of = |attribute| card.driver("asking for an attribute", card.context().attribute(attribute)).map(f64::from);
    let memory_khz = of(Attribute::CU_DEVICE_ATTRIBUTE_MEMORY_CLOCK_RATE)?;
    let bus_bits = of(Attribute::CU_DEVICE_ATTRIBUTE_GLOBAL_MEMORY_BUS_WIDTH)?;
    let khz = of(Attribute::CU_DEVICE_ATTRIBUTE_CLOCK_RATE)?;
    let multiprocessors = of(Attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)?;
    let capability = card.driver("asking for the compute capability", card.context().compute_capability())?;
    let clocks = multiprocessors * khz * 1e3;
    Ok(Peak {
        bytes_per_second: 2.0 * memory_khz * 1e3 * bus_bits / 8.0,
        multiply_adds_per_second: 64.0 * clocks,
        int8_multiply_adds_per_second: int8_per_clock(capability).map(|rate| rate * clocks),
    })
}

/// 8-bit multiply-adds of one multiprocessor's tensor cores in a clock.
fn int8_per_clock(capability: (i32, i32)) -> Option<f64> {
    match capability {
        (8, 0) => Some(2048.0),
        (9, 0) => Some(4096.0),
        _ => None,
    }
}

/// Seconds that the card takes for what `body` asks of it, by its own clock: the median of `times` times,
/// after one that is not counted. Words go neither way in that time.
///
/// # Errors
/// [`DeviceError::Unavailable`] without the card; a fault.
pub fn seconds(ordinal: u32, times: usize, mut body: impl FnMut(Device)) -> Result<f64, DeviceError> {
    let card = card(ordinal)?;
    let device = card.device();
    let event = || {
        let flags = Some(sys::CUevent_flags::CU_EVENT_DEFAULT);
        card.driver("marking a point of a stream", card.compute.record_event(flags))
    };
    body(device);
    let mut all = Vec::with_capacity(times);
    for _ in 0..times.max(1) {
        let start = event()?;
        body(device);
        let end = event()?;
        let milliseconds = card.driver("reading the card's clock", start.elapsed_ms(&end))?;
        all.push(f64::from(milliseconds) / 1e3);
    }
    all.sort_by(f64::total_cmp);
    Ok(all[all.len() / 2])
}

#[cfg(test)]
mod tests {
    use super::int8_per_clock;

    /// 624 and 1979 T operations a second (two for a multiply-add) at 108 × 1.41 GHz and 132 × 1.83 GHz.
    #[test]
    fn rates_of_tensor_cores_are_those_of_the_data_sheets() {
        for (capability, multiprocessors, hertz, rate) in
            [((8, 0), 108.0, 1.41e9, 312e12), ((9, 0), 132.0, 1.83e9, 989.5e12)]
        {
            let computed = int8_per_clock(capability).unwrap() * multiprocessors * hertz;
            assert!((computed / rate - 1.0).abs() < 0.01, "{computed:e} against {rate:e}");
        }
        assert_eq!(int8_per_clock((7, 0)), None);
    }
}
