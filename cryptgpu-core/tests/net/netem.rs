//! Links that imitate a bandwidth and a latency against real ones: the kernel's `tc netem` (or `tbf`, where there is no
//! `netem`) between two network namespaces, and a wire of bytes that this test plays. It says in which setting it ran.

#![allow(clippy::unwrap_used)]

use crate::support::configs;
use cryptgpu_core::net::tcp::{self, Config};
use cryptgpu_core::net::{Link, Network, Options, PartyId, Tag, TcpNetwork};
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

const TAG: Tag = Tag { position: 1, kind: 2 };

/// What is imitated: 100 Mbit/s.
const MEGABYTES_PER_SECOND: f64 = 12.5;
const LATENCY_MS: f64 = 10.0;

/// Said on the terminal whatever the harness keeps to itself.
fn say(text: &str) {
    std::io::stderr().write_all(format!("netem: {text}\n").as_bytes()).unwrap();
}

fn link_up(configs: [Config; 3]) -> [TcpNetwork; 3] {
    let threads = configs.map(|config| std::thread::spawn(|| TcpNetwork::connect(config).unwrap()));
    threads.map(|thread| thread.join().unwrap())
}

/// Seconds for ten latencies, and for 2 MB in five messages and their answer: the shorter of two tries each.
fn measure([a, b, _]: &[TcpNetwork; 3]) -> [f64; 2] {
    let exchange = |rounds: usize, messages: usize, words: usize| {
        let start = Instant::now();
        std::thread::scope(|scope| {
            scope.spawn(move || {
                for _ in 0..rounds {
                    (0..messages).for_each(|_| drop(b.recv(a.id(), TAG, words).unwrap()));
                    b.send(a.id(), TAG, vec![1]).unwrap();
                }
            });
            for _ in 0..rounds {
                (0..messages).for_each(|_| a.send(b.id(), TAG, vec![1; words]).unwrap());
                a.recv(b.id(), TAG, 1).unwrap();
            }
        });
        start.elapsed().as_secs_f64()
    };
    // A new connection sends slowly at first, which is not imitated.
    exchange(1, 5, 50_000);
    let best = |messages, words, rounds| exchange(rounds, messages, words).min(exchange(rounds, messages, words));
    [best(1, 1, 5), best(5, 50_000, 1)]
}

/// Imitated and real take as long, up to what the headers of packets make of it, in one of some tries: on a busy machine
/// both take longer now and then.
fn compare(setting: &str, latency_ms: f64, real: &[TcpNetwork; 3]) {
    let link = Link::Custom { megabytes_per_second: MEGABYTES_PER_SECOND, latency_ms };
    let imitated = link_up(configs(&Options { link, ..Options::default() }, false));
    for left in (0..6).rev() {
        let (shaped, real) = (measure(&imitated), measure(real));
        let alike = |at: usize| (0.8..1.25).contains(&(shaped[at] / real[at]));
        if alike(1) && (latency_ms == 0.0 || alike(0)) {
            let [[latencies, transfer], [imitated, imitated_transfer]] = [real, shaped].map(|of| of.map(|s| s * 1e3));
            return say(&format!(
                "{setting}: ten latencies {latencies:.1} ms (imitated {imitated:.1}), 2 MB and an answer {transfer:.1} ms (imitated {imitated_transfer:.1})"
            ));
        }
        assert!(left > 0, "{setting}: {shaped:?} against {real:?}");
    }
}

/// A wire to `target`: bytes leave it at its bandwidth, each after its latency.
fn wire(target: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let (from, to) = (listener.accept().unwrap().0, TcpStream::connect(target).unwrap());
        for (mut from, mut to) in [(from.try_clone().unwrap(), to.try_clone().unwrap()), (to, from)] {
            let (entered, leaving) = channel::<(Vec<u8>, Instant)>();
            to.set_nodelay(true).unwrap();
            std::thread::spawn(move || {
                let mut buffer = vec![0; 1 << 14];
                while let Ok(bytes @ 1..) = from.read(&mut buffer) {
                    entered.send((buffer[..bytes].to_vec(), Instant::now())).unwrap();
                }
            });
            std::thread::spawn(move || {
                let mut free = Instant::now();
                for (bytes, at) in leaving {
                    free = free.max(at) + Duration::from_secs_f64(bytes.len() as f64 / (MEGABYTES_PER_SECOND * 1e6));
                    let arrival = free + Duration::from_secs_f64(LATENCY_MS * 1e-3);
                    std::thread::sleep(arrival.saturating_duration_since(Instant::now()));
                    if to.write_all(&bytes).is_err() {
                        return;
                    }
                }
            });
        }
    });
    address
}

#[test]
fn an_imitated_link_is_as_fast_as_a_wire_of_bytes() {
    let mut configs = configs(&Options::default(), false);
    let [p0, p1, _] = configs.each_ref().map(|config| config.addresses[config.id.index()].parse().unwrap());
    (configs[0].addresses[1], configs[1].addresses[0]) = (wire(p1).to_string(), wire(p0).to_string());
    compare("a wire of bytes", LATENCY_MS, &link_up(configs));
}

fn run(command: &str) -> Result<(), String> {
    let words: Vec<&str> = command.split(' ').collect();
    let output = Command::new(words[0]).args(&words[1..]).output().map_err(|error| format!("{command}: {error}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    output.status.success().then_some(()).ok_or_else(|| format!("{command}: {}", said.trim()))
}

fn shape(device: &str, shaping: &str) -> Result<(), String> {
    // A pause does not make a connection forget how fast it may send.
    let _ = std::fs::write("/proc/sys/net/ipv4/tcp_slow_start_after_idle", "0");
    run(&format!("tc qdisc replace dev {device} root {shaping}"))
}

/// Party 0 in the process's namespace, parties 1 and 2 in one of their own, and a shaped device between them.
fn between_namespaces(shaping: &'static str) -> Result<[TcpNetwork; 3], String> {
    let [here, there] = ["10.77.0.1", "10.77.0.2"];
    let [mut config_0, mut config_1, mut config_2] = configs(&Options::default(), false);
    let _ = run("ip link del cg0");
    run("ip link add cg0 type veth peer name cg1")?;
    let (to_main, from_thread) = channel();
    let (to_thread, from_main) = channel::<()>();
    let listens = move |id: PartyId, host: &str| tcp::listen(id, SocketAddr::new(host.parse::<IpAddr>().unwrap(), 0));
    let (to_parties, addresses) = channel::<[String; 3]>();
    let parties = std::thread::spawn(move || -> Result<[TcpNetwork; 2], String> {
        // SAFETY: this thread alone leaves for a namespace of its own.
        if unsafe { libc::unshare(libc::CLONE_NEWNET) } != 0 {
            return Err(format!("unshare: {}", std::io::Error::last_os_error()));
        }
        // SAFETY: gettid has no preconditions.
        to_main.send((unsafe { libc::gettid() }, [SocketAddr::from(([0; 4], 0)); 2])).unwrap();
        from_main.recv().map_err(|_| "no device".to_owned())?;
        run(&format!("ip addr add {there}/24 dev cg1"))?;
        run("ip link set cg1 up")?;
        run("ip link set lo up")?;
        shape("cg1", shaping)?;
        let listeners = [PartyId::P1, PartyId::P2].map(|id| listens(id, there).unwrap());
        let own = listeners.each_ref().map(|listener| listener.local_addr().unwrap());
        to_main.send((0, own)).unwrap();
        let addresses = addresses.recv().map_err(|_| "no addresses".to_owned())?;
        [config_1.listener, config_2.listener] = listeners;
        // Threads are in the namespace of the thread that starts them.
        let threads = [config_1, config_2].map(|config| (config, addresses.clone())).map(|(config, addresses)| {
            std::thread::spawn(move || TcpNetwork::connect(Config { addresses, ..config }).unwrap())
        });
        Ok(threads.map(|thread| thread.join().unwrap()))
    });
    let prepared = (|| {
        let (thread, _) = from_thread.recv().map_err(|_| String::new())?;
        run(&format!("ip link set cg1 netns {thread}"))?;
        run(&format!("ip addr add {here}/24 dev cg0"))?;
        run("ip link set cg0 up")?;
        run("ip link set lo up")?;
        shape("cg0", shaping)?;
        to_thread.send(()).map_err(|_| String::new())?;
        let (_, [one, two]) = from_thread.recv().map_err(|_| String::new())?;
        config_0.listener = listens(PartyId::P0, here).map_err(|error| error.to_string())?;
        Ok([config_0.listener.local_addr().unwrap(), one, two].map(|address| address.to_string()))
    })();
    drop(to_thread);
    let connected = prepared.map(|addresses| {
        to_parties.send(addresses.clone()).unwrap();
        TcpNetwork::connect(Config { addresses, ..config_0 }).unwrap()
    });
    drop(to_parties);
    match (connected, parties.join().unwrap()) {
        (Ok(p0), Ok([p1, p2])) => Ok([p0, p1, p2]),
        (Err(error), _) if !error.is_empty() => Err(error),
        (_, Err(error)) | (Err(error), _) => Err(error),
    }
}

/// Not a test of its own: what the test below starts, in a network namespace.
#[test]
fn in_a_namespace() {
    if std::env::var_os("CRYPTGPU_TEST_NAMESPACE").is_none() {
        return;
    }
    println!();
    let netem = "netem limit 10000 rate 100mbit delay 10ms";
    match between_namespaces(netem) {
        Ok(real) => return compare("tc netem between network namespaces", LATENCY_MS, &real),
        Err(error) => say(&format!("not against tc netem ({error})")),
    }
    match between_namespaces("tbf rate 100mbit burst 64kb limit 10mb") {
        Ok(real) => compare("tc tbf between network namespaces, bandwidth alone", 0.0, &real),
        Err(error) => say(&format!("not against tc tbf ({error})")),
    }
}

#[test]
fn an_imitated_link_is_as_fast_as_the_kernels() {
    // SAFETY: geteuid has no preconditions.
    let privileges = if unsafe { libc::geteuid() } == 0 { "-n" } else { "-rn" };
    let child = Command::new("unshare")
        .arg(privileges)
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "netem::in_a_namespace", "--nocapture"])
        .env("CRYPTGPU_TEST_NAMESPACE", "1")
        .output();
    let output = match child {
        Ok(output) => output,
        Err(error) => {
            return say(&format!("not between network namespaces (unshare: {error}); against a wire of bytes only"));
        }
    };
    let said = String::from_utf8_lossy(&output.stderr);
    say(said.trim().trim_start_matches("netem: "));
    if said.contains("unshare:") && !output.status.success() {
        return say(
            "not between network namespaces: this machine does not let the test make one; against a wire of bytes only",
        );
    }
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stdout));
}
