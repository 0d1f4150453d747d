//! Networks: plaintext against PyTorch's numbers, private against plaintext, gradients against finite differences, weights, faults at every message.

mod averages;
mod faults;
mod fetched;
mod going_on;
mod gradients;
mod mnist;
mod onnx;
mod onnx_exports;
mod onnx_nodes;
mod plaintext;
mod private;
mod support;
mod torch;
mod training;
mod views;
mod weights;
