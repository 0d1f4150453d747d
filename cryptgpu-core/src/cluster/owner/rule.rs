//! What a party may reveal: one `[[reveal]]` of a policy, and whether it covers something that a job reveals. How often is
//! counted by the policy.

use super::error::OwnerError;
use super::lines::Lines;
use crate::cluster::party::gate::{Disclosure, To, What};
use crate::net::PartyId;
use serde::Deserialize;
use std::ops::Range;
use toml::Spanned;

/// What may be revealed.
#[derive(Clone, Debug)]
pub(super) struct Rule {
    what: What,
    of: Option<String>,
    to: Receiver,
    pub(super) per_run: Option<u64>,
    pub(super) per_day: Option<u64>,
    pub(super) span: Range<usize>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Receiver {
    AnyCaller,
    Caller(String),
    Party(PartyId),
    All,
}

/// The same, as the file says it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RevealLines {
    what: Spanned<What>,
    of: Option<String>,
    to: Spanned<String>,
    per_run: Option<u64>,
    per_day: Option<u64>,
}

impl Rule {
    /// The rule of some lines; `is_caller` knows the names of callers.
    pub(super) fn read(
        rule: &Spanned<RevealLines>,
        lines: &Lines,
        is_caller: impl Fn(&str) -> bool,
    ) -> Result<Self, OwnerError> {
        let RevealLines { what, of, to, per_run, per_day } = rule.get_ref();
        let party = |text: &str| PartyId::new(text.strip_prefix("party ")?.trim().parse().ok()?);
        let receiver = match to.get_ref().as_str() {
            "caller" => Receiver::AnyCaller,
            "all" => Receiver::All,
            name if is_caller(name) => Receiver::Caller(name.to_owned()),
            text => match party(text) {
                Some(party) => Receiver::Party(party),
                None => {
                    let detail = format!(
                        "`{text}` is nobody: write \"caller\", the name of a [[caller]], \"party 0\", \"party 1\", \"party 2\" or \"all\""
                    );
                    return Err(lines.error(&to.span(), detail));
                }
            },
        };
        let what = *what.get_ref();
        let (of, per_run, per_day, span) = (of.clone(), *per_run, *per_day, rule.span());
        Ok(Rule { what, of, to: receiver, per_run, per_day, span })
    }

    /// Whether it covers something that is revealed to this caller or to a party.
    pub(super) fn covers(&self, caller: &str, reveal: &Disclosure) -> bool {
        let to = match (&self.to, reveal.to) {
            (Receiver::AnyCaller, To::Caller) | (Receiver::All, _) => true,
            (Receiver::Caller(name), To::Caller) => name == caller,
            (Receiver::Party(party), To::Party(other)) => *party == other,
            _ => false,
        };
        to && self.what == reveal.what && self.of.as_ref().is_none_or(|of| *of == reveal.of)
    }
}
