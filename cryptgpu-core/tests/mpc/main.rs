//! Protocols on the public API, as authors outside this crate use it, and their generated tables.

mod author_api;
mod protocol_table;
mod rows;
mod security_table;
mod truncation;
