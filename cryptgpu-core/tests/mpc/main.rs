//! Protocols on the public API, as authors outside this crate use it, and their generated tables.

mod ground_api;
mod protocol_table;
mod truncation;
