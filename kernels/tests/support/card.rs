//! A card to run kernels on: the emulator, or with `CRYPTGPU_TEST_GPU` set a real one. On the emulator every test
//! runs twice, with the PTX of NVRTC and of clang: two compilers seldom share a mistake.

use super::clang;
use cryptgpu_kernels::compile::{Cache, Family, Format};
use cryptgpu_kernels::{Kernels, Options, Words, WordsMut};
use cudarc::driver::{CudaContext, CudaSlice, CudaStream, DevicePtr};
use std::sync::{Arc, OnceLock};

/// Kernels of one compiler, and a stream.
pub struct Card {
    pub name: &'static str,
    pub kernels: Kernels,
    pub stream: Arc<CudaStream>,
}

/// Words on a card.
pub struct Buffer {
    slice: CudaSlice<u64>,
    len: usize,
    stream: Arc<CudaStream>,
}

impl Buffer {
    pub fn words(&self) -> Words<'_> {
        // SAFETY: the slice lives as long as the borrow; one stream orders all work of a test.
        unsafe { Words::from_raw(self.slice.device_ptr(&self.stream).0, self.len) }
    }

    pub fn words_mut(&mut self) -> WordsMut<'_> {
        // SAFETY: as above, and the borrow is unique.
        unsafe { WordsMut::from_raw(self.slice.device_ptr(&self.stream).0, self.len) }
    }

    /// The words from `start` on, which may be at an odd place.
    pub fn words_mut_from(&mut self, start: usize) -> WordsMut<'_> {
        let len = self.len - start;
        // SAFETY: as above; the part lies inside.
        unsafe { WordsMut::from_raw(self.slice.device_ptr(&self.stream).0 + 8 * start as u64, len) }
    }
}

impl Card {
    /// A copy of `words`.
    pub fn up(&self, words: &[u64]) -> Buffer {
        let filled = if words.is_empty() { &[0][..] } else { words };
        let slice = self.stream.clone_htod(filled).unwrap();
        Buffer { slice, len: words.len(), stream: Arc::clone(&self.stream) }
    }

    /// `len` words that nothing has been written to.
    pub fn blank(&self, len: usize) -> Buffer {
        // SAFETY: any words are `u64`; the emulator reports reads of them.
        let slice = unsafe { self.stream.alloc::<u64>(len.max(1)) }.unwrap();
        Buffer { slice, len, stream: Arc::clone(&self.stream) }
    }

    /// The words, when all work is done; fails when the emulator has found something wrong on the way.
    pub fn down(&self, buffer: &Buffer) -> Vec<u64> {
        let words = self.try_down(buffer);
        super::emulator::assert_clean();
        words.unwrap()
    }

    /// The words, when all work is done, or what the driver says.
    pub fn try_down(&self, buffer: &Buffer) -> Result<Vec<u64>, String> {
        if buffer.len == 0 {
            return Ok(vec![]);
        }
        let words = self.stream.clone_dtoh(&buffer.slice.slice(..buffer.len));
        let words = words.and_then(|words| self.stream.synchronize().map(|()| words));
        words.map_err(|error| error.to_string())
    }
}

fn context() -> Option<Arc<CudaContext>> {
    static CONTEXT: OnceLock<Option<Arc<CudaContext>>> = OnceLock::new();
    CONTEXT
        .get_or_init(|| {
            if std::env::var_os("CRYPTGPU_TEST_GPU").is_none() {
                super::emulator::open();
            }
            match cryptgpu_kernels::library::driver() {
                Ok(_) => Some(CudaContext::new(0).unwrap()),
                Err(error) => {
                    super::missing(&error.to_string());
                    None
                }
            }
        })
        .clone()
}

/// Kernels as `options` says, on a stream of their own.
pub fn card(name: &'static str, format: Option<Format>) -> Option<Card> {
    if !super::nvrtc() {
        return None;
    }
    let context = context()?;
    let cache = Some(Cache::new(env!("CARGO_TARGET_TMPDIR").to_owned() + "/kernels"));
    let kernels = Kernels::new(&context, Options { format, cache }).unwrap_or_else(|error| panic!("{error}"));
    let stream = context.new_stream().unwrap();
    Some(Card { name, kernels, stream })
}

/// All cards that a test runs on: none when NVIDIA's packages are missing (said aloud).
pub fn cards() -> &'static [Card] {
    static CARDS: OnceLock<Vec<Card>> = OnceLock::new();
    CARDS.get_or_init(|| {
        if std::env::var_os("CRYPTGPU_TEST_GPU").is_some() {
            return card("GPU", None).into_iter().collect();
        }
        let nvrtc = card("emulator, NVRTC", Some(Format::Ptx));
        let clang = nvrtc.is_some().then(|| card("emulator, clang", Some(Format::Ptx))).flatten().filter(load_clang);
        nvrtc.into_iter().chain(clang).collect()
    })
}

/// Replaces all kernels by clang's; false when there is no clang.
fn load_clang(card: &Card) -> bool {
    let images = Family::ALL.iter().flat_map(|&family| family.widths().map(move |width| (family, width)));
    images.into_iter().all(|(family, width)| match clang::compile(family, width, card.kernels.target().arch) {
        Some(image) => {
            card.kernels.replace(family, width, &image).unwrap_or_else(|error| panic!("{}: {error}", family.file()));
            true
        }
        None => false,
    })
}
