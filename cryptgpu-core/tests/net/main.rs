//! Links: in memory, over TCP, through shared memory, their faults, what they record.

mod crowd;
mod endpoint;
mod memory;
mod netem;
mod proxy;
mod recording;
mod resume;
mod shared;
mod streams;
mod support;
mod tcp;
mod threads;
mod timeline;
mod wait;
mod wiped;
