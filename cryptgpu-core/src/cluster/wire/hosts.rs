//! Three hosts that parties are started on over SSH: how each is reached, and where its party listens, computes and finds
//! its data. Read from a file (`cluster.toml`) or named by the caller; nothing here connects to anything.

use super::error::ClusterError;
use crate::device::DeviceChoice;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Three hosts, by party: see [`Cluster::hosts`](crate::cluster::Cluster::hosts).
///
/// A cluster file describes them, one table for each party. All but `host` may be left out:
///
/// ```toml
/// ssh_config = "ssh_config"        # in place of ~/.ssh/config; beside this file
/// resume_within = 60               # seconds in which a broken connection between parties is made anew
///
/// [[party]]
/// host = "ann@h0"                  # as one says it to ssh: a host, user@host, a name of the SSH configuration
/// address = "h0.example.org:7001"  # where the other parties reach this one: behind NAT not what it listens on
/// listen = "0.0.0.0"               # the address of the host that its party listens on
/// port = 7001                      # the port that its party listens on
/// device = "cuda:0"                # where it computes
/// threads = 16                     # of its computation
/// program = "/opt/cryptgpu"        # a program there; nothing is copied then
/// data = "/srv/datasets"           # its folder of data sets
///
/// [[party]]
/// host = "bob@h1"
///
/// [[party]]
/// host = "eve@h2"
/// ```
///
/// By default a party listens on any free port of the address that SSH reached its host at, and the others connect there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hosts {
    pub(in crate::cluster) each: [Host; 3],
    pub(in crate::cluster) ssh_config: Option<PathBuf>,
    /// How long a broken connection between parties may take to be made anew.
    pub(in crate::cluster) resume_within: Option<Duration>,
}

/// One host, and what its party shall do there.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::cluster) struct Host {
    /// The destination for `ssh`: `ann@h0`, or a name of the user's SSH configuration.
    #[serde(rename = "host")]
    pub(in crate::cluster) destination: String,
    /// Where the others reach it: a host or address, with or without a port.
    #[serde(default)]
    pub(in crate::cluster) address: Option<String>,
    #[serde(default)]
    pub(in crate::cluster) listen: Option<IpAddr>,
    #[serde(default)]
    pub(in crate::cluster) port: Option<u16>,
    #[serde(default)]
    pub(in crate::cluster) device: Option<DeviceChoice>,
    #[serde(default)]
    pub(in crate::cluster) threads: Option<usize>,
    /// A program that is there.
    #[serde(default)]
    pub(in crate::cluster) program: Option<String>,
    /// The folder of its data sets.
    #[serde(default)]
    pub(in crate::cluster) data: Option<String>,
}

/// The file as it is written.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct ClusterFile {
    ssh_config: Option<PathBuf>,
    /// In seconds.
    resume_within: Option<f64>,
    #[serde(default)]
    party: Vec<Host>,
}

impl Hosts {
    /// Three hosts by what `ssh` calls them, by party, and the defaults for all else.
    pub fn new(destinations: [impl Into<String>; 3]) -> Self {
        let each = destinations.map(|destination| Host { destination: destination.into(), ..Host::default() });
        Hosts { each, ssh_config: None, resume_within: None }
    }

    /// Reads a cluster file.
    ///
    /// # Errors
    /// [`ClusterError::Argument`] when it cannot be read, or says something else than three parties.
    pub fn read(path: impl AsRef<Path>) -> Result<Self, ClusterError> {
        let path = path.as_ref();
        let action = format!("read the cluster file {}", path.display());
        let text = std::fs::read_to_string(path).map_err(|error| ClusterError::argument(&action, &error))?;
        let mut hosts = Hosts::parse(&text).map_err(|detail| ClusterError::argument(&action, &detail))?;
        if let (Some(config), Some(folder)) = (&mut hosts.ssh_config, path.parent()) {
            *config = folder.join(&*config);
        }
        Ok(hosts)
    }

    /// The text of a cluster file.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let file: ClusterFile = toml::from_str(text).map_err(|error| error.to_string())?;
        let each = <[Host; 3]>::try_from(file.party)
            .map_err(|found| format!("it describes {} parties: write three tables [[party]]", found.len()))?;
        let resume_within = file.resume_within.map(|seconds| {
            Duration::try_from_secs_f64(seconds)
                .map_err(|_| format!("`resume_within` is {seconds}: it is a number of seconds, such as 60"))
        });
        Ok(Hosts { each, ssh_config: file.ssh_config, resume_within: resume_within.transpose()? })
    }

    /// The SSH configuration to use in place of `~/.ssh/config`.
    #[must_use]
    pub fn ssh_config(mut self, path: impl Into<PathBuf>) -> Self {
        self.ssh_config = Some(path.into());
        self
    }

    /// What is wrong with the descriptions, before anything is started.
    pub(in crate::cluster) fn check(&self) -> Result<(), ClusterError> {
        for (party, host) in self.each.iter().enumerate() {
            host.check().map_err(|detail| {
                ClusterError::argument(&format!("start party {party} on host `{}`", host.destination), &detail)
            })?;
        }
        Ok(())
    }
}

impl Host {
    fn check(&self) -> Result<(), String> {
        let destination = &self.destination;
        let strange = |c: char| c.is_whitespace() || c.is_control();
        if destination.is_empty() || destination.starts_with('-') || destination.contains(strange) {
            return Err("this names no host: write it as for ssh, such as ann@h0".into());
        }
        if self.address.as_deref().is_some_and(|address| address.is_empty() || address.contains(strange)) {
            return Err("`address` is a host or an address, with or without a port, such as h0.example.org:7001".into());
        }
        if self.threads.is_some_and(|threads| !(1..=1024).contains(&threads)) {
            return Err("`threads` is 1 to 1024".into());
        }
        Ok(())
    }

    /// Where the others reach its party, which listens on `port`; `reached` is where SSH has reached the host.
    pub(in crate::cluster) fn advertised(&self, reached: Option<IpAddr>, port: u16) -> String {
        let bracketed = |host: &str| match host.parse::<IpAddr>() {
            Ok(IpAddr::V6(address)) => format!("[{address}]:{port}"),
            _ => format!("{host}:{port}"),
        };
        let destination = self.destination.rsplit('@').next().unwrap_or(&self.destination);
        match (&self.address, reached) {
            (Some(address), _) if has_port(address) => address.clone(),
            (Some(address), _) => bracketed(address),
            (None, Some(reached)) => bracketed(&reached.to_string()),
            (None, None) => bracketed(destination),
        }
    }
}

/// Whether an address ends with a port; one of IPv6 has brackets then.
fn has_port(address: &str) -> bool {
    let port = address.rsplit_once(':').filter(|(host, _)| !host.contains(':') || host.ends_with(']'));
    port.is_some_and(|(_, port)| port.parse::<u16>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "[[party]]\nhost = 'ann@h0'\naddress = 'gate:99'\nlisten = '0.0.0.0'\nport = 7001\n\
                        device = 'cuda:1'\nthreads = 3\nprogram = '/p'\ndata = '/d'\n[[party]]\nhost = 'h1'\n\
                        address = 'fe80::1'\n[[party]]\nhost = 'eve@h2'\n";

    #[test]
    fn a_cluster_file_says_where_parties_are_reached() {
        let hosts = Hosts::parse(FILE).unwrap();
        assert!(hosts.check().is_ok());
        let [ann, bob, eve] = &hosts.each;
        assert_eq!((ann.port, ann.threads, ann.data.as_deref()), (Some(7001), Some(3), Some("/d")));
        assert_eq!(ann.device.map(|device| device.to_string()).as_deref(), Some("cuda:1"));
        let reached = "10.0.0.2".parse().ok();
        assert_eq!(ann.advertised(reached, 7001), "gate:99");
        assert_eq!(bob.advertised(reached, 5), "[fe80::1]:5");
        assert_eq!(eve.advertised(reached, 5), "10.0.0.2:5");
        assert_eq!(eve.advertised(None, 5), "h2:5");
        assert_eq!(eve.advertised("::1".parse().ok(), 5), "[::1]:5");
        assert_eq!(Hosts::new(["ann@h0", "h1", "eve@h2"]).each[1], Host { address: None, ..bob.clone() });
    }

    #[test]
    fn what_is_wrong_with_a_cluster_file_is_said_with_its_line() {
        let error = Hosts::parse(&FILE.replace("threads", "thread")).unwrap_err();
        assert!(error.contains("line 7") && error.contains("thread"), "{error}");
        for (within, expected) in [("60", 60_000), ("0.5", 500), ("0", 0)] {
            let hosts = Hosts::parse(&format!("resume_within = {within}\n{FILE}")).unwrap();
            assert_eq!(hosts.resume_within, Some(Duration::from_millis(expected)));
        }
        for wrong in ["-1", "'5 s'", "nan"] {
            let error = Hosts::parse(&format!("resume_within = {wrong}\n{FILE}")).unwrap_err();
            assert!(error.contains("resume_within"), "{error}");
        }
        let error = Hosts::parse(&FILE.replace("cuda:1", "gpu")).unwrap_err();
        assert!(error.contains("line 6"), "{error}");
        assert!(Hosts::parse("[[party]]\nhost = 'h0'").unwrap_err().contains("three"), "one party");
        for strange in ["", "-oProxyCommand=touch /tmp/x", "h 0"] {
            assert!(
                Hosts::new(["h0", strange, "h2"]).check().unwrap_err().to_string().contains("party 1"),
                "{strange}"
            );
        }
    }
}
