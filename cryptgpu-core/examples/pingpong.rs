use cryptgpu_core::net::tcp::{self, Config, Security};
use cryptgpu_core::net::*;
use std::io::{Read, Write};
use std::time::{Duration, Instant};
fn main() {
    if std::env::var("MALLOPT").is_ok() {
        unsafe {
            libc::mallopt(libc::M_MMAP_THRESHOLD, 1 << 30);
            libc::mallopt(libc::M_TRIM_THRESHOLD, i32::MAX);
            libc::mallopt(libc::M_TOP_PAD, 64 << 20);
            if let Ok(n) = std::env::var("ARENA") {
                libc::mallopt(-8, n.parse().unwrap());
            }
        }
    }
    let args: Vec<String> = std::env::args().collect();
    let plain = args.get(1).is_some_and(|a| a == "plain");
    let identities = PartyId::ALL.map(|_| Identity::generate().unwrap());
    let peers = identities.each_ref().map(Identity::fingerprint);
    let mut listeners = PartyId::ALL.map(|id| Some(tcp::listen(id, "127.0.0.1:0".parse().unwrap()).unwrap()));
    let addresses = listeners.each_ref().map(|l| l.as_ref().unwrap().local_addr().unwrap());
    // three processes by fork
    let mut me = 0;
    let mut kids = vec![];
    for i in 1..3 {
        let pid = unsafe { libc::fork() };
        if pid == 0 {
            me = i;
            break;
        }
        kids.push(pid);
    }
    let id = PartyId::new(me).unwrap();
    let t = Instant::now();
    let net = TcpNetwork::connect(Config {
        id,
        listener: listeners[me].take().unwrap(),
        addresses,
        security: if plain {
            Security::InsecurePlaintext
        } else {
            Security::Tls { identity: identities[me].clone(), peers }
        },
        session: [1; 16],
        connect_within: Duration::from_secs(5),
        options: Options::default(),
    })
    .unwrap();
    if me == 0 {
        println!("connect {:?}", t.elapsed());
    }
    let tag = Tag { position: 0, kind: 0 };
    let big = args.get(2).is_some();
    for (words, reps) in if big {
        vec![(1usize << 20, 60)]
    } else {
        vec![(2usize, 2000), (128, 2000), (2048, 1000), (8192, 500), (32768, 200), (1 << 20, 20)]
    } {
        let run = |reps| {
            for _ in 0..reps {
                net.send(id.next(), tag, vec![1; words]).unwrap();
                net.send(id.prev(), tag, vec![1; words]).unwrap();
                net.recv(id.next(), tag, words).unwrap();
                net.recv(id.prev(), tag, words).unwrap();
            }
        };
        run(reps / 10);
        let t = Instant::now();
        run(reps);
        let per = t.elapsed() / reps as u32;
        if me == 0 {
            println!(
                "{:>9} B: {:>9.1?} per round, {:.2} GB/s out per party",
                words * 8,
                per,
                2.0 * 8.0 * words as f64 / per.as_secs_f64() / 1e9
            );
            std::io::stdout().flush().unwrap();
        }
    }
    drop(net);
    if me != 0 {
        std::process::exit(0);
    }
    for k in kids {
        unsafe {
            libc::waitpid(k, std::ptr::null_mut(), 0);
        }
    }
}
