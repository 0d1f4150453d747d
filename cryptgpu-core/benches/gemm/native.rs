//! The scalar loops that the ring product is compared with.

use std::ffi::{CStr, CString, c_void};
use std::os::unix::ffi::OsStrExt;
use std::process::Command;

/// C = A·B for square matrices, in the order (i, k, j) that vectorises along j.
pub fn rust_loop(n: usize, a: &[u64], b: &[u64], c: &mut [u64]) {
    c.fill(0);
    for i in 0..n {
        for k in 0..n {
            let (a, b) = (a[i * n + k], &b[k * n..][..n]);
            c[i * n..][..n].iter_mut().zip(b).for_each(|(c, b)| *c = c.wrapping_add(a.wrapping_mul(*b)));
        }
    }
}

const SOURCE: &str = "
#include <stddef.h>
#include <stdint.h>
#include <string.h>
void product(size_t n, const uint64_t *restrict a, const uint64_t *restrict b, uint64_t *restrict c) {
    memset(c, 0, n * n * sizeof *c);
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < n; k++)
            for (size_t j = 0; j < n; j++)
                c[i * n + j] += a[i * n + k] * b[k * n + j];
}
";

type Product = unsafe extern "C" fn(usize, *const u64, *const u64, *mut u64);

/// The loop compiled by the machine's C compiler for the machine it runs on.
pub struct Compiled {
    product: Product,
}

impl Compiled {
    /// Compiles the loop; says why it could not.
    pub fn new() -> Result<Self, String> {
        let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
        let (source, library) = (folder.path().join("product.c"), folder.path().join("product.so"));
        std::fs::write(&source, SOURCE).map_err(|error| error.to_string())?;
        let mut compiler = Command::new("cc");
        compiler.args(["-O3", "-march=native", "-shared", "-fPIC", "-o"]).args([&library, &source]);
        let status = compiler.status().map_err(|error| format!("no C compiler ({error})"))?;
        if !status.success() {
            return Err(format!("cc failed ({status})"));
        }
        let path = CString::new(library.as_os_str().as_bytes()).map_err(|error| error.to_string())?;
        // SAFETY: the library has no constructors; it stays loaded as long as the process.
        let symbol: *mut c_void = unsafe {
            let handle = libc::dlopen(path.as_ptr(), libc::RTLD_NOW);
            if handle.is_null() {
                let why = libc::dlerror();
                return Err(if why.is_null() {
                    "dlopen failed".into()
                } else {
                    CStr::from_ptr(why).to_string_lossy().into()
                });
            }
            libc::dlsym(handle, c"product".as_ptr())
        };
        if symbol.is_null() {
            return Err("the compiled library lacks its function".into());
        }
        // SAFETY: the symbol is the function compiled above, whose type this is.
        Ok(Compiled { product: unsafe { std::mem::transmute::<*mut c_void, Product>(symbol) } })
    }

    /// C = A·B for square matrices of `n` rows.
    pub fn run(&self, n: usize, a: &[u64], b: &[u64], c: &mut [u64]) {
        assert!(a.len() == n * n && b.len() == n * n && c.len() == n * n);
        // SAFETY: three matrices of n² words, the last one exclusive.
        unsafe { (self.product)(n, a.as_ptr(), b.as_ptr(), c.as_mut_ptr()) };
    }
}
