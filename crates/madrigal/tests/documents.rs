//! Every Harn program in the documents runs, and prints what stands below it; so does every example, without arguments.

#[path = "support/run.rs"]
#[allow(dead_code)]
mod run;

use madrigal::{Options, Source};
use run::Setting;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// A fenced block: what is written behind the fence, and its lines.
struct Block {
    kind: String,
    text: String,
}

fn blocks(document: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut open = false;
    for line in document.lines() {
        match line.strip_prefix("```") {
            Some(_) if open => open = false,
            Some(kind) => {
                blocks.push(Block { kind: kind.trim().to_owned(), text: String::new() });
                open = true;
            }
            None if open => {
                if let Some(block) = blocks.last_mut() {
                    block.text.push_str(line);
                    block.text.push('\n');
                }
            }
            None => {}
        }
    }
    blocks
}

fn documents(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder can be read") {
        let path = entry.expect("an entry can be read").path();
        if path.is_dir() {
            documents(&path, found);
        } else if path.extension().is_some_and(|it| it == "md") {
            found.push(path);
        }
    }
}

#[test]
fn programs_in_documents_print_what_stands_below_them() {
    let mut paths = vec![root().join("README.md"), root().join("ARCHITECTURE.md")];
    documents(&root().join("docs"), &mut paths);
    let mut count = 0;
    for path in paths {
        let document = fs::read_to_string(&path).expect("a document can be read");
        let blocks = blocks(&document);
        for (position, block) in blocks.iter().enumerate().filter(|(_, it)| it.kind == "harn") {
            let name = format!("{} block {position}", path.display());
            for setting in [Setting::Simulated(1), Setting::Workers(2)] {
                let ran = run::run(Source::text("document.harn", block.text.as_str()), setting)
                    .unwrap_or_else(|it| panic!("{name}: {it}"));
                assert_eq!(ran.stderr, "", "{name}, {setting}");
                if let Some(below) = blocks.get(position + 1).filter(|it| it.kind == "text") {
                    assert_eq!(ran.stdout, below.text, "{name}, {setting}");
                }
            }
            count += 1;
        }
    }
    assert!(count >= 5, "only {count} programs found in the documents");
}

/// Rust in the documents is kept true by standing, word for word, in a file that is compiled and run: a doc test.
#[test]
fn rust_in_documents_stands_in_a_doc_test() {
    let document = fs::read_to_string(root().join("README.md")).expect("a document can be read");
    let mut sources = String::new();
    for library in ["madrigal", "madrigal-runtime"] {
        let path = root().join("crates").join(library).join("src/lib.rs");
        let text = fs::read_to_string(path).expect("a library has a root file");
        for line in text.lines().filter_map(|it| it.strip_prefix("//!")) {
            sources.push_str(line.strip_prefix(' ').unwrap_or(line));
            sources.push('\n');
        }
    }
    for block in blocks(&document).iter().filter(|it| it.kind == "rust") {
        assert!(sources.contains(&block.text), "not in a doc test of a library:\n{}", block.text);
    }
}

#[test]
fn examples_run_without_arguments() {
    // Their relative paths start from the repository.
    std::env::set_current_dir(root()).expect("the repository is there");
    let folder = root().join("examples");
    for entry in fs::read_dir(&folder).expect("the examples can be read") {
        let path = entry.expect("an entry can be read").path();
        if path.extension().is_some_and(|it| it == "harn") {
            let permissions = madrigal::Permissions::default();
            let options = Options { workers: Some(2), permissions, ..Options::default() };
            let ran =
                run::run_with(Source::file(&path), options).unwrap_or_else(|it| panic!("{}: {it}", path.display()));
            let complains = ran.stderr.lines().any(|it| it.starts_with("error"));
            assert_eq!((ran.status, complains), (0, false), "{}\n{}{}", path.display(), ran.stdout, ran.stderr);
            assert!(!ran.stdout.is_empty(), "{}", path.display());
        }
    }
}
