//! A stranger on the ways between processes: every connection from a party to another passes through it. It cuts them, holds
//! them up, loses, repeats, changes and reorders TLS records, and connects by itself. It reads no secret, as it has no key.

use super::dice::Dice;
use super::faults::Fault;
use crate::cluster::Route;
use crate::net::PartyId;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

/// The stranger on all six ways.
pub(super) struct Stranger {
    ways: Vec<Arc<Way>>,
}

/// The way from a party to another, on which that party's connections go.
struct Way {
    from: PartyId,
    to: PartyId,
    /// Where the stranger listens.
    address: SocketAddr,
    /// Where the party that is meant listens.
    target: Mutex<Option<SocketAddr>>,
    harm: Mutex<Option<Harm>>,
    /// Whether connections are ended at once from now on.
    refuses: AtomicBool,
    open: Mutex<Vec<Arc<Connection>>>,
    /// What the last connection began with.
    said: Mutex<Vec<u8>>,
    ended: AtomicBool,
}

struct Connection {
    here: TcpStream,
    there: TcpStream,
    /// Whether nothing passes any more.
    silent: AtomicBool,
}

/// What is to be done to what passes.
#[derive(Clone, Copy, Debug)]
struct Harm {
    fault: Fault,
    /// Whether it is done to what the receiving party answers.
    back: bool,
    sprung: bool,
    /// Any number: which bit, for a bit that is changed.
    number: u64,
}

/// How much of a connection is kept, to say it again.
const KEPT_BYTES: usize = 64 << 10;
/// How long something is held up, and how much passes at a time where it goes slowly.
const LATE: Duration = Duration::from_millis(15);
const SLOW: (usize, Duration) = (4096, Duration::from_millis(1));
/// A TLS record begins with its type, two bytes of version and its length.
const RECORD_HEADER: usize = 5;

impl Stranger {
    pub(super) fn new() -> io::Result<Self> {
        let ways = PartyId::ALL.into_iter().flat_map(|from| [(from, from.next()), (from, from.prev())]);
        let ways = ways.map(|(from, to)| Way::open(from, to)).collect::<io::Result<_>>()?;
        Ok(Stranger { ways })
    }

    /// Leads the parties of a cluster by the stranger.
    pub(super) fn route(&self) -> Route {
        let ways = self.ways.clone();
        Route::new(move |from, to, address| {
            let way = ways.iter().find(|way| (way.from, way.to) == (from, to));
            match (way, address.parse()) {
                (Some(way), Ok(target)) => {
                    *way.target.lock() = Some(target);
                    way.address.to_string()
                }
                _ => address.to_owned(),
            }
        })
    }

    /// Does a fault on a way, or sets a trap for what passes next; whether it is done already.
    pub(super) fn harm(&self, fault: Fault, from: PartyId, to: PartyId, dice: &mut Dice) -> bool {
        let Some(way) = self.way(from, to) else { return false };
        let harm = Harm { fault, back: dice.below(8) == 0, sprung: false, number: dice.next() };
        match fault {
            Fault::Cut => way.cut(dice.below(2) == 0),
            Fault::Refused => {
                way.refuses.store(true, Relaxed);
                way.cut(false)
            }
            Fault::Misled => {
                let elsewhere = self.way(from, PartyId::ALL[3 - from.index() - to.index()]);
                let elsewhere = elsewhere.and_then(|way| *way.target.lock());
                let target = std::mem::replace(&mut *way.target.lock(), elsewhere);
                target.is_some() && way.cut(false)
            }
            Fault::Silent => {
                let open = way.open.lock();
                open.iter().for_each(|connection| connection.silent.store(true, Relaxed));
                !open.is_empty()
            }
            Fault::Replayed => {
                let said = way.said.lock().clone();
                way.knock(&said)
            }
            Fault::Knocked => way.knock(&dice.next().to_le_bytes().repeat(dice.below(40) as usize)),
            _ => {
                *way.harm.lock() = Some(harm);
                false
            }
        }
    }

    /// Lets everything pass again; whether a trap has sprung.
    pub(super) fn rest(&self) -> bool {
        let mut sprung = false;
        for way in &self.ways {
            way.refuses.store(false, Relaxed);
            sprung |= way.harm.lock().take().is_some_and(|harm| harm.sprung);
        }
        sprung
    }

    fn way(&self, from: PartyId, to: PartyId) -> Option<&Arc<Way>> {
        self.ways.iter().find(|way| (way.from, way.to) == (from, to))
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        for way in &self.ways {
            way.ended.store(true, Relaxed);
            way.cut(false);
            // Wakes the thread that accepts, which ends with its listener.
            drop(TcpStream::connect(way.address));
        }
    }
}

impl Way {
    fn open(from: PartyId, to: PartyId) -> io::Result<Arc<Self>> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let way = Arc::new(Way {
            from,
            to,
            address: listener.local_addr()?,
            target: Mutex::default(),
            harm: Mutex::default(),
            refuses: AtomicBool::new(false),
            open: Mutex::default(),
            said: Mutex::default(),
            ended: AtomicBool::new(false),
        });
        let accepting = way.clone();
        thread(move || {
            while let Ok((here, _)) = listener.accept() {
                if accepting.ended.load(Relaxed) {
                    return;
                }
                let target = *accepting.target.lock();
                if let (false, Some(target)) = (accepting.refuses.load(Relaxed), target) {
                    // Whoever cannot be reached is not there, as the connecting end sees when this connection ends.
                    let _ = accepting.carry(here, target);
                }
            }
        })?;
        Ok(way)
    }

    /// Two threads carry what the ends say.
    fn carry(self: &Arc<Self>, here: TcpStream, target: SocketAddr) -> io::Result<()> {
        let there = TcpStream::connect(target)?;
        [&here, &there].iter().try_for_each(|stream| stream.set_nodelay(true))?;
        let connection = Arc::new(Connection { here, there, silent: AtomicBool::new(false) });
        self.said.lock().clear();
        self.open.lock().push(connection.clone());
        for back in [false, true] {
            let (way, connection) = (self.clone(), connection.clone());
            thread(move || {
                let [from, to] = if back { [&connection.there, &connection.here] } else { connection.ends() };
                // What ends a connection ends its other direction too.
                let _ = way.pass(from, to, back, &connection.silent);
                connection.end(false);
                way.open.lock().retain(|other| !Arc::ptr_eq(other, &connection));
            })?;
        }
        Ok(())
    }

    /// Passes on what comes, record by record.
    fn pass(&self, mut from: &TcpStream, mut to: &TcpStream, back: bool, silent: &AtomicBool) -> io::Result<()> {
        let (mut buffer, mut waiting) = (vec![0; 1 << 14], VecDeque::new());
        // A record that is sent behind the next one.
        let mut overtaken: Option<Vec<u8>> = None;
        loop {
            let bytes = match from.read(&mut buffer)? {
                0 => return Ok(()),
                bytes => &buffer[..bytes],
            };
            if silent.load(Relaxed) {
                continue;
            }
            if !back {
                let mut said = self.said.lock();
                let room = KEPT_BYTES - said.len().min(KEPT_BYTES);
                said.extend(&bytes[..bytes.len().min(room)]);
            }
            waiting.extend(bytes);
            while let Some(mut record) = next_record(&mut waiting) {
                let first = self.first_time(back);
                match first.map(|harm| harm.fault) {
                    Some(Fault::Lost) => continue,
                    Some(Fault::Twice) => to.write_all(&record)?,
                    Some(Fault::Changed) => {
                        // The length stays: the other end would wait for bytes that do not come.
                        let bit = first.map_or(0, |harm| harm.number) as usize % (8 * (record.len() - RECORD_HEADER));
                        record[RECORD_HEADER + bit / 8] ^= 1 << (bit % 8);
                    }
                    Some(Fault::Shortened) => {
                        to.write_all(&record[..record.len() / 2])?;
                        return Ok(());
                    }
                    Some(Fault::Overtaken) => {
                        overtaken = Some(record);
                        continue;
                    }
                    _ => {}
                }
                match self.harm.lock().filter(|harm| harm.back == back).map(|harm| harm.fault) {
                    Some(Fault::Late) => {
                        std::thread::sleep(LATE);
                        to.write_all(&record)?;
                    }
                    Some(Fault::Slow) => record.chunks(SLOW.0).try_for_each(|part| {
                        std::thread::sleep(SLOW.1);
                        to.write_all(part)
                    })?,
                    _ => to.write_all(&record)?,
                }
                overtaken.take().map_or(Ok(()), |record| to.write_all(&record))?;
            }
        }
    }

    /// The harm that is to be done to what passes in this direction, if this is the first that passes since it was set.
    fn first_time(&self, back: bool) -> Option<Harm> {
        let mut harm = self.harm.lock();
        let harm = harm.as_mut().filter(|harm| harm.back == back && !harm.sprung)?;
        harm.sprung = true;
        Some(*harm)
    }

    /// Ends the connections that are open, in order or by a reset; whether there were any.
    fn cut(&self, reset: bool) -> bool {
        let open = std::mem::take(&mut *self.open.lock());
        open.iter().for_each(|connection| connection.end(reset));
        !open.is_empty()
    }

    /// Connects to the party at the end of the way, says something, and hears what it answers; whether it was there.
    fn knock(&self, words: &[u8]) -> bool {
        let Some(target) = *self.target.lock() else { return false };
        let Ok(mut stream) = TcpStream::connect(target) else { return false };
        // It may be turned away at any moment.
        let _ = stream.set_read_timeout(Some(Duration::from_millis(50))).and_then(|()| stream.write_all(words));
        let _ = stream.read(&mut [0; 4096]);
        true
    }
}

impl Connection {
    fn ends(&self) -> [&TcpStream; 2] {
        [&self.here, &self.there]
    }

    fn end(&self, reset: bool) {
        for stream in self.ends() {
            if reset {
                let none = libc::sockaddr { sa_family: libc::AF_UNSPEC as u16, sa_data: [0; 14] };
                // SAFETY: connect reads one address. One of no family resets the connection.
                unsafe { libc::connect(stream.as_raw_fd(), &raw const none, size_of::<libc::sockaddr>() as u32) };
            }
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

/// The next whole record, if there is one.
fn next_record(waiting: &mut VecDeque<u8>) -> Option<Vec<u8>> {
    let len = RECORD_HEADER + usize::from(u16::from_be_bytes([*waiting.get(3)?, *waiting.get(4)?]));
    (waiting.len() >= len).then(|| waiting.drain(..len).collect())
}

fn thread(work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    std::thread::Builder::new().name("stranger".into()).spawn(work).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_pass_whole_whatever_comes_at_a_time() {
        let mut waiting = VecDeque::from(vec![23, 3, 3, 0, 2, 7]);
        assert_eq!(next_record(&mut waiting), None);
        waiting.extend([8, 23, 3, 3, 0, 0, 22]);
        assert_eq!(next_record(&mut waiting), Some(vec![23, 3, 3, 0, 2, 7, 8]));
        assert_eq!(next_record(&mut waiting), Some(vec![23, 3, 3, 0, 0]));
        assert_eq!((next_record(&mut waiting), waiting.len()), (None, 1));
    }
}
