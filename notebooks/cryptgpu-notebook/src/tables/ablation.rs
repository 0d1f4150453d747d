//! What is ours, switched off in turn: each change beside the usual run of the same network on the same machine.

use cryptgpu_core::experiment::{Record, latest};

use super::inference::taken;
use super::source::{self, Measured};
use crate::sheet::{Cell, Column, Quantity, Sheet};
use crate::{NotebookError, Result};

/// One image of each network with one thing changed, and what that does to time, bytes, rounds and error. Rows are those of
/// machines on which the network's usual run was measured too.
///
/// # Errors
/// [`Empty`](NotebookError::Empty) where nothing was measured both ways.
pub fn ablation(records: &[Record]) -> Result<Sheet> {
    let mut records = latest(records);
    records
        .retain(|record| !record.is_plaintext() && !record.is_emulated() && record.batch == 1 && record.link == "none");
    let mut rows: Vec<(&Record, &Record, String)> = vec![];
    for usual in records.iter().filter(|record| changed(record, &record.network).is_none()) {
        let here = |record: &&Record| {
            base(&record.network) == usual.network
                && record.machine.cpu == usual.machine.cpu
                && record.device == usual.device
        };
        let mut others: Vec<_> = records
            .iter()
            .filter(here)
            .filter_map(|record| changed(record, &usual.network).map(|what| (record, usual, what)))
            .collect();
        if !others.is_empty() {
            others.sort_by(|a, b| a.2.cmp(&b.2));
            rows.push((usual, usual, "as usual".to_owned()));
            rows.extend(others);
        }
    }
    if rows.is_empty() {
        let hint = "measure with `cryptgpu run paper --only ablation` and read its file";
        return Err(NotebookError::Empty { what: "the ablation", hint });
    }
    let ratio = |of: fn(&Record) -> f64| {
        rows.iter().map(move |(record, usual, _)| Cell::number((of(usual) > 0.0).then(|| of(record) / of(usual))))
    };
    let bytes = |record: &Record| record.total_bytes() as f64;
    let measured: Vec<Measured<'_>> = rows.iter().map(|(record, ..)| taken(record)).collect();
    let mut columns = vec![
        Column::texts("network", rows.iter().map(|(_, usual, _)| usual.network.clone())),
        Column::texts("changed", rows.iter().map(|(.., what)| what.clone())),
        Column::new("time", Quantity::Seconds, rows.iter().map(|(record, ..)| Cell::number(record.seconds))),
        Column::new("of the usual", Quantity::Times, ratio(|record| record.seconds)),
        Column::new("sent", Quantity::Bytes, rows.iter().map(|(record, ..)| Cell::number(bytes(record)))),
        Column::new("of the usual bytes", Quantity::Times, ratio(|record| record.total_bytes() as f64)),
        Column::new("rounds", Quantity::Count, rows.iter().map(|(record, ..)| Cell::number(record.rounds as f64))),
        Column::new(
            "largest error",
            Quantity::Error,
            rows.iter().map(|(record, ..)| Cell::number(record.max_abs_error)),
        ),
    ];
    let (places, machines) = source::measured(&measured);
    columns.extend(places);
    let caption = "One image, links as they are. A factor above 1 is what the change costs, one below 1 what it saves. Real \
                   max-pools and ReLU behind pooling are other networks, with other results; Philox is no cryptographic \
                   generator, and a run with it is not private; a window of 32 bits is right where the owner of the weights can \
                   bound every compared value.";
    Ok(Sheet::new("What each choice costs", columns).noted(caption).noted(&machines))
}

/// The network of which one is a variant.
fn base(network: &str) -> &str {
    ["-maxpool", "-relu-after-pool"].into_iter().find_map(|end| network.strip_suffix(end)).unwrap_or(network)
}

/// What a record has otherwise than the usual run of `network`, in words; none for that.
fn changed(record: &Record, network: &str) -> Option<String> {
    let variant = match record.network.strip_prefix(network) {
        Some("") if base(&record.network) == record.network => None,
        Some("-maxpool") => Some("real max-pools".to_owned()),
        Some("-relu-after-pool") => Some("ReLU behind pooling".to_owned()),
        _ => Some(record.network.clone()),
    };
    let window =
        (!["", "none", "0:64"].contains(&record.window.as_str())).then(|| match record.window.split_once(':') {
            Some((low, width)) => format!("comparisons see {width} bits from bit {low} on"),
            None => record.window.clone(),
        });
    let all = [
        variant,
        (record.fidelity == "paper").then(|| "CryptGPU's truncation and order of layers".to_owned()),
        window,
        (!["", "off"].contains(&record.check_range.as_str())).then(|| "looks for values beyond the range".to_owned()),
        record.is_insecure().then(|| "Philox in place of AES, INSECURE".to_owned()),
        (record.fraction_bits != 20).then(|| format!("{} fraction bits", record.fraction_bits)),
        record.parties.starts_with("threads").then(|| "threads of one process: no TLS, no sockets".to_owned()),
        (![0, record.machine.cores].contains(&record.threads[0]))
            .then(|| format!("{} thread(s) a party", record.threads[0])),
    ];
    let all: Vec<String> = all.into_iter().flatten().collect();
    (!all.is_empty()).then(|| all.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tables::record;

    #[test]
    fn each_change_stands_beside_the_usual_run() {
        let mut narrow = record("lenet", 0.015);
        narrow.window = "0:32".into();
        let maxpool = record("lenet-maxpool", 0.03);
        let mut elsewhere = narrow.clone();
        elsewhere.machine.cpu = "another".into();
        let table = ablation(&[record("lenet", 0.02), narrow, maxpool, elsewhere, record("resnet50", 1.0)]).unwrap();
        assert_eq!(table.rows(), 3);
        let text = |row| table.cell("changed", row).unwrap().text.clone();
        assert_eq!(
            [text(0), text(1), text(2)],
            ["as usual", "comparisons see 32 bits from bit 0 on", "real max-pools"]
        );
        assert!((table.cell("of the usual", 1).unwrap().number.unwrap() - 0.75).abs() < 1e-9);
        assert!(matches!(ablation(&[record("lenet", 0.02)]), Err(NotebookError::Empty { .. })));
    }
}
