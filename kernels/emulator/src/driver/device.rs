//! What a device says about itself.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};
use std::thread::ThreadId;

use parking_lot::Mutex;

use super::work::Stream;
use crate::checks::clock::{Clock, Stamp};
use crate::driver::code::Code;
use crate::ir::Kernel;
use crate::memory::global::GlobalMemory;
use crate::memory::share::{Flight, Share};

/// A recorded event: what must have happened.
#[derive(Debug, Default)]
pub struct Event {
    /// What must have happened; nothing if it was never recorded.
    pub clock: Clock,
    /// When it was recorded, for the elapsed time that programs ask for.
    pub recorded: Option<std::time::Instant>,
}

/// A loaded module.
pub struct Module {
    /// Kernels by name: indices of functions.
    pub functions: HashMap<String, usize>,
    /// Variables by name: address and size.
    pub variables: HashMap<String, (u64, usize)>,
}

/// A kernel of a module, with what the host set for it.
pub struct Function {
    /// The kernel.
    pub kernel: Arc<Kernel>,
    /// Module that holds it.
    pub module: usize,
    /// Dynamic shared memory that was allowed for it.
    pub max_dynamic_shared: usize,
}

/// A device and its primary context.
pub struct Device {
    /// Its number.
    pub index: usize,
    /// Retains of the primary context.
    pub retained: usize,
    /// Counts contexts: handles of an earlier one are invalid.
    pub generation: u64,
    /// Memory.
    pub memory: GlobalMemory,
    /// Streams; 0 is the default stream.
    pub streams: Vec<Stream>,
    /// Per-thread default streams.
    pub thread_streams: HashMap<ThreadId, usize>,
    /// Events.
    pub events: Vec<Option<Event>>,
    /// Modules.
    pub modules: Vec<Option<Module>>,
    /// Functions of all modules.
    pub functions: Vec<Function>,
    /// What the host knows to have happened.
    pub host: Clock,
    /// The error that the context is left with.
    pub sticky: Option<Code>,
    /// The last epoch given to an operation.
    pub epoch: u16,
    /// State of the generator that permutes operations.
    pub random: u64,
    /// Operations on memory that other processes have, not known to have ended.
    pub flights: Vec<(Stamp, Arc<Share>, Flight)>,
}

impl Device {
    fn new(index: usize) -> Self {
        let settings = crate::settings();
        Self {
            index,
            retained: 0,
            generation: 1,
            memory: GlobalMemory::new(index, settings.memory),
            streams: vec![Stream::new(true)],
            thread_streams: HashMap::new(),
            events: Vec::new(),
            modules: Vec::new(),
            functions: Vec::new(),
            host: Clock::default(),
            sticky: None,
            epoch: 0,
            random: settings.seed.wrapping_add(index as u64),
            flights: Vec::new(),
        }
    }

    /// The primary context was released for the last time: all that it held is gone.
    pub fn reset(&mut self) {
        let generation = self.generation + 1;
        *self = Self { generation, ..Self::new(self.index) };
    }

    /// A number below `bound` (SplitMix64).
    pub fn random(&mut self, bound: usize) -> usize {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % bound.max(1) as u64) as usize
    }
}

/// All devices.
pub fn devices() -> &'static [Mutex<Device>] {
    static DEVICES: OnceLock<Vec<Mutex<Device>>> = OnceLock::new();
    DEVICES.get_or_init(|| (0..crate::settings().devices).map(|index| Mutex::new(Device::new(index))).collect())
}

/// `sm_80` is 80; `None` for a target of another form.
pub fn target_capability(target: &str) -> Option<u32> {
    target.strip_prefix("sm_")?.trim_end_matches(|c: char| c.is_ascii_alphabetic()).parse().ok()
}

/// Shared memory that a block may have with and without asking, and that a multiprocessor has.
pub fn shared_limits() -> (usize, usize, usize) {
    let optin = match crate::settings().capability {
        (7, 0) => 96,
        (7, _) => 64,
        (8, 0) | (8, 7) => 163,
        (8, _) => 99,
        (9, _) | (10, 0) => 227,
        (12, _) => 99,
        _ => 48,
    };
    (48 << 10, optin << 10, (optin + if optin > 96 { 1 } else { 0 }) << 10)
}

/// The most threads of a multiprocessor.
pub fn threads_per_multiprocessor() -> u32 {
    match crate::settings().capability {
        (7, 5) => 1024,
        (8, 6 | 9) | (12, _) => 1536,
        _ => 2048,
    }
}

/// The most blocks of a multiprocessor.
pub fn blocks_per_multiprocessor() -> u32 {
    match crate::settings().capability {
        (7, 5) | (8, 6) => 16,
        (8, 9) | (12, _) => 24,
        _ => 32,
    }
}

/// Registers of a multiprocessor and of a block.
pub const REGISTERS: u32 = 65536;

/// An attribute of a device (`CUdevice_attribute`), or `None` for one that is not known.
pub fn attribute(attribute: u32) -> Option<i32> {
    let (major, minor) = crate::settings().capability;
    let (shared, optin, per_multiprocessor) = shared_limits();
    Some(match attribute {
        1 => 1024,                   // threads of a block
        2 | 3 => 1024,               // block x, y
        4 => 64,                     // block z
        5 => i32::MAX,               // grid x
        6 | 7 => 65535,              // grid y, z
        8 => shared as i32,          // shared memory of a block
        9 => 65536,                  // constant memory
        10 => 32,                    // warp
        11 => i32::MAX,              // pitch
        12 | 82 => REGISTERS as i32, // registers of a block, of a multiprocessor
        13 | 36 => 1_000_000,        // clocks (kHz): of no meaning here
        14 => 512,                   // alignment of textures
        16 => 4,                     // multiprocessors
        18 => 0,                     // integrated
        19 => 0,                     // mapped host memory
        20 => 0,                     // compute mode
        31 => 1,                     // concurrent kernels
        33 | 34 => 0,                // PCI bus, device
        37 => 256,                   // memory bus
        38 => 4 << 20,               // L2
        39 => threads_per_multiprocessor() as i32,
        40 => 1, // copy engines
        41 => 1, // unified addressing
        75 => major as i32,
        76 => minor as i32,
        78 => 0, // stream priorities
        81 => per_multiprocessor as i32,
        83 | 88 | 89 => 0, // managed memory
        95 => 0,           // cooperative launch
        97 => optin as i32,
        106 => blocks_per_multiprocessor() as i32,
        115 => 1, // memory pools
        _ => return None,
    })
}
