//! The configuration of a cluster: what the builder collects, what launching needs, and what each party gets its part of.

use super::error::ClusterError;
use super::hosts::Hosts;
use super::owners::Owners;
use super::rendezvous::Rendezvous;
use crate::device::Devices;
use crate::mpc::Settings;
use crate::net::{Interceptor, Link, LinkType, Options, PartyId};
use crate::prg::Randomness;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Where the parties are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::cluster) enum Places {
    /// On threads of this process.
    Memory,
    /// In processes of this machine.
    #[default]
    Local,
    /// In processes of three hosts, started over SSH.
    Ssh(Box<Hosts>),
    /// Parties that their owners have started.
    Owners(Box<Owners>),
    /// The tasks of a job, which find each other in a folder.
    Rendezvous(Box<Rendezvous>),
}

/// By which address a party reaches another: for somebody who stands between them.
#[derive(Clone)]
pub(crate) struct Route(Arc<Lead>);

type Lead = dyn Fn(PartyId, PartyId, &str) -> String + Send + Sync;

impl Route {
    /// Asks a function for the address by which the first party reaches the second, which listens at the third.
    pub(crate) fn new(lead: impl Fn(PartyId, PartyId, &str) -> String + Send + Sync + 'static) -> Self {
        Route(Arc::new(lead))
    }

    /// The addresses at which `from` finds the other parties.
    pub(in crate::cluster) fn told(&self, from: PartyId, addresses: &[String; 3]) -> [String; 3] {
        PartyId::ALL.map(|to| (self.0)(from, to, &addresses[to.index()]))
    }
}

impl fmt::Debug for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Route(..)")
    }
}

/// What is chosen when a cluster is started.
#[derive(Clone, Debug)]
pub(in crate::cluster) struct Configuration {
    pub(in crate::cluster) link: Link,
    pub(in crate::cluster) deadline: Duration,
    /// How long a broken connection between parties may take to be made anew; none for the default.
    pub(in crate::cluster) resume_within: Option<Duration>,
    pub(in crate::cluster) start_within: Duration,
    /// How long each run may take.
    pub(in crate::cluster) time_limit: Duration,
    /// The folder of the parties' log files.
    pub(in crate::cluster) logs: Option<PathBuf>,
    pub(in crate::cluster) threads: Option<usize>,
    pub(in crate::cluster) program: Option<PathBuf>,
    pub(in crate::cluster) randomness: Randomness,
    /// What carries messages between parties in processes.
    pub(in crate::cluster) links: LinkType,
    pub(in crate::cluster) ports: [u16; 3],
    pub(in crate::cluster) settings: Settings,
    pub(in crate::cluster) devices: Devices,
    pub(in crate::cluster) places: Places,
    /// What messages pass between parties in memory.
    pub(in crate::cluster) interceptor: Option<Interceptor>,
    /// How parties in processes reach each other, if not directly.
    pub(in crate::cluster) route: Option<Route>,
}

impl Configuration {
    /// Whether the parties are threads of this process.
    pub(in crate::cluster) fn in_memory(&self) -> bool {
        self.places == Places::Memory
    }

    /// How long a broken connection between parties may take to be made anew: what the caller says, or else the cluster
    /// file, or else 5 s and at most half of the deadline.
    pub(in crate::cluster) fn resume_within(&self) -> Duration {
        let of_file = match &self.places {
            Places::Ssh(hosts) => hosts.resume_within,
            _ => None,
        };
        let usual = Options::default().resume_within.min(self.deadline / 2);
        self.resume_within.or(of_file).unwrap_or(usual)
    }

    /// What is wrong with it, before anything is started.
    pub(in crate::cluster) fn check(&self) -> Result<(), ClusterError> {
        let (within, deadline) = (self.resume_within(), self.deadline);
        if within >= deadline && !within.is_zero() {
            let detail = format!(
                "`resume_within` is {within:?} and the deadline {deadline:?}: a party that waits for another would give up \
                 before a broken connection is made anew. Take a shorter time, or a longer deadline"
            );
            return Err(ClusterError::argument("start a cluster", &detail));
        }
        let refused = |why| ClusterError::argument("start a cluster", &format!("the window of comparisons: {why}"));
        self.settings.check_window().map_err(refused)?;
        self.check_links()
    }

    /// Whether the parties, where they are, can have links of that type.
    fn check_links(&self) -> Result<(), ClusterError> {
        let refuse = |why: &str| {
            let detail = format!("links of type `{}`: {why}", self.links);
            Err(ClusterError::argument("start a cluster", &detail))
        };
        match (self.links, &self.places) {
            (LinkType::Shared, Places::Memory) => {
                refuse("parties on threads of one process hand their messages over anyway. Leave the type of links out")
            }
            (LinkType::Shared, Places::Ssh(_) | Places::Rendezvous(_)) => refuse(
                "parties that may be on several hosts share no memory. Leave the type of links out, or run all three on \
                 this machine (`Cluster::local()`, `--parties local`)",
            ),
            (LinkType::Shared | LinkType::InsecurePlaintext, Places::Owners(_)) => {
                refuse("parties of three owners are linked by TLS always. Leave the type of links out")
            }
            _ => Ok(()),
        }
    }
}

impl Default for Configuration {
    fn default() -> Self {
        Configuration {
            link: Link::None,
            deadline: Duration::from_secs(30),
            resume_within: None,
            start_within: Duration::from_secs(20),
            time_limit: Duration::MAX,
            logs: None,
            threads: None,
            program: None,
            randomness: Randomness::default(),
            links: LinkType::default(),
            ports: [0; 3],
            settings: Settings::default(),
            devices: Devices::default(),
            places: Places::default(),
            interceptor: None,
            route: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mpc::{CheckRange, SignWindow};
    use crate::ring::Ring;

    #[test]
    fn links_that_the_places_cannot_have_are_refused_with_a_hint() {
        let with = |links, places| Configuration { links, places, ..Configuration::default() }.check();
        let hosts = || Places::Ssh(Box::new(Hosts::new(["h0", "h1", "h2"])));
        let tasks = || Places::Rendezvous(Box::new(Rendezvous::new("folder")));
        for (places, hint) in
            [(Places::Memory, "hand their messages over"), (hosts(), "--parties local"), (tasks(), "--parties local")]
        {
            let error = with(LinkType::Shared, places).unwrap_err().to_string();
            assert!(error.contains("links of type `shared`") && error.contains(hint), "{error}");
        }
        assert!(with(LinkType::Shared, Places::Local).is_ok());
        for places in [Places::Memory, Places::Local, hosts(), tasks()] {
            assert!(with(LinkType::Tls, places.clone()).is_ok() && with(LinkType::InsecurePlaintext, places).is_ok());
        }
    }

    #[test]
    fn a_window_that_comparisons_would_not_look_at_is_refused_before_anything_starts() {
        let with = |ring: Ring, low, width, check_range| {
            let window = SignWindow::new(low, width).unwrap();
            let settings = Settings { window, check_range, ..Settings::from(ring) };
            Configuration { settings, ..Configuration::default() }.check().map_err(|error| error.to_string())
        };
        let error = with(Ring::Z32, 20, 16, CheckRange::Off).unwrap_err();
        assert!(error.contains("it ends at bit 36") && error.contains("have 32") && error.contains("16:16"), "{error}");
        let error = with(Ring::Z64, 4, 32, CheckRange::Run).unwrap_err();
        assert!(error.contains("4:32 leaves out bits at both ends"), "{error}");
        with(Ring::Z64, 20, 16, CheckRange::Off).unwrap();
        with(Ring::Z32, 8, 16, CheckRange::Off).unwrap();
        for ring in [Ring::Z64, Ring::Z32] {
            Configuration { settings: ring.into(), ..Configuration::default() }.check().unwrap();
        }
    }

    #[test]
    fn a_connection_is_made_anew_within_less_than_the_deadline() {
        let [second, deadline] = [1, 8].map(Duration::from_secs);
        let usual = Configuration { deadline, ..Configuration::default() };
        assert_eq!(usual.resume_within(), Duration::from_secs(4), "5 s, but at most half of the deadline");
        assert_eq!(Configuration::default().resume_within(), Duration::from_secs(5));
        let hosts = Hosts { resume_within: Some(second), ..Hosts::new(["h0", "h1", "h2"]) };
        let of_file = Configuration { places: Places::Ssh(Box::new(hosts)), ..usual.clone() };
        assert_eq!(of_file.resume_within(), second);
        let chosen = |time| Configuration { resume_within: Some(time), ..of_file.clone() };
        assert_eq!(chosen(7 * second).resume_within(), 7 * second, "the caller's word counts more than the file's");
        assert!(chosen(7 * second).check().is_ok() && chosen(Duration::ZERO).check().is_ok() && usual.check().is_ok());
        let error = chosen(deadline).check().unwrap_err().to_string();
        assert!(error.contains("`resume_within` is 8s and the deadline 8s"), "{error}");
        let none = Configuration { deadline: Duration::ZERO, ..Configuration::default() };
        assert!(none.check().is_ok(), "nobody asked for a time");
    }
}
