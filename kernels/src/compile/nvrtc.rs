//! One compilation by NVRTC.

use super::{Format, HEADERS, Image, OPTIONS, Target};
use crate::KernelError;
use crate::compiler::{Handle, Nvrtc, nvrtc, text};
use crate::launch::Width;
use std::ffi::{CString, c_char};
use std::ptr;

/// Compiles `source`, called `file` in messages, with all headers at hand.
pub(super) fn compile(
    file: &'static str,
    source: &str,
    width: Width,
    target: Target,
    defines: &[&str],
) -> Result<Image, KernelError> {
    let nvrtc = nvrtc()?;
    let refused = |log: String| KernelError::Compile {
        file,
        target: target.to_string(),
        version: format!("{}.{}", nvrtc.version.0, nvrtc.version.1),
        log,
    };
    let mut options: Vec<String> = OPTIONS.iter().map(|&option| option.to_owned()).collect();
    options.push(format!("--gpu-architecture={target}"));
    options.push(format!("--define-macro=WORD_BITS={}", width.bits()));
    options.extend(defines.iter().map(|define| format!("--define-macro={define}")));
    let program = Program::new(nvrtc, file, source).map_err(&refused)?;
    program.compile(&options).map_err(|error| refused(format!("{error}\n{}", program.log())))?;
    program.image(target.format).map_err(refused)
}

/// Compute capabilities that the compiler knows; none if it does not say.
pub(super) fn architectures(nvrtc: &Nvrtc) -> Vec<u32> {
    let mut count = 0;
    // SAFETY: the pointer is valid for the call.
    if nvrtc.check(unsafe { (nvrtc.count_architectures)(&raw mut count) }).is_err() {
        return vec![];
    }
    let mut known = vec![0; usize::try_from(count).unwrap_or(0)];
    // SAFETY: the buffer has as many entries as NVRTC said.
    match nvrtc.check(unsafe { (nvrtc.architectures)(known.as_mut_ptr()) }) {
        Ok(()) => known.into_iter().filter_map(|arch| u32::try_from(arch).ok()).collect(),
        Err(_) => vec![],
    }
}

/// A program that NVRTC holds, given back when dropped.
struct Program<'a> {
    nvrtc: &'a Nvrtc,
    handle: Handle,
}

impl<'a> Program<'a> {
    fn new(nvrtc: &'a Nvrtc, file: &str, source: &str) -> Result<Self, String> {
        let (source, name) = (text(source)?, text(file)?);
        let headers = HEADERS.iter().map(|(_, header)| text(header)).collect::<Result<Vec<_>, _>>()?;
        let names = HEADERS.iter().map(|(name, _)| text(name)).collect::<Result<Vec<_>, _>>()?;
        let (headers, names) = (pointers(&headers), pointers(&names));
        let mut handle = ptr::null_mut();
        // SAFETY: all strings end with a zero byte and outlive the call, which copies them; the arrays have as many
        // entries as is said.
        nvrtc.check(unsafe {
            let count = HEADERS.len() as i32;
            (nvrtc.create)(&raw mut handle, source.as_ptr(), name.as_ptr(), count, headers.as_ptr(), names.as_ptr())
        })?;
        Ok(Program { nvrtc, handle })
    }

    fn compile(&self, options: &[String]) -> Result<(), String> {
        let options = options.iter().map(|option| text(option)).collect::<Result<Vec<_>, _>>()?;
        let pointers = pointers(&options);
        // SAFETY: the program lives, and there are so many strings, each with a zero byte at its end.
        self.nvrtc.check(unsafe { (self.nvrtc.compile)(self.handle, pointers.len() as i32, pointers.as_ptr()) })
    }

    /// What the compiler said.
    fn log(&self) -> String {
        let log = self.bytes(self.nvrtc.log_size, self.nvrtc.log).unwrap_or_default();
        let end = log.iter().position(|&byte| byte == 0).unwrap_or(log.len());
        String::from_utf8_lossy(&log[..end]).into_owned()
    }

    /// PTX comes with its zero byte.
    fn image(&self, format: Format) -> Result<Image, String> {
        match format {
            Format::Ptx => self.bytes(self.nvrtc.ptx_size, self.nvrtc.ptx),
            Format::Cubin => self.bytes(self.nvrtc.cubin_size, self.nvrtc.cubin),
        }
        .map(Image)
    }

    /// Bytes of the program, of which one function says how many there are and another gives them.
    fn bytes(
        &self,
        size_of: unsafe extern "C" fn(Handle, *mut usize) -> i32,
        get: unsafe extern "C" fn(Handle, *mut c_char) -> i32,
    ) -> Result<Vec<u8>, String> {
        let mut size = 0;
        // SAFETY: the program lives; the pointer is valid for the call.
        self.nvrtc.check(unsafe { size_of(self.handle, &raw mut size) })?;
        let mut bytes = vec![0u8; size];
        // SAFETY: the buffer has the size that NVRTC asked for.
        self.nvrtc.check(unsafe { get(self.handle, bytes.as_mut_ptr().cast()) })?;
        Ok(bytes)
    }
}

fn pointers(strings: &[CString]) -> Vec<*const c_char> {
    strings.iter().map(|string| string.as_ptr()).collect()
}

impl Drop for Program<'_> {
    fn drop(&mut self) {
        // SAFETY: created once, destroyed once. There is nothing to do about a failure here.
        let _ = unsafe { (self.nvrtc.destroy)(&raw mut self.handle) };
    }
}
