//! Networks: plaintext against PyTorch's numbers, private against plaintext, weights, faults at every message.

mod faults;
mod mnist;
mod plaintext;
mod private;
mod support;
mod views;
mod weights;
