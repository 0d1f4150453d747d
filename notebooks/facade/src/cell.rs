//! What happens when a `?` in a cell returns an error.
//!
//! evcxr prints the error to stderr and calls the cell a success, without a word that the rest of it did not run. It
//! does so with `eprintln!`, by name, so a macro of that name in scope of the cells can say more: it tells the reader
//! that the cell ended early, and tells a headless run that it failed.

use std::fmt::Display;
use std::io::Write;

/// A headless run names a file in this variable of the environment; errors that end a cell are appended to it.
pub const ERRORS_FILE: &str = "CRYPTGPU_CELL_ERRORS";

/// Reports an error that ended a cell early.
pub fn ended_by(error: impl Display) {
    std::eprintln!("this cell ended early, `?` returned an error: {error}");
    if let Some(path) = std::env::var_os(ERRORS_FILE) {
        let file = std::fs::OpenOptions::new().append(true).open(&path);
        if let Err(problem) = file.and_then(|mut file| writeln!(file, "{error}")) {
            std::eprintln!("{} cannot be written: {problem}", path.display());
        }
    }
}

/// `eprintln!`, except for the one line in the code that evcxr generates for `?`, which goes to
/// [`cell::ended_by`](crate::cell::ended_by).
#[macro_export]
macro_rules! eprintln {
    ($format:literal, $error:ident) => {
        // The name of a closure holds the name of the function around it: evcxr's is a method of this type.
        if ::std::any::type_name_of_val(&|| ()).contains("EvcxrUserCodeError") {
            $crate::cell::ended_by(::std::format!($format, $error))
        } else {
            ::std::eprintln!($format, $error)
        }
    };
    ($($arguments:tt)*) => { ::std::eprintln!($($arguments)*) };
}

#[cfg(test)]
mod tests {
    use std::fmt::Display;

    struct EvcxrUserCodeError;

    impl<T: Display> From<T> for EvcxrUserCodeError {
        fn from(error: T) -> Self {
            crate::eprintln!("{}", error);
            EvcxrUserCodeError
        }
    }

    #[test]
    fn only_errors_of_a_question_mark_are_noted() {
        let path = std::env::temp_dir().join(format!("cryptgpu-cell-{}", std::process::id()));
        std::fs::write(&path, "").unwrap();
        // SAFETY: no other test of this crate reads or writes the environment.
        unsafe { std::env::set_var(super::ERRORS_FILE, &path) };
        let error = "printed by the user";
        crate::eprintln!("{}", error);
        crate::eprintln!("{}", 1 + 1);
        let cell = || -> Result<(), EvcxrUserCodeError> { Ok("x".parse::<u8>().map(drop)?) };
        assert!(cell().is_err());
        let noted = std::fs::read_to_string(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert_eq!(noted, "invalid digit found in string\n");
    }
}
