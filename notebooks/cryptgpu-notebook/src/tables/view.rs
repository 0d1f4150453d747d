//! What parties saw, as tables: the shares that a protocol looked at and the messages that came in.

use cryptgpu_core::mpc::{PartyView, RecordedMessage, RecordedShare, Sharing};
use cryptgpu_core::ring::FixedPoint;
use polars::prelude::DataFrame;

use super::{Table, counts, texts};
use crate::bundle::Bundle;
use crate::{NotebookError, Result};

/// How ring elements are written, and how many of an array.
#[derive(Clone, Copy, Debug)]
pub struct Words {
    first: usize,
    form: Form,
}

#[derive(Clone, Copy, Debug)]
enum Form {
    Hex,
    Signed,
    Fixed(FixedPoint),
}

impl Words {
    /// The first `first` elements, in hexadecimal.
    pub fn hex(first: usize) -> Self {
        Words { first, form: Form::Hex }
    }

    /// The first `first` elements, as signed integers.
    pub fn signed(first: usize) -> Self {
        Words { first, form: Form::Signed }
    }

    /// The first `first` elements, as the numbers that `codec` makes of them.
    pub fn fixed(codec: FixedPoint, first: usize) -> Self {
        Words { first, form: Form::Fixed(codec) }
    }

    fn text(&self, words: &[u64]) -> String {
        let one = |word: &u64| match self.form {
            Form::Hex => format!("{word:016x}"),
            Form::Signed => (*word as i64).to_string(),
            Form::Fixed(codec) => cryptgpu_core::show::number_text(codec.decode(*word), 6),
        };
        let rest = if words.len() > self.first { " …" } else { "" };
        words.iter().take(self.first).map(one).collect::<Vec<_>>().join(" ") + rest
    }
}

const INSECURE: &str = "INSECURE: what two parties saw, put together, is the secret. For teaching and debugging, on data \
                        that is none.";

/// What each party looked at, a row for each party, with its components where it has them; below them what they make
/// together, which no party knows.
///
/// # Errors
/// [`Empty`](NotebookError::Empty) if nothing was looked at, [`Polars`](NotebookError::Polars) if no frame can be made.
pub fn shares(parties: &[PartyView], words: Words) -> Result<Table> {
    let mut rows: Vec<ShareRow> = vec![];
    for (name, nth) in looks(parties) {
        let of = parties.iter().filter_map(|seen| Some((seen.party, nth_of(&seen.shares, name, nth)?)));
        rows.extend(of.map(|(party, share)| ShareRow::new(format!("party {party}"), share, &words)));
        let Ok(all) = <&[PartyView; 3]>::try_from(parties) else { continue };
        let secret = |share: &RecordedShare| share.sharing != Sharing::Known;
        if let (Some(share), Some(value)) =
            (nth_of(&all[0].shares, name, nth).filter(|share| secret(share)), PartyView::values(all, name).get(nth))
        {
            let value = words.text(&value.iter().copied().collect::<Vec<_>>());
            let components = Default::default();
            rows.push(ShareRow {
                of: "together".into(),
                value,
                components,
                ..ShareRow::new(String::new(), share, &words)
            });
        }
    }
    if rows.is_empty() {
        let hint = "call `p.record(\"name\", &share)?` between `p.insecure_record(…)` and `p.take_view()`";
        return Err(NotebookError::Empty { what: "the table of shares", hint });
    }
    let component = |index: usize| rows.iter().map(move |row| row.components[index].clone());
    let columns = vec![
        texts("step", rows.iter().map(|row| Some(row.step.clone()))),
        texts("name", rows.iter().map(|row| Some(row.name.clone()))),
        texts("sharing", rows.iter().map(|row| Some(row.sharing.to_owned()))),
        texts("shape", rows.iter().map(|row| Some(row.shape.clone()))),
        texts("who", rows.iter().map(|row| Some(row.of.clone()))),
        texts("x₀", component(0)),
        texts("x₁", component(1)),
        texts("x₂", component(2)),
        texts("value", rows.iter().map(|row| Some(row.value.clone()).filter(|value| !value.is_empty()))),
    ];
    Ok(Table { frame: DataFrame::new(rows.len(), columns)?, caption: with_omitted(INSECURE, parties) })
}

/// Names of what was looked at, each as often as some party looked at it, in order.
fn looks(parties: &[PartyView]) -> Vec<(&str, usize)> {
    let mut looks: Vec<(&str, usize)> = vec![];
    for seen in parties {
        let mut own: Vec<&str> = vec![];
        for share in &seen.shares {
            let nth = own.iter().filter(|name| **name == share.name).count();
            own.push(&share.name);
            if !looks.contains(&(share.name.as_str(), nth)) {
                looks.push((&share.name, nth));
            }
        }
    }
    looks
}

fn nth_of<'a>(shares: &'a [RecordedShare], name: &str, nth: usize) -> Option<&'a RecordedShare> {
    shares.iter().filter(|share| share.name == name).nth(nth)
}

/// A row of the table of shares.
struct ShareRow {
    step: String,
    name: String,
    sharing: &'static str,
    shape: String,
    of: String,
    components: [Option<String>; 3],
    value: String,
}

impl ShareRow {
    fn new(of: String, share: &RecordedShare, words: &Words) -> Self {
        let mut components: [Option<String>; 3] = Default::default();
        let mut value = String::new();
        for (index, elements) in &share.components {
            match components.get_mut(*index) {
                _ if share.sharing == Sharing::Known => value = words.text(elements),
                Some(component) => *component = Some(words.text(elements)),
                None => {}
            }
        }
        let sharing = match share.sharing {
            Sharing::Replicated => "replicated, +",
            Sharing::ReplicatedXor => "replicated, ⊕",
            Sharing::Additive => "additive, +",
            Sharing::AdditiveXor => "additive, ⊕",
            Sharing::Known => "known",
        };
        let (step, name, shape) = (share.step.clone(), share.name.clone(), format!("{:?}", share.shape));
        ShareRow { step, name, sharing, shape, of, components, value }
    }
}

/// Every message that the parties received, in the order in which each of them did.
///
/// # Errors
/// As [`shares`].
pub fn seen(parties: &[PartyView], words: Words) -> Result<Table> {
    let rows: Vec<(u64, &RecordedMessage)> = parties
        .iter()
        .flat_map(|seen| seen.messages.iter().map(|message| (seen.party.index() as u64, message)))
        .collect();
    if rows.is_empty() {
        let hint = "call `p.insecure_record(…)` before the protocol runs";
        return Err(NotebookError::Empty { what: "the table of messages", hint });
    }
    let columns = vec![
        counts("at party", rows.iter().map(|(party, _)| *party)),
        counts("from", rows.iter().map(|(_, message)| message.from.index() as u64)),
        texts("step", rows.iter().map(|(_, message)| Some(message.step.clone()))),
        texts("kind", rows.iter().map(|(_, message)| Some(message.kind.clone()))),
        counts("words", rows.iter().map(|(_, message)| message.words.len() as u64)),
        texts("content", rows.iter().map(|(_, message)| Some(words.text(&message.words)))),
    ];
    Ok(Table { frame: DataFrame::new(rows.len(), columns)?, caption: with_omitted(INSECURE, parties) })
}

fn with_omitted(caption: &str, parties: &[PartyView]) -> String {
    match parties.iter().map(|seen| seen.omitted).sum::<u64>() {
        0 => caption.to_owned(),
        omitted => format!("{caption}\n{omitted} more shares and messages were not kept: record with more words."),
    }
}

/// Both tables of what parties saw: [`shares`], if anything was looked at, and [`seen`].
///
/// # Errors
/// As [`seen`].
pub fn observed(parties: &[PartyView], words: Words) -> Result<Bundle> {
    let bundle = match shares(parties, words) {
        Ok(table) => Bundle::new().heading("Shares").with(&table),
        Err(NotebookError::Empty { .. }) => Bundle::new(),
        Err(error) => return Err(error),
    };
    Ok(bundle.heading("Messages received").with(&seen(parties, words)?))
}
