//! The generated reference is up to date. `UPDATE_REFERENCE=1` rewrites it.

use madrigal::Engine;
use madrigal::reference::{Entry, entries};
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Golden programs of the library: path below the repository, and text.
fn goldens(folder: &Path, found: &mut Vec<(String, String)>) {
    let entries = fs::read_dir(folder).expect("the golden programs can be read");
    let mut paths: Vec<PathBuf> = entries.map(|it| it.expect("an entry can be read").path()).collect();
    paths.sort();
    for path in paths {
        if path.is_dir() {
            goldens(&path, found);
        } else if path.extension().is_some_and(|it| it == "harn") {
            let text = fs::read_to_string(&path).expect("a program can be read");
            let base = Path::new(env!("CARGO_MANIFEST_DIR"));
            let below = path.strip_prefix(base).expect("it was found there").display().to_string();
            found.push((format!("../../crates/madrigal/{below}"), text));
        }
    }
}

fn row(entry: &Entry, goldens: &[(String, String)]) -> String {
    let call = match entry.name.split_once('.') {
        Some((_, method)) => format!(".{method}("),
        None => format!("{}(", entry.name),
    };
    let before = |text: &str, at: usize| text[..at].chars().next_back();
    let calls = |text: &str| {
        text.match_indices(&call).any(|(at, _)| before(text, at).is_none_or(|it| !it.is_alphanumeric() && it != '_'))
    };
    let shown = goldens.iter().find(|(_, text)| calls(text) || call.starts_with('.') && text.contains(&call));
    let example = shown.map_or(String::new(), |(path, _)| format!("[program]({path})"));
    let escape = |text: &str| text.replace('|', "\\|");
    let signature = escape(&entry.signature);
    format!(
        "| `{}{signature}` | {} | {} | {example} |\n",
        entry.name,
        escape(&entry.doc),
        entry.capability.unwrap_or("")
    )
}

fn page(title: &str, entries: &[&Entry], goldens: &[(String, String)]) -> String {
    let mut text = format!(
        "# {title}\n\nGenerated from the table of the library; `UPDATE_REFERENCE=1 cargo test -p madrigal --test reference` rewrites it.\n"
    );
    let mut module = None;
    for (position, entry) in entries.iter().enumerate() {
        if position == 0 || module != entry.module {
            module = entry.module;
            if let Some(module) = module {
                text += &format!("\n## {module}\n");
            }
            text += "\n| Signature | What it does | Needs | Example |\n|---|---|---|---|\n";
        }
        text += &row(entry, goldens);
    }
    text
}

#[test]
fn the_reference_is_up_to_date() {
    let mut programs = Vec::new();
    goldens(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden"), &mut programs);
    let all = entries(&Engine::new());
    let mut modules: Vec<&Entry> = all.iter().filter(|it| it.module.is_some()).collect();
    modules.sort_by_key(|it| it.module);
    let is_method = |it: &&Entry| it.module.is_none() && it.name.contains('.');
    let functions = all.iter().filter(|it| it.module.is_none() && !it.name.contains('.')).collect::<Vec<_>>();
    let pages = [
        ("builtins.md", page("Builtin functions", &functions, &programs)),
        ("methods.md", page("Methods", &all.iter().filter(is_method).collect::<Vec<_>>(), &programs)),
        ("modules.md", page("Modules", &modules, &programs)),
    ];
    let folder = root().join("docs/reference");
    for (name, text) in pages {
        let path = folder.join(name);
        if std::env::var_os("UPDATE_REFERENCE").is_some() {
            fs::create_dir_all(&folder).expect("the documents can be written");
            fs::write(&path, &text).expect("the documents can be written");
        }
        let found = fs::read_to_string(&path).unwrap_or_default();
        assert!(
            found == text,
            "docs/reference/{name} is out of date: run UPDATE_REFERENCE=1 cargo test -p madrigal --test reference"
        );
    }
}
