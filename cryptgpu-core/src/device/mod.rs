//! The tensor API and its implementations: buffers of ring words on a device, and the local
//! steps of every protocol on them. A kernel knows slices, streams and shapes; it does not know
//! parties or messages. Every device gives the same bits.
//!
//! | file | what |
//! |---|---|
//! | `buffer.rs` | [`Device`], [`Buffer`] and views of it: where words live |
//! | `tensor.rs` | [`Tensor`]: a buffer with a shape, and its element-wise operations |
//! | `steps.rs` | local steps of the protocols, dispatched to a device |
//! | `pool.rs` | windows over images |
//! | `product.rs` | ring products |
//! | `geometry.rs` | shapes of windows |
//! | `place.rs` | from an operation to the device that runs it |
//! | `choice.rs` | [`DeviceChoice`], [`Devices`]: which device each party takes |
//! | `cpu/` | the CPU's kernels |
//! | `cuda/` | cards: memory, streams, launches |

mod buffer;
mod choice;
mod error;
mod geometry;
mod place;
mod pool;
mod product;
mod steps;
mod tensor;

pub mod cpu;
pub mod cuda;

pub use buffer::{Buffer, Device, View, ViewMut};
pub use choice::{DeviceChoice, DeviceInUse, Devices};
pub use cpu::elementwise::{Binary, Unary};
pub use cpu::sign::Window;
pub use error::DeviceError;
pub use geometry::{ConvGeometry, GeometryError, PoolGeometry};
pub use steps::{OpenedBits, Pad};
pub use tensor::Tensor;
