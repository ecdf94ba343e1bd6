//! Registers and scopes of one function under construction. Registers are a stack: variables and temporaries are
//! allocated upwards and released together at the end of their scope or expression.

use super::builder::{Builder, Label};
use crate::hir::{Name, Span};
use madrigal_vm::bytecode::{Capture, Instruction};
use madrigal_vm::{GeneratorKind, Str};
use std::collections::{HashMap, HashSet};

/// Where the value of a name is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Binding {
    pub place: Storage,
    pub mutable: bool,
    /// Number of scopes around it.
    level: usize,
}

/// Where the value of a name is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Storage {
    /// A register of this function.
    Register(u16),
    /// A captured value.
    Captured(u16),
    /// A captured cell.
    CapturedCell(u16),
    /// A cell in a register of this function, for a function declared later.
    Cell(u16),
    /// This function itself.
    Itself,
    /// A slot of the program's top-level functions.
    Function(u16),
    /// A slot of the module's state.
    State(u16),
}

/// A captured value: where its creator has it and where the body finds it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Captured {
    pub from: Capture,
    pub place: Storage,
    pub mutable: bool,
}

/// A scope of the language.
#[derive(Default)]
pub(super) struct Scope {
    /// Names that it binds, in order.
    pub names: Vec<Name>,
    /// Types that its statements have declared so far.
    pub types: HashSet<Name>,
    /// Cells of functions that this scope declares later.
    pub cells: HashMap<Name, u16>,
    /// First register to release.
    pub first: u16,
    /// Handlers open when it began.
    pub depth: u16,
}

/// Where `break` and `continue` go.
#[derive(Clone, Copy)]
pub(super) struct LoopLabels {
    pub after: Label,
    pub again: Label,
    /// The end of the body, from where it begins again.
    pub next: Label,
    /// Handlers open outside the body.
    pub depth: u16,
    /// Whether it is a `for`: leaving it may have to close what it goes over.
    pub closes: bool,
}

impl LoopLabels {
    pub fn new(state: &mut FunctionState, closes: bool) -> LoopLabels {
        let mut label = || state.builder.label();
        LoopLabels { after: label(), again: label(), next: label(), depth: state.depth, closes }
    }
}

/// A function under construction.
pub(super) struct FunctionState {
    pub builder: Builder,
    pub name: Str,
    /// The name by which the body can call the function itself.
    pub self_name: Option<Name>,
    pub scopes: Vec<Scope>,
    /// The open bindings of each name, innermost last; never empty.
    bindings: HashMap<Name, Vec<Binding>>,
    pub captures: Vec<Captured>,
    capture_indices: HashMap<Name, usize>,
    pub copied_captures: Vec<(u16, u16)>,
    pub loops: Vec<LoopLabels>,
    /// Handlers open here.
    pub depth: u16,
    /// Whether calls give a generator.
    pub generator: Option<GeneratorKind>,
    next: u16,
    highest: u16,
}

/// Most registers of a function; beyond it the program is refused.
const REGISTERS_MAX: u16 = 50_000;

impl FunctionState {
    pub fn new(name: Str, self_name: Option<Name>) -> FunctionState {
        FunctionState {
            builder: Builder::default(),
            name,
            self_name,
            scopes: Vec::new(),
            bindings: HashMap::new(),
            captures: Vec::new(),
            capture_indices: HashMap::new(),
            copied_captures: Vec::new(),
            loops: Vec::new(),
            depth: 0,
            generator: None,
            next: 0,
            highest: 0,
        }
    }

    /// The next free register, allocated.
    pub fn allocate(&mut self) -> u16 {
        self.allocate_many(1)
    }

    /// The first of `count` fresh registers in a row.
    pub fn allocate_many(&mut self, count: usize) -> u16 {
        let first = self.next;
        match u16::try_from(usize::from(first) + count) {
            Ok(next) if next < REGISTERS_MAX => self.next = next,
            _ => self.builder.overflow = true,
        }
        self.highest = self.highest.max(self.next);
        first
    }

    /// The next register that would be allocated.
    pub fn mark(&self) -> u16 {
        self.next
    }

    /// Releases all registers from `mark` on.
    pub fn release(&mut self, mark: u16) {
        self.next = mark;
    }

    /// Number of registers of the function.
    pub fn count(&self) -> u16 {
        self.highest.max(1)
    }

    /// Whether `register` is the last one allocated, so that a window may start there.
    pub fn is_top(&self, register: u16) -> bool {
        register + 1 == self.next
    }

    pub fn emit(&mut self, instruction: Instruction, span: Span) {
        self.builder.emit(instruction, span);
    }

    pub fn scope(&mut self) -> &mut Scope {
        self.scopes.last_mut().expect("code is emitted inside a scope")
    }

    /// Leaves the scope on top.
    pub fn pop_scope(&mut self) -> Scope {
        let scope = self.scopes.pop().expect("a scope is open");
        for name in &scope.names {
            let bindings = self.bindings.get_mut(name).expect("an open scope's names are bound");
            bindings.pop();
            if bindings.is_empty() {
                self.bindings.remove(name);
            }
        }
        self.next = scope.first;
        scope
    }

    /// Binds a name in the scope on top; the binding there was of that name, which it replaces.
    pub fn bind(&mut self, name: &Name, place: Storage, mutable: bool) -> Option<Binding> {
        let binding = Binding { place, mutable, level: self.scopes.len() };
        let bindings = self.bindings.entry(name.clone()).or_default();
        if let Some(last) = bindings.last_mut().filter(|it| it.level == binding.level) {
            return Some(std::mem::replace(last, binding));
        }
        bindings.push(binding);
        self.scope().names.push(name.clone());
        None
    }

    /// The innermost binding of a name.
    pub fn find(&self, name: &Name) -> Option<Binding> {
        self.bindings.get(name).and_then(|it| it.last()).copied()
    }

    /// All bindings of a name, innermost first.
    pub fn find_all(&self, name: &Name) -> impl Iterator<Item = Binding> {
        self.bindings.get(name).into_iter().flatten().rev().copied()
    }

    /// The binding of a name in the scope on top.
    pub fn find_here(&self, name: &Name) -> Option<Binding> {
        self.find(name).filter(|it| it.level == self.scopes.len())
    }

    /// Every name that is bound.
    pub fn bound(&self) -> impl Iterator<Item = &Name> {
        self.bindings.keys()
    }

    /// The capture of a name.
    pub fn find_capture(&self, name: &Name) -> Option<Captured> {
        self.capture_indices.get(name).map(|&index| self.captures[index])
    }

    /// The cell of a function that an open scope declares later.
    pub fn find_cell(&self, name: &str) -> Option<u16> {
        self.scopes.iter().rev().find_map(|scope| scope.cells.get(name).copied())
    }

    /// Adds a capture; where the body finds it.
    pub fn capture(&mut self, name: &Name, from: Capture, cell: bool, mutable: bool) -> Storage {
        if let Some(known) = self.find_capture(name) {
            return known.place;
        }
        let index = self.captures.len() as u16;
        let place = if cell { Storage::CapturedCell(index) } else { Storage::Captured(index) };
        self.add_capture(name, Captured { from, place, mutable });
        place
    }

    /// Adds a capture that the body assigns to: copied to a register at every call. Before any other code is emitted.
    pub fn capture_copied(&mut self, name: &Name, from: Capture) {
        let index = self.captures.len() as u16;
        let register = self.allocate();
        self.copied_captures.push((index, register));
        self.add_capture(name, Captured { from, place: Storage::Register(register), mutable: true });
    }

    fn add_capture(&mut self, name: &Name, captured: Captured) {
        if self.captures.len() >= usize::from(u16::MAX) {
            self.builder.overflow = true;
            return;
        }
        self.capture_indices.insert(name.clone(), self.captures.len());
        self.captures.push(captured);
    }
}
