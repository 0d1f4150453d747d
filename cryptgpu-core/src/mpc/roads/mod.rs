//! Every message of every protocol. All roads from additive to replicated shares are here and
//! nowhere else, and each masks what it sends: with a zero-share, or with a stream that the
//! receiver does not know. Protocols outside this folder compose these; the one road that masks
//! nothing, `raw.rs`, is for protocols that their author writes by hand, and the crate uses it nowhere.
//!
//! Elements are cut into three parts, and the parties' roles rotate from part to part, so that
//! the links carry equal load: in part c, party c has role 0, party c + 1 role 1 and party c + 2
//! role 2. Shares are written by role here: role r holds components r and r + 1. Streams in
//! common: roles 0 and 1 have F₁, roles 1 and 2 have F₂, roles 2 and 0 have F₀.
//!
//! | file | road |
//! |---|---|
//! | `wire.rs` | one message, its type, and who has which role |
//! | `round.rs` | several arrays at once: one message to each neighbour |
//! | `raw.rs` | arrays by hand, unmasked |
//! | `open.rs` | inputs and openings |
//! | `reshare.rs` | three additive shares to replicated ones |
//! | `truncation.rs` | the same, divided by 2^d |
//! | `sign.rs` | replicated words to their replicated sign bits |
//! | `bit_product.rs` | a bit times a tensor; a bit as a ring element |

mod bit_product;
mod open;
mod raw;
mod reshare;
mod round;
mod sign;
mod truncation;
mod wire;

pub use raw::Integer;
pub use round::{Arrived, Pending, Resolve, Round};
pub use wire::{Code, Kind, Side};
