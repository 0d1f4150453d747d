//! A Philox's state as data, in the form of NumPy's `Philox.state`.

use crate::prg::PrgError;
use serde::{Deserialize, Serialize};

/// Words in a block.
pub(super) const BLOCK: usize = 4;

/// All of a [`super::Philox`]: what NumPy's `Philox.state` holds.
///
/// Written by serde it has the nesting and names of NumPy's dictionary, so that
/// `json.dumps(philox.state, default=lambda a: a.tolist())` reads back here, and the reverse. Reading refuses what
/// no generator can be in; a buffer that is not the counter's block is allowed, as it is by NumPy.
///
/// ```
/// use cryptgpu_core::prg::philox::{Philox, PhiloxState};
/// let mut philox = Philox::seeded(1u64);
/// philox.random_raw();
/// let text = serde_json::to_string(&philox.state())?;
/// let state: PhiloxState = serde_json::from_str(&text)?;
/// assert_eq!(Philox::from_state(state)?.random_raw(), philox.random_raw());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Numpy", into = "Numpy")]
pub struct PhiloxState {
    /// The counter of the last block made, least significant word first.
    pub counter: [u64; 4],
    /// The key, least significant word first.
    pub key: [u64; 2],
    /// The last block made; zeros if none was since the counter was set.
    pub buffer: [u64; BLOCK],
    /// How many words of the buffer are used, 0 to 4.
    pub buffer_pos: usize,
    /// Whether `uinteger` is still to be given out.
    pub has_uint32: bool,
    /// The high half of the last word that was split for 32-bit draws; kept when used.
    pub uinteger: u32,
}

impl PhiloxState {
    /// The state when nothing is drawn yet.
    pub(super) fn fresh(key: [u64; 2], counter: [u64; 4]) -> Self {
        PhiloxState { counter, key, buffer: [0; BLOCK], buffer_pos: BLOCK, has_uint32: false, uinteger: 0 }
    }

    /// Refuses a state that no generator can be in.
    pub(super) fn check(self) -> Result<Self, PrgError> {
        if self.buffer_pos > BLOCK {
            return Err(bad("buffer_pos", format!("is {}, not 0 to {BLOCK}", self.buffer_pos)));
        }
        Ok(self)
    }
}

fn bad(field: &'static str, why: String) -> PrgError {
    PrgError::State { field, why }
}

/// NumPy's dictionary.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Numpy {
    bit_generator: String,
    state: Position,
    buffer: [u64; BLOCK],
    buffer_pos: u64,
    has_uint32: u64,
    uinteger: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Position {
    counter: [u64; 4],
    key: [u64; 2],
}

const NAME: &str = "Philox";

impl From<PhiloxState> for Numpy {
    fn from(state: PhiloxState) -> Self {
        Numpy {
            bit_generator: NAME.to_owned(),
            state: Position { counter: state.counter, key: state.key },
            buffer: state.buffer,
            buffer_pos: state.buffer_pos as u64,
            has_uint32: state.has_uint32.into(),
            uinteger: state.uinteger.into(),
        }
    }
}

impl TryFrom<Numpy> for PhiloxState {
    type Error = PrgError;

    fn try_from(numpy: Numpy) -> Result<Self, PrgError> {
        if numpy.bit_generator != NAME {
            return Err(bad("bit_generator", format!("is {:?}, not {NAME:?}", numpy.bit_generator)));
        }
        if numpy.has_uint32 > 1 {
            return Err(bad("has_uint32", format!("is {}, not 0 or 1", numpy.has_uint32)));
        }
        let uinteger = u32::try_from(numpy.uinteger)
            .map_err(|_| bad("uinteger", format!("is {}, which takes more than 32 bits", numpy.uinteger)))?;
        PhiloxState {
            counter: numpy.state.counter,
            key: numpy.state.key,
            buffer: numpy.buffer,
            buffer_pos: usize::try_from(numpy.buffer_pos).unwrap_or(usize::MAX),
            has_uint32: numpy.has_uint32 == 1,
            uinteger,
        }
        .check()
    }
}
