//! `docs/security.md` names a test for each claim. Here its names are held against the sources, so that a test that is
//! renamed or goes takes its claim along.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The source of a file that is named from the crate or from the root.
fn source(name: &str) -> Option<String> {
    [Path::new(env!("CARGO_MANIFEST_DIR")), &root()].iter().find_map(|at| std::fs::read_to_string(at.join(name)).ok())
}

/// What stands between backticks.
fn code(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// What is wrong with a row's tests.
fn complain(tests: &str) -> Vec<String> {
    let (mut file, mut wrong) = (None, vec![]);
    for name in code(tests) {
        let function = name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
        if name.ends_with(".rs") {
            file = source(name).filter(|source| source.contains("#[test]") || source.contains("fn "));
            wrong.extend(file.is_none().then(|| format!("no file {name}")));
        } else if function && !file.as_ref().is_some_and(|source| source.contains(&format!("fn {name}("))) {
            wrong.push(format!("no test {name} in the file before it"));
        }
    }
    wrong.extend((!code(tests).any(|name| name.ends_with(".rs"))).then(|| format!("no file in: {tests}")));
    wrong
}

#[test]
fn every_claim_about_security_has_tests_that_exist() {
    let document = std::fs::read_to_string(root().join("docs/security.md")).unwrap();
    let (_, section) = document.split_once("## Tests that would catch a failure").unwrap();
    let section = section.split("\n## ").next().unwrap();
    let rows = section.lines().filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |")?.split_once(" | "));
    let claims: Vec<_> = rows.filter(|(claim, _)| *claim != "claim").collect();
    assert!(claims.len() > 25, "the table is not where it was");
    let wrong: Vec<String> = claims.iter().flat_map(|(_, tests)| complain(tests)).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    // Files that the rest of the document names.
    let missing: Vec<&str> = code(&document)
        .filter(|name| name.ends_with(".rs") && !name.contains(' '))
        .filter(|name| source(name).or_else(|| source(&format!("src/{name}"))).is_none())
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
    // And what a wrong name looks like.
    assert_eq!(complain("`tests/mpc/security_table.rs`: `complain`, `complained`").len(), 1);
    assert_eq!(complain("`tests/mpc/security_chair.rs`").len() + complain("by hand").len(), 2);
}

/// The files below a folder of the sources, by path.
fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => files(&path, found),
            false => found.push(path),
        }
    }
}

#[test]
fn messages_are_sent_in_the_five_places_that_are_named() {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut all = vec![];
    files(&sources, &mut all);
    let sends = |path: &PathBuf| {
        let text = std::fs::read_to_string(path).unwrap();
        let code = text.lines().map(str::trim).filter(|line| !line.starts_with("//"));
        code.take_while(|line| *line != "#[cfg(test)]")
            .any(|line| line.contains("net.send(") || line.contains("network.send("))
    };
    let mut places: Vec<_> =
        all.iter().filter(|path| sends(path)).map(|path| path.strip_prefix(&sources).unwrap()).collect();
    // `net` itself is below, and tests are no part of the library.
    places.retain(|path| !path.starts_with("net") && !path.components().any(|part| part.as_os_str() == "tests"));
    places.sort();
    let named = [
        "cluster/party/gate.rs",
        "cluster/party/self_test.rs",
        "cluster/party/serving.rs",
        "mpc/protocol/message.rs",
        "mpc/setup.rs",
    ];
    let named = named.map(Path::new);
    assert_eq!(places, named);
}
