//! A card's memory that another process opens through the driver (CUDA IPC). Both processes touch it with copies only, which take
//! their turn among their kernels.

use super::words::{Buffer, View};
use super::{Card, card};
use crate::device::{Device, DeviceError};
use cryptgpu_kernels::library;
use cudarc::driver::{DriverError, result, sys};

/// `off` keeps messages between cards of this machine in main memory.
const IPC_VARIABLE: &str = "CRYPTGPU_CUDA_IPC";

/// A card's memory, of which another process has the handle. It has an allocation of its own: a handle leads to all of one.
#[derive(Debug)]
pub(crate) struct Mailbox {
    card: &'static Card,
    address: u64,
    words: usize,
    handle: [u8; 64],
}

/// Another process's mailbox.
#[derive(Debug)]
pub(crate) struct OpenMailbox {
    ordinal: u32,
    card: &'static Card,
    address: u64,
    words: usize,
}

/// The card, if messages may be handed to and from it, with its context on this thread.
fn card_for(ordinal: u32) -> Result<&'static Card, DeviceError> {
    let card = card(ordinal)?;
    card.check()?;
    if std::env::var(IPC_VARIABLE).is_ok_and(|value| value == "off") {
        return Err(none(card, &format!("{IPC_VARIABLE}=off")));
    }
    if !library::has_ipc() {
        return Err(none(card, &"the driver has no functions for it"));
    }
    card.context().bind_to_thread().map_err(|error| none(card, &error))?;
    Ok(card)
}

fn none(card: &Card, reason: &dyn std::fmt::Display) -> DeviceError {
    DeviceError::Mailbox { device: card.device(), reason: reason.to_string() }
}

impl Mailbox {
    pub(crate) fn create(ordinal: u32, words: usize) -> Result<Self, DeviceError> {
        let card = card_for(ordinal)?;
        let refused = |error: DriverError| none(card, &error);
        // SAFETY: the memory is given back by `free`, or stays the process's until it ends.
        let address = unsafe { result::malloc_sync(8 * words) }.map_err(refused)?;
        let mut mailbox = Mailbox { card, address, words, handle: [0; 64] };
        match mailbox.zero().and_then(|()| mailbox.export()) {
            Ok(handle) => {
                mailbox.handle = handle;
                Ok(mailbox)
            }
            Err(error) => {
                mailbox.free();
                Err(refused(error))
            }
        }
    }

    fn export(&self) -> Result<[u8; 64], DriverError> {
        let mut handle = sys::CUipcMemHandle { reserved: [0; 64] };
        // SAFETY: the pointer is valid for the call, the address is an allocation's.
        unsafe { sys::cuIpcGetMemHandle(&raw mut handle, self.address) }.result()?;
        Ok(handle.reserved.map(|byte| byte as u8))
    }

    fn zero(&self) -> Result<(), DriverError> {
        self.card.context().bind_to_thread()?;
        // SAFETY: so many bytes are allocated there.
        unsafe { result::memset_d8_async(self.address, 0, 8 * self.words, self.card.compute.cu_stream()) }?;
        self.card.compute.synchronize()
    }

    pub(crate) fn handle(&self) -> [u8; 64] {
        self.handle
    }

    pub(crate) fn device(&self) -> Device {
        self.card.device()
    }

    pub(crate) fn put(&self, at: usize, words: View<'_>) -> Result<(), DeviceError> {
        assert!(at <= self.words && words.len() <= self.words - at, "{} words at {at} of {}", words.len(), self.words);
        let (card, operation) = (self.card, "copying to another process");
        words.allocation.check()?;
        card.check()?;
        if words.device() != card.device() {
            return Err(DeviceError::Mixed { operation, found: words.device(), expected: card.device() });
        }
        words.allocation.settle(card)?;
        card.driver(operation, card.context().bind_to_thread())?;
        let turns = card.staging.turns();
        let to = self.address + 8 * at as u64;
        // SAFETY: the target lies within the mailbox, the source in a live allocation that is borrowed until this function
        // returns, and the stream is behind all that writes it; the other process does not touch the target meanwhile.
        let copy = unsafe { result::memcpy_dtod_async(to, words.address(), 8 * words.len(), card.compute.cu_stream()) };
        card.driver(operation, copy)?;
        // The other process has no part in this one's streams: the words are there before it hears of them.
        let copied = card.mark(&card.compute)?;
        card.driver(operation, copied.wait())?;
        card.staging.are_over(turns);
        // What went wrong in a kernel shows here, where the card was waited for.
        card.check()
    }

    /// Zeroes the memory and returns it. After a failure it stays the process's, as all memory of its card does.
    pub(crate) fn free(self) {
        if self.card.check().is_ok() && self.zero().is_ok() {
            // SAFETY: the memory came from the driver, is nobody's any more, and its uses have ended.
            let _ = unsafe { result::free_sync(self.address) };
        }
    }
}

impl OpenMailbox {
    pub(crate) fn open(ordinal: u32, handle: &[u8; 64], words: usize) -> Result<Self, DeviceError> {
        let card = card_for(ordinal)?;
        let handle = sys::CUipcMemHandle { reserved: handle.map(|byte| byte as std::ffi::c_char) };
        let flag = sys::CUipcMem_flags::CU_IPC_MEM_LAZY_ENABLE_PEER_ACCESS as u32;
        let mut address = 0;
        // SAFETY: the pointer is valid for the call. A handle that is none is refused.
        let opened = unsafe { sys::cuIpcOpenMemHandle_v2(&raw mut address, handle, flag) }.result();
        opened.map_err(|error| none(card, &error))?;
        let mailbox = OpenMailbox { ordinal, card, address, words };
        // The other process says how many words there are; the driver knows.
        let (mut start, mut bytes) = (0, 0);
        // SAFETY: the pointers are valid for the call.
        let range = unsafe { sys::cuMemGetAddressRange_v2(&raw mut start, &raw mut bytes, address) }.result();
        match range {
            Ok(()) if start == address && bytes >= 8 * words => Ok(mailbox),
            Ok(()) => {
                mailbox.close();
                Err(none(card, &format!("the other process says {words} words, the driver {bytes} bytes")))
            }
            Err(error) => {
                mailbox.close();
                Err(none(card, &error))
            }
        }
    }

    /// Words that cannot be copied are marked, as all that a card computes.
    pub(crate) fn take(&self, at: usize, len: usize) -> (Buffer, u64) {
        assert!(at <= self.words && len <= self.words - at, "{len} words at {at} of {}", self.words);
        let buffer = Buffer::alloc(self.ordinal, len);
        if let Err(error) = self.copy(at, len, &buffer) {
            buffer.allocation.mark(error);
        }
        (buffer, self.card.staging.take_turn())
    }

    fn copy(&self, at: usize, len: usize, to: &Buffer) -> Result<(), DeviceError> {
        let (card, operation) = (self.card, "copying from another process");
        to.allocation.check()?;
        card.driver(operation, card.context().bind_to_thread())?;
        let from = self.address + 8 * at as u64;
        // SAFETY: the source lies within the mailbox, which stays open; the target has room for all, and the stream is behind
        // its uses. Whatever the other process writes there is a value of a word.
        let copy =
            unsafe { result::memcpy_dtod_async(to.allocation.address(), from, 8 * len, card.compute.cu_stream()) };
        card.driver(operation, copy)
    }

    pub(crate) fn is_over(&self, turn: u64) -> bool {
        self.card.staging.is_over(turn)
    }

    /// Waits for all copies and gives the memory up. After a failure it stays open until the process ends.
    pub(crate) fn close(self) {
        let card = self.card;
        if card.context().bind_to_thread().and_then(|()| card.compute.synchronize()).is_ok() {
            // SAFETY: it was opened, and no copy from it is under way.
            let _ = unsafe { sys::cuIpcCloseMemHandle(self.address) }.result();
        }
    }
}
