//! CUDA kernels for ring elements of 64 or 32 bits and packed bits, and what it takes to run them: sources by family
//! (`*.cu`, each beside its wrapper), NVRTC at first use with a cache on disk, and one typed
//! launch function a kernel that checks lengths before anything reaches the card.
//!
//! Here live kernels on device pointers, lengths and geometry. What may not live here: shares,
//! parties, messages, allocation, the choice of a stream. Building needs no CUDA: libcuda and
//! NVRTC are opened at run time, and their absence is an error value, never a panic.
//!
//! | module | what |
//! |---|---|
//! | [`library`] | finds and opens libcuda and NVRTC |
//! | [`compile`] | sources to cubin or PTX, cached by content |
//! | [`launch`] | device pointers as arguments, typed kernels, [`Kernels`] of one context |
//! | `elementwise`, … | one file a family: the wrappers, methods of [`Kernels`] |
//!
//! `docs/adding-an-operation.md` says how to add one.

// A kernel's type is the list of its parameters.
#![allow(clippy::type_complexity)]

mod bit_product;
mod bits;
mod check;
pub mod compile;
mod compiler;
mod elementwise;
mod error;
mod extension;
pub mod launch;
pub mod library;
mod pool;
mod prg;
mod product;
mod sign;
mod truncation;

pub use bit_product::BitTerm;
pub use elementwise::{Binary, BlockOrder, Combine, Combined, Unary};
pub use error::KernelError;
pub use launch::{Element, KernelInfo, Kernels, Options, Width, Words, WordsMut};
pub use pool::Window;
pub use prg::{RoundKeys, Stream, ZeroShare};
pub use product::{Conv2d, ConvTerm, Matrix, Method, Plan, Route, Term};
pub use sign::{SharedBits, SignWindow, Summed, TreeStep};
pub use truncation::{CloseTerms, Deal, OpenTop, Results, TermShare};
