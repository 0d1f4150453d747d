//! What this machine has for CUDA: driver, compiler, cards. Asking opens no card.

use cryptgpu_kernels::compile::can_make;
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
    /// The file of the driver, also of one that cannot be used; none where there is none.
    pub library: Option<String>,
    /// The cards. None where the driver finds none, or is not there.
    pub cards: Vec<CardInfo>,
    /// Why the driver does not say what cards there are, where it does not.
    pub fault: Option<String>,
    /// The library that `CRYPTGPU_LIBCUDA` names: not NVIDIA's own, as far as is known.
    pub substitute: Option<std::path::PathBuf>,
}

impl Cuda {
    /// Whether parties can compute on a card here: there are cards, and kernels for them are embedded or can be compiled.
    pub fn usable(&self) -> bool {
        let arch = |card: &CardInfo| u32::try_from(card.capability.0 * 10 + card.capability.1).unwrap_or(0);
        self.driver.is_ok() && !self.cards.is_empty() && self.cards.iter().all(|card| can_make(arch(card)))
    }
}

/// Looks at driver, compiler and cards. Never panics; what is missing is said in the result.
pub fn probe() -> Cuda {
    let driver = library::driver();
    let (cards, fault) = match driver.is_ok().then(cards) {
        None => (vec![], None),
        Some(Ok(cards)) => (cards, None),
        Some(Err(error)) if error.0 == sys::CUresult::CUDA_ERROR_NO_DEVICE => (vec![], None),
        Some(Err(error)) => (vec![], Some(error.to_string())),
    };
    let substitute = std::env::var_os(library::LIBCUDA_VARIABLE).map(Into::into);
    Cuda { driver, library: library::driver_file(), compiler: library::compiler(), cards, fault, substitute }
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
