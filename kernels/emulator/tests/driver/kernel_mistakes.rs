//! Every check of a kernel against a mistake that it must find, and against the same kernel without the mistake.

use super::common::{Device, config, device, ptx};
use cryptgpu_emulator::{Check, Report};
use cudarc::driver::{CudaSlice, DriverError, LaunchConfig, PushKernelArg};

const PARAMS: &str = ".param .u64 p0, .param .u64 p1";

/// Loads `p0` and `p1` to `%rd1`, `%rd2` and the thread's number to `%r1`, `%rd3` (times eight) and so on.
const START: &str = "ld.param.u64 %rd1, [p0]; ld.param.u64 %rd2, [p1]; cvta.to.global.u64 %rd1, %rd1; \
    cvta.to.global.u64 %rd2, %rd2; mov.u32 %r1, %tid.x; mov.u32 %r2, %ctaid.x; mov.u32 %r3, %ntid.x; \
    mad.lo.u32 %r4, %r2, %r3, %r1; mul.wide.u32 %rd3, %r4, 8; mul.wide.u32 %rd4, %r1, 8; \
    add.u64 %rd5, %rd1, %rd3; add.u64 %rd6, %rd2, %rd3;\n";

fn body(text: &str) -> String {
    ptx(PARAMS, &format!("{START}{text}"))
}

/// Runs a kernel on 256 words of input, in blocks of 64, and synchronises.
fn run_config(device: &Device, text: &str, config: LaunchConfig) -> Result<(), DriverError> {
    let stream = device.context.default_stream();
    let kernel = device.kernel(text);
    let input = stream.clone_htod(&(0..256u64).collect::<Vec<_>>())?;
    // SAFETY: the kernels under test write it, and what they do not write is a mistake that must be found.
    let output = unsafe { stream.alloc::<u64>(256)? };
    // SAFETY: the kernel has two pointers as parameters.
    unsafe { stream.launch_builder(&kernel).arg(&input).arg(&output).launch(config)? };
    stream.synchronize()
}

fn run(device: &Device, text: &str) -> Result<(), DriverError> {
    run_config(device, &body(text), config(4, 64))
}

/// The mistake is found, and without it nothing is.
fn seeded(check: Check, wrong: &str, right: &str) -> Report {
    let device = device();
    let report = device.expect(check, run(&device, wrong));
    assert_eq!(report.kernel.as_deref(), Some("test"));
    assert!(report.block.is_some() && report.thread.is_some() && report.ptx_line.is_some());
    run(&device, right).unwrap();
    device.expect_none();
    report
}

#[test]
fn an_index_beyond_the_end_is_out_of_bounds() {
    let report = seeded(
        Check::OutOfBounds,
        "ld.global.u64 %rd7, [%rd5+8]; st.global.u64 [%rd6], %rd7;",
        "ld.global.u64 %rd7, [%rd5]; st.global.u64 [%rd6], %rd7;",
    );
    assert_eq!((report.block, report.thread), (Some([3, 0, 0]), Some([63, 0, 0])));
    assert!(report.message.contains("8 bytes at byte 2048 of allocation"), "{report}");
}

#[test]
fn an_index_before_the_start_is_out_of_bounds() {
    let report = seeded(Check::OutOfBounds, "st.global.u64 [%rd6+-8], %rd5;", "st.global.u64 [%rd6], %rd5;");
    assert_eq!((report.block, report.thread), (Some([0, 0, 0]), Some([0, 0, 0])));
}

#[test]
fn a_wide_access_at_a_narrow_address_is_misaligned() {
    seeded(Check::Misaligned, "ld.global.u32 %r7, [%rd5+2];", "ld.global.u32 %r7, [%rd5+4];");
    seeded(
        Check::Misaligned,
        "ld.global.v2.u64 {%rd7, %rd8}, [%rd5];",
        "and.b64 %rd5, %rd5, -16; ld.global.v2.u64 {%rd7, %rd8}, [%rd5];",
    );
}

#[test]
fn memory_that_nobody_wrote_is_uninitialised() {
    seeded(
        Check::Uninitialised,
        "ld.global.u64 %rd7, [%rd6];",
        "st.global.u64 [%rd6], %rd6; ld.global.u64 %rd7, [%rd6];",
    );
    // Exact to the byte.
    seeded(
        Check::Uninitialised,
        "st.global.u32 [%rd6], %r1; ld.global.u8 %r7, [%rd6+4];",
        "st.global.u32 [%rd6], %r1; ld.global.u8 %r7, [%rd6+3];",
    );
}

const SHARED: &str = ".shared .align 16 .b8 tile[512];\nmov.u32 %r10, tile; shl.b32 %r11, %r1, 3; add.u32 %r12, %r10, %r11;\n\
    xor.b32 %r13, %r11, 256; add.u32 %r13, %r10, %r13; ld.global.u64 %rd7, [%rd5];\n";

fn shared(text: &str) -> String {
    format!("{SHARED}{text}")
}

#[test]
fn a_missing_barrier_is_a_race_on_shared_memory() {
    let write = "st.shared.u64 [%r12], %rd7;";
    let read = "ld.shared.u64 %rd8, [%r13]; st.global.u64 [%rd6], %rd8;";
    let barrier = "bar.sync 0;";
    // The reader comes first or last, as the order of the warps has it: uninitialised, or a race.
    let device = device();
    device.expect_one_of(&[Check::SharedRace, Check::Uninitialised], run(&device, &shared(&format!("{write}{read}"))));
    run(&device, &shared(&format!("{write}{barrier}{read}"))).unwrap();
    device.expect_none();
    drop(device);
    // Behind the second barrier the tile is overwritten: with the barrier missing, only a race.
    seeded(
        Check::SharedRace,
        &shared(&format!("{write}{barrier}{read}{write}")),
        &shared(&format!("{write}{barrier}{read}{barrier}{write}")),
    );
}

#[test]
fn shared_memory_has_bounds_and_starts_unwritten_in_every_block() {
    seeded(Check::OutOfBounds, &shared("st.shared.u64 [%r12+8], %rd7;"), &shared("st.shared.u64 [%r12], %rd7;"));
    // The first block writes it, the later ones only read.
    seeded(
        Check::Uninitialised,
        &shared("setp.eq.u32 %p1, %r2, 0; @%p1 st.shared.u64 [%r12], %rd7; ld.shared.u64 %rd8, [%r12];"),
        &shared("st.shared.u64 [%r12], %rd7; ld.shared.u64 %rd8, [%r12];"),
    );
}

#[test]
fn two_blocks_that_write_one_word_race() {
    let report = seeded(
        Check::GlobalRace,
        "add.u64 %rd8, %rd2, %rd4; st.global.u64 [%rd8], %rd5;",
        "st.global.u64 [%rd6], %rd5;",
    );
    assert!(report.message.contains("block"), "{report}");
}

#[test]
fn a_block_that_reads_what_another_writes_races() {
    // Input words are read by their own thread; writing the neighbour block's word races with its reader.
    seeded(
        Check::GlobalRace,
        "ld.global.u64 %rd7, [%rd5]; xor.b64 %rd9, %rd3, 512; add.u64 %rd9, %rd1, %rd9; st.global.u64 [%rd9], %rd7;",
        "ld.global.u64 %rd7, [%rd5]; st.global.u64 [%rd5], %rd7;",
    );
}

#[test]
fn two_warps_of_a_block_race_without_a_barrier() {
    let exchange = |barrier: &str| {
        format!(
            "st.global.u64 [%rd6], %rd5; {barrier} xor.b64 %rd9, %rd3, 256; add.u64 %rd9, %rd2, %rd9; \
             ld.volatile.global.u64 %rd7, [%rd9];"
        )
    };
    let device = device();
    device.expect_one_of(&[Check::GlobalRace, Check::Uninitialised], run(&device, &exchange("")));
    run(&device, &exchange("bar.sync 0;")).unwrap();
    device.expect_none();
}

#[test]
fn bytes_beside_each_other_do_not_race() {
    let device = device();
    run(
        &device,
        "cvt.u64.u32 %rd8, %r4; add.u64 %rd8, %rd2, %rd8; st.global.u8 [%rd8], %r1; ld.global.u8 %r9, [%rd8];",
    )
    .unwrap();
    device.expect_none();
}

#[test]
fn atomics_do_not_race_with_each_other_but_with_plain_accesses() {
    let first = "setp.ne.u32 %p1, %r4, 0; @%p1 bra SKIP; st.global.u64 [%rd2], %rd4;\nSKIP:\n";
    seeded(
        Check::GlobalRace,
        &format!("atom.global.add.u64 %rd7, [%rd1], 1; ld.global.u64 %rd8, [%rd1]; {first}"),
        "atom.global.add.u64 %rd7, [%rd1], 1; red.global.max.u64 [%rd1+8], %rd4;",
    );
}

#[test]
fn lanes_that_write_one_place_in_one_instruction_race() {
    seeded(
        Check::LaneRace,
        "setp.gt.u32 %p1, %r4, 31; @%p1 ret; shr.u64 %rd9, %rd3, 4; shl.b64 %rd9, %rd9, 3; add.u64 %rd9, %rd2, %rd9; st.global.u64 [%rd9], %rd3;",
        "setp.gt.u32 %p1, %r4, 31; @%p1 ret; add.u64 %rd9, %rd2, %rd3; st.global.u64 [%rd9], %rd3;",
    );
}

#[test]
fn a_barrier_that_not_all_threads_reach_is_found() {
    seeded(
        Check::BarrierNotReached,
        "setp.lt.u32 %p1, %r1, 32; @%p1 ret; bar.sync 0;",
        "bar.sync 0; setp.lt.u32 %p1, %r1, 32; @%p1 ret;",
    );
    seeded(
        Check::BarrierNotReached,
        "setp.lt.u32 %p1, %r1, 32; @%p1 bra A; bar.sync 0; ret;\nA:\nbar.sync 1;",
        "setp.lt.u32 %p1, %r1, 32; @%p1 bra A; bar.sync 0; ret;\nA:\nbar.sync 0;",
    );
}

#[test]
fn a_barrier_in_two_branches_of_a_warp_is_divergent() {
    seeded(
        Check::DivergentBarrier,
        "setp.lt.u32 %p1, %r1, 7; @%p1 bra A; bar.sync 0; ret;\nA:\nbar.sync 0;",
        "setp.lt.u32 %p1, %r1, 7; @%p1 bra A; add.u32 %r9, %r1, 1;\nA:\nbar.sync 0;",
    );
}

#[test]
fn warp_instructions_check_their_masks() {
    let shuffle = "shfl.sync.bfly.b32 %r20, %r1, 1, 31, -1;";
    // Lanes that ended.
    seeded(Check::WarpMask, &format!("setp.lt.u32 %p1, %r1, 7; @%p1 ret; {shuffle}"), shuffle);
    // Lanes that wait elsewhere.
    seeded(
        Check::WarpMask,
        &format!("setp.lt.u32 %p1, %r1, 7; @%p1 bra A; {shuffle} ret;\nA:\nbar.sync 0;"),
        &format!("setp.lt.u32 %p1, %r1, 7; @%p1 bra A; add.u32 %r9, %r1, 1;\nA:\n{shuffle}"),
    );
    // A mask that lacks the lane, and a source outside.
    seeded(
        Check::WarpMask,
        "vote.sync.ballot.b32 %r20, %p1, 255;",
        "setp.eq.u32 %p1, %r1, 1; vote.sync.ballot.b32 %r20, %p1, -1;",
    );
    seeded(
        Check::WarpMask,
        "and.b32 %r8, %r1, 31; setp.gt.u32 %p1, %r8, 15; @%p1 bra A; shfl.sync.idx.b32 %r20, %r1, 16, 31, 65535;\nA:\nbar.sync 0;",
        "and.b32 %r8, %r1, 31; setp.gt.u32 %p1, %r8, 15; @%p1 bra A; shfl.sync.idx.b32 %r20, %r1, 15, 31, 65535;\nA:\nbar.sync 0;",
    );
}

#[test]
fn a_copy_that_was_not_waited_for_is_found() {
    let copy = "shl.b32 %r14, %r1, 3; add.u32 %r14, %r14, %r10; cp.async.ca.shared.global [%r14], [%rd5], 8; cp.async.commit_group;";
    let read = "ld.shared.u64 %rd8, [%r14]; st.global.u64 [%rd6], %rd8;";
    seeded(
        Check::AsyncCopy,
        &shared(&format!("{copy}{read}")),
        &shared(&format!("{copy} cp.async.wait_group 0; {read}")),
    );
    // The last group may still be under way.
    seeded(
        Check::AsyncCopy,
        &shared(&format!("{copy} cp.async.wait_group 1; {read}")),
        &shared(&format!("{copy} cp.async.commit_group; cp.async.wait_group 1; {read}")),
    );
    // What a thread waited for, the others see behind a barrier only.
    let other = "ld.shared.u64 %rd8, [%r13]; st.global.u64 [%rd6], %rd8;";
    let device = device();
    let result = run(&device, &shared(&format!("{copy} cp.async.wait_all; {other}")));
    device.expect_one_of(&[Check::SharedRace, Check::Uninitialised, Check::AsyncCopy], result);
    run(&device, &shared(&format!("{copy} cp.async.wait_all; bar.sync 0; {other}"))).unwrap();
    device.expect_none();
}

#[test]
fn local_memory_is_checked() {
    let local = ".local .align 8 .b8 depot[16];\nmov.u64 %rd10, depot; st.local.u64 [%rd10], %rd3;\n";
    seeded(
        Check::Uninitialised,
        &format!("{local} ld.local.u64 %rd8, [%rd10+8];"),
        &format!("{local} cvta.local.u64 %rd11, %rd10; ld.u64 %rd8, [%rd11];"),
    );
    seeded(
        Check::OutOfBounds,
        &format!("{local} st.local.u64 [%rd10+16], %rd3;"),
        &format!("{local} st.local.u64 [%rd10+8], %rd3;"),
    );
}

#[test]
fn a_trap_and_an_endless_loop_end_the_kernel() {
    seeded(Check::Trap, "trap;", "setp.gt.u32 %p1, %r1, 9999; @%p1 trap;");
    let counted = "mov.u32 %r9, 0;\nL:\nadd.u32 %r9, %r9, 1; setp.lt.u32 %p1, %r9, 1000; @%p1 bra L;";
    seeded(Check::Timeout, "L:\nbra L;", counted);
}

#[test]
fn constant_memory_cannot_be_written() {
    let device = device();
    let text = body("mov.u64 %rd10, table; cvta.const.u64 %rd10, %rd10; st.u32 [%rd10], %r1;")
        .replace(".visible", ".const .align 4 .b8 table[8] = {1, 0, 0, 0, 2};\n.visible");
    device.expect(Check::ReadOnly, run_config(&device, &text, config(1, 1)));
    run_config(&device, &text.replace("st.u32 [%rd10], %r1", "ld.const.u32 %r5, [table+4]"), config(1, 1)).unwrap();
}

#[test]
fn launches_beyond_the_limits_are_refused() {
    let device = device();
    let shape = |grid: (u32, u32, u32), block: (u32, u32, u32), shared: u32| LaunchConfig {
        grid_dim: grid,
        block_dim: block,
        shared_mem_bytes: shared,
    };
    for wrong in [
        shape((1, 1, 1), (1025, 1, 1), 0),
        shape((1, 1, 1), (1, 1, 65), 0),
        shape((1, 1, 1), (32, 33, 1), 0),
        shape((0, 1, 1), (1, 1, 1), 0),
        shape((1, 65536, 1), (1, 1, 1), 0),
        shape((1, 1, 1), (1, 1, 1), (48 << 10) + 1),
    ] {
        device.expect(Check::LaunchLimits, run_config(&device, &body(""), wrong));
    }
    run_config(&device, &body(""), shape((1, 1, 1), (1024, 1, 1), 48 << 10)).unwrap();
    let limited =
        body("").replace("(.param .u64 p0, .param .u64 p1)", "(.param .u64 p0, .param .u64 p1) .maxntid 64, 1, 1");
    device.expect(Check::LaunchLimits, run_config(&device, &limited, config(1, 65)));
    run_config(&device, &limited, config(1, 64)).unwrap();
    device.expect_none();
}

#[test]
fn source_lines_come_from_loc() {
    let device = device();
    let text = body(".loc 1 17 3\nld.global.u64 %rd7, [%rd5+8];") + ".file 1 \"kernels/example.cu\"\n";
    let report = device.expect(Check::OutOfBounds, run_config(&device, &text, config(4, 64)));
    assert_eq!(report.source.as_deref(), Some("kernels/example.cu:17"));
    assert!(
        report.to_string().contains("kernel test, block (3, 0, 0), thread (63, 0, 0), kernels/example.cu:17"),
        "{report}"
    );
}

#[test]
fn memory_that_was_freed_is_named() {
    let device = device();
    let stream = device.context.default_stream();
    let kernel = device.kernel(&body("ld.global.u64 %rd7, [%rd5];"));
    let dangling = {
        let gone: CudaSlice<u64> = stream.alloc_zeros(64).unwrap();
        let (pointer, _sync) = cudarc::driver::DevicePtr::device_ptr(&gone, &stream);
        pointer
    };
    // SAFETY: the mistake under test.
    unsafe { stream.launch_builder(&kernel).arg(&dangling).arg(&dangling).launch(config(1, 1)).unwrap() };
    let report = device.expect(Check::UseAfterFree, stream.synchronize());
    assert!(report.message.contains("512 bytes"), "{report}");
}
