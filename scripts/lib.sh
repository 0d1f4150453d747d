# shellcheck shell=bash
# What the scripts of this folder share: where things are, and one `ensure_…` function for each thing that has to be
# installed or built before another can start. Each of them does nothing when its work is already done, so every
# script may call all that it needs, in any order, as often as it likes.
#
# Everything generated goes to `.venv`, `target` and `$CRYPTGPU_CACHE` (by default `.cache` in this checkout). The
# exceptions are evcxr_jupyter, the program behind the notebook kernel, and mdbook: they take minutes to build and belong to
# no project, so they go to cargo's own folder of programs, once per user.

ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)"
CACHE="${CRYPTGPU_CACHE:-$ROOT/.cache}"
VENV="$ROOT/.venv"
KERNEL="$CACHE/evcxr"
CARGO_BIN="${CARGO_INSTALL_ROOT:-${CARGO_HOME:-$HOME/.cargo}}/bin"
EVCXR_VERSION=0.22.0
ZEROMQ_VERSION=0.6.0
# The same with our changes (docs/adr/0050).
EVCXR_CHANGED="$(sed -n 's/^+version = "\(.*\)"$/\1/p' "$ROOT/scripts/evcxr.patch" | head -1)"
MDBOOK_VERSION=0.5.4
KERNEL_NAME=cryptgpu
# The flags with which evcxr calls cargo: the template must be built with the same ones, or cargo builds it again.
EVCXR_RUSTFLAGS=-Cprefer-dynamic

# evcxr writes its throw-away crate outside the checkout's reach of rust-toolchain.toml when the cache lies elsewhere.
RUSTUP_TOOLCHAIN="${RUSTUP_TOOLCHAIN:-$(sed -n 's/^channel *= *"\(.*\)"/\1/p' "$ROOT/rust-toolchain.toml")}"
export RUSTUP_TOOLCHAIN PATH="$CARGO_BIN:$PATH"

say() { printf '%s\n' "$*" >&2; }
die() { say "error: $*"; exit 1; }

# stage NAME COMMAND…: runs the command and says how long it took. Its failure ends the script, naming the stage.
stage() {
    local name="$1" began=$SECONDS; shift
    say "── $name"
    "$@" || die "$name failed (after $((SECONDS - began)) s)"
    say "── $name: $((SECONDS - began)) s"
}

# side_by_side FUNCTION FUNCTION: runs both at once, for what leaves half of the machine idle. What the first says is shown
# when the second has ended. Either one's failure is the failure of both.
side_by_side() {
    local said first status=0
    said="$(mktemp)"
    set -m # a process group of its own, which an interrupt can end
    ("$1") </dev/null >"$said" 2>&1 &
    first=$!
    set +m
    trap 'kill -- "-$first"; exit 130' INT TERM
    ("$2") || status=$?
    wait "$first" || status=$?
    trap - INT TERM
    cat "$said" >&2
    rm -f "$said"
    return $status
}

# The notebooks of this checkout, a line each: those of the folder and of its subfolders.
all_notebooks() {
    find "$ROOT/notebooks" -maxdepth 2 -name '*.ipynb' -not -path '*/.ipynb_checkpoints/*' | LC_ALL=C sort
}

# A digest of files and strings, to tell whether what was made from them is still current.
digest() { sha256sum | cut -c1-32; }

# Installs Debian packages, if this is Debian and we may; says what to install otherwise.
debian_packages() {
    local why="$1"; shift
    if command -v apt-get >/dev/null && [ "$(id -u)" = 0 ]; then
        say "installing the Debian package(s) $* ($why)"
        apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "$@" >/dev/null
    else
        die "$why: please install $* (on Debian: sudo apt-get install $*)"
    fi
}

# Rust, a C compiler and Python 3.11 or newer with the venv module: all that a machine must bring.
ensure_tools() {
    command -v cargo >/dev/null || die "cargo is missing: install Rust from https://rustup.rs"
    command -v cc >/dev/null || debian_packages "a C compiler is needed to link" gcc libc6-dev
    command -v python3 >/dev/null || debian_packages "Python 3 is needed for Jupyter" python3 python3-venv
    python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' || die "Python 3.11 or newer is needed for Jupyter"
    python3 -c 'import venv, ensurepip' 2>/dev/null || debian_packages "Python's venv module is missing" python3-venv
}

# The library and the `cryptgpu` program, optimised.
ensure_program() { (cd "$ROOT" && cargo build --release --locked); }

# The path of something that cargo has built.
built() { echo "${CARGO_TARGET_DIR:-$ROOT/target}/release/$1"; }
program() { built cryptgpu; }

# Jupyter and what tests compare with, in a virtual environment of their own, at the versions of scripts/requirements.txt.
ensure_venv() {
    local stamp="$VENV/.stamp" now
    now="$( (python3 -VV; echo "$VENV"; cat "$ROOT/scripts/requirements.txt") | digest)"
    [ "$(cat "$stamp" 2>/dev/null)" = "$now" ] && return
    say "installing Jupyter and NumPy into .venv"
    rm -rf "$VENV"
    python3 -m venv "$VENV" &&
        "$VENV/bin/python" -m pip install --quiet --disable-pip-version-check -r "$ROOT/scripts/requirements.txt" &&
        echo "$now" >"$stamp"
}

# NVIDIA's compilers, into the same environment, at the versions of scripts/requirements-cuda.txt: 140 MB, no GPU needed.
ensure_cuda() {
    local stamp="$VENV/.stamp-cuda" now
    ensure_venv || return
    now="$( (cat "$VENV/.stamp" "$ROOT/scripts/requirements-cuda.txt") | digest)"
    [ "$(cat "$stamp" 2>/dev/null)" = "$now" ] && return
    say "installing NVIDIA's compilers into .venv"
    "$VENV/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps \
        -r "$ROOT/scripts/requirements-cuda.txt" && echo "$now" >"$stamp"
}

# ONNX's tests of single nodes as files of networks, in $ONNX_NODES.
ONNX_NODES="$CACHE/onnx-nodes"
ensure_onnx_nodes() {
    local now
    ensure_venv || return
    now="$( (cat "$VENV/.stamp" "$ROOT/scripts/requirements-onnx.txt" "$ROOT/scripts/onnx_node_tests.py") | digest)"
    [ "$(cat "$ONNX_NODES/.stamp" 2>/dev/null)" = "$now" ] && return
    say "making networks of ONNX's node tests"
    rm -rf "$ONNX_NODES"
    "$VENV/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps \
        -r "$ROOT/scripts/requirements-onnx.txt" &&
        "$VENV/bin/python" "$ROOT/scripts/onnx_node_tests.py" "$ONNX_NODES" && echo "$now" >"$ONNX_NODES/.stamp"
}

# chromium and what drives it, with which the tests open notebooks and the book: from Debian's packages, where they can be
# installed. Elsewhere the tests go without, and say so.
ensure_chromium() {
    local stamp="$VENV/.stamp-browser" now
    if ! command -v chromium >/dev/null; then
        if command -v apt-get >/dev/null && [ "$(id -u)" = 0 ]; then
            debian_packages "the tests open notebooks in a browser" --no-install-recommends chromium
        else
            say "chromium is missing: JupyterLab and the book are not tested in a browser"
            return
        fi
    fi
    ensure_venv || return
    now="$( (cat "$VENV/.stamp" "$ROOT/scripts/requirements-browser.txt") | digest)"
    [ "$(cat "$stamp" 2>/dev/null)" = "$now" ] && return
    "$VENV/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps \
        -r "$ROOT/scripts/requirements-browser.txt" && echo "$now" >"$stamp"
}

# clang 19, a second compiler of the CUDA kernels: from Debian's packages, where they can be installed. Elsewhere the
# tests go without, and say so.
ensure_clang() {
    command -v clang-19 >/dev/null && return
    if command -v apt-get >/dev/null && [ "$(id -u)" = 0 ]; then
        debian_packages "a second compiler of the CUDA kernels" clang-19
    else
        say "clang-19 is missing: the kernels are tested with NVIDIA's compiler alone"
        export CRYPTGPU_WITHOUT_CLANG=1
    fi
}

# without_servers COMMAND…: installs packages that would start servers, which they may not while this file is there.
without_servers() {
    local policy=/usr/sbin/policy-rc.d status=0
    if [ "$(id -u)" != 0 ] || [ -e "$policy" ]; then
        policy=/dev/null
    else
        printf '#!/bin/sh\nexit 101\n' >"$policy" && chmod +x "$policy"
    fi
    ("$@") || status=$?
    [ "$policy" = /dev/null ] || rm -f "$policy"
    return $status
}

# OpenSSH's server and client, with which the tests start parties on hosts of their own: from Debian's packages, where
# they can be installed. The package does not start a server here: tests start theirs.
ensure_sshd() {
    { [ -x /usr/sbin/sshd ] || [ -x /usr/local/sbin/sshd ]; } && command -v ssh >/dev/null && return
    without_servers debian_packages "the tests start parties over SSH" openssh-server openssh-client iproute2
}

# Slurm, whose daemons the tests start on this machine: from Debian's packages, where they can be installed. Elsewhere the
# tests start the tasks of a job by hand, and say so.
ensure_slurm() {
    [ -x /usr/sbin/slurmd ] && [ -x /usr/sbin/munged ] && command -v srun >/dev/null && return
    if command -v apt-get >/dev/null && [ "$(id -u)" = 0 ]; then
        without_servers debian_packages "the tests run a Slurm job" --no-install-recommends slurm-wlm munge
    else
        say "slurm-wlm and munge are missing: tasks of a Slurm job are tested without Slurm"
    fi
}

# With it figures of notebooks become PNG files beside SVG: from Debian's packages, where they can be installed. Elsewhere
# figures are written as SVG alone.
ensure_png() {
    command -v rsvg-convert >/dev/null && return
    if command -v apt-get >/dev/null && [ "$(id -u)" = 0 ]; then
        debian_packages "figures are exported as PNG" --no-install-recommends librsvg2-bin fonts-dejavu-core
    else
        say "rsvg-convert is missing: figures are exported as SVG only (Debian's package librsvg2-bin makes PNG files)"
    fi
}

# The program behind the kernel, at the version that the template is made for, with our changes.
ensure_evcxr() {
    [ -x "$CARGO_BIN/evcxr_jupyter" ] && cargo install --list | grep -q "^evcxr_jupyter v$EVCXR_CHANGED " && return
    say "building evcxr_jupyter $EVCXR_CHANGED, once per user: about 270 crates, ten minutes on two cores"
    local folder status=0
    folder="$(mktemp -d)"
    # Not in the checkout's target folder: its settings are not ours.
    change_evcxr "$folder" && (cd / && env -u CARGO_TARGET_DIR -u RUSTFLAGS \
        cargo install --path "$folder/evcxr_jupyter" --locked --force --quiet) || status=$?
    rm -rf "$folder"
    return $status
}

# Puts the sources of evcxr_jupyter, evcxr and the sockets between into a folder, with our changes in them.
change_evcxr() {
    local sources="${CARGO_HOME:-$HOME/.cargo}/registry/src" crate published
    for crate in "evcxr@$EVCXR_VERSION" "evcxr_jupyter@$EVCXR_VERSION" "zeromq@$ZEROMQ_VERSION"; do
        # To tell of a crate, cargo downloads it.
        (cd / && cargo info --quiet "$crate" >/dev/null) || return
        published="$(find "$sources" -mindepth 2 -maxdepth 2 -name "${crate/@/-}" -print -quit)"
        [ -n "$published" ] && cp -r "$published" "$1/${crate%@*}" || return
    done
    (cd "$1" && git apply "$ROOT/scripts/evcxr.patch")
}

# The program that makes pages of Markdown, for scripts/book.
ensure_mdbook() {
    [ -x "$CARGO_BIN/mdbook" ] && cargo install --list | grep -qx "mdbook v$MDBOOK_VERSION:" && return
    say "building mdbook $MDBOOK_VERSION, once per user: some minutes"
    (cd / && env -u CARGO_TARGET_DIR -u RUSTFLAGS cargo install mdbook --version "$MDBOOK_VERSION" \
        --no-default-features --features search --locked --force --quiet)
}

# The kernel "Rust (CryptGPU)": its warm template, and its entry among the kernels of our Jupyter.
ensure_kernel() {
    ensure_png && "$ROOT/scripts/kernel-template" && ensure_kernelspec && ensure_lab_settings
}

# Only the Jupyter of this virtual environment sees it. Party processes of a notebook run the optimised program.
# An interrupt is a signal to the kernel's processes, which end a run by it and keep their variables (`cryptgpu::interrupt`);
# the message that evcxr knows instead would kill the process of the cells.
ensure_kernelspec() {
    local spec="$VENV/share/jupyter/kernels/$KERNEL_NAME"
    mkdir -p "$spec"
    cat >"$spec/kernel.json.new" <<EOF
{
  "argv": ["$ROOT/scripts/kernel", "{connection_file}"],
  "display_name": "Rust (CryptGPU)",
  "language": "rust",
  "interrupt_mode": "signal",
  "env": {"CRYPTGPU_CACHE": "$CACHE", "CRYPTGPU_PROGRAM": "$(program)"}
}
EOF
    mv "$spec/kernel.json.new" "$spec/kernel.json"
}

# The JupyterLab of this virtual environment asks nobody outside for anything: no news and no question about them, no search
# for a newer version, no list of extensions.
ensure_lab_settings() {
    local settings="$VENV/share/jupyter/lab/settings"
    mkdir -p "$settings" "$VENV/etc/jupyter"
    cat >"$settings/overrides.json" <<'EOF'
{
  "@jupyterlab/apputils-extension:notification": {"fetchNews": "false", "checkForUpdates": false},
  "@jupyterlab/extensionmanager-extension:plugin": {"enabled": false}
}
EOF
    cat >"$VENV/etc/jupyter/jupyter_lab_config.json" <<'EOF'
{
  "LabApp": {
    "news_url": null,
    "check_for_updates_class": "jupyterlab.handlers.announcements.NeverCheckForUpdate",
    "extension_manager": "readonly"
  }
}
EOF
}

# The settings of evcxr's own crate, which hold for its dependencies too.
evcxr_profile() {
    cat <<'EOF'
[profile.dev]
opt-level = 1
debug = false
strip = "debuginfo"
rpath = true
lto = false
debug-assertions = true
codegen-units = 16
panic = 'unwind'
incremental = true
overflow-checks = true
EOF
}

# evcxr_manifest DEPENDENCY…: the manifest that evcxr writes for its crate.
evcxr_manifest() {
    printf '[package]\nname = "ctx"\nversion = "1.0.0"\nedition = "2024"\n\n'
    printf '[lib]\ncrate-type = ["cdylib"]\npath = "src/lib.rs"\n\n'
    evcxr_profile
    printf '\n[dependencies]\n'
    printf '%s\n' "$@"
}

# notebook_cargo COMMAND [ARGUMENT…]: cargo on the notebook crates, with the kernel's profile and in the kernel's build folder,
# so that polars is built once for the kernel, the lints, the documentation and the tests.
notebook_cargo() {
    local host
    host="$(rustc -vV | sed -n 's/^host: //p')"
    evcxr_profile >"$KERNEL/profile.toml"
    (cd "$ROOT" && CARGO_TARGET_DIR="$KERNEL/build/target" RUSTFLAGS="$EVCXR_RUSTFLAGS" \
        RUSTDOCFLAGS="$EVCXR_RUSTFLAGS ${RUSTDOCFLAGS:-}" LD_LIBRARY_PATH="$(rustc --print target-libdir)" cargo "$1" --locked --target "$host" \
        --config "$KERNEL/.cargo/config.toml" --config "$KERNEL/profile.toml" \
        --package cryptgpu-notebook --package cryptgpu --package cryptgpu-frame "${@:2}")
}
