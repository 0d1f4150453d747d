//! `cryptgpu doctor`: what works on this machine, and what to do about the rest. It changes nothing.

use std::io::Write;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use comfy_table::{ContentArrangement, Table, presets};
use cryptgpu_core::cluster::{Cluster, SelfTest};
use cryptgpu_core::device::cpu::gemm::Isa;
use cryptgpu_core::device::cuda;
use cryptgpu_core::experiment::{Inference, available_memory_bytes, commit, machine};
use cryptgpu_core::prg::Key;
use cryptgpu_datasets::{bundled, downloads_dir, manifest};
use serde::Serialize;

use super::{Result, format};

/// Arguments of `cryptgpu doctor`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Ends with status 1 if private inference cannot run here; what is merely missing (data sets, notebooks)
does not count.")]
pub struct Arguments {
    /// Write the findings as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Status {
    /// Works.
    Ok,
    /// Not there; some things will not work.
    Missing,
    /// Private inference cannot run.
    Broken,
}

#[derive(Debug, Serialize)]
struct Finding {
    what: &'static str,
    status: Status,
    found: String,
    /// What to do, where something is not there.
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
}

impl Finding {
    fn ok(what: &'static str, found: impl Into<String>) -> Self {
        Self { what, status: Status::Ok, found: found.into(), hint: None }
    }

    fn missing(what: &'static str, found: impl Into<String>, hint: &str) -> Self {
        Self { what, status: Status::Missing, found: found.into(), hint: Some(hint.to_owned()) }
    }

    fn broken(what: &'static str, found: impl Into<String>, hint: &str) -> Self {
        Self { what, status: Status::Broken, found: found.into(), hint: Some(hint.to_owned()) }
    }
}

pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    let mut findings = vec![Finding::ok("program", format!("{}, commit {}", env!("CARGO_PKG_VERSION"), commit()))];
    findings.extend([processor(), memory()]);
    findings.extend(gpu());
    findings.extend([entropy(), loopback(), parties(), bundle(), weights()]);
    findings.extend(["mnist", "cifar10"].map(data_set));
    findings.extend([jupyter(), evcxr(), kernel()]);
    let mut out = std::io::stdout().lock();
    if arguments.json {
        writeln!(out, "{}", serde_json::to_string_pretty(&findings)?)?;
    } else {
        writeln!(out, "{}", draw(&findings))?;
    }
    let broken = findings.iter().any(|finding| finding.status == Status::Broken);
    Ok(if broken { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn draw(findings: &[Finding]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_BORDERS_ONLY).set_content_arrangement(ContentArrangement::Dynamic);
    for finding in findings {
        let mark = match finding.status {
            Status::Ok => "✓",
            Status::Missing => "–",
            Status::Broken => "✗",
        };
        let hint = finding.hint.as_ref().map(|hint| format!("\n→ {hint}")).unwrap_or_default();
        table.add_row([mark.to_owned(), finding.what.to_owned(), format!("{}{hint}", finding.found)]);
    }
    table
}

fn processor() -> Finding {
    let machine = machine();
    let all = format!("{}, {} logical processors, {}", machine.cpu, machine.cores, machine.isa.join(" "));
    match Isa::active() {
        Ok(Isa::Portable) => {
            Finding::missing("processor", all, "ring products run without vector instructions, several times slower")
        }
        Ok(isa) => Finding::ok("processor", format!("{all}; ring products by {}", isa.name())),
        Err(error) => Finding::broken("processor", all, &error.to_string()),
    }
}

fn memory() -> Finding {
    let (all, free) = (machine().memory_bytes, available_memory_bytes());
    let found = format!("{}, {} free", format::memory(all), format::memory(free));
    // Each of three parties may take 2 GiB for the largest network.
    if free >= 6 << 30 || all == 0 {
        Finding::ok("memory", found)
    } else {
        Finding::missing("memory", found, "the largest networks need up to 2 GiB for each of three parties")
    }
}

/// Driver, compiler and cards. Parties compute on the processor without them, so nothing here is broken.
fn gpu() -> Vec<Finding> {
    let cuda = cuda::probe();
    let driver = match &cuda.driver {
        Ok((major, minor)) => {
            let library = cuda.library.as_deref().unwrap_or("libcuda");
            let whose = match &cuda.substitute {
                Some(path) => format!("{}, in the place of NVIDIA's", path.display()),
                None => library.to_owned(),
            };
            Finding::ok("CUDA driver", format!("{whose}, for CUDA {major}.{minor} and older"))
        }
        Err(error) => {
            let found = cuda.library.clone().unwrap_or_else(|| "none".to_owned());
            Finding::missing("CUDA driver", found, &format!("parties compute on the processor; {error}"))
        }
    };
    let cards = match (&cuda.driver, cuda.cards.as_slice()) {
        (Err(_), _) => Finding::missing("GPU", seen_by_kernel(), "needs a CUDA driver that can be used"),
        (Ok(_), []) if cuda.fault.is_some() => {
            let fault = cuda.fault.as_deref().unwrap_or_default();
            let hint =
                format!("parties compute on the processor; the driver says {fault}; was it updated since the start?");
            Finding::missing("GPU", seen_by_kernel(), &hint)
        }
        (Ok(_), []) => Finding::missing("GPU", "none", "nothing to do: parties compute on the processor"),
        (Ok(_), cards) => {
            let card = |card: &cuda::CardInfo| {
                let (major, minor) = card.capability;
                let memory = format::memory(card.memory_bytes as u64);
                format!("cuda:{} {}, compute capability {major}.{minor}, {memory}", card.ordinal, card.name)
            };
            Finding::ok("GPU", cards.iter().map(card).collect::<Vec<_>>().join("; "))
        }
    };
    let compiler = match &cuda.compiler {
        Ok((major, minor)) => Finding::ok("NVRTC", format!("{major}.{minor}, compiles the kernels at first use")),
        Err(error) => {
            let hint = format!("--device cuda needs it, but where the kernels are embedded; {error}");
            Finding::missing("NVRTC", "none that can be used", &hint)
        }
    };
    let mut findings = vec![driver, cards, compiler];
    if cuda.driver.is_ok() && !cuda.cards.is_empty() {
        findings.push(match cuda::service() {
            Some(process) => {
                Finding::ok("shared cards", format!("CUDA's multi-process service runs, process {process}"))
            }
            None => Finding::missing("shared cards", "CUDA's multi-process service does not run", cuda::SERVICE_HINT),
        });
    }
    findings
}

/// What the system's kernel says of cards where there is no library to ask.
fn seen_by_kernel() -> String {
    match machine().gpus.as_slice() {
        [] => "none".to_owned(),
        names => names.join(", "),
    }
}

fn entropy() -> Finding {
    match Key::from_os() {
        Ok(_) => Finding::ok("randomness", "keys come from the operating system"),
        Err(error) => Finding::broken("randomness", error.to_string(), "parties cannot draw keys here"),
    }
}

fn loopback() -> Finding {
    match TcpListener::bind(("127.0.0.1", 0)).and_then(|listener| listener.local_addr()) {
        Ok(address) => Finding::ok("loopback", format!("can listen (tried {address})")),
        Err(error) => Finding::broken(
            "loopback",
            format!("cannot listen on 127.0.0.1: {error}"),
            "parties on this machine talk over it: is this a sandbox without a network?",
        ),
    }
}

/// Starts three party processes, lets them exchange a few words over TLS, and ends them.
fn parties() -> Finding {
    let tried = std::env::current_exe().map_err(|error| error.to_string()).and_then(|this| {
        let cluster = Cluster::local().program(this).start().map_err(|error| error.to_string())?;
        cluster.run_job(SelfTest::quick()).map_err(|error| error.to_string())
    });
    match tried {
        Ok(run) => Finding::ok(
            "party processes",
            format!("three exchanged words over TLS in {}", format::seconds(run.duration.as_secs_f64())),
        ),
        Err(error) => {
            Finding::broken("party processes", error, "private inference needs them; --parties threads does not")
        }
    }
}

fn bundle() -> Finding {
    match bundled::mnist_test_1000() {
        Ok(images) => Finding::ok("bundled images", format!("{} MNIST test images", images.len())),
        Err(error) => Finding::broken("bundled images", error.to_string(), "build the program again"),
    }
}

fn weights() -> Finding {
    let load = |name| Inference::of(name).and_then(|declared| declared.load_weights(&declared.graph()?).map(drop));
    let percent = |record| {
        let record: serde_json::Value = serde_json::from_str(record).unwrap_or_default();
        record["test_accuracy_percent"].to_string()
    };
    let (lenet, resnet8) = (percent(bundled::LENET_MNIST_RECORD), percent(bundled::RESNET8_CIFAR10_RECORD));
    match load("lenet").and_then(|()| load("resnet8-cifar10")) {
        Ok(()) => Finding::ok(
            "bundled weights",
            format!(
                "in plaintext LeNet has {lenet} % of MNIST's test images right, ResNet-8 {resnet8} % of CIFAR-10's"
            ),
        ),
        Err(error) => Finding::broken("bundled weights", error.to_string(), "build the program again"),
    }
}

fn data_set(name: &'static str) -> Finding {
    let dir = downloads_dir();
    let entries = manifest::entries().unwrap_or_default();
    let mine: Vec<_> = entries.iter().filter(|entry| entry.dataset == name).collect();
    let there = mine.iter().filter(|entry| entry.is_present(&dir)).count();
    if there == mine.len() && there > 0 {
        return Finding::ok(name, format!("{there} files in {}", dir.join(name).display()));
    }
    let found = format!("{there} of {} files in {}", mine.len(), dir.join(name).display());
    Finding::missing(name, found, &format!("scripts/fetch-datasets {name}"))
}

/// The folder of the checkout that this program was built from.
fn checkout() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn jupyter() -> Finding {
    let candidates = [checkout().join(".venv/bin/jupyter"), PathBuf::from("jupyter")];
    for program in candidates {
        let Ok(output) = Command::new(&program).args(["lab", "--version"]).output() else { continue };
        if output.status.success() {
            let version = String::from_utf8_lossy(&output.stdout).trim().to_owned();
            return Finding::ok("JupyterLab", format!("{version} ({})", program.display()));
        }
    }
    Finding::missing("JupyterLab", "not found", "for notebooks: scripts/setup")
}

fn evcxr() -> Finding {
    let homes = ["CARGO_HOME", "HOME"].map(|name| std::env::var_os(name).map(PathBuf::from));
    let [cargo, home] = homes;
    let cargo = cargo.or_else(|| home.map(|home| home.join(".cargo"))).map(|dir| dir.join("bin"));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = cargo.into_iter().chain(std::env::split_paths(&path)).map(|dir| dir.join("evcxr_jupyter"));
    match found.into_iter().find(|program| program.is_file()) {
        Some(program) => Finding::ok("evcxr_jupyter", program.display().to_string()),
        None => Finding::missing("evcxr_jupyter", "not found", "for notebooks: scripts/setup"),
    }
}

/// Jupyter's own places for kernel specifications, besides the virtual environment of the checkout.
fn kernel() -> Finding {
    let home = std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".local/share/jupyter"));
    let data = std::env::var_os("JUPYTER_PATH").unwrap_or_default();
    let mut places = vec![checkout().join(".venv/share/jupyter")];
    places.extend(std::env::split_paths(&data).filter(|place| !place.as_os_str().is_empty()));
    places.extend(home);
    places.extend(["/usr/local/share/jupyter", "/usr/share/jupyter"].map(PathBuf::from));
    let specs = places.iter().filter_map(|place| std::fs::read_dir(place.join("kernels")).ok()).flatten().flatten();
    let ours = specs
        .map(|entry| entry.path().join("kernel.json"))
        .find(|path| std::fs::read_to_string(path).is_ok_and(|text| text.contains("\"Rust (CryptGPU)\"")));
    match ours {
        Some(path) => Finding::ok("notebook kernel", format!("Rust (CryptGPU), {}", path.display())),
        None => {
            Finding::missing("notebook kernel", "\"Rust (CryptGPU)\" is not installed", "for notebooks: scripts/setup")
        }
    }
}
