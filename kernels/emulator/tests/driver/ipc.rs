//! Memory of one process in another, and what a process that does not wait, or is killed, means for it.

use super::common::{self, Device, config, device};
use cryptgpu_emulator::Check;
use cudarc::driver::sys::{self, CUipcMemHandle, CUresult};
use cudarc::driver::{CudaStream, DriverError, PushKernelArg, result};
use std::io::{BufRead, BufReader, Lines, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;

const ROLE: &str = "CRYPTGPU_TEST_IPC_PEER";
const WORDS: usize = 256;

fn export(pointer: u64) -> Result<CUipcMemHandle, DriverError> {
    let mut handle = CUipcMemHandle { reserved: [0; 64] };
    // SAFETY: the pointer is valid for the call.
    unsafe { sys::cuIpcGetMemHandle(&raw mut handle, pointer) }.result().map(|()| handle)
}

fn open(handle: CUipcMemHandle, flags: u32) -> Result<u64, DriverError> {
    let mut pointer = 0;
    // SAFETY: the pointer is valid for the call.
    unsafe { sys::cuIpcOpenMemHandle_v2(&raw mut pointer, handle, flags) }.result().map(|()| pointer)
}

fn allocate() -> u64 {
    // SAFETY: tests free it.
    unsafe { result::malloc_sync(8 * WORDS).unwrap() }
}

fn write(to: u64, value: u64, stream: &CudaStream) -> Result<(), DriverError> {
    // SAFETY: pageable memory is copied at once.
    unsafe { result::memcpy_htod_async(to, &[value; WORDS], stream.cu_stream()) }
}

fn text(handle: CUipcMemHandle) -> String {
    handle.reserved.iter().map(|&byte| format!("{:02x}", byte as u8)).collect()
}

/// What the other process runs, which a test starts: it reads a command from each line, and answers with a line.
#[test]
fn peer() {
    if std::env::var_os(ROLE).is_none() {
        return;
    }
    let device = device();
    let stream = device.context.new_stream().unwrap();
    let own = allocate();
    let mut opened = 0;
    println!();
    for line in std::io::stdin().lines() {
        let line = line.unwrap();
        let (what, argument) = line.split_once(' ').unwrap_or((&line, ""));
        let done: Result<String, DriverError> = match what {
            "open" => {
                let byte = |index| u8::from_str_radix(&argument[2 * index..2 * index + 2], 16).unwrap();
                let handle = CUipcMemHandle { reserved: std::array::from_fn(|index| byte(index) as _) };
                open(handle, 1).map(|pointer| {
                    opened = pointer;
                    String::new()
                })
            }
            "export" => {
                write(own, 5, &stream).unwrap();
                stream.synchronize().unwrap();
                export(own).map(text)
            }
            "read" => {
                let mut words = [0u64; WORDS];
                // SAFETY: as many words as there are.
                unsafe { result::memcpy_dtoh_sync(&mut words, opened) }
                    .map(|()| format!("{} {}", words[0], words[WORDS - 1]))
            }
            "write" => write(opened, argument.parse().unwrap(), &stream)
                .and_then(|()| stream.synchronize())
                .map(|()| String::new()),
            "copy" => {
                // SAFETY: both are device memory of so many bytes, which this process holds.
                unsafe { result::memcpy_dtod_async(own, opened, 8 * WORDS, stream.cu_stream()) }.map(|()| String::new())
            }
            "wait" => stream.synchronize().map(|()| String::new()),
            // SAFETY: nothing uses it any more.
            "close" => unsafe { sys::cuIpcCloseMemHandle(opened) }.result().map(|()| String::new()),
            // SAFETY: a mistake that is to be found.
            "free" => unsafe { result::free_sync(opened) }.map(|()| String::new()),
            other => panic!("{other}"),
        };
        let found: Vec<String> = common::reports(common::emulator(), device.context.ordinal())
            .iter()
            .map(|report| report.check.to_string())
            .collect();
        match done {
            Ok(said) => println!("ok {said}{}", found.join(",")),
            Err(error) => println!("{:?} {}", error.0, found.join(",")),
        }
    }
    // SAFETY: nothing uses it any more.
    unsafe { result::free_sync(own).unwrap() };
}

struct Peer {
    child: Child,
    to: ChildStdin,
    from: Lines<BufReader<ChildStdout>>,
}

impl Peer {
    fn start() -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "ipc::peer", "--nocapture"]).env(ROLE, "1");
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (to, from) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()).lines());
        Peer { child, to, from }
    }

    fn ask(&mut self, what: &str) -> String {
        writeln!(self.to, "{what}").unwrap();
        let known = |line: &String| line.starts_with("ok ") || line.starts_with("CUDA_");
        self.from.find_map(|line| line.ok().filter(known)).unwrap()
    }

    /// Kills it; nobody has waited for it then.
    fn kill(&mut self) {
        self.child.kill().unwrap();
        let state = format!("/proc/{}/stat", self.child.id());
        while !std::fs::read_to_string(&state).unwrap().contains(") Z ") {
            std::thread::yield_now();
        }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A device with exported memory that holds sevens, and another process that has opened it.
fn shared() -> (Device, Arc<CudaStream>, u64, Peer) {
    let device = device();
    let stream = device.context.new_stream().unwrap();
    let pointer = allocate();
    write(pointer, 7, &stream).unwrap();
    stream.synchronize().unwrap();
    let mut peer = Peer::start();
    assert_eq!(peer.ask(&format!("open {}", text(export(pointer).unwrap()))), "ok ");
    (device, stream, pointer, peer)
}

fn free(pointer: u64) -> Result<(), DriverError> {
    // SAFETY: tests free once; what is freed too early is to be found.
    unsafe { result::free_sync(pointer) }
}

#[test]
fn two_processes_have_one_memory() {
    let (device, _stream, pointer, mut peer) = shared();
    assert_eq!(peer.ask("read"), "ok 7 7");
    assert_eq!(peer.ask("write 9"), "ok ");
    let mut words = [0u64; WORDS];
    // SAFETY: as many words as there are.
    unsafe { result::memcpy_dtoh_sync(&mut words, pointer) }.unwrap();
    assert_eq!(words, [9; WORDS]);
    assert_eq!(peer.ask("close"), "ok ");
    free(pointer).unwrap();
    device.expect_none();
}

#[test]
fn a_handle_is_of_plain_memory_and_for_another_process() {
    let device = device();
    let stream = device.context.new_stream().unwrap();
    let pointer = allocate();
    let handle = export(pointer).unwrap();
    assert_eq!(export(pointer).unwrap(), handle);
    assert_eq!(open(handle, 1).unwrap_err().0, CUresult::CUDA_ERROR_INVALID_CONTEXT);
    assert_eq!(open(handle, 0).unwrap_err().0, CUresult::CUDA_ERROR_INVALID_VALUE);
    assert_eq!(open(CUipcMemHandle { reserved: [1; 64] }, 1).unwrap_err().0, CUresult::CUDA_ERROR_INVALID_VALUE);
    assert_eq!(export(pointer + 8).unwrap_err().0, CUresult::CUDA_ERROR_INVALID_VALUE);
    // SAFETY: freed below.
    let pooled = unsafe { result::malloc_async(stream.cu_stream(), 64).unwrap() };
    assert_eq!(export(pooled).unwrap_err().0, CUresult::CUDA_ERROR_INVALID_VALUE);
    // SAFETY: nothing uses it.
    unsafe { result::free_async(pooled, stream.cu_stream()).unwrap() };
    // SAFETY: it is none that was opened, which is said.
    assert!(unsafe { sys::cuIpcCloseMemHandle(pointer) }.result().is_err());
    free(pointer).unwrap();
    assert_eq!(Peer::start().ask(&format!("open {}", text(handle))), "CUDA_ERROR_INVALID_HANDLE ", "it is no more");
    stream.synchronize().unwrap();
    device.expect_none();
}

/// The sender lets the other process go on before its own copy has been waited for.
#[test]
fn reading_what_the_other_process_has_not_waited_for_is_a_race() {
    let (device, stream, pointer, mut peer) = shared();
    write(pointer, 8, &stream).unwrap();
    assert_eq!(peer.ask("copy"), "CUDA_ERROR_LAUNCH_FAILED stream-race");
    drop(peer);
    stream.synchronize().unwrap();
    // And with the wait.
    let (again, stream, other, mut peer) = {
        drop(device);
        shared()
    };
    write(other, 8, &stream).unwrap();
    stream.synchronize().unwrap();
    assert_eq!(
        [peer.ask("copy"), peer.ask("wait"), peer.ask("read"), peer.ask("close")],
        ["ok ", "ok ", "ok 8 8", "ok "]
    );
    free(other).unwrap();
    again.expect_none();
}

/// The receiver says that it has copied before it knows that.
#[test]
fn writing_where_the_other_process_still_reads_is_a_race() {
    let (device, stream, pointer, mut peer) = shared();
    assert_eq!(peer.ask("copy"), "ok ");
    let report = device.expect(Check::StreamRace, write(pointer, 8, &stream));
    assert!(report.message.contains("is not known to have ended"), "{report}");
    // With the wait it may.
    assert_eq!(peer.ask("wait"), "ok ");
    write(pointer, 8, &stream).unwrap();
    stream.synchronize().unwrap();
    assert_eq!(peer.ask("close"), "ok ");
    free(pointer).unwrap();
    device.expect_none();
}

#[test]
fn memory_that_another_process_has_open_is_not_freed() {
    let (device, _stream, pointer, mut peer) = shared();
    assert_eq!(peer.ask("free"), "CUDA_ERROR_INVALID_VALUE invalid-free", "it is the other process's");
    device.expect(Check::FreeInUse, free(pointer));
    assert_eq!(peer.ask("close"), "ok ");
    free(pointer).unwrap();
    device.expect_none();
}

#[test]
fn a_process_that_is_killed_holds_nothing() {
    let (device, stream, pointer, mut peer) = shared();
    assert_eq!(peer.ask("copy"), "ok ");
    peer.kill();
    write(pointer, 8, &stream).unwrap();
    stream.synchronize().unwrap();
    free(pointer).unwrap();
    device.expect_none();
}

#[test]
fn the_socket_of_a_process_that_is_killed_goes_with_it() {
    let mut exporter = Peer::start();
    let handle = exporter.ask("export").replace("ok ", "");
    let door: Vec<&str> =
        handle.as_bytes()[32..48].chunks(2).rev().map(|two| std::str::from_utf8(two).unwrap()).collect();
    let name = format!("@cryptgpu-emulator-{}", door.concat());
    let sockets = || std::fs::read_to_string("/proc/net/unix").unwrap();
    assert!(sockets().contains(&name), "{name}");
    let mut peer = Peer::start();
    assert_eq!([peer.ask(&format!("open {handle}")), peer.ask("read")], ["ok ", "ok 5 5"]);
    exporter.kill();
    exporter.child.wait().unwrap();
    assert!(!sockets().contains(&name));
    // What is open stays; nobody opens it any more.
    assert_eq!(peer.ask("read"), "ok 5 5");
    assert_eq!(peer.ask("close"), "ok ");
    assert_eq!(peer.ask(&format!("open {handle}")), "CUDA_ERROR_INVALID_HANDLE ");
}

#[test]
fn kernels_on_memory_of_several_processes_are_not_emulated() {
    let (device, stream, pointer, mut peer) = shared();
    let kernel = device.kernel(&common::ptx(".param .u64 p0", "ld.param.u64 %rd1, [p0]; ld.global.u64 %rd2, [%rd1];"));
    // SAFETY: the kernel has one pointer.
    unsafe { stream.launch_builder(&kernel).arg(&pointer).launch(config(1, 1)) }.unwrap();
    device.expect(Check::NotEmulated, stream.synchronize());
    assert_eq!(peer.ask("close"), "ok ");
    free(pointer).unwrap();
}
