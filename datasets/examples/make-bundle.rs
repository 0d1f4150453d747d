//! Makes the bundle of the first 1,000 MNIST test images from the downloaded data set:
//! `cargo run --release -p cryptgpu-datasets --example make-bundle`. Its result is committed.

use std::io::Write;
use std::path::Path;

use cryptgpu_datasets::{Collection, Split, idx};
use flate2::{Compression, GzBuilder};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let bundle = Collection::Mnist.load(Split::Test)?.first(1000)?;
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("bundle");
    std::fs::create_dir_all(&dir)?;
    for (name, bytes) in [
        ("mnist-test-1000-images-idx3-ubyte.gz", idx::write_images(&bundle.pixels)),
        ("mnist-test-1000-labels-idx1-ubyte.gz", idx::write_labels(&bundle.labels)),
    ] {
        // No time stamp and no name in the header: the same input gives the same file.
        let mut encoder = GzBuilder::new().mtime(0).write(Vec::new(), Compression::best());
        encoder.write_all(&bytes)?;
        let packed = encoder.finish()?;
        std::fs::write(dir.join(name), &packed)?;
        println!("{name}: {} bytes", packed.len());
    }
    Ok(())
}
