//! What the program was compiled to.

use object::read::elf::ElfFile64;
use object::{Object, ObjectSymbol};

/// An instruction on vectors that was not inlined is called as a function, in a loop that should take as long as the instruction: that is what
/// happens in a closure that the compiler does not inline (`docs/adr/0045-vectors-written-out.md`). The sign bit's carries had one, on AVX2.
/// Without optimisation all are functions, so this is a test of release builds.
#[test]
fn no_instruction_on_vectors_is_called_as_a_function() {
    let program = std::fs::read(env!("CARGO_BIN_EXE_cryptgpu")).unwrap();
    let symbols: Vec<String> = ElfFile64::<object::Endianness>::parse(&*program)
        .unwrap()
        .symbols()
        .filter_map(|symbol| symbol.name().ok().map(str::to_owned))
        .collect();
    // Names are there, those of functions with vectors among them.
    assert!(symbols.iter().any(|name| name.contains("share_carries_unit")), "{} symbols", symbols.len());
    let called: Vec<_> = symbols.iter().filter(|name| name.contains("core_arch") && name.contains("_mm")).collect();
    assert!(called.is_empty(), "{called:#?}");
}
