//! spawn, parallel, scope, deadline, mutex, select.

use super::*;
use crate::hir::{Block, Expr, Function, ParallelMode, SelectCase};
use madrigal_vm::bytecode::Instruction as I;

impl Emitter<'_> {
    pub(super) fn spawn(&mut self, body: &Function, dst: u16, span: Span) {
        let register = self.state().allocate();
        self.closure(body, register, Str::from("spawn"), None);
        self.op(I::Spawn { dst, body: register }, span);
    }

    pub(super) fn parallel(
        &mut self,
        mode: ParallelMode,
        source: &Expr,
        max_concurrent: Option<&Expr>,
        body: &Function,
        dst: u16,
        span: Span,
    ) {
        let at = self.state().allocate_many(3);
        self.parallel_source(mode, source, at, span);
        match max_concurrent {
            Some(cap) => self.expr_to(cap, at + 2),
            None => self.op(I::LoadNil { dst: at + 2 }, span),
        }
        let (mode, shown) = match mode {
            ParallelMode::Count => (0, "parallel"),
            ParallelMode::Each => (1, "parallel each"),
            ParallelMode::Settle => (2, "parallel settle"),
            ParallelMode::Stream => (3, "parallel each as stream"),
        };
        self.closure(body, at + 1, Str::from(shown), None);
        self.op(I::Parallel { mode, at }, span);
        self.op(I::Take { dst, src: at }, span);
    }

    fn parallel_source(&mut self, mode: ParallelMode, source: &Expr, at: u16, span: Span) {
        let gather = self.unit.builtins.script("__parallel_source").cloned();
        let (Some(gather), true) = (gather, mode != ParallelMode::Count) else {
            return self.expr_to(source, at);
        };
        let constant = self.state().builder.constant(madrigal_vm::Value::Closure(gather));
        self.expr_to(source, at + 1);
        self.op(I::LoadConst { dst: at, constant }, span);
        self.op(I::Call { at, count: 1 }, span);
    }

    /// A region that the outside world opens and closes around a block.
    fn region(&mut self, region: u8, dst: u16, handle: Option<&(Name, Span)>, body: &Block, span: Span) {
        let after = self.state().builder.label();
        let register = self.state().allocate();
        self.op(I::Take { dst: register, src: dst }, span);
        let to = self.state().builder.to(after);
        self.op(I::EnterRegion { region, dst: register, to }, span);
        self.state().depth += 1;
        self.open_scope();
        if let Some((name, name_span)) = handle {
            let bound = self.state().allocate();
            self.op(I::Move { dst: bound, src: register }, *name_span);
            self.declare(name, Storage::Register(bound), false, *name_span);
        }
        self.prepare_cells(&body.statements);
        self.statements(&body.statements, Some(register), body.span);
        self.close_scope(body.span);
        self.op(I::LeaveRegion {}, span);
        self.state().depth -= 1;
        self.state().builder.place(after);
        self.op(I::Take { dst, src: register }, span);
    }

    pub(super) fn scope_form(&mut self, handle: Option<&(Name, Span)>, body: &Block, dst: u16, span: Span) {
        let temporary = self.state().allocate();
        self.op(I::LoadNil { dst: temporary }, span);
        self.region(0, temporary, handle, body, span);
        self.op(I::Take { dst, src: temporary }, span);
    }

    pub(super) fn deadline(&mut self, duration: &Expr, body: &Block, dst: u16, span: Span) {
        let temporary = self.state().allocate();
        self.expr_to(duration, temporary);
        self.region(1, temporary, None, body, span);
        self.op(I::Take { dst, src: temporary }, span);
    }

    pub(super) fn mutex(&mut self, body: &Block, dst: u16, span: Span) {
        let temporary = self.state().allocate();
        self.op(I::LoadNil { dst: temporary }, span);
        self.region(2, temporary, None, body, span);
        self.op(I::Take { dst, src: temporary }, span);
    }

    pub(super) fn select(
        &mut self,
        cases: &[SelectCase],
        timeout: Option<(&Expr, &Block)>,
        default: Option<&Block>,
        dst: u16,
        span: Span,
    ) {
        let count = cases.len();
        let at = self.state().allocate_many(count.max(1) + 1);
        for (position, case) in cases.iter().enumerate() {
            self.expr_to(&case.channel, at + position as u16);
        }
        if let Some((duration, _)) = timeout {
            self.expr_to(duration, at + count as u16);
        }
        let flags = u8::from(timeout.is_some()) | u8::from(default.is_some()) << 1;
        self.op(I::Select { flags, at, count: count as u16 }, span);
        let end = self.state().builder.label();
        for (position, case) in cases.iter().enumerate() {
            let next = self.state().builder.label();
            self.op(I::TestEqualInt { when: false, a: at, value: position as i16 }, span);
            let to = self.state().builder.to(next);
            self.op(I::Jump { to }, span);
            self.open_scope();
            self.declare(&case.name.0, Storage::Register(at + 1), false, case.name.1);
            self.prepare_cells(&case.body.statements);
            self.statements(&case.body.statements, Some(dst), case.body.span);
            self.close_scope(case.body.span);
            let to = self.state().builder.to(end);
            self.op(I::Jump { to }, span);
            self.state().builder.place(next);
        }
        match timeout.map(|it| it.1).or(default) {
            Some(body) => self.block(body, Some(dst)),
            None => self.op(I::LoadNil { dst }, span),
        }
        self.state().builder.place(end);
    }
}
