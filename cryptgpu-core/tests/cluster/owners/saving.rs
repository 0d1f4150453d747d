//! Saving and loading at parties of three owners: where each policy allows it, and what is saved is still known as what it was.

use super::{Owned, this_program};
use cryptgpu_core::cluster::{ClusterError, FailureKind, Service};
use cryptgpu_core::net::{Identity, PartyId};
use cryptgpu_core::nn::WeightSource;
use cryptgpu_datasets::bundled;
use ndarray::array;
use std::path::Path;
use std::process::Command;

const POLICY: &str = r#"
[allow]
programs = ["inference", "saving"]
networks = ["lenet"]

[inputs]
files = ["saved"]

[outputs]
folders = ["saved"]

[[reveal]]
what = "scores"
of = "lenet"
to = "caller"
per_run = 2
"#;

/// A party whose file says where it keeps what is saved.
fn program(config: &Path) -> Command {
    let text = std::fs::read_to_string(config).unwrap();
    std::fs::write(config, format!("saved = \"saved\"\n{text}")).unwrap();
    std::fs::create_dir(config.with_file_name("saved")).unwrap();
    let mut command = this_program(config);
    command.env("CRYPTGPU_KEYS", config.with_file_name("keys"));
    command
}

#[test]
fn what_is_saved_and_loaded_is_what_each_policy_allows_and_keeps_its_origin() {
    let owned = Owned::start(program, |_| POLICY.to_owned());
    let images = bundled::mnist_test_1000().unwrap().batch(0..2).unwrap();
    let cluster = owned.cluster("lab").unwrap();
    cluster.load_model("lenet", WeightSource::Bundled).unwrap().save("digits").unwrap();
    cluster.share(&array![1.0, 2.0]).unwrap().save("mine").unwrap();
    for (party, name) in super::PARTIES.iter().enumerate() {
        let file = owned.of(name).join(format!("saved/digits.party{party}.shares"));
        assert!(file.exists(), "each party keeps its own: {}", file.display());
    }
    drop(cluster);

    // Another session, which has no weights. The policies allow the same openings as before.
    let cluster = owned.cluster("lab").unwrap();
    let digits = cluster.load("digits").unwrap();
    assert_eq!(cluster.infer(&digits, &images).unwrap().predictions(), [7, 2]);
    for party in 0..3 {
        let log: String = owned.log(party).iter().map(|line| format!("{line}\n")).collect();
        for says in ["save, writes", "load-saved", "network lenet", "REVEALS scores of lenet to caller, 2 times"] {
            assert!(log.contains(says), "{says}: {log}");
        }
    }
    let clients = vec![Identity::generate().unwrap().fingerprint()];
    let error = cluster.serve("digits", &Service { clients, ..Service::default() }, |_| ()).unwrap_err();
    assert!(error.to_string().contains("parties of three owners do not serve clients"), "{error}");
    // What a caller has shared itself is nobody's own any more once it is loaded.
    let mine = cluster.load_shared("mine").unwrap();
    owned.refused("does not allow to reveal result of mine", || mine.reveal());
    drop(cluster);

    let write = |of: &str, to: &str| {
        (0..3).for_each(|party| owned.write_policy(party, &POLICY.replace(of, to)));
        owned.cluster("lab").unwrap()
    };
    let cluster = write("networks = [\"lenet\"]", "networks = []");
    owned.refused("(`networks`) does not allow to compute with the network lenet", || cluster.load("digits"));
    drop(cluster);
    let cluster = write(", \"saving\"", "");
    owned.refused("does not allow to run the job `find-saved`", || cluster.load("digits"));
    drop(cluster);
    let cluster = write("files = [\"saved\"]", "files = []");
    let error = cluster.load("digits").unwrap_err();
    assert!(error.to_string().contains("(`files`) does not allow to read"), "{error}");
    drop(cluster);
    // One owner is enough.
    (0..3).for_each(|party| owned.write_policy(party, POLICY));
    owned.write_policy(2, &POLICY.replace("folders = [\"saved\"]", "folders = []"));
    let cluster = owned.cluster("lab").unwrap();
    let error = cluster.load_model("lenet", WeightSource::Bundled).unwrap().save("again").unwrap_err();
    assert!(error.party() == Some(PartyId::P2) && error.to_string().contains("(`folders`)"), "{error}");
    let ClusterError::Job { failure, .. } = &error else { panic!("{error}") };
    assert_eq!(failure.kind, FailureKind::Refused);
    assert!(!owned.of("ann").join("saved/again.party0.shares").exists(), "nobody begins what one refuses");
}
