//! Numbers as people read them: a few significant digits, bytes with a unit, durations in the unit that fits.

use std::time::Duration;

/// A number to `digits` significant digits, in scientific notation where it would have many zeroes.
///
/// ```
/// use cryptgpu_core::show::number_text;
///
/// assert_eq!(number_text(0.019999, 5), "0.019999");
/// assert_eq!(number_text(123456.7, 5), "123457");
/// assert_eq!(number_text(1e-7, 5), "1.000e-7");
/// ```
pub fn number_text(number: f64, digits: usize) -> String {
    if number == 0.0 || !number.is_finite() {
        return number.to_string();
    }
    let magnitude = number.abs().log10().floor();
    if !(-4.0..9.0).contains(&magnitude) {
        return format!("{number:.*e}", digits.saturating_sub(1).min(3));
    }
    let decimals = (digits as f64 - 1.0 - magnitude).max(0.0) as usize;
    let text = format!("{number:.decimals$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// Bytes with a decimal unit, to three digits: `96 B`, `26.8 kB`, `1.96 MB`.
pub fn bytes_text(bytes: u64) -> String {
    let number = bytes as f64;
    match bytes {
        0..1_000 => format!("{bytes} B"),
        1_000..1_000_000 => format!("{} kB", number_text(number / 1e3, 3)),
        1_000_000..1_000_000_000 => format!("{} MB", number_text(number / 1e6, 3)),
        _ => format!("{} GB", number_text(number / 1e9, 3)),
    }
}

/// A duration to three digits: `850 µs`, `19.3 ms`, `4.65 s`.
pub fn duration_text(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    let (factor, unit) = if seconds < 1e-3 {
        (1e6, "µs")
    } else if seconds < 1.0 {
        (1e3, "ms")
    } else {
        (1.0, "s")
    };
    format!("{} {unit}", number_text(seconds * factor, 3))
}

/// Seconds since 1970 as a date and a time of day, in UTC, as RFC 3339 writes them.
///
/// ```
/// assert_eq!(cryptgpu_core::show::time_text(951_826_332), "2000-02-29T12:12:12Z");
/// ```
pub fn time_text(seconds: u64) -> String {
    // Days to dates by counting from 1 March of year 0, so that the leap day is a year's last (H. Hinnant,
    // chrono-compatible low-level date algorithms).
    let (days, second) = (seconds / 86_400 + 719_468, seconds % 86_400);
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + 400 * era + u64::from(month <= 2);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_so_many_digits() {
        let shown = [0.0, 0.0199999, 9.31, 123456.7, 1e-7, 2.5e12, -0.5].map(|number| number_text(number, 5));
        assert_eq!(shown, ["0", "0.02", "9.31", "123457", "1.000e-7", "2.500e12", "-0.5"]);
        assert_eq!(number_text(0.0123456, 3), "0.0123");
        assert_eq!([f64::NAN, f64::INFINITY].map(|number| number_text(number, 3)), ["NaN", "inf"]);
    }

    #[test]
    fn bytes_and_durations_have_the_unit_that_fits() {
        let shown = [0, 999, 26_750, 1_963_888, 4_121_000_000].map(bytes_text);
        assert_eq!(shown, ["0 B", "999 B", "26.8 kB", "1.96 MB", "4.12 GB"]);
        let shown = [850e-6, 0.01934, 4.6549, 0.0].map(|seconds| duration_text(Duration::from_secs_f64(seconds)));
        assert_eq!(shown, ["850 µs", "19.3 ms", "4.65 s", "0 µs"]);
    }
}
