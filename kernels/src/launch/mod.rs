//! Launches of kernels with typed arguments. [`Words`] and [`WordsMut`] are what wrappers take; `Kernel`
//! ties a kernel's name to the types of its parameters, so that no call can pass others; and
//! [`Kernels`] holds the images of one context and launches on a stream of it.

mod arguments;
mod element;
mod kernel;
mod kernels;
mod words;

pub use element::{Element, Width};
pub use kernel::KernelInfo;
pub use kernels::{Kernels, Options};
pub use words::{Words, WordsMut};

pub(crate) use arguments::{Argument, Arguments, Job, Jobs};
pub(crate) use kernel::Kernel;
pub(crate) use words::{In, InOut};
