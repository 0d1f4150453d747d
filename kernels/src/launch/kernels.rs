//! The kernels of one context: images made at first use, functions found once, launches.

use super::{Arguments, Element, Kernel, KernelInfo, Width};
use crate::compile::{self, Cache, Family, Format, Image, Target};
use crate::{KernelError, library};
use cudarc::driver::{CudaContext, CudaFunction, CudaStream, result, sys};
use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

/// How images are made.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Machine code or PTX. By default machine code, but PTX where `CRYPTGPU_LIBCUDA` names another driver
    /// (an emulator reads PTX), and for cards that are newer than the compiler.
    pub format: Option<Format>,
    /// Where compiled images are kept; by default nowhere.
    pub cache: Option<Cache>,
}

impl Options {
    /// The defaults with the cache that the environment names.
    pub fn from_environment() -> Self {
        Options { format: None, cache: Cache::from_environment() }
    }
}

/// The kernels on the card of one context. Nothing is compiled before it is used.
pub struct Kernels {
    context: Arc<CudaContext>,
    target: Target,
    cache: Option<Cache>,
    multiprocessors: u32,
    families: [Images; Family::ALL.len()],
}

/// The images of a family, for elements of 32 bits and of 64.
type Images = [OnceLock<Result<Functions, KernelError>>; Width::ALL.len()];
type Functions = HashMap<&'static str, CudaFunction>;

/// Threads that one multiprocessor can have in flight, which grids of element-wise kernels are capped by.
const RESIDENT_THREADS: u64 = 2048;

/// Dynamic shared memory that every kernel may have without asking.
const SHARED_WITHOUT_ASKING: u32 = 48 << 10;

impl Kernels {
    /// The kernels for the card of `context`.
    ///
    /// # Errors
    /// When the driver does not tell what the card is, or the compiler does not know it.
    pub fn new(context: &Arc<CudaContext>, options: Options) -> Result<Self, KernelError> {
        let asked = |what: &str| KernelError::driver(format!("asking the card for its {what}"));
        let (major, minor) = context.compute_capability().map_err(asked("compute capability"))?;
        let attribute = sys::CUdevice_attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT;
        let multiprocessors = context.attribute(attribute).map_err(asked("number of multiprocessors"))?;
        let arch = u32::try_from(major * 10 + minor).unwrap_or(0);
        let target = match options.format {
            Some(format) => Target { arch, format },
            None => compile::target(arch)?,
        };
        Ok(Kernels {
            context: Arc::clone(context),
            target,
            cache: options.cache,
            multiprocessors: u32::try_from(multiprocessors).unwrap_or(1).max(1),
            families: std::array::from_fn(|_| Images::default()),
        })
    }

    /// What images are made for.
    pub fn target(&self) -> Target {
        self.target
    }

    /// Multiprocessors of the card.
    pub(crate) fn multiprocessors(&self) -> u32 {
        self.multiprocessors
    }

    /// The context.
    pub fn context(&self) -> &Arc<CudaContext> {
        &self.context
    }

    /// Compiles and loads all families now, so that no first use waits.
    ///
    /// # Errors
    /// As the launch of any kernel.
    pub fn load_all(&self) -> Result<(), KernelError> {
        Family::ALL
            .iter()
            .try_for_each(|&family| family.widths().try_for_each(|width| self.functions(family, width).map(drop)))
    }

    /// Loads `image` in the place of the family's own for elements of a width: how tests run a kernel with a mistake in it, or one
    /// that another compiler made.
    ///
    /// # Errors
    /// When the driver refuses it, or the family is loaded already.
    pub fn replace(&self, family: Family, width: Width, image: &Image) -> Result<(), KernelError> {
        let functions = self.load(family, width, image)?;
        self.families[family as usize][width as usize].set(Ok(functions)).map_err(|_| KernelError::Argument {
            operation: "replacing a family of kernels",
            argument: "family",
            found: family.file().to_owned(),
            rule: "it must not have been used yet",
        })
    }

    fn functions(&self, family: Family, width: Width) -> Result<&Functions, KernelError> {
        let image = || compile::image(family, width, self.target, self.cache.as_ref());
        let load = || image().and_then(|image| self.load(family, width, &image));
        self.families[family as usize][width as usize].get_or_init(load).as_ref().map_err(Clone::clone)
    }

    fn load(&self, family: Family, width: Width, image: &Image) -> Result<Functions, KernelError> {
        let file = family.file();
        // cudarc hands the bytes to `cuModuleLoadData` as they are, whatever it calls them.
        let module = self
            .context
            .load_module(cudarc::nvrtc::Ptx::from_binary(image.0.clone()))
            .map_err(KernelError::driver(format!("loading the kernels of {file} ({}, {width})", self.target)))?;
        let mut functions = HashMap::new();
        for info in family.kernels_in(width).filter(|info| info.min_arch <= self.target.arch) {
            let (name, shared) = (info.name, info.shared_in(width));
            let function =
                module.load_function(name).map_err(KernelError::driver(format!("looking for kernel {name}")))?;
            check_signature(info, &function)?;
            if shared > SHARED_WITHOUT_ASKING {
                let attribute = sys::CUfunction_attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
                function.set_attribute(attribute, shared as i32).map_err(KernelError::driver(format!(
                    "asking for {shared} bytes of shared memory for kernel {name}"
                )))?;
            }
            functions.insert(name, function);
        }
        Ok(functions)
    }

    /// Launches `kernel` for elements `W` in `grid` blocks on `stream`, for `u64` what knows none. A grid without blocks is no
    /// launch.
    ///
    /// The wrappers are the only callers: they have checked that every pointer has the words that the kernel
    /// touches.
    pub(crate) fn launch<W: Element, A: Arguments>(
        &self,
        stream: &CudaStream,
        kernel: &Kernel<A>,
        grid: [u32; 3],
        mut arguments: A,
    ) -> Result<(), KernelError> {
        if grid.contains(&0) {
            return Ok(());
        }
        let KernelInfo { family, name, threads, min_arch, .. } = kernel.info;
        let shared = kernel.info.shared_in(W::WIDTH);
        let function = self.functions(family, W::WIDTH)?.get(name).ok_or_else(|| KernelError::Unsupported {
            operation: name,
            needed: capability(min_arch),
            found: capability(self.target.arch),
        })?;
        let failed = || KernelError::driver(format!("launching kernel {name}"));
        self.context.bind_to_thread().map_err(failed())?;
        let [x, y, z] = grid;
        // SAFETY: the function and the stream live; the arguments have the types that the kernel declares (one
        // constant names both, and loading compared their sizes); wrappers have checked all lengths, and
        // whoever made the `Words` has promised that they are live.
        arguments
            .with_pointers(|pointers| unsafe {
                let (grid, block) = ((x, y, z), (threads, 1, 1));
                result::launch_kernel(function.cu_function(), grid, block, shared, stream.cu_stream(), pointers)
            })
            .map_err(failed())
    }

    /// Blocks for `n` elements, one a thread, capped at what fills the card: kernels loop.
    pub(crate) fn grid<A>(&self, kernel: &Kernel<A>, n: usize) -> [u32; 3] {
        let threads = u64::from(kernel.info.threads);
        let most = u64::from(self.multiprocessors) * (RESIDENT_THREADS / threads).max(1);
        // `most` is far below 2^32, so the cast keeps the value.
        [(n as u64).div_ceil(threads).min(most) as u32, 1, 1]
    }

    /// Blocks for the 512-element units of `n` elements, one a warp.
    pub(crate) fn grid_of_units<A>(&self, kernel: &Kernel<A>, n: usize) -> [u32; 3] {
        self.grid(kernel, n.div_ceil(UNIT).saturating_mul(32))
    }
}

/// Elements that one warp takes together when bits are packed.
const UNIT: usize = 512;

impl std::fmt::Debug for Kernels {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Kernels({}, {} multiprocessors)", self.target, self.multiprocessors)
    }
}

fn capability(arch: u32) -> String {
    format!("{}.{}", arch / 10, arch % 10)
}

/// Compares the parameters in the image with those that the wrapper passes, where the driver can tell (12.4 and newer).
fn check_signature(info: &KernelInfo, function: &CudaFunction) -> Result<(), KernelError> {
    if !library::driver_has(c"cuFuncGetParamInfo") {
        return Ok(());
    }
    for index in 0..=info.parameters.len() {
        let (mut offset, mut size) = (0usize, 0usize);
        // SAFETY: the function lives, both pointers are valid for the call, and the symbol is there.
        let answer = unsafe { sys::cuFuncGetParamInfo(function.cu_function(), index, &mut offset, &mut size) };
        let found = if answer == sys::CUresult::CUDA_SUCCESS { size } else { 0 };
        let expected = info.parameters.get(index).copied().unwrap_or(0);
        if found != expected {
            return Err(KernelError::Signature { kernel: info.name, index, expected, found });
        }
    }
    Ok(())
}
