//! What holds for the text of the whole workspace: layering, module docs, where `unsafe` may stand, sizes.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// No product file may be longer. A number that may only get smaller.
const FILE_LINES_MAX: usize = 900;

/// Files that may hold `unsafe`, relative to `crates/`.
const UNSAFE: [&str; 2] = ["madrigal-vm/src/stack.rs", "madrigal-runtime/src/"];

#[test]
fn every_file_says_what_lives_in_it() {
    let missing = offending(&rust_files(), |text| !text.starts_with("//!"));
    assert!(missing.is_empty(), "files without a module doc: {missing:#?}");
}

#[test]
fn crates_depend_on_one_another_only_as_drawn() {
    let drawn = drawn();
    for (name, manifest) in manifests() {
        let mut used = Vec::new();
        let mut in_dependencies = false;
        for line in manifest.lines() {
            if line.starts_with('[') {
                in_dependencies = line.trim_end_matches(']').ends_with("dependencies");
            }
            let key = line.split(['.', ' ', '=']).next().unwrap_or_default();
            if in_dependencies && (key == "madrigal" || key.starts_with("madrigal-")) {
                used.push(key.to_owned());
            }
        }
        used.sort();
        used.dedup();
        assert_eq!(Some(&used), drawn.get(&name), "what {name} depends on (left) and ARCHITECTURE.md (right)");
    }
}

/// The table of crates in ARCHITECTURE.md: crate, what it does, what it may use.
fn drawn() -> BTreeMap<String, Vec<String>> {
    let text = read(&root().join("ARCHITECTURE.md"));
    let mut drawn = BTreeMap::new();
    for line in text.lines().filter(|it| it.starts_with("| `madrigal")) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let names = |cell: &str| -> Vec<String> {
            let mut names: Vec<String> = cell.split('`').skip(1).step_by(2).map(str::to_owned).collect();
            names.sort();
            names
        };
        if let [name, _, uses] = cells[..] {
            drawn.insert(name.trim_matches('`').to_owned(), names(uses));
        }
    }
    drawn
}

fn manifests() -> Vec<(String, String)> {
    let mut manifests = Vec::new();
    for folder in children(&root().join("crates")) {
        let name = folder.file_name().expect("a folder has a name").to_string_lossy().into_owned();
        manifests.push((name, read(&folder.join("Cargo.toml"))));
    }
    manifests
}

#[test]
fn product_code_does_not_unwrap() {
    let offending = offending(&product_files(), |text| {
        product_lines(text)
            .any(|line| [".unwrap()", "dbg!(", "todo!(", "unimplemented!("].iter().any(|it| line.contains(it)))
    });
    assert!(offending.is_empty(), "files with unwrap, dbg, todo or unimplemented: {offending:#?}");
}

#[test]
fn unsafe_stands_where_it_was_allowed_and_says_why() {
    for path in product_files() {
        let shown = path.strip_prefix(root().join("crates")).expect("it was found there").display().to_string();
        let text = read(&path);
        let lines: Vec<&str> = text.lines().collect();
        for (number, line) in lines.iter().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            let opens = ["unsafe {", "unsafe impl"].iter().any(|it| code.contains(it));
            if !opens && !code.contains("unsafe fn") {
                continue;
            }
            assert!(
                UNSAFE.iter().any(|it| shown.starts_with(it)),
                "{shown}:{}: unsafe does not belong here",
                number + 1
            );
            let before = &lines[number.saturating_sub(8)..=number];
            assert!(
                !opens || before.iter().any(|it| it.contains("SAFETY:")),
                "{shown}:{}: unsafe without a SAFETY comment",
                number + 1
            );
        }
    }
}

#[test]
fn files_stay_readable() {
    let long = offending(&product_files(), |text| text.lines().count() > FILE_LINES_MAX);
    assert!(long.is_empty(), "files of more than {FILE_LINES_MAX} lines: {long:#?}");
}

/// The lines before the tests of a file, comments left out.
fn product_lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines().take_while(|it| *it != "#[cfg(test)]").filter(|it| !it.trim_start().starts_with("//"))
}

fn offending(files: &[PathBuf], is_bad: impl Fn(&str) -> bool) -> Vec<String> {
    files.iter().filter(|it| is_bad(&read(it))).map(|it| it.display().to_string()).collect()
}

fn rust_files() -> Vec<PathBuf> {
    let mut files = Vec::new();
    for folder in ["crates", "bench"] {
        collect(&root().join(folder), &mut files);
    }
    assert!(files.len() > 50, "the files of the workspace were found");
    files
}

/// Files of the crates that are neither tests nor examples.
fn product_files() -> Vec<PathBuf> {
    let mut files = Vec::new();
    for folder in children(&root().join("crates")) {
        collect(&folder.join("src"), &mut files);
    }
    files.retain(|it| it.file_name().is_some_and(|name| name != "tests.rs" && name != "testing.rs"));
    files
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for path in children(folder) {
        if path.is_dir() {
            if path.file_name().is_none_or(|it| it != "target") {
                collect(&path, files);
            }
        } else if path.extension().is_some_and(|it| it == "rs") {
            files.push(path);
        }
    }
}

fn children(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("cannot read {}: {error}", folder.display()));
    let mut paths: Vec<_> = entries.map(|it| it.expect("a folder entry can be read").path()).collect();
    paths.sort();
    paths
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()))
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("the workspace exists")
}
