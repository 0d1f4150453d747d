//! The tensor API and its implementations: buffers of ring words on a device, and the local
//! steps of every protocol on them. A kernel knows slices, streams and shapes; it does not know
//! parties or messages. Every device gives the same bits.
//!
//! | file | what |
//! |---|---|
//! | `buffer.rs` | [`Device`], [`Buffer`] and views of it: where words live |
//! | `spare.rs` | words in main memory, and what becomes of freed ones |
//! | `tensor.rs` | [`Tensor`]: a buffer with a shape, and its element-wise operations |
//! | `draw.rs` | [`Draw`]: masks, made in one launch or where they are used |
//! | `mailbox.rs` | a card's memory that another process may copy from |
//! | `kernels.rs` | the local steps of the protocols, as functions on views |
//! | `pool.rs` | windows over images, for pooling, and their adjoints |
//! | `product.rs` | ring products |
//! | `rearrange.rs` | axes in another order, parts of axes, repeated axes |
//! | `gradient.rs` | gradients of convolutions, as ring products |
//! | `geometry.rs` | shapes of windows and of products |
//! | `dispatch.rs` | dispatch of an operation to its device |
//! | `select.rs` | [`DeviceChoice`], [`Devices`]: which device each party takes |
//! | `cpu/` | the CPU's kernels |
//! | `cuda/` | cards: memory, streams, launches |

mod buffer;
mod dispatch;
mod draw;
mod error;
mod geometry;
mod gradient;
pub(crate) mod mailbox;
mod pool;
mod product;
mod rearrange;
mod select;
pub(crate) mod spare;
mod tensor;

pub mod cpu;
pub mod cuda;
pub mod kernels;

pub use buffer::{Buffer, Device, View, ViewMut};
pub use cryptgpu_kernels::{
    Binary, BitTerm, BlockOrder, CloseTerms, Combine, Combined, Deal, OpenTop, Results, SharedBits, SignWindow, Summed,
    TermShare, TreeStep, Unary,
};
pub use draw::{Draw, Masks, Placed, make};
pub use error::DeviceError;
pub use geometry::{ConvGeometry, GeometryError, MatmulGeometry, PlaneWindows, PoolGeometry, SeenKernel};
pub use rearrange::{Part, permuted};
pub use select::{DeviceChoice, DeviceInUse, Devices};
pub use spare::Words;
pub use tensor::Tensor;
