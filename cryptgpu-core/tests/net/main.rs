//! Links: in memory and over TCP, their faults, what they record.

mod crowd;
mod endpoint;
mod memory;
mod netem;
mod proxy;
mod recording;
mod resume;
mod support;
mod tcp;
mod threads;
mod timeline;
mod wait;
mod wiped;
