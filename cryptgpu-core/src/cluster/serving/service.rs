//! What is served to whom, and the file by which clients find it.

use super::error::ServingError;
use crate::net::{Fingerprint, PartyId};
use serde::Deserialize;
use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

/// How a model is served: where the parties listen for clients, who these are, and how much waits.
#[derive(Clone, Debug)]
pub struct Service {
    /// Where each party listens, by index; port 0 is any free one.
    pub listen: [SocketAddr; 3],
    /// The certificates of clients. Others are turned away.
    pub clients: Vec<Fingerprint>,
    /// Images that are evaluated together.
    pub batch: u32,
    /// How long a request waits for others to join it.
    pub linger: Duration,
    /// The most requests that wait at a party. A client that comes then gets the answer "busy" and may try again.
    pub queue: u32,
    /// How long a request that has reached one party is waited for at the others.
    pub patience: Duration,
    /// How often the parties are started again after one was lost, without an answered request in between.
    pub restarts: usize,
}

impl Default for Service {
    fn default() -> Self {
        Service {
            listen: [SocketAddr::from((Ipv4Addr::LOCALHOST, 0)); 3],
            clients: vec![],
            batch: 16,
            linger: Duration::from_millis(3),
            queue: 64,
            patience: Duration::from_secs(2),
            restarts: 3,
        }
    }
}

impl Service {
    /// The largest queue.
    const MOST: u32 = 1 << 12;

    pub(in crate::cluster) fn check(&self) -> Result<(), String> {
        let Service { batch, queue, clients, .. } = self;
        match () {
            () if clients.is_empty() => Err("no client is named: nobody could ask for anything".to_owned()),
            () if *batch == 0 || *batch > 1 << 16 => Err(format!("batches of {batch} images: take 1 to 65536")),
            () if *queue == 0 || *queue > Self::MOST => Err(format!("a queue of {queue}: take 1 to {}", Self::MOST)),
            () => Ok(()),
        }
    }
}

/// Where the three parties of a service are, and what they are known by: what a client needs beside its own key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceFile {
    /// `host:port` of each party, by index, with its fingerprint.
    pub parties: [(String, Fingerprint); 3],
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Lines {
    party: Vec<PartyLines>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PartyLines {
    address: String,
    fingerprint: String,
}

impl ServiceFile {
    /// Reads what [`ServiceFile::text`] has made.
    ///
    /// # Errors
    /// [`ServingError::File`] with what is wrong, and the line.
    pub fn read(path: &Path) -> Result<Self, ServingError> {
        let refuse = |detail: String| ServingError::File { path: path.to_owned(), detail };
        let text = std::fs::read_to_string(path).map_err(|error| refuse(error.to_string()))?;
        ServiceFile::parse(&text).map_err(refuse)
    }

    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let lines: Lines = toml::from_str(text).map_err(|error| error.to_string())?;
        let party = |party: PartyLines| {
            let PartyLines { address, fingerprint } = party;
            let port =
                address.rsplit_once(':').filter(|(host, _)| !host.is_empty()).map(|(_, port)| port.parse::<u16>());
            let plain = address.chars().all(|c| c.is_ascii_graphic() && !matches!(c, '"' | '\\'));
            match port {
                Some(Ok(_)) if plain => Ok((address, fingerprint.parse()?)),
                _ => Err(format!("`{}` is no host and port, such as \"ann.example:7300\"", address.escape_debug())),
            }
        };
        let parties = lines.party.into_iter().map(party).collect::<Result<Vec<_>, String>>()?;
        let parties = <[_; 3]>::try_from(parties)
            .map_err(|parties| format!("there are {} [[party]], and three belong here, in order", parties.len()))?;
        Ok(ServiceFile { parties })
    }

    /// As a file's text. Nothing in it is secret; but who changes it can be the parties.
    pub fn text(&self) -> String {
        let mut text = "# Where a model is served; the parties in order.\n".to_owned();
        for (address, fingerprint) in &self.parties {
            let _infallible = write!(text, "[[party]]\naddress = \"{address}\"\nfingerprint = \"{fingerprint}\"\n");
        }
        text
    }

    pub(super) fn at(&self, party: PartyId) -> &(String, Fingerprint) {
        &self.parties[party.index()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_back_and_what_is_wrong_with_another_is_said() {
        let fingerprint = |digit: &str| digit.repeat(64).parse::<Fingerprint>().unwrap();
        let party = |at: usize| (format!("h{at}:730{at}"), fingerprint(&at.to_string()));
        let file = ServiceFile { parties: [party(0), party(1), party(2)] };
        assert_eq!(ServiceFile::parse(&file.text()), Ok(file.clone()));
        for (text, says) in [
            ("[[party]]\naddress = \"a:1\"\nfingerprint = \"ab\"", "64 hexadecimal digits"),
            ("", "missing field `party`"),
            ("[[party]]\naddress = \"a\"\nfingerprint = \"\"", "`a` is no host and port"),
            (file.text().rsplit_once("[[party]]").unwrap().0, "there are 2 [[party]]"),
        ] {
            let error = ServiceFile::parse(text).unwrap_err();
            assert!(error.contains(says), "{error}");
        }
        let nobody = Service::default().check().unwrap_err();
        assert!(nobody.contains("no client is named"), "{nobody}");
    }
}
