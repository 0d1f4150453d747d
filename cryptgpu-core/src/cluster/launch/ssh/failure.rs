//! What went wrong at a host, in words: what SSH, the script or the host's loader said becomes one error that names the
//! host and says what to do.

use crate::cluster::party::serve::SERVE_ARGUMENT;
use crate::cluster::wire::error::ClusterError;
use crate::net::PartyId;

/// Which host, for errors.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) party: PartyId,
    pub(super) host: String,
}

impl Place {
    pub(super) fn error(&self, action: &str, detail: &str, hint: &str) -> ClusterError {
        ClusterError::Host {
            party: self.party,
            host: self.host.clone(),
            action: action.to_owned(),
            detail: detail.to_owned(),
            hint: hint.to_owned(),
        }
    }

    /// SSH ended before the host said a word: `log` is what it printed.
    pub(super) fn no_login(&self, status: &str, log: &[String]) -> ClusterError {
        let text = log.join("\n");
        let says = |words: &str| text.contains(words);
        let host = &self.host;
        // Not the lines that only say that the sky falls.
        let bare = |line: &&String| !line.trim().is_empty() && !line.starts_with('@');
        let last = log.iter().rev().find(bare).cloned().unwrap_or_else(|| format!("ssh ended ({status})"));
        // The end of a long warning, whose beginning the log may have lost.
        if says("has changed and you have requested strict checking") {
            // Debian's says itself which entry is to go.
            let entry = log.iter().map(|line| line.trim()).find(|line| line.starts_with("ssh-keygen"));
            let name = host.rsplit('@').next().unwrap_or(host);
            let remove = entry.map_or_else(|| format!("ssh-keygen -R {name}"), str::to_owned);
            return self.error(
                "log in",
                "its host key is another one than before",
                &format!(
                    "If the host was set up anew, remove the old key (`{remove}`) and compare the new one; if not, somebody \
                     may be in between, and nothing was sent"
                ),
            );
        }
        if says("Host key verification failed") || says("host key is known") {
            let hint = format!("Connect once by hand (`ssh {host}`) and compare the fingerprint that it shows");
            return self.error("log in", "its host key is not known here", &hint);
        }
        if says("Permission denied") || says("Too many authentication failures") {
            let hint = format!(
                "`ssh {host} true` must work without a question: put your key into the agent (ssh-add) or name it in \
                 ~/.ssh/config, and its public half into ~/.ssh/authorized_keys there"
            );
            return self.error("log in", &last, &hint);
        }
        if says("Could not resolve hostname") {
            return self.error("find it", &last, "Is the name right, and known to this machine or to ~/.ssh/config?");
        }
        if says("Connection refused") {
            return self.error("connect", &last, "Does an SSH server run there, on this port?");
        }
        if says("timed out") || says("No route to host") || says("unreachable") {
            return self.error("connect", &last, "Is the host up, and does a firewall let SSH through?");
        }
        self.error("log in", &last, &format!("Does `ssh {host} true` work?"))
    }

    /// The script said that it cannot go on: a word of what it was about, and what is known.
    pub(super) fn refused(&self, what: &str, detail: &str) -> ClusterError {
        let make_room = "Make room there, or name a program that is there already (`program` in the cluster file)";
        match what {
            "space" => {
                let (free, folder) = detail.split_once(' ').unwrap_or((detail, "its cache"));
                self.error(
                    "copy the program",
                    &format!("no space is left in {folder} ({free} KiB are free)"),
                    make_room,
                )
            }
            "write" if ["No space", "too large", "limit", "quota"].iter().any(|words| detail.contains(words)) => {
                self.error("copy the program", detail, make_room)
            }
            "write" | "folder" => self.error(
                "copy the program",
                detail,
                "Its cache is $XDG_CACHE_HOME, or ~/.cache: may you write there?",
            ),
            "digest" => {
                let detail = format!("what arrived at {detail} is not what was sent");
                self.error("copy the program", &detail, "Does the host have sha256sum and head? Try again")
            }
            "program" => {
                let detail = format!("{detail} is not there, or is no program");
                self.error("start the party", &detail, "Correct `program` in the cluster file, or leave it out")
            }
            "data" => self.error(
                "find its data",
                &format!("the folder {detail} is not there"),
                "Correct `data` in the cluster file, or put the data sets there (scripts/fetch-datasets)",
            ),
            _ => self.error(what, detail, "This is a mistake in the program: please report it"),
        }
    }

    /// The party's process ended before it spoke to its controller.
    pub(super) fn no_party(&self, status: &str, log: &[String]) -> ClusterError {
        let text = log.join("\n");
        let detail = log.last().map_or_else(|| format!("it ended ({status})"), |last| format!("{last} ({status})"));
        let hint = if text.contains("the controller speaks") {
            "The program there is of another version: leave out `program` in the cluster file, and this one is copied"
        } else if text.contains(SERVE_ARGUMENT) {
            "The parties of a caller that serves its own functions are that very program: name it (`program` in the cluster \
             file), or leave `program` out"
        } else if text.contains("GLIBC_") {
            "Its C library is too old for this program: build the program there, and name it (`program` in the cluster file)"
        } else if text.contains("Permission denied") || text.contains("Exec format") {
            "Can programs be run from that folder (is it mounted noexec), and is this one built for that machine?"
        } else {
            "Does the program start there by hand, and is there memory left?"
        };
        self.error("start the party", &detail, hint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ssh_says_becomes_an_error_that_says_what_to_do() {
        let place = Place { party: PartyId::P1, host: "bob@h1".into() };
        for (said, words) in [
            ("bob@h1: Permission denied (publickey).", "authorized_keys"),
            ("No ED25519 host key is known for h1 and you have requested strict checking.", "compare the fingerprint"),
            (
                "Host key for h1 has changed and you have requested strict checking.\nHost key verification failed.",
                "`ssh-keygen -R h1`",
            ),
            ("ssh: connect to host h1 port 22: Connection refused", "SSH server"),
            ("ssh: connect to host h1 port 22: Connection timed out", "firewall"),
            ("ssh: Could not resolve hostname h1: Name or service not known", "name right"),
            ("kex_exchange_identification: what is this", "kex_exchange"),
        ] {
            let lines: Vec<String> = said.lines().map(str::to_owned).collect();
            let error = place.no_login("exit status: 255", &lines);
            assert!(error.to_string().contains(words) && error.to_string().contains("party 1 on bob@h1"), "{error}");
            assert_eq!(error.party(), Some(PartyId::P1));
        }
        let error = place.refused("space", "17 /home/bob/.cache").to_string();
        assert!(error.contains("17 KiB") && error.contains("/home/bob/.cache"), "{error}");
        let log = ["cannot be a party: the controller speaks `cryptgpu 2`, this program `cryptgpu 1`".to_owned()];
        assert!(place.no_party("exit status: 1", &log).to_string().contains("another version"));
    }
}
