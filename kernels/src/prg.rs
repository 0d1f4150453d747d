//! Words of the core's pseudo-random streams (`aes.cu`, `philox.cu`), bit for bit, from any offset.

use crate::KernelError;
use crate::compile::Family;
use crate::launch::{Argument, Element, InOut, Kernel, KernelInfo, Kernels, WordsMut};
use cudarc::driver::CudaStream;
use zeroize::{Zeroize, ZeroizeOnDrop};

const AES_THREADS: u32 = 512;
const AES_FILL: Kernel<(Schedule, u64, u64, InOut, u64)> =
    Kernel::new(Family::Aes, "aes_fill", AES_THREADS).of_64_bits();
const AES_FILLS: Kernel<(Fills,)> = Kernel::new(Family::Aes, "aes_fills", AES_THREADS).of_64_bits();
type AesZero = Kernel<(Schedule, u64, Schedule, u64, u64, InOut, u64)>;
const AES_ADD_ZERO: AesZero = Kernel::new(Family::Aes, "aes_add_zero", AES_THREADS);
const AES_XOR_ZERO: AesZero = Kernel::new(Family::Aes, "aes_xor_zero", AES_THREADS).of_64_bits();
pub(crate) const AES_KERNELS: &[KernelInfo] = &[AES_FILL.info, AES_FILLS.info, AES_ADD_ZERO.info, AES_XOR_ZERO.info];

const PHILOX_THREADS: u32 = 256;
const PHILOX_FILL: Kernel<(u64, u64, u64, u64, InOut, u64)> =
    Kernel::new(Family::Philox, "philox_fill", PHILOX_THREADS).of_64_bits();
type PhiloxZero = Kernel<(u64, u64, u64, u64, u64, u64, u64, InOut, u64)>;
const PHILOX_ADD_ZERO: PhiloxZero = Kernel::new(Family::Philox, "philox_add_zero", PHILOX_THREADS);
const PHILOX_XOR_ZERO: PhiloxZero = Kernel::new(Family::Philox, "philox_xor_zero", PHILOX_THREADS).of_64_bits();
pub(crate) const PHILOX_KERNELS: &[KernelInfo] = &[PHILOX_FILL.info, PHILOX_ADD_ZERO.info, PHILOX_XOR_ZERO.info];

/// Keys, and streams, of one launch of several (`AES_KEYS` and `AES_FILLS` in `aes.cu`).
const LAUNCH_KEYS: usize = 4;
const LAUNCH_FILLS: usize = 48;

/// The round keys of an AES-128 key (FIPS 197 §5.2), wiped when dropped. Kernels get them as parameters, in the
/// driver's memory and the card's constant memory, for as long as these keep a launch.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct RoundKeys([u32; 44]);

/// Round keys as a kernel parameter.
#[repr(transparent)]
#[derive(Clone, Copy)]
struct Schedule([u32; 44]);

// SAFETY: the layout of `RoundKeys` in `aes.cu`.
unsafe impl Argument for Schedule {}

/// One stream of several as a kernel parameter: `key` is its key's place among the launch's, `end` the number of blocks of
/// threads that it and those before it have.
#[repr(C)]
#[derive(Clone, Copy)]
struct Segment {
    nonce: u64,
    offset: u64,
    out: InOut,
    n: u64,
    key: u32,
    end: u32,
}

/// Several streams as a kernel parameter.
#[repr(C)]
#[derive(Clone, Copy)]
struct Fills {
    keys: [Schedule; LAUNCH_KEYS],
    padding: [u32; 2],
    segments: [Segment; LAUNCH_FILLS],
}

// SAFETY: the layout of `Fills` in `aes.cu`, with its padding written out.
unsafe impl Argument for Fills {}

impl Fills {
    const NONE: Fills = Fills {
        keys: [Schedule([0; 44]); LAUNCH_KEYS],
        padding: [0; 2],
        segments: [Segment { nonce: 0, offset: 0, out: InOut::NONE, n: 0, key: 0, end: 0 }; LAUNCH_FILLS],
    };
}

impl RoundKeys {
    /// The round keys of `key`, computed without looking anything up by a secret.
    pub fn expand(key: &[u8; 16]) -> Self {
        let mut words = [0u32; 44];
        for (word, bytes) in words.iter_mut().zip(key.as_chunks::<4>().0) {
            *word = u32::from_le_bytes(*bytes);
        }
        let mut constant = 1u8;
        for i in 4..44 {
            let mut word = words[i - 1];
            if i % 4 == 0 {
                let bytes = word.rotate_right(8).to_le_bytes().map(substitute);
                word = u32::from_le_bytes(bytes) ^ u32::from(constant);
                constant = double(constant);
            }
            words[i] = words[i - 4] ^ word;
        }
        RoundKeys(words)
    }

    /// From the first round's, each word in the order of the key's bytes. They are as secret as the key.
    pub fn words(&self) -> &[u32; 44] {
        &self.0
    }

    fn schedule(&self) -> Schedule {
        Schedule(self.0)
    }
}

/// Shows nothing.
impl std::fmt::Debug for RoundKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RoundKeys(..)")
    }
}

/// 2·x in AES's field.
fn double(x: u8) -> u8 {
    x << 1 ^ (x >> 7).wrapping_neg() & 0x1b
}

fn multiply(x: u8, y: u8) -> u8 {
    let (mut product, mut x) = (0, x);
    for bit in 0..8 {
        product ^= x & (y >> bit & 1).wrapping_neg();
        x = double(x);
    }
    product
}

/// AES's S-box: the inverse x^254 (0 for 0), then the affine map.
fn substitute(x: u8) -> u8 {
    let (mut power, mut inverse) = (x, 1u8);
    for _ in 1..8 {
        power = multiply(power, power);
        inverse = multiply(inverse, power);
    }
    let turned = |bits| inverse.rotate_left(bits);
    inverse ^ turned(1) ^ turned(2) ^ turned(3) ^ turned(4) ^ 0x63
}

/// A stream of the core's `prg`: a keyed generator and a nonce. Word 0 is the stream's first. `Debug` names the
/// generator, never the key.
#[derive(Clone, Copy)]
pub enum Stream<'a> {
    /// AES-128 in counter mode.
    Aes128Ctr {
        /// The key's schedule.
        keys: &'a RoundKeys,
        /// The high half of the counter.
        nonce: u64,
    },
    /// Philox4x64-10, **insecure**.
    InsecurePhilox {
        /// The key.
        key: &'a [u64; 2],
        /// The third word of the counter.
        nonce: u64,
    },
}

impl std::fmt::Debug for Stream<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Stream::Aes128Ctr { .. } => "Stream(aes128-ctr)",
            Stream::InsecurePhilox { .. } => "Stream(insecure-philox)",
        })
    }
}

/// How a zero-share is put on top of shares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ZeroShare {
    /// z += F⁺ − F⁻: ring elements.
    Arithmetic,
    /// z ^= F⁺ ⊕ F⁻: bits.
    Binary,
}

impl Kernels {
    /// `out` = words `offset .. offset + out.len()` of a stream.
    ///
    /// # Errors
    /// Errors of compilation and launch.
    pub fn fill(&self, stream: &CudaStream, source: Stream, offset: u64, mut out: WordsMut) -> Result<(), KernelError> {
        let n = out.len();
        match source {
            Stream::Aes128Ctr { keys, nonce } => {
                let arguments = (keys.schedule(), nonce, offset, out.device(), n as u64);
                self.launch::<u64, _>(stream, &AES_FILL, self.grid(&AES_FILL, blocks(n, 2)), arguments)
            }
            Stream::InsecurePhilox { key, nonce } => {
                let arguments = (key[0], key[1], nonce, offset, out.device(), n as u64);
                self.launch::<u64, _>(stream, &PHILOX_FILL, self.grid(&PHILOX_FILL, blocks(n, 4)), arguments)
            }
        }
    }

    /// [`Kernels::fill`] of each, from word 0, with as few launches as there can be: several streams of AES share one.
    ///
    /// # Errors
    /// Errors of compilation and launch.
    pub fn fills(&self, stream: &CudaStream, fills: Vec<(Stream, WordsMut)>) -> Result<(), KernelError> {
        let mut together = Together::default();
        for (source, out) in fills.into_iter().filter(|(_, out)| !out.is_empty()) {
            let Stream::Aes128Ctr { keys, nonce } = source else {
                self.fill(stream, source, 0, out)?;
                continue;
            };
            if !together.takes(keys) {
                self.launch_together(stream, std::mem::take(&mut together))?;
            }
            together.add(keys, nonce, out);
        }
        self.launch_together(stream, together)
    }

    fn launch_together(&self, stream: &CudaStream, together: Together) -> Result<(), KernelError> {
        let Together { keys, mut fills } = together;
        if fills.len() <= 1 {
            let alone = fills.pop();
            return alone.map_or(Ok(()), |(key, nonce, out)| {
                self.fill(stream, Stream::Aes128Ctr { keys: keys[key], nonce }, 0, out)
            });
        }
        let mut all = Fills::NONE;
        for (slot, keys) in all.keys.iter_mut().zip(&keys) {
            *slot = keys.schedule();
        }
        let mut end = 0;
        for (segment, (key, nonce, mut out)) in all.segments.iter_mut().zip(fills) {
            let n = out.len();
            end += self.grid(&AES_FILLS, blocks(n, 2))[0];
            *segment = Segment { nonce, offset: 0, out: out.device(), n: n as u64, key: key as u32, end };
        }
        self.launch::<u64, _>(stream, &AES_FILLS, [end, 1, 1], (all,))
    }

    /// A zero-share on top of `z`, words of elements of `W`, or of bits with `W` `u64`: the difference (`Arithmetic`: z += F⁺ − F⁻;
    /// `Binary`: z ^= F⁺ ⊕ F⁻) of words `offset ..` of two streams.
    ///
    /// # Errors
    /// [`KernelError::Argument`] for streams of two kinds; errors of compilation and launch.
    pub fn add_zero<W: Element>(
        &self,
        stream: &CudaStream,
        share: ZeroShare,
        [plus, minus]: [Stream; 2],
        offset: u64,
        mut z: WordsMut,
    ) -> Result<(), KernelError> {
        let n = z.len();
        match (plus, minus) {
            (Stream::Aes128Ctr { keys: p, nonce: pn }, Stream::Aes128Ctr { keys: m, nonce: mn }) => {
                let kernel = if share == ZeroShare::Arithmetic { AES_ADD_ZERO } else { AES_XOR_ZERO };
                let arguments = (p.schedule(), pn, m.schedule(), mn, offset, z.device(), n as u64);
                let grid = self.grid(&kernel, blocks(n, 2));
                match share {
                    ZeroShare::Arithmetic => self.launch::<W, _>(stream, &kernel, grid, arguments),
                    ZeroShare::Binary => self.launch::<u64, _>(stream, &kernel, grid, arguments),
                }
            }
            (Stream::InsecurePhilox { key: p, nonce: pn }, Stream::InsecurePhilox { key: m, nonce: mn }) => {
                let kernel = if share == ZeroShare::Arithmetic { PHILOX_ADD_ZERO } else { PHILOX_XOR_ZERO };
                let arguments = (p[0], p[1], pn, m[0], m[1], mn, offset, z.device(), n as u64);
                let grid = self.grid(&kernel, blocks(n, 4));
                match share {
                    ZeroShare::Arithmetic => self.launch::<W, _>(stream, &kernel, grid, arguments),
                    ZeroShare::Binary => self.launch::<u64, _>(stream, &kernel, grid, arguments),
                }
            }
            _ => Err(KernelError::Argument {
                operation: "zero-share",
                argument: "streams",
                found: "two kinds of generator".to_owned(),
                rule: "both must be of one kind",
            }),
        }
    }
}

/// Streams of AES for one launch: the keys that they have, and each stream's key among these, nonce and target.
#[derive(Default)]
struct Together<'a> {
    keys: Vec<&'a RoundKeys>,
    fills: Vec<(usize, u64, WordsMut<'a>)>,
}

impl<'a> Together<'a> {
    /// Where `keys` stand among those that are there.
    fn find(&self, keys: &RoundKeys) -> Option<usize> {
        // By address: one generator hands out the same ones again, and equal ones at two addresses only take two places.
        self.keys.iter().position(|&there| std::ptr::eq(there, keys))
    }

    /// Whether one more stream of these keys fits.
    fn takes(&self, keys: &RoundKeys) -> bool {
        self.fills.len() < LAUNCH_FILLS && (self.keys.len() < LAUNCH_KEYS || self.find(keys).is_some())
    }

    fn add(&mut self, keys: &'a RoundKeys, nonce: u64, out: WordsMut<'a>) {
        let key = self.find(keys).unwrap_or_else(|| {
            self.keys.push(keys);
            self.keys.len() - 1
        });
        self.fills.push((key, nonce, out));
    }
}

/// Blocks of `size` words that `n` words touch at most, wherever they begin; none for none.
fn blocks(n: usize, size: usize) -> usize {
    if n == 0 { 0 } else { n.div_ceil(size) + 1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_keys_are_those_of_fips_197() {
        // Appendix A.1.
        let key = 0x2b7e_1516_28ae_d2a6_abf7_1588_09cf_4f3c_u128.to_be_bytes();
        let keys = RoundKeys::expand(&key).0.map(u32::swap_bytes);
        assert_eq!(keys[..4], [0x2b7e_1516, 0x28ae_d2a6, 0xabf7_1588, 0x09cf_4f3c]);
        assert_eq!(keys[4..8], [0xa0fa_fe17, 0x8854_2cb1, 0x23a3_3939, 0x2a6c_7605]);
        assert_eq!(keys[40..], [0xd014_f9a8, 0xc9ee_2589, 0xe13f_0cc8, 0xb663_0ca6]);
    }

    #[test]
    fn a_stream_shows_no_key() {
        let (keys, key) = (RoundKeys::expand(&[0xab; 16]), [0x1234_5678, 0x9abc_def0]);
        let streams = [Stream::Aes128Ctr { keys: &keys, nonce: 7 }, Stream::InsecurePhilox { key: &key, nonce: 7 }];
        let shown = streams.map(|stream| format!("{stream:?}"));
        assert_eq!(shown, ["Stream(aes128-ctr)", "Stream(insecure-philox)"]);
    }
}
