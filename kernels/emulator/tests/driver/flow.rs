//! The driver's functions through unmodified cudarc: contexts, streams, copies, modules and launches.

use super::common::{self, config, device, module};
use cudarc::driver::{LaunchConfig, PushKernelArg, sys};

/// `b[i] = 3 * a[i] + n` for `i < n`, as NVRTC writes it.
const SCALE: &str = r#"
.version 8.0
.target sm_80
.address_size 64

.visible .entry scale(
	.param .u64 scale_param_0,
	.param .u64 scale_param_1,
	.param .u32 scale_param_2
)
{
	.reg .pred 	%p<2>;
	.reg .b32 	%r<6>;
	.reg .b64 	%rd<10>;
	.loc	1 2 0

	ld.param.u64 	%rd1, [scale_param_0];
	ld.param.u64 	%rd2, [scale_param_1];
	ld.param.u32 	%r2, [scale_param_2];
	.loc	1 3 3
	mov.u32 	%r3, %ctaid.x;
	mov.u32 	%r4, %ntid.x;
	mov.u32 	%r5, %tid.x;
	mad.lo.s32 	%r1, %r3, %r4, %r5;
	setp.ge.s32 	%p1, %r1, %r2;
	@%p1 bra 	$L__BB0_2;

	cvta.to.global.u64 	%rd3, %rd1;
	mul.wide.s32 	%rd4, %r1, 8;
	add.s64 	%rd5, %rd3, %rd4;
	.loc	1 4 3
	ld.global.u64 	%rd6, [%rd5];
	mul.lo.s64 	%rd7, %rd6, 3;
	cvt.s64.s32 	%rd8, %r2;
	add.s64 	%rd9, %rd7, %rd8;
	cvta.to.global.u64 	%rd3, %rd2;
	add.s64 	%rd5, %rd3, %rd4;
	st.global.u64 	[%rd5], %rd9;

$L__BB0_2:
	ret;
}
	.file	1 "scale.cu"
"#;

#[test]
fn a_kernel_runs_through_cudarc() {
    let emulator = common::emulator();
    let device = device();
    let context = &device.context;
    assert_eq!(context.compute_capability().unwrap(), (8, 0));
    assert!(context.name().unwrap().contains("emulator"));
    let stream = context.default_stream();
    let kernel = module(context, SCALE).load_function("scale").unwrap();
    let a: Vec<u64> = (0..1000).map(|i| i * 0x1234_5678_9abc).collect();
    let on_device = stream.clone_htod(&a).unwrap();
    let mut out = stream.alloc_zeros::<u64>(1000).unwrap();
    // SAFETY: the arguments are those of the kernel.
    unsafe {
        stream.launch_builder(&kernel).arg(&on_device).arg(&mut out).arg(&1000i32).launch(config(8, 128)).unwrap();
    }
    let found = stream.clone_dtoh(&out).unwrap();
    assert_eq!(found, a.iter().map(|x| x.wrapping_mul(3).wrapping_add(1000)).collect::<Vec<_>>());
    assert!(emulator.statistics().kernels["scale"].executions >= 1);
}

#[test]
fn streams_events_and_pinned_memory_work_together() {
    let device = device();
    let context = &device.context;
    let (first, second) = (context.new_stream().unwrap(), context.new_stream().unwrap());
    let kernel = module(context, SCALE).load_function("scale").unwrap();
    // SAFETY: written before it is read.
    let mut pinned = unsafe { context.alloc_pinned::<u64>(256).unwrap() };
    pinned.as_mut_slice().unwrap().iter_mut().enumerate().for_each(|(i, x)| *x = i as u64);
    let mut a = first.alloc_zeros::<u64>(256).unwrap();
    let mut b = second.alloc_zeros::<u64>(256).unwrap();
    first.memcpy_htod(&pinned, &mut a).unwrap();
    // SAFETY: the arguments are those of the kernel.
    unsafe {
        second.launch_builder(&kernel).arg(&a).arg(&mut b).arg(&256i32).launch(config(2, 128)).unwrap();
    }
    second.memcpy_dtoh(&b, &mut pinned).unwrap();
    assert_eq!(pinned.as_slice().unwrap()[..3], [256, 259, 262]);
    let (free, total) = context.mem_get_info().unwrap();
    assert_eq!(total - free, 2 * 256 * 8);
}

#[test]
fn functions_tell_their_parameters_and_limits() {
    let device = device();
    let context = &device.context;
    let kernel = module(context, SCALE).load_function("scale").unwrap();
    assert_eq!(kernel.max_threads_per_block().unwrap(), 1024);
    assert!(kernel.num_regs().unwrap() >= 16);
    assert_eq!(kernel.occupancy_max_active_blocks_per_multiprocessor(256, 0, None).unwrap(), 8);
    kernel
        .set_attribute(sys::CUfunction_attribute_enum::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, 100 << 10)
        .unwrap();
    let beyond = LaunchConfig { grid_dim: (1, 1, 1), block_dim: (2048, 1, 1), shared_mem_bytes: 0 };
    // SAFETY: the launch is refused before its arguments are read.
    let refused = unsafe { context.default_stream().launch_builder(&kernel).launch(beyond) };
    assert_eq!(refused.unwrap_err().0, sys::CUresult::CUDA_ERROR_INVALID_VALUE);
}

#[test]
fn what_ptx_the_emulator_does_not_know_is_refused_with_its_line() {
    let emulator = common::emulator();
    let device = device();
    let context = &device.context;
    for (text, expected) in [
        ("mad.lo.s32", "mad.hello.s32"),
        ("setp.ge.s32", "setp.ge.f16"),
        ("mul.wide.s32", "wgmma.wide.s32"),
        ("ld.global.u64", "ld.tensor.u64"),
        ("mov.u32 	%r5, %tid.x", "mov.u32 	%r5, %clock"),
    ] {
        let broken = SCALE.replace(text, expected);
        let line = broken.lines().position(|line| line.contains(expected)).unwrap() as u32 + 1;
        let refused = context.load_module(cudarc::nvrtc::Ptx::from_src(broken)).unwrap_err();
        assert_eq!(refused.0, sys::CUresult::CUDA_ERROR_INVALID_PTX, "{expected}");
        let report = common::reports(emulator, context.ordinal()).pop().unwrap();
        assert_eq!((report.check, report.ptx_line), (cryptgpu_emulator::Check::Ptx, Some(line)), "{report}");
        assert!(report.source.unwrap().starts_with("scale.cu:"));
    }
}
