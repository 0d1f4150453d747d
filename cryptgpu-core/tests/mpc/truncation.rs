//! Ten million random products near the top of the range of each ring, truncated without one wrong value.
//! `cargo run --release --example truncation` does the same for as many as wanted.

#![allow(clippy::unwrap_used, clippy::panic)]

#[path = "../../examples/truncation/check.rs"]
mod check;

use cryptgpu_core::ring::Ring;

#[test]
fn ten_million_products_near_the_top_of_the_range() {
    for ring in [Ring::Z64, Ring::Z32] {
        let report = check::run(ring, 10_000_000, 2026, |_| {}).unwrap();
        assert_eq!(report.products, 10_000_000);
        assert_eq!(report.wrong, 0, "{ring}: {report:?}");
        assert!(report.rounded_up > 4_000_000 && report.rounded_up < 6_000_000, "{ring}: {report:?}");
    }
}
