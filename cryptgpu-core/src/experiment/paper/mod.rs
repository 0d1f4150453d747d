//! The paper's evaluation as one list: every table and figure ([`Exhibit`]), the measurements that it is drawn from
//! ([`Entry`], in two sizes), and what makes them ([`Measuring`]). A notebook asks an exhibit for its records. Experiments
//! themselves are declared elsewhere; no number stands here.
//!
//! | file | what |
//! |---|---|
//! | `suite` | the tables and figures, and the list of measurements |
//! | `entry` | one measurement: what it is of, how it is known again, about how long it takes |
//! | `measuring` | runs entries, one after the other, at one set of parties |
//! | `measured` | a record of any experiment, and files of them |

mod entry;
mod measured;
mod measuring;
mod suite;

pub use entry::{Conditions, Entry, Subject, Work};
pub use measured::{Measured, read, records};
pub use measuring::{Measuring, Step};
pub use suite::{Exhibit, Size, suite};
