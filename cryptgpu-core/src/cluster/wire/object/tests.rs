//! Libraries made on the spot: what is refused has run nothing, and what runs is what was compared.

use super::elf::Facts;
use super::sealed::{Sealed, dlopen};
use super::{CodeError, Library, Supply, address_of, loaded};
use crate::cluster::wire::function;
use crate::cluster::wire::text::hex;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

const FLAGS: i32 = libc::RTLD_NOW | libc::RTLD_LOCAL;

/// Makes a library of C's `source`, whose `get` gives a number; without a build id, as some linkers write none.
fn make(folder: &Path, name: &str, source: &str, link: &[&str]) -> PathBuf {
    let (library, text) = (folder.join(name), folder.join("source.c"));
    std::fs::write(&text, source).unwrap();
    let mut compiler = Command::new("cc");
    compiler.args(["-shared", "-fPIC", "-O1", "-Wl,--build-id=none", "-o"]).arg(&library).arg(&text);
    assert!(compiler.arg(format!("-L{}", folder.display())).args(link).status().unwrap().success(), "{source}");
    library
}

fn digest(path: &Path) -> [u8; 32] {
    Facts::read(&File::open(path).unwrap()).unwrap().digest
}

/// As a caller names it that has loaded what is in `loaded`.
fn named(path: &Path, loaded: &Path) -> Library {
    let argument = Library::from_argument(
        format!("{}:{}:{}", hex(digest(loaded)), path.file_name().unwrap().to_str().unwrap(), path.display()).as_ref(),
    );
    argument.unwrap()
}

fn get(object: &loaded::Loaded) -> i32 {
    let address = address_of(object, c"get").unwrap();
    // SAFETY: the functions of these libraries that are called so have this type.
    unsafe { std::mem::transmute::<usize, extern "C" fn() -> i32>(address)() }
}

#[test]
fn a_library_that_is_another_one_is_not_opened_and_its_initialisers_do_not_run() {
    let folder = tempfile::tempdir().unwrap();
    let marker = folder.path().join("marker");
    let loaded = make(folder.path(), "liba.so", "int get(void) { return 1; }", &[]);
    let source = format!(
        "#include <stdio.h>\n__attribute__((constructor)) static void begin(void) {{ fclose(fopen(\"{}\", \"w\")); }}\n\
         int get(void) {{ return 1; }}",
        marker.display()
    );
    let other = make(folder.path(), "libb.so", &source, &[]);
    let error = named(&other, &loaded).obtain(Supply::Files, FLAGS).unwrap_err();
    assert_eq!(error, CodeError::OtherFile { path: other.clone() });
    assert!(error.to_string().contains("libb.so") && error.to_string().contains("restart the kernel"), "{error}");
    assert!(!marker.exists(), "it has run");
    assert_eq!(get(&named(&other, &other).obtain(Supply::Files, FLAGS).unwrap()), 1);
    assert!(marker.exists(), "it would have run");

    let gone = named(&other, &other);
    std::fs::remove_file(&other).unwrap();
    assert_eq!(get(&gone.obtain(Supply::Files, FLAGS).unwrap()), 1, "it is open already");
    let nowhere = named(&folder.path().join("libnowhere.so"), &loaded).obtain(Supply::Files, FLAGS).unwrap_err();
    assert!(nowhere.to_string().contains("libnowhere.so"), "{nowhere}");
    std::fs::write(&loaded, "not code").unwrap();
    let no_code = named(&loaded, &make(folder.path(), "libc1.so", "int get(void) { return 1; }", &[]));
    assert!(matches!(no_code.obtain(Supply::Files, FLAGS), Err(CodeError::Unreadable { .. })));
}

#[test]
fn the_initial_value_of_a_static_belongs_to_a_library_and_what_was_compared_is_what_runs() {
    let folder = tempfile::tempdir().unwrap();
    let source = |value: i32| format!("static volatile int value = {value}; int get(void) {{ return value; }}");
    let (one, two) = (folder.path().join("libone.so"), folder.path().join("libtwo.so"));
    make(folder.path(), "libone.so", &source(1), &[]);
    make(folder.path(), "libtwo.so", &source(2), &[]);
    assert!(matches!(named(&two, &one).obtain(Supply::Files, FLAGS), Err(CodeError::OtherFile { .. })));

    // Replaced between the comparison and the opening, in place and by another file.
    let path = folder.path().join("libx.so");
    for replace in [
        |from: &Path, to: &Path| std::fs::copy(from, to).map(drop),
        |from: &Path, to: &Path| {
            std::fs::remove_file(to)?;
            std::fs::copy(from, to).map(drop)
        },
    ] {
        std::fs::copy(&one, &path).unwrap();
        let sealed = Sealed::copy(&path, &digest(&one)).unwrap();
        replace(&two, &path).unwrap();
        assert_eq!(get(&sealed.open(FLAGS).unwrap()), 1);
        // Another one of the same name and size is not taken for it.
        assert_eq!(get(&Sealed::copy(&path, &digest(&two)).unwrap().open(FLAGS).unwrap()), 2);
    }
}

#[test]
fn what_the_caller_has_sent_is_opened_where_there_is_no_such_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = make(folder.path(), "libsent.so", "int get(void) { return 8; }", &[]);
    let (library, content) = (named(&path, &path), std::fs::read(&path).unwrap());
    let other = make(folder.path(), "libforged.so", "int get(void) { return 9; }", &[]);
    std::fs::remove_file(&path).unwrap();
    assert_eq!(library.keep(&std::fs::read(other).unwrap()), Err(CodeError::OtherFile { path: path.clone() }));
    assert!(matches!(library.obtain(Supply::Files, FLAGS), Err(CodeError::Unreadable { .. })), "nothing was kept");
    library.keep(&content).unwrap();
    assert_eq!(get(&library.obtain(Supply::Files, FLAGS).unwrap()), 8);
}

#[test]
fn a_caller_whose_file_was_built_anew_is_told_so() {
    let folder = tempfile::tempdir().unwrap();
    let path =
        make(folder.path(), "libcaller.so", "static volatile int value = 1; int get(void) { return value; }", &[]);
    let open = || {
        let _ = dlopen(&path, FLAGS).unwrap().into_raw();
        address_of(&loaded::find(|object| object.name == path).unwrap(), c"get").unwrap()
    };
    let address = open();
    let other = make(folder.path(), "new.so", "static volatile int value = 2; int get(void) { return value; }", &[]);
    std::fs::rename(&other, &path).unwrap();
    let error = function::locate(address).unwrap_err();
    assert_eq!(error, CodeError::Replaced { path: path.clone() });
    assert!(error.to_string().contains("restart the kernel"), "{error}");
    std::fs::remove_file(&path).unwrap();
    assert_eq!(function::locate(address).unwrap_err(), CodeError::Replaced { path });
}

#[test]
fn what_a_library_needs_is_compared_as_well() {
    let folder = tempfile::tempdir().unwrap();
    let needed = make(folder.path(), "libneeded.so", "int inner(void) { return 3; }", &["-Wl,-soname,libneeded.so"]);
    let source = "int inner(void); int get(void) { return inner() + 1; }";
    let here = format!("-Wl,-rpath,{}", folder.path().display());
    let path = make(folder.path(), "libneeds.so", source, &["-lneeded", &here]);
    // It would be found by the path that is written into the file, and run without a comparison.
    let error = named(&path, &path).obtain(Supply::Files, FLAGS).unwrap_err();
    assert_eq!(error, CodeError::Uncompared { path: path.clone(), needs: "libneeded.so".into() });
    let in_order =
        [named(&needed, &needed), named(&path, &path)].map(|library| library.obtain(Supply::Files, FLAGS).unwrap());
    assert_eq!(get(&in_order[1]), 4);
    // A caller names both, from what it has loaded.
    let code = Library::with_needs(&in_order[1]).unwrap();
    assert_eq!(code.len(), 2);
    let argument = code[0].to_argument();
    assert_eq!(Library::from_argument(&argument).unwrap(), code[0]);
    assert!(Library::from_argument(argument.to_string_lossy()[1..].as_ref()).is_err());
    // Another library of that name cannot take the place of the one that is there.
    let other = make(folder.path(), "other.so", "int inner(void) { return 5; }", &[]);
    let other = Library::from_argument(
        format!("{}:libneeded.so:{}", &named(&other, &other).to_argument().to_string_lossy()[..64], other.display())
            .as_ref(),
    );
    assert!(matches!(other.unwrap().obtain(Supply::Files, FLAGS), Err(CodeError::OtherLoaded { .. })));
}
