//! Code under construction: instructions, labels, constants and tables of one function. Nobody else counts positions.

use crate::hir::Span;
use madrigal_vm::builtin::{Builtin, MethodSet};
use madrigal_vm::bytecode::{Capture, Instruction, Proto, TypeCheck};
use madrigal_vm::{Shape, Str, Value};
use std::collections::HashMap;
use triomphe::Arc;

/// A place in the code that jumps can name before it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Label(u32);

/// Position of a label that is not placed yet.
const UNPLACED: u32 = u32::MAX;

/// The code of a function under construction.
#[derive(Default)]
pub(super) struct Builder {
    code: Vec<Instruction>,
    spans: Vec<(u32, u32)>,
    labels: Vec<u32>,
    constants: Vec<Value>,
    strings: HashMap<Str, u32>,
    names: Vec<Str>,
    name_indices: HashMap<Str, u16>,
    protos: Vec<Arc<Proto>>,
    builtins: Vec<Arc<Builtin>>,
    methods: Vec<(Str, MethodSet)>,
    shapes: Vec<Arc<Shape>>,
    checks: Vec<(Str, TypeCheck)>,
    /// Set when a table has outgrown its operand.
    pub overflow: bool,
}

impl Builder {
    /// Appends an instruction that stands for the text at `span`.
    pub fn emit(&mut self, instruction: Instruction, span: Span) {
        self.code.push(instruction);
        self.spans.push((span.start, span.end));
    }

    /// A new label.
    pub fn label(&mut self) -> Label {
        self.labels.push(UNPLACED);
        Label(self.labels.len() as u32 - 1)
    }

    /// The label as a jump operand; replaced by its position in [`Builder::finish`].
    pub fn to(&self, label: Label) -> u32 {
        label.0
    }

    /// Puts the label here.
    pub fn place(&mut self, label: Label) {
        self.labels[label.0 as usize] = self.code.len() as u32;
    }

    /// Goes back to `again` as the last instruction of a loop that is left at `after`. A loop that begins with a plain
    /// test, or with its next item, does that here as well.
    pub fn end_loop(&mut self, again: Label, after: Label, span: Span) {
        let head = self.labels[again.0 as usize] as usize;
        let fused = self.fused(head, after).unwrap_or(Instruction::Loop { to: again.0 });
        self.emit(fused, span);
    }

    fn fused(&self, head: usize, after: Label) -> Option<Instruction> {
        let back = |skipped: usize| u16::try_from((self.code.len() + 1).checked_sub(head + skipped)?).ok();
        let test = match *self.code.get(head)? {
            Instruction::ForNext { iter, to } if to == after.0 => {
                return Some(Instruction::ForAgain { iter, back: back(1)? });
            }
            test => test,
        };
        if !matches!(self.code.get(head + 1)?, Instruction::Jump { to } if *to == after.0) {
            return None;
        }
        let back = back(2)?;
        Some(match test {
            Instruction::TestLess { when: false, a, b } => Instruction::LoopLess { a, b, back },
            Instruction::TestLessEqual { when: false, a, b } => Instruction::LoopLessEqual { a, b, back },
            Instruction::TestLessInt { when: false, a, value } => Instruction::LoopLessInt { a, value, back },
            Instruction::TestGreaterInt { when: false, a, value } => Instruction::LoopGreaterInt { a, value, back },
            Instruction::TestLessEqualInt { when: false, a, value } => {
                Instruction::LoopLessInt { a, value: value.checked_add(1)?, back }
            }
            Instruction::TestGreaterEqualInt { when: false, a, value } => {
                Instruction::LoopGreaterInt { a, value: value.checked_sub(1)?, back }
            }
            _ => return None,
        })
    }

    /// Whether the last instruction never goes on to the next. Only valid where no label is placed.
    pub fn is_after_return(&self) -> bool {
        let here = self.code.len() as u32;
        let ended = matches!(self.code.last(), Some(Instruction::Return { .. } | Instruction::ReturnNil {}));
        ended && !self.labels.contains(&here)
    }

    /// The operand for position `index` of a table.
    fn index(&mut self, index: usize) -> u16 {
        u16::try_from(index).unwrap_or_else(|_| {
            self.overflow = true;
            0
        })
    }

    /// Index of a constant.
    pub fn constant(&mut self, value: Value) -> u32 {
        if let Value::String(text) = &value {
            if let Some(&known) = self.strings.get(text) {
                return known;
            }
            self.strings.insert(text.clone(), self.constants.len() as u32);
        }
        self.constants.push(value);
        self.constants.len() as u32 - 1
    }

    /// Index of a name.
    pub fn name(&mut self, name: &str) -> u16 {
        if let Some(&known) = self.name_indices.get(name) {
            return known;
        }
        self.names.push(Str::from(name));
        let index = self.index(self.names.len() - 1);
        self.name_indices.insert(Str::from(name), index);
        index
    }

    /// Index of a nested function.
    pub fn proto(&mut self, proto: Arc<Proto>) -> u16 {
        self.protos.push(proto);
        self.index(self.protos.len() - 1)
    }

    /// Index of a builtin.
    pub fn builtin(&mut self, builtin: &Arc<Builtin>) -> u16 {
        let found = self.builtins.iter().position(|it| it.name == builtin.name);
        let index = found.unwrap_or_else(|| {
            self.builtins.push(builtin.clone());
            self.builtins.len() - 1
        });
        self.index(index)
    }

    /// Index of a method name.
    pub fn method(&mut self, name: &str, set: Option<&MethodSet>) -> u16 {
        let found = self.methods.iter().position(|(known, _)| known.as_str() == name);
        let index = found.unwrap_or_else(|| {
            self.methods.push((Str::from(name), set.cloned().unwrap_or_default()));
            self.methods.len() - 1
        });
        self.index(index)
    }

    /// Index of a shape.
    pub fn shape(&mut self, shape: &Arc<Shape>) -> u16 {
        let found = self.shapes.iter().position(|it| Arc::ptr_eq(it, shape));
        let index = found.unwrap_or_else(|| {
            self.shapes.push(shape.clone());
            self.shapes.len() - 1
        });
        self.index(index)
    }

    /// Index of a check of the parameter `name`.
    pub fn check(&mut self, name: Str, check: TypeCheck) -> u16 {
        self.checks.push((name, check));
        self.index(self.checks.len() - 1)
    }

    /// The finished function. Every label that is jumped to must have been placed.
    pub fn finish(mut self, head: Head) -> Proto {
        let labels = std::mem::take(&mut self.labels);
        for instruction in &mut self.code {
            if let Some(to) = target(instruction) {
                *to = labels[*to as usize];
            }
        }
        Proto {
            name: head.name,
            module: head.module,
            param_names: head.param_names,
            params: head.params,
            rest: head.rest,
            registers: head.registers,
            code: self.code.into(),
            spans: self.spans.into(),
            constants: self.constants.into(),
            names: self.names.into(),
            plain_params: if !head.rest && head.copied_captures.is_empty() { u32::from(head.params) } else { u32::MAX },
            protos: self.protos.into(),
            builtins: self.builtins.into(),
            methods: self.methods.into(),
            shapes: self.shapes.into(),
            checks: self.checks.into(),
            captures: head.captures.into(),
            copied_captures: head.copied_captures.into(),
        }
    }
}

/// What a function is besides its code.
pub(super) struct Head {
    pub name: Str,
    pub module: u32,
    pub param_names: Vec<Str>,
    pub params: u16,
    pub rest: bool,
    pub registers: u16,
    pub captures: Vec<Capture>,
    pub copied_captures: Vec<(u16, u16)>,
}

/// The jump operand of an instruction.
fn target(instruction: &mut Instruction) -> Option<&mut u32> {
    match instruction {
        Instruction::Jump { to }
        | Instruction::Loop { to }
        | Instruction::JumpIf { to, .. }
        | Instruction::JumpUnless { to, .. }
        | Instruction::JumpIfNil { to, .. }
        | Instruction::JumpUnlessNil { to, .. }
        | Instruction::JumpIfCallable { to, .. }
        | Instruction::JumpIfPassed { to, .. }
        | Instruction::ForNext { to, .. }
        | Instruction::PushCatch { to, .. }
        | Instruction::PushCleanup { to, .. }
        | Instruction::RunCleanups { to, .. }
        | Instruction::EnterRegion { to, .. } => Some(to),
        _ => None,
    }
}
