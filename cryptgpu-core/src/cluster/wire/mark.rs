//! The mark that ends what a run has printed: a party's process writes it to its standard output and error, and the
//! caller waits for it, so that all that was printed appears before the result.

use std::io::{self, Write};

/// What a mark begins with: a control character that separates records, and so no text of anyone's.
pub(in crate::cluster) const MARK: &str = "\u{1e}cryptgpu run ";

/// Marks the end of a run on this process's standard output and error.
pub(in crate::cluster) fn mark(run: u64) {
    let line = format!("{MARK}{run}\n");
    // Whoever reads them is the caller, and if it is gone this process is about to end.
    let _ = io::stdout().lock().write_all(line.as_bytes()).and_then(|()| io::stdout().flush());
    let _ = io::stderr().lock().write_all(line.as_bytes());
}
