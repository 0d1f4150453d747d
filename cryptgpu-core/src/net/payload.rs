//! The words of a message: where a party has them before it sends, on their way in main memory, and where a link has left them.
//! They are shares or keys, so no text shows them, and short ones in main memory, as keys are, are wiped wherever they end: sent,
//! refused, dropped.

use super::NetError;
use super::inbox::Fault;
use crate::device::{Buffer, Device, DeviceError, View, Words};
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use zeroize::Zeroize;

/// Payloads of at most so many words are wiped: keys are shorter, and to wipe long ones would cost as much as a copy.
const WIPED_WORDS: usize = 64;

/// The words of a message. `Debug` shows their number only.
#[derive(Clone, Default)]
pub(super) struct Payload(Words);

impl Payload {
    pub(super) fn new(words: Vec<u64>) -> Self {
        Payload(Words::new(words))
    }

    /// `len` words whose content is of no meaning: the caller overwrites all of it.
    pub(super) fn scratch(len: usize) -> Self {
        Payload(Words::scratch(len))
    }

    /// The words, which are their receiver's to wipe from now on.
    pub(super) fn take(mut self) -> Vec<u64> {
        std::mem::take(&mut self.0).into_vec()
    }
}

impl Drop for Payload {
    fn drop(&mut self) {
        if self.0.len() <= WIPED_WORDS {
            self.0.zeroize();
        }
    }
}

impl Deref for Payload {
    type Target = [u64];

    fn deref(&self) -> &[u64] {
        &self.0
    }
}

impl DerefMut for Payload {
    fn deref_mut(&mut self) -> &mut [u64] {
        &mut self.0
    }
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} words", self.0.len())
    }
}

/// The words of a message that a party sends, where it has them.
pub enum Outgoing<'a> {
    /// A buffer that is the message, and is its sender's no more.
    Whole(Buffer),
    /// Words that stay with the sender.
    Copy(View<'a>),
}

impl Outgoing<'_> {
    /// How many words.
    pub fn len(&self) -> usize {
        match self {
            Outgoing::Whole(buffer) => buffer.len(),
            Outgoing::Copy(view) => view.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Where they are.
    pub(super) fn device(&self) -> Device {
        match self {
            Outgoing::Whole(buffer) => buffer.device(),
            Outgoing::Copy(view) => view.device(),
        }
    }

    /// The words, to read.
    pub(super) fn view(&self) -> View<'_> {
        match self {
            Outgoing::Whole(buffer) => buffer.view(),
            Outgoing::Copy(view) => *view,
        }
    }

    /// The words in main memory.
    pub(super) fn into_host(self) -> Result<Vec<u64>, DeviceError> {
        match self {
            Outgoing::Whole(buffer) => buffer.into_host(),
            Outgoing::Copy(view) => view.to_host(),
        }
    }

    /// A buffer of their own, on their device.
    pub(super) fn into_buffer(self) -> Result<Buffer, DeviceError> {
        let buffer = match self {
            Outgoing::Whole(buffer) => buffer,
            Outgoing::Copy(view) => view.to_buffer(),
        };
        buffer.check()?;
        Ok(buffer)
    }
}

/// Shows where the words are and how many.
impl fmt::Debug for Outgoing<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Outgoing({} words, {})", self.len(), self.device())
    }
}

/// Why words on a device were not sent.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Unsent {
    /// They are not what they should be, or could not be fetched.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// As of any message.
    #[error(transparent)]
    Net(#[from] NetError),
}

/// The words of a message that has come, where its link has left them.
#[derive(Debug)]
pub struct Received(Place);

#[derive(Debug)]
enum Place {
    Host(Payload),
    /// On a card of this process, whose parties hand buffers over.
    Device(Buffer),
    /// On a card, in memory of its sender that this process can copy from.
    Mailbox(Letter),
}

/// Where messages are left on a card by another process.
pub(super) trait Letters: fmt::Debug + Send + Sync {
    /// A message of `len` words that its sender says to have put at place `start`.
    fn came(self: Arc<Self>, start: u64, len: usize) -> Result<Letter, Fault>;

    /// A copy of such a message.
    fn take(&self, start: u64, len: usize) -> Result<Buffer, DeviceError>;
}

/// A message that waits where its sender has put it.
#[derive(Debug)]
pub(super) struct Letter {
    letters: Arc<dyn Letters>,
    start: u64,
    len: usize,
}

impl Letter {
    pub(super) fn new(letters: Arc<dyn Letters>, start: u64, len: usize) -> Self {
        Letter { letters, start, len }
    }

    fn take(self) -> Result<Buffer, DeviceError> {
        self.letters.take(self.start, self.len)
    }
}

impl From<Letter> for Received {
    fn from(letter: Letter) -> Self {
        Received(Place::Mailbox(letter))
    }
}

impl From<Payload> for Received {
    fn from(words: Payload) -> Self {
        Received(Place::Host(words))
    }
}

impl From<Buffer> for Received {
    fn from(buffer: Buffer) -> Self {
        Received(Place::Device(buffer))
    }
}

impl Received {
    /// How many words.
    pub fn len(&self) -> usize {
        match &self.0 {
            Place::Host(words) => words.len(),
            Place::Device(buffer) => buffer.len(),
            Place::Mailbox(letter) => letter.len,
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The words, if they are in main memory.
    pub(super) fn on_host(&self) -> Option<&[u64]> {
        match &self.0 {
            Place::Host(words) => Some(words),
            Place::Device(_) | Place::Mailbox(_) => None,
        }
    }

    /// The words in main memory: their receiver's to wipe from now on.
    ///
    /// # Errors
    /// What went wrong on the device where they were left.
    pub fn into_host(self) -> Result<Vec<u64>, DeviceError> {
        match self.0 {
            Place::Host(words) => Ok(words.take()),
            Place::Device(buffer) => buffer.into_host(),
            Place::Mailbox(letter) => letter.take()?.into_host(),
        }
    }

    /// The words on `device`; nothing is copied where they are there.
    ///
    /// # Errors
    /// What went wrong on the device where they were left.
    pub fn into_buffer(self, device: Device) -> Result<Buffer, DeviceError> {
        let place = match self.0 {
            Place::Mailbox(letter) => Place::Device(letter.take()?),
            place => place,
        };
        match place {
            Place::Device(buffer) if buffer.device() == device => Ok(buffer),
            place => Ok(device.upload(Received(place).into_host()?)),
        }
    }
}
