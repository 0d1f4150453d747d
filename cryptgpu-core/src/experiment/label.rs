//! What sets a measurement apart from an ordinary one, in a few words each: the marks behind a row's name, and the key
//! by which a newer record takes the place of an older one. Nothing is measured or compared with the paper here.

use std::collections::HashMap;

use super::Machine;
use crate::ring::{FixedPoint, Ring};

/// One thing that a number depends on, as a table says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mark {
    /// `12 fraction bits`, `window 0:16`; empty where a record does not say.
    pub text: String,
    /// Whether it is not the default, so that a row says it in any case. Otherwise a row says it only beside another
    /// that has the same name.
    pub unusual: bool,
}

impl Mark {
    /// A mark that a row says when it is `unusual`, and otherwise only to be told from another.
    pub(super) fn new(text: impl Into<String>, unusual: bool) -> Self {
        let text = text.into();
        Mark { unusual: unusual && !text.is_empty(), text }
    }

    /// A mark that a row says only to be told from another.
    pub(super) fn between(text: impl Into<String>) -> Self {
        Mark::new(text, false)
    }
}

/// What records of all experiments have in common.
pub(super) struct Conditions<'a> {
    pub device: &'a str,
    pub cards: &'a [String; 3],
    pub fidelity: &'a str,
    pub ring: Ring,
    pub fraction_bits: u32,
    pub window: &'a str,
    pub randomness: &'a str,
    pub parties: &'a str,
    pub threads: [usize; 3],
    pub machine: &'a Machine,
}

impl Conditions<'_> {
    /// Always the same marks in the same order.
    pub(super) fn marks(&self) -> Vec<Mark> {
        let emulated = self.cards.iter().any(|card| card.contains("emulator"));
        let device = format!("{}{}", self.device, if emulated { " emulated" } else { "" });
        let mut cards: Vec<&str> = self.cards.iter().map(String::as_str).collect();
        cards.dedup();
        let machine = match self.machine.cpu.as_str() {
            "" => String::new(),
            cpu => format!("{cpu}, {} cores", self.machine.cores),
        };
        vec![
            Mark::new(device, self.device != "cpu"),
            Mark::new(self.fidelity, self.fidelity != "exact"),
            Mark::new(format!("ring of {}", self.ring), self.ring != Ring::Z64),
            Mark::new(
                format!("{} fraction bits", self.fraction_bits),
                self.fraction_bits != FixedPoint::from(self.ring).fraction_bits(),
            ),
            Mark::new(window(self.window), self.window != STANDARD_WINDOW),
            Mark::new(self.randomness, self.randomness.contains("insecure")),
            Mark::new(threads(self.threads), self.threads.iter().any(|n| ![0, self.machine.cores].contains(n))),
            Mark::new(self.parties, self.parties.starts_with("threads") || self.parties.ends_with("unencrypted")),
            Mark::between(machine),
            Mark::between(self.machine.isa.join(" ")),
            Mark::between(cards.join(", ")),
        ]
    }
}

/// The window that is always exact: all 64 bits.
pub(super) const STANDARD_WINDOW: &str = "0:64";

/// `window 0:16`; nothing where a record names none.
fn window(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!("window {text}") }
}

fn threads(by_party: [usize; 3]) -> String {
    match by_party {
        [0, 0, 0] => String::new(),
        [1, 1, 1] => "1 thread".to_owned(),
        [a, b, c] if a == b && b == c => format!("{a} threads"),
        [a, b, c] => format!("{a}, {b}, {c} threads"),
    }
}

/// For each row, given as its name and its marks, the marks that it says: the unusual ones, and beside a row that would
/// be called the same, those in which the two differ.
pub(super) fn said(rows: &[(String, Vec<Mark>)]) -> Vec<Vec<String>> {
    let unusual = |marks: &[Mark]| marks.iter().map(|mark| mark.unusual.then(|| mark.text.clone())).collect::<Vec<_>>();
    let mut namesakes: HashMap<_, Vec<&[Mark]>> = HashMap::new();
    for (name, marks) in rows {
        namesakes.entry((name.as_str(), unusual(marks))).or_default().push(marks);
    }
    let differ = |others: &[&[Mark]], at: usize| {
        let text = |marks: &&[Mark]| marks.get(at).map(|mark| mark.text.clone());
        others.iter().any(|other| text(other) != others.first().and_then(text))
    };
    let of_row = |(name, marks): &(String, Vec<Mark>)| {
        let others = namesakes.get(&(name.as_str(), unusual(marks))).map_or(&[][..], Vec::as_slice);
        let said = |(at, mark): (usize, &Mark)| {
            let shown = !mark.text.is_empty() && (mark.unusual || differ(others, at));
            shown.then(|| mark.text.clone())
        };
        marks.iter().enumerate().filter_map(said).collect()
    };
    rows.iter().map(of_row).collect()
}

/// A name with what sets it apart behind it, in brackets.
pub(super) fn labelled(name: &str, marks: &[String]) -> String {
    if marks.is_empty() { name.to_owned() } else { format!("{name} ({})", marks.join(", ")) }
}

/// The last of the records that measure the same thing, by `key`; in the order in which each thing first appears.
pub(super) fn latest<T: Clone, K: Eq + std::hash::Hash>(records: &[T], key: impl Fn(&T) -> K) -> Vec<T> {
    let (mut kept, mut places): (Vec<T>, HashMap<K, usize>) = (Vec::new(), HashMap::new());
    for record in records {
        match places.get(&key(record)) {
            Some(&place) => kept[place] = record.clone(),
            None => {
                places.insert(key(record), kept.len());
                kept.push(record.clone());
            }
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn namesakes_say_what_they_differ_in_and_others_only_what_is_unusual() {
        let row = |name: &str, bits: u32, machine: &str| {
            let marks = vec![Mark::new(format!("{bits} fraction bits"), bits != 20), Mark::between(machine)];
            (name.to_owned(), marks)
        };
        let rows = [row("lenet", 20, "a"), row("lenet", 20, "b"), row("lenet", 12, "a"), row("vgg16", 20, "b")];
        assert_eq!(said(&rows), [vec!["a"], vec!["b"], vec!["12 fraction bits"], vec![]]);
    }
}
