//! The two files that say who the parties are: `party.toml` of an owner, and `owners.toml` of a caller.

use super::error::OwnerError;
use super::identity::read_identity;
use super::lines::Lines;
use crate::cluster::wire::owners::{OwnedParty, Owners};
use crate::device::DeviceChoice;
use crate::net::{Fingerprint, Identity, PartyId};
use serde::Deserialize;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use toml::Spanned;

/// A party as its owner describes it.
#[derive(Clone, Debug)]
pub(super) struct PartyFile {
    pub(super) id: PartyId,
    pub(super) name: String,
    pub(super) identity: Identity,
    /// Where callers connect to.
    pub(super) control: SocketAddr,
    /// Where the other parties connect to.
    pub(super) links: SocketAddr,
    pub(super) threads: Option<usize>,
    pub(super) device: DeviceChoice,
    /// The folder of data sets.
    pub(super) data: Option<PathBuf>,
    /// The folder of what is saved by name.
    pub(super) saved: Option<PathBuf>,
    pub(super) policy: PathBuf,
    pub(super) audit: PathBuf,
    /// The library that runs sessions in place of the program: the one that callers' cells link.
    pub(super) runtime: Option<PathBuf>,
    /// Fingerprints and addresses by index; this party's own address is not looked at.
    pub(super) fingerprints: [Fingerprint; 3],
    pub(super) addresses: [String; 3],
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PartyLines {
    party: Spanned<usize>,
    name: String,
    key: PathBuf,
    certificate: PathBuf,
    control: Spanned<String>,
    links: Spanned<String>,
    threads: Option<usize>,
    device: Option<Spanned<String>>,
    data: Option<PathBuf>,
    saved: Option<PathBuf>,
    policy: PathBuf,
    audit: PathBuf,
    runtime: Option<PathBuf>,
    #[serde(default)]
    peer: Vec<Spanned<PeerLines>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PeerLines {
    party: usize,
    #[serde(default)]
    #[allow(dead_code, reason = "for people who read the file")]
    name: Option<String>,
    address: Spanned<String>,
    fingerprint: Spanned<String>,
}

impl PartyFile {
    pub(super) fn read(path: &Path) -> Result<Self, OwnerError> {
        let (lines, file): (Lines, PartyLines) = Lines::read(path)?;
        let identity = read_identity(&lines.beside(&file.certificate), &lines.beside(&file.key))?;
        PartyFile::of(&lines, file, identity)
    }

    /// What a file's text says of a party that has this key.
    pub(super) fn parse(path: &Path, text: String, identity: Identity) -> Result<Self, OwnerError> {
        let (lines, file) = Lines::parse(path, text)?;
        PartyFile::of(&lines, file, identity)
    }

    fn of(lines: &Lines, file: PartyLines, identity: Identity) -> Result<Self, OwnerError> {
        let id = PartyId::new(*file.party.get_ref())
            .ok_or_else(|| lines.error(&file.party.span(), "there are parties 0, 1 and 2"))?;
        let address = |text: &Spanned<String>| {
            let fail =
                |_| lines.error(&text.span(), "an address of this machine and a port belong here: \"0.0.0.0:7100\"");
            text.get_ref().parse::<SocketAddr>().map_err(fail)
        };
        let device = file.device.as_ref().map(|text| {
            text.get_ref().parse::<DeviceChoice>().map_err(|error| lines.error(&text.span(), error.to_string()))
        });
        let mut peers: [Option<(Fingerprint, String)>; 3] = [None, None, None];
        peers[id.index()] = Some((identity.fingerprint(), String::new()));
        for peer in &file.peer {
            let PeerLines { party, address, fingerprint, .. } = peer.get_ref();
            let place = PartyId::new(*party).map(|party| &mut peers[party.index()]).filter(|place| place.is_none());
            let place = place.ok_or_else(|| {
                lines.error(&peer.span(), "the [[peer]] of a party stands once for each of the other two")
            })?;
            check_address(lines, address)?;
            *place = Some((lines.fingerprint(fingerprint)?, address.get_ref().clone()));
        }
        let [Some(a), Some(b), Some(c)] = peers else {
            return Err(lines.error(&(0..0), "a [[peer]] is missing: each of the other two parties has one"));
        };
        if a.0 == b.0 || b.0 == c.0 || a.0 == c.0 {
            return Err(lines.error(&(0..0), "two parties have the same fingerprint: each has a key of its own"));
        }
        Ok(PartyFile {
            id,
            name: file.name,
            control: address(&file.control)?,
            links: address(&file.links)?,
            threads: file.threads,
            device: device.transpose()?.unwrap_or_default(),
            data: file.data.map(|data| lines.beside(&data)),
            saved: file.saved.map(|saved| lines.beside(&saved)),
            policy: lines.beside(&file.policy),
            audit: lines.beside(&file.audit),
            runtime: file.runtime.map(|runtime| lines.beside(&runtime)),
            fingerprints: [a.0, b.0, c.0],
            addresses: [a.1, b.1, c.1],
            identity,
        })
    }
}

/// `host:port`.
fn check_address(lines: &Lines, text: &Spanned<String>) -> Result<(), OwnerError> {
    let port = text.get_ref().rsplit_once(':').and_then(|(host, port)| (!host.is_empty()).then(|| port.parse::<u16>()));
    match port {
        Some(Ok(_)) => Ok(()),
        _ => Err(lines.error(&text.span(), "a host and a port belong here: \"bob.example:7101\"")),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OwnersLines {
    key: PathBuf,
    certificate: PathBuf,
    party: Vec<Spanned<OwnedLines>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OwnedLines {
    name: String,
    address: Spanned<String>,
    fingerprint: Spanned<String>,
}

impl Owners {
    /// Reads the file of a caller: its own key, and where the three parties are and what they are known by.
    ///
    /// ```toml
    /// key = "lab.key"
    /// certificate = "lab.crt"
    /// [[party]]
    /// name = "ann"
    /// address = "ann.example:7100"
    /// fingerprint = "…"
    /// [[party]]
    /// name = "bob"
    /// address = "bob.example:7100"
    /// fingerprint = "…"
    /// [[party]]
    /// name = "eve"
    /// address = "eve.example:7100"
    /// fingerprint = "…"
    /// ```
    ///
    /// # Errors
    /// [`OwnerError::Io`]; [`OwnerError::Line`] for a line that cannot be used.
    pub fn read(path: impl AsRef<Path>) -> Result<Self, OwnerError> {
        let (lines, file) = Lines::read(path.as_ref())?;
        Owners::of(&lines, file)
    }

    /// What a file's text says.
    pub(super) fn parse(path: &Path, text: String) -> Result<Self, OwnerError> {
        let (lines, file) = Lines::parse(path, text)?;
        Owners::of(&lines, file)
    }

    fn of(lines: &Lines, file: OwnersLines) -> Result<Self, OwnerError> {
        let read = |party: &Spanned<OwnedLines>| {
            let OwnedLines { name, address, fingerprint } = party.get_ref();
            check_address(lines, address)?;
            let (name, address) = (name.clone(), address.get_ref().clone());
            Ok(OwnedParty { name, address, fingerprint: lines.fingerprint(fingerprint)? })
        };
        let parties = file.party.iter().map(read).collect::<Result<Vec<_>, OwnerError>>()?;
        let parties = parties.try_into().map_err(|parties: Vec<_>| {
            lines.error(&(0..0), format!("there are {} [[party]], and three belong here, in order", parties.len()))
        })?;
        let (certificate, key) = (lines.beside(&file.certificate), lines.beside(&file.key));
        Ok(Owners { certificate, key, parties })
    }

    /// The caller's own identity.
    pub(in crate::cluster) fn identity(&self) -> Result<Identity, OwnerError> {
        read_identity(&self.certificate, &self.key)
    }
}
