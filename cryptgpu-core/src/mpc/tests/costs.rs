//! Costs of whole compositions, and the figures the documentation promises.

use super::{array, evaluate, samples};
use crate::mpc::{CheckRange, Fidelity, Settings, World, cost};
use crate::net::Stats;

#[test]
fn a_relu_sends_at_most_87_bytes_an_element_and_a_product_28() {
    let n = 1 << 16;
    let window = crate::device::SignWindow::default();
    assert!(cost::relu(n, window).bytes <= 87 * n as u64);
    assert_eq!(cost::relu(n, window).rounds, 8);
    assert!(cost::truncate_product(n, 20).bytes <= 28 * n as u64);
    let short = crate::device::SignWindow::new(0, 32).unwrap();
    assert!(cost::relu(n, short).bytes <= 63 * n as u64);
}

#[test]
fn a_chain_of_protocols_costs_their_sum() {
    // Every part has elements, so every protocol's last round is waited for by the next.
    let n = 40_000;
    let x = array(&[n], samples(n, 3).iter().map(|w| (*w as i64 >> 40) as u64).collect());
    evaluate(&World::seeded(1), &[x], |p, v| {
        let y = p.relu(v[0])?;
        let y = p.mul(&y, v[0])?;
        let y = p.truncate(&y, 3)?;
        p.maximum(&y, v[0])
    });
}

/// The same bits and bytes as one after the other, in a round less; in as many where the truncation has nothing to leave.
#[test]
fn a_relu_begins_behind_a_truncation() {
    let exact = Settings::default();
    let paper = Settings { fidelity: Fidelity::Paper, ..exact };
    let checking = Settings { check_range: CheckRange::Run, ..exact };
    for (settings, cut, sooner) in [(exact, 20, 1), (exact, 0, 0), (paper, 20, 0), (checking, 20, 0)] {
        let n = 40_000;
        let mut world = World::seeded(1);
        world.settings = settings;
        let x = world.deal(&array(&[n], samples(n, 3).iter().map(|w| (*w as i64 >> 34) as u64).collect()));
        let run = |behind: bool| {
            world.run_counted(|p| {
                let x = &x[p.id().index()];
                let product = x.to_additive().mul_word(3 << 20);
                let (y, bits) = if behind {
                    let y = p.begin_truncation(product, cut).unwrap().plus(x).unwrap();
                    assert!(format!("{y:?}").contains(if sooner == 1 { "missing" } else { "complete" }));
                    p.relu_kept_behind(y.reshape(&[n / 8, 8]).unwrap()).unwrap()
                } else {
                    let y = p.truncate_additive(product, cut).unwrap().add(x).unwrap();
                    p.relu_kept(&y.reshape(&[n / 8, 8]).unwrap()).unwrap()
                };
                let bits = p.bits_to_ring(&bits).unwrap();
                let (y, bits) = (p.open(&y).unwrap().to_array(), p.open(&bits).unwrap().to_array());
                (y.unwrap(), bits.unwrap(), p.declared())
            })
        };
        let [one, behind] = [run(false), run(true)];
        let rounds = |run: &[_; 3]| run.iter().map(|(_, stats): &(_, Stats)| stats.rounds).max().unwrap();
        let bytes = |run: &[_; 3]| run.iter().map(|(_, stats): &(_, Stats)| stats.payload_bytes()).sum::<u64>();
        assert_eq!(rounds(&behind) + sooner, rounds(&one), "{settings:?} {cut}");
        assert_eq!((bytes(&behind), rounds(&behind)), (behind[0].0.2.bytes, behind[0].0.2.rounds));
        assert_eq!(bytes(&behind), bytes(&one));
        assert!(behind[0].0.0 == one[0].0.0 && behind[0].0.1 == one[0].0.1);
        let ones = one[0].0.1.iter().filter(|&&bit| bit == 1).count();
        assert!(ones > 100 && ones < n - 100, "both signs: {ones}");
    }
}
