//! Debian's Slurm, started once for all tests of this program: a controller, three node daemons and munge, all on this machine
//! and in a folder of their own. Where there is none, three processes with the environment that Slurm would give them. Which of
//! the two it is, is printed.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// What starts the tasks of a step.
pub enum Launcher {
    /// `srun`, with this configuration. The cleaner's end ends the daemons.
    Slurm { configuration: PathBuf, _cleaner: Child },
    /// This program.
    ByHand,
}

/// The launcher, started by the first who asks.
pub fn launcher() -> &'static Launcher {
    static LAUNCHER: OnceLock<Launcher> = OnceLock::new();
    LAUNCHER.get_or_init(|| {
        let daemons = ["munged", "slurmctld", "slurmd"].map(daemon);
        let missing = ["srun", "sinfo"].into_iter().find(|name| !is_there(name));
        let (launcher, what) = match (daemons, missing) {
            ([Some(munged), Some(controller), Some(node)], None) => {
                (start(&munged, &controller, &node), "Slurm with three node daemons on this machine")
            }
            _ => (Launcher::ByHand, "three processes with Slurm's environment (slurm-wlm and munge are not installed)"),
        };
        // The harness keeps what tests print with `println!`.
        let _ = writeln!(std::io::stderr(), "tests of tasks: {what}");
        launcher
    })
}

fn daemon(name: &str) -> Option<PathBuf> {
    ["/usr/sbin", "/usr/local/sbin"].map(|folder| Path::new(folder).join(name)).into_iter().find(|path| path.exists())
}

fn is_there(name: &str) -> bool {
    Command::new(name).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok()
}

/// The daemons, which end with this program, however that ends: behind it, so that nobody is there to wait for them.
#[expect(clippy::zombie_processes)]
fn start(munged: &Path, controller: &Path, node: &Path) -> Launcher {
    use std::os::unix::process::CommandExt;
    let folder = tempfile::Builder::new().prefix("cryptgpu-slurm-").tempdir().unwrap().keep();
    let (at, configuration) = (folder.display(), folder.join("slurm.conf"));
    fs::write(&configuration, settings(&folder)).unwrap();
    let mut key = vec![0u8; 128];
    fs::File::open("/dev/urandom").unwrap().read_exact(&mut key).unwrap();
    fs::write(folder.join("key"), key).unwrap();
    fs::create_dir(folder.join("spool")).unwrap();
    // The first line is read when this program ends; a node daemon's last step has ended then.
    let script = format!(
        "chmod 600 {at}/key\n\
         {} --force --foreground --key-file={at}/key --socket={at}/munge --pid-file={at}/munge.pid \
         --log-file={at}/munge.log --seed-file={at}/seed --num-threads=2 & all=$!\n\
         for try in $(seq 100); do [ -S {at}/munge ] && break; sleep 0.02; done\n\
         {} -D -i -f {configuration} & all=\"$! $all\"\n\
         for node in n0 n1 n2; do mkdir -p {at}/spool/$node; {} -D -N $node -f {configuration} & all=\"$! $all\"; done\n\
         read end; kill $all; for try in $(seq 30); do kill -0 $all && sleep 0.1 || break; done\n\
         kill -9 $all; wait; rm -rf {at}",
        munged.display(),
        controller.display(),
        node.display(),
        configuration = configuration.display(),
    );
    let log = fs::File::create(folder.join("log")).unwrap();
    let mut cleaner = Command::new("sh")
        .args(["-c", &script])
        .stdin(Stdio::piped())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .process_group(0)
        .spawn()
        .unwrap();
    let until = Instant::now() + Duration::from_secs(20);
    loop {
        let states = Command::new("sinfo").args(["-h", "-o", "%T %D"]).env("SLURM_CONF", &configuration).output();
        if String::from_utf8_lossy(&states.unwrap().stdout).trim() == "idle 3" {
            return Launcher::Slurm { configuration, _cleaner: cleaner };
        }
        if Instant::now() > until {
            let log = fs::read_to_string(folder.join("log")).unwrap_or_default();
            drop(cleaner.stdin.take());
            let _ = cleaner.wait();
            panic!("Slurm does not start: {log}");
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn settings(folder: &Path) -> String {
    let (at, host) = (folder.display(), fs::read_to_string("/proc/sys/kernel/hostname").unwrap());
    let host = host.trim().split('.').next().unwrap();
    let user = Command::new("id").arg("-un").output().unwrap().stdout;
    let user = String::from_utf8(user).unwrap();
    // All at once, so that they differ.
    let listeners = [(); 4].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    let [controller, n0, n1, n2] = listeners.map(|listener| listener.local_addr().unwrap().port());
    let nodes: String = [("n0", n0), ("n1", n1), ("n2", n2)]
        .iter()
        .map(|(name, port)| format!("NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs=8\n"))
        .collect();
    let user = user.trim();
    format!(
        "ClusterName=test\nSlurmctldHost={host}(127.0.0.1)\nSlurmctldPort={controller}\nSlurmUser={user}\n\
         SlurmdUser={user}\nAuthType=auth/munge\nAuthInfo=socket={at}/munge\nCredType=cred/munge\nMpiDefault=none\n\
         ProctrackType=proctrack/linuxproc\nTaskPlugin=task/none\nSelectType=select/cons_tres\n\
         SelectTypeParameters=CR_CPU\nSwitchType=switch/none\nReturnToService=2\nStateSaveLocation={at}/state\n\
         SlurmdSpoolDir={at}/spool/%n\nSlurmctldPidFile={at}/controller.pid\nSlurmdPidFile={at}/%n.pid\n\
         SlurmctldLogFile={at}/controller.log\nSlurmdLogFile={at}/%n.log\nAccountingStorageType=accounting_storage/none\n\
         JobCompType=jobcomp/none\nJobAcctGatherType=jobacct_gather/none\nSlurmdParameters=config_overrides\nKillWait=2\n\
         {nodes}PartitionName=all Nodes=n0,n1,n2 Default=YES State=UP\n"
    )
}

/// What became of a step.
#[derive(Debug)]
pub struct Ended {
    pub success: bool,
    /// Standard output and error of all tasks, each line behind the rank: `1: text`.
    pub output: String,
    pub errors: String,
    pub took: Duration,
}

impl Ended {
    /// What one task has said on standard error.
    pub fn said(&self, rank: usize) -> String {
        let mark = format!("{rank}: ");
        self.errors.lines().filter_map(|line| line.strip_prefix(&mark)).collect::<Vec<_>>().join("\n")
    }
}

/// A step that goes on.
pub struct Step {
    /// With the rank that is put before its lines, as `srun --label` does.
    children: Vec<(Child, Option<usize>)>,
    begun: Instant,
}

/// Starts a step of so many tasks, each with a command line and what else is in its environment. `scratch` is a folder of the
/// test's.
pub fn step(scratch: &Path, tasks: &[Vec<String>], environment: &[(&str, &str)]) -> Step {
    let begun = Instant::now();
    let spawn = |command: &mut Command| {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let children = match launcher() {
        Launcher::Slurm { configuration, .. } => {
            let lines: String =
                tasks.iter().enumerate().map(|(rank, task)| format!("{rank} {}\n", task.join(" "))).collect();
            let programs = scratch.join("programs");
            fs::write(&programs, lines).unwrap();
            let mut command = Command::new("srun");
            let nodes = tasks.len().min(3);
            command.args([format!("--ntasks={}", tasks.len()), format!("--nodes={nodes}")]);
            command.args(["--label", "--quiet", "--time=2", "--multi-prog"]).arg(programs);
            command.env("SLURM_CONF", configuration).envs(environment.iter().copied());
            vec![(spawn(&mut command), None)]
        }
        Launcher::ByHand => {
            static STEPS: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
            let number = STEPS.fetch_add(1, std::sync::atomic::Ordering::Relaxed).to_string();
            let task = |(rank, task): (usize, &Vec<String>)| {
                let mut command = Command::new(&task[0]);
                command.args(&task[1..]).envs(environment.iter().copied());
                command.env("SLURM_JOB_ID", std::process::id().to_string()).env("SLURM_STEP_ID", &number);
                command.env("SLURM_PROCID", rank.to_string()).env("SLURM_LOCALID", "0");
                command.env("SLURM_STEP_NUM_TASKS", tasks.len().to_string());
                command.env("SLURMD_NODENAME", format!("n{rank}"));
                (spawn(&mut command), Some(rank))
            };
            tasks.iter().enumerate().map(task).collect()
        }
    };
    Step { children, begun }
}

impl Step {
    /// Waits for its end, which must come in time. `look` sees each line of standard output as it comes.
    pub fn wait(self, within: Duration, look: impl Fn(&str) + Sync) -> Ended {
        use std::io::{BufRead, BufReader};
        let Step { mut children, begun } = self;
        let (mut outputs, mut errors) = (vec![], vec![]);
        for (child, rank) in &mut children {
            outputs.push((child.stdout.take().unwrap(), *rank));
            errors.push((child.stderr.take().unwrap(), *rank));
        }
        let label = |line: String, rank: Option<usize>| match rank {
            Some(rank) => format!("{rank}: {line}"),
            None => line,
        };
        std::thread::scope(|scope| {
            let look = &look;
            let read = |from: Box<dyn Read + Send>, rank, looks: bool| {
                scope.spawn(move || {
                    let lines = BufReader::new(from).lines().map_while(Result::ok).map(|line| label(line, rank));
                    lines
                        .inspect(|line| {
                            if looks {
                                look(line)
                            }
                        })
                        .map(|line| line + "\n")
                        .collect::<String>()
                })
            };
            let outputs: Vec<_> = outputs.into_iter().map(|(from, rank)| read(Box::new(from), rank, true)).collect();
            let errors: Vec<_> = errors.into_iter().map(|(from, rank)| read(Box::new(from), rank, false)).collect();
            let mut late = false;
            while !late && children.iter_mut().any(|(child, _)| child.try_wait().unwrap().is_none()) {
                late = begun.elapsed() > within;
                std::thread::sleep(Duration::from_millis(10));
            }
            let took = begun.elapsed();
            if late {
                // `srun` ends its tasks after two interrupts; a task that is left ends with its daemons.
                children.iter_mut().for_each(|(child, _)| child.kill().unwrap());
            }
            let success = children.iter_mut().all(|(child, _)| child.wait().unwrap().success());
            let text = |threads: Vec<std::thread::ScopedJoinHandle<'_, String>>| -> String {
                threads.into_iter().map(|thread| thread.join().unwrap()).collect()
            };
            let ended = Ended { success, output: text(outputs), errors: text(errors), took };
            assert!(!late, "the step has not ended after {within:?}: {ended:#?}");
            ended
        })
    }
}
