//! Costs of whole compositions, and the figures the documentation promises.

use super::{array, evaluate, samples};
use crate::mpc::{World, cost};

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
