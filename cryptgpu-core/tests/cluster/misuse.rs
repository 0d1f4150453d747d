//! Misuses of a cluster: each gives an error of its own that says what is wrong and where, and the cluster goes on.
//!
//! What the compiler refuses is in the documentation of `Cluster::run`, as examples that must not compile: a closure
//! that captures, a pointer in place of a function, an array where the function takes a share, bits where it takes words,
//! a type without serde as argument, a bare `Tensor` as result.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use crate::support::{in_memory, local};
use cryptgpu_core::cluster::{
    Cluster, ClusterError, Job, JobError, OnlyAt, PartyContext, PerParty, Result, SelfTest, Shared, Words,
};
use cryptgpu_core::device::Tensor;
use cryptgpu_core::mpc::{Party, Rep};
use cryptgpu_core::net::PartyId;
use ndarray::{Array1, array};
use std::time::{Duration, Instant};

/// A misuse: what it is called, what it does, what the error must say.
struct Misuse {
    name: &'static str,
    commit: fn(&Cluster) -> ClusterError,
    says: &'static [&'static str],
}

const MISUSES: &[Misuse] = &[
    Misuse {
        name: "a handle of another cluster",
        commit: |cluster| cluster.run(same, x(&in_memory().start().unwrap())).unwrap_err(),
        says: &["shape [3]", "belongs to another cluster"],
    },
    Misuse {
        name: "a handle whose cluster is gone",
        commit: |_| {
            let cluster = in_memory().start().unwrap();
            let x = x(&cluster);
            drop(cluster);
            x.reveal().unwrap_err()
        },
        says: &["cluster that this handle belongs to has ended", "keep the `Cluster`"],
    },
    Misuse {
        name: "a freed handle",
        commit: |cluster| {
            let x = x(cluster);
            x.free();
            cluster.run(same, &x).unwrap_err()
        },
        says: &["was freed"],
    },
    Misuse {
        name: "a handle from before a restart",
        commit: |cluster| {
            let x = x(cluster);
            cluster.restart().unwrap();
            cluster.run(same, &x).unwrap_err()
        },
        says: &["after an error or a restart", "share, compute or load it again"],
    },
    Misuse {
        name: "a handle for some of the parties",
        commit: |cluster| {
            let x = x(cluster);
            cluster.run(same, PerParty([&x, &x, &x])).unwrap_err()
        },
        says: &["to some of the parties only", "not within PerParty or OnlyAt"],
    },
    Misuse {
        name: "a value that does not fit the ring",
        commit: |cluster| cluster.share(&array![1.0, f64::NAN]).unwrap_err(),
        says: &["cannot share an array", "NaN"],
    },
    Misuse {
        name: "shapes that differ",
        commit: |cluster| {
            fn product(p: &mut Party, (x, y): (Rep, Rep)) -> Result<Rep> {
                Ok(p.step("scores", |p| p.mul(&x, &y))?)
            }
            cluster.run(product, (x(cluster), &cluster.share(&array![1.0]).unwrap())).unwrap_err()
        },
        says: &["failed in job product", "step scores", "[3]", "[1]"],
    },
    Misuse {
        name: "a party that returns early",
        commit: |cluster| {
            fn hasty(p: &mut Party, x: Rep) -> Result<Rep> {
                match p.id().index() {
                    1 => Ok(x),
                    _ => Ok(p.step("scores", |p| p.relu(&x))?),
                }
            }
            cluster.run(hasty, x(cluster)).unwrap_err()
        },
        says: &["deadlock", "waits for party 1 at step scores", "the program of party 1 has returned"],
    },
    Misuse {
        name: "a message that nobody receives",
        commit: |cluster| {
            fn talker(p: &mut Party, x: Rep) -> Result<()> {
                if p.id().index() == 0 {
                    p.open_to(PartyId::P1, &x)?;
                }
                Ok(())
            }
            cluster.run(talker, x(cluster)).unwrap_err()
        },
        says: &["party 0 sent party 1 1 message(s) that it did not receive"],
    },
    Misuse {
        name: "parties that run different protocols",
        commit: |cluster| {
            fn fork(p: &mut Party, x: Rep) -> Result<()> {
                match p.id().index() {
                    2 => p.open_to(PartyId::P0, &x).map(drop)?,
                    _ => p.open(&x).map(drop)?,
                }
                Ok(())
            }
            cluster.run(fork, x(cluster)).unwrap_err()
        },
        says: &["expected message", "the parties' programs have diverged"],
    },
    Misuse {
        name: "a message of another length",
        commit: |cluster| {
            fn lengths(p: &mut Party, x: Rep) -> Result<()> {
                let x = if p.id().index() == 0 { x.narrow(0..2)? } else { x };
                p.step("lengths", |p| p.open(&x)).map(drop)?;
                Ok(())
            }
            cluster.run(lengths, x(cluster)).unwrap_err()
        },
        says: &["at step lengths", "of 3 words", "of 2 words"],
    },
    Misuse {
        name: "a panic",
        commit: |cluster| {
            fn panics(p: &mut Party, x: Rep) -> Result<Rep> {
                p.step("scores", |p| {
                    assert!(p.id().index() != 2, "out of cheese");
                    p.relu(&x)
                })
                .map_err(Into::into)
            }
            cluster.run(panics, x(cluster)).unwrap_err()
        },
        says: &["party 2 failed in job panics at step scores: panicked: out of cheese"],
    },
    Misuse {
        name: "an error of one party",
        commit: |cluster| {
            fn fails(p: &mut Party, x: Rep) -> std::result::Result<Rep, String> {
                p.step("layer 7", |p| match p.id().index() {
                    1 => Err("the file is not there".to_owned()),
                    _ => p.relu(&x).map_err(|error| error.to_string()),
                })
            }
            cluster.run(fails, x(cluster)).unwrap_err()
        },
        says: &["party 1 failed in job fails at step layer 7: the file is not there"],
    },
    Misuse {
        name: "a deadlock",
        commit: |cluster| {
            fn everyone_waits(p: &mut Party, x: Rep) -> Result<()> {
                let me = p.id();
                p.step("open", |p| p.open_to(me, &x))?;
                Ok(())
            }
            cluster.run(everyone_waits, x(cluster)).unwrap_err()
        },
        says: &["deadlock: party 0 waits for party 2 at step open", "party 1 waits for party 0", "party 2 waits for"],
    },
    Misuse {
        name: "a party that does not come back",
        commit: |cluster| {
            fn sleeps(p: &mut Party, x: Rep) -> Result<Rep> {
                if p.id().index() == 0 {
                    std::thread::sleep(Duration::from_secs(5));
                }
                Ok(p.step("late", |p| p.relu(&x))?)
            }
            cluster.run(sleeps, x(cluster)).unwrap_err()
        },
        says: &["party 0 sent nothing for", "at step late"],
    },
    Misuse {
        name: "shares of different shapes as result",
        commit: |cluster| {
            fn shapes(p: &mut Party, x: Rep) -> Result<Rep> {
                Ok(if p.id().index() == 1 { x.narrow(0..1)? } else { x })
            }
            cluster.run(shapes, x(cluster)).unwrap_err()
        },
        says: &["the parties of shapes left different things", "a share of shape [1] at party 1"],
    },
    Misuse {
        name: "a function that forgets a party",
        commit: |cluster| {
            fn forgetful(p: &mut Party, x: Rep) -> Result<Option<Rep>> {
                Ok((p.id().index() < 2).then_some(x))
            }
            cluster.run(forgetful, x(cluster)).unwrap_err()
        },
        says: &["left different things", "nothing more at party 2", "All three must return shares"],
    },
    Misuse {
        name: "a plaintext at more than one party",
        commit: |cluster| {
            fn opened(p: &mut Party, x: Rep) -> Result<Option<Tensor>> {
                Ok(Some(p.open(&x)?))
            }
            cluster.run(opened, x(cluster)).unwrap_err()
        },
        says: &["must be Some at one party and None at the others", "at 3"],
    },
    Misuse {
        name: "one output where there are three",
        commit: |cluster| {
            fn who(p: &mut Party, (): ()) -> Result<PartyId> {
                Ok(p.id())
            }
            cluster.run(who, ()).unwrap().output().unwrap_err()
        },
        says: &["party 1 came back with another value than party 0", "`outputs`"],
    },
    Misuse {
        name: "a plaintext that another party than the owner has",
        commit: |cluster| {
            fn share_again(p: &mut Party, (value, owner): (Option<Tensor>, PartyId)) -> Result<Rep> {
                Ok(p.input(owner, value.as_ref(), &[3])?)
            }
            let revealed = x(cluster).reveal_to(PartyId::P2).unwrap();
            cluster.run(share_again, (&revealed, PartyId::P1)).unwrap_err()
        },
        says: &["failed in job share_again", "input: party 1 alone brings the value, with shape [3]"],
    },
    Misuse {
        name: "a value that only its owner has",
        commit: |cluster| {
            fn needs_it(p: &mut Party, n: Option<u64>) -> std::result::Result<u64, String> {
                n.ok_or_else(|| format!("party {} has no n", p.id()))
            }
            cluster.run(needs_it, OnlyAt(PartyId::P0, 7)).unwrap_err()
        },
        says: &["has no n"],
    },
    Misuse {
        name: "an unknown job",
        commit: |cluster| cluster.run_job([MakeTea, MakeTea, MakeTea]).unwrap_err(),
        says: &["no job is called `make-tea`", "self-test"],
    },
    Misuse {
        name: "two runs at a time",
        commit: |cluster| {
            let mut error = None;
            let jobs = PartyId::ALL.map(|_| SelfTest { rounds: 10, words: Words(vec![1]), fault: None });
            cluster
                .run_job_with(jobs, |_| {
                    error = error.take().or_else(|| cluster.run(idle, ()).err());
                })
                .unwrap();
            error.unwrap()
        },
        says: &["cannot run idle", "busy with self-test"],
    },
];

/// Misuses that end a process, which a thread would not survive.
const OF_PROCESSES: &[Misuse] = &[
    Misuse {
        name: "the end of the process",
        commit: |cluster| {
            fn leaves(p: &mut Party, x: Rep) -> Result<Rep> {
                if p.id().index() == 1 {
                    std::process::exit(3);
                }
                Ok(p.relu(&x)?)
            }
            cluster.run(leaves, x(cluster)).unwrap_err()
        },
        says: &["party 1 died in job leaves", "exit status: 3"],
    },
    Misuse {
        name: "a recursion without end",
        commit: |cluster| {
            fn deep(p: &mut Party, depth: u64) -> Result<u64> {
                let depth = std::hint::black_box(depth);
                Ok(1 + if p.id().index() == 2 { deep(p, depth + 1)? } else { 0 })
            }
            cluster.run(deep, 0u64).unwrap_err()
        },
        says: &["party 2 died in job deep", "killed by signal"],
    },
];

#[derive(serde::Serialize, serde::Deserialize)]
struct MakeTea;

impl Job for MakeTea {
    const NAME: &'static str = "make-tea";
    type Output = ();
    fn run(self, _: &mut PartyContext) -> std::result::Result<(), JobError> {
        Ok(())
    }
}

fn x(cluster: &Cluster) -> Shared {
    cluster.share(&array![1.0, -2.0, 3.0]).unwrap()
}

fn same(_: &mut Party, x: Rep) -> Result<Rep> {
    Ok(x)
}

fn idle(_: &mut Party, (): ()) -> Result<()> {
    Ok(())
}

/// The cluster computes what it should.
fn works(cluster: &Cluster) {
    let relu = |p: &mut Party, x: Rep| -> Result<Rep> { Ok(p.relu(&x)?) };
    assert_eq!(cluster.run(relu, x(cluster)).unwrap().reveal().unwrap(), array![1.0, 0.0, 3.0].into_dyn());
}

/// Commits each misuse; the error must say what it should, unlike all others, and the cluster must go on.
fn commit(cluster: &Cluster, misuses: &[Misuse]) {
    let mut heard: Vec<String> = Vec::new();
    for Misuse { name, commit, says } in misuses {
        let message = commit(cluster).to_string();
        for text in *says {
            assert!(message.contains(text), "{name}: `{text}` is not in\n{message}");
        }
        assert!(!heard.contains(&message), "{name}: as another misuse\n{message}");
        heard.push(message);
        works(cluster);
    }
}

#[test]
fn twenty_misuses_in_memory() {
    const { assert!(MISUSES.len() >= 20) };
    commit(&in_memory().deadline(Duration::from_secs(1)).start().unwrap(), MISUSES);
}

#[test]
fn twenty_misuses_of_processes() {
    let cluster = local().deadline(Duration::from_secs(1)).start().unwrap();
    commit(&cluster, MISUSES);
    commit(&cluster, OF_PROCESSES);
}

#[test]
fn a_deadlock_is_named_long_before_the_deadline() {
    fn everyone_waits(p: &mut Party, x: Rep) -> Result<()> {
        p.open_to(p.id(), &x)?;
        Ok(())
    }
    for cluster in [in_memory().deadline(Duration::from_secs(60)), local().deadline(Duration::from_secs(60))] {
        let cluster = cluster.start().unwrap();
        let (x, start) = (x(&cluster), Instant::now());
        let error = cluster.run(everyone_waits, &x).unwrap_err();
        assert!(matches!(&error, ClusterError::Deadlock { deadlock, .. } if deadlock.stuck.len() == 3), "{error}");
        assert!(start.elapsed() < Duration::from_secs(30), "{:?}", start.elapsed());
        works(&cluster);
    }
}

#[test]
fn another_thread_that_runs_is_named_to_this_one() {
    fn slow(_: &mut Party, (): ()) -> Result<()> {
        std::thread::sleep(Duration::from_millis(300));
        Ok(())
    }
    let cluster = in_memory().start().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| while cluster.run(slow, ()).is_err() {});
        let error = loop {
            match cluster.run(idle, ()) {
                Ok(_) => std::thread::sleep(Duration::from_millis(5)),
                Err(error) => break error,
            }
        };
        assert!(matches!(&error, ClusterError::Busy { running, .. } if running == "slow"), "{error}");
    });
    works(&cluster);
}

#[test]
fn parties_of_another_program_say_so() {
    let cluster = Cluster::local().program(env!("CARGO_BIN_EXE_cryptgpu")).threads(1).start().unwrap();
    let error = cluster.run(idle, ()).unwrap_err().to_string();
    assert!(error.contains("cannot find the function idle") && error.contains("serve_if_asked"), "{error}");
    // Handles need no function.
    assert_eq!(x(&cluster).reveal().unwrap(), array![1.0, -2.0, 3.0].into_dyn());
}

#[test]
fn nothing_and_much_can_be_passed() {
    fn count(_: &mut Party, (x, empty): (Array1<f64>, Vec<String>)) -> Result<usize> {
        Ok(x.len() + empty.len())
    }
    let cluster = local().start().unwrap();
    let empty = cluster.share_words(&Array1::<u64>::zeros(0)).unwrap();
    assert_eq!(cluster.run(same, &empty).unwrap().reveal_words().unwrap().len(), 0);
    let many = Array1::<f64>::zeros(8 << 20);
    assert_eq!(cluster.run(count, (&many, Vec::<String>::new())).unwrap().output().unwrap(), 8 << 20);
}

/// What no call with these types can be compiled with; the examples in the documentation of `Cluster::run` show how.
#[test]
fn what_cannot_travel_has_no_trait_that_lets_it() {
    use cryptgpu_core::cluster::{Argument, Outcome, PassedAs, Plain, SharedBits};
    use static_assertions::{assert_impl_all, assert_not_impl_any};
    struct WithoutSerde;
    assert_not_impl_any!(&Array1<f64>: PassedAs<Rep>);
    assert_not_impl_any!(&SharedBits: PassedAs<Rep>);
    assert_not_impl_any!(&Shared: PassedAs<Array1<f64>>);
    assert_not_impl_any!(Plain<WithoutSerde>: Argument, Outcome);
    assert_not_impl_any!(Tensor: Argument, Outcome);
    // And what can, for the like of it.
    assert_impl_all!(&Shared: PassedAs<Rep>);
    assert_impl_all!(Plain<u8>: Argument, Outcome);
    assert_impl_all!(Option<Tensor>: Argument, Outcome);
}
