//! Assignment: to variables, in place where the value allows it, and to places inside containers.

use super::*;
use crate::hir::{BinaryOperator, Expr, ExprKind, Place as HirPlace, PlaceStep};
use madrigal_vm::Value;
use madrigal_vm::bytecode::Instruction as I;

/// Most steps of one `SetPath`.
const STEPS_MAX: usize = 8;

impl Emitter<'_> {
    /// `place = value`, `place op= value`.
    pub(super) fn assign(&mut self, place: &HirPlace, operator: Option<BinaryOperator>, value: &Expr, span: Span) {
        let (name, name_span) = &place.root;
        if place.computed_root.is_some() {
            self.discard(value);
            let name = self.name("<expression>");
            return self.op(I::AssignImmutable { name }, span);
        }
        match self.resolve(name) {
            Some((Storage::Register(register), true)) if place.steps.is_empty() => {
                self.assign_register(register, name, operator, value, span);
            }
            Some((Storage::Register(register), true)) => self.assign_path(register, place, operator, value, span),
            Some((Storage::State(slot), true)) => {
                let register = self.state().allocate();
                self.op(I::LoadState { dst: register, slot }, *name_span);
                if place.steps.is_empty() {
                    self.assign_register(register, name, operator, value, span);
                } else {
                    self.assign_path(register, place, operator, value, span);
                }
                self.op(I::StoreState { slot, src: register }, span);
            }
            None if self.shape(name).is_none() && !self.is_enum(name) => {
                self.discard(value);
                let text = self.state().builder.constant(Value::from(format!("Undefined variable: {name}")));
                self.op(I::UndefinedVariable { text }, *name_span);
            }
            _ => {
                self.discard(value);
                let name = self.name(name);
                self.op(I::AssignImmutable { name }, *name_span);
            }
        }
    }

    fn assign_register(
        &mut self,
        register: u16,
        name: &Name,
        operator: Option<BinaryOperator>,
        value: &Expr,
        span: Span,
    ) {
        if let Some(operator) = operator {
            if !names::has_block(value) {
                return self.binary_with(operator, register, value, register, span);
            }
            // The right side may assign to the variable: what it held before counts.
            let before = self.state().allocate();
            self.op(I::Move { dst: before, src: register }, span);
            return self.binary_with(operator, before, value, register, span);
        }
        if self.push_in_place(register, name, value) {
            return;
        }
        if writes_at_end(value) {
            return self.expr_to(value, register);
        }
        let src = self.state().allocate();
        self.expr_to(value, src);
        self.op(I::Take { dst: register, src }, span);
    }

    /// `xs = xs.push(v)`, `s = s.add(v)` and `s = set_add(s, v)`: without copying when the variable is the only holder
    /// of the list or set.
    fn push_in_place(&mut self, register: u16, name: &Name, value: &Expr) -> bool {
        let ours = |it: &Expr| matches!(&it.kind, ExprKind::Name(it) if it == name);
        let (argument, called) = match &value.kind {
            ExprKind::MethodCall { receiver, name: called, arguments, optional: false } if ours(receiver) => {
                let [argument] = arguments.as_slice() else { return false };
                (argument, called)
            }
            ExprKind::Call { name: called, arguments } if &*called.0 == "set_add" => match arguments.as_slice() {
                [set, argument] if ours(&set.value) && !set.spread => (argument, called),
                _ => return false,
            },
            _ => return false,
        };
        let is_method = matches!(value.kind, ExprKind::MethodCall { .. });
        let builtin = if is_method { None } else { self.callee_builtin(called) };
        if argument.spread || names::has_block(&argument.value) {
            return false;
        }
        let (at, src) = (self.state().mark(), self.state().mark() + 2);
        let in_place = match (&*called.0, builtin) {
            ("push", None) if is_method => I::ListPush { list: register, src },
            ("add", None) if is_method => I::SetAdd { set: register, src },
            (_, Some(_)) => I::SetInsert { set: register, src },
            _ => return false,
        };
        self.state().allocate_many(3);
        self.expr_to(&argument.value, src);
        self.op(in_place, called.1);
        let done = self.state().builder.label();
        let to = self.state().builder.to(done);
        self.op(I::Jump { to }, called.1);
        self.op(I::Move { dst: at + 1, src: register }, called.1);
        let call = match builtin {
            Some(builtin) => I::CallBuiltin { at, builtin, count: 2 },
            None => I::CallMethod { at, method: self.method(&called.0), count: 1 },
        };
        self.op(call, called.1);
        self.op(I::Take { dst: register, src: at }, called.1);
        self.state().builder.place(done);
        true
    }

    fn assign_path(&mut self, root: u16, place: &HirPlace, operator: Option<BinaryOperator>, value: &Expr, span: Span) {
        let count = place.steps.len();
        if operator.is_none() && count == 1 {
            return self.assign_step(root, &place.steps[0], value, span);
        }
        // Registers: the steps, then the value.
        let start = self.state().allocate_many(count + 1);
        let src = start + count as u16;
        if operator.is_none() {
            self.expr_to(value, src);
        }
        for (register, step) in (start..).zip(&place.steps) {
            match step {
                PlaceStep::Property(name, step_span) => self.load_text(name, register, *step_span),
                PlaceStep::Index(index) => self.expr_to(index, register),
            }
        }
        // A long way down goes in parts; `objects` are what each starts from.
        let parts: Vec<&[PlaceStep]> = place.steps.chunks(STEPS_MAX).collect();
        let starts: Vec<u16> = (start..).step_by(STEPS_MAX).take(parts.len()).collect();
        let mut objects = vec![root];
        for (part, start) in parts.iter().zip(&starts).take(parts.len() - 1) {
            let object = self.state().allocate();
            self.read_path(objects[objects.len() - 1], part, *start, object);
            objects.push(object);
        }
        let last = parts.len() - 1;
        if let Some(operator) = operator {
            self.read_path(objects[last], parts[last], starts[last], src);
            self.binary_with(operator, src, value, src, span);
        }
        self.set_path(objects[last], parts[last], starts[last], span);
        for at in (0..last).rev() {
            self.op(I::Take { dst: starts[at + 1], src: objects[at + 1] }, span);
            self.set_path(objects[at], parts[at], starts[at], span);
        }
    }

    /// The steps stand from `start` on, the value behind them.
    fn set_path(&mut self, root: u16, steps: &[PlaceStep], start: u16, span: Span) {
        let is_property = |it: &PlaceStep| matches!(it, PlaceStep::Property(..));
        let properties = steps.iter().rev().fold(0, |bits, step| bits << 1 | u8::from(is_property(step)));
        self.op(I::SetPath { properties, root, start, count: steps.len() as u16 }, span);
    }

    /// `dst` = the present value of the place whose steps stand from `start` on.
    fn read_path(&mut self, root: u16, steps: &[PlaceStep], start: u16, dst: u16) {
        let mut object = root;
        for (position, step) in steps.iter().enumerate() {
            match step {
                PlaceStep::Property(name, span) => {
                    let name = self.name(name);
                    self.op(I::GetField { dst, object, name }, *span);
                }
                PlaceStep::Index(index) => {
                    self.op(I::GetIndex { dst, object, index: start + position as u16 }, index.span);
                }
            }
            object = dst;
        }
    }

    fn assign_step(&mut self, object: u16, step: &PlaceStep, value: &Expr, span: Span) {
        let src = self.state().allocate();
        self.expr_to(value, src);
        match step {
            PlaceStep::Property(name, _) => {
                let name = self.name(name);
                self.op(I::SetField { object, name, src }, span);
            }
            PlaceStep::Index(index) => {
                let index = self.expr_any(index);
                self.op(I::SetIndex { object, index, src }, span);
            }
        }
    }
}

/// Whether code for the expression writes its destination only as its very last act, so that the old value may be read
/// until then and stays when the expression throws.
fn writes_at_end(value: &Expr) -> bool {
    matches!(
        &value.kind,
        ExprKind::Nil
            | ExprKind::Bool(_)
            | ExprKind::Int(_)
            | ExprKind::Float(_)
            | ExprKind::Duration(_)
            | ExprKind::String(_)
            | ExprKind::Name(_)
            | ExprKind::Placeholder
            | ExprKind::Interpolation(_)
            | ExprKind::List(_)
            | ExprKind::Dict(_)
            | ExprKind::Index { optional: false, .. }
            | ExprKind::Property { optional: false, .. }
            | ExprKind::Slice { .. }
            | ExprKind::Range { .. }
            | ExprKind::Binary { .. }
            | ExprKind::Unary { .. }
    )
}
