//! Statements: bindings, loops, ways out.

use super::registers::LoopLabels;
use super::*;
use crate::hir::*;
use madrigal_vm::bytecode::Instruction as I;

impl Emitter<'_> {
    /// A block in a scope of its own; the value of its last statement goes to `want`.
    pub(super) fn block(&mut self, block: &Block, want: Option<u16>) {
        self.open_scope();
        self.prepare_cells(&block.statements);
        self.statements(&block.statements, want, block.span);
        self.close_scope(Span { start: block.span.end.saturating_sub(1), end: block.span.end });
    }

    /// Statements in the scope on top.
    pub(super) fn statements(&mut self, statements: &[Statement], want: Option<u16>, span: Span) {
        let (last, first) = match (want, statements.split_last()) {
            (Some(_), Some((last, first))) => (Some(last), first),
            _ => (None, statements),
        };
        for statement in first {
            self.statement(statement);
        }
        let Some(want) = want else { return };
        match last {
            Some(Statement { kind: StatementKind::Expr(value), .. }) => {
                let mark = self.state().mark();
                self.expr_to(value, want);
                self.state().release(mark);
            }
            Some(other) => {
                self.statement(other);
                self.op(I::LoadNil { dst: want }, other.span);
            }
            None => self.op(I::LoadNil { dst: want }, span),
        }
    }

    /// Makes cells for functions of this block that functions before them mention.
    pub(super) fn prepare_cells(&mut self, statements: &[Statement]) {
        let top = self.states.len() == 1 && self.states[0].scopes.len() == 1;
        let needs = |it: &Name| !(top && self.slots.contains_key(it));
        if !statements.iter().flat_map(names::declared_functions).any(needs) {
            return;
        }
        let mut before = HashSet::new();
        for statement in statements {
            for name in names::declared_functions(statement) {
                if before.contains(name)
                    && !(top && self.slots.contains_key(name))
                    && !self.state().scope().cells.contains_key(name)
                {
                    let dst = self.state().allocate();
                    self.op(I::MakeCell { dst }, statement.span);
                    self.state().scope().cells.insert(name.clone(), dst);
                }
            }
            names::mentioned(statement, &mut before);
        }
    }

    pub(super) fn statement(&mut self, statement: &Statement) {
        match &statement.kind {
            StatementKind::Let { pattern, mutable, value, .. } => self.bind_pattern(pattern, *mutable, value),
            StatementKind::Function(function) => self.declare_function(function),
            StatementKind::Impl(it) => self.declare_impl(it),
            StatementKind::Struct(StructDeclaration { name, .. })
            | StatementKind::Enum(EnumDeclaration { name, .. }) => self.declare_type(&name.0, name.1),
            StatementKind::Interface(_)
            | StatementKind::TypeAlias { .. }
            | StatementKind::Inert { .. }
            | StatementKind::Override { .. } => {}
            _ => {
                let mark = self.state().mark();
                self.plain_statement(statement);
                self.state().release(mark);
            }
        }
    }

    /// Statements that bind nothing in their scope.
    fn plain_statement(&mut self, statement: &Statement) {
        let span = statement.span;
        match &statement.kind {
            StatementKind::For { pattern, iterable, body } => self.for_loop(pattern, iterable, body, span),
            StatementKind::While { condition, body } => self.while_loop(condition, body, span),
            StatementKind::Return(value) => self.return_statement(value.as_ref(), span),
            StatementKind::Throw(value) => {
                let src = self.state().allocate();
                self.expr_to(value, src);
                self.op(I::Throw { src }, span);
            }
            StatementKind::Guard { condition, otherwise } => {
                let fine = self.state().builder.label();
                self.jump_if(condition, true, fine);
                self.block(otherwise, None);
                self.state().builder.place(fine);
            }
            StatementKind::Require { condition, message } => self.require(condition, message.as_ref(), span),
            StatementKind::Yield(value) => self.yield_statement(value.as_ref(), span),
            StatementKind::Emit(value) => self.yield_statement(Some(value), span),
            StatementKind::Defer(body) => self.defer(body, span),
            StatementKind::Break => self.leave_loop(false, span),
            StatementKind::Continue => self.leave_loop(true, span),
            StatementKind::Assign { place, operator, value } => self.assign(place, *operator, value, span),
            StatementKind::Expr(value) => self.discard(value),
            StatementKind::Let { .. }
            | StatementKind::Function(_)
            | StatementKind::Struct(_)
            | StatementKind::Enum(_)
            | StatementKind::Impl(_)
            | StatementKind::Interface(_)
            | StatementKind::TypeAlias { .. }
            | StatementKind::Inert { .. }
            | StatementKind::Override { .. } => {}
        }
    }

    /// `let` and `var`.
    pub(super) fn bind_pattern(&mut self, pattern: &Pattern, mutable: bool, value: &Expr) {
        match pattern {
            Pattern::Name(name, name_span) => {
                let register = self.state().allocate();
                match &value.kind {
                    ExprKind::Closure(function) => {
                        self.closure(function, register, Str::from("<closure>"), Some(name.clone()));
                    }
                    _ => self.expr_to(value, register),
                }
                self.declare(name, Storage::Register(register), mutable, *name_span);
            }
            Pattern::Dict { .. } | Pattern::List { .. } => {
                let src = self.state().allocate();
                self.expr_to(value, src);
                self.destructure(pattern, src, mutable);
            }
        }
    }

    /// Binds the parts of the value in `src`.
    pub(super) fn destructure(&mut self, pattern: &Pattern, src: u16, mutable: bool) {
        match pattern {
            Pattern::Name(name, span) => {
                let dst = self.state().allocate();
                self.op(I::Move { dst, src }, *span);
                self.declare(name, Storage::Register(dst), mutable, *span);
            }
            Pattern::Dict { fields, rest, span } => {
                self.op(I::CheckDict { src }, *span);
                for field in fields {
                    let dst = self.state().allocate();
                    let key = self.name(&field.key);
                    self.op(I::GetField { dst, object: src, name: key }, field.name.1);
                    self.bind_with_default(&field.name, dst, field.default.as_ref(), mutable);
                }
                if let Some((name, rest_span)) = rest {
                    let dst = self.state().allocate();
                    self.op(I::Move { dst, src }, *rest_span);
                    for field in fields {
                        let name = self.name(&field.key);
                        self.op(I::DictRemove { dict: dst, name }, *rest_span);
                    }
                    self.declare(name, Storage::Register(dst), mutable, *rest_span);
                }
            }
            Pattern::List { items, rest, span } => {
                self.op(I::CheckList { src }, *span);
                for (index, item) in items.iter().enumerate() {
                    let dst = self.state().allocate();
                    self.op(I::ListItem { dst, src, index: index as u16 }, item.name.1);
                    self.bind_with_default(&item.name, dst, item.default.as_ref(), mutable);
                }
                if let Some((name, rest_span)) = rest {
                    let dst = self.state().allocate();
                    self.op(I::ListRest { dst, src, index: items.len() as u16 }, *rest_span);
                    self.declare(name, Storage::Register(dst), mutable, *rest_span);
                }
            }
        }
    }

    fn bind_with_default(&mut self, name: &(Name, Span), dst: u16, default: Option<&Expr>, mutable: bool) {
        if let Some(default) = default {
            let present = self.state().builder.label();
            let to = self.state().builder.to(present);
            self.op(I::JumpUnlessNil { src: dst, to }, name.1);
            self.expr_to(default, dst);
            self.state().builder.place(present);
        }
        self.declare(&name.0, Storage::Register(dst), mutable, name.1);
    }

    fn declare_function(&mut self, function: &Function) {
        let Some((name, span)) = &function.name else { return };
        let top = self.states.len() == 1 && self.states[0].scopes.len() == 1;
        let known = self.state().find_here(name).is_some();
        match self.slots.get(name).copied() {
            Some(slot) if top && !known => {
                let src = self.state().allocate();
                self.closure(function, src, Str::from(&**name), None);
                self.op(I::DefineFunction { function: slot, src }, *span);
                self.state().release(src);
                self.declare(name, Storage::Function(slot), false, *span);
            }
            _ => {
                let register = self.state().allocate();
                self.closure(function, register, Str::from(&**name), Some(name.clone()));
                self.declare(name, Storage::Register(register), false, *span);
            }
        }
    }

    fn declare_impl(&mut self, it: &ImplDeclaration) {
        for method in &it.methods {
            let Some((name, span)) = &method.name else { continue };
            let src = self.state().allocate();
            self.closure(method, src, Str::from(format!("{}.{name}", it.name.0)), None);
            let (owner, method) = (self.name(&it.name.0), self.name(name));
            self.op(I::DefineMethod { src, owner, method }, *span);
            self.state().release(src);
        }
    }

    fn for_loop(&mut self, pattern: &ForPattern, iterable: &Expr, body: &Block, span: Span) {
        let iter = self.state().allocate_many(3);
        self.expr_to(iterable, iter);
        self.op(I::ForStart { iter }, span);
        let state = self.state();
        let labels = LoopLabels::new(state, true);
        state.builder.place(labels.again);
        let to = state.builder.to(labels.after);
        state.emit(I::ForNext { iter, to }, span);
        state.loops.push(labels);
        self.open_scope();
        let item = iter + 2;
        match pattern {
            ForPattern::One(Pattern::Name(name, name_span)) => {
                self.declare(name, Storage::Register(item), true, *name_span);
            }
            ForPattern::One(pattern) => self.destructure(pattern, item, true),
            ForPattern::Pair(first, second) => {
                for ((name, name_span), half) in [(first, "first"), (second, "second")] {
                    let dst = self.state().allocate();
                    let half = self.name(half);
                    self.op(I::GetField { dst, object: item, name: half }, *name_span);
                    self.declare(name, Storage::Register(dst), true, *name_span);
                }
            }
        }
        self.prepare_cells(&body.statements);
        self.statements(&body.statements, None, body.span);
        self.close_scope(body.span);
        self.end_loop(labels, span);
        self.op(I::ForEnd { iter }, span);
        // What was iterated over must not outlive the loop.
        self.op(I::LoadNil { dst: iter + 1 }, span);
    }

    fn while_loop(&mut self, condition: &Expr, body: &Block, span: Span) {
        let state = self.state();
        let labels = LoopLabels::new(state, false);
        state.builder.place(labels.again);
        state.loops.push(labels);
        let mark = self.state().mark();
        self.jump_if(condition, false, labels.after);
        self.state().release(mark);
        self.block(body, None);
        self.end_loop(labels, span);
    }

    fn end_loop(&mut self, labels: LoopLabels, span: Span) {
        let state = self.state();
        state.loops.pop();
        state.builder.place(labels.next);
        state.builder.end_loop(labels.again, labels.after, span);
        state.builder.place(labels.after);
    }

    /// `continue` or `break`. Every way back passes a `Loop`, which costs fuel.
    fn leave_loop(&mut self, back: bool, span: Span) {
        let Some(labels) = self.state().loops.last().copied() else {
            // Lowering has reported it.
            return;
        };
        let state = self.state();
        let depth = labels.depth;
        let cleanups = state.depth > depth;
        let to = state.builder.to(match back {
            true if cleanups => labels.next,
            true => labels.again,
            false => labels.after,
        });
        let instruction = match back {
            _ if cleanups => I::RunCleanups { depth, to },
            true => I::Loop { to },
            false => I::Jump { to },
        };
        state.emit(instruction, span);
    }

    fn return_statement(&mut self, value: Option<&Expr>, span: Span) {
        let src = self.state().allocate();
        let script = self.states.len() == 1 && self.unit.module.pipelines.is_empty();
        match value {
            Some(value) if !script => {
                if self.state().depth == 0 {
                    if self.tail_call(value, src) {
                        return;
                    }
                    // The variable dies with the call.
                    let src = self.expr_any(value);
                    return self.return_value(src, span);
                }
                self.expr_to(value, src);
            }
            Some(value) => {
                self.expr_to(value, src);
                self.op(I::LoadNil { dst: src }, span);
            }
            None => self.op(I::LoadNil { dst: src }, span),
        }
        self.return_value(src, span);
    }

    /// Returns a register, through the cleanups that are open.
    pub(super) fn return_value(&mut self, src: u16, span: Span) {
        let state = self.state();
        let through = state.depth > 0 || state.loops.iter().any(|it| it.closes);
        let instruction = if through { I::Leave { src } } else { I::Return { src } };
        self.op(instruction, span);
    }

    /// `yield` and `emit`; outside of a generator function nothing is delivered.
    fn yield_statement(&mut self, value: Option<&Expr>, span: Span) {
        let src = self.state().allocate();
        match value {
            Some(value) => self.expr_to(value, src),
            None => self.op(I::LoadNil { dst: src }, span),
        }
        if self.state().generator.is_some() {
            self.op(I::Yield { src }, span);
        }
    }

    fn require(&mut self, condition: &Expr, message: Option<&Expr>, span: Span) {
        let fine = self.state().builder.label();
        self.jump_if(condition, true, fine);
        let src = self.state().allocate();
        match message {
            Some(message) => self.expr_to(message, src),
            None => self.load_text("require condition failed", src, span),
        }
        self.op(I::Throw { src }, span);
        self.state().builder.place(fine);
    }

    pub(super) fn load_text(&mut self, text: &str, dst: u16, span: Span) {
        let constant = self.state().builder.constant(madrigal_vm::Value::from(text));
        self.op(I::LoadConst { dst, constant }, span);
    }
}
