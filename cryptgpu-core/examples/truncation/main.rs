//! Truncates many random products near the top of the range and counts wrong values:
//! `cargo run --release -p cryptgpu-core --example truncation -- 1000000000`, with `32` behind it in the ring of 32 bits.

mod check;

use cryptgpu_core::ring::Ring;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let wanted = arguments.next().map_or(Ok(100_000_000), |n| n.parse());
    let ring = match arguments.next().as_deref() {
        None | Some("64") => Some(Ring::Z64),
        Some("32") => Some(Ring::Z32),
        Some(_) => None,
    };
    let (Ok(wanted), Some(ring)) = (wanted, ring) else {
        eprintln!("usage: truncation [NUMBER OF PRODUCTS [64 | 32]]");
        std::process::exit(2);
    };
    let start = std::time::Instant::now();
    let report =
        check::run(ring, wanted, 1, |done| eprintln!("{done} products, {:.0} s", start.elapsed().as_secs_f64()))?;
    println!(
        "{} products near the top of the range of {ring}: {} wrong, {} rounded up, {:.0} s",
        report.products,
        report.wrong,
        report.rounded_up,
        start.elapsed().as_secs_f64()
    );
    if report.wrong > 0 {
        std::process::exit(1);
    }
    Ok(())
}
