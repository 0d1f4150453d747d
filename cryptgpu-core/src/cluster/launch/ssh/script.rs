//! What a host does before its party starts: a shell script that says what the host is, takes the files that it lacks,
//! each checked by its digest, and becomes the party. Its own lines begin with [`MARK`]; all others come from the login
//! and are left out.

use super::shipment::Shipment;
use crate::cluster::wire::hosts::Host;

/// What each line of the script begins with.
pub(super) const MARK: &str = "\u{1e}cryptgpu ";

/// The first part, which is the same everywhere. `take PATH DIGEST BYTES` gets a file into the cache.
const PREAMBLE: &str = r#"umask 077
LC_ALL=C; export LC_ALL
say() { printf '\036cryptgpu %s\n' "$*"; }
fail() { say failed "$@"; exit 3; }
sum() { sha256sum <"$1" | cut -c1-64; }
say system "$(uname -s)"
say machine "$(uname -m)"
say libc "$(getconf GNU_LIBC_VERSION 2>/dev/null || echo none)"
say reached "${SSH_CONNECTION:-}"
say pid "$$"
cache="${XDG_CACHE_HOME:-$HOME/.cache}/cryptgpu"
trap 'exit 1' HUP INT TERM PIPE
take() {
    to="$cache/$1"; part="$to.part.$$"
    if [ -f "$to" ] && [ "$(sum "$to")" = "$2" ]; then touch "${to%/*}"; return; fi
    why="$(mkdir -p "${to%/*}" 2>&1)" || fail folder "$why"
    free="$(df -Pk "${to%/*}" 2>/dev/null | tail -n 1 | tr -s ' ' | cut -d ' ' -f 4)"
    case "$free" in '' | *[!0-9]*) ;; *) [ "$free" -gt "$(($3 / 1024))" ] || fail space "$free" "${to%/*}" ;; esac
    trap 'rm -f "$part"' EXIT
    say need "$1"
    why="$( (head -c "$3" >"$part") 2>&1)" || fail write "${why:-a limit on the size of files}"
    [ "$(sum "$part")" = "$2" ] || fail digest "$to"
    why="$( (chmod 700 "$part" && mv -f "$part" "$to") 2>&1)" || fail write "$why"
    trap - EXIT
}
"#;

/// Versions that nobody has started for a month, and what an interrupted copy has left, go.
const CLEAN: &str = r#"find "$cache/bin" "$cache/lib" -mindepth 1 -maxdepth 1 -type d -mtime +30 -exec rm -rf {} + 2>/dev/null
find "$cache/bin" "$cache/lib" -name '*.part.*' -mmin +60 -exec rm -f {} + 2>/dev/null
"#;

/// The script for a host: what it becomes in the end is the shipment's program with its arguments.
pub(super) fn write(host: &Host, shipment: &Shipment) -> String {
    let mut script = PREAMBLE.to_owned();
    for file in &shipment.files {
        script += &format!("take {} {} {}\n", quote(&file.to), file.digest, file.len);
    }
    if !shipment.files.is_empty() {
        script += CLEAN;
    }
    if let Some(data) = &host.data {
        let data = path(data);
        script += &format!("[ -d {data} ] || fail data {data}\nCRYPTGPU_DATASETS={data}; export CRYPTGPU_DATASETS\n");
    }
    let program = match (&host.program, &shipment.program) {
        (Some(there), _) => path(there),
        (None, copied) => cached(copied),
    };
    script += &format!("[ -x {program} ] || fail program {program}\nsay start\nexec {program}");
    for argument in &shipment.arguments {
        script += &format!(" {}", quote(argument));
    }
    for (library, to) in &shipment.libraries {
        // The argument ends with the path, which only the host knows.
        script += &format!(" --runtime {}{}", quote(library), cached(to));
    }
    script + "\n"
}

/// The command that runs a script of so many bytes, which come by standard input, and reads no byte behind it. Shells of
/// all kinds understand it.
pub(super) fn command(len: usize) -> String {
    format!("exec sh -c 'eval \"$(dd bs=1 count={len} 2>/dev/null)\"'")
}

fn cached(to: &str) -> String {
    format!("\"$cache\"/{}", quote(to))
}

/// A path of the host, which may begin at the home folder.
fn path(there: &str) -> String {
    match there.strip_prefix("~/") {
        Some(rest) => format!("\"$HOME\"/{}", quote(rest)),
        None => quote(there),
    }
}

fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_caller_names_stays_one_word() {
        let host = Host { program: Some("~/it's; here".into()), data: Some("/d $(x)".into()), ..Host::default() };
        let script = write(&host, &Shipment { arguments: vec!["party".into()], ..Shipment::default() });
        assert!(script.ends_with("say start\nexec \"$HOME\"/'it'\\''s; here' 'party'\n"), "{script}");
        assert!(script.contains("CRYPTGPU_DATASETS='/d $(x)'; export"), "{script}");
        let shell = std::process::Command::new("sh").args(["-n", "-c", &script]).status().unwrap();
        assert!(shell.success());
    }
}
