//! Connections that break on the way are made anew, and nothing is lost, repeated or changed; those that cannot be, and
//! all that is not a break, are errors in time.

#![allow(clippy::unwrap_used)]

use crate::crowd::crowd;
use crate::proxy::{End, Fate, Proxy};
use crate::support::configs;
use cryptgpu_core::device::Device;
use cryptgpu_core::mpc::{Party, Settings};
use cryptgpu_core::net::tcp::{Config, Security};
use cryptgpu_core::net::{NetError, Network, Options, PartyId, Stats, Tag, TcpNetwork, memory};
use cryptgpu_core::nn::{SharedModel, Weights, private, zoo};
use cryptgpu_core::prg::{Correlated, Key, Keys, Randomness};
use ndarray::ArrayD;
use rustix::net::sockopt::socket_acceptconn;
use rustix::net::{Shutdown, SocketAddrUnix, getsockname, shutdown};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::BorrowedFd;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

const TAG: Tag = Tag { position: 3, kind: 9 };
const P0: PartyId = PartyId::P0;
const P1: PartyId = PartyId::P1;
const P2: PartyId = PartyId::P2;

/// All ways from a party to another.
const WAYS: [(PartyId, PartyId); 6] = [(P0, P1), (P1, P2), (P2, P0), (P1, P0), (P2, P1), (P0, P2)];

fn options() -> Options {
    Options { deadline: Duration::from_secs(10), ..Options::default() }
}

fn link_up(configs: [Config; 3]) -> [TcpNetwork; 3] {
    let threads = configs.map(|config| std::thread::spawn(|| TcpNetwork::connect(config).unwrap()));
    threads.map(|thread| thread.join().unwrap())
}

/// A generator for places of cuts: the same in each run of the tests.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 33) % limit
    }
}

/// The length of message `number`: most are short, some take several records and reads.
fn len(number: u64) -> usize {
    [3, 900, 0, 5000, 17, 40_000, 64, 1][number as usize % 8]
}

fn words(from: PartyId, number: u64) -> Vec<u64> {
    (0..len(number) as u64).map(|word| word * 8 + number * 1_000_003 + from.index() as u64).collect()
}

/// Both parties send `messages` messages to each other, and all arrive as they were.
fn stream(a: &TcpNetwork, b: &TcpNetwork, messages: u64) {
    std::thread::scope(|scope| {
        for (net, peer) in [(a, b.id()), (b, a.id())] {
            scope.spawn(move || {
                for number in 0..messages {
                    net.send(peer, TAG, words(net.id(), number)).unwrap();
                    let came = net.recv(peer, TAG, len(number)).unwrap();
                    assert!(came == words(peer, number), "message {number} from {peer}");
                }
            });
        }
    });
}

#[test]
fn connections_cut_anywhere_lose_nothing() {
    const MESSAGES: u64 = 48;
    let bytes: u64 = (0..MESSAGES).map(|number| 8 * len(number) as u64).sum();
    let mut dice = Dice(7);
    for (plaintext, delay) in [(false, 0), (true, 0), (false, 300)] {
        let mut configs = configs(&options(), plaintext);
        // The handshake of a connection may be cut too: there is another one behind it. A first one must link up.
        let mut fates = |least: u64| -> Vec<Fate> {
            let ends = [End::Close, End::Reset];
            (0..8)
                .map(|cut| match (cut, dice.below(8)) {
                    (1.., 0) => Fate::Refused,
                    (0, _) => Fate::After(least + dice.below(bytes / 6), ends[dice.below(2) as usize]),
                    _ => Fate::After(dice.below(bytes / 6), ends[dice.below(2) as usize]),
                })
                .collect()
        };
        let both = [(P0, P1), (P1, P0)].map(|(from, to)| Proxy::between(&mut configs, from, to).fates(fates(4000)));
        let proxies = both.map(|proxy| proxy.delay(Duration::from_micros(delay)));
        let [p0, p1, _p2] = link_up(configs);
        stream(&p0, &p1, MESSAGES);
        for (net, peer) in [(&p0, P1), (&p1, P0)] {
            let Stats { reconnections, rounds, to, .. } = net.endpoint().stats();
            assert!(reconnections >= 4, "{reconnections} of 16 cuts");
            assert_eq!((to[peer.index()].payload_bytes, to[peer.index()].messages), (bytes, MESSAGES));
            assert_eq!(rounds, MESSAGES, "what is sent again is no round");
        }
        drop(proxies);
    }
}

/// Cuts the connections to the local socket of `address`, which no proxy can be before; how many.
fn cut(address: &str) -> usize {
    let name = format!("cryptgpu-{address}");
    let open = std::fs::read_dir("/proc/self/fd").unwrap();
    let numbers = open.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let sockets = numbers.filter_map(|number| {
        // SAFETY: a number that has been closed meanwhile is an error of `fcntl`. Once it is ours, nobody else closes it.
        let again = unsafe { BorrowedFd::borrow_raw(number) }.try_clone_to_owned().ok()?;
        let address = SocketAddrUnix::try_from(getsockname(&again).ok()?).ok()?;
        (address.abstract_name() == Some(name.as_bytes()) && !socket_acceptconn(&again).ok()?).then_some(again)
    });
    sockets.filter(|socket| shutdown(socket, Shutdown::Both).is_ok()).count()
}

#[test]
fn local_connections_that_are_cut_lose_nothing() {
    for plaintext in [false, true] {
        let configs = configs(&options(), plaintext);
        let address = configs[1].addresses[1].clone();
        let [p0, p1, _p2] = link_up(configs);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for _ in 0..5 {
                    cut(&address);
                    std::thread::sleep(Duration::from_millis(20));
                }
            });
            stream(&p0, &p1, 200);
        });
        stream(&p0, &p1, 8);
        let before = p1.endpoint().stats().reconnections;
        assert!(before > 0 && cut(&address) > 0, "{before} reconnections");
        stream(&p0, &p1, 8);
        assert!(p1.endpoint().stats().reconnections > before);
    }
}

#[test]
fn a_large_message_that_is_cut_in_its_middle_comes_whole() {
    const WORDS: u64 = 1 << 20;
    for plaintext in [false, true] {
        let mut configs = configs(&options(), plaintext);
        let cuts = [5_000_001, 400_007, 7_000_000].map(|bytes| Fate::After(bytes, End::Reset));
        let _proxy = Proxy::between(&mut configs, P0, P1).fates(cuts);
        let [p0, p1, _p2] = link_up(configs);
        p0.send(P1, TAG, (0..WORDS).collect()).unwrap();
        assert!(p1.recv(P0, TAG, WORDS as usize).unwrap().into_iter().eq(0..WORDS));
        assert_eq!(p1.endpoint().stats().reconnections, 3);
    }
}

#[test]
fn a_connection_that_is_dead_without_an_end_is_noticed_and_made_anew() {
    std::thread::scope(|scope| {
        for end in [End::Silence, End::SilenceForth] {
            scope.spawn(move || {
                let mut configs = configs(&options(), false);
                configs.iter_mut().for_each(|config| config.options.deadline = Duration::from_secs(6));
                let _proxy = Proxy::between(&mut configs, P0, P1).fates([Fate::After(300_000, end)]);
                let [p0, p1, _p2] = link_up(configs);
                let start = Instant::now();
                stream(&p0, &p1, 12);
                assert_eq!(p0.endpoint().stats().reconnections, 1, "{end:?}");
                assert!(start.elapsed() < Duration::from_secs(5), "{end:?}: {:?}", start.elapsed());
            });
        }
    });
}

#[test]
fn an_idle_link_is_held_by_its_heart_beats() {
    let mut configs = configs(&options(), false);
    configs.iter_mut().for_each(|config| config.options.deadline = Duration::from_secs(6));
    let [p0, p1, p2] = link_up(configs);
    std::thread::sleep(Duration::from_millis(2600));
    stream(&p0, &p1, 2);
    assert_eq!([&p0, &p1, &p2].map(|net| net.endpoint().stats().reconnections), [0; 3]);
}

#[test]
fn a_peer_that_is_silent_for_good_is_an_error_in_time() {
    let mut configs = configs(&options(), false);
    for config in &mut configs {
        (config.options.deadline, config.options.resume_within) = (Duration::from_secs(6), Duration::from_millis(400));
    }
    let silent = [Fate::After(20_000, End::Silence), Fate::After(0, End::Silence)];
    let _proxies = [(P0, P1), (P1, P0)].map(|(from, to)| Proxy::between(&mut configs, from, to).fates(silent));
    let [p0, p1, _p2] = link_up(configs);
    p0.send(P1, TAG, vec![1; 5000]).unwrap();
    p1.send(P0, TAG, vec![1; 5000]).unwrap();
    let start = Instant::now();
    let error = (0..2).find_map(|_| p0.recv(P1, TAG, 5000).err()).unwrap();
    // It noticed the silence itself, or its peer did and ended the connection.
    assert!(matches!(error, NetError::PeerClosed { .. }), "{error}");
    assert!((1500..4500).contains(&start.elapsed().as_millis()), "{:?}", start.elapsed());
}

#[test]
fn a_crowd_does_not_keep_a_connection_from_being_made_anew() {
    let mut configs = configs(&options(), false);
    let address = configs[1].addresses[1].parse().unwrap();
    let proxy = Proxy::between(&mut configs, P0, P1);
    let [p0, p1, _p2] = link_up(configs);
    let stop = AtomicBool::new(false);
    struct Stop<'a>(&'a AtomicBool);
    impl Drop for Stop<'_> {
        fn drop(&mut self) {
            self.0.store(true, Relaxed);
        }
    }
    std::thread::scope(|scope| {
        let _stops_whatever_fails = Stop(&stop);
        for greeting in [&b""[..], b"GET / HTTP/1.1\r\n\r\n"] {
            let stop = &stop;
            scope.spawn(move || crowd(address, greeting, stop));
        }
        stream(&p0, &p1, 2);
        std::thread::sleep(Duration::from_millis(200));
        proxy.cut();
        stream(&p0, &p1, 2);
    });
    assert_eq!(p1.endpoint().stats().reconnections, 1);
}

/// What both ends of the way of P0 to P1 say when its connection breaks and `obstacle` is in the way of another one.
fn unresumed(obstacle: impl FnOnce(&Proxy, [Security; 3])) -> [(NetError, Duration); 2] {
    let mut configs = configs(&options(), false);
    configs.iter_mut().for_each(|config| config.options.resume_within = Duration::from_millis(400));
    let security = configs.each_ref().map(|config| config.security.clone());
    let proxy = Proxy::between(&mut configs, P0, P1);
    let [p0, p1, _p2] = link_up(configs);
    stream(&p0, &p1, 3);
    obstacle(&proxy, security);
    proxy.cut();
    let start = Instant::now();
    [(p0, P1), (p1, P0)]
        .map(|(net, peer)| {
            std::thread::spawn(move || {
                let error = net.recv(peer, TAG, 1).unwrap_err();
                let took = start.elapsed();
                // The other end hears by itself.
                std::thread::sleep(Duration::from_millis(600));
                (error, took)
            })
        })
        .map(|thread| thread.join().unwrap())
}

#[test]
fn a_connection_that_cannot_be_made_anew_is_an_error_in_time() {
    let errors = unresumed(|proxy, _| proxy.refuse());
    for ((error, took), says) in errors.iter().zip(["could not be made anew within 400ms", "did not make it anew"]) {
        assert!(matches!(error, NetError::PeerClosed { .. }) && error.to_string().contains(says), "{error}");
        assert!((300..2000).contains(&took.as_millis()), "{took:?}");
    }
}

#[test]
fn another_certificate_or_session_is_an_error_at_once() {
    let other = |session: [u8; 16], security: Option<[Security; 3]>| {
        let mut others = configs(&options(), false);
        for (config, security) in others.iter_mut().zip(security.into_iter().flatten()) {
            (config.session, config.security) = (session, security);
        }
        others
    };
    for (certificates, says) in [(true, "session"), (false, "certificate")] {
        let mut kept = None;
        let errors = unresumed(|proxy, security| {
            let others = other([8; 16], certificates.then_some(security));
            proxy.lead_to(others[1].addresses[1].parse().unwrap());
            kept = Some(link_up(others));
        });
        let (error, took) = &errors[0];
        assert!(matches!(error, NetError::BadFrame { .. }) && error.to_string().contains(says), "{error}");
        assert!(took.as_millis() < 300, "{took:?}");
        for stranger in kept.iter().flatten() {
            assert_eq!(stranger.endpoint().stats().reconnections, 0);
        }
    }
}

#[test]
fn a_changed_bit_ends_the_link_and_no_connection_is_made_anew() {
    // In one of many messages, and in the middle of a large one.
    for (plaintext, len, at) in [(false, 5000, 250_000), (true, 5000, 250_000), (false, 1 << 20, 4_000_001)] {
        let mut configs = configs(&options(), plaintext);
        let _proxy = Proxy::between(&mut configs, P0, P1).fates([Fate::After(at, End::Flip)]);
        let [p0, p1, _p2] = link_up(configs);
        let start = Instant::now();
        let receives = std::thread::spawn(move || {
            let error = (0..).find_map(|_| p1.recv(P0, TAG, len).err()).unwrap();
            (error, p1)
        });
        let sends = (0..).find_map(|_| p0.send(P1, TAG, vec![9; len]).err());
        let (error, p1) = receives.join().unwrap();
        assert!(matches!(error, NetError::BadFrame { .. }), "{error}");
        assert!(matches!(sends, Some(NetError::PeerClosed { .. } | NetError::BadFrame { .. })), "{sends:?}");
        assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
        assert_eq!([&p0, &p1].map(|net| net.endpoint().stats().reconnections), [0; 2]);
    }
}

/// Not a test of its own: a party in a process that will be killed.
#[test]
fn a_party_to_be_killed() {
    let Ok(peers) = std::env::var("CRYPTGPU_TEST_KILLED") else { return };
    let mut config = configs(&options(), true).into_iter().nth(1).unwrap();
    println!("\naddress {}", config.addresses[1]);
    let [zero, two] = [0, 1].map(|at| peers.split(' ').nth(at).unwrap().to_owned());
    (config.addresses[0], config.addresses[2]) = (zero, two);
    let net = TcpNetwork::connect(config).unwrap();
    net.send(P0, TAG, vec![7; 40_000]).unwrap();
    std::thread::sleep(Duration::from_secs(60));
}

#[test]
fn a_peer_whose_process_is_gone_is_an_error_at_once() {
    let [mut config_0, _, mut config_2] = configs(&options(), true);
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "resume::a_party_to_be_killed", "--nocapture"])
        .env("CRYPTGPU_TEST_KILLED", format!("{} {}", config_0.addresses[0], config_2.addresses[2]))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let address = lines.find_map(|line| line.strip_prefix("address ").map(str::to_owned)).unwrap();
    (config_0.addresses[1], config_2.addresses[1]) = (address.clone(), address);
    let [p0, p2] = [config_0, config_2]
        .map(|config| std::thread::spawn(|| TcpNetwork::connect(config).unwrap()))
        .map(|thread| thread.join().unwrap());
    let waiting = std::thread::spawn(move || (p2.recv(P1, TAG, 1).unwrap_err(), Instant::now()));
    p0.recv(P1, TAG, 40_000).unwrap();
    let start = Instant::now();
    child.kill().unwrap();
    child.wait().unwrap();
    let here = (p0.recv(P1, TAG, 1).unwrap_err(), Instant::now());
    for (error, at) in [here, waiting.join().unwrap()] {
        assert!(matches!(error, NetError::PeerClosed { .. }) && error.to_string().contains("has died"), "{error}");
        assert!(at - start < Duration::from_millis(500), "{:?}", at - start);
    }
}

#[test]
fn recorded_connections_are_no_connections() {
    let mut configs = configs(&options(), false);
    let listening = configs[1].addresses[1].clone();
    let proxy = Proxy::between(&mut configs, P0, P1).keep().fates([Fate::After(200_000, End::Close)]);
    let [p0, p1, _p2] = link_up(configs);
    stream(&p0, &p1, 8);
    let before = p1.endpoint().stats();
    let said = proxy.said();
    assert_eq!((said.len(), before.reconnections), (2, 1), "the first connection, and the one that goes on");
    for recording in said {
        let mut replay = std::net::TcpStream::connect(&listening).unwrap();
        replay.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        // A party that does not like it ends the connection, which may be before all is said.
        let _ = replay.write_all(&recording);
        let mut answer = Vec::new();
        let _ = replay.read_to_end(&mut answer);
        assert!(answer.len() < 4000, "its part of a handshake and an alert");
    }
    stream(&p0, &p1, 8);
    assert_eq!(p1.endpoint().stats().reconnections, 1, "they have disturbed nobody");
}

/// LeNet on one image, with fixed keys: the opened words are the same whatever the links.
fn lenet(networks: [Arc<dyn Network>; 3]) -> [ArrayD<u64>; 3] {
    let graph = zoo::by_name("lenet").unwrap();
    let weights = Weights::seeded(&graph, 1);
    let image = ArrayD::from_elem(vec![1, 1, 28, 28], 0.25);
    std::thread::scope(|scope| {
        let threads = networks.map(|net| {
            let (graph, weights, image) = (&graph, &weights, &image);
            scope.spawn(move || {
                let id = net.id();
                let key = |purpose: usize| Key::from_bytes([purpose as u8; 16]);
                let keys = Keys {
                    with_prev: key(id.index()),
                    with_next: key(id.next().index()),
                    common: key(3),
                    own: key(10 + id.index()),
                };
                let prg = Correlated::new(Randomness::default(), &keys);
                let mut p = Party::new(net, prg, Settings::default(), Device::Cpu);
                let weights = (id == P1).then(|| weights.clone());
                let model = SharedModel::share(&mut p, graph, P1, weights, Default::default()).unwrap();
                let x = private::share_images(&mut p, graph, P0, (id == P0).then(|| image.view()), 1).unwrap();
                let y = model.infer(&mut p, x).unwrap();
                p.open(&y).unwrap().to_array().unwrap()
            })
        });
        threads.map(|thread| thread.join().unwrap())
    })
}

#[test]
fn an_inference_over_connections_that_are_cut_gives_the_same_words() {
    let undisturbed = lenet(memory::trio(options()).map(|net| Arc::new(net) as Arc<dyn Network>));
    let mut configs = configs(&options(), false);
    let mut dice = Dice(11);
    let proxies = WAYS.map(|(from, to)| {
        let cuts = [400_000, 200_000, 60_000, 20_000, 20_000, 20_000].map(|within| {
            Fate::After(4000 + dice.below(within), if dice.below(2) == 0 { End::Close } else { End::Reset })
        });
        Proxy::between(&mut configs, from, to).fates(cuts)
    });
    let networks = link_up(configs).map(Arc::new);
    let results = lenet(networks.each_ref().map(|net| net.clone() as Arc<dyn Network>));
    assert_eq!(results, undisturbed);
    let reconnections: u64 = networks.iter().map(|net| net.endpoint().stats().reconnections).sum();
    assert!(reconnections >= 2 * 6 * 2, "{reconnections}");
    drop(proxies);
}
