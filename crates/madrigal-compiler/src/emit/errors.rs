//! try, catch, finally, defer, retry.

use super::*;
use crate::hir::{Block, Catch, Expr, Type};
use madrigal_vm::bytecode::Instruction as I;

impl Emitter<'_> {
    /// All forms of `try`.
    pub(super) fn try_form(
        &mut self,
        body: &Block,
        catch: Option<&Catch>,
        finally: Option<&Block>,
        want: Option<u16>,
        span: Span,
    ) {
        let Some(finally) = finally else {
            return match catch {
                Some(catch) => self.catching(body, catch, want, span),
                None => self.try_result(body, want, span),
            };
        };
        let (cleanup, after) = (self.state().builder.label(), self.state().builder.label());
        let to = self.state().builder.to(cleanup);
        self.op(I::PushCleanup { replaces: true, to }, span);
        self.state().depth += 1;
        match catch {
            Some(catch) => self.catching(body, catch, want, span),
            None => self.block(body, want),
        }
        let depth = self.state().depth - 1;
        let to = self.state().builder.to(after);
        self.op(I::RunCleanups { depth, to }, span);
        self.state().builder.place(cleanup);
        // While it runs there is one handler in the place of the one that led here.
        self.block(finally, None);
        self.op(I::EndCleanup {}, span);
        self.state().depth = depth;
        self.state().builder.place(after);
    }

    fn catching(&mut self, body: &Block, catch: &Catch, want: Option<u16>, span: Span) {
        let error = self.state().allocate();
        let (handler, after) = (self.state().builder.label(), self.state().builder.label());
        self.push_catch(false, error, handler, span);
        self.block(body, want);
        self.pop_catch(after, span);
        self.state().builder.place(handler);
        self.state().depth += 1;
        if let Some(Type::Named(name, _)) = &catch.annotation {
            let name = self.name(name);
            self.op(I::CatchFilter { src: error, name }, span);
        }
        self.open_scope();
        if let Some((name, name_span)) = &catch.name {
            self.declare(name, Storage::Register(error), false, *name_span);
        }
        self.prepare_cells(&catch.body.statements);
        self.statements(&catch.body.statements, want, catch.body.span);
        self.close_scope(catch.body.span);
        self.op(I::EndCatch {}, span);
        self.state().depth -= 1;
        self.state().builder.place(after);
    }

    fn push_catch(&mut self, retry: bool, dst: u16, handler: builder::Label, span: Span) {
        let to = self.state().builder.to(handler);
        self.op(I::PushCatch { retry, dst, to }, span);
        self.state().depth += 1;
    }

    fn pop_catch(&mut self, after: builder::Label, span: Span) {
        self.op(I::PopHandler {}, span);
        self.state().depth -= 1;
        let to = self.state().builder.to(after);
        self.op(I::Jump { to }, span);
    }

    /// `try { .. }` alone: a `Result`.
    fn try_result(&mut self, body: &Block, want: Option<u16>, span: Span) {
        let dst = want.unwrap_or_else(|| self.state().allocate());
        let value = self.state().allocate();
        let (handler, after) = (self.state().builder.label(), self.state().builder.label());
        self.push_catch(false, value, handler, span);
        self.block(body, Some(value));
        self.op(I::WrapOk { dst, src: value }, span);
        self.pop_catch(after, span);
        self.state().builder.place(handler);
        self.op(I::WrapErr { dst, src: value }, span);
        self.op(I::EndCatch {}, span);
        self.state().builder.place(after);
    }

    /// `defer { .. }`: from here on every way out of the scope passes through the block.
    pub(super) fn defer(&mut self, body: &Block, span: Span) {
        let (cleanup, after) = (self.state().builder.label(), self.state().builder.label());
        let to = self.state().builder.to(cleanup);
        self.op(I::PushCleanup { replaces: false, to }, span);
        let to = self.state().builder.to(after);
        self.op(I::Jump { to }, span);
        self.state().builder.place(cleanup);
        self.state().depth += 1;
        self.block(body, None);
        self.op(I::EndCleanup {}, span);
        self.state().builder.place(after);
    }

    /// `retry n with {options} { .. }`.
    pub(super) fn retry(&mut self, attempts: &Expr, options: &[(Name, Expr)], body: &Block, dst: u16, span: Span) {
        let left = self.state().allocate();
        self.expr_to(attempts, left);
        self.op(I::Attempts { dst: left, src: left }, span);
        let error = self.state().allocate();
        let settings = (!options.is_empty()).then(|| self.retry_settings(options, left, span));
        let state = self.state();
        let (again, handler, after) = (state.builder.label(), state.builder.label(), state.builder.label());
        state.builder.place(again);
        self.push_catch(true, error, handler, span);
        let value = self.state().allocate();
        self.block(body, Some(value));
        self.op(I::Take { dst, src: value }, span);
        self.pop_catch(after, span);
        self.state().builder.place(handler);
        self.op(I::SubtractInt { dst: left, a: left, value: 1 }, span);
        if let Some(settings) = settings {
            self.retry_wait(settings, error, left, span);
        }
        self.op(I::EndCatch {}, span);
        let exhausted = self.state().builder.label();
        self.op(I::TestLessInt { when: true, a: left, value: 1 }, span);
        let to = self.state().builder.to(exhausted);
        self.op(I::Jump { to }, span);
        let to = self.state().builder.to(again);
        self.op(I::Loop { to }, span);
        self.state().builder.place(exhausted);
        self.op(I::LoadNil { dst }, span);
        self.state().builder.place(after);
    }

    /// The options as a dict, with the number of attempts as `__attempts`.
    fn retry_settings(&mut self, options: &[(Name, Expr)], attempts: u16, span: Span) -> u16 {
        let dict = self.state().allocate();
        self.op(I::MakeDict { dst: dict }, span);
        for (key, value) in options {
            let src = self.state().allocate();
            self.expr_to(value, src);
            let name = self.name(key);
            self.op(I::DictSet { dict, name, src }, value.span);
            self.state().release(src);
        }
        let src = self.state().allocate();
        self.op(I::Move { dst: src, src: attempts }, span);
        let name = self.name("__attempts");
        self.op(I::DictSet { dict, name, src }, span);
        self.state().release(src);
        dict
    }

    /// Waits before the next attempt, or throws the error on when it is of another category.
    fn retry_wait(&mut self, settings: u16, error: u16, left: u16, span: Span) {
        let mark = self.state().mark();
        let at = self.state().allocate_many(4);
        for (register, src) in [(at + 1, settings), (at + 2, error), (at + 3, left)] {
            self.op(I::Move { dst: register, src }, span);
        }
        let Some(builtin) = self.unit.builtins.function("__retry_wait") else {
            return self.compile_error("retry options need the concurrency library", span);
        };
        let builtin = self.state().builder.builtin(builtin);
        self.op(I::CallBuiltin { at, builtin, count: 3 }, span);
        let goes_on = self.state().builder.label();
        let to = self.state().builder.to(goes_on);
        self.op(I::JumpIf { src: at, to }, span);
        // No enum has this name, so the error is thrown on as it is.
        let name = self.name("");
        self.op(I::CatchFilter { src: error, name }, span);
        self.state().builder.place(goes_on);
        self.state().release(mark);
    }
}
