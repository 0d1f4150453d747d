//! What outlives a session: models and tensors that the parties have saved by name, and a model that they serve to clients.

mod faults;
mod saved;
mod serve;
mod support;
