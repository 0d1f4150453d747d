//! A stranger on the way: connections pass through it, and it breaks them, silences them, keeps what they say, or leads
//! them elsewhere.

#![allow(clippy::unwrap_used)]

use cryptgpu_core::net::PartyId;
use cryptgpu_core::net::tcp::Config;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// How a connection ends.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum End {
    /// In order, as when the process at the other end closes it.
    Close,
    /// At once, as when it is reset.
    Reset,
    /// Not at all: nothing passes any more, in either direction.
    Silence,
    /// Nothing passes any more from the end that connected; the way back is open.
    SilenceForth,
    /// Not at all, but a bit of the next byte is another one.
    Flip,
}

/// What happens to one connection after another; later ones pass.
#[derive(Clone, Copy, Debug)]
pub enum Fate {
    /// It ends after so many bytes from the end that connected.
    After(u64, End),
    /// It ends at once.
    Refused,
}

struct State {
    target: Mutex<SocketAddr>,
    fates: Mutex<VecDeque<Fate>>,
    refuse_all: AtomicBool,
    open: Mutex<Vec<[TcpStream; 2]>>,
    /// What the connecting ends said, by connection.
    said: Mutex<Vec<Vec<u8>>>,
    keeps: AtomicBool,
    delay_micros: AtomicU64,
    ended: AtomicBool,
}

/// One way from a party to another.
pub struct Proxy {
    pub address: SocketAddr,
    state: Arc<State>,
}

impl Proxy {
    /// In the way of `from` to `to`.
    pub fn between(configs: &mut [Config; 3], from: PartyId, to: PartyId) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let target = std::mem::replace(&mut configs[from.index()].addresses[to.index()], address.to_string());
        let target = target.parse().unwrap();
        let state = Arc::new(State {
            target: Mutex::new(target),
            fates: Mutex::default(),
            refuse_all: AtomicBool::new(false),
            open: Mutex::default(),
            said: Mutex::default(),
            keeps: AtomicBool::new(false),
            delay_micros: AtomicU64::new(0),
            ended: AtomicBool::new(false),
        });
        let accepting = state.clone();
        std::thread::spawn(move || {
            while let Ok((from, _)) = listener.accept() {
                if accepting.ended.load(Relaxed) {
                    return;
                }
                let fate = accepting.fates.lock().pop_front();
                let refused = matches!(fate, Some(Fate::Refused)) || accepting.refuse_all.load(Relaxed);
                let target = *accepting.target.lock();
                if let (false, Ok(to)) = (refused, TcpStream::connect(target)) {
                    accepting.carry(from, to, fate);
                }
            }
        });
        Proxy { address, state }
    }

    /// What happens to the connections from now on. The one that is open has the first.
    pub fn fates(self, fates: impl IntoIterator<Item = Fate>) -> Self {
        self.state.fates.lock().extend(fates);
        self
    }

    /// Holds back what passes.
    pub fn delay(self, delay: Duration) -> Self {
        self.state.delay_micros.store(delay.as_micros() as u64, Relaxed);
        self
    }

    /// Keeps what passes.
    pub fn keep(self) -> Self {
        self.state.keeps.store(true, Relaxed);
        self
    }

    /// What the connecting ends have said, by connection.
    pub fn said(&self) -> Vec<Vec<u8>> {
        self.state.said.lock().clone()
    }

    /// Leads later connections to `target`.
    pub fn lead_to(&self, target: SocketAddr) {
        *self.state.target.lock() = target;
    }

    /// Ends later connections at once.
    pub fn refuse(&self) {
        self.state.refuse_all.store(true, Relaxed);
    }

    /// Ends the connections that are open.
    pub fn cut(&self) {
        for pair in self.state.open.lock().drain(..) {
            end(&pair, End::Close);
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.state.ended.store(true, Relaxed);
        self.cut();
        // Wakes the accepting thread, which ends with its listener.
        drop(TcpStream::connect(self.address));
    }
}

fn end(pair: &[TcpStream; 2], how: End) {
    for stream in pair {
        if how == End::Reset {
            let linger = libc::linger { l_onoff: 1, l_linger: 0 };
            let (value, size) = ((&raw const linger).cast(), size_of::<libc::linger>() as u32);
            // SAFETY: setsockopt reads one linger. What is closed then is reset.
            unsafe { libc::setsockopt(stream.as_raw_fd(), libc::SOL_SOCKET, libc::SO_LINGER, value, size) };
            let none = libc::sockaddr { sa_family: libc::AF_UNSPEC as u16, sa_data: [0; 14] };
            // SAFETY: connect reads one address. One of no family resets the connection.
            unsafe { libc::connect(stream.as_raw_fd(), &raw const none, size_of::<libc::sockaddr>() as u32) };
        }
        let _ = stream.shutdown(Shutdown::Both);
    }
}

impl State {
    /// Two threads carry what the ends say.
    fn carry(self: &Arc<Self>, from: TcpStream, to: TcpStream, fate: Option<Fate>) {
        [&from, &to].iter().for_each(|stream| stream.set_nodelay(true).unwrap());
        let pair = || [&from, &to].map(|stream| stream.try_clone().unwrap());
        let (forth, back, mut open) = (pair(), pair(), self.open.lock());
        open.push(pair());
        drop(open);
        let silent = Arc::new(AtomicBool::new(false));
        let (state, heard) = (self.clone(), silent.clone());
        std::thread::spawn(move || state.forth(forth, fate, &silent));
        std::thread::spawn(move || {
            let [mut to, mut from] = back;
            let mut buffer = vec![0; 1 << 14];
            while let Ok(bytes @ 1..) = from.read(&mut buffer) {
                if !heard.load(Relaxed) && to.write_all(&buffer[..bytes]).is_err() {
                    break;
                }
            }
            end(&[to, from], End::Close);
        });
    }

    fn forth(&self, [mut from, mut to]: [TcpStream; 2], fate: Option<Fate>, silent: &AtomicBool) {
        let connection = self.said.lock().len();
        self.said.lock().push(Vec::new());
        let (mut left, mut how) = match fate {
            Some(Fate::After(bytes, how)) => (bytes, how),
            _ => (u64::MAX, End::Close),
        };
        let mut buffer = vec![0; 1 << 14];
        while let Ok(bytes @ 1..) = from.read(&mut buffer) {
            let delay = self.delay_micros.load(Relaxed);
            if delay > 0 {
                std::thread::sleep(Duration::from_micros(delay));
            }
            if how == End::Flip && left < bytes as u64 {
                buffer[left as usize] ^= 4;
                (left, how) = (u64::MAX, End::Close);
            }
            let passes = (bytes as u64).min(left);
            left -= passes;
            if self.keeps.load(Relaxed) {
                self.said.lock()[connection].extend(&buffer[..passes as usize]);
            }
            if to.write_all(&buffer[..passes as usize]).is_err() {
                break;
            }
            match (left, how) {
                (1.., _) | (_, End::SilenceForth) => {}
                (0, End::Silence) => silent.store(true, Relaxed),
                (0, how) => return end(&[from, to], how),
            }
        }
        end(&[from, to], End::Close);
    }
}
