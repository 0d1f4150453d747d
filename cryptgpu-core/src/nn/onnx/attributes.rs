//! The settings of a node, by name and type.

use super::constant::Constant;
use super::proto::{Attribute, Node};
use super::tensor::{self, Beside};

/// A node's operator and settings.
#[derive(Clone, Copy)]
pub(super) struct Attributes<'a>(pub(super) &'a Node);

impl<'a> Attributes<'a> {
    pub(super) fn operator(self) -> &'a str {
        &self.0.op_type
    }

    fn get(self, name: &str) -> Option<&'a Attribute> {
        self.0.attribute.iter().find(|attribute| attribute.name == name)
    }

    pub(super) fn int(self, name: &str) -> Option<i64> {
        self.get(name)?.i
    }

    /// An integer that says yes or no.
    pub(super) fn flag(self, name: &str) -> bool {
        self.int(name).unwrap_or(0) != 0
    }

    pub(super) fn float(self, name: &str) -> Option<f64> {
        self.get(name)?.f.map(f64::from)
    }

    pub(super) fn text(self, name: &str) -> Option<&'a str> {
        str::from_utf8(self.get(name)?.s.as_deref()?).ok()
    }

    pub(super) fn ints(self, name: &str) -> Option<&'a [i64]> {
        self.get(name).map(|attribute| attribute.ints.as_slice())
    }

    pub(super) fn floats(self, name: &str) -> Option<&'a [f32]> {
        self.get(name).map(|attribute| attribute.floats.as_slice())
    }

    pub(super) fn texts(self, name: &str) -> Option<Vec<String>> {
        let texts = &self.get(name)?.strings;
        Some(texts.iter().map(|text| String::from_utf8_lossy(text).into_owned()).collect())
    }

    /// A tensor within the node.
    pub(super) fn tensor(self, name: &str) -> Result<Option<Constant>, String> {
        let tensor = self.get(name).and_then(|attribute| attribute.t.as_ref());
        tensor
            .map(|tensor| tensor::constant(tensor, &mut Beside::nothing()))
            .transpose()
            .map_err(|error| error.to_string())
    }

    /// Two sizes, of height and width, each 1 where the attribute is not there; of signals, whose height is one, the width
    /// alone.
    pub(super) fn pair(self, name: &str, signal: bool) -> Result<[usize; 2], String> {
        let Some(list) = self.ints(name) else { return Ok([1; 2]) };
        match *list {
            [width] if signal => match usize::try_from(width) {
                Ok(width) => Ok([1, width]),
                Err(_) => Err(format!("its {name} {list:?} are negative")),
            },
            [height, width] if !signal => match (usize::try_from(height), usize::try_from(width)) {
                (Ok(height), Ok(width)) => Ok([height, width]),
                _ => Err(format!("its {name} {list:?} are negative")),
            },
            _ => Err(format!(
                "its {name} have {} axes: only those of images, with height and width, and of signals, with one, are computed",
                list.len()
            )),
        }
    }
}
