//! The configuration of a cluster: what the builder collects, what launching needs, and what each party gets its part of.

use super::hosts::Hosts;
use super::owners::Owners;
use crate::device::Devices;
use crate::mpc::Settings;
use crate::net::{Interceptor, Link, PartyId};
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

    /// What `from` is told of where the parties listen.
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
    pub(in crate::cluster) start_within: Duration,
    /// How long each run may take.
    pub(in crate::cluster) time_limit: Duration,
    pub(in crate::cluster) threads: Option<usize>,
    pub(in crate::cluster) program: Option<PathBuf>,
    pub(in crate::cluster) randomness: Randomness,
    pub(in crate::cluster) insecure_plaintext: bool,
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
}

impl Default for Configuration {
    fn default() -> Self {
        Configuration {
            link: Link::None,
            deadline: Duration::from_secs(30),
            start_within: Duration::from_secs(20),
            time_limit: Duration::MAX,
            threads: None,
            program: None,
            randomness: Randomness::default(),
            insecure_plaintext: false,
            ports: [0; 3],
            settings: Settings::default(),
            devices: Devices::default(),
            places: Places::default(),
            interceptor: None,
            route: None,
        }
    }
}
