//! Runs as tables: what each step cost, at all parties and at each, every message, and two runs side by side.

use cryptgpu_core::mpc::message_kind;
use cryptgpu_core::net::{PartyId, StepTrace, Trace};
use polars::prelude::DataFrame;

use super::{Table, counts, numbers, texts};
use crate::Result;

/// A run by steps, each with the steps within it, and in all: [`Trace::table`] as a data frame.
///
/// # Errors
/// [`Polars`](crate::NotebookError::Polars) if no frame can be made.
pub fn trace(trace: &Trace) -> Result<Table> {
    Table::of(&trace.table())
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
    Table::of(&first.1.compare(second.1).table(first.0, second.0))
}
