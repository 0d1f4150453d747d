//! What goes wrong on a card is an error of who computed it: it travels with the words, names party and
//! step, and leaves everything else alone.

use super::Body;
use super::alone::{alone, is_alone};
use super::data::words;
use cryptgpu_core::device::{Binary, Device, DeviceError, Tensor, Unary, kernels};
use cryptgpu_core::mpc::{MpcError, Rep, RepXor, World};
use cryptgpu_core::ring::Ring;
use ndarray::{Array1, array};

pub const BODIES: &[(&str, Body)] = &[
    ("a_card_that_is_not_there", a_card_that_is_not_there),
    ("memory_that_cannot_be_had", memory_that_cannot_be_had),
    ("a_launch_that_is_refused", a_launch_that_is_refused),
    ("operands_on_different_devices", operands_on_different_devices),
    ("a_fault_ends_the_use_of_the_card", a_fault_ends_the_use_of_the_card),
    ("a_party_names_itself_and_its_step", a_party_names_itself_and_its_step),
];

/// More than any card has: 8 TiB.
const TOO_MANY: usize = 1 << 40;

fn a_card_that_is_not_there(_: Device) {
    let absent = Device::Cuda(63);
    assert!(absent.open().is_err());
    let x = Tensor::new(absent.upload(vec![1, 2, 3]), &[3]).unwrap();
    let y = x.binary("add", Binary::Add, &x).unwrap();
    for tensor in [x, y] {
        let error = tensor.to_array().unwrap_err();
        assert!(matches!(error, DeviceError::Unavailable { .. }), "{error}");
        assert!(error.to_string().contains("cuda:63"), "{error}");
    }
    assert!(absent.zeros(4).into_host().is_err());
    assert!(absent.trim().is_err());
}

fn memory_that_cannot_be_had(card: Device) {
    let before = card.memory_use().unwrap().in_use;
    let good = card.upload(words(10, 1));
    let too_large = card.alloc(TOO_MANY);
    let mut derived = card.alloc(10);
    kernels::binary(Ring::Z64, Binary::Add, good.view(), too_large.slice(0..10), derived.view_mut());
    // Words computed from words that are not there are not there either, in copies and parts as well.
    let copy = derived.slice(2..7).to_buffer();
    for buffer in [&too_large, &derived, &copy] {
        let error = buffer.slice(0..1).to_host().unwrap_err();
        assert!(matches!(error, DeviceError::Memory { device, .. } if device == card), "{error}");
        assert!(error.to_string().contains("smaller batch"), "{error}");
    }
    // The card goes on.
    assert_eq!(good.into_host().unwrap(), words(10, 1));
    drop((too_large, derived, copy));
    assert_eq!(card.memory_use().unwrap().in_use, before);
}

fn a_launch_that_is_refused(card: Device) {
    let (x, y) = (card.upload(words(10, 1)), card.upload(words(9, 2)));
    let mut out = card.upload(vec![0; 10]);
    kernels::binary(Ring::Z64, Binary::Add, x.view(), y.view(), out.view_mut());
    let error = out.view().to_host().unwrap_err();
    assert!(matches!(error, DeviceError::Kernel { .. }), "{error}");
    assert!(error.to_string().contains('9') && error.to_string().contains("10"), "{error}");
    // A good launch into words that are wrong in part does not make them right.
    kernels::unary(Ring::Z64, Unary::Add(1), x.slice(0..4), out.slice_mut(0..4));
    assert!(out.into_host().is_err());
    assert_eq!(x.into_host().unwrap(), words(10, 1));
}

fn operands_on_different_devices(card: Device) {
    let [here, there] = [Device::Cpu, card].map(|device| Tensor::full(device, &[4, 4], 3));
    let errors = [
        here.binary("add", Binary::Add, &there).unwrap_err(),
        there.binary("add", Binary::Add, &here).unwrap_err(),
        Tensor::concat(&[&here, &there]).unwrap_err(),
        Tensor::matmul_sum(&[(&here, &here), (&here, &there)], [false; 2]).unwrap_err(),
        Rep::from_components(here.clone(), there.clone()).unwrap_err(),
        RepXor::from_components(there.clone(), here.clone(), 20).unwrap_err(),
    ];
    for error in errors {
        assert!(matches!(error, DeviceError::Mixed { .. }), "{error}");
        assert!(error.to_string().contains(&card.to_string()) && error.to_string().contains("cpu"), "{error}");
    }
    // A party refuses shares that live elsewhere before it sends anything.
    let world = World { devices: [card, Device::Cpu, Device::Cpu], ..World::seeded(1) };
    let shares = World::seeded(1).deal(&array![1u64, 2, 3]);
    let [first, ..] = world.run(|p| p.step("compare", |p| p.relu(&shares[p.id().index()])));
    let error = first.unwrap_err();
    assert!(
        matches!(&error, MpcError::Device { source: DeviceError::Mixed { .. }, .. }) && error.step() == "compare",
        "{error}"
    );
}

fn a_party_names_itself_and_its_step(card: Device) {
    let world = World { devices: [Device::Cpu, card, Device::Cpu], ..World::seeded(1) };
    // So many that every party waits for another: who deals alone waits for nobody.
    let n = 2_000;
    let shares = world.deal(&Array1::from_elem(n, 5u64));
    let results = world.run(|p| {
        let mut x = shares[p.id().index()].clone();
        if p.device() == card {
            // Words of a buffer that could not be had.
            let lost = card.alloc(TOO_MANY);
            let lost = Tensor::new(lost.slice(0..n).to_buffer(), &[n]).unwrap();
            x = Rep::from_components(lost.clone(), lost).unwrap();
        }
        p.step("layer 7", |p| p.relu(&x)).map(drop)
    });
    let error = results[1].as_ref().unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, MpcError::Device { source: DeviceError::Memory { .. }, .. }), "{text}");
    assert!(text.contains("party 1") && text.contains("layer 7") && text.contains("no memory"), "{text}");
    // The others do not wait for ever: the party that failed has closed its links.
    assert!(results[0].is_err() && results[2].is_err());
}

/// A kernel that writes where nothing is.
const BAD: &str = ".version 7.0\n.target sm_70\n.address_size 64\n.visible .entry bad()\n{\n.reg .b64 %rd<2>;\n\
                   mov.u64 %rd1, 4096;\nst.global.u64 [%rd1], %rd1;\nret;\n}\n";

fn a_fault_ends_the_use_of_the_card(card: Device) {
    let test = "failures::a_fault_ends_the_use_of_the_card";
    if !is_alone(test) {
        let output = alone(test, "CRYPTGPU_EMULATOR_QUIET", "1");
        let (out, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(out.contains("the fault was seen"), "{out}\n{errors}");
        return;
    }
    let good = card.upload(words(10, 1));
    assert_eq!(good.view().to_host().unwrap(), words(10, 1));
    // Behind this program's back, in the context that it uses.
    let context = cudarc::driver::CudaContext::new(0).unwrap();
    let bad = context.load_module(cudarc::nvrtc::Ptx::from_src(BAD)).unwrap().load_function("bad").unwrap();
    let stream = context.new_stream().unwrap();
    let config = cudarc::driver::LaunchConfig::for_num_elems(1);
    // SAFETY: it is not; that is what is tested, in a process of its own.
    unsafe { stream.launch_builder(&bad).launch(config) }.unwrap();
    let _ = stream.synchronize();
    let mut derived = card.alloc(10);
    kernels::unary(Ring::Z64, Unary::Add(1), good.view(), derived.view_mut());
    for buffer in [derived, good, card.zeros(3), card.upload(vec![1, 2])] {
        let error = buffer.into_host().unwrap_err();
        assert!(matches!(error, DeviceError::Fault { .. }), "{error}");
        assert!(error.to_string().contains("start the parties anew"), "{error}");
    }
    assert!(card.trim().is_err());
    println!("the fault was seen");
    // Nothing more can be asked of this card.
    std::process::exit(0);
}
