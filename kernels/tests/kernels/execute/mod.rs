//! Every launch function runs on the emulated card (or a real one, with `CRYPTGPU_TEST_GPU`) and gives
//! the bits of the CPU's kernels, at sizes around warps, packed groups and blocks.

/// Tests in both rings, of bodies that are written over the element.
macro_rules! in_both_rings {
    ($($body:ident),* $(,)?) => {
        mod of_64_bits {
            $(
                #[test]
                fn $body() {
                    super::$body::<u64>();
                }
            )*
        }

        mod of_32_bits {
            $(
                #[test]
                fn $body() {
                    super::$body::<u32>();
                }
            )*
        }
    };
}

mod elementwise;
mod extension;
mod packed;
mod pool;
mod prg;
mod product;

use super::support;
use cryptgpu_core::ring::Word;
use cryptgpu_kernels::Element;

/// Elements of a ring, on the CPU and on the card.
trait Elements: Word + Element {
    /// Elements of a word of memory.
    const PACKED: usize = 64 / <Self as Word>::BITS as usize;

    /// Words of memory of `n` elements.
    fn memory(n: usize) -> usize {
        n.div_ceil(Self::PACKED)
    }

    /// The first `n` elements in words of memory.
    fn first(words: &[u64], n: usize) -> &[Self] {
        &Self::of(words)[..n]
    }

    /// The same, to write.
    fn first_mut(words: &mut [u64], n: usize) -> &mut [Self] {
        &mut Self::of_mut(words)[..n]
    }
}

impl Elements for u32 {}
impl Elements for u64 {}

/// The same tests on an emulated V100 (no tensor cores for integers) and H100.
#[test]
fn cards_of_other_generations_agree() {
    if !support::nvrtc() || std::env::var_os("CRYPTGPU_TEST_GPU").is_some() {
        return;
    }
    for capability in ["7.0", "9.0"] {
        let program = std::env::current_exe().unwrap();
        let mut command = std::process::Command::new(program);
        command.args([
            "execute::product::",
            "execute::packed::of_64_bits::sharing",
            "execute::packed::of_32_bits::sharing",
            "execute::prg::zero",
            "execute::elementwise::of_64_bits::constants",
        ]);
        command
            .arg("--test-threads=2")
            .env("CRYPTGPU_EMULATOR_CAPABILITY", capability)
            .env("CRYPTGPU_WITHOUT_CLANG", "1");
        let output = command.output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "capability {capability}:\n{text}");
        assert!(text.contains("ok. 18 passed"), "capability {capability}:\n{text}");
    }
}
