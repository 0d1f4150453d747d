//! What this machine has for CUDA: driver, compiler, cards. Asking opens no card.

use cryptgpu_kernels::library::{self, LibraryError, Version};
use cudarc::driver::{result, sys};

/// A card as the driver shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CardInfo {
    /// Its number.
    pub ordinal: u32,
    /// Its name.
    pub name: String,
    /// Its compute capability, major and minor.
    pub capability: (i32, i32),
    /// Its memory in bytes.
    pub memory_bytes: usize,
}

/// What this machine has for CUDA.
#[derive(Clone, Debug)]
pub struct Cuda {
    /// The newest CUDA that the driver serves, major and minor; or why there is no driver.
    pub driver: Result<Version, LibraryError>,
    /// The compiler's version, or why there is none.
    pub compiler: Result<Version, LibraryError>,
    /// The cards. None where the driver finds none, or is not there.
    pub cards: Vec<CardInfo>,
    /// The library that `CRYPTGPU_LIBCUDA` names: not NVIDIA's own, as far as is known.
    pub substitute: Option<std::path::PathBuf>,
}

impl Cuda {
    /// Whether parties can compute on a card here.
    pub fn usable(&self) -> bool {
        self.driver.is_ok() && self.compiler.is_ok() && !self.cards.is_empty()
    }
}

/// Looks at driver, compiler and cards. Never panics; what is missing is said in the result.
pub fn probe() -> Cuda {
    let driver = library::driver().and_then(|()| driver_version());
    let cards = if driver.is_ok() { cards().unwrap_or_default() } else { vec![] };
    let substitute = std::env::var_os(library::LIBCUDA_VARIABLE).map(Into::into);
    Cuda { driver, compiler: library::compiler(), cards, substitute }
}

fn driver_version() -> Result<Version, LibraryError> {
    let mut version = 0;
    // SAFETY: the library is present, and the pointer is valid for the call.
    let answer = unsafe { sys::cuDriverGetVersion(&mut version) };
    answer.result().map_err(|error| LibraryError::Broken(error.to_string()))?;
    Ok((version / 1000, version % 1000 / 10))
}

fn cards() -> Result<Vec<CardInfo>, cudarc::driver::DriverError> {
    result::init()?;
    let count = result::device::get_count()?;
    (0..count).map(info).collect()
}

fn info(ordinal: i32) -> Result<CardInfo, cudarc::driver::DriverError> {
    use sys::CUdevice_attribute::{
        CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR as MAJOR, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR as MINOR,
    };
    let device = result::device::get(ordinal)?;
    // SAFETY: the device is one that the driver has just named.
    let (major, minor, memory_bytes) = unsafe {
        let attribute = |attribute| result::device::get_attribute(device, attribute);
        (attribute(MAJOR)?, attribute(MINOR)?, result::device::total_mem(device)?)
    };
    let name = result::device::get_name(device)?;
    Ok(CardInfo { ordinal: ordinal as u32, name, capability: (major, minor), memory_bytes })
}
