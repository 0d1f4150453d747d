//! Plain functions run at the parties: what goes in, what comes back, what stays.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use crate::support::{both, local};
use cryptgpu_core::cluster::{Cluster, ClusterError, OnlyAt, PerParty, Plain, Result, SelfTest};
use cryptgpu_core::device::Tensor;
use cryptgpu_core::mpc::{CheckRange, MpcError, Party, Rep, RepBits, Settings};
use cryptgpu_core::net::PartyId;
use cryptgpu_core::nn::WeightSource;
use cryptgpu_core::ring::Ring;
use cryptgpu_datasets::bundled;
use ndarray::{Array1, Array2, ArrayD, array};

fn inner_product(p: &mut Party, (x, y): (Rep, Rep)) -> Result<Rep> {
    let z = p.step("products", |p| p.mul(&x, &y))?;
    Ok(z.sum())
}

#[test]
fn a_function_computes_on_shares_and_leaves_a_share() {
    both(|cluster| {
        let (x, y) = (cluster.share(&array![1.5, -2.0, 3.0]).unwrap(), cluster.share(&array![4.0, 5.0, 0.5]).unwrap());
        let run = cluster.run(inner_product, (&x, &y)).unwrap();
        assert_eq!(run.reveal().unwrap(), array![-2.5].into_dyn());
        assert_eq!(run.output().unwrap().shape(), [1]);
        assert!(run.rounds() > 0 && run.bytes() > 0);
        // The same handles, another function, a closure this time.
        let doubled = cluster.run(|_: &mut Party, x: Rep| -> Result<Rep> { Ok(x.mul_word(2)) }, &x).unwrap();
        assert_eq!(doubled.reveal().unwrap(), array![3.0, -4.0, 6.0].into_dyn());
    });
}

/// The same in the ring of 32 bits: odd numbers of elements, and as many bits as are packed otherwise in 64.
#[test]
fn a_cluster_computes_in_the_ring_of_its_codec() {
    let settings = Settings { codec: Ring::Z32.into(), ..Settings::default() };
    let cluster = Cluster::in_memory().computing(settings).start().unwrap();
    let (x, y) = (cluster.share(&array![1.5, -2.0, 3.0]).unwrap(), cluster.share(&array![4.0, 5.0, 0.5]).unwrap());
    let run = cluster.run(inner_product, (&x, &y)).unwrap();
    assert_eq!(run.reveal().unwrap(), array![-2.5].into_dyn());
    assert_eq!(x.reveal_words().unwrap(), array![6144, (1 << 32) - 8192, 12288].into_dyn());
    let negative = |p: &mut Party, x: Rep| -> Result<RepBits> { Ok(p.sign(&x)?) };
    let many = Array1::from_iter((0..511).map(|i| f64::from(i % 7 - 3)));
    let bits = cluster.run(negative, cluster.share(&many).unwrap()).unwrap().reveal().unwrap();
    assert_eq!(bits, many.mapv(|x| x < 0.0).into_dyn());
    let known = x.reveal_to(PartyId::P1).unwrap();
    let length = |_: &mut Party, x: Option<Tensor>| -> Result<Option<usize>> { Ok(x.map(|x| x.len())) };
    assert_eq!(cluster.run(length, &known).unwrap().outputs, [None, Some(3), None]);
    // A network as well, at about half of the bytes.
    let digits = bundled::mnist_test_1000().unwrap();
    let long = Cluster::in_memory().start().unwrap();
    let [long, short] = [&long, &cluster].map(|cluster| {
        let lenet = cluster.load_model("lenet", WeightSource::Bundled).unwrap();
        cluster.infer(&lenet, &digits.batch(0..5).unwrap()).unwrap()
    });
    assert_eq!(short.predictions(), long.predictions());
    let error = (&short.scores - &long.scores).iter().fold(0.0, |largest: f64, error| largest.max(error.abs()));
    assert!(error < 0.05, "largest error of a score: {error}");
    assert!(short.bytes() * 100 < long.bytes() * 52, "{} bytes of {}", short.bytes(), long.bytes());
    // What would not fit is refused by name.
    let error = cluster.share(&array![3e5]).unwrap_err().to_string();
    assert!(error.contains("12 fraction bits") && error.contains("2^18"), "{error}");
}

/// In the ring of 32 bits values beyond the range are found unless somebody says otherwise.
#[test]
fn a_cluster_of_the_ring_of_32_bits_checks_ranges() {
    let square = |p: &mut Party, x: Rep| -> Result<Rep> { Ok(p.mul(&x, &x)?) };
    let builder = || Cluster::in_memory().ring(Ring::Z32);
    let (checks, trusts) = (builder().start().unwrap(), builder().check_range(CheckRange::Off).start().unwrap());
    for (value, fits) in [(7.5, true), (9.0, false)] {
        let values = array![value, 1.0];
        let [checked, trusted] = [&checks, &trusts].map(|at| at.run(square, at.share(&values).unwrap()));
        assert!(trusted.is_ok());
        match checked {
            Ok(run) => assert!(fits && (run.reveal().unwrap()[0] - 56.25).abs() < 1e-3),
            Err(error) => assert!(!fits && error.to_string().contains("left the range"), "{error}"),
        }
    }
}

#[test]
fn processes_are_not_this_one() {
    fn pid(_: &mut Party, (): ()) -> Result<u32> {
        Ok(std::process::id())
    }
    let cluster = local().start().unwrap();
    let run = cluster.run(pid, ()).unwrap();
    assert_eq!(run.outputs.to_vec(), cluster.pids());
    assert!(!run.outputs.contains(&std::process::id()));
    assert!(matches!(run.output(), Err(ClusterError::Disagree { .. })));
    let cluster = Cluster::in_memory().start().unwrap();
    assert_eq!(cluster.run(pid, ()).unwrap().output().unwrap(), std::process::id());
}

#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
struct Options {
    name: String,
    rates: Vec<f32>,
}

#[test]
fn plain_values_arrive_and_come_back_as_they_are() {
    type Numbers = (u8, i64, f64, bool, char, usize);
    type Lists = (Vec<f64>, [u32; 2], Option<String>, Array2<f64>, ArrayD<u64>, Plain<Options>);

    fn echo(p: &mut Party, (numbers, lists): (Numbers, Lists)) -> Result<(Numbers, Lists, PartyId)> {
        let _ = p.id();
        Ok((numbers, lists, PartyId::P0))
    }

    both(|cluster| {
        let numbers = (7, i64::MIN, f64::MAX, true, 'ℤ', usize::MAX);
        let matrix = Array2::from_shape_fn((3, 4), |(i, j)| i as f64 - 0.5 * j as f64);
        let words = array![[1u64, u64::MAX]].into_dyn();
        let options = Options { name: "LeNet".into(), rates: vec![0.5, f32::MIN] };
        let arguments = (numbers, (&vec![0.1, -0.0], [1u32, 2], Some("text"), matrix.view(), &words, Plain(&options)));
        let run = cluster.run(echo, arguments).unwrap();
        let (numbers_back, lists, _) = run.output().unwrap();
        assert_eq!(numbers_back, numbers);
        assert_eq!(lists, (vec![0.1, -0.0], [1, 2], Some("text".into()), matrix, words, options));
        // Nothing at all.
        assert_eq!(cluster.run(|_: &mut Party, (): ()| -> Result<()> { Ok(()) }, ()).unwrap().output().unwrap(), ());
        let none: [Vec<f64>; 3] = cluster.run(nothing, Array1::zeros(0)).unwrap().outputs;
        assert_eq!(none, [const { Vec::<f64>::new() }; 3]);
    });
}

fn nothing(_: &mut Party, x: Array1<f64>) -> Result<Vec<f64>> {
    Ok(x.to_vec())
}

#[test]
fn each_party_gets_its_own_and_one_gets_what_is_for_it_alone() {
    fn told(_: &mut Party, (own, secret): (u64, Option<String>)) -> Result<(u64, Option<String>)> {
        Ok((own, secret))
    }

    both(|cluster| {
        let run = cluster.run(told, (PerParty([5, 6, 7]), OnlyAt(PartyId::P2, "hush"))).unwrap();
        assert_eq!(run.outputs, [(5, None), (6, None), (7, Some("hush".to_owned()))]);
    });
}

#[test]
fn a_private_input_is_shared_by_its_owner() {
    fn share_it(p: &mut Party, (value, len): (Option<Array1<f64>>, usize)) -> Result<Rep> {
        let device = p.device();
        let words = value.map(|value| p.codec().encode_array(&value)).transpose()?;
        let tensor = words.map(|words| Tensor::from_array(device, &words));
        Ok(p.input(PartyId::P1, tensor.as_ref(), &[len])?)
    }

    both(|cluster| {
        let value = array![2.5, -1.0];
        let shared = cluster.run(share_it, (OnlyAt(PartyId::P1, &value), 2)).unwrap();
        assert_eq!(shared.reveal().unwrap(), value.into_dyn());
    });
}

#[test]
fn bits_and_words_are_left_and_opened() {
    fn signs(p: &mut Party, x: Rep) -> Result<(RepBits, Vec<Rep>)> {
        let bits = p.sign(&x)?;
        Ok((bits, vec![x.neg(), x]))
    }
    fn select(p: &mut Party, (bits, x): (RepBits, Rep)) -> Result<Rep> {
        Ok(p.bit_product(&bits, &x)?)
    }

    both(|cluster| {
        let words = Array1::from_iter((0..700u64).map(|i| i.wrapping_sub(350).wrapping_mul(1 << 40)));
        let x = cluster.share_words(&words).unwrap();
        let run = cluster.run(signs, &x).unwrap();
        let (bits, lists) = run.output().unwrap();
        let expected = words.mapv(|word| word >> 63 == 1).into_dyn();
        assert_eq!(bits.reveal().unwrap(), expected);
        assert_eq!(lists[0].reveal_words().unwrap(), words.mapv(u64::wrapping_neg).into_dyn());
        let selected = cluster.run(select, (&bits, &lists[1])).unwrap().reveal_words().unwrap();
        assert_eq!(selected, words.mapv(|word| if word >> 63 == 1 { word } else { 0 }).into_dyn());
    });
}

#[test]
fn what_is_revealed_to_a_party_lives_there_alone() {
    fn look(_: &mut Party, seen: Option<Tensor>) -> Result<Option<ArrayD<u64>>> {
        Ok(seen.map(|tensor| tensor.to_array()).transpose()?)
    }
    fn open_to_zero(p: &mut Party, x: Rep) -> Result<Option<Tensor>> {
        Ok(p.open_to(PartyId::P0, &x)?)
    }

    both(|cluster| {
        let words = array![1u64, 2, 3];
        let x = cluster.share_words(&words).unwrap();
        let revealed = x.reveal_to(PartyId::P2).unwrap();
        assert_eq!((revealed.party(), revealed.shape()), (PartyId::P2, &[3][..]));
        let seen = cluster.run(look, &revealed).unwrap().outputs;
        assert_eq!(seen, [None, None, Some(words.clone().into_dyn())]);
        let opened = cluster.run(open_to_zero, &x).unwrap().output().unwrap();
        assert_eq!(opened.party(), PartyId::P0);
        assert_eq!(cluster.run(look, &opened).unwrap().outputs[0], Some(words.into_dyn()));
    });
}

#[test]
fn a_tensor_goes_when_its_last_handle_does() {
    fn same(_: &mut Party, x: Rep) -> Result<Rep> {
        Ok(x)
    }
    fn idle(_: &mut Party, (): ()) -> Result<()> {
        Ok(())
    }

    both(|cluster| {
        let held = || cluster.run(idle, ()).unwrap().usage.each_ref().map(|usage| usage.held_bytes);
        let x = cluster.share_words(&Array1::zeros(100)).unwrap();
        assert_eq!(held(), [1600; 3]);
        let (again, run) = (x.clone(), cluster.run(same, &x).unwrap());
        assert_eq!(held(), [3200; 3]);
        drop(x);
        assert_eq!(held(), [3200; 3]);
        drop((again, run));
        assert_eq!(held(), [0; 3]);
        // A handle that is given away is good for the run that it is given to.
        let gone = cluster.run(same, cluster.share_words(&Array1::zeros(10)).unwrap()).unwrap();
        assert_eq!(gone.reveal_words().unwrap().len(), 10);
        assert_eq!(held(), [160; 3]);
    });
}

#[test]
fn a_large_share_does_not_pass_the_caller() {
    fn make(p: &mut Party, len: usize) -> Result<Rep> {
        Ok(Rep::public(p.id(), &Tensor::full(p.device(), &[len], 3)))
    }
    fn double(_: &mut Party, x: Rep) -> Result<Rep> {
        Ok(x.mul_word(2))
    }
    fn total(p: &mut Party, x: Rep) -> Result<u64> {
        Ok(p.open(&x.sum())?.to_array()?[0])
    }

    let cluster = local().start().unwrap();
    let elements = 100_000_000 / 8;
    let made = cluster.run(make, elements).unwrap();
    assert!(made.usage[0].held_bytes >= 200_000_000);
    let doubled = cluster.run(double, made.output().unwrap()).unwrap();
    let total = cluster.run(total, doubled.output().unwrap()).unwrap();
    assert_eq!(total.output().unwrap(), 6 * elements as u64);
    for bytes in [made.control_bytes, doubled.control_bytes, total.control_bytes] {
        assert!(bytes > 0 && bytes < 10_000, "{bytes} bytes went through the caller");
    }
    // What does go through it is counted.
    let revealed = cluster.share_words(&Array1::<u64>::zeros(1000)).unwrap();
    let run = cluster.run(|_: &mut Party, x: Array1<u64>| -> Result<usize> { Ok(x.len()) }, Array1::zeros(1000));
    assert!(run.unwrap().control_bytes > 24_000);
    assert_eq!(revealed.reveal_words().unwrap().len(), 1000);
}

#[test]
fn errors_of_protocols_keep_party_and_step() {
    fn mismatched(p: &mut Party, x: Rep) -> Result<Rep, MpcError> {
        p.step("layer", |p| {
            let short = Rep::public(p.id(), &Tensor::full(p.device(), &[1], 0));
            p.mul(&x, &short)
        })
    }
    fn mine(p: &mut Party, x: Rep) -> Result<Rep, String> {
        if p.id() == PartyId::P1 { Err("out of cheese".into()) } else { p.relu(&x).map_err(|e| e.to_string()) }
    }

    both(|cluster| {
        let x = cluster.share(&array![1.0, 2.0]).unwrap();
        let error = cluster.run(mismatched, &x).unwrap_err();
        let ClusterError::Job { job, failure, .. } = &error else { panic!("{error}") };
        assert_eq!((job.as_str(), failure.step.as_str()), ("mismatched", "layer"));
        let x = cluster.share(&array![1.0, 2.0]).unwrap();
        let error = cluster.run(mine, &x).unwrap_err();
        assert_eq!(error.party(), Some(PartyId::P1), "{error}");
        assert!(error.to_string().contains("out of cheese"), "{error}");
        let _ = cluster.run_job(SelfTest::quick()).unwrap();
    });
}

/// Not a test of its own: what the next test runs, to read what it prints.
#[test]
fn printing_parties() {
    fn print(p: &mut Party, (): ()) -> Result<()> {
        println!("out of {}", p.id());
        eprintln!("err of {}", p.id());
        print!("cut");
        Ok(())
    }
    if std::env::var_os("CRYPTGPU_TEST_PRINTS").is_none() {
        return;
    }
    let cluster = local().start().unwrap();
    cluster.run(print, ()).unwrap();
    println!("the end");
}

#[test]
fn what_a_party_prints_appears_with_its_name_and_before_the_result() {
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "functions::printing_parties", "--nocapture"])
        .env("CRYPTGPU_TEST_PRINTS", "1")
        .output()
        .unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let (before, _) = out.split_once("the end").unwrap();
    for party in PartyId::ALL {
        for line in [format!("[P{party}] out of {party}\n"), format!("[P{party}] cut\n")] {
            assert!(before.contains(&line), "{out}");
        }
        assert!(err.contains(&format!("[P{party}] err of {party}\n")), "{err}");
    }
    assert!(!out.contains('\u{1e}') && !err.contains('\u{1e}'));
}
