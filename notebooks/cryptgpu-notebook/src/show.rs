//! How a value becomes a cell's output: the [`Show`] trait, and [`Bundle`] to put several values into one output.
//!
//! evcxr shows a cell's last expression by calling its `evcxr_display`, and keeps **one** output per cell: a second
//! block of the same type replaces the first. So several tables and figures go into one [`Bundle`].

use std::fmt::Write as _;
use std::io::Write as _;

use polars::frame::DataFrame;

use crate::frame;

/// Something that a notebook can show. With the trait in scope (it is in [`prelude`](crate::prelude)), a value as the
/// last expression of a cell is shown.
pub trait Show {
    /// The value as HTML that needs nothing from outside.
    fn html(&self) -> String;

    /// The value as plain text, for terminals and for readers of a notebook's file.
    fn text(&self) -> String;

    /// Shows the value as the output of the cell that runs. evcxr calls this.
    fn evcxr_display(&self) {
        emit(&[("text/html", &self.html()), ("text/plain", &self.text())]);
    }
}

/// Writes blocks that evcxr turns into one output with several representations.
pub(crate) fn emit(blocks: &[(&str, &str)]) {
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

impl Show for DataFrame {
    fn html(&self) -> String {
        frame::html(self, frame::MAX_ROWS)
    }

    fn text(&self) -> String {
        self.to_string()
    }
}

/// Several values as one output, in the order in which they were added.
///
/// ```
/// use cryptgpu_notebook::prelude::*;
///
/// let speed = frame::from_csv("network,seconds\nLeNet,0.02\n")?;
/// let both = Bundle::new().heading("Speed").with(&speed).note("One run, two cores.");
/// assert!(both.html().contains("<table") && both.text().contains("LeNet"));
/// # Ok::<(), NotebookError>(())
/// ```
#[derive(Debug, Clone, Default)]
#[must_use]
pub struct Bundle {
    html: String,
    text: String,
}

impl Bundle {
    /// An empty bundle.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a value.
    pub fn with(mut self, value: &(impl Show + ?Sized)) -> Self {
        self.html += &value.html();
        self.part(&value.text())
    }

    /// Adds a heading.
    pub fn heading(mut self, heading: &str) -> Self {
        self.html += &format!("<h4>{}</h4>", escape(heading));
        self.part(heading)
    }

    /// Adds a paragraph in small type.
    pub fn note(mut self, note: &str) -> Self {
        self.html += &format!("<p style=\"font-size:smaller;max-width:60em\">{}</p>", escape(note));
        self.part(note)
    }

    /// Adds values side by side.
    pub fn row(mut self, values: &[&dyn Show]) -> Self {
        self.html += "<div style=\"display:flex;flex-wrap:wrap;gap:1em;align-items:flex-start\">";
        for value in values {
            self.html += &format!("<div>{}</div>", value.html());
        }
        self.html += "</div>";
        values.iter().fold(self, |bundle, value| bundle.part(&value.text()))
    }

    fn part(mut self, text: &str) -> Self {
        if !self.text.is_empty() {
            self.text.push('\n');
        }
        self.text += text;
        self
    }
}

impl Show for Bundle {
    fn html(&self) -> String {
        self.html.clone()
    }

    fn text(&self) -> String {
        self.text.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Word(&'static str);

    impl Show for Word {
        fn html(&self) -> String {
            format!("<b>{}</b>", self.0)
        }

        fn text(&self) -> String {
            self.0.to_owned()
        }
    }

    #[test]
    fn a_bundle_keeps_order_in_both_forms_and_escapes_text() {
        let bundle = Bundle::new().heading("a < b").with(&Word("one")).row(&[&Word("two"), &Word("three")]).note("end");
        assert_eq!(bundle.text(), "a < b\none\ntwo\nthree\nend");
        let html = bundle.html();
        assert!(html.contains("<h4>a &lt; b</h4><b>one</b><div"), "{html}");
        assert!(html.find("two") < html.find("three") && html.find("three") < html.find("end"), "{html}");
    }
}
