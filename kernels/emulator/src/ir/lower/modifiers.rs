//! The modifiers of one instruction, each of which must be taken by somebody.

use crate::ptx::{Space, Type};

pub struct Modifiers<'a> {
    names: &'a [String],
    used: Vec<bool>,
}

impl<'a> Modifiers<'a> {
    pub fn new(names: &'a [String]) -> Self {
        Self { names, used: vec![false; names.len()] }
    }

    /// Takes the modifier `name` if it is there.
    pub fn take(&mut self, name: &str) -> bool {
        let found = (0..self.names.len()).find(|&at| !self.used[at] && self.names[at] == name);
        if let Some(at) = found {
            self.used[at] = true;
        }
        found.is_some()
    }

    /// Takes the first of `names` that is there.
    pub fn one_of(&mut self, names: &[&'static str]) -> Option<&'static str> {
        names.iter().copied().find(|name| self.take(name))
    }

    /// Takes the first type that is left.
    pub fn ty(&mut self) -> Option<Type> {
        let (at, ty) = (0..self.names.len())
            .filter(|&at| !self.used[at])
            .find_map(|at| Some((at, Type::named(&self.names[at])?)))?;
        self.used[at] = true;
        Some(ty)
    }

    /// Takes the state space; generic where none is named.
    pub fn space(&mut self) -> Space {
        match self.one_of(&[
            "global",
            "shared::cta",
            "shared",
            "local",
            "const",
            "param::entry",
            "param::func",
            "param",
        ]) {
            Some("global") => Space::Global,
            Some("shared" | "shared::cta") => Space::Shared,
            Some("local") => Space::Local,
            Some("const") => Space::Const,
            Some(_) => Space::Param,
            None => Space::Generic,
        }
    }

    /// A modifier that nobody took.
    pub fn unused(&self) -> Option<&str> {
        (0..self.names.len()).find(|&at| !self.used[at]).map(|at| self.names[at].as_str())
    }
}
