//! Every way in which a checkpoint can be the wrong one has its error, and whatever happens while one is written, the one
//! before stays.

use super::{CheckpointKey, Checkpoints, Origin, SealedError, place};
use crate::net::PartyId;
use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use zeroize::Zeroizing;

fn origin() -> Origin {
    let [run, program, network] = ["8f3a", "0.1.0 e8786fe", "lenet"].map(str::to_owned);
    Origin { run, party: PartyId::P1, program, network }
}

fn key(folder: &Path, name: &str) -> CheckpointKey {
    CheckpointKey::at(folder.join(name)).unwrap()
}

/// Those of a party, which has a key of its own.
fn checkpoints(folder: &Path, origin: Origin) -> Checkpoints {
    let key = key(folder, &format!("key{}", origin.party));
    Checkpoints::new(folder.join("run"), origin, key)
}

fn state(bytes: &[u8]) -> Zeroizing<Vec<u8>> {
    Zeroizing::new(bytes.to_vec())
}

#[test]
fn what_was_written_is_read_and_two_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let all = checkpoints(folder.path(), origin());
    assert_eq!(all.iterations().unwrap(), [0u64; 0]);
    assert_eq!(Checkpoints::run_in(&folder.path().join("run"), PartyId::P1).unwrap(), None);
    for iteration in [10, 20, 1_000_000_000, 30] {
        all.write(iteration, state(format!("the shares at {iteration}").as_bytes())).unwrap();
    }
    // One of a later iteration is of a continuation that was given up.
    assert_eq!(all.iterations().unwrap(), [20, 30]);
    for iteration in [20, 30] {
        assert_eq!(*all.read(iteration).unwrap(), format!("the shares at {iteration}").into_bytes());
    }
    assert_eq!(Checkpoints::run_in(&folder.path().join("run"), PartyId::P1).unwrap().as_deref(), Some("8f3a"));
    let other = checkpoints(folder.path(), Origin { party: PartyId::P2, ..origin() });
    other.write(30, state(b"")).unwrap();
    assert!(other.read(30).unwrap().is_empty());
    assert_eq!(all.iterations().unwrap(), [20, 30], "each party has its own");
    // Nothing of a state is in its file, and nobody else can read that.
    let path = all.write(30, state(&[b'a'; 4000])).unwrap();
    let about = fs::metadata(&path).unwrap();
    assert_eq!(about.permissions().mode() & 0o777, 0o600);
    assert!(!fs::read(&path).unwrap().windows(4).any(|bytes| bytes == b"aaaa"));
    let (first, second) = (fs::read(&path).unwrap(), fs::read(all.write(30, state(&[b'a'; 4000])).unwrap()).unwrap());
    assert_ne!(first[60..], second[60..], "a nonce of its own for each");
}

#[test]
fn another_run_party_program_network_or_iteration_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = checkpoints(folder.path(), origin()).write(7, state(b"shares")).unwrap();
    let others = [
        ("run", Origin { run: "77".into(), ..origin() }),
        ("program", Origin { program: "0.1.0 0000000".into(), ..origin() }),
        ("network", Origin { network: "alexnet".into(), ..origin() }),
        ("party", Origin { party: PartyId::P2, ..origin() }),
    ];
    for (expected, other) in others {
        let other = checkpoints(folder.path(), other);
        if other.path(7) != path {
            fs::copy(&path, other.path(7)).unwrap();
        }
        let error = other.read(7).unwrap_err();
        assert!(matches!(&error, SealedError::Other { what, .. } if *what == expected), "{error:?}");
        assert!(error.to_string().contains(".checkpoint is of "), "{error}");
    }
    let all = checkpoints(folder.path(), origin());
    // Another party's file, where that party's key is another and where it is not.
    let other = Origin { party: PartyId::P2, ..origin() };
    let path_of_other = checkpoints(folder.path(), other).write(7, state(b"shares of another")).unwrap();
    let own = fs::read(&path).unwrap();
    fs::copy(&path_of_other, &path).unwrap();
    let error = all.read(7).unwrap_err().to_string();
    assert!(error.contains("is of party 2, and not of party 1: each party has files of its own"), "{error}");
    let with_its_key = Checkpoints::new(folder.path().join("run"), origin(), key(folder.path(), "key2"));
    let error = with_its_key.read(7).unwrap_err();
    assert!(matches!(error, SealedError::Other { what: "party", .. }), "{error:?}");
    fs::write(&path, own).unwrap();
    fs::copy(&path, all.path(8)).unwrap();
    let error = all.read(8).unwrap_err().to_string();
    assert!(error.contains("is of iteration 7, and not of iteration 8"), "{error}");
    assert!(matches!(all.read(9), Err(SealedError::Io { action: "read", .. })));
}

#[test]
fn a_bit_that_has_changed_anywhere_is_noticed_and_so_is_a_missing_end() {
    let folder = tempfile::tempdir().unwrap();
    let all = checkpoints(folder.path(), origin());
    let path = all.write(7, state(b"shares")).unwrap();
    let whole = fs::read(&path).unwrap();
    for at in 0..8 * whole.len() {
        let mut changed = whole.clone();
        changed[at / 8] ^= 1 << (at % 8);
        fs::write(&path, &changed).unwrap();
        let error = all.read(7).unwrap_err();
        let right = match at / 8 {
            0..8 => matches!(error, SealedError::Foreign { .. }),
            8..12 => matches!(error, SealedError::Format { expected: 2, .. }),
            12..24 => matches!(error, SealedError::Truncated { .. } | SealedError::Changed { .. }),
            24..32 => matches!(error, SealedError::OtherKey { .. }),
            _ => matches!(error, SealedError::Changed { .. }),
        };
        assert!(right, "bit {at}: {error:?}");
    }
    for len in 0..whole.len() {
        fs::write(&path, &whole[..len]).unwrap();
        assert!(matches!(all.read(7), Err(SealedError::Truncated { .. })), "{len}");
    }
    fs::write(&path, [&whole[..], &[0]].concat()).unwrap();
    assert!(matches!(all.read(7), Err(SealedError::Changed { .. })));
    fs::write(&path, [b'x'; 100]).unwrap();
    assert!(matches!(all.read(7), Err(SealedError::Foreign { .. })));
    fs::write(&path, &whole).unwrap();
    let other = Checkpoints::new(folder.path().join("run"), origin(), key(folder.path(), "other"));
    let error = other.read(7).unwrap_err();
    assert!(matches!(&error, SealedError::OtherKey { key, .. } if key.ends_with("other")), "{error:?}");
    assert_eq!(*all.read(7).unwrap(), b"shares");
}

#[test]
fn a_party_that_is_killed_while_it_writes_leaves_the_one_before() {
    let folder = tempfile::tempdir().unwrap();
    let all = checkpoints(folder.path(), origin());
    all.write(1, state(b"one")).unwrap();
    // Killed before the file had its name.
    let (left, mut file) = place::create_private(&all.path(2)).unwrap();
    file.write_all(b"CGPU").unwrap();
    assert_eq!((all.iterations().unwrap(), &**all.read(1).unwrap()), (vec![1], &b"one"[..]));
    all.write(2, state(b"two")).unwrap();
    assert!(!left.exists(), "the next one clears up");
    assert_eq!((all.iterations().unwrap(), &**all.read(2).unwrap()), (vec![1, 2], &b"two"[..]));
    // A write that fails.
    let failed = place::replace(&all.path(2), |file| {
        file.write_all(b"CGPU")?;
        Err(std::io::Error::other("the disk is full"))
    });
    assert!(failed.unwrap_err().to_string().contains("the disk is full"));
    assert_eq!(**all.read(2).unwrap(), *b"two");
    assert_eq!(fs::read_dir(folder.path().join("run")).unwrap().count(), 2, "nothing is left of it");
}

#[test]
fn a_key_is_made_once_for_its_account_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("new/folder/key");
    let key = CheckpointKey::at(&path).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    let again = CheckpointKey::at(&path).unwrap();
    assert_eq!((again.expose(), again.name()), (key.expose(), key.name()));
    assert_ne!(key.expose(), CheckpointKey::at(folder.path().join("other")).unwrap().expose());
    assert!(!format!("{key:?}").contains(&format!("{:?}", key.expose())));
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    let error = CheckpointKey::at(&path).unwrap_err();
    assert!(matches!(error, SealedError::Exposed { mode: 0o640, .. }) && error.to_string().contains("chmod 600"));
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(&path, [7; 31]).unwrap();
    assert!(matches!(CheckpointKey::at(&path), Err(SealedError::NoKey { expected: 32, .. })));
}
