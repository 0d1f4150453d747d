//! One compilation by NVRTC.

use super::{Format, HEADERS, Image, OPTIONS, Target};
use crate::{KernelError, library};
use cudarc::nvrtc::{result, sys};
use std::ffi::{CString, c_char};
use std::ptr;

/// Compiles `source`, called `file` in messages, with all headers at hand.
pub(super) fn compile(
    file: &'static str,
    source: &str,
    target: Target,
    defines: &[&str],
) -> Result<Image, KernelError> {
    let version = library::compiler()?;
    let refused = |log: String| KernelError::Compile {
        file,
        target: target.to_string(),
        version: format!("{}.{}", version.0, version.1),
        log,
    };
    let text = |text: &str| CString::new(text).map_err(|_| refused("the source holds a zero byte".to_owned()));
    let (source, name) = (text(source)?, text(file)?);
    let headers = HEADERS.iter().map(|(_, header)| text(header)).collect::<Result<Vec<_>, _>>()?;
    let names = HEADERS.iter().map(|(name, _)| text(name)).collect::<Result<Vec<_>, _>>()?;
    let pointers = |strings: &[CString]| strings.iter().map(|string| string.as_ptr()).collect::<Vec<*const c_char>>();
    let (headers_at, names_at) = (pointers(&headers), pointers(&names));

    let mut program = Program(ptr::null_mut());
    // SAFETY: all strings end with a zero byte and outlive the program, which is dropped before them; the
    // arrays have as many entries as is said.
    unsafe {
        let count = HEADERS.len() as i32;
        let (headers, names) = (headers_at.as_ptr(), names_at.as_ptr());
        sys::nvrtcCreateProgram(&mut program.0, source.as_ptr(), name.as_ptr(), count, headers, names)
    }
    .result()
    .map_err(|error| refused(error.to_string()))?;

    let mut options: Vec<String> = OPTIONS.iter().map(|&option| option.to_owned()).collect();
    options.push(format!("--gpu-architecture={target}"));
    options.extend(defines.iter().map(|define| format!("--define-macro={define}")));
    // SAFETY: the program was created above and lives.
    if let Err(error) = unsafe { result::compile_program(program.0, &options) } {
        return Err(refused(format!("{error}\n{}", program.log())));
    }
    program.image(target.format).map_err(|error| refused(error.to_string()))
}

/// Compute capabilities that the compiler knows; none if it does not say.
pub(super) fn architectures() -> Vec<u32> {
    let mut count = 0;
    // SAFETY: the caller has opened NVRTC; the pointer is valid for the call.
    if unsafe { sys::nvrtcGetNumSupportedArchs(&mut count) }.result().is_err() {
        return vec![];
    }
    let mut known = vec![0; usize::try_from(count).unwrap_or(0)];
    // SAFETY: the buffer has as many entries as NVRTC said.
    match unsafe { sys::nvrtcGetSupportedArchs(known.as_mut_ptr()) }.result() {
        Ok(()) => known.into_iter().filter_map(|arch| u32::try_from(arch).ok()).collect(),
        Err(_) => vec![],
    }
}

/// A program that NVRTC holds, given back when dropped.
struct Program(sys::nvrtcProgram);

impl Program {
    /// What the compiler said.
    fn log(&self) -> String {
        // SAFETY: the program lives.
        let log = unsafe { result::get_program_log(self.0) }.unwrap_or_default();
        let bytes: Vec<u8> = log.into_iter().map(|c| c as u8).take_while(|&c| c != 0).collect();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    fn image(&self, format: Format) -> Result<Image, result::NvrtcError> {
        match format {
            // SAFETY: the program lives and was compiled. PTX comes with its zero byte.
            Format::Ptx => Ok(Image(unsafe { result::get_ptx(self.0) }?.into_iter().map(|c| c as u8).collect())),
            Format::Cubin => {
                let mut size = 0;
                // SAFETY: as above; `size` is valid for the call.
                unsafe { sys::nvrtcGetCUBINSize(self.0, &mut size) }.result()?;
                let mut cubin = vec![0u8; size];
                // SAFETY: the buffer has the size that NVRTC asked for.
                unsafe { sys::nvrtcGetCUBIN(self.0, cubin.as_mut_ptr().cast()) }.result()?;
                Ok(Image(cubin))
            }
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if !self.0.is_null() {
            // SAFETY: created once, destroyed once. There is nothing to do about a failure here.
            let _ = unsafe { result::destroy_program(self.0) };
        }
    }
}
