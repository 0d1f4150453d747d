//! The trace of a run at the parties, in processes and on threads.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use crate::support::both;
use cryptgpu_core::cluster::Result;
use cryptgpu_core::mpc::{Cost, Party, Rep, Side, cost};
use cryptgpu_core::net::{MAX_TRANSFERS, NO_STEP};
use cryptgpu_core::nn::WeightSource;
use cryptgpu_core::ring::Ring;
use ndarray::{Array1, ArrayD, array};

const N: usize = 1000;

fn layers(p: &mut Party, x: Rep) -> Result<Rep> {
    let y = p.step("layer", |p| {
        let y = p.step("square", |p| p.mul(&x, &x))?;
        let Cost { bytes, rounds } = cost::relu(Ring::Z64, N, p.window());
        p.step("relu", |p| {
            p.declare(rounds, bytes);
            p.relu(&y)
        })
    })?;
    for _ in 0..3 {
        p.step("opening", |p| {
            p.declare(2, 24 * N as u64);
            p.open(&y)
        })?;
    }
    Ok(y)
}

#[test]
fn a_run_has_a_trace_that_agrees_with_its_usage() {
    both(|cluster| {
        let x = cluster.share(&Array1::linspace(-1.0, 1.0, N)).unwrap();
        for _ in 0..2 {
            let run = cluster.run(layers, &x).unwrap();
            let trace = run.trace();
            for (timeline, usage) in trace.timelines().iter().zip(&run.usage) {
                assert_eq!(timeline.totals(), usage.stats, "party {}", timeline.party);
                assert!(u128::from(timeline.end_nanos - timeline.begin_nanos) >= usage.duration.as_nanos());
                assert!(!timeline.is_cut());
            }
            assert_eq!(trace.timelines().each_ref().map(|timeline| timeline.party.index()), [0, 1, 2]);
            let total = trace.total();
            assert_eq!((total.bytes(), total.rounds), (run.bytes(), run.rounds()));
            let steps: Vec<_> = trace.steps().iter().map(|step| (step.path.clone(), step.calls())).collect();
            let expected = [("layer", 1), ("layer/square", 1), ("layer/relu", 1), ("opening", 3)];
            assert_eq!(steps, expected.map(|(path, calls)| (path.to_owned(), calls)), "nothing was sent {NO_STEP}");
            let opening = trace.step("opening").unwrap();
            assert_eq!((opening.rounds, opening.bytes(), opening.messages()), (3, 3 * 24 * N as u64, 9));
            // One clock for all processes of this machine: nothing is received before it is sent.
            let messages = trace.messages();
            assert!(messages.len() as u64 == total.messages() && messages.len() < MAX_TRANSFERS);
            for message in messages {
                let receipt = message.receipt.expect("whatever was sent was received in the same run");
                assert!(receipt.at_nanos >= message.sent_nanos && receipt.step == message.step);
            }
        }
    });
}

#[test]
fn claims_stand_beside_what_was_counted() {
    both(|cluster| {
        let x = cluster.share(&Array1::<f64>::zeros(N)).unwrap();
        let claims = cluster.run(layers, &x).unwrap().claims();
        let steps: Vec<_> = claims.iter().map(|claim| claim.step.as_str()).collect();
        assert_eq!(steps, ["layer/relu", "opening", "opening", "opening"]);
        assert!(claims.iter().all(|claim| claim.holds()), "{claims:?}");
        assert_eq!(claims[1].counted, Cost { bytes: 24 * N as u64, rounds: 1 });
        // A run without claims has none of the run before.
        let none = cluster.run(|_: &mut Party, _: Rep| -> Result<()> { Ok(()) }, &x).unwrap();
        assert!(none.claims().is_empty() && none.trace().messages().is_empty());
        assert_eq!(none.trace().total().bytes(), 0);
    });
}

#[test]
fn an_inference_has_a_step_for_each_layer() {
    both(|cluster| {
        let lenet = cluster.load_model("lenet", WeightSource::Bundled).unwrap();
        let inference = cluster.infer(&lenet, &ArrayD::<f64>::zeros(vec![1, 1, 28, 28])).unwrap();
        let (trace, total) = (inference.trace(), inference.trace().total());
        assert_eq!(total.parties.map(|party| party.bytes()).iter().sum::<u64>(), inference.bytes());
        let layers: Vec<_> =
            trace.steps().into_iter().filter(|step| step.path != NO_STEP && step.bytes() > 0).collect();
        assert!(layers.len() >= 6, "{layers:?}");
        assert_eq!(layers.iter().map(|layer| layer.bytes()).sum::<u64>(), total.bytes());
        assert_eq!(layers.iter().map(|layer| layer.rounds).sum::<u64>(), total.rounds);
    });
}

/// Party 2 has fewer rounds behind it than the others when the second run begins; it is not charged with catching up.
#[test]
fn rounds_of_a_run_do_not_depend_on_what_ran_before() {
    fn two_of_three(p: &mut Party, (): ()) -> Result<()> {
        let [nonce] = p.nonces();
        match p.id().index() {
            0 => p.send(Side::Next, &p.with_nobody(nonce, &[4], 64)?, 64)?,
            1 => drop(p.receive(Side::Prev, &[4], 64)?),
            _ => {}
        }
        Ok(())
    }
    fn open(p: &mut Party, x: Rep) -> Result<()> {
        p.open(&x)?;
        Ok(())
    }

    both(|cluster| {
        let x = cluster.share(&array![1.0]).unwrap();
        assert_eq!(cluster.run(two_of_three, ()).unwrap().rounds(), 1);
        assert_eq!(cluster.run(open, &x).unwrap().rounds(), 1);
    });
}
