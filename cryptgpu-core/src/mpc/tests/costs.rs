//! Costs of whole compositions, and the figures the documentation promises.

use super::{RINGS, array, evaluate, samples_in};
use crate::mpc::{CheckRange, Cost, Fidelity, Settings, World, cost};
use crate::net::Stats;
use crate::ring::Ring;

#[test]
fn a_relu_sends_at_most_87_bytes_an_element_and_a_product_28() {
    let n = 1 << 16;
    let window = crate::device::SignWindow::default();
    assert!(cost::relu(Ring::Z64, n, window).bytes <= 87 * n as u64);
    assert_eq!(cost::relu(Ring::Z64, n, window).rounds, 8);
    assert!(cost::truncate_product(Ring::Z64, n, 20).bytes <= 28 * n as u64);
    let short = crate::device::SignWindow::new(0, 32).unwrap();
    assert!(cost::relu(Ring::Z64, n, short).bytes <= 63 * n as u64);
    // In 32 bits about half, and a round less: 12 bytes of a product and its d + 2 bits, 22 of a sign, 20 1/8 of a bit product.
    let of = |cost: Cost| (cost.bytes as f64 / n as f64, cost.rounds);
    assert_eq!(of(cost::reshare(Ring::Z32, n)), (12.0, 1));
    assert_eq!(of(cost::truncate_product(Ring::Z32, n, 12)), (13.75, 3));
    assert_eq!(of(cost::truncate_shared(Ring::Z32, n, 12)), (8.5, 2));
    assert_eq!(of(cost::sign(Ring::Z32, n, window)), (22.0, 5));
    assert_eq!(of(cost::relu(Ring::Z32, n, window)), (42.125, 7));
    assert_eq!(of(cost::open(Ring::Z32, n)), (12.0, 1));
    assert_eq!(of(cost::extend(n)), (20.0, 2));
    // An odd number of elements fills whole words.
    assert_eq!(cost::open(Ring::Z32, 7).bytes, 3 * 8 * 4);
}

#[test]
fn a_chain_of_protocols_costs_their_sum() {
    // Every part has elements, so every protocol's last round is waited for by the next.
    for (ring, n) in RINGS.into_iter().flat_map(|ring| [(ring, 40_000), (ring, 2559)]) {
        let cut = 5 * ring.bits() / 8;
        let x = array(&[n], samples_in(ring, n, 3).iter().map(|w| (*w as i64 >> cut) as u64).collect());
        evaluate(&World::seeded(1).in_ring(ring), &[x], |p, v| {
            let y = p.relu(v[0])?;
            let y = p.mul(&y, v[0])?;
            let y = p.truncate(&y, 3)?;
            p.maximum(&y, v[0])
        });
    }
}

/// The same bits and bytes as one after the other, in a round less; in as many where the truncation has nothing to leave.
#[test]
fn a_relu_begins_behind_a_truncation() {
    let exact = Settings::default();
    let paper = Settings { fidelity: Fidelity::Paper, ..exact };
    let checking = Settings { check_range: CheckRange::Run, ..exact };
    let short = Settings { codec: Ring::Z32.into(), ..exact };
    let short_checking = Settings { codec: Ring::Z32.into(), ..checking };
    for (settings, cut, sooner) in [
        (exact, 20, 1),
        (exact, 0, 0),
        (paper, 20, 0),
        (checking, 20, 0),
        (short, 12, 1),
        (short, 0, 0),
        (short_checking, 12, 0),
    ] {
        let (n, ring) = (40_000, settings.codec.ring());
        let mut world = World::seeded(1);
        world.settings = settings;
        let narrow = if ring == Ring::Z64 { 34 } else { 21 };
        let x = world.deal(&array(&[n], samples_in(ring, n, 3).iter().map(|w| (*w as i64 >> narrow) as u64).collect()));
        let run = |behind: bool| {
            world.run_counted(|p| {
                let x = &x[p.id().index()];
                let product = x.to_additive().mul_word(3 << cut.max(12));
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
