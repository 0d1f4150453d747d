//! Numbers as people read them.

use cryptgpu_core::experiment::Cited;

/// Seconds with three digits: `19.2 ms`, `9.31 s`.
pub fn seconds(seconds: f64) -> String {
    if seconds < 1e-3 {
        format!("{} µs", digits(seconds * 1e6))
    } else if seconds < 1.0 {
        format!("{} ms", digits(seconds * 1e3))
    } else {
        format!("{} s", digits(seconds))
    }
}

/// A duration that is a guess: `42 s`, `3 min`, `2.5 h`.
pub fn time_left(seconds: f64) -> String {
    match seconds {
        seconds if seconds >= 5400.0 => format!("{:.1} h", seconds / 3600.0),
        seconds if seconds >= 90.0 => format!("{:.0} min", seconds / 60.0),
        seconds => format!("{seconds:.0} s"),
    }
}

/// Bytes in decimal units with three digits: `1.40 MB`.
pub fn bytes(bytes: f64) -> String {
    let (divisor, unit) = match bytes {
        bytes if bytes >= 1e9 => (1e9, "GB"),
        bytes if bytes >= 1e6 => (1e6, "MB"),
        bytes if bytes >= 1e3 => (1e3, "kB"),
        _ => return format!("{bytes:.0} B"),
    };
    format!("{} {unit}", digits(bytes / divisor))
}

/// Bytes in binary units, as memory is sold: `512 MiB`.
pub fn memory(bytes: u64) -> String {
    let mib = bytes as f64 / (1u64 << 20) as f64;
    if mib >= 1024.0 { format!("{} GiB", digits(mib / 1024.0)) } else { format!("{} MiB", digits(mib)) }
}

/// A count with its digits in groups: `15,220`.
pub fn count(count: u64) -> String {
    let text = count.to_string();
    let groups: Vec<&str> = text.as_bytes().rchunks(3).rev().filter_map(|group| str::from_utf8(group).ok()).collect();
    groups.join(",")
}

/// A large count with three or four digits: `15.39 G`.
pub fn large(count: u64) -> String {
    match count as f64 {
        count if count >= 1e9 => format!("{:.2} G", count / 1e9),
        count if count >= 1e6 => format!("{:.2} M", count / 1e6),
        count => format!("{:.1} k", count / 1e3),
    }
}

/// Three significant digits, without an exponent.
pub fn digits(value: f64) -> String {
    let decimals = if value >= 100.0 {
        0
    } else if value >= 10.0 {
        1
    } else {
        2
    };
    format!("{value:.decimals$}")
}

/// A text, or a dash for what is not there.
pub fn or_dash(text: Option<String>) -> String {
    text.unwrap_or_else(|| "–".to_owned())
}

/// A published figure with its source's tag, or a dash.
pub fn cited(cited: &Option<Cited>, show: fn(f64) -> String) -> String {
    or_dash(cited.as_ref().map(|cited| format!("{} ({})", show(cited.value), cited.tag())))
}

#[cfg(test)]
mod tests {
    #[test]
    fn numbers_have_three_digits_and_a_unit() {
        assert_eq!(super::seconds(0.0192), "19.2 ms");
        assert_eq!(super::seconds(9.306), "9.31 s");
        assert_eq!(super::seconds(123.4), "123 s");
        assert_eq!(super::seconds(4.2e-5), "42.0 µs");
        assert_eq!([42.2, 200.0, 9000.0].map(super::time_left), ["42 s", "3 min", "2.5 h"]);
        assert_eq!(super::bytes(1_402_500.0), "1.40 MB");
        assert_eq!(super::bytes(8.853e9), "8.85 GB");
        assert_eq!(super::bytes(12.0), "12 B");
        assert_eq!(super::memory(3 << 29), "1.50 GiB");
        assert_eq!(super::count(15_220), "15,220");
        assert_eq!(super::count(1), "1");
        assert_eq!(super::large(15_386_000_000), "15.39 G");
    }
}
