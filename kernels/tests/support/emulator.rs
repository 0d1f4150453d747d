//! The emulator in libcuda's place.

/// Opens the emulator, so that every later look-up of libcuda finds it.
pub fn open() {}
