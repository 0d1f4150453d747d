//! Three party processes and their control protocol.
