//! Runs as tables: what each step cost, at all parties and at each, every message, and two runs side by side.

use cryptgpu_core::mpc::message_kind;
use cryptgpu_core::net::{Figures, PartyId, StepTrace, Trace};
use polars::prelude::DataFrame;

use super::{Table, counts, numbers, texts};
use crate::Result;

/// A run by steps, each with the steps within it, and in all.
///
/// | column | |
/// |---|---|
/// | `step` | with those around it: `conv1/truncation` |
/// | `calls` | how often it was entered |
/// | `rounds` | by how much the longest chain of messages grew |
/// | `messages`, `bytes` | sent by all parties; bytes of payload |
/// | `ms` | wall-clock time, on average over the parties |
/// | `computing ms`, `waiting ms` | its two parts: waiting is time blocked in a receive |
/// | `% of time` | of the whole run |
///
/// # Errors
/// [`Polars`](crate::NotebookError::Polars) if no frame can be made.
pub fn trace(trace: &Trace) -> Result<Table> {
    let total = StepTrace { path: "total".to_owned(), ..trace.total() };
    let whole = total.seconds();
    let rows: Vec<StepTrace> = trace.steps().into_iter().chain([total]).collect();
    let millis = |seconds: fn(&StepTrace) -> f64| rows.iter().map(move |row| Some(1e3 * seconds(row)));
    let columns = vec![
        texts("step", rows.iter().map(|row| Some(row.path.clone()))),
        counts("calls", rows.iter().map(StepTrace::calls)),
        counts("rounds", rows.iter().map(|row| row.rounds)),
        counts("messages", rows.iter().map(StepTrace::messages)),
        counts("bytes", rows.iter().map(StepTrace::bytes)),
        numbers("ms", millis(StepTrace::seconds)),
        numbers("computing ms", millis(StepTrace::compute_seconds)),
        numbers("waiting ms", millis(StepTrace::wait_seconds)),
        numbers("% of time", rows.iter().map(|row| (whole > 0.0).then(|| 100.0 * row.seconds() / whole))),
    ];
    let caption = "A step includes the steps within it. Messages and bytes: sent by all parties. Times: on average over \
                   the parties; waiting is time blocked in a receive.";
    Ok(Table { frame: DataFrame::new(rows.len(), columns)?, caption: caption.to_owned() })
}

/// A run by steps and parties, with what went over each link.
///
/// # Errors
/// As [`trace`].
pub fn parties(trace: &Trace) -> Result<Table> {
    let total = StepTrace { path: "total".to_owned(), ..trace.total() };
    let steps: Vec<StepTrace> = trace.steps().into_iter().chain([total]).collect();
    let rows: Vec<_> = steps.iter().flat_map(|step| PartyId::ALL.map(|party| (step, party))).collect();
    let of = |(step, party): &(&StepTrace, PartyId)| step.parties[party.index()];
    let sent = |to: fn(PartyId) -> PartyId| rows.iter().map(move |(step, party)| step.link(*party, to(*party)));
    let millis = |nanos: u64| Some(1e-6 * nanos as f64);
    let columns = vec![
        texts("step", rows.iter().map(|(step, _)| Some(step.path.clone()))),
        counts("party", rows.iter().map(|(_, party)| party.index() as u64)),
        counts("calls", rows.iter().map(|row| of(row).calls)),
        counts("own rounds", rows.iter().map(|row| of(row).rounds)),
        counts("messages to next", sent(PartyId::next).map(|link| link.messages)),
        counts("bytes to next", sent(PartyId::next).map(|link| link.payload_bytes)),
        counts("messages to previous", sent(PartyId::prev).map(|link| link.messages)),
        counts("bytes to previous", sent(PartyId::prev).map(|link| link.payload_bytes)),
        counts("messages received", rows.iter().map(|row| of(row).received.iter().sum())),
        numbers("ms", rows.iter().map(|row| millis(of(row).wall_nanos))),
        numbers("computing ms", rows.iter().map(|row| millis(of(row).compute_nanos()))),
        numbers("waiting ms", rows.iter().map(|row| millis(of(row).wait_nanos))),
    ];
    let caption = "Own rounds: by how much the longest chain of messages that ends at this party grew; one that falls \
                   behind and catches up counts more than the step has.";
    Ok(Table { frame: DataFrame::new(rows.len(), columns)?, caption: caption.to_owned() })
}

/// Every message that was kept, in the order of sending. Times count from the beginning of the run; `waited ms` is how
/// long the receive took that returned it.
///
/// # Errors
/// As [`trace`].
pub fn messages(trace: &Trace) -> Result<Table> {
    let rows = trace.messages();
    let millis = |nanos: i64| 1e-6 * nanos as f64;
    let receipts = || rows.iter().map(|row| row.receipt.as_ref());
    let columns = vec![
        counts("from", rows.iter().map(|row| row.from.index() as u64)),
        counts("to", rows.iter().map(|row| row.to.index() as u64)),
        texts("step", rows.iter().map(|row| Some(row.step.clone()))),
        texts("kind", rows.iter().map(|row| Some(message_kind(row.kind)))),
        counts("bytes", rows.iter().map(|row| row.bytes)),
        counts("round", rows.iter().map(|row| row.round)),
        numbers("sent ms", rows.iter().map(|row| Some(millis(row.sent_nanos)))),
        numbers("received ms", receipts().map(|receipt| receipt.map(|receipt| millis(receipt.at_nanos)))),
        numbers("waited ms", receipts().map(|receipt| receipt.map(|receipt| 1e-6 * receipt.waited_nanos as f64))),
    ];
    let mut caption =
        "Times since the run began; received: when the receiver's program had it, however early it came; \
                       waited: how long that receive took."
            .to_owned();
    let counted = trace.total().messages();
    if counted > rows.len() as u64 {
        caption += &format!("\nThe first {} of {counted} messages: beyond these only sums were kept.", rows.len());
    }
    Ok(Table { frame: DataFrame::new(rows.len(), columns)?, caption })
}

/// Two runs side by side, by steps: `× …` is how many times as much the first has.
///
/// # Errors
/// As [`trace`].
pub fn compare(first: (&str, &Trace), second: (&str, &Trace)) -> Result<Table> {
    let comparison = first.1.compare(second.1);
    let rows: Vec<_> = comparison.steps.iter().chain([&comparison.total]).collect();
    let mut columns = vec![texts("step", rows.iter().map(|row| Some(row.path.clone())))];
    type Figure = fn(&Figures) -> f64;
    let figures: [(&str, Figure); 5] = [
        ("rounds", |figures| figures.rounds as f64),
        ("messages", |figures| figures.messages as f64),
        ("bytes", |figures| figures.bytes as f64),
        ("ms", |figures| 1e3 * figures.seconds),
        ("waiting ms", |figures| 1e3 * figures.wait_seconds),
    ];
    for (name, figure) in figures {
        columns.push(numbers(&format!("{name}, {}", first.0), rows.iter().map(|row| row.this.as_ref().map(figure))));
        columns.push(numbers(&format!("{name}, {}", second.0), rows.iter().map(|row| row.other.as_ref().map(figure))));
        columns.push(numbers(&format!("× {name}"), rows.iter().map(|row| row.ratio(figure))));
    }
    let caption = format!(
        "Steps by their names; ×: how many times as much `{}` has as `{}`, where both have the step. Messages and bytes of \
         all parties; times on average over the parties.",
        first.0, second.0
    );
    Ok(Table { frame: DataFrame::new(rows.len(), columns)?, caption })
}
