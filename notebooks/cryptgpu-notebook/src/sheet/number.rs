//! Numbers as people read them: three significant digits, and a unit that fits.

use super::Cell;

/// What the numbers of a column are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quantity {
    /// No numbers.
    Text,
    /// Seconds: `6.84 ms`.
    Seconds,
    /// Bytes, in decimal units: `1.40 MB`.
    Bytes,
    /// A count, all of its digits.
    Count,
    /// A factor: `47.3 ×`.
    Times,
    /// A fraction of one, as per cent: `38.4 %`.
    Percent,
    /// A small number, as a power of ten: `2.82e-5`.
    Error,
    /// A number without a unit.
    Number,
}

const SECONDS: [(f64, &str); 4] = [(1e-9, "ns"), (1e-6, "µs"), (1e-3, "ms"), (1.0, "s")];
const BYTES: [(f64, &str); 4] = [(1.0, "B"), (1e3, "kB"), (1e6, "MB"), (1e9, "GB")];

/// A number in its parts. Empty for an empty cell.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Written {
    pub digits: String,
    pub unit: &'static str,
    /// Width of the longest unit of the quantity.
    pub unit_width: usize,
    /// Decimals of the column.
    pub room: usize,
}

impl Written {
    pub fn decimals(&self) -> usize {
        self.digits.split_once('.').map_or(0, |(_, decimals)| decimals.chars().count())
    }

    /// Characters by which it falls short of the column's decimals, the point among them.
    pub fn missing(&self) -> usize {
        match (self.room, self.decimals()) {
            (room, have) if room <= have => 0,
            (room, 0) => room + 1,
            (room, have) => room - have,
        }
    }

    /// The number with its unit, filled up so that points stand below one another where it is set to the right.
    pub fn padded(&self, fill: char) -> String {
        if self.digits.is_empty() {
            return String::new();
        }
        let mut text = self.digits.clone();
        text.extend(std::iter::repeat_n(fill, self.missing()));
        if self.unit_width > 0 {
            text += &format!(" {}", self.unit);
            text.extend(std::iter::repeat_n(fill, self.unit_width - self.unit.chars().count()));
        }
        text
    }
}

impl Quantity {
    /// The unit of the plain numbers, for the head of an exported column.
    pub(super) fn unit(self) -> &'static str {
        match self {
            Quantity::Seconds => "s",
            Quantity::Bytes => "B",
            _ => "",
        }
    }

    pub(super) fn written(self, cell: &Cell) -> Written {
        let Some(number) = cell.number else {
            return Written { digits: cell.text.clone(), ..Written::default() };
        };
        let scaled = |units: &[(f64, &'static str)]| {
            let (digits, unit) = scaled(number, units);
            let unit_width = units.iter().map(|(_, unit)| unit.chars().count()).max().unwrap_or(0);
            Written { digits, unit, unit_width, room: 0 }
        };
        let with =
            |digits: String, unit: &'static str| Written { digits, unit, unit_width: unit.chars().count(), room: 0 };
        match self {
            Quantity::Text => Written { digits: cell.text.clone(), ..Written::default() },
            Quantity::Seconds => scaled(&SECONDS),
            Quantity::Bytes => scaled(&BYTES),
            Quantity::Count => with(format!("{number:.0}"), ""),
            Quantity::Times => with(digits(number), "×"),
            Quantity::Percent => with(digits(100.0 * number), "%"),
            Quantity::Error => with(format!("{number:.2e}"), ""),
            Quantity::Number => with(digits(number), ""),
        }
    }
}

/// Seconds as a text: `6.84 ms`.
pub(crate) fn seconds_text(seconds: f64) -> String {
    let (digits, unit) = scaled(seconds, &SECONDS);
    format!("{digits} {unit}")
}

/// Bytes as a text: `1.40 MB`.
pub(crate) fn bytes_text(bytes: f64) -> String {
    let (digits, unit) = scaled(bytes, &BYTES);
    format!("{digits} {unit}")
}

/// A number in the largest of the units in which it is at least one.
fn scaled(number: f64, units: &[(f64, &'static str)]) -> (String, &'static str) {
    // As it is written: 0.9996 s is 1.00 s and not 1000 ms.
    let rounded = three(number).abs();
    let fits = units.iter().rev().find(|(unit, _)| rounded >= *unit * (1.0 - 1e-9));
    let (unit, name) = fits.or(units.first()).copied().unwrap_or((1.0, ""));
    (digits(number / unit), name)
}

/// Rounded to three significant digits.
fn three(number: f64) -> f64 {
    format!("{number:.2e}").parse().unwrap_or(number)
}

/// Three significant digits without an exponent.
fn digits(number: f64) -> String {
    let rounded = three(number);
    if rounded == 0.0 || !rounded.is_finite() {
        return format!("{rounded}");
    }
    let decimals = 2 - rounded.abs().log10().floor() as i32;
    format!("{rounded:.*}", usize::try_from(decimals).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_digits_and_a_unit_that_fits() {
        let seconds = [(0.006_842_3, "6.84 ms"), (0.9996, "1.00 s"), (0.99949, "999 ms"), (123.4, "123 s")];
        for (number, text) in seconds.into_iter().chain([(4.2e-5, "42.0 µs"), (0.0, "0 ns"), (3612.0, "3610 s")]) {
            assert_eq!(seconds_text(number), text);
        }
        assert_eq!([1_402_500.0, 8.853e9, 12.0].map(bytes_text), ["1.40 MB", "8.85 GB", "12.0 B"]);
        let text = |quantity: Quantity, number| quantity.written(&Cell::number(number)).padded(' ');
        assert_eq!(text(Quantity::Times, 47.31), "47.3 ×");
        assert_eq!(text(Quantity::Percent, 0.3841), "38.4 %");
        assert_eq!((text(Quantity::Count, 1316.0), text(Quantity::Error, 2.819e-5)), ("1316".into(), "2.82e-5".into()));
    }
}
