//! Memory on a card that another process of this machine may copy from: how parties in processes of their own hand messages
//! from card to card. Whoever writes and reads where in it, and when, is agreed elsewhere (`net/shared/mailbox.rs`); here the
//! bounds are checked.

use super::{Buffer, Device, DeviceError, View, cuda};

/// Bytes of what another process opens a mailbox by. They mean something to the driver only.
pub(crate) const HANDLE_BYTES: usize = 64;

/// A card's memory, of which another process has the handle.
#[derive(Debug)]
pub(crate) struct Mailbox(cuda::Mailbox);

/// Another process's mailbox.
#[derive(Debug)]
pub(crate) struct OpenMailbox(cuda::OpenMailbox);

impl Mailbox {
    /// A mailbox of zero words on a card.
    ///
    /// # Errors
    /// [`DeviceError::Mailbox`] on a CPU, and where card or driver have none to give; the card goes on.
    pub(crate) fn create(device: Device, words: usize) -> Result<Self, DeviceError> {
        match device {
            Device::Cpu => Err(none_on_cpu()),
            Device::Cuda(ordinal) => cuda::Mailbox::create(ordinal, words).map(Mailbox),
        }
    }

    pub(crate) fn handle(&self) -> [u8; HANDLE_BYTES] {
        self.0.handle()
    }

    pub(crate) fn device(&self) -> Device {
        self.0.device()
    }

    /// Copies words of the same card to place `at`, behind all that the card was asked for, and waits until they are there.
    /// Nobody may read them there meanwhile.
    ///
    /// # Errors
    /// What went wrong while the words were computed, or as they were copied.
    pub(crate) fn put(&self, at: usize, words: View<'_>) -> Result<(), DeviceError> {
        self.0.put(at, words.on_card())
    }

    /// Zeroes the memory and returns it. No other process may have it open.
    pub(crate) fn free(self) {
        self.0.free();
    }
}

impl OpenMailbox {
    /// Opens another process's mailbox of so many words, from a card.
    ///
    /// # Errors
    /// [`DeviceError::Mailbox`] on a CPU, and where card or driver refuse; the card goes on.
    pub(crate) fn open(device: Device, handle: &[u8; HANDLE_BYTES], words: usize) -> Result<Self, DeviceError> {
        match device {
            Device::Cpu => Err(none_on_cpu()),
            Device::Cuda(ordinal) => cuda::OpenMailbox::open(ordinal, handle, words).map(OpenMailbox),
        }
    }

    /// A copy of the `len` words from place `at` on, which must lie within, on the card that opened it; and the turn by which
    /// it is made: until that is over they must stay as they are ([`OpenMailbox::is_over`]).
    pub(crate) fn take(&self, at: usize, len: usize) -> (Buffer, u64) {
        let (buffer, turn) = self.0.take(at, len);
        (Buffer::Cuda(buffer), turn)
    }

    /// Whether a copy is known to have been made.
    pub(crate) fn is_over(&self, turn: u64) -> bool {
        self.0.is_over(turn)
    }

    /// Waits for all copies, and gives the memory up.
    pub(crate) fn close(self) {
        self.0.close();
    }
}

fn none_on_cpu() -> DeviceError {
    DeviceError::Mailbox { device: Device::Cpu, reason: "mailboxes are memory of cards".to_owned() }
}
