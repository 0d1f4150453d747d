//! The configuration of a cluster: what the builder collects, what launching needs, and what each party gets its part of.

use super::hosts::Hosts;
use super::owners::Owners;
use crate::device::Devices;
use crate::mpc::Settings;
use crate::net::{Interceptor, Link};
use crate::prg::Randomness;
use std::path::PathBuf;
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
        }
    }
}
