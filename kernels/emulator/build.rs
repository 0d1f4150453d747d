//! Gives the cdylib the SONAME under which `cudarc` looks for the driver first, so that opening the library by its path
//! is enough: the loader answers a later `dlopen("libcuda.so")` with it.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-cdylib-link-arg=-Wl,-soname,libcuda.so");
}
