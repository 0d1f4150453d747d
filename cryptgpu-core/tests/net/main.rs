//! Links: in memory and over TCP, their faults, what they record.

mod crowd;
mod endpoint;
mod memory;
mod recording;
mod support;
mod tcp;
mod threads;
mod timeline;
mod wait;
mod wiped;
