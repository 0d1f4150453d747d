//! The emulator in libcuda's place.

use cryptgpu_emulator::client::{self, Emulator};
use std::sync::OnceLock;

static EMULATOR: OnceLock<Emulator> = OnceLock::new();

/// Opens the emulator, so that every later look-up of libcuda finds it.
pub fn open() -> &'static Emulator {
    EMULATOR.get_or_init(|| client::open().unwrap_or_else(|error| panic!("{error}")))
}

/// Fails when the emulator has found something wrong; nothing to ask on a real card.
pub fn assert_clean() {
    if let Some(emulator) = EMULATOR.get() {
        let reports = emulator.take_reports();
        assert!(reports.is_empty(), "the emulator reports: {reports:#?}");
    }
}
