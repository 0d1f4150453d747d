//! `cryptgpu serve`: a saved network at three parties, for clients; `cryptgpu request`: such a client.

use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use cryptgpu_core::cluster::{Client, Service, ServiceFile, Serving, ServingError, owner};
use cryptgpu_core::experiment::check_writable;
use cryptgpu_core::net::Fingerprint;
use cryptgpu_core::nn::Graph;
use cryptgpu_datasets::npy;
use ndarray::{ArrayD, Axis, Slice};

use super::Result;
use super::input::InputArguments;
use super::saved::Where;

/// Arguments of `cryptgpu serve`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The network is one that the parties have saved (`cryptgpu saved add`). Clients share their inputs themselves and open the scores
alone; the parties and this program learn how many there are and when. It runs until it is ended (Ctrl-C); when a party is
lost, it goes on with new ones.

Examples:
  cryptgpu keygen --out . --name lab                        a client's key and certificate
  cryptgpu serve digits --client lab.crt --service digits.service.toml
  cryptgpu request --service digits.service.toml --key lab.key --certificate lab.crt --input x.npy --output y.npy")]
pub struct Serve {
    /// What is saved
    name: String,
    /// A client: its certificate's file, or the fingerprint; once for each
    #[arg(long = "client", value_name = "FILE|FINGERPRINT", required = true, value_parser = client)]
    clients: Vec<Fingerprint>,
    /// Where each party listens for clients, by number; port 0 is any free one
    #[arg(
        long,
        value_delimiter = ',',
        value_name = "ADDRESS,ADDRESS,ADDRESS",
        default_value = "127.0.0.1:7300,127.0.0.1:7301,127.0.0.1:7302"
    )]
    listen: Vec<SocketAddr>,
    /// Write what clients need, the parties' addresses and fingerprints, to this file
    #[arg(long, value_name = "FILE")]
    service: PathBuf,
    /// Images that are evaluated together
    #[arg(long, default_value_t = 16)]
    batch: u32,
    /// Milliseconds that a request waits for others to join it
    #[arg(long, default_value_t = 3)]
    linger: u64,
    /// The most requests that wait at a party. A client that comes then gets the answer "busy" and may try again
    #[arg(long, default_value_t = 64)]
    queue: u32,
    /// Seconds that a request which has reached one party is waited for at the others
    #[arg(long, default_value_t = 2)]
    patience: u64,
    /// How often the parties are started again when one is lost
    #[arg(long, default_value_t = 3)]
    restarts: usize,
    #[command(flatten)]
    at: Box<Where>,
}

fn client(text: &str) -> std::result::Result<Fingerprint, String> {
    match Path::new(text).exists() {
        true => owner::fingerprint_of(Path::new(text)).map_err(|error| error.to_string()),
        false => text.parse(),
    }
}

pub fn serve(arguments: &Serve) -> Result<ExitCode> {
    let Serve { name, clients, listen, service, batch, linger, queue, patience, restarts, at } = arguments;
    check_writable(service)?;
    let listen = listen.clone().try_into().map_err(|_| "--listen takes three addresses, one of each party")?;
    let Some(cluster) = at.start()? else { return Ok(ExitCode::SUCCESS) };
    let (linger, patience) = (Duration::from_millis(*linger), Duration::from_secs(*patience));
    let settings = Service {
        listen,
        clients: clients.clone(),
        batch: *batch,
        linger,
        queue: *queue,
        patience,
        restarts: *restarts,
    };
    let mut failed = None;
    cluster.serve(name, &settings, |told| match told {
        Serving::Open(file) => {
            let addresses = file.parties.each_ref().map(|(address, _)| address.as_str()).join(", ");
            match write(service, &file.text()) {
                Ok(()) => eprintln!("`{name}` is served at {addresses}; clients need {}.", service.display()),
                Err(error) => {
                    failed = Some(format!("cannot write {}: {error}", service.display()));
                    cluster.cancel();
                }
            }
        }
        Serving::Served(served) => eprintln!("{served}"),
        Serving::Restarted { cause } => eprintln!("cryptgpu: {cause}; the parties are started again"),
        _ => {}
    })?;
    failed.map_or(Ok(ExitCode::SUCCESS), |error| Err(error.into()))
}

/// Replaces the file at once, for clients that look meanwhile.
fn write(path: &Path, text: &str) -> std::io::Result<()> {
    let partial = path.with_extension("partial");
    std::fs::write(&partial, text)?;
    std::fs::rename(&partial, path)
}

/// Arguments of `cryptgpu request`.
#[derive(Debug, clap::Args)]
pub struct Request {
    /// Where the parties are: what `cryptgpu serve --service` has written
    #[arg(long, value_name = "FILE")]
    service: PathBuf,
    /// This client's private key (`cryptgpu keygen`)
    #[arg(long)]
    key: PathBuf,
    /// Its certificate, which the service names
    #[arg(long)]
    certificate: PathBuf,
    #[command(flatten)]
    input: InputArguments,
    /// Where the scores go: a NumPy array of float64
    #[arg(long)]
    output: PathBuf,
    /// How often it tries again where the service is busy, each time after a pause
    #[arg(long, default_value_t = 10)]
    tries: u32,
}

pub fn request(arguments: &Request) -> Result<ExitCode> {
    let Request { service, key, certificate, input, output, tries } = arguments;
    npy::check_writable(output)?;
    let labels = input.labels()?;
    let identity = owner::read_identity(certificate, key)?;
    let mut client = Client::connect(&ServiceFile::read(service)?, &identity)?;
    let input = input.read(&taken_by(&client)?, &labels)?;
    let count = input.images.len_of(Axis(0));
    let mut parts = vec![];
    for first in (0..count).step_by(client.most_images()) {
        let last = (first + client.most_images()).min(count);
        let images = input.images.slice_axis(Axis(0), Slice::from(first..last)).to_owned();
        parts.push(infer(&mut client, &images, *tries)?);
    }
    let views: Vec<_> = parts.iter().map(|part| part.view()).collect();
    let scores = ndarray::concatenate(Axis(0), &views)?;
    npy::write(output, &scores)?;
    let mut out = std::io::stdout().lock();
    write!(out, "{}", input.likeliest(&scores, &labels))?;
    writeln!(
        out,
        "{count} images by {}: scores of shape {:?} are in {}.",
        client.network(),
        scores.shape(),
        output.display()
    )?;
    Ok(ExitCode::SUCCESS)
}

/// A request, again after a pause where the service is busy.
fn infer(client: &mut Client, images: &ArrayD<f64>, tries: u32) -> Result<ArrayD<f64>> {
    for before in 0..tries {
        match client.infer(images) {
            Err(ServingError::Busy { .. }) => std::thread::sleep(Duration::from_millis(50 << before.min(6))),
            ended => return Ok(ended?),
        }
    }
    Ok(client.infer(images)?)
}

/// A network that takes images of the service's shape, as far as reading them needs one.
fn taken_by(client: &Client) -> Result<super::model::Model> {
    let mut graph = Graph::builder(client.network(), client.input_shape());
    let input = graph.input();
    let flat = graph.flatten("flatten", input)?;
    Ok(super::model::Model { graph: graph.finish(flat)?, onnx: None, told: vec![] })
}
