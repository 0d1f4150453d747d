//! What fuzzers and the test of their corpora call here: the files that owners and callers write, from bytes. Nothing else
//! does.

use super::files::PartyFile;
use super::policy::Policy;
use crate::cluster::party::gate::{Asks, To, What};
use crate::cluster::wire::owners::Owners;
use crate::net::Identity;
use crate::prg::Randomness;
use std::path::Path;
use std::sync::OnceLock;

/// Reads a policy and asks it for what policies decide on. One that has no word for something must refuse it.
pub(crate) fn policy(bytes: &[u8]) {
    let Some(text) = text(bytes) else { return };
    let Ok(policy) = Policy::parse(Path::new("fuzz.toml"), text) else { return };
    let says = |word: &str| bytes.windows(word.len()).any(|part| part == word.as_bytes());
    // Escapes of TOML can spell every word in another way.
    let is_plain = !says("\\");
    for job in ["infer", "train", "call", "export-model", "tally"] {
        let _ = policy.admit_name(job);
    }
    let insecure = policy.admit_randomness(Randomness::InsecurePhilox);
    assert!(insecure.is_err() || says("insecure_randomness") || !is_plain, "insecure masks, which nobody allowed");
    let asks = Asks::default().reads_file("/private/labels.idx").reveals(What::Result, "a count", To::Caller, 2);
    let admitted = policy.admit("lab", &asks, &|_| 3);
    assert!(admitted.is_err() || (says("reveal") && says("files")) || !is_plain, "what nobody allowed");
    let _ = (policy.tells_notices(), policy.digest());
}

/// Reads `party.toml`.
pub(crate) fn party_file(bytes: &[u8]) {
    static IDENTITY: OnceLock<Option<Identity>> = OnceLock::new();
    // Without randomness there is nothing to fuzz with.
    let Some(identity) = IDENTITY.get_or_init(|| Identity::generate().ok()) else { return };
    let Some(text) = text(bytes) else { return };
    if let Ok(file) = PartyFile::parse(Path::new("party.toml"), text, identity.clone()) {
        let [a, b, c] = file.fingerprints;
        assert!(a != b && b != c && a != c, "two parties with one key");
    }
}

/// Reads `owners.toml`.
pub(crate) fn owners_file(bytes: &[u8]) {
    // A file with a mistake is refused in words.
    let _ = text(bytes).map(|text| Owners::parse(Path::new("owners.toml"), text));
}

fn text(bytes: &[u8]) -> Option<String> {
    std::str::from_utf8(bytes).ok().map(str::to_owned)
}
