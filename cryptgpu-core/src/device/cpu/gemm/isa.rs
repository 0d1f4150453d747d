//! Which instruction set the ring product runs on: found once per process, and overridable by
//! the environment variable `CRYPTGPU_ISA` or by the `_with` functions (tests, benches).

use super::GemmError;
use std::fmt;
use std::str::FromStr;
use std::sync::OnceLock;

/// Name of the environment variable that chooses the instruction set.
pub const ISA_VARIABLE: &str = "CRYPTGPU_ISA";

/// An implementation of the ring product, from the most general to the one that asks for most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Isa {
    /// Scalar Rust, any 64-bit machine.
    Portable,
    /// x86-64 with AVX2 (Zen 1 to 3, Haswell and later).
    Avx2,
    /// x86-64 with AVX-512 F, DQ and VL, by the multiplication of 64-bit words: the fastest on AMD's processors (Zen 4 and
    /// later), and for those of Intel's that lack IFMA (Skylake, Cascade Lake).
    Avx512Dq,
    /// x86-64 with AVX-512 F, DQ, VL, IFMA and VNNI: the fastest on Intel's processors without AMX (Ice Lake).
    Avx512,
    /// As `Avx512` and BW, with AMX-INT8 tiles that the kernel lets us use (Sapphire Rapids and later).
    Amx,
}

impl Isa {
    /// Every implementation, on Intel's processors slowest first.
    pub const ALL: [Isa; 5] = [Isa::Portable, Isa::Avx2, Isa::Avx512Dq, Isa::Avx512, Isa::Amx];

    /// The name that `CRYPTGPU_ISA` takes: `portable`, `avx2`, `avx512dq`, `avx512`, `amx`.
    pub fn name(self) -> &'static str {
        match self {
            Isa::Portable => "portable",
            Isa::Avx2 => "avx2",
            Isa::Avx512Dq => "avx512dq",
            Isa::Avx512 => "avx512",
            Isa::Amx => "amx",
        }
    }

    /// Can this machine run it?
    pub fn is_supported(self) -> bool {
        match self {
            Isa::Portable => true,
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => is_x86_feature_detected!("avx2"),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512Dq => {
                is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512dq")
                    && is_x86_feature_detected!("avx512vl")
            }
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => {
                Isa::Avx512Dq.is_supported()
                    && is_x86_feature_detected!("avx512ifma")
                    && is_x86_feature_detected!("avx512vnni")
            }
            #[cfg(target_arch = "x86_64")]
            Isa::Amx => Isa::Avx512.is_supported() && is_x86_feature_detected!("avx512bw") && super::amx::permitted(),
            #[cfg(not(target_arch = "x86_64"))]
            _ => false,
        }
    }

    /// The fastest implementation that this machine can run.
    pub fn detect() -> Isa {
        match is_amd() && Isa::Avx512Dq.is_supported() {
            true => Isa::Avx512Dq,
            false => Isa::ALL.into_iter().rev().find(|isa| isa.is_supported()).unwrap_or(Isa::Portable),
        }
    }

    /// The implementation in force: the one that `CRYPTGPU_ISA` names where it is set, else [`Isa::detect`].
    /// Read once per process.
    ///
    /// # Errors
    /// [`GemmError::UnknownIsa`] or [`GemmError::UnsupportedIsa`] when the variable holds a name
    /// that does not exist or that this machine cannot run.
    pub fn active() -> Result<Isa, GemmError> {
        static ACTIVE: OnceLock<Result<Isa, GemmError>> = OnceLock::new();
        ACTIVE
            .get_or_init(|| match std::env::var_os(ISA_VARIABLE) {
                None => Ok(Isa::detect()),
                Some(value) => value.to_string_lossy().parse::<Isa>()?.checked(),
            })
            .clone()
    }

    /// Itself, when this machine can run it.
    pub(crate) fn checked(self) -> Result<Isa, GemmError> {
        if self.is_supported() { Ok(self) } else { Err(GemmError::UnsupportedIsa { isa: self }) }
    }
}

/// Whether AMD made the processor: its AVX-512 multiplies words of 64 bits in one operation, where Intel's takes three.
#[cfg(target_arch = "x86_64")]
fn is_amd() -> bool {
    let vendor = std::arch::x86_64::__cpuid(0);
    [vendor.ebx, vendor.edx, vendor.ecx].map(u32::to_le_bytes).as_flattened() == b"AuthenticAMD"
}

#[cfg(not(target_arch = "x86_64"))]
fn is_amd() -> bool {
    false
}

impl fmt::Display for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Isa {
    type Err = GemmError;

    fn from_str(name: &str) -> Result<Isa, GemmError> {
        let known = |isa: &Isa| isa.name().eq_ignore_ascii_case(name.trim());
        Isa::ALL.into_iter().find(known).ok_or_else(|| GemmError::UnknownIsa { name: name.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip_and_unknown_ones_are_refused() {
        for isa in Isa::ALL {
            assert_eq!(isa.to_string().to_uppercase().parse::<Isa>().unwrap(), isa);
        }
        assert_eq!("sse9".parse::<Isa>(), Err(GemmError::UnknownIsa { name: "sse9".into() }));
    }

    #[test]
    fn the_detected_implementation_is_supported() {
        assert!(Isa::detect().is_supported());
        assert!(Isa::Portable.checked().is_ok());
    }
}
