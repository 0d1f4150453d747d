//! Parties on three hosts over real SSH: inference, functions and training; what is wrong with a host is said in time, and
//! nothing is left running anywhere.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod servers;

use cryptgpu_core::cluster::{
    Checkpointing, Cluster, ClusterBuilder, ClusterError, Hosts, Images, Iteration, Labels, Result, Start,
};
use cryptgpu_core::mpc::{Party, Rep};
use cryptgpu_core::net::Link;
use cryptgpu_core::nn::Graph;
use cryptgpu_core::nn::training::{Sgd, Train};
use ndarray::array;
use servers::{Place, servers};
use std::fs;
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

const PROGRAM: &str = env!("CARGO_BIN_EXE_cryptgpu");

/// A cluster file for three hosts by name, with lines for each.
fn cluster_file(place: &Place, name: &str, hosts: [(&str, String); 3]) -> PathBuf {
    let mut text = "ssh_config = 'ssh_config'\n".to_owned();
    for (host, lines) in hosts {
        text += &format!("[[party]]\nhost = '{host}'\nthreads = 1\n{lines}\n");
    }
    let path = place.path(name);
    fs::write(&path, text).unwrap();
    path
}

fn builder(file: &Path) -> ClusterBuilder {
    Cluster::hosts(Hosts::read(file).unwrap()).deadline(Duration::from_secs(10))
}

/// The program of this very test, which is its own parties, under a name of the test's.
fn with_functions(place: &Place) -> ClusterBuilder {
    let program = place.program(std::env::current_exe().unwrap().to_str().unwrap());
    let line = format!("program = '{}'", program.display());
    builder(&cluster_file(place, "functions.toml", ["h0", "h1", "h2"].map(|host| (host, line.clone()))))
}

#[test]
fn lenet_from_the_terminal_with_the_program_copied_once() {
    let place = Place::new("lenet");
    let file = cluster_file(&place, "cluster.toml", ["h0", "h1", "h2"].map(|host| (host, String::new())));
    let run = || {
        let mut command = Command::new(PROGRAM);
        command.args(["run", "inference", "--networks", "lenet", "--iterations", "1", "--compare", "1", "--json"]);
        let done = command.arg("--cluster").arg(&file).arg("--logs").arg(place.path("logs")).output().unwrap();
        let (out, error) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
        assert!(done.status.success(), "{error}");
        assert!(out.contains("\"three hosts over SSH, TLS\"") && out.contains("\"agreement\":1"), "{out}{error}");
        let log = fs::read_to_string(place.path("logs/party2.log")).unwrap();
        assert!(
            log.contains(" P2 job=\"evaluate\" step=\"") && log.contains(" took ") && log.contains(" end: "),
            "{log}"
        );
    };
    let copies = || -> Vec<_> {
        let hosts = servers().hosts[..3].iter();
        hosts.map(|host| inode_of_the_only_file(&host.cache.join("cryptgpu/bin"))).collect()
    };
    run();
    let first = copies();
    run();
    assert_eq!(copies(), first, "copied again");
    // A copy that is no longer what it was is replaced.
    let damaged = fs::read_dir(servers().hosts[1].cache.join("cryptgpu/bin")).unwrap().next().unwrap().unwrap().path();
    let damaged = damaged.join("cryptgpu");
    fs::write(&damaged, "not the program").unwrap();
    run();
    assert!(fs::metadata(&damaged).unwrap().len() > 1_000_000);
    place.assert_nothing_left(Duration::from_secs(5));
}

fn inode_of_the_only_file(folder: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let versions: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(versions.len(), 1, "{versions:?}");
    let files: Vec<_> = fs::read_dir(&versions[0]).unwrap().map(|entry| entry.unwrap()).collect();
    assert_eq!(files.len(), 1, "{files:?}");
    files[0].metadata().unwrap().ino()
}

/// A function of this program, a step of training, and what the parties print.
#[test]
fn functions_and_a_training_step_run_on_three_hosts() {
    fn inner_product(p: &mut Party, (x, y): (Rep, Rep)) -> Result<(Rep, u32)> {
        println!("party {} is here", p.id());
        Ok((p.mul(&x, &y)?.sum(), std::process::id()))
    }
    fn fail(p: &mut Party, (): ()) -> Result<()> {
        Err(format!("party {} does not want to", p.id()).into())
    }
    let place = Place::new("functions");
    // An iteration takes long enough for a party to be lost in one.
    let link = Link::Custom { megabytes_per_second: 1000.0, latency_ms: 10.0 };
    let cluster = with_functions(&place).link(link).start().unwrap();
    let (x, y) = (cluster.share(&array![1.5, -2.0]).unwrap(), cluster.share(&array![4.0, 5.0]).unwrap());
    let run = cluster.run(inner_product, (&x, &y)).unwrap();
    let pids: Vec<u32> = run.outputs.iter().map(|(_, pid)| *pid).collect();
    assert_eq!(run.outputs[0].0.reveal().unwrap(), array![-4.0].into_dyn());
    assert_eq!(pids, cluster.pids());
    let shown = format!("{cluster:?} {}", cryptgpu_core::show::Show::text(&cluster));
    assert!(shown.contains("h1") && shown.contains("over SSH"), "{shown}");

    let error = cluster.run(fail, ()).unwrap_err();
    assert!(error.to_string().contains("does not want to"), "{error}");

    let mut net = Graph::builder("small", [1, 28, 28]);
    let flat = net.input();
    let flat = net.flatten("flatten", flat).unwrap();
    let fc = net.linear("fc", flat, 10).unwrap();
    let data = cluster.dataset("digits-train", Images::at(0), Labels::at(2)).unwrap();
    let train = Train { batch: 800, epochs: 1, optimizer: Sgd::new(0.01), ..Train::default() };
    let net = net.finish(fc).unwrap();
    let trained = cluster.train(net.clone(), &data, train.clone()).unwrap();
    assert_eq!(trained.iterations().len(), 1);

    // It loses a party, and goes on with new ones from its last checkpoint at the hosts.
    let start = Start { checkpoints: Some(Checkpointing::every(1, place.path("kept"))), ..Start::default() };
    let (pid, train) = (cluster.pids()[1], Train { batch: 200, iterations: Some(4), ..train });
    let told = |iteration: &Iteration| {
        if (iteration.number, iteration.restarts) == (0, 0) {
            // SAFETY: kill takes the number of a process of this test's cluster.
            unsafe { libc::kill(pid as i32, libc::SIGKILL) };
        }
    };
    let run = cluster.train_observed(net, start, &data, train, told).unwrap();
    let [restart] = run.restarts() else { panic!("{:?}", run.restarts()) };
    // Its neighbours end too, and over SSH any of the three may be missed first.
    assert!(restart.from >= 1 && restart.cause.contains("party 1 died"), "{restart:?}");
    assert_eq!((run.iterations().len(), cluster.generation()), (4, 3));
    drop(cluster);
    place.assert_nothing_left(Duration::from_secs(5));
}

/// A port that lets nobody in and sends nobody away, as behind a firewall that drops: its queue is full.
fn port_that_drops() -> (TcpListener, Vec<TcpStream>, u16) {
    let listener = TcpListener::bind((servers().here, 0)).unwrap();
    // SAFETY: listen takes a descriptor that is open here and a number.
    assert_eq!(unsafe { libc::listen(listener.as_raw_fd(), 0) }, 0);
    let address = listener.local_addr().unwrap();
    let connect = || TcpStream::connect_timeout(&address, Duration::from_millis(100)).ok();
    (listener, std::iter::from_fn(connect).take(8).collect(), address.port())
}

/// Each is an error of its own kind, in time, and leaves nothing running.
#[test]
fn what_is_wrong_with_a_host_is_said_in_time() {
    let place = Place::new("faults");
    let (_listener, _pending, dropping) = port_that_drops();
    place.add_host("dropping", &servers().here.to_string(), dropping);
    let program = place.program(PROGRAM);
    let there = format!("program = '{}'", program.display());
    let old = place.path("old");
    let mut bytes = fs::read(PROGRAM).unwrap();
    let version = concat!("cryptgpu ", env!("CARGO_PKG_VERSION"), " control ");
    replace_all(&mut bytes, version.as_bytes(), |bytes| bytes[version.len()] = b'0');
    fs::write(&old, bytes).unwrap();
    fs::set_permissions(&old, fs::metadata(PROGRAM).unwrap().permissions()).unwrap();

    let address = format!("{}:{dropping}", servers().here);
    let faults: Vec<(&str, String, &str)> = vec![
        ("dropping", there.clone(), "a firewall"),
        ("h1", format!("{there}\naddress = '{address}'"), "firewall"),
        ("wrong-key", there.clone(), "authorized_keys"),
        ("changed", there.clone(), "(`ssh-keygen "),
        ("unknown", there.clone(), "compare the fingerprint"),
        ("down", there.clone(), "cannot connect"),
        ("h1", format!("program = '{}'", old.display()), "another version"),
        ("h1", "program = '/no/such/program'".into(), "/no/such/program"),
        ("h1", format!("{there}\ndata = '/no/such/data'"), "/no/such/data"),
        ("full", String::new(), "Make room"),
        ("odd", String::new(), "glibc 2.17"),
        ("foreign", String::new(), "its processor is sparc64"),
    ];
    let files = faults.iter().enumerate().map(|(at, (host, lines, _))| {
        let hosts = [("h0", there.clone()), (*host, lines.clone()), ("h2", there.clone())];
        cluster_file(&place, &format!("fault-{at}.toml"), hosts)
    });
    let files: Vec<_> = files.collect();
    let next = AtomicUsize::new(0);
    let work = || {
        while let Some((host, lines, words)) = faults.get(next.fetch_add(1, Relaxed)) {
            let at = faults.iter().position(|fault| (fault.0, &fault.1) == (*host, lines)).unwrap();
            // Where nothing answers, the stated time is waited for.
            let waits = *host == "dropping" || lines.contains("address");
            let within = Duration::from_secs(if waits { 4 } else { 20 });
            let begin = Instant::now();
            let error = builder(&files[at]).program(PROGRAM).start_within(within).start();
            let error = error.map(|_| format!("{host} {lines}")).expect_err("it cannot start");
            assert!(begin.elapsed() < Duration::from_secs(10), "{error} after {:?}", begin.elapsed());
            assert!(error.to_string().contains(words), "{host} {lines}: {error}");
            if !lines.contains("address") {
                assert!(matches!(&error, ClusterError::Host { host: at, .. } if at == host), "{error:?}");
                assert_eq!(error.party().map(|party| party.index()), Some(1), "{error}");
            }
        }
    };
    std::thread::scope(|scope| [(); 3].map(|()| scope.spawn(work)).map(|thread| thread.join().unwrap()));
    place.assert_nothing_left(Duration::from_secs(5));
    let cache = &servers().hosts[3].cache;
    assert_eq!(files_below(cache), Vec::<PathBuf>::new(), "a part of a copy is left");
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files_below(&path) } else { vec![path] }).collect()
}

fn replace_all(bytes: &mut [u8], what: &[u8], change: impl Fn(&mut [u8])) {
    let places: Vec<usize> = (0..bytes.len() - what.len() - 1).filter(|&at| bytes[at..].starts_with(what)).collect();
    assert!(!places.is_empty());
    places.into_iter().for_each(|at| change(&mut bytes[at..]));
}

#[test]
fn a_missing_data_file_is_named_with_its_party() {
    let place = Place::new("data");
    let there = format!("program = '{}'\ndata = '{}'", place.program(PROGRAM).display(), place.folder.display());
    let file = cluster_file(&place, "cluster.toml", ["h0", "h1", "h2"].map(|host| (host, there.clone())));
    let cluster = builder(&file).program(PROGRAM).start().unwrap();
    let begin = Instant::now();
    let error = cluster.dataset("mnist-train", Images::at(1), Labels::at(1)).unwrap_err();
    assert!(begin.elapsed() < Duration::from_secs(10));
    assert_eq!(error.party().map(|party| party.index()), Some(1), "{error}");
    assert!(error.to_string().contains(place.folder.to_str().unwrap()), "{error}");
    drop(cluster);
    place.assert_nothing_left(Duration::from_secs(5));
}

/// Not a test of its own: a caller that is killed, while its parties compute or before.
#[test]
fn caller_that_is_killed() {
    fn endless(_: &mut Party, (): ()) -> Result<()> {
        loop {
            std::thread::sleep(Duration::from_secs(1));
        }
    }
    let Some(file) = std::env::var_os("CRYPTGPU_TEST_SSH_CALLER") else { return };
    let cluster = builder(Path::new(&file)).start().unwrap();
    println!("\nstarted");
    let _ = cluster.run(endless, ());
}

#[test]
fn a_killed_caller_and_a_lost_connection_leave_nothing_behind() {
    let place = Place::new("killed");
    drop(with_functions(&place));
    let mut caller = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "ssh::caller_that_is_killed", "--nocapture"])
        .env("CRYPTGPU_TEST_SSH_CALLER", place.path("functions.toml"))
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(caller.stdout.take().unwrap()));
    assert!(lines.any(|line| line.unwrap() == "started"));
    assert!(place.left_over().len() >= 6, "{:?}", place.left_over());
    caller.kill().unwrap();
    caller.wait().unwrap();
    place.assert_nothing_left(Duration::from_secs(5));

    // The connection to one host is lost: the run ends with that party's name, and nothing is left on the others.
    let cluster = with_functions(&place).start().unwrap();
    let begin = Instant::now();
    let ssh = place.left_over().into_iter().find(|line| line.contains("ssh ") && line.contains("-- h1 ")).unwrap();
    let pid: i32 = ssh.trim_start_matches("/proc/").split(':').next().unwrap().parse().unwrap();
    // SAFETY: kill takes the number of a process that this test's cluster has started.
    unsafe { libc::kill(pid, libc::SIGKILL) };
    std::thread::sleep(Duration::from_millis(50));
    let sum = cluster.run(|_: &mut Party, x: u64| -> Result<u64> { Ok(x + 1) }, 1).map(|run| run.output().unwrap());
    match sum {
        // It was noticed before, and parties were started anew.
        Ok(sum) => assert_eq!((sum, cluster.generation()), (2, 2)),
        Err(error) => assert_eq!(error.party().map(|party| party.index()), Some(1), "{error}"),
    }
    assert!(begin.elapsed() < Duration::from_secs(10));
    drop(cluster);
    place.assert_nothing_left(Duration::from_secs(5));
}
