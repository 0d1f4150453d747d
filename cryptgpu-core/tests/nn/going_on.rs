//! Training that goes on from a state: bit for bit with the keys that belong to it, and refused where the state is another's.
#![allow(clippy::unwrap_used)]

use crate::support::{every_operation, partly_seen, three};
use crate::training::{batch, begin, share, short, tiny};
use cryptgpu_core::mpc::{Party, RecordedMessage, Rep, Settings};
use cryptgpu_core::nn::training::{Adam, Optimizer, Sgd, SharedTraining, Train};
use cryptgpu_core::nn::{Graph, Weights};
use cryptgpu_core::ring::FixedPoint;
use ndarray::ArrayD;

/// From a state and the keys that go with it shares go on bit for bit, and so do messages; what was computed once for frozen layers is kept, too.
#[test]
fn from_a_state_with_its_keys_a_training_goes_on_bit_for_bit() {
    let frozen = vec!["bn2".to_owned(), "conv3".to_owned()];
    let momentum: Optimizer = Sgd::new(0.05).momentum(0.9);
    goes_on(&every_operation().unwrap(), frozen.clone(), momentum, Settings::default());
    goes_on(&every_operation().unwrap(), frozen, momentum, short());
    // Adam's moments are of 64 bits in the ring of 32, too.
    goes_on(&tiny(), vec![], Adam::new(0.01), short());
    // Weights of which some only ever sees padding.
    goes_on(&partly_seen().unwrap(), vec![], momentum, Settings::default());
    goes_on(&partly_seen().unwrap(), vec!["bn2".to_owned(), "conv3".to_owned()], Adam::new(0.01), short());
}

/// A state is that of a training with the same optimiser in the same ring.
#[test]
fn a_state_of_another_ring_or_optimiser_is_refused() {
    let (net, data) = (tiny(), batch(&tiny(), 3, 1));
    let of = |optimizer: Optimizer| Train { batch: 3, optimizer, ..Train::default() };
    let [adam, momentum] = [of(Adam::new(0.01)), of(Sgd::new(0.05).momentum(0.9))];
    let [errors, ..] = three(short(), |p| {
        let mut training = begin(p, &net, &Weights::seeded(&net, 5), &adam);
        let (x, t) = (share(p, &data.0), share(p, &data.1));
        let _ = training.step(p, &x, &t, 0.01, |_| {}).unwrap();
        let state = training.state();
        let again = |train, codec, state| {
            SharedTraining::from_state(p.id(), &net, train, codec, 1, state).unwrap_err().to_string()
        };
        let short = state.iter().map(|(name, rep)| (name.clone(), rep.reduce())).collect::<Vec<_>>();
        [
            again(&momentum, p.codec(), state.clone()),
            again(&adam, FixedPoint::default(), state),
            again(&adam, p.codec(), short),
        ]
    });
    for error in errors {
        assert!(error.contains("training state") && error.contains("32") && error.contains("64"), "{error}");
    }
}

/// A state from before weights were kept without what sees padding, and one without that part, are refused by tensor and shapes.
#[test]
fn a_state_with_whole_weights_or_without_what_is_unseen_is_refused() {
    let net = partly_seen().unwrap();
    let train = Train { batch: 3, optimizer: Sgd::new(0.05), ..Train::default() };
    let data = batch(&net, 3, 1);
    let [errors, ..] = three(Settings::default(), |p| {
        let mut training = begin(p, &net, &Weights::seeded(&net, 5), &train);
        let (x, t) = (share(p, &data.0), share(p, &data.1));
        let _ = training.step(p, &x, &t, 0.05, |_| {}).unwrap();
        let (state, codec) = (training.state(), p.codec());
        let whole = share(p, &ArrayD::zeros(vec![5, 6, 3, 3]));
        let again = |state: Vec<(String, Rep)>| {
            SharedTraining::from_state(p.id(), &net, &train, codec, 1, state).unwrap_err().to_string()
        };
        let with = |name: &str, of: &Rep| -> Vec<(String, Rep)> {
            state.iter().map(|(own, rep)| (own.clone(), if own == name { of.clone() } else { rep.clone() })).collect()
        };
        let without =
            |name: &str| -> Vec<(String, Rep)> { state.iter().filter(|(own, _)| own != name).cloned().collect() };
        let fewer = whole.reshape(&[270]).unwrap().narrow(0..7).unwrap();
        [
            again(with("conv3.weight", &whole)),
            again(with("conv3.weight.unseen", &fewer)),
            again(without("conv3.weight.unseen")),
        ]
    });
    let says: [&[&str]; 3] = [
        &["conv3.weight", "[5, 6, 1, 1]", "[5, 6, 3, 3]"],
        &["conv3.weight.unseen", "[240]", "[7]"],
        &["conv3.weight.unseen", "[240]"],
    ];
    for (error, says) in errors.iter().zip(says) {
        assert!(says.iter().all(|word| error.contains(word)), "{says:?}: {error}");
    }
}

/// Whether the messages are the same, word for word and in the same order. (Their positions are those among all of a party's messages.)
fn alike(a: &[RecordedMessage], b: &[RecordedMessage]) -> bool {
    let of =
        |message: &RecordedMessage| (message.from, message.step.clone(), message.kind.clone(), message.words.clone());
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| of(a) == of(b))
}

fn goes_on(net: &Graph, frozen: Vec<String>, optimizer: Optimizer, settings: Settings) {
    let with_factors = !frozen.is_empty();
    let train = Train { batch: 3, optimizer, frozen, ..Train::default() };
    let (weights, data) = (Weights::seeded(net, 5), batch(net, 3, 1));
    let same = three(settings, |p| {
        let mut training = begin(p, net, &weights, &train);
        let (x, t) = (share(p, &data.0), share(p, &data.1));
        // What the party has afterwards, and what it was sent meanwhile.
        let next = |training: &mut SharedTraining, p: &mut Party| -> (Vec<Vec<u64>>, Vec<RecordedMessage>) {
            p.insecure_record(1 << 24);
            let _ = training.step(p, &x, &t, optimizer.rate(), |_| {}).unwrap();
            let view = p.take_view().unwrap();
            assert!(view.omitted == 0 && view.messages.len() > 20, "{view:?}");
            let words = |rep: &Rep| [rep.components().0, rep.components().1].map(|x| x.view().to_host().unwrap());
            (training.state().iter().flat_map(|(_, rep)| words(rep)).collect(), view.messages)
        };
        let (standing, state, iteration, went_on) = p.with_own_keys(None, |p| {
            let _ = next(&mut training, p);
            let (standing, state, iteration) = (p.renew_keys(), training.state(), training.iteration());
            (standing, state, iteration, next(&mut training, p))
        });
        assert_eq!(state.iter().any(|(name, _)| name == "bn2.running_factor"), with_factors);
        assert_eq!(state.iter().any(|(name, _)| name.ends_with(".unseen")), net.name() == "partly-seen");
        let mut again = SharedTraining::from_state(p.id(), net, &train, p.codec(), iteration, state).unwrap();
        let other = next(&mut again.clone(), p);
        let again = p.with_own_keys(Some(&standing), |p| next(&mut again, p));
        let shares = [again.0 == went_on.0, other.0 == went_on.0];
        (shares, [again, other].map(|(_, messages)| alike(&messages, &went_on.1)))
    });
    assert_eq!(same, [([true, false], [true, false]); 3], "the same with these keys, and with others not");
}
