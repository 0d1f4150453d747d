//! A file's tensors made to fit a network: what wrappers put before the names is taken off, and what a file holds
//! beside the network (counters, training state) is left out where that is asked for. Each change is said in a notice;
//! no value of a tensor is changed here.

use super::{Graph, NnError, Weights};
use std::collections::HashSet;

/// Weights that fit a network, and what was changed to make them fit.
#[derive(Clone, Debug, PartialEq)]
pub struct FittedWeights {
    /// The weights: exactly the tensors of the network.
    pub weights: Weights,
    /// What was changed, a sentence each, for the person who brought the file.
    pub notices: Vec<String>,
}

/// What wrappers put before the names of tensors, and which do.
const PREFIXES: [(&str, &str); 3] = [
    ("module.", "torch.nn.DataParallel"),
    ("_orig_mod.", "torch.compile"),
    ("model.", "a module around the network, as Lightning's"),
];

impl Weights {
    /// Makes the tensors of a file fit `graph`: takes the prefixes `module.`, `_orig_mod.` and `model.` off their names
    /// where the network's own names are not there, and with `ignore_extra` leaves out what the network does not have.
    ///
    /// # Errors
    /// As [`Weights::check`].
    pub fn fit(mut self, graph: &Graph, ignore_extra: bool) -> Result<FittedWeights, NnError> {
        let mut notices = Vec::new();
        let needed: HashSet<String> = graph.parameters().into_iter().map(|parameter| parameter.name).collect();
        if let Some(prefix) = self.prefix(&needed) {
            let renamed = self.take_off(&prefix);
            let whose = PREFIXES.iter().filter(|(before, _)| prefix.contains(before)).map(|(_, whose)| *whose);
            let whose = whose.collect::<Vec<_>>().join(", ");
            notices.push(format!("the names of {renamed} tensors begin with `{prefix}` ({whose}), which is taken off"));
        }
        if ignore_extra {
            let extra = self.extra(&needed);
            if !extra.is_empty() {
                let shown = listed(&extra);
                notices.push(format!(
                    "left out, for network `{}` does not have them ({} in all): {shown}",
                    graph.name(),
                    extra.len()
                ));
            }
            self.retain(|name| needed.contains(name));
        }
        self.check(graph)?;
        Ok(FittedWeights { weights: self, notices })
    }

    /// What stands before the names that the network needs, if none of them is there as it is.
    fn prefix(&self, needed: &HashSet<String>) -> Option<String> {
        if self.names().any(|name| needed.contains(name)) {
            return None;
        }
        self.names().find_map(|name| {
            let mut rest = name;
            while let Some(shorter) = PREFIXES.iter().find_map(|(prefix, _)| rest.strip_prefix(prefix)) {
                rest = shorter;
                if needed.contains(rest) {
                    return name.strip_suffix(rest).map(str::to_owned);
                }
            }
            None
        })
    }
}

/// A list of at most five of these tensors, and how many more there are.
pub(super) fn listed(tensors: &[String]) -> String {
    let mut shown = tensors.iter().take(5).cloned().collect::<Vec<_>>().join(", ");
    if tensors.len() > 5 {
        shown += &format!(" and {} more", tensors.len() - 5);
    }
    shown
}
