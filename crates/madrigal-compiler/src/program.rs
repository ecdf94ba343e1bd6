//! From an entry file to a linked program: imports are found, loaded once each and emitted before their importers.
//! Not here: where files come from (a [`Loader`] does that).

use crate::emit::{self, Emitted, Export, Exports, Unit};
use crate::hir::{Import, Module, Name};
use madrigal_syntax::{Code, Diagnostic, SourceFile, Span};
use madrigal_vm::bytecode::Proto;
use madrigal_vm::program::{FunctionSlot, ModuleUnit, Program, SourceText};
use madrigal_vm::{BuiltinTable, Closure, Str};
use std::collections::HashMap;
use std::sync::Arc;

/// Finds imported files.
pub trait Loader {
    /// The file that `import "path"` in the file `importer` means; the error is the text of the import error.
    fn load(&self, importer: &str, path: &str) -> Result<Found, String>;
}

/// A file that an import means.
#[derive(Clone, Debug)]
pub struct Found {
    /// The same for the same file, however it is reached.
    pub key: String,
    /// As shown to people, and as importer of further files.
    pub path: String,
    /// Its text.
    pub text: String,
    /// For modules of the library; nothing for files.
    pub library: Option<LibraryModule>,
}

/// What is special about a module of the library: it may call natives, and its frames are not shown in stack notes.
#[derive(Clone, Debug, Default)]
pub struct LibraryModule {
    /// The name under which importers find its functions; without one they are bound as they are.
    pub namespace: Option<&'static str>,
}

/// How a program is compiled.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Whether calls of unknown names in the entry file are errors now rather than when they run.
    pub check_calls: bool,
}

/// What is wrong with one file.
#[derive(Clone, Debug)]
pub struct Rejected {
    /// The file.
    pub source: SourceFile,
    /// Every error of the first phase that failed.
    pub diagnostics: Vec<Diagnostic>,
}

/// Most files deep that imports may chain.
const IMPORT_DEPTH_MAX: usize = 128;

/// Compiles `text` and everything it imports.
pub fn compile(
    path: &str,
    text: &str,
    loader: &dyn Loader,
    builtins: Arc<BuiltinTable>,
    options: Options,
) -> Result<Program, Rejected> {
    let mut session = Session {
        loader,
        builtins: &builtins,
        options,
        functions: Vec::new(),
        known: HashMap::new(),
        modules: Vec::new(),
        bodies: Vec::new(),
        depth: 0,
    };
    session.module(Found { key: path.to_owned(), path: path.to_owned(), text: text.to_owned(), library: None })?;
    session.link(path, text, builtins.clone())
}

/// Compiles the functions of a library module one after the other; `install` enters each in the table, so that those
/// below can use it.
pub fn compile_functions(
    name: &str,
    text: &str,
    builtins: &mut BuiltinTable,
    mut install: impl FnMut(&mut BuiltinTable, &str, Closure),
) -> Result<(), Rejected> {
    let source = SourceFile::new(name, text);
    let module = front(&source)?;
    for position in 0..module.body.statements.len() {
        let (emitted, diagnostics) = emit::emit_function(&module, &source, position, builtins);
        if !diagnostics.is_empty() {
            return Err(Rejected { source, diagnostics });
        }
        if let Some((name, proto)) = emitted {
            install(builtins, &name, Closure::new(proto, Box::default()));
        }
    }
    Ok(())
}

/// Lexes, parses and lowers.
fn front(source: &SourceFile) -> Result<Module, Rejected> {
    let parse = madrigal_syntax::parse(&source.text);
    if parse.has_errors() {
        return Err(Rejected { source: source.clone(), diagnostics: parse.diagnostics });
    }
    let (module, diagnostics) = crate::lower::lower(&parse);
    if diagnostics.is_empty() { Ok(module) } else { Err(Rejected { source: source.clone(), diagnostics }) }
}

struct Session<'a> {
    loader: &'a dyn Loader,
    builtins: &'a BuiltinTable,
    options: Options,
    functions: Vec<Str>,
    /// Index of every module met, by key.
    known: HashMap<String, usize>,
    modules: Vec<Slot>,
    /// Bodies in load order.
    bodies: Vec<triomphe::Arc<Proto>>,
    depth: usize,
}

/// A module of the session; `emitted` is missing while it is being loaded.
struct Slot {
    source: Arc<SourceText>,
    library: bool,
    emitted: Option<(triomphe::Arc<Proto>, usize, Exports)>,
}

impl Session<'_> {
    /// Loads a file and what it imports; its index.
    fn module(&mut self, found: Found) -> Result<usize, Rejected> {
        let index = self.modules.len();
        let source = SourceFile::new(found.path.clone(), found.text.clone());
        let text = Arc::new(SourceText::new(found.path.clone(), found.text));
        self.modules.push(Slot { source: text, library: found.library.is_some(), emitted: None });
        self.known.insert(found.key, index);
        let module = front(&source)?;
        let mut imported = HashMap::new();
        let mut imported_by: HashMap<Name, Vec<Name>> = HashMap::new();
        for import in &module.imports {
            let bound = self.import(import, &found.path, &mut imported);
            let names = bound.map_err(|message| reject(&source, import, message))?;
            imported_by.entry(import.path.clone()).or_default().extend(names);
        }
        let entry = index == 0;
        let unit = Unit {
            module: &module,
            source: &source,
            index: index as u32,
            entry,
            imported,
            imported_by,
            builtins: self.builtins,
            check_calls: entry && self.options.check_calls,
            library: found.library.is_some(),
            imports: if entry { self.bodies.clone() } else { Vec::new() },
        };
        let Emitted { body, state_len, exports, diagnostics } = emit::emit(unit, &mut self.functions);
        if !diagnostics.is_empty() {
            return Err(Rejected { source, diagnostics });
        }
        let exports = match found.library.and_then(|it| it.namespace) {
            Some(name) => exports.within(name),
            None => exports,
        };
        self.bodies.push(body.clone());
        self.modules[index].emitted = Some((body, state_len, exports));
        Ok(index)
    }

    /// Binds what one import names; gives the names.
    fn import(
        &mut self,
        import: &Import,
        importer: &str,
        imported: &mut HashMap<Name, Export>,
    ) -> Result<Vec<Name>, String> {
        let found = self.loader.load(importer, &import.path)?;
        let path = found.path.clone();
        let index = match self.known.get(&found.key) {
            Some(&index) => index,
            None if self.depth >= IMPORT_DEPTH_MAX => {
                return Err(format!("Import error: imports nest more than {IMPORT_DEPTH_MAX} files deep"));
            }
            None => {
                self.depth += 1;
                let loaded = self.module(found).map_err(|rejected| import_failure(&rejected));
                self.depth -= 1;
                loaded?
            }
        };
        // A module that is still being loaded gives nothing: a cycle.
        let Some((_, _, exports)) = &self.modules[index].emitted else { return Ok(Vec::new()) };
        let chosen: Vec<(Name, Export)> = match &import.names {
            None => exports.all.iter().map(|(name, export)| (name.clone(), export.clone())).collect(),
            Some(names) => names
                .iter()
                .map(|(name, _)| match exports.named.get(name) {
                    Some(export) => Ok((name.clone(), export.clone())),
                    None => Err(format!("Import error: '{name}' is not defined in {path}")),
                })
                .collect::<Result<_, _>>()?,
        };
        bind(chosen, &path, imported)
    }

    fn link(mut self, path: &str, text: &str, builtins: Arc<BuiltinTable>) -> Result<Program, Rejected> {
        let count = self.functions.len();
        let functions = self.functions.drain(..).map(FunctionSlot::new).collect();
        let mut modules = Vec::new();
        for slot in self.modules {
            let (body, state_len, _) = slot.emitted.expect("every module was emitted when its load returned");
            if let Err(error) = madrigal_vm::bytecode::verify(&body, count) {
                let diagnostic = Diagnostic::error(Code::COMPILE, Span { start: 0, end: 0 }, error.to_string());
                return Err(Rejected { source: SourceFile::new(path, text), diagnostics: vec![diagnostic] });
            }
            let body = Closure::new(body, Box::default());
            modules.push(ModuleUnit { source: slot.source, state_len, body, internal: slot.library });
        }
        Ok(Program { modules, functions, builtins })
    }
}

fn reject(source: &SourceFile, import: &Import, message: String) -> Rejected {
    let span = Span { start: import.span.start, end: import.span.end };
    Rejected { source: source.clone(), diagnostics: vec![Diagnostic::error(Code::COMPILE, span, message)] }
}

/// The import error for a module that was itself rejected.
fn import_failure(rejected: &Rejected) -> String {
    let Some(first) = rejected.diagnostics.first() else { return "Import error".to_owned() };
    let (path, message) = (&rejected.source.path, &first.message);
    if first.message.starts_with("Import ") {
        return message.clone();
    }
    match first.code.to_string().as_str() {
        "M0001" | "M0002" | "M0003" => format!("Import lex error: {path}: {message}"),
        "M0018" => format!("Import error: {path}: {message}"),
        _ => format!("Import parse error: {path}: {message}"),
    }
}

fn bind(chosen: Vec<(Name, Export)>, path: &str, imported: &mut HashMap<Name, Export>) -> Result<Vec<Name>, String> {
    let mut names = Vec::new();
    for (name, export) in chosen {
        if let (Some(Export::Function(before)), Export::Function(now)) = (imported.get(&name), &export)
            && before != now
        {
            return Err(format!(
                "Import collision: '{name}' is already defined when importing {path}. Use selective imports to disambiguate: import {{ {name} }} from \"...\""
            ));
        }
        imported.insert(name.clone(), export);
        names.push(name);
    }
    names.sort();
    Ok(names)
}
