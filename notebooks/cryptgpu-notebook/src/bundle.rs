//! Several values in one output. evcxr keeps **one** output per cell, and a second block of the same type replaces the
//! first: so several tables and figures go into one [`Bundle`].

use cryptgpu_core::show::{Show, escape};

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
