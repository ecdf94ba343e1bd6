//! The bytecode of small programs, one construct each, beside them in `tests/disassembly/*.txt`.
//! `UPDATE_GOLDEN=1` writes those files anew; a change in them is to be read like code.

#[path = "support/diff.rs"]
mod diff;

use madrigal::{Engine, Source};
use std::path::Path;
use std::{env, fs};

#[test]
fn constructs_compile_to_what_stands_beside_them() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/disassembly");
    let update = env::var_os("UPDATE_GOLDEN").is_some();
    let mut paths: Vec<_> = fs::read_dir(&folder)
        .expect("the folder can be read")
        .map(|it| it.expect("a folder entry can be read").path())
        .filter(|it| it.extension().is_some_and(|it| it == "harn"))
        .collect();
    paths.sort();
    assert!(!paths.is_empty());
    let mut failures = String::new();
    for path in paths {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let text = fs::read_to_string(&path).expect("a program can be read");
        // By name, so that no path of this machine gets into the listing.
        let actual = match Engine::new().disassemble(&Source::text(&name, &text)) {
            Ok(listing) => listing,
            Err(rejected) => rejected.rendered,
        };
        let listing = path.with_extension("txt");
        if update {
            fs::write(&listing, &actual).expect("a listing can be written");
        }
        let expected = fs::read_to_string(&listing).unwrap_or_default();
        let difference = diff::diff(&expected, &actual);
        if !difference.is_empty() {
            failures += &format!("\n{name}\n{difference}");
        }
    }
    assert!(failures.is_empty(), "listings differ (UPDATE_GOLDEN=1 rewrites them):\n{failures}");
}
