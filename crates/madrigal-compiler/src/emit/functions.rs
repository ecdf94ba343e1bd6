//! Functions and closures: parameters, defaults, captures, results.

use super::*;
use crate::hir::{Function, FunctionKind};
use madrigal_vm::GeneratorKind;

impl Emitter<'_> {
    /// Emits a closure over the current values into `dst`.
    pub(super) fn closure(&mut self, function: &Function, dst: u16, shown: Str, self_name: Option<Name>) {
        let proto = self.function(function, shown, self_name);
        let proto = self.state().builder.proto(proto);
        self.op(Instruction::MakeClosure { dst, proto }, function.span);
    }

    /// The code of a function. `self_name` is the name by which it finds itself, when no slot holds it.
    pub(super) fn function(&mut self, function: &Function, shown: Str, self_name: Option<Name>) -> Arc<Proto> {
        self.begin(shown, self_name);
        self.state().generator = match function {
            _ if function.kind == FunctionKind::Task => None,
            Function { stream: true, .. } => Some(GeneratorKind::Stream),
            Function { yields: true, .. } if self.unit.index == u32::MAX => Some(GeneratorKind::Iter),
            Function { yields: true, .. } => Some(GeneratorKind::Generator),
            _ => None,
        };
        self.open_scope();
        let params = function.params.iter().filter(|it| !it.rest).count() as u16;
        let rest = function.params.last().is_some_and(|it| it.rest);
        for param in &function.params {
            let register = self.state().allocate();
            self.declare(&param.name.0, Storage::Register(register), false, param.name.1);
        }
        self.copy_assigned(&function.assigned);
        for (position, param) in function.params.iter().enumerate() {
            if let Some(default) = &param.default {
                self.default(position as u16, default);
            }
        }
        self.check_parameters(function);
        if let Some(kind) = self.state().generator {
            self.op(Instruction::Generate { kind: kind as u8 }, function.span);
        }
        self.prepare_cells(&function.body.statements);
        self.body(function);
        let names = function.params.iter().map(|it| Str::from(&*it.name.0)).collect();
        self.finish(names, params, rest)
    }

    /// Variables of the creator that the body assigns to are copied when a call starts.
    fn copy_assigned(&mut self, assigned: &[Name]) {
        let top = self.states.len() - 1;
        for name in assigned {
            if self.states[top].find(name).is_some() || self.states[top].find_capture(name).is_some() {
                continue;
            }
            let from = match self.resolve_in(top - 1, name) {
                Some((Storage::Register(register), true)) => Capture::Register(register),
                Some((Storage::Captured(index), true)) => Capture::Capture(index),
                _ => continue,
            };
            self.states[top].capture_copied(name, from);
        }
    }

    fn default(&mut self, index: u16, default: &crate::hir::Expr) {
        let passed = self.state().builder.label();
        let to = self.state().builder.to(passed);
        self.op(Instruction::JumpIfPassed { index, to }, default.span);
        self.expr_to(default, index);
        self.state().builder.place(passed);
    }

    fn body(&mut self, function: &Function) {
        let block = &function.body;
        let end = Span { start: block.span.end.saturating_sub(1), end: block.span.end };
        if function.kind == FunctionKind::Declared {
            self.statements(&block.statements, None, block.span);
            self.close_scope(end);
            if !self.state().builder.is_after_return() {
                self.op(Instruction::ReturnNil {}, end);
            }
            return;
        }
        let result = self.state().allocate();
        self.statements(&block.statements, Some(result), block.span);
        self.close_scope(end);
        self.op(Instruction::Return { src: result }, end);
    }
}
