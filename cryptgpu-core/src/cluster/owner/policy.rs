//! A party's policy: who may ask for runs, which programs, networks and functions, which files are read and written, and
//! what is revealed to whom, how often. What no line allows is refused, and a refusal names the line that would have to
//! allow it.

use super::error::OwnerError;
use super::lines::Lines;
use super::rule::{RevealLines, Rule};
use crate::cluster::party::gate::{Asked, Asks, Disclosure, Refusal, Source, What};
use crate::cluster::wire::message::CALL;
use crate::cluster::wire::text::hex;
use crate::net::Fingerprint;
use crate::prg::Randomness;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use std::ops::Range;
use std::path::{Path, PathBuf};
use toml::Spanned;

/// What an owner allows, as its file says.
///
/// ```toml
/// [[caller]]
/// name = "lab"
/// fingerprint = "…"                  # of the caller's certificate
///
/// [allow]
/// programs = ["inference"]           # inference, training, accuracy, saving, self-test, or names of jobs
/// networks = ["lenet"]               # of the zoo, or digests
/// functions = []                     # digests
/// adhoc = false                      # functions of any digest: the caller's machine code
///
/// [inputs]
/// files = ["weights/"]               # a folder with all that is in it, or a file
///
/// [outputs]
/// folders = []
///
/// [limits]
/// code_mib = 256                     # of the caller's code, in a session
/// handles_mib = 16384                # of what is held for the caller's handles
///
/// [[reveal]]
/// what = "scores"                    # scores, accuracy, loss, weights, range, result
/// of = "lenet"                       # left out: of anything
/// to = "caller"                      # caller, the name of one, "party 0", all
/// per_run = 10
/// per_day = 1000
/// ```
#[derive(Clone, Debug)]
pub struct Policy {
    lines: Lines,
    callers: Vec<Caller>,
    file: File,
    rules: Vec<Rule>,
}

/// Somebody who may ask for runs.
#[derive(Clone, Debug)]
pub(in crate::cluster) struct Caller {
    pub(in crate::cluster) name: String,
    pub(in crate::cluster) fingerprint: Fingerprint,
}

/// Whether a rule covers something that was revealed.
pub(super) type Covered<'a> = dyn Fn(&Disclosure) -> bool + 'a;

/// How often something that is covered was revealed today.
pub(super) type Spent<'a> = dyn Fn(&Covered<'_>) -> u64 + 'a;

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    caller: Vec<CallerLines>,
    allow: Option<Spanned<Allow>>,
    inputs: Option<Spanned<Inputs>>,
    outputs: Option<Spanned<Outputs>>,
    limits: Option<Spanned<Limits>>,
    #[serde(default)]
    reveal: Vec<Spanned<RevealLines>>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct CallerLines {
    name: Spanned<String>,
    fingerprint: Spanned<String>,
}

type List = Option<Spanned<Vec<String>>>;

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Allow {
    programs: List,
    networks: List,
    functions: List,
    adhoc: Option<Spanned<bool>>,
    insecure_randomness: Option<Spanned<bool>>,
    notices: Option<Spanned<bool>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Inputs {
    files: List,
    sets: List,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Outputs {
    folders: List,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Limits {
    code_mib: Option<Spanned<u64>>,
    handles_mib: Option<Spanned<u64>>,
}

/// Limits where the file names none.
const CODE_MIB: u64 = 256;
const HANDLES_MIB: u64 = 16 << 10;

/// The jobs of a program that policies name; another name is a job's own.
fn jobs_of(program: &str) -> &[&str] {
    match program {
        "inference" => &["load-model", "infer"],
        "accuracy" => &["load-model", "open-dataset", "accuracy"],
        "training" => &["open-dataset", "train", "accuracy", "export-model", "find-checkpoints"],
        "saving" => &["save", "load-saved", "find-saved", "delete-saved"],
        _ => &[],
    }
}

/// Jobs that are part of every program: what they reveal has lines of its own.
const ALWAYS: [&str; 3] = ["share", "reveal", "reveal-to"];

impl Policy {
    /// The policy in a file.
    ///
    /// # Errors
    /// [`OwnerError::Io`]; [`OwnerError::Line`] for a line that cannot be used.
    pub fn read(path: &Path) -> Result<Self, OwnerError> {
        let (lines, file) = Lines::read(path)?;
        Policy::of(lines, file)
    }

    /// The policy of a file's text.
    pub(super) fn parse(path: &Path, text: String) -> Result<Self, OwnerError> {
        let (lines, file) = Lines::parse(path, text)?;
        Policy::of(lines, file)
    }

    fn of(lines: Lines, file: File) -> Result<Self, OwnerError> {
        let mut callers: Vec<Caller> = vec![];
        for caller in &file.caller {
            let (name, fingerprint) = (caller.name.get_ref().clone(), lines.fingerprint(&caller.fingerprint)?);
            if callers.iter().any(|other| other.name == name || other.fingerprint == fingerprint) {
                return Err(lines.error(&caller.name.span(), "another caller has this name or fingerprint"));
            }
            callers.push(Caller { name, fingerprint });
        }
        let is_caller = |name: &str| callers.iter().any(|caller| caller.name == name);
        let rules = file.reveal.iter().map(|rule| Rule::read(rule, &lines, is_caller)).collect::<Result<_, _>>()?;
        Ok(Policy { lines, callers, file, rules })
    }

    /// A digest of the file's text, for the audit log.
    pub(super) fn digest(&self) -> String {
        hex(Sha256::digest(self.lines.text()))
    }

    /// Those who may ask for runs.
    pub(in crate::cluster) fn callers(&self) -> &[Caller] {
        &self.callers
    }

    /// Whether masks may be drawn from this.
    pub(super) fn admit_randomness(&self, randomness: Randomness) -> Result<(), Refusal> {
        let allow = self.allow();
        match randomness {
            Randomness::InsecurePhilox if !is_on(allow.insecure_randomness.as_ref()) => {
                let span = allow.insecure_randomness.as_ref().map(Spanned::span);
                Err(self.refuse(span, "insecure_randomness", "draw masks that protect nothing (insecure-philox)"))
            }
            _ => Ok(()),
        }
    }

    /// Whether what the party notices about its own data may go to the caller.
    pub(super) fn tells_notices(&self) -> bool {
        is_on(self.allow().notices.as_ref())
    }

    /// Whether a job of that name is run at all.
    pub(super) fn admit_name(&self, job: &str) -> Result<(), Refusal> {
        let Allow { programs, functions, adhoc, .. } = self.allow();
        if ALWAYS.contains(&job) {
            return Ok(());
        }
        if job == CALL {
            let any = functions.as_ref().is_some_and(|list| !list.get_ref().is_empty()) || is_on(adhoc.as_ref());
            return match any {
                true => Ok(()),
                false => Err(self.refuse(functions.as_ref().map(Spanned::span), "functions", "run a function")),
            };
        }
        let names = |program: &String| program == job || jobs_of(program).contains(&job);
        match programs.as_ref().is_some_and(|list| list.get_ref().iter().any(names)) {
            true => Ok(()),
            false => {
                Err(self.refuse(programs.as_ref().map(Spanned::span), "programs", &format!("run the job `{job}`")))
            }
        }
    }

    /// Whether so much of the caller's code is kept in a session.
    pub(super) fn admit_code(&self, bytes: u64) -> Result<(), Refusal> {
        let limit = self.limits().code_mib;
        self.admit_size(bytes, limit.as_ref(), CODE_MIB, "code_mib", "keep that much of the caller's code")
    }

    /// Whether so much is held for the caller's handles.
    pub(super) fn admit_held(&self, bytes: u64) -> Result<(), Refusal> {
        let limit = self.limits().handles_mib;
        self.admit_size(bytes, limit.as_ref(), HANDLES_MIB, "handles_mib", "hold that much for the caller's handles")
    }

    fn admit_size(
        &self,
        bytes: u64,
        line: Option<&Spanned<u64>>,
        usual: u64,
        key: &str,
        asked: &str,
    ) -> Result<(), Refusal> {
        let limit = line.map_or(usual, |limit| *limit.get_ref());
        if bytes <= limit.saturating_mul(1 << 20) {
            return Ok(());
        }
        let asked = format!("{asked}: {} MiB, of {limit}", bytes.div_ceil(1 << 20));
        let section = self.file.limits.as_ref().map(Spanned::span);
        Err(self.refuse_in("limits", section, line.map(Spanned::span), key, &asked))
    }

    fn limits(&self) -> Limits {
        self.file.limits.as_ref().map(|limits| limits.get_ref().clone()).unwrap_or_default()
    }

    /// Whether a job may do what it asks for. `spent` says how often something that a rule allows was revealed today.
    pub(super) fn admit(&self, caller: &str, asks: &Asks, spent: &Spent<'_>) -> Result<(), Refusal> {
        asks.network.iter().try_for_each(|network| self.admit_network(network))?;
        asks.function.iter().try_for_each(|function| self.admit_function(function))?;
        asks.reads.iter().try_for_each(|source| self.admit_source(source))?;
        asks.writes.iter().try_for_each(|path| self.admit_output(path))?;
        asks.reveals.iter().try_for_each(|reveal| self.admit_reveal(caller, reveal, &asks.reveals, spent))
    }

    fn allow(&self) -> Allow {
        self.file.allow.as_ref().map(|allow| allow.get_ref().clone()).unwrap_or_default()
    }

    fn admit_network(&self, network: &Asked) -> Result<(), Refusal> {
        let allow = self.allow();
        let listed = |list: &Spanned<Vec<String>>| {
            list.get_ref().iter().any(|entry| Some(entry) == network.zoo.as_ref() || *entry == network.digest)
        };
        if allow.networks.as_ref().is_some_and(listed) {
            return Ok(());
        }
        let known = match &network.zoo {
            Some(name) => format!("compute with the network {name}"),
            None => format!(
                "compute with this network, which calls itself `{}` and has the digest {}",
                network.name, network.digest
            ),
        };
        Err(self.refuse(allow.networks.as_ref().map(Spanned::span), "networks", &known))
    }

    fn admit_function(&self, function: &Asked) -> Result<(), Refusal> {
        let allow = self.allow();
        let is_it = |entry: &String| *entry == function.digest || Some(entry) == function.object.as_ref();
        let listed = |list: &Spanned<Vec<String>>| list.get_ref().iter().any(is_it);
        if is_on(allow.adhoc.as_ref()) || allow.functions.as_ref().is_some_and(listed) {
            return Ok(());
        }
        let object = function.object.as_ref().map(|object| format!(", in an object with the digest {object}"));
        let asked = format!(
            "run this function, which calls itself `{}` and has the digest {}{}",
            function.name,
            function.digest,
            object.unwrap_or_default()
        );
        Err(self.refuse(allow.functions.as_ref().map(Spanned::span), "functions", &asked))
    }

    fn admit_source(&self, source: &Source) -> Result<(), Refusal> {
        let inputs = self.file.inputs.as_ref().map(|inputs| inputs.get_ref().clone()).unwrap_or_default();
        let (list, key, known) = match source {
            // Anyone has these.
            Source::Program(_) => return Ok(()),
            Source::Set(name) => {
                let known = |list: &Spanned<Vec<String>>| list.get_ref().contains(name);
                let listed = inputs.sets.as_ref().is_some_and(known);
                (inputs.sets, "sets", listed)
            }
            Source::File(path) => {
                let listed = inputs.files.as_ref().is_some_and(|list| self.holds(list.get_ref(), path));
                (inputs.files, "files", listed)
            }
        };
        match known {
            true => Ok(()),
            false => {
                let span = list.as_ref().map(Spanned::span);
                let section = self.file.inputs.as_ref().map(Spanned::span);
                Err(self.refuse_in("inputs", section, span, key, &format!("read {source}")))
            }
        }
    }

    fn admit_output(&self, path: &Path) -> Result<(), Refusal> {
        let outputs = self.file.outputs.as_ref().map(|outputs| outputs.get_ref().clone()).unwrap_or_default();
        if outputs.folders.as_ref().is_some_and(|list| self.holds(list.get_ref(), path)) {
            return Ok(());
        }
        let (span, section) = (outputs.folders.map(|list| list.span()), self.file.outputs.as_ref().map(Spanned::span));
        Err(self.refuse_in("outputs", section, span, "folders", &format!("write {}", path.display())))
    }

    /// Whether a path is an entry of a list, or lies in a folder that is: by where it leads, whatever links are on the way.
    fn holds(&self, entries: &[String], path: &Path) -> bool {
        let Some(real) = real_path(path) else { return false };
        let entry = |entry: &String| self.lines.beside(Path::new(entry)).canonicalize().ok();
        entries.iter().filter_map(entry).any(|entry| real == entry || (entry.is_dir() && real.starts_with(&entry)))
    }

    fn admit_reveal(
        &self,
        caller: &str,
        reveal: &Disclosure,
        all: &[Disclosure],
        spent: &Spent<'_>,
    ) -> Result<(), Refusal> {
        if reveal.what == What::Own {
            return Ok(());
        }
        let Some(rule) = self.rules.iter().find(|rule| rule.covers(caller, reveal)) else {
            let name = self.lines.place(&(0..0));
            let file = name.split(',').next().unwrap_or_default().to_owned();
            let lines: Vec<String> = self.rules.iter().map(|rule| self.lines.line(&rule.span).to_string()).collect();
            let rules = match lines.as_slice() {
                [] => "it has no [[reveal]]".to_owned(),
                [one] => format!("the [[reveal]] of line {one} does not cover it"),
                more => format!("none of the [[reveal]] of lines {} covers it", more.join(", ")),
            };
            return Err(Refusal(format!("{file} does not allow to reveal {reveal}: {rules}")));
        };
        let covered = |other: &Disclosure| rule.covers(caller, other);
        let times: u64 = all.iter().filter(|other| covered(other)).map(|other| other.times).sum();
        let place = self.lines.place(&rule.span);
        if let Some(limit) = rule.per_run.filter(|limit| times > *limit) {
            return Err(Refusal(format!("{place} does not allow to reveal {reveal} in one run: `per_run = {limit}`")));
        }
        let Some(limit) = rule.per_day else { return Ok(()) };
        let before = spent(&covered);
        match before.saturating_add(times) > limit {
            true => Err(Refusal(format!(
                "{place} does not allow to reveal {reveal}: `per_day = {limit}`, and {before} were revealed in the last 24 hours"
            ))),
            false => Ok(()),
        }
    }

    fn refuse(&self, span: Option<Range<usize>>, key: &str, asked: &str) -> Refusal {
        self.refuse_in("allow", self.file.allow.as_ref().map(Spanned::span), span, key, asked)
    }

    /// The line of the key, or of its section, or that there is none.
    fn refuse_in(
        &self,
        section: &str,
        section_span: Option<Range<usize>>,
        span: Option<Range<usize>>,
        key: &str,
        asked: &str,
    ) -> Refusal {
        let why = match (span, section_span) {
            (Some(span), _) => format!("{} (`{key}`)", self.lines.place(&span)),
            (None, Some(span)) => format!("{} (`[{section}]`, which has no `{key}`)", self.lines.place(&span)),
            (None, None) => {
                let name = self.lines.place(&(0..0));
                format!("{}, which has no `[{section}]`,", name.split(',').next().unwrap_or_default())
            }
        };
        Refusal(format!("{why} does not allow to {asked}"))
    }
}

fn is_on(flag: Option<&Spanned<bool>>) -> bool {
    flag.is_some_and(|flag| *flag.get_ref())
}

/// Where a path leads; of a file that is not there yet, where it would be.
fn real_path(path: &Path) -> Option<PathBuf> {
    path.canonicalize().ok().or_else(|| {
        let folder = match path.parent() {
            Some(folder) if folder.as_os_str().is_empty() => Path::new("."),
            Some(folder) => folder,
            None => return None,
        };
        Some(folder.canonicalize().ok()?.join(path.file_name()?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::party::gate::To;
    use crate::net::PartyId;
    use crate::nn::{Graph, WeightSource, zoo};
    use cryptgpu_datasets::{Collection, ImageSet, Split};

    const TEXT: &str = r#"[[caller]]
name = "lab"
fingerprint = "LAB"

[allow]
programs = ["inference", "tally"]
networks = ["lenet"]
functions = ["FUNCTION"]

[inputs]
files = ["weights/", "labels.idx"]
sets = ["mnist-test"]

[outputs]
folders = ["out"]

[[reveal]]
what = "scores"
of = "lenet"
to = "caller"
per_run = 10
per_day = 25

[[reveal]]
what = "weights"
to = "party 1"
"#;

    /// A folder with the policy, and beside it what it names.
    fn folder() -> (tempfile::TempDir, Policy) {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for name in ["weights", "out", "private"] {
            std::fs::create_dir(at(name)).unwrap();
        }
        for name in ["weights/lenet.safetensors", "labels.idx", "private/other.idx"] {
            std::fs::write(at(name), "").unwrap();
        }
        std::os::unix::fs::symlink(at("private/other.idx"), at("weights/link")).unwrap();
        let text = TEXT.replace("LAB", &"ab".repeat(32)).replace("FUNCTION", &"07".repeat(32));
        std::fs::write(at("policy.toml"), text).unwrap();
        let policy = Policy::read(&at("policy.toml")).unwrap();
        (folder, policy)
    }

    fn refused(policy: &Policy, asks: Asks, spent: u64) -> String {
        policy.admit("lab", &asks, &|_| spent).err().map(|refusal| refusal.0).unwrap_or_default()
    }

    #[test]
    fn what_no_line_allows_is_refused_by_the_line_that_would_have_to() {
        let (folder, policy) = folder();
        for job in ["load-model", "infer", "tally", "share", "reveal", "reveal-to", "call"] {
            assert_eq!(policy.admit_name(job), Ok(()), "{job}");
        }
        let refusal = policy.admit_name("train").unwrap_err().0;
        assert_eq!(refusal, "policy.toml, line 6 (`programs`) does not allow to run the job `train`");
        let lenet = zoo::by_name("lenet").unwrap();
        assert_eq!(refused(&policy, Asks::default().network(&lenet), 0), "");
        // Another network by that name, and another one of the zoo.
        let mut other = Graph::builder("lenet", [1, 28, 28]);
        let input = other.input();
        let other = other.flatten("flatten", input).and_then(|flat| other.finish(flat)).unwrap();
        for (network, says) in [(&other, "digest"), (&zoo::by_name("vgg16-cifar10").unwrap(), "vgg16-cifar10")] {
            let refusal = refused(&policy, Asks::default().network(network), 0);
            assert!(refusal.contains("line 7 (`networks`)") && refusal.contains(says), "{refusal}");
        }
        for (digest, object) in [(7, None), (9, Some([7; 32]))] {
            assert_eq!(refused(&policy, Asks::default().function("f", [digest; 32], object), 0), "");
        }
        let refusal = refused(&policy, Asks::default().function("f", [8; 32], Some([9; 32])), 0);
        assert!(refusal.contains("line 8 (`functions`)") && refusal.contains(&"08".repeat(32)), "{refusal}");
        let at = |name: &str| folder.path().join(name);
        for path in ["weights/lenet.safetensors", "labels.idx", "weights/missing", "weights/../labels.idx"] {
            assert_eq!(refused(&policy, Asks::default().reads_file(at(path)), 0), "", "{path}");
        }
        for path in ["private/other.idx", "weights/link", "weights/../private/other.idx", "policy.toml", "none/x"] {
            let refusal = refused(&policy, Asks::default().reads_file(at(path)), 0);
            assert!(refusal.contains("line 11 (`files`)"), "{path}: {refusal}");
        }
        let mnist = |split| ImageSet::Downloaded(Collection::Mnist, split);
        let pictures = |name: &str| {
            let (folder, shape, preprocessing) = (at(name), [3, 8, 8], "unit".to_owned());
            ImageSet::Folder { folder, shape, preprocessing }
        };
        assert_eq!(refused(&policy, Asks::default().reads_images(&pictures("weights")), 0), "");
        assert!(refused(&policy, Asks::default().reads_images(&pictures("private")), 0).contains("line 11 (`files`)"));
        assert_eq!(refused(&policy, Asks::default().reads_images(&mnist(Split::Test)), 0), "");
        assert!(refused(&policy, Asks::default().reads_images(&mnist(Split::Train)), 0).contains("line 12 (`sets`)"));
        assert_eq!(refused(&policy, Asks::default().reads_weights(&WeightSource::Bundled), 0), "");
        assert_eq!(refused(&policy, Asks::default().writes(at("out/new.safetensors")), 0), "");
        assert!(refused(&policy, Asks::default().writes(at("labels.idx")), 0).contains("line 15 (`folders`)"));
    }

    #[test]
    fn what_is_kept_for_a_caller_is_bounded_by_a_line_or_as_usual() {
        let (_folder, policy) = folder();
        let mib = 1 << 20;
        assert!(policy.admit_code(CODE_MIB * mib).is_ok() && policy.admit_held(HANDLES_MIB * mib).is_ok());
        let refusal = policy.admit_code(CODE_MIB * mib + 1).unwrap_err().0;
        let says = "policy.toml, which has no `[limits]`, does not allow to keep that much of the caller's code: 257 MiB, of 256";
        assert_eq!(refusal, says);
        let text = "[limits]\nhandles_mib = 1".to_owned();
        let policy = Policy::parse(Path::new("policy.toml"), text).unwrap();
        assert!(policy.admit_held(mib).is_ok());
        let refusal = policy.admit_held(mib + 1).unwrap_err().0;
        assert!(refusal.starts_with("policy.toml, line 2 (`handles_mib`) does not allow to hold"), "{refusal}");
    }

    #[test]
    fn what_is_revealed_is_counted_by_run_and_by_day() {
        let (_folder, policy) = folder();
        let scores = |of: &str, to: To, times: u64| Asks::default().reveals(What::Scores, of, to, times);
        assert_eq!(refused(&policy, scores("lenet", To::Caller, 10), 15), "");
        let refusal = refused(&policy, scores("lenet", To::Caller, 11), 0);
        assert!(refusal.contains("line 17") && refusal.contains("`per_run = 10`"), "{refusal}");
        let refusal = refused(&policy, scores("lenet", To::Caller, 10), 16);
        assert!(refusal.contains("line 17") && refusal.contains("`per_day = 25`, and 16 were"), "{refusal}");
        // Several times in one run count together.
        let twice = scores("lenet", To::Caller, 6).reveals(What::Scores, "lenet", To::Caller, 6);
        assert!(refused(&policy, twice, 0).contains("per_run"));
        for asks in [scores("vgg16", To::Caller, 1), scores("lenet", To::Party(PartyId::P1), 1)] {
            let refusal = refused(&policy, asks, 0);
            assert!(refusal.contains("none of the [[reveal]] of lines 17, 24 covers it"), "{refusal}");
        }
        let weights = |party| Asks::default().reveals(What::Weights, "lenet", To::Party(party), 1);
        assert_eq!(refused(&policy, weights(PartyId::P1), 1 << 40), "");
        assert_ne!(refused(&policy, weights(PartyId::P2), 0), "");
        // What the caller has shared itself is nothing new to it.
        assert_eq!(refused(&policy, Asks::default().reveals(What::Own, "the caller", To::Caller, 1), 0), "");
        assert!(policy.admit_randomness(Randomness::InsecurePhilox).unwrap_err().0.contains("line 5 (`[allow]`"));
    }

    #[test]
    fn a_line_that_cannot_be_used_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("policy.toml");
        for (text, line, says) in [
            ("[allow]\nprogramms = []", 2, "programms"),
            ("\n[[caller]]\nname = \"lab\"\nfingerprint = \"ab\"", 4, "64 hexadecimal digits"),
            ("[[reveal]]\nwhat = \"secrets\"\nto = \"caller\"", 2, "secrets"),
            ("[[reveal]]\nwhat = \"loss\"\nto = \"party 3\"", 3, "`party 3` is nobody"),
        ] {
            std::fs::write(&path, text).unwrap();
            let error = Policy::read(&path).unwrap_err();
            assert!(matches!(&error, OwnerError::Line { line: at, .. } if *at == line), "{error}");
            assert!(error.to_string().contains(says), "{error}");
        }
        std::fs::write(&path, "").unwrap();
        let nothing = Policy::read(&path).unwrap();
        let refusal = nothing.admit_name("infer").unwrap_err().0;
        assert_eq!(refusal, "policy.toml, which has no `[allow]`, does not allow to run the job `infer`");
        assert!(nothing.admit_name("call").is_err() && nothing.callers().is_empty());
    }
}
