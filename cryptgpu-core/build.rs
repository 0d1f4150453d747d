//! Builds in what records say of the program: the commit that it was built from, with `+` behind it when files that it
//! is made of differ from that commit. Nothing is looked up when the program runs, so a copy of it elsewhere says the
//! same, and a checkout that has moved on does not change it.

use std::path::{Path, PathBuf};
use std::process::Command;

/// What the program is made of, seen from the root of the checkout.
const SOURCES: [&str; 15] = [
    "cryptgpu-core/src",
    "cryptgpu-core/Cargo.toml",
    "cryptgpu-core/build.rs",
    "kernels/src",
    "kernels/Cargo.toml",
    "kernels/build.rs",
    "datasets/src",
    "datasets/bundle",
    "datasets/paper",
    "datasets/weights",
    "datasets/manifest.json",
    "datasets/Cargo.toml",
    "Cargo.toml",
    "Cargo.lock",
    "rust-toolchain.toml",
];

fn main() {
    println!("cargo:rerun-if-env-changed=CRYPTGPU_COMMIT");
    // As cargo says now: this script may have been compiled for a checkout that stood elsewhere.
    let root = PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| ".".into())).join("..");
    for source in SOURCES {
        println!("cargo:rerun-if-changed={}", root.join(source).display());
    }
    let given = std::env::var("CRYPTGPU_COMMIT").ok().filter(|commit| !commit.is_empty());
    let commit = given.or_else(|| of_checkout(&root)).unwrap_or_else(|| "unknown".to_owned());
    println!("cargo:rustc-env=CRYPTGPU_BUILT_FROM={commit}");
}

/// What git says of these sources; nothing if they are no checkout, as in a copy within somebody else's.
fn of_checkout(root: &Path) -> Option<String> {
    let git = |arguments: &[&str]| {
        let output = Command::new("git").arg("-C").arg(root).args(arguments).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    git(&["ls-files", "--error-unmatch", "cryptgpu-core/Cargo.toml"])?;
    // A notebook's kernel would be built again after each commit, for minutes: it asks again when sources change.
    if std::env::var_os("CARGO_FEATURE_NOTEBOOK").is_none() {
        // Every commit and checkout writes to both.
        for file in ["HEAD", "logs/HEAD"] {
            let path = root.join(PathBuf::from(git(&["rev-parse", "--git-path", file])?));
            if path.exists() {
                println!("cargo:rerun-if-changed={}", path.display());
            }
        }
    }
    let commit = git(&["rev-parse", "--short=12", "HEAD"])?;
    // New files count: a module may be among them.
    let changed = git(&[&["status", "--porcelain", "--untracked-files=all", "--"][..], &SOURCES].concat())?;
    Some(if changed.is_empty() { commit } else { format!("{commit}+") })
}
