//! How values become words and tables for people: the [`Show`] trait, which a notebook calls on the last expression of
//! a cell, a plain [`PlainTable`] that is text and HTML, and numbers to a few digits. What a value shows is written beside
//! the value, in its own layer (the files `show.rs`); this layer knows none of them. A secret is never shown: a handle
//! shows its shape, a share shows no words.
//!
//! | file | what |
//! |---|---|
//! | `table.rs` | [`PlainTable`] and its [`Cell`]s |
//! | `number.rs` | numbers, bytes, durations and times as people read them |

mod number;
mod table;

pub use number::{bytes_text, duration_text, number_text, time_text};
pub use table::{Cell, PlainTable};

use std::fmt::Write as _;
use std::io::Write as _;

/// Something that a notebook can show. With the trait in scope (it is in [`prelude`](crate::prelude)), a value that is
/// the last expression of a cell is shown.
///
/// ```
/// use cryptgpu_core::mpc::Cost;
/// use cryptgpu_core::show::Show;
///
/// let cost = Cost { bytes: 26_750, rounds: 3 };
/// assert_eq!(cost.text(), "3 rounds, 26750 bytes");
/// ```
pub trait Show {
    /// The value as plain text, for terminals and for readers of a notebook's file.
    fn text(&self) -> String;

    /// The value as HTML that needs nothing from outside: its text, as it stands, where a type has no better.
    fn html(&self) -> String {
        format!("<pre>{}</pre>", escape(&self.text()))
    }

    /// Shows the value as the output of the cell that runs. evcxr calls this.
    fn evcxr_display(&self) {
        emit(&[("text/html", &self.html()), ("text/plain", &self.text())]);
    }
}

/// Writes blocks (media type and content) to standard output, in the form that evcxr turns into one output with several
/// representations. Of two blocks of one type it keeps the second.
pub fn emit(blocks: &[(&str, &str)]) {
    let mut out = String::new();
    for (mime, content) in blocks {
        // Cannot fail: the target is a string.
        let _ = write!(out, "EVCXR_BEGIN_CONTENT {mime}\n{content}\nEVCXR_END_CONTENT\n");
    }
    // If nobody reads any more there is nobody to tell either.
    let _ = std::io::stdout().lock().write_all(out.as_bytes());
}

/// Replaces the characters that mean something in HTML.
pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// Implements [`Show`] for types that have a method `table`.
macro_rules! show_as_table {
    ($($(#[$attribute:meta])* $shown:ty),* $(,)?) => {$(
        $(#[$attribute])*
        impl $crate::show::Show for $shown {
            fn text(&self) -> String {
                self.table().text()
            }

            fn html(&self) -> String {
                self.table().html()
            }
        }
    )*};
}

pub(crate) use show_as_table;

#[cfg(test)]
mod tests {
    use super::*;

    struct Less;

    impl Show for Less {
        fn text(&self) -> String {
            "a < \"b\" & c".to_owned()
        }
    }

    #[test]
    fn text_alone_is_html_too_and_escaped() {
        assert_eq!(Less.html(), "<pre>a &lt; &quot;b&quot; &amp; c</pre>");
    }
}
