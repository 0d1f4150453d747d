//! Z_2^64 words, the fixed-point codec and bit-packed words. No I/O, no device, no sharing.
