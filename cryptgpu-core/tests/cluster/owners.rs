//! Parties of three owners, each started by hand with a policy of its own: what all allow runs, what one does not allow is
//! refused by it and done by nobody, whatever the caller claims, and the logs tell both.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod kubernetes;
mod saving;
mod training;

use cryptgpu_core::cluster::owner::{AuditEvent, AuditLine, KeyFiles, Owners, digest_of, generate_key, read_audit};
use cryptgpu_core::cluster::{
    Cluster, ClusterError, FailureKind, Images, Job, JobError, Labels, Model, PartyContext, Result, SelfTest,
};
use cryptgpu_core::mpc::{Party, Rep};
use cryptgpu_core::net::PartyId;
use cryptgpu_core::nn::range::InputRange;
use cryptgpu_core::nn::{Graph, LowerOptions, WeightSource};
use cryptgpu_core::prg::Randomness;
use cryptgpu_datasets::bundled;
use ndarray::{Array4, array};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};
use std::time::{Duration, Instant};

const PARTIES: [&str; 3] = ["ann", "bob", "eve"];

/// Three parties and a caller, each with a folder of its own.
struct Owned {
    folder: tempfile::TempDir,
    parties: Vec<Child>,
    controls: [String; 3],
}

impl Drop for Owned {
    fn drop(&mut self) {
        for party in &mut self.parties {
            let ended = party.try_wait().unwrap();
            assert!(ended.is_none() || std::thread::panicking(), "a party has ended by itself: {ended:?}");
            party.kill().unwrap();
            party.wait().unwrap();
        }
    }
}

/// An address of this machine that no other test uses, so that its ports are free.
fn own_address() -> String {
    static NEXT: AtomicU8 = AtomicU8::new(77);
    let (id, next) = (std::process::id(), NEXT.fetch_add(1, Relaxed));
    format!("127.{next}.{}.{}", id >> 8 & 0xff, id & 0xff)
}

impl Owned {
    /// Makes keys and files, and starts each party with its program and the policy that `policy` writes.
    fn start(program: impl Fn(&Path) -> Command, policy: impl Fn(usize) -> String) -> Self {
        let host = own_address();
        let links = [0, 1, 2].map(|party| format!("{host}:711{party}"));
        let (mut owned, keys) = Owned::prepare([0, 1, 2].map(|party| format!("{host}:710{party}")));
        let peer = |party: usize| {
            let (name, link, fingerprint) = (PARTIES[party], &links[party], keys[party].fingerprint);
            format!(
                "[[peer]]\nparty = {party}\nname = \"{name}\"\naddress = \"{link}\"\nfingerprint = \"{fingerprint}\"\n"
            )
        };
        for (party, name) in PARTIES.iter().enumerate() {
            let (control, link) = (&owned.controls[party], &links[party]);
            let text = format!(
                "party = {party}\nname = \"{name}\"\nkey = \"{name}.key\"\ncertificate = \"{name}.crt\"\n\
                 control = \"{control}\"\nlinks = \"{link}\"\nthreads = 1\n\
                 policy = \"policy.toml\"\naudit = \"audit.log\"\n{}{}",
                peer((party + 1) % 3),
                peer((party + 2) % 3),
            );
            std::fs::write(owned.of(name).join("party.toml"), text).unwrap();
            owned.write_policy(party, &policy(party));
        }
        for name in PARTIES {
            owned.begin(program(&owned.of(name).join("party.toml")));
        }
        owned
    }

    /// The folders of three parties that listen there, with their keys, and of the callers, with all that they have.
    fn prepare(controls: [String; 3]) -> (Self, Vec<KeyFiles>) {
        let folder = tempfile::tempdir().unwrap();
        let of = |who: &str| folder.path().join(who);
        let keys: Vec<KeyFiles> = PARTIES.iter().map(|name| generate_key(&of(name), name).unwrap()).collect();
        for caller in ["lab", "stranger"] {
            generate_key(&of(caller), caller).unwrap();
            let party = |party: usize| {
                let (name, control, fingerprint) = (PARTIES[party], &controls[party], keys[party].fingerprint);
                format!("[[party]]\nname = \"{name}\"\naddress = \"{control}\"\nfingerprint = \"{fingerprint}\"\n")
            };
            let parties: String = (0..3).map(party).collect();
            let text = format!("key = \"{caller}.key\"\ncertificate = \"{caller}.crt\"\n{parties}");
            std::fs::write(of(caller).join("owners.toml"), text).unwrap();
        }
        (Owned { folder, parties: vec![], controls }, keys)
    }

    /// Starts the next party.
    fn begin(&mut self, mut command: Command) {
        let mut child = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        // It says when it listens; what it says later must not stop it.
        let mut says = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        says.read_line(&mut line).unwrap();
        assert!(line.contains("waits for callers"), "{line}");
        std::thread::spawn(move || std::io::copy(&mut says, &mut std::io::sink()));
        self.parties.push(child);
    }

    fn of(&self, who: &str) -> PathBuf {
        self.folder.path().join(who)
    }

    /// The policy of a party from its next session on: `rest` behind who may ask.
    fn write_policy(&self, party: usize, rest: &str) {
        let lab = cryptgpu_core::cluster::owner::fingerprint_of(&self.of("lab").join("lab.crt")).unwrap();
        let text = format!("[[caller]]\nname = \"lab\"\nfingerprint = \"{lab}\"\n{rest}");
        std::fs::write(self.of(PARTIES[party]).join("policy.toml"), text).unwrap();
    }

    fn cluster(&self, caller: &str) -> std::result::Result<Cluster, ClusterError> {
        self.cluster_drawing(caller, Randomness::default())
    }

    fn cluster_drawing(&self, caller: &str, randomness: Randomness) -> std::result::Result<Cluster, ClusterError> {
        let owners = Owners::read(self.of(caller).join("owners.toml")).unwrap();
        Cluster::owners(owners).deadline(Duration::from_secs(10)).randomness(randomness).start()
    }

    /// All lines of a party's log, which follow from one another.
    fn log(&self, party: usize) -> Vec<AuditLine> {
        let mut lines = vec![];
        read_audit(&self.of(PARTIES[party]).join("audit.log"), |line| lines.push(line.clone())).unwrap();
        lines
    }

    /// The number of the run that began last of those of that job.
    fn last_run(&self, wanted: &str) -> u64 {
        let run = |line: AuditLine| match line.event {
            AuditEvent::Run { job, run, .. } if job == wanted => Some(run),
            _ => None,
        };
        self.log(0).into_iter().filter_map(run).next_back().unwrap()
    }

    /// What a party refused, by session and run, with the reason; and which runs it began.
    fn account(&self, party: usize) -> (Vec<(RunOf, String)>, Vec<RunOf>) {
        let (mut refused, mut begun) = (vec![], vec![]);
        for line in self.log(party) {
            match line.event {
                AuditEvent::Refused { session, run, why, .. } => refused.push(((session, run), why)),
                AuditEvent::Run { session, run, .. } => begun.push((Some(session), Some(run))),
                _ => {}
            }
        }
        (refused, begun)
    }

    /// Runs what must be refused by all three, each by itself and with a reason that says so, and begun by none.
    fn refused<T>(&self, says: &str, run: impl FnOnce() -> std::result::Result<T, ClusterError>) -> String {
        let before = [0, 1, 2].map(|party| self.account(party).0.len());
        let error = run().map(|_| "it was done").expect_err(says);
        let ClusterError::Job { failure, .. } = &error else { panic!("{error}") };
        assert_eq!(failure.kind, FailureKind::Refused, "{error}");
        assert!(error.to_string().contains(says), "{says}: {error}");
        for (party, before) in before.into_iter().enumerate() {
            let (refused, begun) = self.account(party);
            let [(run, why)] = &refused[before..] else { panic!("party {party}: {:?}", &refused[before..]) };
            assert!(why.contains(says), "party {party} for `{says}`: {why}");
            assert!(!begun.contains(run), "party {party} has begun what it refused: {why}");
        }
        error.to_string()
    }
}

/// A run of a session.
type RunOf = (Option<String>, Option<u64>);

/// This test program as a party of its owner.
fn this_program(config: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.arg("--cryptgpu-owner").arg(config);
    command
}

fn inner_product(p: &mut Party, (x, y): (Rep, Rep)) -> Result<Rep> {
    Ok(p.mul(&x, &y)?.sum())
}

fn counts(_: &mut Party, x: u64) -> Result<u64> {
    Ok(x + 1)
}

/// Opens what it gets to everyone.
fn opens(p: &mut Party, x: Rep) -> Result<()> {
    p.open(&x)?;
    Ok(())
}

const POLICY: &str = r#"[allow]
programs = ["inference", "self-test"]
networks = ["lenet"]
functions = ["FUNCTION"]
[inputs]
files = ["weights/"]
[[reveal]]
what = "scores"
of = "lenet"
to = "caller"
per_run = 2
per_day = 3
[[reveal]]
what = "result"
to = "caller"
"#;

/// A job of a name that the parties know, with an encoding made by hand: what a forged frame is.
macro_rules! forged {
    ($type:ident, $name:literal) => {
        #[derive(serde::Serialize, serde::Deserialize)]
        struct $type<T>(T);

        impl<T: serde::Serialize + serde::de::DeserializeOwned> Job for $type<T> {
            const NAME: &'static str = $name;
            type Output = ();
            fn run(self, _: &mut PartyContext) -> std::result::Result<(), JobError> {
                Ok(())
            }
        }
    };
}

forged!(ForgedReveal, "reveal");
forged!(ForgedRevealTo, "reveal-to");
forged!(ForgedLoad, "load-model");
forged!(ForgedCall, "call");

#[test]
fn what_three_owners_allow_runs_and_what_they_do_not_is_refused_by_each_whatever_the_caller_claims() {
    let owned = Owned::start(this_program, |_| policy(""));
    let folder = owned.of("bob").join("weights");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("lenet.safetensors"), bundled::LENET_MNIST_SAFETENSORS).unwrap();
    let cluster = owned.cluster("lab").unwrap();
    what_is_allowed(&owned, &cluster);
    let digest = what_is_not(&owned, &cluster);
    drop(cluster);
    (0..3).for_each(|party| owned.write_policy(party, &policy(&digest)));
    let cluster = owned.cluster("lab").unwrap();
    a_function_by_its_digest(&owned, &cluster);
    forged_frames(&owned, &cluster);
    drop(cluster);
    a_whole_program_by_its_digest(&owned);
    what_one_owner_refuses_nobody_does(&owned, &digest);
    who_is_no_caller(&owned);
}

/// Owners allow all functions of a program that they have looked at, by what `cryptgpu digest` shows of its file.
fn a_whole_program_by_its_digest(owned: &Owned) {
    let digest = digest_of(&std::env::current_exe().unwrap()).unwrap();
    (0..3).for_each(|party| owned.write_policy(party, &policy(&digest)));
    let cluster = owned.cluster("lab").unwrap();
    assert_eq!(cluster.run(counts, 41).unwrap().output().unwrap(), 42);
    assert!(owned.log(1).last().unwrap().to_string().contains("call done, and 8 bytes of its own"));
}

/// Parties that run another program than the caller run none of its functions, whatever their policies say; and what they hold
/// for handles is bounded.
#[test]
fn functions_of_another_program_do_not_run_and_handles_have_a_limit() {
    let folder = tempfile::tempdir().unwrap();
    let (this, other) = (std::env::current_exe().unwrap(), folder.path().join("other"));
    let mut bytes = std::fs::read(&this).unwrap();
    // A byte of the header that nobody reads, and that is part of the file's digest.
    bytes[15] = 1;
    std::fs::write(&other, bytes).unwrap();
    std::fs::set_permissions(&other, std::fs::metadata(&this).unwrap().permissions()).unwrap();
    let program = |config: &Path| {
        let mut command = Command::new(&other);
        command.arg("--cryptgpu-owner").arg(config);
        command
    };
    let owned = Owned::start(program, |_| "[allow]\nadhoc = true\n[limits]\nhandles_mib = 1\n".to_owned());
    let cluster = owned.cluster("lab").unwrap();
    let error = owned.refused("linked with other code", || cluster.run(counts, 41));
    for file in [&this, &other] {
        assert!(error.contains(&digest_of(file).unwrap()), "{error}");
    }
    let small = cluster.share(&ndarray::Array1::<f64>::zeros(1 << 14)).unwrap();
    let large = ndarray::Array1::<f64>::zeros(1 << 16);
    let error = cluster.share(&large).unwrap_err();
    let says = "line 7 (`handles_mib`) does not allow to hold that much for the caller's handles: 2 MiB, of 1";
    assert!(error.to_string().contains(says), "{error}");
    for party in 0..3 {
        let log: String = owned.log(party).iter().map(|line| format!("{line}\n")).collect();
        assert!(log.contains(says) && log.contains("call: the function `counts` cannot run here"), "{log}");
    }
    // The next session begins with nothing.
    drop(small);
    cluster.share(&ndarray::Array1::<f64>::zeros(1 << 15)).unwrap();
}

fn policy(function: &str) -> String {
    POLICY.replace("FUNCTION", function)
}

fn load(owned: &Owned, cluster: &Cluster) -> std::result::Result<Model, ClusterError> {
    let file = owned.of("bob").join("weights/lenet.safetensors");
    cluster.load_model("lenet", WeightSource::File(file.into()))
}

fn images(count: usize) -> Array4<f32> {
    bundled::mnist_test_1000().unwrap().batch(0..count).unwrap()
}

fn what_is_allowed(owned: &Owned, cluster: &Cluster) {
    let lenet = load(owned, cluster).unwrap();
    assert_eq!(cluster.infer(&lenet, &images(2)).unwrap().predictions(), [7, 2]);
    let x = cluster.share(&array![1.0, 2.0]).unwrap();
    assert_eq!(x.reveal().unwrap(), array![1.0, 2.0].into_dyn());
    cluster.run_job(SelfTest::quick()).unwrap();
    for party in 0..3 {
        let log = owned.log(party);
        let jobs = log.iter().filter_map(|line| match &line.event {
            AuditEvent::Run { job, .. } => Some(job.as_str()),
            _ => None,
        });
        assert_eq!(
            jobs.collect::<Vec<_>>(),
            ["load-model", "share", "infer", "reveal", "share", "reveal", "self-test"]
        );
        let read =
            log.iter().any(|line| line.to_string().contains("reads") && line.to_string().contains("lenet.safetensors"));
        assert_eq!(read, party == 1);
        let revealed =
            log.iter().filter(|line| line.to_string().contains("REVEALS scores of lenet to caller, 2 times"));
        assert_eq!(revealed.count(), 1);
    }
}

/// Each kind of what is not allowed. A refusal ends the session, and the next one begins by itself.
fn what_is_not(owned: &Owned, cluster: &Cluster) -> String {
    let x = cluster.share(&array![1.0, 2.0]).unwrap();
    let said = owned.refused("line 7 (`functions`)", || cluster.run(inner_product, (&x, &x)));
    owned.refused("line 6 (`networks`)", || cluster.load_model(flat_lenet(), WeightSource::Random(1)));
    owned.refused("line 5 (`programs`)", || cluster.dataset("digits-train", Images::at(0), Labels::at(2)));
    owned.refused("`per_run = 2`", || cluster.infer(&load(owned, cluster)?, &images(3)));
    owned.refused("`per_day = 3`, and 2 were revealed", || cluster.infer(&load(owned, cluster)?, &images(2)));
    // A file that only its owner knows of, so only that one has a reason of its own.
    let outside = WeightSource::File(owned.of("bob").join("bob.key").into());
    let error = cluster.load_model("lenet", outside).unwrap_err().to_string();
    assert!(error.contains("party 1") && error.contains("line 9 (`files`)"), "{error}");
    let error = owned.cluster_drawing("lab", Randomness::InsecurePhilox).err().unwrap().to_string();
    assert!(error.contains("insecure-philox") && error.contains("line 4 (`[allow]`"), "{error}");
    said.split("digest ").nth(1).unwrap()[..64].to_owned()
}

/// What calls itself LeNet and gives its input back.
fn flat_lenet() -> Graph {
    let mut network = Graph::builder("lenet", [1, 28, 28]);
    let input = network.input();
    let flat = network.flatten("flatten", input).unwrap();
    network.finish(flat).unwrap()
}

fn a_function_by_its_digest(owned: &Owned, cluster: &Cluster) {
    let x = cluster.share(&array![1.0, 2.0]).unwrap();
    let product = cluster.run(inner_product, (&x, &x)).unwrap();
    assert_eq!(product.reveal().unwrap().into_iter().collect::<Vec<_>>(), [5.0]);
    owned.refused("line 7 (`functions`)", || cluster.run(counts, 41));
    for party in 0..3 {
        let log: String = owned.log(party).iter().map(|line| format!("{line}\n")).collect();
        for says in
            ["(`inner_product`), which REVEALS whatever", "call done, and 0 bytes of its own", "calls itself `counts`"]
        {
            assert!(log.contains(says), "{says}: {log}");
        }
    }
    let x = cluster.share(&array![1.0, 2.0]).unwrap();
    let product = cluster.run(inner_product, (&x, &x)).unwrap();
    owned.refused("covers it", || product.outputs[0].reveal_to(PartyId::P2));
    let x = cluster.share(&array![1.0, 2.0]).unwrap();
    owned.refused("line 7 (`functions`)", || cluster.run(opens, &x));
}

/// A caller that encodes its commands by hand, and tells the parties different things.
fn forged_frames(owned: &Owned, cluster: &Cluster) {
    let held = || {
        let x = cluster.share(&array![1.0, 2.0]).unwrap();
        let product = cluster.run(inner_product, (&x, &x)).unwrap();
        let of = |job: &str| owned.last_run(job);
        ([(of("share"), 0u32), (of("call"), 0)], (x, product))
    };
    // Each party allows to reveal either of them, and not that they reveal different ones.
    let ([x, product], _handles) = held();
    owned.refused("for different things", || cluster.run_job([x, x, product].map(ForgedReveal)));
    // What nobody holds; a result to a party; a graph that is no LeNet, under its name.
    let error = cluster.run_job([(u64::MAX, 0u32); 3].map(ForgedReveal)).unwrap_err().to_string();
    assert!(error.contains("holds nothing"), "{error}");
    let ([_, product], _handles) = held();
    owned.refused("covers it", || cluster.run_job([(product, PartyId::P1); 3].map(ForgedRevealTo)));
    let load = || (flat_lenet(), PartyId::P1, None::<u8>, LowerOptions::default(), InputRange::default());
    owned.refused("line 6 (`networks`)", || cluster.run_job([load(), load(), load()].map(ForgedLoad)));
    // A function by the name of one that is allowed, at an address; and what is no call at all.
    let call = ("inner_product".to_owned(), (1u32, 4096u64));
    owned.refused("line 7 (`functions`)", || cluster.run_job([call.clone(), call.clone(), call].map(ForgedCall)));
    assert!(cluster.run_job(["no call"; 3].map(str::to_owned).map(ForgedCall)).is_err());
}

fn what_one_owner_refuses_nobody_does(owned: &Owned, digest: &str) {
    owned.write_policy(2, &policy(""));
    let cluster = owned.cluster("lab").unwrap();
    let x = cluster.share(&array![1.0, 2.0]).unwrap();
    let before = [0, 1].map(|party| owned.account(party).1.len());
    let error = cluster.run(inner_product, (&x, &x)).unwrap_err().to_string();
    assert!(error.contains("party 2") && error.contains("line 7 (`functions`)"), "{error}");
    for (party, before) in before.into_iter().enumerate() {
        let (refused, begun) = owned.account(party);
        assert_eq!(begun.len(), before, "party {party} has begun it");
        let why = &refused.last().unwrap().1;
        assert!(why.contains("its owner does not allow what it was asked for"), "party {party}: {why}");
    }
    owned.write_policy(2, &policy(digest));
}

/// Whom the policies do not name, and what is no greeting.
fn who_is_no_caller(owned: &Owned) {
    let start = Instant::now();
    let error = owned.cluster("stranger").err().unwrap().to_string();
    assert!(error.contains("does its policy name yours"), "{error}");
    let before = owned.log(0).len();
    for said in [&b"GET / HTTP/1.1\r\n\r\n"[..], b"CGC1", &[0x16, 3, 1, 0, 5, 1, 0, 0, 1, 3]] {
        let mut stream = TcpStream::connect(&owned.controls[0]).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        stream.write_all(said).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut answer = vec![];
        // It may close or reset the connection; it says nothing but that it is no TLS.
        let _ = stream.read_to_end(&mut answer);
        assert!(answer.len() < 64, "{answer:?}");
    }
    assert!(start.elapsed() < Duration::from_secs(10));
    assert_eq!(owned.log(0).len(), before);
    assert!(owned.cluster("lab").is_ok(), "a caller still is one");
}
