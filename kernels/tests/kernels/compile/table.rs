//! `docs/gpu.md`'s tables are generated: registers, shared memory and occupancy of every kernel as
//! the assembler tells them, and an estimate of what networks take. `UPDATE_DOCS=1` writes them anew.

use super::usages;
use crate::support::Usage;
use cryptgpu_core::nn::{count, fold, zoo};
use cryptgpu_kernels::{KernelInfo, Width};
use std::fmt::Write;

/// What a multiprocessor has, by compute capability: bytes of shared memory, and bytes of it that each block costs
/// besides its own. All three have 64 Ki registers, given to warps by 256, 64 warps and 32 blocks.
fn multiprocessor(arch: u32) -> (u32, u32) {
    match arch {
        70 => (96 << 10, 0),
        80 => (164 << 10, 1 << 10),
        _ => (228 << 10, 1 << 10),
    }
}

/// Warps that fit a multiprocessor at once, of 64.
fn resident_warps(arch: u32, info: &KernelInfo, width: Width, usage: &Usage) -> u32 {
    let warps = info.threads / 32;
    let (shared, overhead) = multiprocessor(arch);
    let registers = (usage.registers * 32).next_multiple_of(256) * warps;
    let block = usage.shared + info.shared_in(width) + overhead;
    let by_shared = shared.checked_div(block).unwrap_or(32);
    (65_536 / registers).min(by_shared).min(64 / warps).min(32) * warps
}

fn kernel_table() -> String {
    let mut table = String::from(
        "| kernel | threads | shared memory | registers, 7.0 / 8.0 / 9.0 | occupancy, 7.0 / 8.0 / 9.0 |\n|---|---|---|---|---|\n",
    );
    for (family, width, found) in usages() {
        let (file, width) = (family.file(), *width);
        match width {
            Width::Bits64 => writeln!(table, "| **`{file}`** | | | | |").unwrap(),
            Width::Bits32 => writeln!(table, "| **`{file}`**, elements of 32 bits | | | | |").unwrap(),
        }
        for info in family.kernels_in(width) {
            let of = |arch: u32| found.iter().find(|(a, usage)| *a == arch && usage.kernel == info.name);
            let cell = |arch: u32, show: &dyn Fn(&Usage) -> String| of(arch).map_or("—".to_owned(), |(_, u)| show(u));
            let row = |show: &dyn Fn(u32, &Usage) -> String| {
                super::ARCHITECTURES.map(|arch| cell(arch, &|usage| show(arch, usage))).join(" / ")
            };
            let shared = of(80).map_or(0, |(_, usage)| usage.shared + info.shared_in(width));
            let shared = if shared == 0 { "—".to_owned() } else { format!("{:.1} KiB", f64::from(shared) / 1024.0) };
            let registers = row(&|_, usage| usage.registers.to_string());
            let occupancy = row(&|arch, usage| format!("{} %", resident_warps(arch, info, width, usage) * 100 / 64));
            writeln!(table, "| `{}` | {} | {shared} | {registers} | {occupancy} |", info.name, info.threads).unwrap();
        }
    }
    table
}

/// A card's limits, from its datasheet.
struct Card {
    name: &'static str,
    /// Ring multiply-accumulates a second of the method that is chosen for it.
    products: f64,
    /// Bytes a second of its memory.
    memory: f64,
    /// Bytes a second of AES-128-CTR: 3.2 a cycle and multiprocessor (`aes.cu`).
    aes: f64,
}

const CARDS: [Card; 3] = [
    Card { name: "V100", products: 1.96e12, memory: 0.90e12, aes: 3.2 * 80.0 * 1.38e9 },
    Card { name: "A100", products: 8.7e12, memory: 2.04e12, aes: 3.2 * 108.0 * 1.41e9 },
    Card { name: "H100", products: 27.5e12, memory: 3.35e12, aes: 3.2 * 132.0 * 1.83e9 },
];

/// Words that role 0, the hungriest, draws for each ReLU: 95 planes of masks, both streams of the tree's 57 planes, and
/// five words of the bit product.
const RELU_DRAWN: f64 = (95.0 + 2.0 * 57.0) / 64.0 + 5.0;
/// Bytes that its other kernels move for each ReLU: sharing of bits 16 + 3 · 95/8, the tree 2 · 119/8 + 3 · 57/8, the bit
/// product 64 and packed bits.
const RELU_MOVED: f64 = 16.0 + 3.0 * 95.0 / 8.0 + 2.0 * 119.0 / 8.0 + 3.0 * 57.0 / 8.0 + 64.5;
/// Words drawn for each output of a linear layer: a zero-share, γ₀ and y₀.
const LINEAR_DRAWN: f64 = 4.0;
/// Bytes moved for each: the result, zero-share and bias on top of it, the truncation's steps.
const LINEAR_MOVED: f64 = 8.0 + 16.0 + 16.0 + 8.0 + 32.0;

fn network_table() -> String {
    let mut table = String::from("| network | V100 | A100 | H100 |\n|---|---|---|---|\n");
    for name in zoo::PAPER {
        let counts = count::count(&fold::fold_graph(&zoo::by_name(name).unwrap()).unwrap());
        let (relus, outputs) = (counts.relus as f64, counts.linear_outputs as f64);
        write!(table, "| {name} |").unwrap();
        for card in &CARDS {
            // Two products for each secret one; both words of each weight are read once.
            let products =
                (2.0 * counts.macs as f64 / card.products).max(16.0 * counts.parameters as f64 / card.memory);
            let drawn = 8.0 * (RELU_DRAWN * relus + LINEAR_DRAWN * outputs) / card.aes;
            let moved = (RELU_MOVED * relus + LINEAR_MOVED * outputs) / card.memory;
            let total = products + drawn + moved;
            let share = |part: f64| 100.0 * part / total;
            write!(
                table,
                " {:.3} ms ({:.0} + {:.0} + {:.0} %) |",
                1e3 * total,
                share(products),
                share(drawn),
                share(moved)
            )
            .unwrap();
        }
        table.push('\n');
    }
    table
}

fn card_table() -> String {
    let mut table =
        String::from("| card | ring multiply-accumulates a second | memory | AES-128-CTR |\n|---|---|---|---|\n");
    for Card { name, products, memory, aes } in CARDS {
        writeln!(table, "| {name} | {:.2} T | {:.2} TB/s | {:.0} GB/s |", products / 1e12, memory / 1e12, aes / 1e9)
            .unwrap();
    }
    table
}

#[test]
fn the_tables_of_the_documentation_are_what_the_assembler_says() {
    if super::ptxas().is_none() || !super::nvrtc() {
        return;
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/gpu.md");
    let file = std::fs::read_to_string(path).unwrap();
    let mut updated = file.clone();
    for (name, table) in [("kernels", kernel_table()), ("cards", card_table()), ("networks", network_table())] {
        let (begin, end) = (format!("<!-- {name}: generated -->\n"), format!("<!-- {name}: end -->"));
        let from = updated.find(&begin).unwrap() + begin.len();
        let to = updated.find(&end).unwrap();
        updated.replace_range(from..to, &table);
    }
    let update = std::env::var_os("UPDATE_DOCS").is_some();
    if update {
        std::fs::write(path, &updated).unwrap();
    }
    let text =
        "docs/gpu.md is not what the assembler says: run this test with UPDATE_DOCS=1 and look at the difference";
    assert!(file == updated || update, "{text}");
}
