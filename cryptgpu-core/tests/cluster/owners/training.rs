//! What owners' policies say of training, of its checkpoints and of trained weights.

use super::{Owned, this_program};
use crate::support::small;
use cryptgpu_core::cluster::{Checkpointing, Cluster, ClusterError, Dataset, Images, Labels, Start, TrainingRun};
use cryptgpu_core::net::PartyId;
use cryptgpu_core::nn::Weights;
use cryptgpu_core::nn::training::{Reveal, Sgd, Train};
use cryptgpu_datasets::ImageSet;
use std::path::Path;

const POLICY: &str = r#"[allow]
programs = ["training"]
networks = ["NETWORK"]
[inputs]
files = []
[outputs]
folders = ["FOLDER/kept", "FOLDER/out"]
[[reveal]]
what = "loss"
to = "caller"
per_run = 2
[[reveal]]
what = "weights"
to = "party 1"
per_day = 1
"#;

fn digits(cluster: &Cluster) -> Result<Dataset, ClusterError> {
    cluster.dataset("digits-train", Images::at(0), Labels::at(2))
}

/// Trains, tells the loss of each iteration, and leaves checkpoints in a folder, if there is one.
fn train(cluster: &Cluster, iterations: usize, kept: Option<&Path>) -> Result<TrainingRun, ClusterError> {
    let reveal = Reveal { loss_every: Some(1), ..Reveal::default() };
    let optimizer = Sgd::new(0.01).into();
    let settings = Train { batch: 10, iterations: Some(iterations), optimizer, reveal, ..Train::default() };
    let start = Start { checkpoints: kept.map(|kept| Checkpointing::every(1, kept)), ..Start::default() };
    cluster.train_observed(small(), start, &digits(cluster)?, settings, |_| ())
}

#[test]
fn training_its_checkpoints_and_its_weights_are_what_each_policy_allows() {
    let program = |config: &Path| {
        let mut command = this_program(config);
        command.env("CRYPTGPU_KEYS", config.with_file_name("keys"));
        command
    };
    let owned = Owned::start(program, |_| POLICY.to_owned());
    let (kept, out) = (owned.of("kept"), owned.of("out"));
    [&kept, &out].iter().for_each(|folder| std::fs::create_dir(folder).unwrap());
    let exported = out.join("small.safetensors");
    let write = |network: &str| {
        let text = POLICY.replace("NETWORK", network).replace("FOLDER", owned.folder.path().to_str().unwrap());
        (0..3).for_each(|party| owned.write_policy(party, &text));
    };
    write("none");
    let cluster = owned.cluster("lab").unwrap();
    let said = owned.refused("line 6 (`networks`)", || train(&cluster, 2, Some(&kept)));
    drop(cluster);
    write(&said.split("digest ").nth(1).unwrap()[..64]);

    let cluster = owned.cluster("lab").unwrap();
    // What only one owner sees of it: a path of that party.
    let error = train(&cluster, 2, None).and_then(|run| run.model().export_to(1, owned.of("elsewhere"))).unwrap_err();
    assert!(error.party() == Some(PartyId::P1) && error.to_string().contains("line 10 (`folders`)"), "{error}");
    let run = train(&cluster, 2, Some(&kept)).unwrap();
    assert_eq!(run.curve().len(), 2);
    run.model().export_to(1, &exported).unwrap();
    let weights = Weights::load(&exported).unwrap();
    assert!(std::fs::read_dir(&kept).unwrap().count() >= 3, "each party keeps its own");
    for party in 0..3 {
        let log: String = owned.log(party).iter().map(|line| format!("{line}\n")).collect();
        for says in ["writes", "REVEALS loss of", "to caller, 2 times", "REVEALS weights of"] {
            assert!(log.contains(says), "{says}: {log}");
        }
        let file = std::fs::read_to_string(owned.of(super::PARTIES[party]).join("audit.log")).unwrap();
        let numbers = weights.iter().flat_map(|(_, tensor)| tensor.iter()).map(f32::to_string);
        let told = numbers.filter(|number| number.len() > 7).find(|number| (log.clone() + &file).contains(number));
        assert_eq!(told, None, "a weight is in the log of party {party}");
    }

    // Each refusal ends the session, and the next run begins another.
    let trained = || train(&cluster, 2, None);
    owned.refused("`per_run = 2`", || train(&cluster, 3, None));
    owned.refused("line 10 (`folders`)", || train(&cluster, 2, Some(&owned.of("elsewhere"))));
    owned.refused("`per_day = 1`, and 1 were revealed", || trained()?.model().export_to(1, &exported));
    owned.refused("covers it", || trained()?.model().export_to(0, &exported));
    owned.refused("covers it", || cluster.accuracy(trained()?.model(), &digits(&cluster)?, 50));
    // What only one owner sees of it: a file of that party.
    let foreign = ImageSet::File { images: owned.of("eve").join("eve.key"), labels: None };
    let error = cluster.dataset(foreign, Images::at(2), Labels::at(2)).unwrap_err();
    assert!(error.party() == Some(PartyId::P2) && error.to_string().contains("line 8 (`files`)"), "{error}");
}
