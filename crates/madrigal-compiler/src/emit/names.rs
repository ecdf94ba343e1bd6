//! Which names a piece of program mentions and declares; needed to bind functions that are declared later.

use crate::hir::*;
use std::collections::HashSet;

/// All names read or called in the functions inside a statement.
pub(super) fn mentioned(statement: &Statement, out: &mut HashSet<Name>) {
    Walk { out, functions: 0 }.statement(statement);
}

/// Names that a statement binds to what may be a function: `fn`, and `let` or `var` of what is no plain data.
pub(super) fn declared_functions(statement: &Statement) -> Vec<&Name> {
    match &statement.kind {
        StatementKind::Function(function) => function.name.iter().map(|(name, _)| name).collect(),
        StatementKind::Let { pattern, value, .. } if may_be_callable(value) => bound_names(pattern),
        _ => Vec::new(),
    }
}

/// The names that a pattern binds.
pub(super) fn bound_names(pattern: &Pattern) -> Vec<&Name> {
    match pattern {
        Pattern::Name(name, _) => vec![name],
        Pattern::Dict { fields, rest, .. } => {
            fields.iter().map(|it| &it.name.0).chain(rest.iter().map(|it| &it.0)).collect()
        }
        Pattern::List { items, rest, .. } => {
            items.iter().map(|it| &it.name.0).chain(rest.iter().map(|it| &it.0)).collect()
        }
    }
}

fn may_be_callable(value: &Expr) -> bool {
    !matches!(
        value.kind,
        ExprKind::Nil
            | ExprKind::Bool(_)
            | ExprKind::Int(_)
            | ExprKind::Float(_)
            | ExprKind::Duration(_)
            | ExprKind::String(_)
            | ExprKind::Interpolation(_)
            | ExprKind::List(_)
            | ExprKind::StructLiteral { .. }
            | ExprKind::Binary { .. }
            | ExprKind::And(..)
            | ExprKind::Or(..)
            | ExprKind::Unary { .. }
            | ExprKind::Range { .. }
            | ExprKind::Spawn(_)
            | ExprKind::Parallel { .. }
    )
}

/// Whether evaluating the expression may run statements of the same function, which may assign variables.
pub(super) fn has_block(expr: &Expr) -> bool {
    match &expr.kind {
        ExprKind::If { .. }
        | ExprKind::Match { .. }
        | ExprKind::Try { .. }
        | ExprKind::Retry { .. }
        | ExprKind::Deadline { .. }
        | ExprKind::Scope { .. }
        | ExprKind::Select { .. }
        | ExprKind::Mutex(_) => true,
        ExprKind::Binary { left, right, .. } => has_block(left) || has_block(right),
        ExprKind::And(left, right) | ExprKind::Or(left, right) | ExprKind::Coalesce(left, right) => {
            has_block(left) || has_block(right)
        }
        ExprKind::Unary { operand, .. } | ExprKind::Propagate(operand) | ExprKind::TryStar(operand) => {
            has_block(operand)
        }
        ExprKind::Call { arguments, .. } | ExprKind::List(arguments) => arguments.iter().any(|it| has_block(&it.value)),
        ExprKind::MethodCall { receiver, arguments, .. } => {
            has_block(receiver) || arguments.iter().any(|it| has_block(&it.value))
        }
        ExprKind::Property { object, .. } => has_block(object),
        ExprKind::Index { object, index, .. } => has_block(object) || has_block(index),
        ExprKind::Interpolation(pieces) => pieces.iter().any(has_block),
        ExprKind::Range { start, end, .. } => has_block(start) || has_block(end),
        ExprKind::PipeCall { value, callee } => has_block(value) || has_block(callee),
        ExprKind::PipeBind { value, body } => has_block(value) || has_block(body),
        ExprKind::Dict(entries) | ExprKind::StructLiteral { entries, .. } => entries.iter().any(|it| match it {
            DictEntry::Field { value, .. } | DictEntry::Spread(value) => has_block(value),
            DictEntry::Computed { key, value } => has_block(key) || has_block(value),
        }),
        ExprKind::Slice { object, start, end } => {
            has_block(object) || [start, end].into_iter().flatten().any(|it| has_block(it))
        }
        ExprKind::Parallel { source, max_concurrent, .. } => {
            has_block(source) || max_concurrent.as_ref().is_some_and(|it| has_block(it))
        }
        ExprKind::Nil
        | ExprKind::Bool(_)
        | ExprKind::Int(_)
        | ExprKind::Float(_)
        | ExprKind::Duration(_)
        | ExprKind::String(_)
        | ExprKind::Name(_)
        | ExprKind::Placeholder
        | ExprKind::Closure(_)
        | ExprKind::TypeSchema(_)
        | ExprKind::Spawn(_) => false,
    }
}

struct Walk<'a> {
    out: &'a mut HashSet<Name>,
    /// Functions around the current place, of those inside the statement.
    functions: usize,
}

impl Walk<'_> {
    fn block(&mut self, block: &Block) {
        for statement in &block.statements {
            self.statement(statement);
        }
    }

    fn function(&mut self, function: &Function) {
        self.functions += 1;
        for param in &function.params {
            self.exprs(&param.default);
        }
        self.block(&function.body);
        self.functions -= 1;
    }

    fn name(&mut self, name: &Name) {
        if self.functions > 0 {
            self.out.insert(name.clone());
        }
    }

    fn exprs<'e>(&mut self, exprs: impl IntoIterator<Item = &'e Expr>) {
        for expr in exprs {
            self.expr(expr);
        }
    }

    fn arguments(&mut self, arguments: &[Argument]) {
        self.exprs(arguments.iter().map(|it| &it.value));
    }

    fn entries(&mut self, entries: &[DictEntry]) {
        for entry in entries {
            match entry {
                DictEntry::Field { value, .. } | DictEntry::Spread(value) => self.expr(value),
                DictEntry::Computed { key, value } => self.exprs([key, value]),
            }
        }
    }

    fn pattern(&mut self, pattern: &Pattern) {
        match pattern {
            Pattern::Name(..) => {}
            Pattern::Dict { fields, .. } => self.exprs(fields.iter().filter_map(|it| it.default.as_ref())),
            Pattern::List { items, .. } => self.exprs(items.iter().filter_map(|it| it.default.as_ref())),
        }
    }

    fn statement(&mut self, statement: &Statement) {
        match &statement.kind {
            StatementKind::Let { pattern, value, .. } => {
                self.pattern(pattern);
                self.expr(value);
            }
            StatementKind::Function(function) => self.function(function),
            StatementKind::Impl(it) => it.methods.iter().for_each(|method| self.function(method)),
            StatementKind::For { pattern, iterable, body } => {
                if let ForPattern::One(pattern) = pattern {
                    self.pattern(pattern);
                }
                self.expr(iterable);
                self.block(body);
            }
            StatementKind::While { condition, body } => {
                self.expr(condition);
                self.block(body);
            }
            StatementKind::Return(value) | StatementKind::Yield(value) => self.exprs(value),
            StatementKind::Throw(value) | StatementKind::Emit(value) | StatementKind::Expr(value) => self.expr(value),
            StatementKind::Guard { condition, otherwise } => {
                self.expr(condition);
                self.block(otherwise);
            }
            StatementKind::Require { condition, message } => {
                self.expr(condition);
                self.exprs(message);
            }
            StatementKind::Defer(body) => self.block(body),
            StatementKind::Assign { place, value, .. } => {
                self.name(&place.root.0);
                for step in &place.steps {
                    if let PlaceStep::Index(index) = step {
                        self.expr(index);
                    }
                }
                self.expr(value);
            }
            StatementKind::Struct(_)
            | StatementKind::Enum(_)
            | StatementKind::Interface(_)
            | StatementKind::TypeAlias { .. }
            | StatementKind::Inert { .. }
            | StatementKind::Override { .. }
            | StatementKind::Break
            | StatementKind::Continue => {}
        }
    }

    fn expr(&mut self, expr: &Expr) {
        match &expr.kind {
            ExprKind::Name(name) => self.name(name),
            ExprKind::Call { name, arguments } => {
                self.name(&name.0);
                self.arguments(arguments);
            }
            ExprKind::Interpolation(pieces) => self.exprs(pieces),
            ExprKind::List(items) => self.arguments(items),
            ExprKind::Dict(entries) | ExprKind::StructLiteral { entries, .. } => self.entries(entries),
            ExprKind::Closure(function) | ExprKind::Spawn(function) => self.function(function),
            ExprKind::Unary { operand, .. } | ExprKind::Propagate(operand) | ExprKind::TryStar(operand) => {
                self.expr(operand);
            }
            ExprKind::Binary { left, right, .. }
            | ExprKind::And(left, right)
            | ExprKind::Or(left, right)
            | ExprKind::Coalesce(left, right)
            | ExprKind::Range { start: left, end: right, .. }
            | ExprKind::PipeCall { value: left, callee: right }
            | ExprKind::PipeBind { value: left, body: right }
            | ExprKind::Index { object: left, index: right, .. } => self.exprs([&**left, &**right]),
            ExprKind::MethodCall { receiver, arguments, .. } => {
                self.expr(receiver);
                self.arguments(arguments);
            }
            ExprKind::Property { object, .. } => self.expr(object),
            ExprKind::Slice { object, start, end } => {
                self.expr(object);
                self.exprs([start, end].into_iter().flatten().map(|it| &**it));
            }
            ExprKind::If { condition, then, otherwise } => {
                self.expr(condition);
                self.block(then);
                otherwise.iter().for_each(|it| self.block(it));
            }
            ExprKind::Match { subject, arms } => {
                self.expr(subject);
                for arm in arms {
                    self.match_pattern(&arm.pattern);
                    self.exprs(&arm.guard);
                    self.block(&arm.body);
                }
            }
            ExprKind::Try { body, catch, finally } => {
                self.block(body);
                catch.iter().for_each(|it| self.block(&it.body));
                finally.iter().for_each(|it| self.block(it));
            }
            ExprKind::Retry { attempts, options, body } => {
                self.expr(attempts);
                self.exprs(options.iter().map(|(_, value)| value));
                self.block(body);
            }
            ExprKind::Deadline { duration, body } => {
                self.expr(duration);
                self.block(body);
            }
            ExprKind::Parallel { source, max_concurrent, body, .. } => {
                self.expr(source);
                self.exprs(max_concurrent.iter().map(|it| &**it));
                self.function(body);
            }
            ExprKind::Scope { body, .. } | ExprKind::Mutex(body) => self.block(body),
            ExprKind::Select { cases, timeout, default } => {
                for case in cases {
                    self.expr(&case.channel);
                    self.block(&case.body);
                }
                if let Some((duration, body)) = timeout {
                    self.expr(duration);
                    self.block(body);
                }
                default.iter().for_each(|it| self.block(it));
            }
            ExprKind::Nil
            | ExprKind::Bool(_)
            | ExprKind::Int(_)
            | ExprKind::Float(_)
            | ExprKind::Duration(_)
            | ExprKind::String(_)
            | ExprKind::TypeSchema(_)
            | ExprKind::Placeholder => {}
        }
    }

    fn match_pattern(&mut self, pattern: &MatchPattern) {
        let items = |items: &[MatchItem], walk: &mut Self| {
            for item in items {
                if let MatchItem::Value(value) = item {
                    walk.expr(value);
                }
            }
        };
        match pattern {
            MatchPattern::Any | MatchPattern::Bind(..) => {}
            MatchPattern::Variant { fields, otherwise, .. } => {
                items(fields, self);
                self.expr(otherwise);
            }
            MatchPattern::Dict(entries) => {
                for (_, item) in entries {
                    items(std::slice::from_ref(item), self);
                }
            }
            MatchPattern::List(list) => items(list, self),
            MatchPattern::Alternatives(values) => self.exprs(values),
            MatchPattern::Value(value) => self.expr(value),
        }
    }
}

/// Every declaration of a module at any depth, in source order.
pub(super) fn each_declaration<'m>(block: &'m Block, visit: &mut dyn FnMut(&'m Statement)) {
    // Declarations sit in statements; statements inside expressions are found through the blocks they hold.
    Declarations { visit }.block(block);
}

struct Declarations<'v, 'm> {
    visit: &'v mut dyn FnMut(&'m Statement),
}

impl<'m> Declarations<'_, 'm> {
    fn block(&mut self, block: &'m Block) {
        for statement in &block.statements {
            (self.visit)(statement);
            match &statement.kind {
                StatementKind::Function(function) => self.block(&function.body),
                StatementKind::Impl(it) => it.methods.iter().for_each(|method| self.block(&method.body)),
                StatementKind::For { body, .. } | StatementKind::While { body, .. } | StatementKind::Defer(body) => {
                    self.block(body);
                }
                StatementKind::Guard { otherwise, .. } => self.block(otherwise),
                StatementKind::Let { value, .. } | StatementKind::Expr(value) | StatementKind::Return(Some(value)) => {
                    self.expr(value);
                }
                StatementKind::Assign { value, .. } => self.expr(value),
                _ => {}
            }
        }
    }

    fn expr(&mut self, expr: &'m Expr) {
        match &expr.kind {
            ExprKind::Closure(function) | ExprKind::Spawn(function) => self.block(&function.body),
            ExprKind::If { then, otherwise, .. } => {
                self.block(then);
                otherwise.iter().for_each(|it| self.block(it));
            }
            ExprKind::Match { arms, .. } => arms.iter().for_each(|arm| self.block(&arm.body)),
            ExprKind::Try { body, catch, finally } => {
                self.block(body);
                catch.iter().for_each(|it| self.block(&it.body));
                finally.iter().for_each(|it| self.block(it));
            }
            ExprKind::Retry { body, .. } | ExprKind::Deadline { body, .. } | ExprKind::Scope { body, .. } => {
                self.block(body);
            }
            ExprKind::Mutex(body) => self.block(body),
            ExprKind::Parallel { body, .. } => self.block(&body.body),
            ExprKind::Call { arguments, .. } | ExprKind::MethodCall { arguments, .. } => {
                arguments.iter().for_each(|it| self.expr(&it.value));
            }
            _ => {}
        }
    }
}
