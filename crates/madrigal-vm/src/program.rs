//! A linked program: its modules, their functions, the builtins. Shared by all tasks of a run, never changed by them
//! except that each module function is set once, when its declaration runs.

use crate::builtin::BuiltinTable;
use crate::value::{Closure, Str, Value};
use std::sync::{Arc, OnceLock};

/// Everything the tasks of a run share.
#[derive(Debug)]
pub struct Program {
    /// The modules; index 0 is the entry file.
    pub modules: Vec<ModuleUnit>,
    /// Top-level functions of all modules by slot: set once, when the declaration runs. Functions of a module find
    /// each other here, in any order, without holding one another.
    pub functions: Box<[FunctionSlot]>,
    /// Builtins and methods.
    pub builtins: Arc<BuiltinTable>,
}

impl Program {
    /// Whether reports leave out the code of a module, as that of the library.
    pub fn is_internal(&self, module: u32) -> bool {
        self.modules.get(module as usize).is_none_or(|it| it.internal)
    }
}

/// The source of a module.
#[derive(Debug)]
pub struct SourceText {
    /// As shown to people.
    pub path: String,
    /// The text.
    pub text: String,
    /// Offsets at which lines start.
    line_starts: OnceLock<Vec<u32>>,
}

impl SourceText {
    /// A source.
    pub fn new(path: impl Into<String>, text: impl Into<String>) -> SourceText {
        SourceText { path: path.into(), text: text.into(), line_starts: OnceLock::new() }
    }

    /// 1-based line of a byte offset.
    pub fn line(&self, offset: u32) -> u32 {
        let starts = self.line_starts.get_or_init(|| {
            let breaks = self.text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
            std::iter::once(0).chain(breaks.map(|(at, _)| at as u32 + 1)).collect()
        });
        starts.partition_point(|start| *start <= offset) as u32
    }
}

/// A module of a program.
#[derive(Debug)]
pub struct ModuleUnit {
    /// Where it came from.
    pub source: Arc<SourceText>,
    /// Number of state slots (`let` and `var` of imported modules).
    pub state_len: usize,
    /// The code that runs when the module is loaded (for the entry file: the program).
    pub body: Closure,
    /// Hidden from stack notes (the library).
    pub internal: bool,
}

/// A module-level function.
#[derive(Debug)]
pub struct FunctionSlot {
    /// Its name.
    pub name: Str,
    /// The function, once its declaration has run.
    pub value: OnceLock<Value>,
}

impl FunctionSlot {
    /// An empty slot.
    pub fn new(name: Str) -> FunctionSlot {
        FunctionSlot { name, value: OnceLock::new() }
    }
}
