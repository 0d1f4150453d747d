//! Checkpoints: a run that is stopped in whatever way goes on bit for bit, by itself or when it is asked to, and from nothing that is
//! not its own.

#![allow(clippy::unwrap_used, clippy::panic)]

#[path = "../nn/support.rs"]
mod networks;

use crate::support::small;
use crate::training::{digits, local, settings, short};
use cryptgpu_core::cluster::{
    Checkpointing, Cluster, ClusterError, DataSource, Dataset, Images, Labels, LossPoint, Start,
};
use cryptgpu_core::net::{Interceptor, Link, PartyId, Recorder, SentMessage, Verdict};
use cryptgpu_core::nn::Graph;
use cryptgpu_core::nn::training::{Adam, Reveal, Sgd, Train};
use networks::partly_seen;
use std::cell::Cell;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

/// Kills a process of this test, if there is one of that number.
fn kill(pid: u32) {
    if pid > 0 {
        // SAFETY: a signal to a process of this test.
        unsafe { libc::kill(pid as i32, libc::SIGKILL) };
    }
}

/// A run that has lost a party goes on no further without its checkpoints, nor where it is not to start new parties.
fn lost_for_good(cluster: &Cluster, start: Start, train: &Train, folder: &Path) {
    let data = digits(cluster);
    let pid = cluster.pids()[2];
    let error = cluster.train_observed(small(), start.clone(), &data, train.clone(), |_| {
        let kept = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
        kept.filter(|path| path.to_string_lossy().contains("party1-"))
            .for_each(|path| drop(std::fs::remove_file(path)));
        kill(pid);
    });
    let error = error.unwrap_err();
    let ClusterError::Lost { reason, error: cause, restarts: 0, .. } = &error else { panic!("{error}") };
    assert!(reason.contains("no longer have a checkpoint"), "{error}");
    assert!(matches!(**cause, ClusterError::Died { party, .. } if party == PartyId::P2), "{error}");
    assert_eq!(error.party(), Some(PartyId::P2));

    let (data, pid) = (digits(cluster), cluster.pids()[2]);
    let never = Checkpointing::every(2, folder.with_file_name("never")).restarts(0);
    let start = Start { checkpoints: Some(never), ..start };
    let error = cluster.train_observed(small(), start, &data, train.clone(), |_| kill(pid)).unwrap_err();
    assert!(matches!(error, ClusterError::Died { .. }), "{error}");
}

/// A link that fails loses the parties as well. Before the first checkpoint a run begins anew, and then it goes on from there;
/// a handle of its data set stays good.
fn a_lost_link(kept: &Path) {
    // From which message of party 0 on nothing arrives at party 2, by generation; and messages of the present one so far.
    let cuts: Arc<[AtomicU64; 3]> = Arc::new([u64::MAX; 3].map(AtomicU64::new));
    let (generation, messages) = (AtomicUsize::new(0), Arc::new(AtomicU64::new(0)));
    let (cut_at, counted) = (cuts.clone(), messages.clone());
    let interceptor = Interceptor::new(move |message| {
        if (message.from, message.to) == (PartyId::P0, PartyId::P2) {
            generation.fetch_add(usize::from(message.sequence == 0), SeqCst);
            counted.store(message.sequence, SeqCst);
        }
        let from = &cut_at[generation.load(SeqCst).clamp(1, 3) - 1];
        match message.to == PartyId::P2 && counted.load(SeqCst) >= from.load(SeqCst) {
            true => Verdict::Drop,
            false => Verdict::Pass,
        }
    });
    let cluster = Cluster::in_memory().deadline(Duration::from_millis(1500)).intercept(interceptor).start().unwrap();
    let data = digits(&cluster);
    let reveal = Reveal { loss_every: Some(1), ..Reveal::default() };
    let train = Train { iterations: Some(6), reveal, ..settings() };
    let whole = cluster.train(small(), &data, train.clone()).unwrap().curve();
    // In the second of six iterations, and after the restart in the fifth.
    let of_six = messages.load(SeqCst);
    cuts[0].store(of_six + of_six / 4, SeqCst);
    cuts[1].store(3 * of_six / 4, SeqCst);
    let start = Start { checkpoints: Some(Checkpointing::every(3, kept).restarts(10)), ..Start::default() };
    let mut seen = vec![];
    let run = cluster.train_observed(small(), start, &data, train, |iteration| {
        seen.push((iteration.number, iteration.restarts));
    });
    let run = run.unwrap();
    let restarts = run.restarts();
    // A machine that is busy with other things may lose parties once more.
    assert!(restarts.len() >= 2 && restarts[0].from == 0, "{restarts:?}");
    assert!(restarts.iter().all(|restart| restart.cause.contains("party")), "{restarts:?}");
    assert!(restarts.iter().any(|restart| restart.from == 3 && (3..6).contains(&restart.reached)), "{restarts:?}");
    let numbers: Vec<usize> = run.iterations().iter().map(|iteration| iteration.number).collect();
    assert_eq!(numbers, [0, 1, 2, 3, 4, 5]);
    assert!(seen.len() > 6 && run.bytes() > 6 * run.iterations()[5].bytes.iter().sum::<u64>(), "{seen:?}");
    let near = |a: &LossPoint, b: &LossPoint| a.iteration == b.iteration && (a.loss - b.loss).abs() < 1e-3;
    assert!(run.curve().iter().zip(&whole).all(|(a, b)| near(a, b)), "{:?}, {whole:?}", run.curve());
    cluster.accuracy(run.model(), &data, 100).unwrap();
}

/// A copy of the checkpoints that the parties have by now.
fn copy_of(kept: &Path, copy: &Path) {
    std::fs::create_dir(copy).unwrap();
    for file in std::fs::read_dir(kept).unwrap() {
        let (path, name) = (file.as_ref().unwrap().path(), file.unwrap().file_name());
        // The parties go on meanwhile: what is not whole yet may be gone.
        if path.extension().is_some_and(|extension| extension == "checkpoint") {
            std::fs::copy(path, copy.join(name)).unwrap();
        }
    }
}

/// A network of which some weights only ever see padding, its examples, and how it is trained.
fn of_partly_seen(cluster: &Cluster) -> (Graph, Dataset, Train) {
    let net = partly_seen().unwrap();
    let random = DataSource::random(net.input_shape(), 3, 40);
    let data = cluster.dataset(random, Images::at(0), Labels::at(2)).unwrap();
    let optimizer = Sgd::new(0.05).momentum(0.9);
    (net, data, Train { batch: 8, epochs: 2, iterations: Some(7), optimizer, ..settings() })
}

fn keeping(every: usize, at: &Path, resume: bool) -> Start {
    let checkpoints = Checkpointing::every(every, at).restarts(0);
    Start { checkpoints: Some(if resume { checkpoints.resuming() } else { checkpoints }), ..Start::default() }
}

/// All three parties are killed between two checkpoints of a training of weights that are partly seen: who resumes has the bits of
/// the undisturbed run, what is seen of kernels and what is not.
fn killed_between_checkpoints(folder: &Path) {
    let [kept, copy, path] = ["partly", "partly copy", "partly.safetensors"].map(|name| folder.join(name));
    let weights = |cluster: &Cluster, start: Start, observe: &dyn Fn(usize)| {
        let (net, data, train) = of_partly_seen(cluster);
        let run = cluster.train_observed(net, start, &data, train, |iteration| observe(iteration.number))?;
        run.model().export_to(1, &path)?;
        Ok::<_, ClusterError>(std::fs::read(&path).unwrap())
    };
    let copies = |number| {
        if number == 1 {
            copy_of(&kept, &copy);
        }
    };
    let undisturbed = weights(&local().start().unwrap(), keeping(2, &kept, false), &copies).unwrap();
    let cluster = local().start().unwrap();
    let pids = cluster.pids();
    // The next checkpoint is after the sixth iteration.
    let error = weights(&cluster, keeping(6, &copy, true), &|number| {
        if number == 3 {
            pids.iter().for_each(|&pid| kill(pid));
        }
    });
    assert!(matches!(error, Err(ClusterError::Died { .. })), "{error:?}");
    drop(cluster);
    let first = Cell::new(None);
    let resumed = weights(&local().start().unwrap(), keeping(2, &copy, true), &|number| {
        first.set(first.get().or(Some(number)));
    });
    assert!(resumed.unwrap() == undisturbed);
    assert_eq!(first.get(), Some(2), "it went on from the checkpoint after two iterations");
}

/// From a checkpoint on, messages are those of the run that was not disturbed, word for word.
fn messages_go_on(folder: &Path) {
    let [kept, copy] = ["recorded", "recorded copy"].map(|name| folder.join(name));
    let run = |start: Start, observe: &dyn Fn(usize)| {
        let recorder = Recorder::default();
        let cluster = Cluster::in_memory().intercept(recorder.interceptor()).start().unwrap();
        let (net, data, train) = of_partly_seen(&cluster);
        let run = cluster.train_observed(net, start, &data, train, |iteration| observe(iteration.number)).unwrap();
        (recorder.messages(), run.iterations().to_vec())
    };
    let copies = |number| {
        if number == 1 {
            copy_of(&kept, &copy);
        }
    };
    let (undisturbed, _) = run(keeping(2, &kept, false), &copies);
    let (resumed, iterations) = run(keeping(2, &copy, true), &|_| ());
    assert_eq!(iterations.iter().map(|one| one.number).collect::<Vec<_>>(), [2, 3, 4, 5, 6]);
    for from in PartyId::ALL {
        let mut same = 0;
        for to in PartyId::ALL.into_iter().filter(|to| *to != from) {
            let link = |message: &&SentMessage| (message.from, message.to) == (from, to);
            // In the same order; other messages, of before and of what follows the training, lie between.
            let mut before = undisturbed.iter().filter(link);
            for message in resumed.iter().filter(link) {
                let rest = before.clone();
                match before.find(|other| (other.tag.kind, &other.words) == (message.tag.kind, &message.words)) {
                    Some(_) => same += 8 * message.words.len() as u64,
                    None => before = rest,
                }
            }
        }
        let sent: u64 = iterations.iter().map(|iteration| iteration.bytes[from.index()]).sum();
        assert!(sent > 10_000 && same >= sent, "party {from}: {same} bytes are the same, and iterations sent {sent}");
    }
}

/// A run goes on from its checkpoints in other processes, share for share as it went on undisturbed, and from nothing else;
/// also by itself when it loses a party.
#[test]
fn a_run_goes_on_from_a_checkpoint_bit_for_bit() {
    let folder = tempfile::tempdir().unwrap();
    let [kept, copy, keys] = ["kept", "copy", "keys"].map(|name| folder.path().join(name));
    let train = Train { iterations: Some(5), optimizer: Sgd::new(0.01).momentum(0.9), ..settings() };
    let begin = |resume, at: &std::path::Path| {
        let checkpoints = Checkpointing::every(2, at);
        let checkpoints = Some(if resume { checkpoints.resuming() } else { checkpoints });
        Start { checkpoints, ..Start::default() }
    };
    // SAFETY: parties inherit it; what other tests of this process start has no checkpoints.
    unsafe { std::env::set_var("CRYPTGPU_KEYS", &keys) };
    let restarts = Cell::new(0);
    let weights_of = |cluster: &Cluster, train: &Train, start: Start, copied: &dyn Fn(usize)| {
        let data = digits(cluster);
        let run = cluster.train_observed(small(), start, &data, train.clone(), |iteration| copied(iteration.number));
        let (path, run) = (folder.path().join("weights.safetensors"), run.unwrap());
        restarts.set(run.restarts().len());
        run.model().export_to(1, &path).unwrap();
        std::fs::read(path).unwrap()
    };
    let weights = |cluster: &Cluster, start, copied: &dyn Fn(usize)| weights_of(cluster, &train, start, copied);
    let copied = |number, kept: &Path, copy: &Path| {
        if number == 1 {
            copy_of(kept, copy);
        }
    };
    let cluster = local().start().unwrap();
    let undisturbed = weights(&cluster, begin(false, &kept), &|number| copied(number, &kept, &copy));
    drop(cluster);
    // In the ring of 32 bits, where Adam has moments of 64, and not from there to the ring of 64.
    let adam = Train { optimizer: Adam::new(0.003), ..train.clone() };
    let [kept_short, copy_short] = ["kept 32", "copy 32"].map(|name| folder.path().join(name));
    let cluster = local().computing(short()).start().unwrap();
    let copies = |number| copied(number, &kept_short, &copy_short);
    let expected = weights_of(&cluster, &adam, begin(false, &kept_short), &copies);
    drop(cluster);
    let cluster = local().computing(short()).start().unwrap();
    assert!(weights_of(&cluster, &adam, begin(true, &copy_short), &|number| assert!(number >= 2)) == expected);
    drop(cluster);
    let cluster = local().start().unwrap();
    let other = cluster.train_observed(small(), begin(true, &copy_short), &digits(&cluster), adam, |_| ());
    let error = other.unwrap_err().to_string();
    assert!(error.contains("other protocol settings"), "{error}");
    drop(cluster);
    let [killed, lost, often] = ["killed", "lost", "often"].map(|name| folder.path().join(name));
    for other in [&killed, &lost, &often] {
        std::fs::create_dir(other).unwrap();
        for file in std::fs::read_dir(&copy).unwrap() {
            std::fs::copy(file.as_ref().unwrap().path(), other.join(file.unwrap().file_name())).unwrap();
        }
    }
    let cluster = local().start().unwrap();
    assert!(weights(&cluster, begin(true, &copy), &|number| assert!(number >= 2)) == undisturbed);
    // No bit depends on which iterations leave a checkpoint.
    let each = Start { checkpoints: Some(Checkpointing::every(1, &often).resuming()), ..Start::default() };
    assert!(weights(&cluster, each, &|number| assert!(number >= 2)) == undisturbed);
    // It loses a party at each of two moments, and goes on with new ones by itself. (An iteration takes long enough for that.)
    let link = Link::Custom { megabytes_per_second: 1000.0, latency_ms: 10.0 };
    let cluster = local().link(link).start().unwrap();
    let pids = [Cell::new(cluster.pids()[1]), Cell::new(0)];
    let disturbed = weights(&cluster, begin(true, &killed), &|number| {
        if number == 2 {
            kill(pids[0].replace(0));
            pids[1].set(cluster.pids().get(2).copied().unwrap_or(0));
        }
        if number == 3 && pids[0].get() == 0 {
            kill(pids[1].replace(0));
        }
    });
    assert!(disturbed == undisturbed);
    assert!(restarts.get() >= 2, "{}", restarts.get());
    lost_for_good(&cluster, begin(true, &lost), &train, &lost);
    a_lost_link(&folder.path().join("link"));
    killed_between_checkpoints(folder.path());
    messages_go_on(folder.path());

    let data = digits(&cluster);
    // The run left a checkpoint at its end, where none was due: it goes on from there for the iterations that are asked
    // for beyond, and may be tested meanwhile.
    let reveal = Reveal { accuracy_every: Some(1), ..Reveal::default() };
    let longer = Train { iterations: Some(6), reveal, ..train.clone() };
    let start = Start { held_out: Some(data.clone()), ..begin(true, &copy) };
    let run = cluster.train_observed(small(), start, &data, longer, |_| ()).unwrap();
    assert_eq!(run.iterations().iter().map(|iteration| iteration.number).collect::<Vec<_>>(), [5]);
    assert_eq!(run.accuracies().len(), 1);

    let refused = |start: Start, train: Train, hint: &str| {
        let error = cluster.train_observed(small(), start, &data, train, |_| ()).unwrap_err().to_string();
        assert!(error.contains(hint), "{error}");
    };
    refused(begin(false, &copy), train.clone(), "another folder");
    refused(begin(true, &folder.path().join("none")), train.clone(), "no checkpoints");
    let other = "other training settings: seed was 7, and is 8 here";
    refused(begin(true, &copy), Train { seed: 8, ..train.clone() }, other);

    // As a run leaves it that is killed before all three parties have their first checkpoint.
    for file in std::fs::read_dir(&copy).unwrap().map(|file| file.unwrap().path()) {
        if file.to_string_lossy().contains("party1-") {
            std::fs::remove_file(file).unwrap();
        }
    }
    for resume in [true, false] {
        refused(begin(resume, &copy), train.clone(), "party 1 has none");
        refused(begin(resume, &copy), train.clone(), "delete these files or take another folder");
    }
}
