//! HIR → bytecode. Names become registers, captures, module slots or constants here; nothing is looked up by name at
//! run time. One file per area of the language, as in `lower/`.
//! Only `registers.rs` and `builder.rs` know how registers and positions are counted.

mod builder;
mod calls;
mod concurrency;
mod errors;
mod expressions;
mod functions;
mod items;
mod matching;
mod names;
mod parameters;
mod places;
mod registers;
mod schemas;
mod statements;

use crate::hir::{Module, Name, Span, Type};
use builder::Head;
use madrigal_syntax::{Code, Diagnostic, SourceFile};
use madrigal_vm::bytecode::{Capture, Instruction, Proto};
use madrigal_vm::{BuiltinTable, Shape, Str};
use registers::{Binding, FunctionState, Scope, Storage};
use std::collections::{HashMap, HashSet};
use std::rc::Rc;
use triomphe::Arc;

/// What a module gives to its importers.
#[derive(Clone, Debug, Default)]
pub struct Exports {
    /// What `import "p"` binds.
    pub all: HashMap<Name, Export>,
    /// Everything that may be named in a selective import.
    pub named: HashMap<Name, Export>,
}

/// One exported thing.
#[derive(Clone, Debug)]
pub enum Export {
    /// Slot of the function.
    Function(u16),
    /// A struct with its shape.
    Struct(Arc<Shape>),
    /// An enum.
    Enum,
    /// A module whose functions are reached through its name.
    Namespace(Rc<HashMap<Name, Export>>),
}

impl Exports {
    /// The same under one name. A function whose name would be a keyword is declared with an underscore behind it.
    pub(crate) fn within(self, namespace: &str) -> Exports {
        let members = self.all.into_iter().map(|(name, export)| (Name::from(name.trim_end_matches('_')), export));
        let only = HashMap::from([(Name::from(namespace), Export::Namespace(Rc::new(members.collect())))]);
        Exports { all: only.clone(), named: only }
    }
}

/// What emission of one module needs to know.
pub struct Unit<'a> {
    /// The module.
    pub module: &'a Module,
    /// Its text.
    pub source: &'a SourceFile,
    /// Its index in the program.
    pub index: u32,
    /// Whether it is the entry file.
    pub entry: bool,
    /// Names bound by its imports.
    pub imported: HashMap<Name, Export>,
    /// Names that each imported path bound.
    pub imported_by: HashMap<Name, Vec<Name>>,
    /// Builtins.
    pub builtins: &'a BuiltinTable,
    /// Whether calls of unknown names are reported now (files) or fail when they run (`-e`, standard input).
    pub check_calls: bool,
    /// Whether it belongs to the library and may call natives (names beginning `__`).
    pub library: bool,
    /// Bodies of the imported modules in load order, run first (entry only).
    pub imports: Vec<Arc<Proto>>,
}

/// The emitter of one module.
struct Emitter<'a> {
    unit: Unit<'a>,
    /// Names of all top-level function slots of the program so far.
    functions: &'a mut Vec<Str>,
    /// Functions under construction, innermost last.
    states: Vec<FunctionState>,
    diagnostics: Vec<Diagnostic>,
    /// Shapes of the structs declared anywhere in the file.
    structs: HashMap<Name, Arc<Shape>>,
    /// Enums declared anywhere in the file.
    enums: HashSet<Name>,
    /// Type aliases declared anywhere in the file.
    aliases: HashMap<Name, &'a Type>,
    /// Interfaces declared anywhere in the file.
    interfaces: HashSet<Name>,
    /// Functions and such declared anywhere in the file; calling one that is out of scope fails when it runs.
    declared: HashSet<Name>,
    /// Slots of this module's top-level functions.
    slots: HashMap<Name, u16>,
    /// State slots of this module (not for the entry file).
    state_slots: HashMap<Name, (u16, bool)>,
    /// Registers that `_` means in the pipes around the current expression.
    placeholders: Vec<u16>,
}

/// The outcome of emitting a module.
pub struct Emitted {
    /// Code that runs when the module is loaded; for the entry file, the program.
    pub body: Arc<Proto>,
    /// Number of state slots.
    pub state_len: usize,
    /// What it exports.
    pub exports: Exports,
    /// What is wrong with it.
    pub diagnostics: Vec<Diagnostic>,
}

/// Emits one module; `functions` grows by its top-level functions.
pub fn emit(unit: Unit<'_>, functions: &mut Vec<Str>) -> Emitted {
    let mut emitter = Emitter::new(unit, functions);
    emitter.collect();
    let body = emitter.module_body();
    let exports = emitter.exports();
    let state_len = emitter.state_slots.len();
    Emitted { body, state_len, exports, diagnostics: emitter.diagnostics }
}

/// Emits the function at `position` of a library module: without captures, seeing only builtins.
pub fn emit_function(
    module: &Module,
    source: &SourceFile,
    position: usize,
    builtins: &BuiltinTable,
) -> (Option<(Name, Arc<Proto>)>, Vec<Diagnostic>) {
    let unit = Unit {
        module,
        source,
        index: u32::MAX,
        entry: false,
        imported: HashMap::new(),
        imported_by: HashMap::new(),
        builtins,
        check_calls: true,
        library: true,
        imports: Vec::new(),
    };
    let mut functions = Vec::new();
    let mut emitter = Emitter::new(unit, &mut functions);
    let proto = emitter.bare_function(position);
    (proto, emitter.diagnostics)
}

impl<'a> Emitter<'a> {
    fn new(unit: Unit<'a>, functions: &'a mut Vec<Str>) -> Emitter<'a> {
        Emitter {
            unit,
            functions,
            states: Vec::new(),
            diagnostics: Vec::new(),
            structs: HashMap::new(),
            enums: HashSet::new(),
            aliases: HashMap::new(),
            interfaces: HashSet::new(),
            declared: HashSet::new(),
            slots: HashMap::new(),
            state_slots: HashMap::new(),
            placeholders: Vec::new(),
        }
    }

    /// The function under construction.
    fn state(&mut self) -> &mut FunctionState {
        self.states.last_mut().expect("code is emitted inside a function")
    }

    fn op(&mut self, instruction: Instruction, span: Span) {
        self.state().emit(instruction, span);
    }

    fn name(&mut self, name: &str) -> u16 {
        self.state().builder.name(name)
    }

    fn error(&mut self, code: Code, message: impl Into<String>, span: Span) {
        let span = madrigal_syntax::Span { start: span.start, end: span.end };
        self.diagnostics.push(Diagnostic::error(code, span, message));
    }

    /// `Compile error at line L: MESSAGE`
    fn compile_error(&mut self, message: &str, span: Span) {
        let line = self.unit.source.line_of(span.start);
        self.error(Code::COMPILE, format!("Compile error at line {line}: {message}"), span);
    }

    /// Starts a function; `bound` are its parameters.
    fn begin(&mut self, name: Str, self_name: Option<Name>) {
        self.states.push(FunctionState::new(name, self_name));
    }

    /// Ends the function on top and gives its code.
    fn finish(&mut self, param_names: Vec<Str>, params: u16, rest: bool) -> Arc<Proto> {
        let state = self.states.pop().expect("a function was begun");
        if state.builder.overflow {
            self.compile_error(&format!("function '{}' is too large", state.name), Span::default());
        }
        let head = Head {
            name: state.name.clone(),
            module: self.unit.index,
            param_names,
            params,
            rest,
            registers: state.count(),
            captures: state.captures.iter().map(|it| it.from).collect(),
            copied_captures: state.copied_captures,
        };
        Arc::new(state.builder.finish(head))
    }

    fn open_scope(&mut self) {
        let state = self.state();
        let scope = Scope { first: state.mark(), depth: state.depth, ..Scope::default() };
        state.scopes.push(scope);
    }

    /// Leaves the scope on top: its cleanups run, its registers are released.
    fn close_scope(&mut self, span: Span) {
        let state = self.state();
        let depth = state.scope().depth;
        if state.depth > depth {
            let after = state.builder.label();
            let to = state.builder.to(after);
            state.emit(Instruction::RunCleanups { depth, to }, span);
            state.builder.place(after);
            state.depth = depth;
        }
        state.pop_scope();
    }

    /// Binds a name in the scope on top. A second declaration of an immutable name throws when it runs.
    fn declare(&mut self, name: &Name, place: Storage, mutable: bool, span: Span) {
        if &**name == "_" {
            return;
        }
        let before = self.state().bind(name, place, mutable);
        if let (Storage::Register(src), Some(&cell)) = (place, self.state().scope().cells.get(name)) {
            self.op(Instruction::SetCell { cell, src }, span);
        }
        let taken = before.is_some_and(|it| !it.mutable)
            || before.is_none() && (self.state().scope().types.contains(name) || self.is_taken_here(name));
        if taken && !mutable {
            let index = self.name(name);
            self.op(Instruction::Redeclare { name: index }, span);
        }
    }

    /// A type declaration is reached: it binds its name like any other.
    fn declare_type(&mut self, name: &Name, span: Span) {
        let state = self.state();
        let bound = state.find_here(name).is_some_and(|it| !it.mutable);
        let known = !state.scope().types.insert(name.clone());
        if bound || known || self.is_taken_here(name) {
            let index = self.name(name);
            self.op(Instruction::Redeclare { name: index }, span);
        }
    }

    /// Whether the scope on top is that of the file and the name is taken there already.
    fn is_taken_here(&self, name: &Name) -> bool {
        matches!(self.states.as_slice(), [state] if state.scopes.len() == 1) && self.is_taken(name)
    }

    /// Whether an import or an immutable variable of the module has the name.
    fn is_taken(&self, name: &Name) -> bool {
        self.unit.imported.contains_key(name) || self.state_slots.get(name).is_some_and(|(_, mutable)| !mutable)
    }

    /// Where a name is, seen from the function on top.
    fn resolve(&mut self, name: &Name) -> Option<(Storage, bool)> {
        if &**name == "_" {
            return None;
        }
        let top = self.states.len() - 1;
        self.resolve_in(top, name).or_else(|| self.resolve_cell(top, name).map(|place| (place, false)))
    }

    fn resolve_in(&mut self, at: usize, name: &Name) -> Option<(Storage, bool)> {
        if let Some(binding) = self.states[at].find(name) {
            return Some((binding.place, binding.mutable));
        }
        let captured = self.states[at].find_capture(name);
        if let Some(found) = captured.filter(|it| !matches!(it.place, Storage::CapturedCell(_))) {
            return Some((found.place, found.mutable));
        }
        if self.states[at].self_name.as_ref() == Some(name) {
            return Some((Storage::Itself, false));
        }
        if at == 0 {
            return self.resolve_top(name);
        }
        let (outer, mutable) = self.resolve_in(at - 1, name)?;
        let from = match outer {
            Storage::Register(register) => Capture::Register(register),
            Storage::Captured(index) => Capture::Capture(index),
            Storage::Itself => Capture::Itself,
            Storage::Cell(register) => {
                return Some((self.states[at].capture(name, Capture::Register(register), true, false), false));
            }
            Storage::CapturedCell(index) => {
                return Some((self.states[at].capture(name, Capture::Capture(index), true, false), false));
            }
            Storage::Function(_) | Storage::State(_) => return Some((outer, mutable)),
        };
        Some((self.states[at].capture(name, from, false, mutable), mutable))
    }

    /// A function that an enclosing scope declares later.
    fn resolve_cell(&mut self, at: usize, name: &Name) -> Option<Storage> {
        if let Some(register) = self.states[at].find_cell(name) {
            return Some(Storage::Cell(register));
        }
        if let Some(found) = self.states[at].find_capture(name) {
            return Some(found.place);
        }
        let from = match self.resolve_cell(at.checked_sub(1)?, name)? {
            Storage::Cell(register) => Capture::Register(register),
            Storage::CapturedCell(index) => Capture::Capture(index),
            _ => return None,
        };
        Some(self.states[at].capture(name, from, true, false))
    }

    /// Names of the module: state, functions, imports.
    fn resolve_top(&self, name: &Name) -> Option<(Storage, bool)> {
        if let Some(&(slot, mutable)) = self.state_slots.get(name) {
            return Some((Storage::State(slot), mutable));
        }
        if let Some(&slot) = self.slots.get(name) {
            return Some((Storage::Function(slot), false));
        }
        match self.unit.imported.get(name) {
            Some(Export::Function(slot)) => Some((Storage::Function(*slot), false)),
            _ => None,
        }
    }

    /// The shape of a struct that is declared in the file or imported.
    fn shape(&self, name: &Name) -> Option<Arc<Shape>> {
        if let Some(shape) = self.structs.get(name) {
            return Some(shape.clone());
        }
        match self.unit.imported.get(name) {
            Some(Export::Struct(shape)) => Some(shape.clone()),
            _ => None,
        }
    }

    /// Whether a name is that of an enum: `Result`, declared in the file or imported.
    fn is_enum(&self, name: &Name) -> bool {
        &**name == "Result" || self.enums.contains(name) || matches!(self.unit.imported.get(name), Some(Export::Enum))
    }
}
