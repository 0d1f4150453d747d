//! Device memory of one process for another. A handle names the exporting process's socket, which is in no folder and goes with
//! its process, and the allocation; whoever opens it gets the memory's descriptor there (`memory::share`).
//!
//! Events of other processes are not emulated: what orders processes here is that one waits for its own work and tells the other.

use std::collections::HashMap;
use std::ffi::c_uint;
use std::hash::{BuildHasher, RandomState};
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use parking_lot::Mutex;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
    recvmsg, sendmsg, sockopt::socket_peercred,
};

use super::api::{give, with_current};
use super::code::{self, Code};
use super::device::Device;
use super::transfer::refuse;
use crate::checks::Check;
use crate::memory::Fault;
use crate::memory::share::{self, Share};

const MAGIC: [u8; 8] = *b"CGEMUIPC";

/// The flag that CUDA asks for: peer access where it is needed.
const LAZY_ENABLE_PEER_ACCESS: c_uint = 1;

/// How long the other process may take.
const WITHIN: Duration = Duration::from_secs(5);

/// `CUipcMemHandle`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Handle([u8; 64]);

impl Handle {
    fn new(numbers: [u64; 4]) -> Self {
        let mut bytes = [0; 64];
        bytes[..8].copy_from_slice(&MAGIC);
        for (at, number) in bytes[8..].chunks_exact_mut(8).zip(numbers) {
            at.copy_from_slice(&number.to_le_bytes());
        }
        Self(bytes)
    }

    fn numbers(&self) -> Option<[u64; 4]> {
        let (words, _) = self.0.as_chunks::<8>();
        (words[0] == MAGIC).then(|| std::array::from_fn(|index| u64::from_le_bytes(words[index + 1])))
    }
}

/// What this process lets others have, by number.
static EXPORTED: Mutex<Option<HashMap<u64, Arc<Share>>>> = Mutex::new(None);

fn address(door: u64) -> io::Result<SocketAddr> {
    SocketAddr::from_abstract_name(format!("cryptgpu-emulator-{door:016x}"))
}

/// The number in the name of this process's socket, at which a thread answers from the first export on.
fn door() -> Option<u64> {
    static DOOR: OnceLock<Option<u64>> = OnceLock::new();
    *DOOR.get_or_init(|| {
        let door = RandomState::new().hash_one(share::own());
        let listener = UnixListener::bind_addr(&address(door).ok()?).ok()?;
        let serve = move || {
            for visitor in listener.incoming().flatten() {
                // Whoever asks for nothing that is here, or too slowly, gets nothing.
                let _ = answer(visitor);
            }
        };
        std::thread::Builder::new().name("emulator-ipc".to_owned()).spawn(serve).ok()?;
        Some(door)
    })
}

/// Gives a process of this account the descriptor of the memory whose number it sends.
fn answer(mut visitor: UnixStream) -> io::Result<()> {
    if socket_peercred(&visitor)?.uid != rustix::process::geteuid() {
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    visitor.set_read_timeout(Some(WITHIN))?;
    let mut number = [0; 8];
    visitor.read_exact(&mut number)?;
    let share = EXPORTED.lock().as_ref().and_then(|all| all.get(&u64::from_le_bytes(number)).cloned());
    let share = share.ok_or(io::ErrorKind::NotFound)?;
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let files = [share.file()];
    if control.push(SendAncillaryMessage::ScmRights(&files)) {
        sendmsg(&visitor, &[IoSlice::new(&[0])], &mut control, SendFlags::NOSIGNAL)?;
    }
    Ok(())
}

/// Asks the process at a door for memory.
fn ask(door: u64, number: u64) -> io::Result<OwnedFd> {
    let mut socket = UnixStream::connect_addr(&address(door)?)?;
    socket.set_read_timeout(Some(WITHIN))?;
    socket.write_all(&number.to_le_bytes())?;
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    recvmsg(socket.as_fd(), &mut [IoSliceMut::new(&mut [0])], &mut control, RecvFlags::CMSG_CLOEXEC)?;
    let files = control.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(files) => Some(files),
        _ => None,
    });
    files.flatten().next().ok_or_else(|| io::ErrorKind::NotFound.into())
}

/// Memory that is freed is nobody's to open any more; an error if another process has it open.
pub fn withdraw(device: &Device, pointer: u64) -> Result<(), Fault> {
    let Some(allocation) = device.memory.start(pointer) else { return Ok(()) };
    let Some(share) = allocation.share() else { return Ok(()) };
    if allocation.is_imported() {
        let message =
            format!("free of {}, which is another process's: close it with cuIpcCloseMemHandle", allocation.name);
        return Err(Fault::new(Check::InvalidFree, message));
    }
    if let Some(process) = share.opened_elsewhere() {
        let message = format!("{} is freed while process {process} has it open", allocation.name);
        return Err(Fault::new(Check::FreeInUse, message));
    }
    if let Some(all) = EXPORTED.lock().as_mut() {
        all.retain(|_, exported| !Arc::ptr_eq(exported, share));
    }
    Ok(())
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuIpcGetMemHandle(to: *mut Handle, pointer: u64) -> Code {
    with_current("cuIpcGetMemHandle", |device| {
        // Of plain allocations only: not of a pool's, which streams order, and not of another process's.
        let Some(found) = device.memory.start(pointer) else { return Err(code::INVALID_VALUE) };
        if found.variable || found.is_imported() || found.born != Default::default() {
            return Err(code::INVALID_VALUE);
        }
        // The bytes move to where others can have them.
        device.wait_for_all()?;
        let share = device.memory.export(pointer).map_err(|_| code::OUT_OF_MEMORY)?;
        let door = door().ok_or(code::OPERATING_SYSTEM)?;
        let mut exported = EXPORTED.lock();
        let all = exported.get_or_insert_default();
        let number = all.iter().find(|(_, other)| Arc::ptr_eq(other, &share)).map(|(number, _)| *number);
        let number = number.unwrap_or(pointer >> 8 | 1 << 63);
        let handle = Handle::new([share::own(), door, number, share.bytes as u64]);
        all.insert(number, share);
        // SAFETY: the caller's pointer is valid.
        unsafe { give(to, handle) }
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuIpcOpenMemHandle_v2(to: *mut u64, handle: Handle, flags: c_uint) -> Code {
    with_current("cuIpcOpenMemHandle_v2", |device| {
        if flags != LAZY_ENABLE_PEER_ACCESS {
            return Err(code::INVALID_VALUE);
        }
        let Some([process, door, number, bytes]) = handle.numbers() else { return Err(code::INVALID_VALUE) };
        if process == share::own() {
            return Err(code::INVALID_CONTEXT);
        }
        let file = ask(door, number).map_err(|_| code::INVALID_HANDLE)?;
        let share = Share::open(file, bytes as usize).map_err(|_| code::MAP_FAILED)?;
        let name = format!("memory of {bytes} bytes of process {process}");
        let pointer = device.memory.import(Arc::new(share), name).ok_or(code::MAP_FAILED)?;
        // SAFETY: the caller's pointer is valid.
        unsafe { give(to, pointer) }
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuIpcCloseMemHandle(pointer: u64) -> Code {
    with_current("cuIpcCloseMemHandle", |device| {
        if !device.memory.start(pointer).is_some_and(|found| found.is_imported()) {
            return Err(code::INVALID_VALUE);
        }
        device.wait_for_all()?;
        device.memory.free(pointer).map_err(|fault| refuse(device, fault))
    })
}
