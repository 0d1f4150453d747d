//! The CUDA implementation of the tensor API: words in a card's memory, and launches of the kernels
//! of `cryptgpu-kernels` on them. Here live contexts, streams, memory and transfers; kernels, their
//! compilation and their argument checks live in that crate, shares and messages in layers above.
//!
//! Each card that a process uses is opened once (`Card`) and has three streams: all kernels run on
//! one, in the order in which they were asked for, with small copies among them; large copies in each direction
//! run beside it, ordered by events. Nothing waits for the card but [`View::to_host`](super::View::to_host).
//!
//! **Errors travel with the words.** A launch that is refused, or memory that cannot be had, marks what
//! it should have written; whatever is computed from marked words is marked too, and bringing them to
//! main memory is the error. An error of the driver itself, after which a context cannot be trusted,
//! marks the card: from then on all its words are errors (`docs/adr/0015-errors-travel-with-words.md`).
//!
//! | file | what |
//! |---|---|
//! | `card.rs` | `Card`: context, streams, kernels, and the fault that ends its use |
//! | `launch.rs` | `launch`: the one way from views to a kernel |
//! | `words.rs` | buffers and views on a card |
//! | `blocks.rs` | blocks of memory, kept for reuse |
//! | `marks.rs` | points in streams that others wait for |
//! | `transfer.rs` | copies between main memory and the card, through pinned buffers |
//! | `mailbox.rs` | memory on the card that another process may copy from |
//! | `elementwise.rs`, … | operations, in the files and with the names of the CPU's |
//! | `timing.rs` | how long kernels take, and what the card could do |
//! | `probe.rs` | what this machine has: driver, compiler, cards |
//! | `service.rs` | whether CUDA's multi-process service runs |

mod blocks;
mod card;
mod launch;
mod mailbox;
mod marks;
mod probe;
mod service;
mod timing;
mod transfer;
mod words;

pub(super) mod bit_product;
pub(super) mod bits;
pub(super) mod elementwise;
pub(super) mod extension;
pub(super) mod gradient;
pub(super) mod pool;
pub(super) mod product;
pub(super) mod sign;
pub(super) mod truncation;

pub use blocks::MemoryUse;
pub use card::leave;
pub use probe::{CardInfo, Cuda, probe};
pub use product::METHOD_VARIABLE;
pub use service::{SERVICE_HINT, service};
pub use timing::{Peak, peak, seconds};
pub use words::{Buffer, View, ViewMut};

pub(crate) use card::{Card, card};
pub(crate) use launch::{copy, launch, launch_all};
pub(crate) use mailbox::{Mailbox, OpenMailbox};
