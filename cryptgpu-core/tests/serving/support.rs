//! Lets this test program be its own parties, with a folder for what they keep.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use cryptgpu_core::cluster::{
    Client, Cluster, ClusterBuilder, ClusterError, Jobs, Network, Service, ServiceFile, Serving, owner, party,
};
use cryptgpu_core::net::Identity;
use cryptgpu_core::nn::range::InputRange;
use cryptgpu_core::nn::{WeightSource, plaintext, zoo};
use cryptgpu_core::ring::{FixedPoint, Ring};
use cryptgpu_datasets::bundled;
use ndarray::ArrayD;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// What comes before `main`, which is the test harness's.
extern "C" fn before_main() {
    // Parties inherit it.
    if std::env::var_os("CRYPTGPU_SAVED").is_none() {
        let _ = std::fs::remove_dir_all(kept());
        // SAFETY: there is one thread.
        unsafe {
            std::env::set_var("CRYPTGPU_SAVED", kept().join("saved"));
            std::env::set_var("CRYPTGPU_KEYS", kept().join("keys"));
        }
    }
    party::serve_if_asked(&Jobs::default());
    owner::serve_if_asked(&Jobs::default());
}

// SAFETY: the linker puts pointers to functions without arguments here, and the program's start calls them.
#[used]
#[unsafe(link_section = ".init_array")]
static BEFORE_MAIN: extern "C" fn() = before_main;

/// What the parties of these tests keep.
pub fn kept() -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("serving")
}

/// A party's file of what is saved under a name.
pub fn file(name: &str, party: usize) -> PathBuf {
    kept().join("saved").join(format!("{name}.party{party}.shares"))
}

/// Three processes of this test program.
pub fn local() -> ClusterBuilder {
    Cluster::local().threads(1).deadline(Duration::from_secs(10))
}

/// The first bundled digits.
pub fn digits(range: std::ops::Range<usize>) -> ArrayD<f64> {
    bundled::mnist_test_1000().unwrap().batch(range).unwrap().mapv(f64::from).into_dyn()
}

/// Both rings: what is served in the one is in the other.
pub const RINGS: [Ring; 2] = [Ring::Z64, Ring::Z32];

/// How far LeNet's scores may be from those in plaintext, in a ring with its usual fraction bits.
pub fn tolerance(ring: Ring) -> f64 {
    150.0 * (-f64::from(FixedPoint::from(ring).fraction_bits())).exp2()
}

/// What LeNet says of images, in plaintext.
pub fn plaintext_scores(images: &ArrayD<f64>) -> ArrayD<f64> {
    let graph = zoo::by_name("lenet").unwrap();
    let weights = WeightSource::Bundled.load(&graph).unwrap();
    plaintext::evaluate(&graph, &weights, &images.view()).unwrap()
}

pub fn far(a: &ArrayD<f64>, b: &ArrayD<f64>) -> f64 {
    assert_eq!(a.shape(), b.shape());
    a.iter().zip(b).fold(0.0, |worst: f64, (a, b)| worst.max((a - b).abs()))
}

/// LeNet as three processes serve it, with a client's key.
pub struct Served {
    pub cluster: Arc<Cluster>,
    pub ring: Ring,
    pub file: ServiceFile,
    pub identity: Identity,
    told: Mutex<Receiver<Serving>>,
    ended: Option<JoinHandle<Result<(), ClusterError>>>,
}

impl Served {
    /// Saves it under a name of its own in this ring, and serves it.
    pub fn start(name: &str, ring: Ring, service: Service) -> Self {
        let name = format!("{name}-{}", ring.bits());
        let cluster = Arc::new(local().ring(ring).start().unwrap());
        let range = InputRange::new(-1.0, 4.0).unwrap();
        let model = cluster.load_model(Network::from("lenet").input_range(range), WeightSource::Bundled).unwrap();
        model.save(&name).unwrap();
        let identity = Identity::generate().unwrap();
        let service = Service { clients: vec![identity.fingerprint()], ..service };
        let (tell, told) = channel();
        let serving = cluster.clone();
        let ended = std::thread::spawn(move || serving.serve(&name, &service, |what| drop(tell.send(what.clone()))));
        let mut served = Served { cluster, ring, file: none(), identity, told: Mutex::new(told), ended: Some(ended) };
        served.file = served.opened();
        served
    }

    /// What it tells next of what is looked for.
    pub fn hears<T>(&self, look: impl Fn(Serving) -> Option<T>) -> T {
        let until = Instant::now() + Duration::from_secs(60);
        loop {
            let told = self.told.lock().unwrap().recv_timeout(until.saturating_duration_since(Instant::now()));
            if let Some(found) = look(told.expect("the service tells it")) {
                return found;
            }
        }
    }

    /// Where it is, when it can be reached.
    pub fn opened(&self) -> ServiceFile {
        self.hears(|told| match told {
            Serving::Open(file) => Some(file),
            _ => None,
        })
    }

    pub fn client(&self) -> Client {
        Client::connect(&self.file, &self.identity).unwrap().within(Duration::from_secs(60))
    }

    /// Ends it as its caller does, and sees that nothing is left of it.
    pub fn end(mut self) {
        let pids = self.cluster.pids();
        assert_eq!(pids.len(), 3);
        assert!(self.cluster.cancel());
        self.ended.take().unwrap().join().unwrap().unwrap();
        for pid in pids {
            let until = Instant::now() + Duration::from_secs(10);
            while std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z ")) {
                assert!(Instant::now() < until, "process {pid} is still there");
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    }
}

fn none() -> ServiceFile {
    let fingerprint = Identity::generate().unwrap().fingerprint();
    ServiceFile { parties: [(); 3].map(|()| (String::new(), fingerprint)) }
}
