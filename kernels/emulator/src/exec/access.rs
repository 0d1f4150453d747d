//! Loads, stores and atomics of a warp. Lanes that access consecutive or equal addresses are checked as one range.

use super::shared::Shared;
use super::target::{OfBlock, OfDevice, Target};
use super::warp::Warp;
use super::{AtLane, LaneFault, fault};
use crate::checks::Check;
use crate::ir::{Access, AtomicOp, Mem, Op};
use crate::lanes::{LANES, NONE};
use crate::memory::address::{Region, aligned, region};
use crate::memory::global::Touch;
use crate::ptx::{Space, Type};

/// The lanes of a mask, in order.
#[inline(always)]
pub fn lanes_of(mask: u32) -> impl Iterator<Item = usize> {
    (0..LANES).filter(move |lane| mask >> lane & 1 == 1)
}

/// Lanes whose accesses together cover a range without gaps: they are checked as one.
struct Run {
    mask: u32,
    start: u64,
    bytes: usize,
}

/// Takes the next run from the lanes of `rest`; accesses of `bytes` bytes follow on each other, or, with `repeats`, are
/// the same.
#[inline(always)]
fn next_run(addresses: &[u64; LANES], rest: &mut u32, bytes: usize, repeats: bool) -> Run {
    let first = rest.trailing_zeros() as usize;
    let mut run = Run { mask: 0, start: addresses[first], bytes };
    let mut last = run.start;
    while *rest != 0 {
        let lane = rest.trailing_zeros() as usize;
        let address = addresses[lane];
        if address == last.wrapping_add(bytes as u64) {
            run.bytes += bytes;
        } else if address != last || (run.mask != 0 && !repeats) {
            break;
        }
        last = address;
        run.mask |= 1 << lane;
        *rest &= *rest - 1;
    }
    run
}

/// Whether each lane's access lies above the access of the lane before.
#[inline(always)]
fn ascending(addresses: &[u64; LANES], mask: u32, bytes: usize) -> bool {
    let mut end = 0;
    let mut ascending = true;
    for lane in lanes_of(mask) {
        ascending &= addresses[lane] >= end;
        end = addresses[lane].wrapping_add(bytes as u64);
    }
    ascending
}

/// Two lanes that store to overlapping bytes in one instruction.
fn overlap(addresses: &[u64; LANES], mask: u32, bytes: u64) -> Option<usize> {
    let mut order: Vec<(u64, usize)> = lanes_of(mask).map(|lane| (addresses[lane], lane)).collect();
    order.sort_unstable();
    order.windows(2).find(|pair| pair[1].0 - pair[0].0 < bytes).map(|pair| pair[1].1)
}

/// Checks a run of accesses; gives the place of its first byte.
#[inline(always)]
fn check<T: Target>(
    target: &mut T,
    run: &Run,
    addresses: &[u64; LANES],
    total: usize,
    touch: Touch,
) -> Result<T::Place, LaneFault> {
    if run.start.is_multiple_of(total as u64)
        && let Ok(place) = target.find(run.start, run.bytes)
        && target.touch(place, run.bytes, touch).is_ok()
    {
        return Ok(place);
    }
    // Once more, one by one: which lane is it?
    for lane in lanes_of(run.mask) {
        aligned(addresses[lane], total).at_lane(lane)?;
        let place = target.find(addresses[lane], total).at_lane(lane)?;
        target.touch(place, total, touch).at_lane(lane)?;
    }
    // The conflict went away meanwhile (another block wrote): the range is as good as checked.
    target.find(run.start, run.bytes).at_lane(run.mask.trailing_zeros() as usize)
}

/// Two lanes that write the same place in one instruction race, unless the accesses are strong.
#[inline(always)]
fn check_lanes(shared: &Shared<'_>, access: &Access, addresses: &[u64; LANES], mask: u32) -> Result<(), LaneFault> {
    let total = access.total();
    if !shared.races || access.strong || ascending(addresses, mask, total) {
        return Ok(());
    }
    match overlap(addresses, mask, total as u64) {
        Some(lane) => {
            let message = "two lanes of a warp write the same place in one instruction".to_owned();
            Err(fault(Check::LaneRace, message, 1 << lane))
        }
        None => Ok(()),
    }
}

impl Warp {
    /// The addresses of all lanes.
    #[inline(always)]
    pub fn addresses(&self, at: &Mem) -> [u64; LANES] {
        let offset = at.offset as u64;
        if at.base == NONE {
            return [offset; LANES];
        }
        if at.long {
            return self.file.longs(at.base).map(|base| base.wrapping_add(offset));
        }
        self.file.words(at.base).map(|base| u64::from(base).wrapping_add(offset))
    }

    /// Notes that an allocation was touched.
    #[inline(always)]
    pub fn note_touched(&mut self, number: usize) {
        if self.last_touched != number {
            self.last_touched = number;
            self.touched.insert(number);
        }
    }

    /// Splits the lanes of a generic access by space; `f` gets addresses in the space.
    fn by_space(
        &mut self,
        access: &Access,
        active: u32,
        mut f: impl FnMut(&mut Self, Space, &[u64; LANES], u32) -> Result<(), LaneFault>,
    ) -> Result<(), LaneFault> {
        let mut addresses = self.addresses(&access.at);
        if access.space != Space::Generic {
            return f(self, access.space, &addresses, active);
        }
        let mut masks = [0u32; 4];
        for lane in lanes_of(active) {
            let (space, offset) = match region(addresses[lane]) {
                Region::Global => (0, addresses[lane]),
                Region::Shared(offset) => (1, offset),
                Region::Local(offset) => (2, offset),
                Region::Param(offset) => (3, offset),
            };
            masks[space] |= 1 << lane;
            addresses[lane] = offset;
        }
        for (mask, space) in masks.into_iter().zip([Space::Global, Space::Shared, Space::Local, Space::Param]) {
            if mask != 0 {
                f(self, space, &addresses, mask)?;
            }
        }
        Ok(())
    }

    /// A load.
    pub fn load(&mut self, shared: &mut Shared<'_>, access: &Access, active: u32) -> Result<(), LaneFault> {
        self.by_space(access, active, |warp, space, addresses, mask| {
            // Kept between loads: clearing it each time would cost as much as loading.
            let mut values = warp.scratch.take().unwrap_or_default();
            match space {
                Space::Global | Space::Const | Space::Generic => {
                    let target = OfDevice::new(shared, warp.index, access.strong);
                    warp.load_from(target, access, addresses, mask, &mut values)?;
                }
                Space::Shared => {
                    let target = OfBlock::new(&mut shared.memory, warp.index);
                    warp.load_from(target, access, addresses, mask, &mut values)?;
                }
                Space::Local => {
                    for lane in lanes_of(mask) {
                        aligned(addresses[lane], access.total()).at_lane(lane)?;
                        for (index, values) in values.iter_mut().enumerate().take(usize::from(access.count)) {
                            let at = addresses[lane] + (index * usize::from(access.bytes)) as u64;
                            values[lane] = warp.local.load(lane, at, access.bytes.into()).at_lane(lane)?;
                        }
                    }
                }
                Space::Param => {
                    let params = shared.launch.params;
                    for lane in lanes_of(mask) {
                        aligned(addresses[lane], access.total()).at_lane(lane)?;
                        let at = addresses[lane] as usize;
                        if at.checked_add(access.total()).is_none_or(|end| end > params.len()) {
                            let message = format!("byte {at} of parameters of {} bytes", params.len());
                            return Err(fault(Check::OutOfBounds, message, 1 << lane));
                        }
                        let bytes = usize::from(access.bytes);
                        for (index, values) in values.iter_mut().enumerate().take(usize::from(access.count)) {
                            let mut word = [0; 8];
                            word[..bytes].copy_from_slice(&params[at + index * bytes..at + (index + 1) * bytes]);
                            values[lane] = u64::from_le_bytes(word);
                        }
                    }
                }
            }
            warp.fill(access, mask, &values);
            warp.scratch = Some(values);
            Ok(())
        })
    }

    /// Puts loaded values to registers, extended to their width.
    #[inline(always)]
    fn fill(&mut self, access: &Access, mask: u32, values: &[[u64; LANES]; 4]) {
        let shift = 64 - 8 * u32::from(access.bytes);
        for (values, &reg) in values.iter().zip(&access.regs).take(usize::from(access.count)) {
            let extended =
                if access.signed { values.map(|v| (((v << shift) as i64) >> shift) as u64) } else { *values };
            if access.long {
                self.file.set_longs(reg, mask, &extended);
            } else {
                self.file.set_words(reg, mask, &extended.map(|v| v as u32));
            }
        }
    }

    fn load_from<T: Target>(
        &mut self,
        mut target: T,
        access: &Access,
        addresses: &[u64; LANES],
        mask: u32,
        values: &mut [[u64; LANES]; 4],
    ) -> Result<(), LaneFault> {
        let (total, bytes) = (access.total(), usize::from(access.bytes));
        let mut rest = mask;
        while rest != 0 {
            let run = next_run(addresses, &mut rest, total, true);
            let place = check(&mut target, &run, addresses, total, Touch::Read)?;
            T::note(place, self);
            for lane in lanes_of(run.mask) {
                let offset = (addresses[lane] - run.start) as usize;
                for (index, values) in values.iter_mut().enumerate().take(usize::from(access.count)) {
                    values[lane] = target.load(place, offset + index * bytes, bytes);
                }
            }
        }
        Ok(())
    }

    /// A store.
    pub fn store(&mut self, shared: &mut Shared<'_>, access: &Access, active: u32) -> Result<(), LaneFault> {
        let mut values = [[0u64; LANES]; 4];
        for (values, &reg) in values.iter_mut().zip(&access.regs).take(usize::from(access.count)) {
            *values = if access.long { *self.file.longs(reg) } else { self.file.words(reg).map(u64::from) };
        }
        self.by_space(access, active, |warp, space, addresses, mask| match space {
            Space::Global | Space::Const | Space::Generic => {
                let target = OfDevice::new(shared, warp.index, access.strong);
                warp.store_to(target, access, addresses, mask, &values)?;
                check_lanes(shared, access, addresses, mask)
            }
            Space::Shared => {
                let target = OfBlock::new(&mut shared.memory, warp.index);
                warp.store_to(target, access, addresses, mask, &values)?;
                check_lanes(shared, access, addresses, mask)
            }
            Space::Local => {
                for lane in lanes_of(mask) {
                    aligned(addresses[lane], access.total()).at_lane(lane)?;
                    for (index, values) in values.iter().enumerate().take(usize::from(access.count)) {
                        let at = addresses[lane] + (index * usize::from(access.bytes)) as u64;
                        warp.local.store(lane, at, access.bytes.into(), values[lane]).at_lane(lane)?;
                    }
                }
                Ok(())
            }
            Space::Param => Err(fault(Check::ReadOnly, "write to the parameters of a kernel".to_owned(), mask)),
        })
    }

    fn store_to<T: Target>(
        &mut self,
        mut target: T,
        access: &Access,
        addresses: &[u64; LANES],
        mask: u32,
        values: &[[u64; LANES]; 4],
    ) -> Result<(), LaneFault> {
        let (total, bytes) = (access.total(), usize::from(access.bytes));
        let mut rest = mask;
        while rest != 0 {
            let run = next_run(addresses, &mut rest, total, false);
            let place = check(&mut target, &run, addresses, total, Touch::Write)?;
            T::note(place, self);
            for lane in lanes_of(run.mask) {
                let offset = (addresses[lane] - run.start) as usize;
                for (index, values) in values.iter().enumerate().take(usize::from(access.count)) {
                    target.store(place, offset + index * bytes, bytes, values[lane]);
                }
            }
        }
        Ok(())
    }

    /// An atomic operation: the lanes one after the other.
    pub fn atomic(&mut self, shared: &mut Shared<'_>, op: &Op, active: u32) -> Result<(), LaneFault> {
        let Op::Atomic { op, ty, space, at, d, b, c } = op else { return Ok(()) };
        let bytes = ty.bytes();
        let addresses = self.addresses(at);
        let value = |warp: &Self, reg: u32, lane: usize| match (reg, bytes) {
            (NONE, _) => 0,
            (reg, 8) => warp.file.longs(reg)[lane],
            (reg, _) => u64::from(warp.file.words(reg)[lane]),
        };
        let mut olds = [0u64; LANES];
        for lane in lanes_of(active) {
            let (b, c) = (value(self, *b, lane), value(self, *c, lane));
            let (place, address) = match (space, region(addresses[lane])) {
                (Space::Generic, Region::Shared(offset)) => (Space::Shared, offset),
                (Space::Generic, Region::Global) => (Space::Global, addresses[lane]),
                (Space::Generic, _) => {
                    let message = "an atomic operation on local memory or parameters".to_owned();
                    return Err(fault(Check::NotEmulated, message, 1 << lane));
                }
                (space, _) => (*space, addresses[lane]),
            };
            aligned(address, bytes).at_lane(lane)?;
            if place == Space::Shared {
                let offset = shared.memory.bounds(address, bytes).at_lane(lane)?;
                shared.memory.touch(offset, bytes, Touch::Atomic, self.index).at_lane(lane)?;
                olds[lane] = shared.memory.load(offset, bytes);
                shared.memory.store(offset, bytes, apply(*op, *ty, olds[lane], b, c));
            } else {
                let (allocation, offset) = shared.launch.memory.find(address, bytes).at_lane(lane)?;
                allocation.touch(offset, bytes, Touch::Atomic, &shared.actor(self.index)).at_lane(lane)?;
                olds[lane] = allocation.update(offset, bytes, |old| apply(*op, *ty, old, b, c));
                self.note_touched(allocation.number);
            }
        }
        match (*d, bytes) {
            (NONE, _) => {}
            (d, 8) => self.file.set_longs(d, active, &olds),
            (d, _) => self.file.set_words(d, active, &olds.map(|old| old as u32)),
        }
        Ok(())
    }
}

impl Access {
    /// Bytes of all elements together.
    #[inline(always)]
    pub(super) fn total(&self) -> usize {
        usize::from(self.bytes) * usize::from(self.count)
    }
}

/// The value that an atomic operation leaves in memory.
fn apply(op: AtomicOp, ty: Type, old: u64, b: u64, c: u64) -> u64 {
    let signed = ty.is_signed();
    let order = |x: u64, y: u64| match (signed, ty.bytes()) {
        (true, 8) => (x as i64).cmp(&(y as i64)),
        (true, _) => (x as u32 as i32).cmp(&(y as u32 as i32)),
        _ => x.cmp(&y),
    };
    match op {
        AtomicOp::Add if ty == Type::F32 => {
            u64::from((f32::from_bits(old as u32) + f32::from_bits(b as u32)).to_bits())
        }
        AtomicOp::Add if ty == Type::F64 => (f64::from_bits(old) + f64::from_bits(b)).to_bits(),
        AtomicOp::Add => old.wrapping_add(b),
        AtomicOp::Min => {
            if order(b, old).is_lt() {
                b
            } else {
                old
            }
        }
        AtomicOp::Max => {
            if order(b, old).is_gt() {
                b
            } else {
                old
            }
        }
        AtomicOp::And => old & b,
        AtomicOp::Or => old | b,
        AtomicOp::Xor => old ^ b,
        AtomicOp::Exch => b,
        AtomicOp::Cas => {
            if old == b {
                c
            } else {
                old
            }
        }
        AtomicOp::Inc => {
            if old >= b {
                0
            } else {
                old + 1
            }
        }
        AtomicOp::Dec => {
            if old == 0 || old > b {
                b
            } else {
                old - 1
            }
        }
    }
}
