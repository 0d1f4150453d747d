//! Keys that parties agree on leave no copy in memory that is given back.

#![allow(unsafe_code, clippy::unwrap_used)]

use crate::support::{Way, link_up};
use cryptgpu_core::mpc::agree_on_keys;
use cryptgpu_core::net::{Network, Options, memory};
use cryptgpu_core::prg::Keys;
use std::alloc::{GlobalAlloc, Layout, System};
use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};

/// Keeps a copy of what small blocks held when they were given back, while it is asked to.
struct Watching;

static WATCHES: AtomicBool = AtomicBool::new(false);
static KEPT: [AtomicU8; 64 << 20] = [const { AtomicU8::new(0) }; 64 << 20];
static NEXT: AtomicUsize = AtomicUsize::new(0);

/// Larger blocks are no keys'.
const SMALL: usize = 1 << 10;

// SAFETY: all memory is the system's.
unsafe impl GlobalAlloc for Watching {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        if WATCHES.load(Relaxed) && layout.size() <= SMALL {
            let start = NEXT.fetch_add(layout.size(), Relaxed);
            for at in 0..layout.size() {
                if let Some(kept) = KEPT.get(start + at) {
                    // SAFETY: within the block, which is still the caller's.
                    kept.store(unsafe { block.add(at).read_volatile() }, Relaxed);
                }
            }
        }
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(block, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Watching = Watching;

/// All three agree, and their links end. The keys stay where nothing else copies them.
fn agree(networks: [Arc<dyn Network>; 3]) -> &'static [OnceLock<Keys>; 3] {
    let kept: &[OnceLock<Keys>; 3] = Box::leak(Box::default());
    let threads = networks.map(|network| {
        std::thread::spawn(move || drop(kept[network.id().index()].set(agree_on_keys(network.as_ref()).unwrap())))
    });
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    kept
}

#[test]
fn keys_leave_nothing_in_memory_that_is_given_back() {
    let [plaintext, shared] = [Way::Plaintext, Way::Shared].map(|way| link_up(way, &[&Options::default(); 3]));
    let memory = memory::trio(Options::default()).map(|network| Arc::new(network) as Arc<dyn Network>);
    // What is given back is seen.
    let canary: [u8; 16] = std::array::from_fn(|i| 0xa5 ^ (i as u8).wrapping_mul(29));
    WATCHES.store(true, Relaxed);
    drop(std::hint::black_box(canary.to_vec()));
    let agreed = [agree(plaintext), agree(shared), agree(memory)];
    WATCHES.store(false, Relaxed);
    let used = NEXT.load(Relaxed);
    assert!(used <= KEPT.len(), "{used} bytes were given back meanwhile: too many to keep");
    let kept: Vec<u8> = KEPT[..used].iter().map(|byte| byte.load(Relaxed)).collect();
    let of = |keys: &Keys| [&keys.with_prev, &keys.with_next, &keys.common, &keys.own].map(|key| *key.expose());
    let keys: HashSet<[u8; 16]> = agreed.into_iter().flatten().flat_map(|keys| of(keys.get().unwrap())).collect();
    let found = |keys: &dyn Fn(&[u8]) -> bool| kept.windows(16).filter(|window| keys(window)).count();
    assert!(keys.len() == 21 && found(&|bytes| bytes == canary) > 0);
    assert_eq!(found(&|bytes| keys.contains(bytes)), 0);
}
