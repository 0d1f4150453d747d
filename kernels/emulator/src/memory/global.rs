//! A device's memory: allocations with their shadows.

use std::ptr::NonNull;
use std::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};

use super::Fault;
use super::address::{self, MAX_ALLOCATIONS, MAX_BYTES};
use super::cell::{self, ATOMIC, Cell, Relation};
use super::share::{Share, words_for};
use crate::checks::Check;
use crate::checks::clock::Stamp;

fn zeroed(words: usize) -> Box<[AtomicU64]> {
    // SAFETY: all zero bytes are a valid AtomicU64. The pages come from the system on first use.
    unsafe { Box::new_zeroed_slice(words).assume_init() }
}

/// Who touched what: per four bytes, and per byte for accesses narrower than that.
struct Cells {
    written: Box<[AtomicU64]>,
    read: Box<[AtomicU64]>,
}

impl Cells {
    fn new(count: usize) -> Self {
        Self { written: zeroed(count), read: zeroed(count) }
    }
}

/// What an access does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Touch {
    /// Reads.
    Read,
    /// Writes.
    Write,
    /// Reads and writes in one step.
    Atomic,
}

/// Who accesses device memory: an operation, and for kernels the block, interval and warp.
#[derive(Debug, Clone, Copy)]
pub struct Actor<'a> {
    /// Its cell.
    pub cell: Cell,
    /// Epochs of operations that are not ordered before this one.
    pub unordered: &'a [u16],
    /// Whether races are looked for.
    pub races: bool,
    /// Whether reads of uninitialised memory are looked for.
    pub uninitialised: bool,
}

/// One allocation.
pub struct Allocation {
    /// Size in bytes.
    pub bytes: usize,
    /// Number, in the order of allocation.
    pub number: usize,
    /// What it is, for reports (`allocation 7 of 4096 bytes`, `constant table`).
    pub name: String,
    /// Whether nobody may write it.
    pub constant: bool,
    /// Whether it is a variable of a module.
    pub variable: bool,
    /// The operation that made it.
    pub born: Stamp,
    /// Operations that touched it and may not have ended.
    pub users: parking_lot::Mutex<Vec<Stamp>>,
    /// Where its bytes and the marks of what was written begin, in what `store` holds.
    data: NonNull<AtomicU64>,
    written: NonNull<AtomicU64>,
    store: Store,
    coarse: OnceLock<Cells>,
    fine: OnceLock<Cells>,
}

/// What an allocation's bytes and marks lie in.
enum Store {
    /// Memory of this process.
    Own { _data: Box<[AtomicU64]>, _written: Box<[AtomicU64]> },
    /// Memory that others can have, or another's.
    Shared { share: Arc<Share>, imported: bool },
}

impl Store {
    fn own(bytes: usize) -> Self {
        Self::Own { _data: zeroed(words_for(bytes)), _written: zeroed(words_for(bytes)) }
    }

    /// Where bytes and marks begin: they stay there while the store does.
    fn starts(&self) -> [NonNull<AtomicU64>; 2] {
        match self {
            Self::Own { _data, _written } => [_data, _written].map(|words| NonNull::from(&words[0])),
            Self::Shared { share, .. } => [share.data(), share.written()],
        }
    }
}

// SAFETY: the pointers lead to atomic words that `store` holds.
unsafe impl Send for Allocation {}
// SAFETY: as above.
unsafe impl Sync for Allocation {}

impl Allocation {
    fn new(bytes: usize, number: usize, name: String, variable: bool, constant: bool, born: Stamp) -> Self {
        Self::within(Store::own(bytes), bytes, number, name, variable, constant, born)
    }

    fn within(
        store: Store,
        bytes: usize,
        number: usize,
        name: String,
        variable: bool,
        constant: bool,
        born: Stamp,
    ) -> Self {
        let [data, written] = store.starts();
        Self {
            bytes,
            number,
            name,
            constant,
            variable,
            born,
            users: parking_lot::Mutex::default(),
            data,
            written,
            store,
            coarse: OnceLock::new(),
            fine: OnceLock::new(),
        }
    }

    /// The memory that others can have, if it is such, or another's.
    pub fn share(&self) -> Option<&Arc<Share>> {
        match &self.store {
            Store::Own { .. } => None,
            Store::Shared { share, .. } => Some(share),
        }
    }

    /// Whether it is another process's.
    pub fn is_imported(&self) -> bool {
        matches!(self.store, Store::Shared { imported: true, .. })
    }

    /// Moves bytes and marks to where other processes can have them. Nothing may be under way.
    fn export(&mut self) -> std::io::Result<Arc<Share>> {
        if let Some(share) = self.share() {
            return Ok(share.clone());
        }
        let share = Arc::new(Share::create(self.bytes)?);
        let store = Store::Shared { share: share.clone(), imported: false };
        let to = store.starts();
        for (from, to) in [self.data, self.written].into_iter().zip(to) {
            // SAFETY: both have so many words, and are different memory.
            unsafe { std::ptr::copy_nonoverlapping(from.as_ptr(), to.as_ptr(), words_for(self.bytes)) };
        }
        [self.data, self.written] = to;
        self.store = store;
        Ok(share)
    }

    /// The byte at `offset`, which must lie within.
    #[inline(always)]
    fn at(&self, offset: usize) -> *mut u8 {
        debug_assert!(offset < self.bytes);
        self.data.as_ptr().cast::<u8>().wrapping_add(offset)
    }

    #[inline(always)]
    fn flag(&self, offset: usize) -> *mut u8 {
        self.written.as_ptr().cast::<u8>().wrapping_add(offset)
    }

    /// Reads `bytes` bytes (1, 2, 4 or 8, aligned, within): zero-extended.
    #[inline(always)]
    pub fn load(&self, offset: usize, bytes: usize) -> u64 {
        // SAFETY: the range was checked and is aligned; all access to the data is atomic.
        unsafe {
            match bytes {
                1 => u64::from(AtomicU8::from_ptr(self.at(offset)).load(Relaxed)),
                2 => u64::from(AtomicU16::from_ptr(self.at(offset).cast()).load(Relaxed)),
                4 => u64::from(AtomicU32::from_ptr(self.at(offset).cast()).load(Relaxed)),
                _ => AtomicU64::from_ptr(self.at(offset).cast()).load(Relaxed),
            }
        }
    }

    /// Writes the low `bytes` bytes (1, 2, 4 or 8, aligned, within) of `value`.
    #[inline(always)]
    pub fn store(&self, offset: usize, bytes: usize, value: u64) {
        // SAFETY: as for `load`.
        unsafe {
            match bytes {
                1 => AtomicU8::from_ptr(self.at(offset)).store(value as u8, Relaxed),
                2 => AtomicU16::from_ptr(self.at(offset).cast()).store(value as u16, Relaxed),
                4 => AtomicU32::from_ptr(self.at(offset).cast()).store(value as u32, Relaxed),
                _ => AtomicU64::from_ptr(self.at(offset).cast()).store(value, Relaxed),
            }
        }
    }

    /// Replaces the 4 or 8 bytes at `offset` by `f` of them in one step, and gives the old ones.
    pub fn update(&self, offset: usize, bytes: usize, f: impl Fn(u64) -> u64) -> u64 {
        // SAFETY: as for `load`.
        unsafe {
            if bytes == 4 {
                let at = AtomicU32::from_ptr(self.at(offset).cast());
                let old = at.fetch_update(Relaxed, Relaxed, |old| Some(f(u64::from(old)) as u32));
                u64::from(old.unwrap_or_default())
            } else {
                let at = AtomicU64::from_ptr(self.at(offset).cast());
                at.fetch_update(Relaxed, Relaxed, |old| Some(f(old))).unwrap_or_default()
            }
        }
    }

    /// Copies bytes out, whether written or not.
    pub fn read_bytes(&self, offset: usize, into: &mut [u8]) {
        for (index, byte) in into.iter_mut().enumerate() {
            *byte = self.load(offset + index, 1) as u8;
        }
    }

    /// Copies bytes in.
    pub fn write_bytes(&self, offset: usize, from: &[u8]) {
        let mut at = 0;
        while at < from.len() {
            if (offset + at).is_multiple_of(8) && from.len() - at >= 8 {
                let mut word = [0; 8];
                word.copy_from_slice(&from[at..at + 8]);
                self.store(offset + at, 8, u64::from_le_bytes(word));
                at += 8;
            } else {
                self.store(offset + at, 1, u64::from(from[at]));
                at += 1;
            }
        }
    }

    /// The first byte of the range that was never written.
    #[inline(always)]
    fn first_unwritten(&self, offset: usize, bytes: usize) -> Option<usize> {
        const ALL: u64 = 0x0101_0101_0101_0101;
        let (mut at, end) = (offset, offset + bytes);
        while at < end {
            // SAFETY: within the shadow, which is as long as the data; aligned as checked.
            unsafe {
                if at % 8 == 0 && end - at >= 8 {
                    if AtomicU64::from_ptr(self.flag(at).cast()).load(Relaxed) == ALL {
                        at += 8;
                        continue;
                    }
                } else if at % 4 == 0
                    && end - at >= 4
                    && AtomicU32::from_ptr(self.flag(at).cast()).load(Relaxed) == ALL as u32
                {
                    at += 4;
                    continue;
                }
                if AtomicU8::from_ptr(self.flag(at)).load(Relaxed) == 0 {
                    return Some(at);
                }
            }
            at += 1;
        }
        None
    }

    /// Marks a range as written or as not.
    #[inline(always)]
    pub fn set_written(&self, offset: usize, bytes: usize, written: bool) {
        let flag = if written { 0x0101_0101_0101_0101u64 } else { 0 };
        let (mut at, end) = (offset, offset + bytes);
        while at < end {
            // SAFETY: within the shadow, which is as long as the data; aligned as checked.
            unsafe {
                if at % 8 == 0 && end - at >= 8 {
                    AtomicU64::from_ptr(self.flag(at).cast()).store(flag, Relaxed);
                    at += 8;
                } else if at % 4 == 0 && end - at >= 4 {
                    AtomicU32::from_ptr(self.flag(at).cast()).store(flag as u32, Relaxed);
                    at += 4;
                } else {
                    AtomicU8::from_ptr(self.flag(at)).store(flag as u8, Relaxed);
                    at += 1;
                }
            }
        }
    }

    /// Copies the marks of `from`'s range: a copy of unwritten bytes is unwritten.
    pub fn copy_marks(&self, offset: usize, from: &Self, from_offset: usize, bytes: usize) {
        for index in 0..bytes {
            let written = from.first_unwritten(from_offset + index, 1).is_none();
            self.set_written(offset + index, 1, written);
        }
    }

    /// Checks an access to a range that lies within and notes it.
    #[inline(always)]
    pub fn touch(&self, offset: usize, bytes: usize, touch: Touch, actor: &Actor<'_>) -> Result<(), Fault> {
        if self.constant && touch != Touch::Read {
            return Err(Fault::new(Check::ReadOnly, format!("write to {}", self.name)));
        }
        if touch != Touch::Write
            && actor.uninitialised
            && let Some(at) = self.first_unwritten(offset, bytes)
        {
            let message = format!("byte {at} of {} is read and was never written", self.name);
            return Err(Fault::new(Check::Uninitialised, message));
        }
        if touch != Touch::Read {
            self.set_written(offset, bytes, true);
        }
        if actor.races && !self.constant {
            self.note(offset, bytes, touch, actor)?;
        }
        Ok(())
    }

    fn note(&self, offset: usize, bytes: usize, touch: Touch, actor: &Actor<'_>) -> Result<(), Fault> {
        let narrow = !offset.is_multiple_of(4) || !bytes.is_multiple_of(4);
        let granules = offset / 4..(offset + bytes).div_ceil(4);
        if narrow {
            let fine = self.fine.get_or_init(|| Cells::new(self.bytes));
            self.note_cells(fine, offset..offset + bytes, 1, touch, actor, true)?;
            if let Some(coarse) = self.coarse.get() {
                self.note_cells(coarse, granules, 4, touch, actor, false)?;
            }
        } else {
            let coarse = self.coarse.get_or_init(|| Cells::new(self.bytes.div_ceil(4)));
            self.note_cells(coarse, granules, 4, touch, actor, true)?;
            if let Some(fine) = self.fine.get() {
                self.note_cells(fine, offset..offset + bytes, 1, touch, actor, false)?;
            }
        }
        Ok(())
    }

    fn note_cells(
        &self,
        cells: &Cells,
        range: std::ops::Range<usize>,
        unit: usize,
        touch: Touch,
        actor: &Actor<'_>,
        mark: bool,
    ) -> Result<(), Fault> {
        let now = if touch == Touch::Atomic { actor.cell | ATOMIC } else { actor.cell };
        for ((written, read), index) in cells.written[range.clone()].iter().zip(&cells.read[range.clone()]).zip(range) {
            let writer = written.load(Relaxed);
            let relation = cell::relation(writer, now);
            if relation != Relation::Fine {
                self.judge(relation, writer, index * unit, touch, "written", actor)?;
            }
            let reader = read.load(Relaxed);
            if touch == Touch::Read {
                if mark {
                    read.store(cell::merge(reader, now), Relaxed);
                }
                continue;
            }
            let relation = cell::relation(reader, now);
            if relation != Relation::Fine {
                self.judge(relation, reader, index * unit, touch, "read", actor)?;
            }
            if mark {
                written.store(if now & ATOMIC != 0 { cell::merge(writer, now) } else { now }, Relaxed);
            }
        }
        Ok(())
    }

    #[inline(never)]
    fn race(&self, other: Cell, at: usize, touch: Touch, did: &str) -> Fault {
        let verb = if touch == Touch::Read { "read" } else { "written" };
        let message = format!(
            "byte {at} of {} is {verb} here and was {did} by {} in the same kernel without a barrier between",
            self.name,
            cell::describe(other)
        );
        Fault::new(Check::GlobalRace, message)
    }

    #[inline(always)]
    fn judge(
        &self,
        relation: Relation,
        other: Cell,
        at: usize,
        touch: Touch,
        did: &str,
        actor: &Actor<'_>,
    ) -> Result<(), Fault> {
        match relation {
            Relation::Fine => Ok(()),
            Relation::Race => Err(self.race(other, at, touch, did)),
            Relation::Other(epoch) if actor.unordered.contains(&epoch) => {
                let verb = if touch == Touch::Read { "read" } else { "written" };
                let message = format!(
                    "byte {at} of {} is {verb} here and was {did} by an operation of another stream that nothing orders \
                     before this one: an event or a synchronisation is missing",
                    self.name
                );
                Err(Fault::new(Check::StreamRace, message))
            }
            Relation::Other(_) => Ok(()),
        }
    }

    /// Forgets who touched what; marks of written bytes stay.
    fn forget(&mut self) {
        self.coarse = OnceLock::new();
        self.fine = OnceLock::new();
    }
}

enum Slot {
    Live(Box<Allocation>),
    Freed { name: String },
}

/// All memory of a device.
pub struct GlobalMemory {
    device: usize,
    slots: Vec<Slot>,
    used: usize,
    capacity: usize,
}

impl GlobalMemory {
    /// Empty memory of `capacity` bytes.
    pub fn new(device: usize, capacity: usize) -> Self {
        // Number 0 is never allocated, so that small addresses are nobody's.
        Self { device, slots: vec![Slot::Freed { name: String::new() }], used: 0, capacity }
    }

    /// Bytes free and in all.
    pub fn free_and_total(&self) -> (usize, usize) {
        (self.capacity.saturating_sub(self.used), self.capacity)
    }

    /// Allocates, or `None` where there is no room.
    pub fn allocate(&mut self, bytes: usize, name: Option<String>, constant: bool, born: Stamp) -> Option<u64> {
        let number = self.slots.len();
        let full = self.used.saturating_add(bytes) > self.capacity || bytes as u64 > MAX_BYTES;
        if full || number >= MAX_ALLOCATIONS {
            return None;
        }
        let variable = name.is_some();
        let name = name.unwrap_or_else(|| format!("allocation {number} of {bytes} bytes"));
        self.slots.push(Slot::Live(Box::new(Allocation::new(bytes, number, name, variable, constant, born))));
        self.used += bytes;
        Some(address::pointer(self.device, number))
    }

    /// The allocation that starts at `pointer`.
    pub fn start(&self, pointer: u64) -> Option<&Allocation> {
        let (device, number, offset) = address::split(pointer);
        match self.slots.get(number) {
            Some(Slot::Live(allocation)) if device == self.device && offset == 0 => Some(allocation),
            _ => None,
        }
    }

    /// Frees the allocation that starts at `pointer`.
    pub fn free(&mut self, pointer: u64) -> Result<(), Fault> {
        let (device, number, offset) = address::split(pointer);
        let fault = match self.slots.get(number) {
            _ if device != self.device => "belongs to another device".to_owned(),
            Some(Slot::Live(_)) if offset == 0 => String::new(),
            Some(Slot::Live(allocation)) => format!("points into {} and not at its start", allocation.name),
            Some(Slot::Freed { name }) if number > 0 => format!("was freed before ({name})"),
            _ => "was never allocated".to_owned(),
        };
        if !fault.is_empty() {
            return Err(Fault::new(Check::InvalidFree, format!("free of {pointer:#x}, which {fault}")));
        }
        let freed = Slot::Freed { name: self.start(pointer).map(|a| a.name.clone()).unwrap_or_default() };
        if let Slot::Live(old) = std::mem::replace(&mut self.slots[number], freed) {
            self.used -= if old.is_imported() { 0 } else { old.bytes };
        }
        Ok(())
    }

    /// Lets other processes have the allocation that starts at `pointer`.
    pub fn export(&mut self, pointer: u64) -> std::io::Result<Arc<Share>> {
        let (_, number, _) = address::split(pointer);
        match self.slots.get_mut(number) {
            Some(Slot::Live(allocation)) => allocation.export(),
            _ => Err(std::io::ErrorKind::NotFound.into()),
        }
    }

    /// Gives another process's memory an address here, or `None` where there is none left.
    pub fn import(&mut self, share: Arc<Share>, name: String) -> Option<u64> {
        let number = self.slots.len();
        if number >= MAX_ALLOCATIONS {
            return None;
        }
        let (bytes, store) = (share.bytes, Store::Shared { share, imported: true });
        let allocation = Allocation::within(store, bytes, number, name, false, false, Stamp::default());
        self.slots.push(Slot::Live(Box::new(allocation)));
        Some(address::pointer(self.device, number))
    }

    /// The allocation of a device address and the offset in it, for an access of `bytes` bytes.
    #[inline(always)]
    pub fn find(&self, address: u64, bytes: usize) -> Result<(&Allocation, usize), Fault> {
        let (device, number, offset) = address::split(address);
        if device == self.device
            && let Some(Slot::Live(allocation)) = self.slots.get(number)
            && offset >= 0
            && offset as usize + bytes <= allocation.bytes
        {
            return Ok((allocation, offset as usize));
        }
        Err(self.outside(address, bytes))
    }

    #[inline(never)]
    fn outside(&self, address: u64, bytes: usize) -> Fault {
        let (device, number, offset) = address::split(address);
        if device != self.device && device < address::MAX_DEVICES {
            let message = format!("address {address:#x} belongs to device {device}, not to device {}", self.device);
            return Fault::new(Check::OutOfBounds, message);
        }
        match self.slots.get(number) {
            Some(Slot::Live(allocation)) => {
                Fault::new(Check::OutOfBounds, format!("{bytes} bytes at byte {offset} of {}", allocation.name))
            }
            Some(Slot::Freed { name }) if number > 0 => {
                Fault::new(Check::UseAfterFree, format!("{bytes} bytes at byte {offset} of {name}, which was freed"))
            }
            _ => Fault::new(Check::OutOfBounds, format!("{bytes} bytes at address {address:#x}, which is nobody's")),
        }
    }

    /// The live allocations.
    pub fn live(&self) -> impl Iterator<Item = &Allocation> {
        self.slots.iter().filter_map(|slot| match slot {
            Slot::Live(allocation) => Some(allocation.as_ref()),
            Slot::Freed { .. } => None,
        })
    }

    /// The live allocation of this number.
    pub fn by_number(&self, number: usize) -> Option<&Allocation> {
        match self.slots.get(number) {
            Some(Slot::Live(allocation)) => Some(allocation),
            _ => None,
        }
    }

    /// Forgets who touched what, everywhere: the numbers of epochs start anew.
    pub fn forget(&mut self) {
        for slot in &mut self.slots {
            if let Slot::Live(allocation) = slot {
                allocation.forget();
            }
        }
    }
}
