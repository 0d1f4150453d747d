//! What parties of this caller are: threads, or processes of which program.
//!
//! A party that is to run the caller's functions must have the caller's code. In a notebook that code is in a
//! dynamic library, which the `cryptgpu` program opens after it has compared it with the caller's; in a compiled program it is the program itself, which says
//! so by calling `party::serve_if_asked` first thing. Any other caller's parties are `cryptgpu` processes: they know
//! the jobs, and refuse functions with an error that says what to do.

use crate::cluster::party::serve::{LIBRARY_ENTRY, SERVE_ARGUMENT, serves};
use crate::cluster::wire::configuration::{Configuration, Places};
use crate::cluster::wire::error::ClusterError;
use crate::cluster::wire::function;
use crate::cluster::wire::hosts::Hosts;
use crate::cluster::wire::object::Library;
use crate::cluster::wire::owners::Owners;
use crate::cluster::wire::rendezvous::Rendezvous;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// How to start parties.
#[derive(Clone, Debug)]
pub(in crate::cluster) enum Launch {
    /// On threads of this process.
    Threads,
    /// As processes of this machine.
    Processes(Program),
    /// As processes of three hosts, over SSH.
    Ssh(Box<Hosts>, Program),
    /// As their owners have started them.
    Owners(Box<Owners>),
    /// As the tasks of a job have started them: this process's own party by this program.
    Rendezvous(Box<Rendezvous>, Program),
}

/// What a party's process runs.
#[derive(Clone, Debug)]
pub(in crate::cluster) struct Program {
    pub(in crate::cluster) path: PathBuf,
    pub(in crate::cluster) arguments: Vec<OsString>,
    /// The libraries that a notebook's cells link, the last of them the caller's, behind all that it needs.
    pub(in crate::cluster) libraries: Vec<Library>,
}

impl Program {
    /// All arguments, with those that name the libraries.
    pub(in crate::cluster) fn all_arguments(&self) -> Vec<OsString> {
        self.arguments.iter().cloned().chain(self.library_arguments()).collect()
    }

    /// The arguments that name the libraries.
    pub(in crate::cluster) fn library_arguments(&self) -> impl Iterator<Item = OsString> {
        self.libraries.iter().flat_map(|library| ["--runtime".into(), library.to_argument()])
    }
}

impl Launch {
    pub(in crate::cluster) fn find(configuration: &Configuration) -> Result<Self, ClusterError> {
        match &configuration.places {
            Places::Memory => Ok(Launch::Threads),
            Places::Local => Program::find(configuration).map(Launch::Processes),
            Places::Owners(owners) => Ok(Launch::Owners(owners.clone())),
            Places::Rendezvous(place) => Ok(Launch::Rendezvous(place.clone(), Program::find(configuration)?)),
            Places::Ssh(hosts) => {
                hosts.check()?;
                Ok(Launch::Ssh(hosts.clone(), Program::find(configuration)?))
            }
        }
    }
}

impl Program {
    /// The program of this caller's parties.
    fn find(configuration: &Configuration) -> Result<Self, ClusterError> {
        let library = own_libraries()?;
        if configuration.program.is_none() && library.is_none() && serves() {
            let path = std::env::current_exe().map_err(|error| ClusterError::Controller {
                action: "find this program, for its parties".into(),
                detail: error.to_string(),
                hint: "Is /proc there?".into(),
            })?;
            return Ok(Program { path, arguments: vec![SERVE_ARGUMENT.into()], libraries: vec![] });
        }
        let tried = match (&configuration.program, std::env::var_os("CRYPTGPU_PROGRAM")) {
            (Some(program), _) => vec![program.clone()],
            (None, Some(program)) => vec![PathBuf::from(program)],
            (None, None) => beside_this_program(),
        };
        match tried.iter().find(|path| path.is_file()) {
            Some(path) => {
                let (path, libraries) = (path.clone(), library.unwrap_or_default());
                Ok(Program { path, arguments: vec!["party".into()], libraries })
            }
            None => Err(ClusterError::ProgramMissing { tried }),
        }
    }
}

/// The library that this caller's cells link, behind all that it needs; none in a compiled program.
pub(super) fn own_libraries() -> Result<Option<Vec<Library>>, ClusterError> {
    function::library_of(function::runtime(), LIBRARY_ENTRY).map_err(|error| ClusterError::Controller {
        action: "start parties with the library that cells link".into(),
        detail: error.to_string(),
        hint: "A party runs that very file.".into(),
    })
}

/// `cryptgpu` beside this program; for tests, examples and benches one folder up; and on `PATH`.
fn beside_this_program() -> Vec<PathBuf> {
    let this = std::env::current_exe().unwrap_or_default();
    let folders = this.ancestors().skip(1).take(2).map(Path::to_owned);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let named = format!("cryptgpu{}", std::env::consts::EXE_SUFFIX);
    folders.chain(std::env::split_paths(&path)).map(|folder| folder.join(&named)).collect()
}
