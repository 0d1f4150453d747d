//! Instructions in which lanes and threads work together, memory instructions and control flow, against references
//! in Rust.

use super::common::{self, Device, config, device};
use cudarc::driver::PushKernelArg;
use rand::{Rng, RngExt, SeedableRng};

/// Words that each thread reads and writes.
const IN: usize = 16;
const OUT: usize = 8;

fn random(seed: u64) -> rand_chacha::ChaCha8Rng {
    rand_chacha::ChaCha8Rng::seed_from_u64(seed)
}

/// Executes `text` with `threads` threads: `%rd1` points to the thread's 16 input words, `%rd2` to its 8 output words
/// (zero before), `%r1` is its number, `%rd5` and `%rd6` point to the first thread's.
fn execute(device: &Device, text: &str, threads: usize, input: &[u32]) -> Vec<[u32; OUT]> {
    let body = format!(
        "ld.param.u64 %rd5, [p1]; ld.param.u64 %rd6, [p2]; mov.u32 %r1, %tid.x; mul.wide.u32 %rd3, %r1, 64; \
         add.u64 %rd1, %rd5, %rd3; mul.wide.u32 %rd3, %r1, 32; add.u64 %rd2, %rd6, %rd3;\n{text}"
    );
    let stream = device.context.default_stream();
    let kernel = device.kernel(&common::ptx(".param .u64 p1, .param .u64 p2", &body));
    let input = stream.clone_htod(input).unwrap();
    let mut output = stream.alloc_zeros::<u32>(threads * OUT).unwrap();
    // SAFETY: the kernel has two pointers to as many words as its threads read and write.
    unsafe {
        stream.launch_builder(&kernel).arg(&input).arg(&mut output).launch(config(1, threads as u32)).unwrap();
    }
    let found = stream.clone_dtoh(&output).unwrap_or_else(|error| {
        panic!("{text}: {error}: {:?}", common::reports(common::emulator(), device.context.ordinal()))
    });
    found.chunks_exact(OUT).map(|words| words.try_into().unwrap()).collect()
}

fn words(threads: usize, seed: u64) -> Vec<u32> {
    let mut random = random(seed);
    (0..threads * IN).map(|_| random.random()).collect()
}

#[test]
fn shuffles() {
    let device = device();
    let input = words(32, 1);
    let value = |lane: usize| input[lane * IN];
    // Width 32, and segments of 8 lanes (the segment mask is 0x18).
    for (mode, clamp) in [
        ("up", 0u32),
        ("down", 31),
        ("bfly", 31),
        ("idx", 31),
        ("up", 0x1800),
        ("down", 0x181f),
        ("bfly", 0x181f),
        ("idx", 0x181f),
    ] {
        for distance in [0u32, 1, 3, 7, 16, 31, 33] {
            let text = format!(
                "ld.global.u32 %r5, [%rd1]; shfl.sync.{mode}.b32 %r6|%p1, %r5, {distance}, {clamp}, -1; selp.u32 %r7, 1, 0, %p1; \
                 st.global.v2.u32 [%rd2], {{%r6, %r7}};"
            );
            let width = if clamp > 31 { 8i64 } else { 32 };
            for (lane, found) in execute(&device, &text, 32, &input).into_iter().enumerate() {
                let (within, first) = (lane as i64 % width, lane as i64 / width * width);
                let distance = i64::from(distance & 31);
                let source = match mode {
                    "up" => within - distance,
                    "down" => within + distance,
                    // As the manual has it: lanes of segments below may be read, of those above not.
                    "bfly" => (lane as i64 ^ distance) - first,
                    // The index counts within the segment; bits of the segment mask are the lane's own.
                    _ => distance % width,
                };
                let inside = source < width && (mode == "bfly" || source >= 0);
                let expected = value(if inside { first + source } else { lane as i64 } as usize);
                assert_eq!(found[..2], [expected, u32::from(inside)], "{text} lane {lane}");
            }
        }
    }
}

#[test]
fn votes_matches_and_reductions() {
    let device = device();
    let input: Vec<u32> = words(32, 2).iter().map(|word| word % 5).collect();
    let value = |lane: usize| input[lane * IN];
    let text = "ld.global.u32 %r5, [%rd1]; setp.lt.u32 %p1, %r5, 3; setp.lt.u32 %p2, %r5, 5; setp.gt.u32 %p3, %r5, 5;
        vote.sync.ballot.b32 %r6, %p1, -1; vote.sync.all.pred %p4, %p2, -1; vote.sync.any.pred %p5, %p3, -1;
        vote.sync.uni.pred %p6, %p1, -1; selp.u32 %r7, 1, 0, %p4; @%p5 add.u32 %r7, %r7, 2; @%p6 add.u32 %r7, %r7, 4;
        match.any.sync.b32 %r8, %r5, -1; match.all.sync.b32 %r9|%p7, %r5, -1; @%p7 add.u32 %r7, %r7, 8;
        st.global.v4.u32 [%rd2], {%r6, %r7, %r8, %r9};
        redux.sync.add.s32 %r10, %r5, -1; redux.sync.max.u32 %r11, %r5, -1; redux.sync.xor.b32 %r12, %r5, -1;
        neg.s32 %r5, %r5; redux.sync.min.s32 %r13, %r5, -1; st.global.v4.u32 [%rd2+16], {%r10, %r11, %r12, %r13};";
    let values: Vec<u32> = (0..32).map(value).collect();
    let mask = |test: &dyn Fn(u32) -> bool| {
        values.iter().enumerate().map(|(lane, &v)| u32::from(test(v)) << lane).sum::<u32>()
    };
    for (lane, found) in execute(&device, text, 32, &input).into_iter().enumerate() {
        assert_eq!(found[..4], [mask(&|v| v < 3), 1, mask(&|v| v == values[lane]), 0], "lane {lane}");
        let (sum, xor) = (values.iter().sum(), values.iter().fold(0, |x, y| x ^ y));
        assert_eq!(found[4..], [sum, 4, xor, -4i32 as u32]);
    }
    // Only some lanes, in a branch.
    let text = "setp.gt.u32 %p1, %r1, 11; @%p1 bra DONE; activemask.b32 %r5; setp.eq.u32 %p2, %r1, 3;
        vote.sync.ballot.b32 %r6, %p2, 4095; vote.sync.all.pred %p3, %p2, 4095; selp.u32 %r7, 1, 0, %p3;
        match.all.sync.b64 %r8|%p4, %rd5, 4095; st.global.v4.u32 [%rd2], {%r5, %r6, %r7, %r8};\nDONE:";
    for (lane, found) in execute(&device, text, 32, &input).into_iter().enumerate() {
        assert_eq!(found[..4], if lane < 12 { [0xfff, 8, 0, 0xfff] } else { [0; 4] });
    }
}

#[test]
fn barriers_reduce() {
    let device = device();
    let text = "setp.lt.u32 %p1, %r1, 77; setp.lt.u32 %p2, %r1, 200; bar.red.popc.u32 %r5, 0, %p1; bar.red.and.pred %p3, 1, %p1;
        bar.red.or.pred %p4, 0, %p1; bar.red.and.pred %p5, 0, %p2; selp.u32 %r6, 1, 0, %p3; @%p4 add.u32 %r6, %r6, 2;
        @%p5 add.u32 %r6, %r6, 4; st.global.v2.u32 [%rd2], {%r5, %r6};";
    for found in execute(&device, text, 100, &words(100, 3)) {
        assert_eq!(found[..2], [77, 6]);
    }
}

/// A fragment's words from the elements of a matrix, as the PTX manual lays them out.
fn fragment(elements: &[u8]) -> Vec<u32> {
    elements.chunks_exact(4).map(|bytes| u32::from_le_bytes(bytes.try_into().unwrap())).collect()
}

#[test]
fn integer_matrix_products() {
    let device = device();
    let mut random = random(4);
    for (m, k, shape, rows_of_a) in
        [(16usize, 32usize, "m16n8k32", 16usize), (16, 16, "m16n8k16", 8), (8, 16, "m8n8k16", 4)]
    {
        for (ty, a_signed, b_signed, saturate) in [
            ("u8.u8", false, false, false),
            ("s8.s8", true, true, true),
            ("u8.s8", false, true, false),
            ("s8.u8", true, false, false),
        ] {
            let a: Vec<Vec<u8>> = (0..m).map(|_| (0..k).map(|_| random.random()).collect()).collect();
            let b: Vec<Vec<u8>> = (0..k).map(|_| (0..8).map(|_| random.random()).collect()).collect();
            let c: Vec<Vec<i32>> = (0..m)
                .map(|_| (0..8).map(|_| if random.random() { random.random() } else { i32::MAX - 5 }).collect())
                .collect();
            let mut input = vec![0u32; 32 * IN];
            for lane in 0..32 {
                let (group, place) = (lane >> 2, lane % 4);
                // "Matrix Fragments for mma.m16n8k32" and its neighbours, element by element.
                let a_elements: Vec<u8> = (0..rows_of_a)
                    .map(|i| {
                        let row = match shape {
                            "m16n8k32" => {
                                if i < 4 || (8..12).contains(&i) {
                                    group
                                } else {
                                    group + 8
                                }
                            }
                            "m16n8k16" => {
                                if i < 4 {
                                    group
                                } else {
                                    group + 8
                                }
                            }
                            _ => group,
                        };
                        let column = place * 4 + (i & 3) + if shape == "m16n8k32" && i >= 8 { 16 } else { 0 };
                        a[row][column]
                    })
                    .collect();
                let b_elements: Vec<u8> =
                    (0..k / 4).map(|i| b[place * 4 + (i & 3) + if i >= 4 { 16 } else { 0 }][group]).collect();
                let at = lane * IN;
                for (index, word) in fragment(&a_elements).into_iter().enumerate() {
                    input[at + index] = word;
                }
                for (index, word) in fragment(&b_elements).into_iter().enumerate() {
                    input[at + 4 + index] = word;
                }
                for i in 0..if m == 16 { 4 } else { 2 } {
                    input[at + 8 + i] = c[group + if i >= 2 { 8 } else { 0 }][place * 2 + (i & 1)] as u32;
                }
            }
            let (a_regs, b_regs, c_regs) = match shape {
                "m16n8k32" => ("%r10, %r11, %r12, %r13", "%r14, %r15", "%r16, %r17, %r18, %r19"),
                "m16n8k16" => ("%r10, %r11", "%r14", "%r16, %r17, %r18, %r19"),
                _ => ("%r10", "%r14", "%r16, %r17"),
            };
            let finite = if saturate { ".satfinite" } else { "" };
            let text = format!(
                "ld.global.v4.u32 {{%r10, %r11, %r12, %r13}}, [%rd1]; ld.global.v2.u32 {{%r14, %r15}}, [%rd1+16]; \
                 ld.global.v4.u32 {{%r16, %r17, %r18, %r19}}, [%rd1+32]; \
                 mma.sync.aligned.{shape}.row.col{finite}.s32.{ty}.s32 {{{c_regs}}}, {{{a_regs}}}, {{{b_regs}}}, {{{c_regs}}}; \
                 st.global.v4.u32 [%rd2], {{%r16, %r17, %r18, %r19}};"
            );
            let signed = |byte: u8, signed: bool| if signed { i64::from(byte as i8) } else { i64::from(byte) };
            for (lane, found) in execute(&device, &text, 32, &input).into_iter().enumerate() {
                for (i, &word) in found.iter().enumerate().take(if m == 16 { 4 } else { 2 }) {
                    let (row, column) = ((lane >> 2) + if i >= 2 { 8 } else { 0 }, (lane % 4) * 2 + (i & 1));
                    let dot: i64 = (0..k).map(|j| signed(a[row][j], a_signed) * signed(b[j][column], b_signed)).sum();
                    let sum = i64::from(c[row][column]) + dot;
                    let expected =
                        if saturate { sum.clamp(i32::MIN.into(), i32::MAX.into()) as u32 } else { sum as u32 };
                    assert_eq!(word, expected, "{shape} {ty} lane {lane} element {i}");
                }
            }
        }
    }
}

#[test]
fn matrix_products_of_doubles() {
    let device = device();
    let mut random = random(5);
    let mut matrix = || -> Vec<f64> { (0..64).map(|_| random.random::<f64>() - 0.5).collect() };
    let (a, b, c) = (matrix(), matrix(), matrix());
    let mut input = vec![0u32; 32 * IN];
    let mut put = |at: usize, value: f64| {
        input[at] = value.to_bits() as u32;
        input[at + 1] = (value.to_bits() >> 32) as u32;
    };
    for lane in 0..32 {
        put(lane * IN, a[(lane >> 2) * 4 + lane % 4]);
        put(lane * IN + 2, b[lane % 4 * 8 + (lane >> 2)]);
        put(lane * IN + 4, c[(lane >> 2) * 8 + lane % 4 * 2]);
        put(lane * IN + 6, c[(lane >> 2) * 8 + lane % 4 * 2 + 1]);
    }
    let text = "ld.global.v2.f64 {%fd1, %fd2}, [%rd1]; ld.global.v2.f64 {%fd3, %fd4}, [%rd1+16];
        mma.sync.aligned.m8n8k4.row.col.f64.f64.f64.f64 {%fd5, %fd6}, {%fd1}, {%fd2}, {%fd3, %fd4}; st.global.v2.f64 [%rd2], {%fd5, %fd6};";
    for (lane, found) in execute(&device, text, 32, &input).into_iter().enumerate() {
        for i in 0..2 {
            let (row, column) = (lane >> 2, lane % 4 * 2 + i);
            let expected = (0..4).fold(c[row * 8 + column], |sum, k| a[row * 4 + k].mul_add(b[k * 8 + column], sum));
            assert_eq!(u64::from(found[2 * i]) | u64::from(found[2 * i + 1]) << 32, expected.to_bits());
        }
    }
}

#[test]
fn matrices_load_from_shared_memory() {
    let device = device();
    let input = words(32, 6);
    // Each lane writes one row of 16 bytes: four matrices of eight rows.
    for (trans, transposed) in [("", false), (".trans", true)] {
        let text = format!(
            ".shared .align 16 .b8 tile[512]; mov.u32 %r2, tile; shl.b32 %r3, %r1, 4; add.u32 %r3, %r2, %r3; \
             ld.global.v4.u32 {{%r4, %r5, %r6, %r7}}, [%rd1]; st.shared.v4.u32 [%r3], {{%r4, %r5, %r6, %r7}}; bar.sync 0; \
             ldmatrix.sync.aligned.m8n8.x4{trans}.shared.b16 {{%r10, %r11, %r12, %r13}}, [%r3]; st.global.v4.u32 [%rd2], {{%r10, %r11, %r12, %r13}}; \
             ldmatrix.sync.aligned.m8n8.x1{trans}.shared.b16 {{%r14}}, [%r3]; st.global.u32 [%rd2+16], %r14;"
        );
        let half = |matrix: usize, row: usize, column: usize| {
            let word = input[(matrix * 8 + row) * IN + column / 2];
            (word >> (16 * (column % 2))) & 0xffff
        };
        for (lane, found) in execute(&device, &text, 32, &input).into_iter().enumerate() {
            for (matrix, &word) in found[..4].iter().enumerate() {
                let (row, column) = (lane / 4, lane % 4 * 2);
                let expected = if transposed {
                    half(matrix, column, row) | half(matrix, column + 1, row) << 16
                } else {
                    half(matrix, row, column) | half(matrix, row, column + 1) << 16
                };
                assert_eq!(word, expected, "matrix {matrix} lane {lane}");
            }
            assert_eq!(found[4], found[0]);
        }
    }
}

#[test]
fn loads_extend_and_stores_truncate() {
    let device = device();
    let input = words(32, 7);
    let text = "ld.global.u8 %r5, [%rd1+1]; ld.global.s8 %r6, [%rd1+1]; ld.global.nc.u16 %h1, [%rd1+2]; cvt.u32.u16 %r7, %h1;
        ld.global.s16 %r8, [%rd1+2]; st.global.v4.u32 [%rd2], {%r5, %r6, %r7, %r8}; ld.global.s32 %rd7, [%rd1]; st.global.u64 [%rd2+16], %rd7;
        ld.global.v4.u8 {%h2, %h3, %h4, %h5}, [%rd1]; st.global.v4.u8 [%rd2+24], {%h5, %h4, %h3, %h2}; ld.global.u64 %rd8, [%rd1];
        st.global.u16 [%rd2+28], %rd8; st.global.u8 [%rd2+30], %r1;";
    for (lane, found) in execute(&device, text, 32, &input).into_iter().enumerate() {
        let word = input[lane * IN];
        let (byte, half) = ((word >> 8) as u8, (word >> 16) as u16);
        assert_eq!(found[..4], [byte.into(), i32::from(byte as i8) as u32, half.into(), i32::from(half as i16) as u32]);
        assert_eq!(u64::from(found[4]) | u64::from(found[5]) << 32, i64::from(word as i32) as u64);
        assert_eq!(found[6], word.swap_bytes());
        assert_eq!(found[7], (word & 0xffff) | (lane as u32) << 16);
    }
}

#[test]
fn generic_addresses_reach_every_space() {
    let device = device();
    let text = ".shared .align 8 .b8 tile[512]; .local .align 8 .b8 depot[8]; mov.u64 %rd7, tile; cvta.shared.u64 %rd7, %rd7;
        mul.wide.u32 %rd8, %r1, 8; add.u64 %rd7, %rd7, %rd8; mov.u64 %rd9, depot; cvta.local.u64 %rd9, %rd9;
        and.b32 %r5, %r1, 3; setp.eq.u32 %p1, %r5, 0; selp.b64 %rd10, %rd7, %rd9, %p1; setp.eq.u32 %p2, %r5, 1; selp.b64 %rd10, %rd2, %rd10, %p2;
        st.u32 [%rd10], %r1; ld.u32 %r6, [%rd10]; isspacep.shared %p3, %rd10; isspacep.local %p4, %rd10; isspacep.global %p5, %rd10;
        selp.u32 %r7, 1, 0, %p3; @%p4 add.u32 %r7, %r7, 2; @%p5 add.u32 %r7, %r7, 4; st.global.v2.u32 [%rd2+8], {%r6, %r7};
        cvta.to.shared.u64 %rd11, %rd7; cvt.u32.u64 %r8, %rd11; @%p1 ld.shared.u32 %r9, [%r8]; @%p1 st.global.u32 [%rd2+16], %r9;";
    for (lane, found) in execute(&device, text, 64, &words(64, 8)).into_iter().enumerate() {
        let lane = lane as u32;
        assert_eq!(
            found[2..4],
            [
                lane,
                match lane & 3 {
                    0 => 1,
                    1 => 4,
                    _ => 2,
                }
            ]
        );
        assert_eq!(found[4], if lane & 3 == 0 { lane } else { 0 });
    }
}

#[test]
fn atomics() {
    let device = device();
    let mut random = random(9);
    for (ty, bits, signed) in [("u32", 32, false), ("s32", 32, true), ("u64", 64, false), ("s64", 64, true)] {
        let (r, b) = if bits == 32 { ("r", "b32") } else { ("rd", "b64") };
        for op in ["add", "min", "max", "and", "or", "xor", "exch", "cas", "inc", "dec"] {
            let name = match op {
                "add" if ty == "s64" => continue,
                "add" | "min" | "max" => ty,
                "inc" | "dec" if ty == "u32" => ty,
                "inc" | "dec" => continue,
                _ => b,
            };
            let swap = if op == "cas" { format!(", %{r}16") } else { String::new() };
            for space in ["global", "shared"] {
                // The word is at the thread's own place, so that the result is the same in any order.
                let text = format!(
                    ".shared .align 8 .b8 tile[256]; mov.u64 %rd20, tile; mul.wide.u32 %rd21, %r1, 8; add.u64 %rd20, %rd20, %rd21; \
                     ld.global.u64 %rd22, [%rd1]; st.shared.u64 [%rd20], %rd22; ld.global.{b} %{r}15, [%rd1+8]; ld.global.{b} %{r}16, [%rd1+16]; \
                     {} atom.{space}.{op}.{name} %{r}17, [%rd20], %{r}15{swap}; ld.{space}.{b} %{r}18, [%rd20]; \
                     st.global.{b} [%rd2], %{r}17; st.global.{b} [%rd2+8], %{r}18;",
                    if space == "global" { "mov.u64 %rd20, %rd1;" } else { "" }
                );
                let mut input = words(32, random.next_u64());
                // Compare-and-swap finds what it looks for in every second lane.
                (0..16).for_each(|lane| (0..2).for_each(|i| input[lane * 2 * IN + 2 + i] = input[lane * 2 * IN + i]));
                let word = |lane: usize, at: usize| {
                    let value = u64::from(input[lane * IN + at]) | u64::from(input[lane * IN + at + 1]) << 32;
                    if bits == 32 { value & 0xffff_ffff } else { value }
                };
                for (lane, found) in execute(&device, &text, 32, &input).into_iter().enumerate() {
                    let (old, x, y) = (word(lane, 0), word(lane, 2), word(lane, 4));
                    let less = |p: u64, q: u64| match (signed, bits) {
                        (true, 32) => (p as i32) < q as i32,
                        (true, _) => (p as i64) < q as i64,
                        _ => p < q,
                    };
                    let new = match op {
                        "add" => old.wrapping_add(x),
                        "min" => {
                            if less(x, old) {
                                x
                            } else {
                                old
                            }
                        }
                        "max" => {
                            if less(old, x) {
                                x
                            } else {
                                old
                            }
                        }
                        "and" => old & x,
                        "or" => old | x,
                        "xor" => old ^ x,
                        "exch" => x,
                        "cas" => {
                            if old == x {
                                y
                            } else {
                                old
                            }
                        }
                        "inc" => {
                            if old >= x {
                                0
                            } else {
                                old + 1
                            }
                        }
                        _ => {
                            if old == 0 || old > x {
                                x
                            } else {
                                old - 1
                            }
                        }
                    };
                    let got = |at: usize| u64::from(found[at]) | u64::from(found[at + 1]) << 32;
                    let low = |value: u64| if bits == 32 { value & 0xffff_ffff } else { value };
                    assert_eq!((low(got(0)), low(got(2))), (low(old), low(new)), "{op}.{name} {space} lane {lane}");
                }
            }
        }
    }
    // All threads of many warps on one word.
    let text = "mov.u32 %r5, 1; atom.global.add.u32 %r6, [%rd6], %r5; red.global.add.u64 [%rd6+8], 3; red.global.add.f64 [%rd6+16], 0d3FE0000000000000;";
    let found = execute(&device, text, 256, &words(256, 10));
    assert_eq!(found[0][..6], [256, 0, 768, 0, 0, 0x4060_0000]);
}

#[test]
fn lanes_part_and_meet_again() {
    let device = device();
    // A loop with a trip count of its own for each lane, a branch inside, and a shuffle behind.
    let text = "and.b32 %r5, %r1, 7; mov.u32 %r6, 0; mov.u32 %r7, 0;
        LOOP:
        setp.ge.u32 %p1, %r6, %r5; @%p1 bra OUT;
        and.b32 %r8, %r6, 1; setp.eq.u32 %p2, %r8, 0; @%p2 bra EVEN; add.u32 %r7, %r7, 100; bra.uni NEXT;
        EVEN: add.u32 %r7, %r7, 1;
        NEXT: add.u32 %r6, %r6, 1; bra LOOP;
        OUT: shfl.sync.down.b32 %r9, %r7, 1, 31, -1; st.global.v2.u32 [%rd2], {%r7, %r9};";
    let sum = |lane: usize| (0..lane as u32 % 8).map(|i| if i % 2 == 0 { 1 } else { 100 }).sum::<u32>();
    for (lane, found) in execute(&device, text, 64, &words(64, 11)).into_iter().enumerate() {
        assert_eq!(found[..2], [sum(lane), sum(if lane % 32 == 31 { lane } else { lane + 1 })]);
    }
    // A table of branch targets.
    let text = "and.b32 %r5, %r1, 3; ts: .branchtargets A, B, C, D; brx.idx %r5, ts;
        A: mov.u32 %r6, 10; bra E;\nB: mov.u32 %r6, 20; bra E;\nC: mov.u32 %r6, 30; bra E;\nD: mov.u32 %r6, 40;\nE: st.global.u32 [%rd2], %r6;";
    for (lane, found) in execute(&device, text, 40, &words(40, 12)).into_iter().enumerate() {
        assert_eq!(found[0], 10 * (lane as u32 % 4 + 1));
    }
}

#[test]
fn functions_are_called() {
    let device = device();
    // A function that calls another, with a branch and two returns, called twice and from within a branch.
    let functions = ".func (.param .b32 r) twice(.param .b32 x)\n{\n.reg .b32 %r<3>;\nld.param.u32 %r1, [x]; add.u32 %r2, %r1, %r1; \
        st.param.b32 [r+0], %r2; ret;\n}\n.func (.param .b32 r) odd(.param .b32 x)\n{\n.reg .pred %p<2>; .reg .b32 %r<5>;\n\
        ld.param.u32 %r1, [x]; and.b32 %r2, %r1, 1; setp.eq.u32 %p1, %r2, 1; @%p1 bra L; st.param.b32 [r+0], %r1; ret;\nL:\n\
        { .param .b32 a; st.param.b32 [a+0], %r1; .param .b32 b; call.uni (b), twice, (a); ld.param.b32 %r3, [b+0]; }\n\
        st.param.b32 [r+0], %r3; ret;\n}\n.visible";
    let text = "{ .param .b32 a; st.param.b32 [a+0], %r1; .param .b32 b; call.uni (b), odd, (a); ld.param.b32 %r5, [b+0]; }
        setp.gt.u32 %p1, %r1, 9; @%p1 bra DONE; { .param .b32 a; st.param.b32 [a+0], %r5; .param .b32 b; call.uni (b), twice, (a); ld.param.b32 %r5, [b+0]; }
        DONE: st.global.u32 [%rd2], %r5;";
    let body = format!(
        "ld.param.u64 %rd6, [p2]; mov.u32 %r1, %tid.x; mul.wide.u32 %rd3, %r1, 32; add.u64 %rd2, %rd6, %rd3;\n{text}"
    );
    let whole = common::ptx(".param .u64 p1, .param .u64 p2", &body).replace(".visible", functions);
    let kernel = device.kernel(&whole);
    let stream = device.context.default_stream();
    let mut output = stream.alloc_zeros::<u32>(32 * OUT).unwrap();
    // SAFETY: the kernel has two pointers; it uses the second.
    unsafe { stream.launch_builder(&kernel).arg(&0u64).arg(&mut output).launch(config(1, 32)).unwrap() };
    for (lane, word) in stream.clone_dtoh(&output).unwrap().chunks_exact(OUT).map(|words| words[0]).enumerate() {
        let lane = lane as u32;
        let odd = if lane % 2 == 1 { 2 * lane } else { lane };
        assert_eq!(word, if lane > 9 { odd } else { 2 * odd });
    }
}

#[test]
fn special_registers() {
    let device = device();
    let text = "mov.u32 %r5, %laneid; mov.u32 %r6, %warpid; mov.u32 %r7, %lanemask_lt; mov.u32 %r8, %lanemask_ge; \
        st.global.v4.u32 [%rd2], {%r5, %r6, %r7, %r8}; mov.u32 %r9, %ntid.x; mov.u32 %r10, %nctaid.y; mov.u32 %r11, %tid.z; \
        mov.u32 %r12, %nwarpid; st.global.v4.u32 [%rd2+16], {%r9, %r10, %r11, %r12};";
    for (thread, found) in execute(&device, text, 70, &words(70, 13)).into_iter().enumerate() {
        let (lane, warp) = (thread as u32 % 32, thread as u32 / 32);
        assert_eq!(found, [lane, warp, (1 << lane) - 1, !((1 << lane) - 1), 70, 1, 0, 3]);
    }
}

#[test]
fn constants_and_variables_of_a_module() {
    let device = device();
    let body = "ld.param.u64 %rd6, [p2]; mov.u32 %r1, %tid.x; mul.wide.u32 %rd3, %r1, 4; mov.u64 %rd4, table; add.u64 %rd4, %rd4, %rd3; \
        ld.const.u32 %r5, [%rd4]; red.global.add.u32 [sum], %r5; add.u64 %rd2, %rd6, %rd3; ld.const.u8 %r6, [table+5]; add.u32 %r5, %r5, %r6; st.global.u32 [%rd2], %r5;";
    let text = common::ptx(".param .u64 p1, .param .u64 p2", body).replace(
        ".visible",
        ".const .align 4 .u32 table[4] = {10, 0x123, 4294967295};\n.global .align 4 .u32 sum = 5;\n.visible",
    );
    let module = common::module(&device.context, &text);
    let kernel = module.load_function("test").unwrap();
    let stream = device.context.default_stream();
    let mut output = stream.alloc_zeros::<u32>(4).unwrap();
    // SAFETY: the kernel has two pointers; it uses the second.
    unsafe { stream.launch_builder(&kernel).arg(&0u64).arg(&mut output).launch(config(1, 4)).unwrap() };
    assert_eq!(stream.clone_dtoh(&output).unwrap(), [11, 0x124, 0, 1]);
    let sum = module.get_global("sum", &stream).unwrap();
    let mut bytes = [0u8; 4];
    stream.memcpy_dtoh(&sum, &mut bytes).unwrap();
    assert_eq!(u32::from_le_bytes(bytes), 5 + 10 + 0x123 - 1);
}
