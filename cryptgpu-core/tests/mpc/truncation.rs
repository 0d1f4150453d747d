//! Ten million random products near the top of the range, truncated without one wrong value.
//! `cargo run --release --example truncation` does the same for as many as wanted.

#![allow(clippy::unwrap_used, clippy::panic)]

#[path = "../../examples/truncation/check.rs"]
mod check;

#[test]
fn ten_million_products_near_the_top_of_the_range() {
    let report = check::run(10_000_000, 2026, |_| {}).unwrap();
    assert_eq!(report.products, 10_000_000);
    assert_eq!(report.wrong, 0, "{report:?}");
    assert!(report.rounded_up > 4_000_000 && report.rounded_up < 6_000_000, "{report:?}");
}
