//! Every message of every protocol. Whatever turns additive shares into replicated ones is here and nowhere else, and
//! masks what it sends: with a zero-share, or with a stream that the receiver does not know. Protocols outside this
//! folder compose these; `unmasked.rs`, which masks nothing, is for protocols that their author writes by hand, and the
//! crate uses it nowhere.
//!
//! Elements are cut into three parts, and the parties' roles rotate from part to part, so that
//! the links carry equal load: in part c, party c has role 0, party c + 1 role 1 and party c + 2
//! role 2. Shares are written by role here: role r holds components r and r + 1. Streams in
//! common: roles 0 and 1 have F₁, roles 1 and 2 have F₂, roles 2 and 0 have F₀.
//!
//! | file | what |
//! |---|---|
//! | `message.rs` | one message, its kind, and who has which role |
//! | `round.rs` | several arrays at once: one message to each neighbour |
//! | `unmasked.rs` | arrays by hand, unmasked |
//! | `io.rs` | inputs, large ones in pieces, and openings |
//! | `reshare.rs` | three additive shares to replicated ones |
//! | `truncation.rs` | the same, divided by 2^d |
//! | `truncating.rs` | a truncation whose last message is on its way |
//! | `extension.rs` | from the ring of 32 bits to that of 64 |
//! | `msb.rs` | replicated words to their replicated sign bits |
//! | `tree.rs` | the levels of its prefix tree |
//! | `bit_injection.rs` | a bit times a tensor; a bit as a ring element |

mod bit_injection;
mod extension;
mod io;
mod message;
mod msb;
mod reshare;
mod round;
mod tree;
mod truncating;
mod truncation;
mod unmasked;

pub(crate) use io::INPUT_PIECE;
pub use message::{MessageKind, Side};
pub use round::{Arrived, Pending, Resolve, Round};
pub use truncating::Truncating;
pub use unmasked::Integer;
