//! The driver: devices with their contexts, streams, events, modules and memory, and the functions that libcuda exports.
//! Work is queued and executed late: when the host waits for it, in an order that the seed permutes within what streams
//! and events allow.

mod api;
pub(crate) mod code;
mod contexts;
pub(crate) mod device;
mod host;
mod inspect;
mod ipc;
mod launch;
mod modules;
mod queue;
mod streams;
mod transfer;
mod unsupported;
mod work;
