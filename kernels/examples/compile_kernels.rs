//! Compiles all kernels for given architectures into a folder, for the feature `embedded`: what
//! `scripts/embed-kernels` runs. `cargo run -p cryptgpu-kernels --example compile_kernels -- FOLDER 70 80 90`

use cryptgpu_kernels::compile::{Family, Format, Target, compile, source_key};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().ok_or("a folder is missing: compile_kernels FOLDER ARCHITECTURE…")?;
    std::fs::create_dir_all(&folder)?;
    for arch in arguments {
        let target = Target { arch: arch.parse()?, format: Format::Cubin };
        for (family, width) in Family::ALL.iter().flat_map(|&family| family.widths().map(move |width| (family, width)))
        {
            let image = compile(family, width, target, &[])?;
            std::fs::write(format!("{folder}/{}.image", source_key(family, width, target)), &image.0)?;
            println!("{} for {target}, elements of {width}: {} bytes", family.file(), image.0.len());
        }
    }
    Ok(())
}
