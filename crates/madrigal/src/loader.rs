//! Imported files from disk, and the modules of the library.

use madrigal_compiler::program::{Found, LibraryModule, Loader};
use madrigal_stdlib::modules;
use std::path::{Path, PathBuf};

/// Finds imports beside the importing file.
pub(crate) struct Files;

impl Loader for Files {
    fn load(&self, importer: &str, path: &str) -> Result<Found, String> {
        if path.starts_with("std/") {
            let module = modules::find(path).ok_or_else(|| format!("Unknown stdlib module: {path}"))?;
            let library = Some(LibraryModule { namespace: module.namespace });
            return Ok(Found { key: path.to_owned(), path: path.to_owned(), text: module.text.to_owned(), library });
        }
        let directory = Path::new(importer).parent().unwrap_or(Path::new(""));
        let joined = directory.join(path);
        let file = if !joined.is_file() && joined.extension().is_none() { with_extension(&joined) } else { joined };
        let shown = file.display().to_string();
        let text = read(&file).map_err(|reason| format!("Import error: cannot read '{shown}': {reason}"))?;
        let key = file.canonicalize().unwrap_or_else(|_| file.clone()).display().to_string();
        Ok(Found { key, path: shown, text, library: None })
    }
}

fn with_extension(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".harn");
    PathBuf::from(name)
}

/// The text of a source file; the error is the reason in words.
pub(crate) fn read(path: &Path) -> Result<String, String> {
    if path.is_dir() {
        return Err("it is a directory".to_owned());
    }
    let bytes = std::fs::read(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => "no such file".to_owned(),
        _ => error.to_string(),
    })?;
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let line = error.as_bytes()[..at].iter().filter(|byte| **byte == b'\n').count() + 1;
        format!("it is not UTF-8 text (line {line})")
    })
}
