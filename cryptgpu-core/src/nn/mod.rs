//! Networks: what they are, what they hold and cost, what they compute, and their evaluation on shares. A [`Graph`] is
//! public and names no device, no share and no party; protocols live in [`crate::mpc`].
//!
//! | file | what |
//! |---|---|
//! | `graph.rs` | [`Graph`]: nodes with operations, names and shapes |
//! | `infer.rs` | shapes of results |
//! | `rearrange.rs` | [`Rearrange`]: elements in other places |
//! | `zoo/` | networks by name |
//! | `weights.rs` | [`Weights`]: named plaintext tensors, read, written, made from a seed, checked against a graph |
//! | `onnx/` | [`OnnxModel`]: networks and weights from ONNX files |
//! | `torch/` | weights from state dicts of PyTorch, of which nothing is executed |
//! | `source.rs` | [`WeightSource`], [`WeightFile`]: where weights come from |
//! | `fit.rs` | [`FittedWeights`]: a file's tensors made to fit a network, with a notice for each change |
//! | `fold.rs` | batch normalisation folded into the convolution before it |
//! | `plan.rs` | [`Plan`]: the steps that the parties run, in order |
//! | `lower.rs` | lowering of a graph to a plan |
//! | `count.rs` | sizes of a network: activations, multiply-accumulates, parameters |
//! | `divisor.rs` | public divisors that wait for the next truncation |
//! | `cost.rs` | bytes and rounds of a plan, as the protocols declare them |
//! | `memory.rs` | what a party's process takes in memory |
//! | `estimate.rs` | how long an inference may take, guessed from its costs |
//! | `window.rs` | which bits each comparison looks at, and settings that cannot work |
//! | `bound.rs` | how large each value can become, by interval arithmetic on the weights |
//! | `range.rs` | whether a network's values fit the ring: [`range::headroom`] by layer |
//! | `plaintext/` | evaluation, gradients and training in f64, the oracle |
//! | `private/` | [`SharedModel`]: evaluation on shares |
//! | `training/` | training on shares: [`training::Train`] says how |
//! | `predictions.rs` | [`predictions()`]: classes from scores |
//! | `show.rs` | how networks, sizes and headroom show themselves |
//! | `error.rs` | [`NnError`] |

mod bound;
pub mod cost;
pub mod count;
mod divisor;
mod error;
pub mod estimate;
mod fit;
pub mod fold;
pub mod graph;
mod infer;
pub mod lower;
pub mod memory;
pub mod onnx;
pub mod plaintext;
pub mod plan;
mod predictions;
pub mod private;
pub mod range;
mod rearrange;
mod seen;
mod show;
mod source;
mod torch;
pub mod training;
pub mod weights;
pub mod window;
pub mod zoo;

pub use divisor::Divisor;
pub use error::{NnError, Remedy};
pub use fit::FittedWeights;
pub use fold::fold_weights;
pub use graph::{Graph, GraphBuilder, Node, NodeId, Op};
pub use infer::is_batch_of;
pub use lower::LowerOptions;
pub use onnx::{OnnxError, OnnxModel};
pub use plan::Plan;
pub use predictions::predictions;
pub use private::SharedModel;
pub use rearrange::Rearrange;
pub use show::headroom_table;
pub use source::{WeightFile, WeightSource};
pub use weights::Weights;
