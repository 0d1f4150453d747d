//! With the feature `embedded`: makes a table of the compiled kernels in `images`, which `scripts/embed-kernels` writes.

use std::fmt::Write;
use std::path::Path;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if std::env::var_os("CARGO_FEATURE_EMBEDDED").is_none() {
        return;
    }
    println!("cargo::rerun-if-changed=images");
    let images = Path::new("images");
    let Ok(entries) = std::fs::read_dir(images) else {
        println!("cargo::error=the feature `embedded` needs kernels/images: run scripts/embed-kernels");
        return;
    };
    let mut paths: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    let mut table = String::from("&[\n");
    for path in paths {
        let (Some(key), Ok(path)) = (path.file_stem().and_then(|key| key.to_str()), path.canonicalize()) else {
            continue;
        };
        // Writing to a String does not fail.
        let _ = writeln!(table, "    ({key:?}, include_bytes!({:?})),", path.display().to_string());
    }
    table.push(']');
    let target = std::env::var("OUT_DIR").map(|folder| Path::new(&folder).join("embedded.rs"));
    if !target.is_ok_and(|target| std::fs::write(target, table).is_ok()) {
        println!("cargo::error=the table of embedded kernels cannot be written");
    }
}
