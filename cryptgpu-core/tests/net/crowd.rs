//! Strangers who connect without end keep no party from linking, and cost it no more than a few descriptors.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use crate::support::{configs, over_tcp};
use cryptgpu_core::net::tcp::Config;
use cryptgpu_core::net::{Options, TcpNetwork};
use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

/// Connections that a stranger holds at a time.
const HELD: usize = 300;

/// Connects until told to stop; what has `greeting` says that and waits.
pub fn crowd(address: SocketAddr, greeting: &[u8], stop: &AtomicBool) {
    let mut held = VecDeque::new();
    while !stop.load(Relaxed) {
        if let Ok(mut stream) = TcpStream::connect_timeout(&address, Duration::from_millis(50)) {
            // Whom a party has turned away cannot speak.
            let _ = stream.write_all(greeting);
            held.push_back(stream);
            held.truncate(HELD);
            std::thread::sleep(Duration::from_micros(200));
        }
    }
}

fn child(test: &str, descriptors: u64) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env("CRYPTGPU_TEST_CROWD", descriptors.to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Not a test of its own: three parties in a process with few descriptors.
#[test]
fn parties_in_a_crowd() {
    let Ok(descriptors) = std::env::var("CRYPTGPU_TEST_CROWD") else { return };
    let descriptors = descriptors.parse().unwrap();
    let limit = libc::rlimit { rlim_cur: descriptors, rlim_max: descriptors };
    // SAFETY: setrlimit reads one rlimit.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) }, 0);
    let mut configs = configs(&Options { deadline: Duration::from_secs(10), ..Options::default() }, false);
    // The crowd is at the door by which the parties come.
    over_tcp(&mut configs);
    println!("\naddress {}", configs[0].addresses[0]);
    std::io::stdin().read_line(&mut String::new()).unwrap();
    // The crowd meets party 0 before its peers come.
    let pause = |config: &Config| -> Duration { Duration::from_millis(600 * config.id.index().min(1) as u64) };
    let threads = configs.map(|config| {
        std::thread::spawn(move || {
            std::thread::sleep(pause(&config));
            TcpNetwork::connect(config).map(drop)
        })
    });
    let outcomes = threads.map(|thread| thread.join().unwrap());
    println!("\nlinked {}", outcomes.iter().all(Result::is_ok));
    println!("\nseconds {}", cpu_seconds());
}

fn cpu_seconds() -> f64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: clock_gettime writes one timespec.
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &raw mut time) };
    time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
}

/// What the parties say after a word, with a crowd around party 0.
fn in_a_crowd(descriptors: u64, greeting: &[u8]) -> [String; 2] {
    let mut child = child("crowd::parties_in_a_crowd", descriptors);
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let mut after = |word: &str| lines.find_map(|line| line.strip_prefix(word).map(str::to_owned)).unwrap();
    let address = after("address ").parse().unwrap();
    let stop = AtomicBool::new(false);
    let said = std::thread::scope(|scope| {
        scope.spawn(|| crowd(address, greeting, &stop));
        std::thread::sleep(Duration::from_millis(200));
        child.stdin.take().unwrap().write_all(b"go\n").unwrap();
        let said = ["linked ", "seconds "].map(&mut after);
        stop.store(true, Relaxed);
        said
    });
    child.wait().unwrap();
    said
}

#[test]
fn a_crowd_does_not_keep_the_parties_apart() {
    for greeting in [&b""[..], &b"\x16\x03\x01\x02\x00\x01"[..]] {
        let [linked, _] = in_a_crowd(200, greeting);
        assert_eq!(linked, "true", "a crowd that says {greeting:?}");
    }
}

#[test]
fn a_party_without_descriptors_waits_for_them_and_does_not_spin() {
    let [_, seconds] = in_a_crowd(50, b"");
    let seconds: f64 = seconds.parse().unwrap();
    assert!(seconds < 1.5, "{seconds} s of computing within 10 s");
}
