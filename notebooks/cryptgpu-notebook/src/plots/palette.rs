//! Colours: of systems, the same in every figure, and of series of ours. They are Okabe and Ito's, which people tell apart
//! who do not see all colours, and which differ in lightness in print.

use plotters::style::RGBColor;

/// Ours.
pub(super) const OURS: RGBColor = RGBColor(0, 114, 178);
/// What no system can be better than.
pub(super) const FLOOR: RGBColor = RGBColor(130, 130, 130);
/// Grid lines.
pub(super) const RULE: RGBColor = RGBColor(228, 230, 233);
/// What is wrong.
pub(super) const WRONG: RGBColor = RGBColor(160, 30, 60);

/// Several series of ours, one above the other: devices, links, fraction bits.
pub(super) const SERIES: [RGBColor; 6] = [
    OURS,
    RGBColor(0, 50, 98),
    RGBColor(110, 180, 225),
    RGBColor(84, 84, 160),
    RGBColor(0, 150, 160),
    RGBColor(150, 150, 220),
];

/// The colour of a system by its name: `CryptGPU`, `Piranha P-Falcon`, `CrypTen 0.4.1, 3 parties`.
pub(super) fn of(system: &str) -> RGBColor {
    let systems = [
        ("CryptGPU", RGBColor(213, 94, 0)),
        ("CrypTFlow", RGBColor(170, 150, 0)),
        ("CrypTen", RGBColor(230, 159, 0)),
        ("Falcon", RGBColor(130, 130, 130)),
        ("Piranha", RGBColor(0, 158, 115)),
        ("MP-SPDZ", RGBColor(204, 121, 167)),
        ("Antelope", RGBColor(86, 180, 233)),
        ("SPU", RGBColor(60, 60, 60)),
        ("in the clear", RGBColor(190, 190, 190)),
    ];
    systems.into_iter().find(|(name, _)| system.starts_with(name)).map_or(OURS, |(_, colour)| colour)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_system_has_one_colour_in_all_its_names_and_no_two_the_same() {
        assert_eq!(of("Piranha"), of("Piranha P-Falcon (dfbcb59)"));
        assert_ne!(of("CrypTen 0.4.1, 3 parties"), of("CrypTFlow"));
        assert_eq!(of("ours, CPU"), OURS);
    }
}
