//! Mistakes made on purpose in the real kernels, and the check that catches each: what the other
//! tests would do about a mistake that is not made on purpose. Sources are patched here, in the text
//! that is compiled; nothing of this is in a normal build.

#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used)]

mod support;

use cryptgpu_core::device::cpu::{bits, gemm, sign};
use cryptgpu_core::prg::Randomness;
use cryptgpu_emulator::Check;
use cryptgpu_kernels::compile::{Family, Format, HEADERS, Target, compile_text};
use cryptgpu_kernels::{
    Binary, Deal, KernelError, Matrix, Method, OpenTop, Plan, Route, SharedBits, SignWindow, Summed, Term, TreeStep,
    Width,
};
use parking_lot::Mutex;
use support::card::{Buffer, Card, card};
use support::data::{Draws, words};

/// What must notice.
#[derive(Debug, PartialEq)]
enum CaughtBy {
    /// A report of the emulator, which names the line.
    Emulator(Check),
    /// Other bits than the CPU's.
    Bits,
    /// The comparison of a wrapper's parameters with the kernel's, when it is loaded.
    Signature,
}
use CaughtBy::{Bits, Emulator, Signature};

/// What the card computed, or the driver's error; and what is right.
type Outcome = (Result<Vec<u64>, String>, Vec<u64>);

struct Seed {
    mistake: &'static str,
    family: Family,
    from: &'static str,
    to: &'static str,
    caught_by: CaughtBy,
    run: fn(&Card) -> Outcome,
}

fn outcome(card: &Card, launched: Result<(), KernelError>, out: &Buffer, expected: Vec<u64>) -> Outcome {
    (launched.map_err(|error| error.to_string()).and_then(|()| card.try_down(out)), expected)
}

fn product(card: &Card, method: Method, [m, n]: [usize; 2], depth: usize) -> Outcome {
    let (a, b) = (words(1, m * depth), words(2, depth * n));
    let mut expected = vec![0; m * n];
    let host = |words, columns| gemm::MatRef::row_major(words, columns);
    let term = gemm::Term { depth, a: host(&a, depth), b: host(&b, n) };
    gemm::gemm_sum(m, n, &[term], &mut expected, false).unwrap();
    let (da, db, mut out) = (card.up(&a), card.up(&b), card.blank(m * n));
    let term = Term { depth, a: Matrix::row_major(da.words(), depth), b: Matrix::row_major(db.words(), n) };
    let launched = card.kernels.gemm(&card.stream, method, [m, n], &[term], out.words_mut());
    outcome(card, launched, &out, expected)
}

fn native(card: &Card) -> Outcome {
    product(card, Method::Native, [70, 65], 50)
}

fn split(card: &Card) -> Outcome {
    product(card, Method::Native, [20, 20], 1000)
}

fn int8(card: &Card) -> Outcome {
    product(card, Method::Int8, [70, 65], 100)
}

fn deep_int8(card: &Card) -> Outcome {
    let (m, n, depth) = (16, 16, 16_000);
    let (da, db) = (card.up(&vec![u64::MAX; m * depth]), card.up(&vec![u64::MAX; depth * n]));
    let term = Term { depth, a: Matrix::row_major(da.words(), depth), b: Matrix::row_major(db.words(), n) };
    let mut out = card.blank(m * n);
    // One part along the depth: more would keep the sums small.
    let plan = Plan { route: Route::Int8, splits: 1 };
    let launched = card.kernels.gemm_by(&card.stream, plan, [m, n], &[term], out.words_mut());
    outcome(card, launched, &out, vec![depth as u64; m * n])
}

fn add(card: &Card) -> Outcome {
    let (x, y) = (words(3, 1000), words(4, 1000));
    let expected = x.iter().zip(&y).map(|(x, y)| x.wrapping_add(*y)).collect();
    let (dx, dy, mut out) = (card.up(&x), card.up(&y), card.blank(1000));
    let launched = card.kernels.binary(&card.stream, Binary::Add, dx.words(), dy.words(), out.words_mut());
    outcome(card, launched, &out, expected)
}

fn sum(card: &Card) -> Outcome {
    let x = words(5, 1000);
    let expected = vec![x.iter().fold(0, |sum: u64, x| sum.wrapping_add(*x))];
    let (dx, mut out) = (card.up(&x), card.up(&[0]));
    let launched = card.kernels.sum(&card.stream, dx.words(), out.words_mut());
    outcome(card, launched, &out, expected)
}

/// Words of a stream, one word behind a 16-byte boundary.
fn stream_words(card: &Card) -> Outcome {
    let mut draws = Draws::new(Randomness::Aes128Ctr, 9);
    let (stream, nonce) = draws.next();
    let mut expected = vec![0; 1000];
    stream.fill(0, &mut expected);
    expected.insert(0, 5);
    let mut out = card.up(&[5; 1001]);
    let launched = card.kernels.fill(&card.stream, draws.device(nonce), 0, out.words_mut_from(1));
    outcome(card, launched, &out, expected)
}

fn carries(card: &Card) -> Outcome {
    let (n, window) = (700, SignWindow::default());
    let (b, shared) = (words(6, n), words(7, window.shared_planes() * 11));
    let mask = words(8, window.carry_planes() * 11);
    let [mut carry, mut top, mut top_a] = [vec![0; mask.len()], vec![0; 11], vec![0; 11]];
    sign::share_carries::<u64>(window, &b, SharedBits::Received(&shared), &mask, &mut carry, [&mut top, &mut top_a]);
    let (db, ds, dm) = (card.up(&b), card.up(&shared), card.up(&mask));
    let (mut dc, mut tops) = (card.blank(mask.len()), [card.blank(11), card.blank(11)]);
    let ((b, shared, mask), tops) = ((db.words(), ds.words(), dm.words()), tops.each_mut().map(|top| top.words_mut()));
    let (shared, carry_out) = (SharedBits::Received(shared), dc.words_mut());
    let launched = card.kernels.sign_share_carries::<u64>(&card.stream, window, b, shared, mask, carry_out, tops);
    outcome(card, launched, &dc, carry)
}

fn tree(card: &Card) -> Outcome {
    let (dx, dm, mut out) = (card.up(&words(9, 7 * 2)), card.up(&words(10, 3 * 2)), card.blank(3 * 2));
    let (x, mask) = ([Summed(dx.words(), None); 2], Summed(dm.words(), None));
    let step = TreeStep { elements: 100, half: 2, x, mask, out: out.words_mut() };
    let launched = card.kernels.sign_tree(&card.stream, vec![step]);
    // x ∧ x from two equal components: xₐ ∧ (xₐ ⊕ xₐ) ⊕ xₐ ∧ xₐ.
    outcome(card, launched, &out, vec![])
}

fn planes(card: &Card) -> Outcome {
    let x = words(10, 700);
    let mut expected = vec![0; 64 * 11];
    bits::to_planes::<u64>(0, 64, &x, &mut expected);
    let (dx, mut out) = (card.up(&x), card.blank(64 * 11));
    let launched = card.kernels.to_planes(&card.stream, 0, 64, dx.words(), out.words_mut());
    outcome(card, launched, &out, expected)
}

fn top_bits(card: &Card) -> Outcome {
    let (z, pad) = (words(11, 700), words(12, 11));
    let mut expected = vec![0; 11];
    let opened = OpenTop { z: &z[..], alpha: &pad[..], message: &mut expected[..] };
    cryptgpu_core::device::cpu::truncation::open_top::<u64>(opened);
    let (dz, dp, mut out) = (card.up(&z), card.up(&pad), card.blank(11));
    let (none, mut nothing) = (dz.words().slice(0..0).unwrap(), card.blank(0));
    let deal = Deal { z: none, halves: [none, none], gamma: none, message: nothing.words_mut() };
    let opened = OpenTop { z: dz.words(), alpha: dp.words(), message: out.words_mut() };
    let launched = card.kernels.truncation_first::<u64>(&card.stream, 20, deal, opened);
    outcome(card, launched, &out, expected)
}

const SEEDS: &[Seed] = &[
    Seed {
        mistake: "no barrier between writing tiles and reading them",
        family: Family::Gemm,
        from: "__syncthreads(); // the tiles are whole\n#pragma unroll\n        for (int k = 0; k < NATIVE_DEPTH",
        to: "\n#pragma unroll\n        for (int k = 0; k < NATIVE_DEPTH",
        caught_by: Emulator(Check::Uninitialised),
        run: native,
    },
    Seed {
        mistake: "no barrier between reading tiles and overwriting them",
        family: Family::Gemm,
        from: "__syncthreads(); // everyone has used the previous step's tiles\n#pragma unroll\n        for (int i = 0; i < a.COUNT; i++)\n#pragma unroll\n            for (int j = 0; j < 4; j++) left",
        to: "\n#pragma unroll\n        for (int i = 0; i < a.COUNT; i++)\n#pragma unroll\n            for (int j = 0; j < 4; j++) left",
        caught_by: Emulator(Check::SharedRace),
        run: native,
    },
    Seed {
        mistake: "no barrier between the later turns of two buffers",
        family: Family::Gemm,
        from: "__syncthreads(); // this step's buffer is whole, and everyone is done with the other one",
        to: "if (s.step < 2) __syncthreads();",
        caught_by: Emulator(Check::SharedRace),
        run: int8,
    },
    Seed {
        mistake: "a loop that goes one element too far",
        family: Family::Elementwise,
        from: "i < (n); i += (u64)gridDim",
        to: "i <= (n); i += (u64)gridDim",
        caught_by: Emulator(Check::OutOfBounds),
        run: add,
    },
    Seed {
        mistake: "a limb with the wrong weight",
        family: Family::Gemm,
        from: "<< (8 * d);",
        to: "<< (7 * d);",
        caught_by: Bits,
        run: int8,
    },
    Seed {
        mistake: "accumulators that saturate where they must wrap",
        family: Family::Gemm,
        from: "m16n8k32.row.col.s32",
        to: "m16n8k32.row.col.satfinite.s32",
        caught_by: Bits,
        run: deep_int8,
    },
    Seed {
        mistake: "a carry without one of its terms",
        family: Family::Sign,
        from: "g ^= bits[0] & with;",
        to: "g ^= 0;",
        caught_by: Bits,
        run: carries,
    },
    Seed {
        mistake: "a transpose with a wrong mask",
        family: Family::Bits,
        from: "0x3333333333333333ull",
        to: "0x3333333333333331ull",
        caught_by: Bits,
        run: planes,
    },
    Seed {
        mistake: "sums of only every second warp written to shared memory",
        family: Family::Elementwise,
        from: "if (threadIdx.x % 32 == 0) partial",
        to: "if (threadIdx.x % 64 == 0) partial",
        caught_by: Emulator(Check::Uninitialised),
        run: sum,
    },
    Seed {
        mistake: "a result added to what nobody has written",
        family: Family::Elementwise,
        from: "            Word a = x[i], b = y[i];                                                                                   \\\n            out[i] = expression;",
        to: "            Word a = x[i], b = y[i];                                                                                   \\\n            out[i] += expression;",
        caught_by: Emulator(Check::Uninitialised),
        run: add,
    },
    Seed {
        mistake: "two words written at once where they are not aligned",
        family: Family::Aes,
        from: "bool paired = (((u64)out / 8 | offset) & 1) == 0;",
        to: "bool paired = (offset & 1) == 0;",
        caught_by: Emulator(Check::Misaligned),
        run: stream_words,
    },
    Seed {
        mistake: "a barrier that half of the warps never reach",
        family: Family::Elementwise,
        from: "    __syncthreads();\n    if (threadIdx.x == 0) {",
        to: "    if (threadIdx.x < 128) __syncthreads();\n    if (threadIdx.x == 0) {",
        caught_by: Emulator(Check::BarrierNotReached),
        run: sum,
    },
    Seed {
        mistake: "a shuffle that some of the threads it names do not join",
        family: Family::Truncation,
        from: "bits |= __shfl_xor_sync(ALL_LANES, bits, 8);",
        to: "if (Unit::lane() < 24) bits |= __shfl_xor_sync(ALL_LANES, bits, 8);",
        caught_by: Emulator(Check::WarpMask),
        run: top_bits,
    },
    Seed {
        mistake: "parts along the depth added without atomics",
        family: Family::Gemm,
        from: "atomicAdd(out, value);",
        to: "*out += value;",
        caught_by: Emulator(Check::GlobalRace),
        run: split,
    },
    Seed {
        mistake: "a parameter of another size than the wrapper passes",
        family: Family::Sign,
        from: "share_carries_##width(u32 low,",
        to: "share_carries_##width(u64 low,",
        caught_by: Signature,
        run: tree,
    },
];

/// One at a time: reports are the process's.
static TURN: Mutex<()> = Mutex::new(());

/// Makes the card usable again after an error.
fn recover(card: &Card) {
    support::emulator::open().recover(0);
    let _ = card.kernels.context().check_err();
}

/// A family's source with its headers in it.
fn expanded(family: Family) -> String {
    let mut text = family.source().to_owned();
    let mut seen = vec![];
    while let Some(at) = text.find("#include \"") {
        let name: String = text[at + 10..].chars().take_while(|&c| c != '"').collect();
        let (_, header) = HEADERS.iter().find(|(header, _)| *header == name).unwrap();
        let header = if seen.contains(&name) { String::new() } else { header.replace("#pragma once", "") };
        text.replace_range(at..at + 11 + name.len(), &header);
        seen.push(name);
    }
    text
}

/// A card with `source` in the place of the family's own.
fn card_with(family: Family, source: &str) -> Card {
    let card = card("emulator", Some(Format::Ptx)).unwrap();
    let target = Target { arch: card.kernels.target().arch, format: Format::Ptx };
    let image = compile_text(family, source, Width::Bits64, target).unwrap_or_else(|error| panic!("{error}"));
    card.kernels.replace(family, Width::Bits64, &image).unwrap_or_else(|error| panic!("{error}"));
    card
}

#[test]
fn every_mistake_is_caught_by_its_check() {
    if !support::nvrtc() {
        return;
    }
    let _turn = TURN.lock();
    let emulator = support::emulator::open();
    let mut found = vec![];
    for seed in SEEDS {
        let (family, mistake) = (seed.family, seed.mistake);
        let sound = expanded(family);
        assert_eq!(sound.matches(seed.from).count(), 1, "{mistake}: the place to patch is gone or not unique");
        let patched = sound.replace(seed.from, seed.to);

        let (words, expected) = (seed.run)(&card_with(family, &sound));
        let reports = emulator.take_reports();
        assert!(reports.is_empty(), "{mistake}: the sound kernel is reported: {reports:#?}");
        let words = words.unwrap();
        assert!(seed.caught_by == Signature || words == expected, "{mistake}: the sound kernel gives other bits");

        if seed.caught_by == Signature {
            let card = card("emulator", Some(Format::Ptx)).unwrap();
            let target = Target { arch: card.kernels.target().arch, format: Format::Ptx };
            let image = compile_text(family, &patched, Width::Bits64, target).unwrap();
            let error = card.kernels.replace(family, Width::Bits64, &image).unwrap_err();
            assert!(matches!(error, KernelError::Signature { expected: 4, found: 8, .. }), "{mistake}: {error}");
            found.push(format!("{mistake}: {error}"));
            continue;
        }
        let card = card_with(family, &patched);
        let (words, expected) = (seed.run)(&card);
        let reports = emulator.take_reports();
        recover(&card);
        match &seed.caught_by {
            Emulator(check) => {
                let report = reports.iter().find(|report| report.check == *check);
                let report = report.unwrap_or_else(|| panic!("{mistake}: not caught by {check}, but: {reports:#?}"));
                assert!(report.source.is_some(), "{mistake}: the report names no line: {report}");
                found.push(format!("{mistake}: {report}"));
            }
            _ => {
                assert!(reports.is_empty(), "{mistake}: {reports:#?}");
                assert!(words.unwrap() != expected, "{mistake}: the bits are right");
                found.push(format!("{mistake}: other bits than the CPU's"));
            }
        }
    }
    println!("{}", found.join("\n"));
}

#[test]
fn a_missing_wait_between_streams_is_caught() {
    let _turn = TURN.lock();
    let Some(card) = card("emulator", Some(Format::Ptx)) else { return };
    let emulator = support::emulator::open();
    let other = card.kernels.context().new_stream().unwrap();
    for wait in [true, false] {
        let (x, mut y, mut out) = (card.up(&[1; 600]), card.blank(600), card.blank(600));
        card.stream.synchronize().unwrap();
        card.kernels.fill_constant(&other, 41, y.words_mut()).unwrap();
        if wait {
            card.stream.join(&other).unwrap();
        }
        let launched = card.kernels.binary(&card.stream, Binary::Add, x.words(), y.words(), out.words_mut());
        let found = outcome(&card, launched, &out, vec![]).0;
        let reports = emulator.take_reports();
        if wait {
            assert!(reports.is_empty(), "{reports:#?}");
            assert_eq!(found.unwrap(), vec![42; 600]);
        } else {
            assert!(reports.iter().any(|report| report.check == Check::StreamRace), "{reports:#?}");
        }
        other.synchronize().ok();
    }
    emulator.take_reports();
    recover(&card);
}
