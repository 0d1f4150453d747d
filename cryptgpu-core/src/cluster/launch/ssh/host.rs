//! One host, from nothing to the moment at which its party reads its standard input: SSH is started, the script is sent,
//! what it says is checked, and the files that it lacks are copied.

use super::failure::Place;
use super::script::{self, MARK};
use super::shipment::{Shipment, Shipped};
use crate::cluster::launch::logs::Logs;
use crate::cluster::launch::process::{PartyProcess, describe};
use crate::cluster::launch::program::Program;
use crate::cluster::wire::error::ClusterError;
use crate::cluster::wire::hosts::{Host, Hosts};
use crate::cluster::wire::object::LibcVersion;
use std::ffi::OsString;
use std::io;
use std::net::IpAddr;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{ChildStdin, ChildStdout};
use tokio::time::timeout;

/// A party that is about to read its bootstrap.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) place: Place,
    pub(super) process: PartyProcess,
    pub(super) input: ChildStdin,
    pub(super) output: BufReader<ChildStdout>,
    /// Where SSH has reached the host, as the host sees it.
    pub(super) reached: Option<IpAddr>,
}

/// How long connecting may take, which SSH itself looks after; less where a start may take less.
const CONNECT_WITHIN: Duration = Duration::from_secs(8);

/// How much longer a host may take for the next thing to say.
const ANSWER_AFTER: Duration = Duration::from_secs(2);

/// How long a copied file may stand still on its way, and how long its digest may take.
const COPY_WITHIN: Duration = Duration::from_secs(60);

/// Bytes that are sent at a time.
const PIECE: usize = 256 << 10;

/// A longer line is no line of the script.
const LINE_BYTES: u64 = 8 << 10;

/// Prepares one host and starts its party.
pub(super) async fn prepare(
    place: Place,
    hosts: &Hosts,
    shipment: &Shipment,
    start_within: Duration,
    logs: &Logs,
) -> Result<Prepared, ClusterError> {
    let connect = CONNECT_WITHIN.min(start_within).max(Duration::from_secs(1));
    let host = &hosts.each[place.party.index()];
    let shipment = match &host.program {
        Some(_) => shipment.without_program(),
        None => shipment.clone(),
    };
    let script = script::write(host, &shipment);
    let ssh = ssh(hosts, host, connect, &script::command(script.len()));
    let (process, input, output) = PartyProcess::spawn(place.party, &ssh, logs)?;
    let streams = ChildStdin::from_std(input).and_then(|input| Ok((input, ChildStdout::from_std(output)?)));
    let (input, output) = streams.map_err(|error| ClusterError::Controller {
        action: "read what ssh prints".into(),
        detail: error.to_string(),
        hint: "Is the limit on open files reached?".into(),
    })?;
    let output = BufReader::new(output);
    let mut dialog = Dialog {
        prepared: Prepared { place, process, input, output, reached: None },
        spoke: false,
        patience: connect + ANSWER_AFTER,
    };
    dialog.send(script.as_bytes(), dialog.patience).await;
    dialog.run(&shipment).await
}

/// The user's own `ssh`, with the user's configuration, keys and agent. It asks nothing, trusts no host that it does not
/// know, forwards nothing, and leaves no connection open behind itself.
fn ssh(hosts: &Hosts, host: &Host, connect: Duration, command: &str) -> Program {
    let mut arguments: Vec<OsString> = vec![];
    if let Some(config) = &hosts.ssh_config {
        arguments.extend(["-F".into(), config.into()]);
    }
    arguments.extend(["-T", "-a", "-x", "-e", "none"].map(OsString::from));
    let connect = format!("ConnectTimeout={}", connect.as_secs());
    for option in [
        "BatchMode=yes",
        "StrictHostKeyChecking=yes",
        &connect,
        "ConnectionAttempts=1",
        "ServerAliveInterval=5",
        "ServerAliveCountMax=3",
        "ControlMaster=no",
        "ClearAllForwardings=yes",
        "PermitLocalCommand=no",
        "RemoteCommand=none",
        "RequestTTY=no",
        "LogLevel=ERROR",
    ] {
        arguments.extend(["-o".into(), option.into()]);
    }
    arguments.extend(["--".into(), host.destination.as_str().into(), command.into()]);
    Program { path: "ssh".into(), arguments, libraries: vec![] }
}

/// The talk with the script.
struct Dialog {
    prepared: Prepared,
    /// Whether the host has said anything.
    spoke: bool,
    /// How long it may take for the next thing to say.
    patience: Duration,
}

impl Dialog {
    /// Answers what the script says, until the party starts.
    async fn run(mut self, shipment: &Shipment) -> Result<Prepared, ClusterError> {
        let (copies, mut within) = (!shipment.files.is_empty(), self.patience);
        loop {
            let line = self.line(within).await?;
            let (what, rest) = line.split_once(' ').unwrap_or((&line, ""));
            within = self.patience;
            match what {
                "system" if rest != "Linux" => return Err(self.unsuitable(&format!("its system is {rest}"), "Linux")),
                "machine" if copies && rest != std::env::consts::ARCH => {
                    return Err(self.unsuitable(&format!("its processor is {rest}"), std::env::consts::ARCH));
                }
                "libc" if copies => self.check_libc(rest, shipment.libc)?,
                "reached" => self.prepared.reached = rest.split(' ').nth(2).and_then(|address| address.parse().ok()),
                "pid" => self.prepared.process.runs_as(&self.prepared.place.host, rest.parse().unwrap_or_default()),
                "need" => {
                    let file = shipment.files.iter().find(|file| file.to == rest);
                    let file = file.ok_or_else(|| self.prepared.place.refused("ask for a file", rest))?;
                    self.copy(file).await?;
                    within = COPY_WITHIN;
                }
                "failed" => {
                    let (what, detail) = rest.split_once(' ').unwrap_or((rest, ""));
                    return Err(self.prepared.place.refused(what, detail));
                }
                "start" => return Ok(self.prepared),
                _ => {}
            }
        }
    }

    fn unsuitable(&self, detail: &str, here: &str) -> ClusterError {
        let hint = "Build the program there, and name it in the cluster file (`program`)";
        self.prepared.place.error("run this program there", &format!("{detail}, and this program is for {here}"), hint)
    }

    fn check_libc(&self, there: &str, needed: Option<LibcVersion>) -> Result<(), ClusterError> {
        let found: Option<LibcVersion> = there.strip_prefix("glibc ").and_then(|version| version.parse().ok());
        match (found, needed) {
            (Some(found), Some(needed)) if found < needed => {
                Err(self.unsuitable(&format!("its C library is glibc {found}"), &format!("glibc {needed} or newer")))
            }
            (None, Some(needed)) => {
                Err(self
                    .unsuitable("it has no GNU C library that tells its version", &format!("glibc {needed} or newer")))
            }
            _ => Ok(()),
        }
    }

    /// The next line of the script, without its mark; other lines are no news.
    async fn line(&mut self, within: Duration) -> Result<String, ClusterError> {
        let mut line = Vec::new();
        let read = async {
            loop {
                line.clear();
                let read = (&mut self.prepared.output).take(LINE_BYTES).read_until(b'\n', &mut line).await?;
                let text = String::from_utf8_lossy(&line);
                match text.split_once(MARK) {
                    _ if read == 0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                    Some((_, said)) => return Ok::<_, io::Error>(said.trim_end().to_owned()),
                    None => {}
                }
            }
        };
        match timeout(within, read).await {
            Ok(Ok(line)) => {
                self.spoke = true;
                Ok(line)
            }
            Ok(Err(_)) => Err(self.ended().await),
            Err(_) => Err(self.prepared.place.error(
                "prepare it",
                &format!("nothing came from it within {within:?}"),
                "Is it overloaded, or does its login wait for something?",
            )),
        }
    }

    async fn copy(&mut self, file: &Shipped) -> Result<(), ClusterError> {
        let place = self.prepared.place.clone();
        let fail = move |error: io::Error| {
            place.error(
                "copy the program",
                &format!("cannot read {}: {error}", file.from.display()),
                "Is it still there?",
            )
        };
        let mut from = tokio::fs::File::open(&file.from).await.map_err(&fail)?;
        let mut buffer = vec![0u8; PIECE];
        let mut left = file.len;
        while left > 0 {
            let piece = &mut buffer[..left.min(PIECE as u64) as usize];
            from.read_exact(piece).await.map_err(&fail)?;
            left -= piece.len() as u64;
            if !matches!(timeout(COPY_WITHIN, self.prepared.input.write_all(piece)).await, Ok(Ok(()))) {
                // The script has ended, and its last words say why; or nothing moves any more, which shows next.
                return Ok(());
            }
        }
        self.send(&[], COPY_WITHIN).await;
        Ok(())
    }

    /// Sends something small. Where it fails nobody reads any more, and what was said last tells why.
    async fn send(&mut self, bytes: &[u8], within: Duration) {
        let Prepared { input, .. } = &mut self.prepared;
        let _ = timeout(within, async { input.write_all(bytes).await.and(input.flush().await) }).await;
    }

    /// Why SSH ended before the party started.
    async fn ended(&mut self) -> ClusterError {
        let Prepared { place, process, .. } = &mut self.prepared;
        let status = process.ended_soon().await.map_or_else(|| "no status".to_owned(), describe);
        match self.spoke {
            true => {
                place.error("prepare it", &format!("its shell ended ({status})"), "Was the connection lost? Try again")
            }
            false => place.no_login(&status, &process.log()),
        }
    }
}
