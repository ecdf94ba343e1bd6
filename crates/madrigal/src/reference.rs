//! What the library offers, as text for people: read from the table of builtins and from the modules written in Harn.

use crate::Engine;
use madrigal_stdlib::modules::MODULES;
use madrigal_stdlib::{PRELUDE, iterators};
use madrigal_vm::builtin::Capability;
use std::fmt::Write;

/// Something a program can call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name; methods as `kind.name`.
    pub name: String,
    /// Where it is imported from, for functions of modules.
    pub module: Option<&'static str>,
    /// Parameters and result.
    pub signature: String,
    /// One paragraph.
    pub doc: String,
    /// The capability it needs.
    pub capability: Option<&'static str>,
}

impl Entry {
    /// The entry as `madrigal doc` prints it.
    pub fn text(&self) -> String {
        let mut text = format!("{}{}\n", self.name, self.signature);
        if let Some(module) = self.module {
            let _ = writeln!(text, "  import \"{module}\"");
        }
        let _ = writeln!(text, "  {}", self.doc);
        if let Some(capability) = self.capability {
            let _ = writeln!(text, "  needs the capability {capability}");
        }
        text
    }
}

/// The flag's name of a capability.
fn capability_name(capability: Capability) -> &'static str {
    match capability {
        Capability::FsRead => "fs.read",
        Capability::FsWrite => "fs.write",
        Capability::Net => "net",
        Capability::Run => "run",
        Capability::Env => "env",
        Capability::Llm => "llm",
    }
}

/// Everything there is, by name.
pub fn entries(engine: &Engine) -> Vec<Entry> {
    let table = engine.builtins();
    let native = table.functions().chain(table.native_methods()).filter(|it| !it.name.starts_with("__"));
    let mut entries: Vec<Entry> = native
        .map(|it| Entry {
            name: it.name.to_owned(),
            module: None,
            signature: it.signature.split_whitespace().collect::<Vec<_>>().join(" "),
            doc: it.doc.split_whitespace().collect::<Vec<_>>().join(" "),
            capability: it.capability.map(capability_name),
        })
        .collect();
    let known: Vec<String> = entries.iter().map(|it| it.name.clone()).collect();
    let scripts = table.names().filter(|name| !known.iter().any(|it| it == name));
    entries.extend(scripts.map(|name| Entry {
        name: name.to_owned(),
        module: None,
        signature: prelude_signature(name),
        doc: "Calls a function it is given, which may wait.".to_owned(),
        capability: None,
    }));
    entries.extend(MODULES.iter().flat_map(|module| module_entries(module.path, module.text)));
    entries.sort_by(|a, b| (&a.name, a.module).cmp(&(&b.name, b.module)));
    entries
}

/// The parameters of a builtin that is written in Harn.
fn prelude_signature(name: &str) -> String {
    let declared = format!("fn function_{name}(");
    let texts = [PRELUDE, iterators::ITERATORS];
    let found = texts.iter().find_map(|text| text.split_once(declared.as_str()));
    let line = found.map_or("", |(_, rest)| rest.lines().next().unwrap_or_default());
    let parameters = line.rsplit_once(')').map_or("", |(inside, _)| inside).replace(" = __missing()", "");
    format!("({parameters})")
}

/// The functions that a module exports, each with the comment above it.
fn module_entries(module: &'static str, text: &str) -> Vec<Entry> {
    let mut entries = Vec::new();
    let mut doc = String::new();
    for line in text.lines() {
        if let Some(comment) = line.strip_prefix("/**") {
            doc = comment.trim_end_matches("*/").trim().to_owned();
        } else if let Some(rest) = line.strip_prefix("pub fn ").or_else(|| line.strip_prefix("pub gen fn ")) {
            let (name, rest) = rest.split_once('(').unwrap_or((rest, ")"));
            let signature = rest.split(" {").next().unwrap_or_default();
            let doc = std::mem::take(&mut doc);
            let (name, signature) = (name.to_owned(), format!("({signature}"));
            entries.push(Entry { name, module: Some(module), signature, doc, capability: None });
        } else if line.trim().is_empty() {
            doc.clear();
        }
    }
    entries
}
