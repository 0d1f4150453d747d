//! Replicated sharing and every protocol.
