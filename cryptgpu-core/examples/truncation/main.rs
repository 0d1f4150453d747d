//! Truncates many random products near the top of the range and counts wrong values:
//! `cargo run --release -p cryptgpu-core --example truncation -- 1000000000`.

mod check;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let wanted = std::env::args().nth(1).map_or(Ok(100_000_000), |n| n.parse());
    let Ok(wanted) = wanted else {
        eprintln!("usage: truncation [NUMBER OF PRODUCTS]");
        std::process::exit(2);
    };
    let start = std::time::Instant::now();
    let report = check::run(wanted, 1, |done| eprintln!("{done} products, {:.0} s", start.elapsed().as_secs_f64()))?;
    println!(
        "{} products near the top of the range: {} wrong, {} rounded up, {:.0} s",
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
