//! Every kernel compiles for every architecture, passes NVIDIA's assembler without spilling
//! registers, and has the parameters that its wrapper passes. NVRTC's success proves little: it
//! accepts instructions that an architecture lacks, and the assembler does not.

mod table;

use super::support::{ARCHITECTURES, Usage, assemble, nvrtc, ptx, ptxas};
use cryptgpu_kernels::compile::{Cache, Family, Format, Target, image};
use cryptgpu_kernels::{KernelInfo, Width};
use std::collections::HashMap;
use std::sync::OnceLock;

/// Kernels that may spill, with the reason.
const MAY_SPILL: &[(&str, &str)] = &[];

/// What the assembler says of a family's kernels for elements of a width, by architecture.
type Found = (Family, Width, Vec<(u32, Usage)>);

/// All images.
fn images() -> impl Iterator<Item = (Family, Width)> {
    Family::ALL.iter().flat_map(|&family| family.widths().map(move |width| (family, width)))
}

/// What the assembler says of all kernels, asked once.
fn usages() -> &'static [Found] {
    static USAGES: OnceLock<Vec<Found>> = OnceLock::new();
    USAGES.get_or_init(|| {
        let ptxas = ptxas().unwrap();
        let of = |family, width, arch| {
            assemble(&ptxas, &ptx(family, width, arch), arch).into_iter().map(move |usage| (arch, usage))
        };
        images()
            .map(|(family, width)| {
                (family, width, ARCHITECTURES.into_iter().flat_map(|a| of(family, width, a)).collect())
            })
            .collect()
    })
}

#[test]
fn every_kernel_passes_the_assembler_without_spills() {
    if ptxas().is_none() || !nvrtc() {
        return;
    }
    for (family, width, found) in usages() {
        for arch in ARCHITECTURES {
            let kernels: Vec<&KernelInfo> = family.kernels_in(*width).filter(|k| k.min_arch <= arch).collect();
            let mut names: Vec<&str> = found.iter().filter(|(a, _)| *a == arch).map(|(_, u)| &*u.kernel).collect();
            let mut expected: Vec<&str> = kernels.iter().map(|kernel| kernel.name).collect();
            names.sort_unstable();
            expected.sort_unstable();
            assert_eq!(names, expected, "{} for sm_{arch}, {width}: kernels and wrappers differ", family.file());
        }
        for (arch, usage) in found {
            let threads = family.kernels().iter().find(|kernel| kernel.name == usage.kernel).unwrap().threads;
            let may_spill = MAY_SPILL.iter().any(|(name, _)| *name == usage.kernel);
            assert!(usage.spilled == 0 || may_spill, "sm_{arch}: {usage:?} spills");
            assert!(usage.registers * threads <= 65_536, "sm_{arch}: {usage:?} cannot be launched");
        }
    }
}

#[test]
fn parameters_have_the_sizes_that_wrappers_pass() {
    if !nvrtc() {
        return;
    }
    for (family, width) in images() {
        let declared = parameters(&ptx(family, width, 80));
        for kernel in family.kernels_in(width) {
            assert_eq!(declared[kernel.name], kernel.parameters, "{} of {}", kernel.name, family.file());
        }
    }
}

/// Sizes of the parameters of every entry in PTX.
fn parameters(ptx: &str) -> HashMap<String, Vec<usize>> {
    let mut found = HashMap::new();
    for entry in ptx.split(".entry ").skip(1) {
        let (name, rest) = entry.split_once('(').unwrap();
        let list = rest.split_once(')').unwrap().0;
        let sizes = list.split(',').filter(|p| p.contains(".param")).map(|parameter| {
            let words: Vec<&str> = parameter.split_whitespace().collect();
            match words.iter().find_map(|word| word.strip_prefix(".b8").or_else(|| word.strip_prefix(".u"))) {
                Some("") => parameter.split_once('[').unwrap().1.split(']').next().unwrap().parse().unwrap(),
                Some(bits) => bits.parse::<usize>().unwrap() / 8,
                None => panic!("{name}: parameter {parameter:?}"),
            }
        });
        found.insert(name.trim().to_owned(), sizes.collect());
    }
    found
}

#[test]
fn the_second_use_comes_from_the_cache_and_damage_is_repaired() {
    if !nvrtc() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let cache = Cache::new(folder.path());
    let target = Target { arch: 80, format: Format::Cubin };
    let first = image(Family::Elementwise, Width::Bits64, target, Some(&cache)).unwrap();
    let files: Vec<_> = std::fs::read_dir(folder.path()).unwrap().flatten().collect();
    assert_eq!(files.len(), 1);
    let file = files[0].path();

    // What is in the file is used: another image under the same name, digest and all, is what comes back.
    let other = image(Family::Elementwise, Width::Bits64, Target { arch: 90, ..target }, Some(&cache)).unwrap();
    let other_file =
        std::fs::read_dir(folder.path()).unwrap().flatten().map(|f| f.path()).find(|f| *f != file).unwrap();
    std::fs::copy(&other_file, &file).unwrap();
    assert!(
        image(Family::Elementwise, Width::Bits64, target, Some(&cache)).unwrap().0 == other.0,
        "the cache was not read"
    );

    // Damage is noticed and repaired.
    std::fs::write(&file, &std::fs::read(&file).unwrap()[..100]).unwrap();
    assert!(image(Family::Elementwise, Width::Bits64, target, Some(&cache)).unwrap().0 == first.0);
    assert!(std::fs::read(&file).unwrap().len() > first.0.len());
}
