//! Lines of the files that owners write: where in a file something stands, for errors and refusals that name the line.

use super::error::OwnerError;
use crate::net::Fingerprint;
use serde::de::DeserializeOwned;
use std::ops::Range;
use std::path::{Path, PathBuf};
use toml::Spanned;

/// A file of settings, with its text, so that what is wrong can be pointed at.
#[derive(Clone, Debug)]
pub(super) struct Lines {
    path: PathBuf,
    text: String,
}

impl Lines {
    /// The file and what it says.
    pub(super) fn read<T: DeserializeOwned>(path: &Path) -> Result<(Self, T), OwnerError> {
        let text = std::fs::read_to_string(path).map_err(|error| OwnerError::io("read", path, &error))?;
        Lines::parse(path, text)
    }

    /// A file's text and what it says.
    pub(super) fn parse<T: DeserializeOwned>(path: &Path, text: String) -> Result<(Self, T), OwnerError> {
        let lines = Lines { path: path.to_owned(), text };
        let read = toml::from_str(&lines.text);
        read.map_err(|error| lines.error(&error.span().unwrap_or(0..0), error.message())).map(|read| (lines, read))
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// The line, from 1, in which something begins.
    pub(super) fn line(&self, span: &Range<usize>) -> usize {
        1 + self.text.bytes().take(span.start).filter(|byte| *byte == b'\n').count()
    }

    /// The file's name and the line, as callers may see it: no folder of the owner's machine.
    pub(super) fn place(&self, span: &Range<usize>) -> String {
        let name = self.path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        format!("{name}, line {}", self.line(span))
    }

    /// What is wrong with something in the file.
    pub(super) fn error(&self, span: &Range<usize>, detail: impl Into<String>) -> OwnerError {
        OwnerError::Line { path: self.path.clone(), line: self.line(span), detail: detail.into() }
    }

    /// A path of the file: from the file's own folder where it is not absolute.
    pub(super) fn beside(&self, path: &Path) -> PathBuf {
        self.path.parent().map_or_else(|| path.to_owned(), |folder| folder.join(path))
    }

    /// A fingerprint of the file.
    pub(super) fn fingerprint(&self, text: &Spanned<String>) -> Result<Fingerprint, OwnerError> {
        text.get_ref().parse().map_err(|detail: String| self.error(&text.span(), detail))
    }
}
