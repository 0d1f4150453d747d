//! How digests are written, and text that came from somebody else, on its way to a terminal: whoever wrote it must not be
//! able to move the cursor, rewrite lines or address the terminal.

use std::borrow::Cow;

/// As much of a name that somebody else gives is shown.
const SHOWN: usize = 80;

/// The bytes of a digest as hexadecimal digits.
pub(in crate::cluster) fn hex(bytes: impl AsRef<[u8]>) -> String {
    bytes.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A name that somebody else gives, as it is shown: harmless, and its first characters only.
pub(in crate::cluster) fn shown(name: &str) -> String {
    harmless(&name.chars().take(SHOWN).collect::<String>()).into_owned()
}

/// The same text with a picture in place of each control character but tabs and ends of lines, and of the characters that
/// change the direction of writing.
pub(in crate::cluster) fn harmless(text: &str) -> Cow<'_, str> {
    let harms = |char: char| match char {
        '\t' | '\n' => false,
        '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => true,
        _ => char.is_control(),
    };
    if !text.contains(harms) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            _ if !harms(char) => shown.push(char),
            // Unicode has a picture of each: U+2400 and up.
            '\0'..='\x1f' => shown.extend(char::from_u32(0x2400 + char as u32)),
            '\x7f' => shown.push('\u{2421}'),
            _ => shown.extend(char.escape_unicode()),
        }
    }
    Cow::Owned(shown)
}

#[cfg(test)]
mod tests {
    use super::{harmless, hex, shown};

    #[test]
    fn digests_are_digits_and_names_are_short() {
        assert_eq!(hex([0, 0x0f, 0xa0]), "000fa0");
        assert_eq!(shown("ü\x1b[2J"), "ü␛[2J");
        assert_eq!(shown(&"x".repeat(1000)).len(), 80);
    }

    #[test]
    fn what_a_terminal_would_obey_is_shown_instead() {
        assert_eq!(harmless("größer\tthan\n1"), "größer\tthan\n1");
        assert_eq!(harmless("\x1b[2J\x1b]0;title\x07"), "␛[2J␛]0;title␇");
        assert_eq!(harmless("100 %\r  0 %\x08\x7f"), "100 %␍  0 %␈␡");
        assert_eq!(harmless("\u{9b}31m\u{202e}txt"), "\\u{9b}31m\\u{202e}txt");
    }
}
