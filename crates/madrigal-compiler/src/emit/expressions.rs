//! Expressions: literals, operators, conditions, collections, members.

use super::*;
use crate::hir::*;
use madrigal_vm::Value;
use madrigal_vm::bytecode::Instruction as I;

impl Emitter<'_> {
    /// Evaluates for the effect only.
    pub(super) fn discard(&mut self, expr: &Expr) {
        let mark = self.state().mark();
        match &expr.kind {
            ExprKind::If { condition, then, otherwise } => {
                self.if_form(condition, then, otherwise.as_ref(), None, expr.span)
            }
            ExprKind::Match { subject, arms } => self.match_form(subject, arms, None, expr.span),
            ExprKind::Try { body, catch: Some(catch), finally } => {
                self.try_form(body, Some(catch), finally.as_ref(), None, expr.span);
            }
            _ => {
                let dst = self.state().allocate();
                self.expr_to(expr, dst);
            }
        }
        self.state().release(mark);
    }

    /// Evaluates into a register: that of the variable itself when it is one, else a fresh one.
    pub(super) fn expr_any(&mut self, expr: &Expr) -> u16 {
        match &expr.kind {
            ExprKind::Name(name) => {
                if let Some((Storage::Register(register), _)) = self.resolve(name) {
                    return register;
                }
            }
            ExprKind::Placeholder => {
                if let Some(&register) = self.placeholders.last() {
                    return register;
                }
            }
            _ => {}
        }
        let dst = self.state().allocate();
        self.expr_to(expr, dst);
        dst
    }

    /// Evaluates into `dst`. Temporaries are released.
    pub(super) fn expr_to(&mut self, expr: &Expr, dst: u16) {
        let mark = self.state().mark();
        self.expr_into(expr, dst);
        self.state().release(mark);
    }

    fn expr_into(&mut self, expr: &Expr, dst: u16) {
        let span = expr.span;
        match &expr.kind {
            ExprKind::Nil => self.op(I::LoadNil { dst }, span),
            ExprKind::Bool(value) => self.op(I::LoadBool { dst, value: *value }, span),
            ExprKind::Int(value) => self.int(*value, dst, span),
            ExprKind::Float(value) => self.load(Value::Float(*value), dst, span),
            ExprKind::Duration(value) => self.load(Value::Duration(*value), dst, span),
            ExprKind::String(value) => self.load_text(value, dst, span),
            ExprKind::Interpolation(pieces) => self.interpolation(pieces, dst, span),
            ExprKind::Name(name) => self.read_name(name, dst, span),
            ExprKind::Placeholder => match self.placeholders.last().copied() {
                Some(src) => self.op(I::Move { dst, src }, span),
                None => self.op(I::LoadNil { dst }, span),
            },
            ExprKind::List(items) => self.list(items, dst, span),
            ExprKind::Dict(entries) => self.dict(entries, dst, span),
            ExprKind::StructLiteral { name, entries } => self.struct_literal(name, entries, dst, span),
            ExprKind::TypeSchema(definition) => {
                let schema = self.tool_schema(definition);
                self.load(schema, dst, span);
            }
            ExprKind::Closure(function) => {
                let self_name = function.name.as_ref().map(|it| it.0.clone());
                self.closure(function, dst, Str::from("<closure>"), self_name);
            }
            ExprKind::Unary { operator, operand } => {
                let src = self.expr_any(operand);
                self.op(
                    match operator {
                        UnaryOperator::Not => I::Not { dst, src },
                        UnaryOperator::Negate => I::Negate { dst, src },
                    },
                    span,
                );
            }
            ExprKind::Binary { operator, left, right } => {
                let a = self.left_operand(left, right);
                // An error of an operator is shown where its left operand begins.
                let start = start_of(left);
                self.binary_with(*operator, a, right, dst, Span { start, end: span.end });
            }
            ExprKind::And(..) | ExprKind::Or(..) => self.truth_of(expr, dst),
            ExprKind::Coalesce(left, right) => {
                let end = self.state().builder.label();
                self.expr_to(left, dst);
                let to = self.state().builder.to(end);
                self.op(I::JumpUnlessNil { src: dst, to }, span);
                self.expr_to(right, dst);
                self.state().builder.place(end);
            }
            ExprKind::Range { start, end, exclusive } => {
                let first = self.state().allocate_many(2);
                self.expr_to(start, first);
                self.expr_to(end, first + 1);
                self.op(I::MakeRange { dst, start: first, exclusive: *exclusive }, span);
            }
            ExprKind::PipeCall { value, callee } => self.pipe_call(value, callee, dst, span),
            ExprKind::PipeBind { value, body } => {
                let register = self.state().allocate();
                self.expr_to(value, register);
                self.placeholders.push(register);
                self.expr_to(body, dst);
                self.placeholders.pop();
            }
            ExprKind::Call { name, arguments } => self.call(name, arguments, dst, span),
            ExprKind::MethodCall { receiver, name, arguments, optional } => {
                self.method_call(receiver, name, arguments, *optional, dst, span);
            }
            ExprKind::Property { object, name, optional } => self.property(object, name, *optional, dst, span),
            ExprKind::Index { object, index, optional } => self.index(object, index, *optional, dst, span),
            ExprKind::Slice { object, start, end } => {
                let from = self.state().allocate();
                self.expr_to(object, from);
                let bounds = self.state().allocate_many(2);
                for (bound, register) in [(start, bounds), (end, bounds + 1)] {
                    match bound {
                        Some(bound) => self.expr_to(bound, register),
                        None => self.op(I::LoadNil { dst: register }, span),
                    }
                }
                self.op(I::Slice { dst, object: from, start: bounds }, span);
            }
            ExprKind::Propagate(operand) => self.propagate(operand, dst, span),
            ExprKind::If { condition, then, otherwise } => {
                self.if_form(condition, then, otherwise.as_ref(), Some(dst), span)
            }
            ExprKind::Match { subject, arms } => self.match_form(subject, arms, Some(dst), span),
            ExprKind::Try { body, catch, finally } => {
                self.try_form(body, catch.as_ref(), finally.as_ref(), Some(dst), span);
            }
            ExprKind::TryStar(operand) => self.expr_to(operand, dst),
            ExprKind::Retry { attempts, options, body } => self.retry(attempts, options, body, dst, span),
            ExprKind::Deadline { duration, body } => self.deadline(duration, body, dst, span),
            ExprKind::Parallel { mode, source, max_concurrent, body } => {
                self.parallel(*mode, source, max_concurrent.as_deref(), body, dst, span);
            }
            ExprKind::Spawn(body) => self.spawn(body, dst, span),
            ExprKind::Scope { handle, body } => self.scope_form(handle.as_ref(), body, dst, span),
            ExprKind::Select { cases, timeout, default } => {
                self.select(cases, timeout.as_ref().map(|(it, body)| (&**it, body)), default.as_ref(), dst, span);
            }
            ExprKind::Mutex(body) => self.mutex(body, dst, span),
        }
    }

    pub(super) fn load(&mut self, value: Value, dst: u16, span: Span) {
        let constant = self.state().builder.constant(value);
        self.op(I::LoadConst { dst, constant }, span);
    }

    fn int(&mut self, value: i64, dst: u16, span: Span) {
        match i32::try_from(value) {
            Ok(value) => self.op(I::LoadInt { dst, value }, span),
            Err(_) => self.load(Value::Int(value), dst, span),
        }
    }

    fn interpolation(&mut self, pieces: &[Expr], dst: u16, span: Span) {
        let start = self.state().allocate_many(pieces.len());
        for (position, piece) in pieces.iter().enumerate() {
            self.expr_to(piece, start + position as u16);
        }
        self.op(I::Interpolate { dst, start, count: pieces.len() as u16 }, span);
    }

    /// The left operand of an operator: a copy of a variable if evaluating the right one may assign to it.
    fn left_operand(&mut self, left: &Expr, right: &Expr) -> u16 {
        if matches!(left.kind, ExprKind::Name(_)) && names::has_block(right) {
            let copy = self.state().allocate();
            self.expr_to(left, copy);
            return copy;
        }
        self.expr_any(left)
    }

    /// `dst = a operator right`.
    pub(super) fn binary_with(&mut self, operator: BinaryOperator, a: u16, right: &Expr, dst: u16, span: Span) {
        if let ExprKind::Int(value) = right.kind
            && let Some(instruction) = self.with_int(operator, a, value, dst)
        {
            return self.op(instruction, span);
        }
        let b = self.expr_any(right);
        let instruction = match operator {
            BinaryOperator::Add => I::Add { dst, a, b },
            BinaryOperator::Subtract => I::Subtract { dst, a, b },
            BinaryOperator::Multiply => I::Multiply { dst, a, b },
            BinaryOperator::Divide => I::Divide { dst, a, b },
            BinaryOperator::Modulo => I::Modulo { dst, a, b },
            BinaryOperator::Power => I::Power { dst, a, b },
            BinaryOperator::Equal => I::Equal { dst, a, b },
            BinaryOperator::NotEqual => I::NotEqual { dst, a, b },
            BinaryOperator::Less => I::Less { dst, a, b },
            BinaryOperator::Greater => I::Less { dst, a: b, b: a },
            BinaryOperator::LessEqual => I::LessEqual { dst, a, b },
            BinaryOperator::GreaterEqual => I::LessEqual { dst, a: b, b: a },
            BinaryOperator::In => I::In { dst, a, b },
            BinaryOperator::NotIn => I::NotIn { dst, a, b },
        };
        self.op(instruction, span);
    }

    /// The instruction with a small int operand, when there is one.
    fn with_int(&mut self, operator: BinaryOperator, a: u16, value: i64, dst: u16) -> Option<I> {
        if operator == BinaryOperator::Modulo && value > 0 {
            let constant = self.state().builder.constant(Value::Int(value));
            return u16::try_from(constant).ok().map(|constant| I::ModuloConst { dst, a, constant });
        }
        let value = i16::try_from(value).ok()?;
        match operator {
            BinaryOperator::Add => Some(I::AddInt { dst, a, value }),
            BinaryOperator::Subtract => Some(I::SubtractInt { dst, a, value }),
            BinaryOperator::Multiply => Some(I::MultiplyInt { dst, a, value }),
            _ => None,
        }
    }

    /// `&&` and `||` as a value.
    fn truth_of(&mut self, expr: &Expr, dst: u16) {
        let (no, end) = (self.state().builder.label(), self.state().builder.label());
        self.jump_if(expr, false, no);
        self.op(I::LoadBool { dst, value: true }, expr.span);
        let to = self.state().builder.to(end);
        self.op(I::Jump { to }, expr.span);
        self.state().builder.place(no);
        self.op(I::LoadBool { dst, value: false }, expr.span);
        self.state().builder.place(end);
    }

    /// Jumps to `label` when the condition's truth is `when`.
    pub(super) fn jump_if(&mut self, condition: &Expr, when: bool, label: builder::Label) {
        let mark = self.state().mark();
        let span = condition.span;
        match &condition.kind {
            ExprKind::Unary { operator: UnaryOperator::Not, operand } => self.jump_if(operand, !when, label),
            ExprKind::And(left, right) => self.jump_both(left, right, true, when, label),
            ExprKind::Or(left, right) => self.jump_both(left, right, false, when, label),
            ExprKind::Binary { operator, left, right } if is_comparison(*operator) => {
                let a = self.left_operand(left, right);
                self.test(*operator, when, a, right, span);
                let to = self.state().builder.to(label);
                self.op(I::Jump { to }, span);
            }
            _ => {
                let src = self.expr_any(condition);
                let to = self.state().builder.to(label);
                self.op(if when { I::JumpIf { src, to } } else { I::JumpUnless { src, to } }, span);
            }
        }
        self.state().release(mark);
    }

    /// `&&` (`both`) and `||` as conditions.
    fn jump_both(&mut self, left: &Expr, right: &Expr, both: bool, when: bool, label: builder::Label) {
        if both != when {
            // One operand decides: `&&` is false, or `||` true, as soon as one is.
            self.jump_if(left, when, label);
            return self.jump_if(right, when, label);
        }
        let skip = self.state().builder.label();
        self.jump_if(left, !when, skip);
        self.jump_if(right, when, label);
        self.state().builder.place(skip);
    }

    fn test(&mut self, operator: BinaryOperator, when: bool, a: u16, right: &Expr, span: Span) {
        if let ExprKind::Int(value) = right.kind
            && let Ok(value) = i16::try_from(value)
        {
            return self.op(
                match operator {
                    BinaryOperator::Less => I::TestLessInt { when, a, value },
                    BinaryOperator::LessEqual => I::TestLessEqualInt { when, a, value },
                    BinaryOperator::Greater => I::TestGreaterInt { when, a, value },
                    BinaryOperator::GreaterEqual => I::TestGreaterEqualInt { when, a, value },
                    BinaryOperator::NotEqual => I::TestEqualInt { when: !when, a, value },
                    _ => I::TestEqualInt { when, a, value },
                },
                span,
            );
        }
        let b = self.expr_any(right);
        self.op(
            match operator {
                BinaryOperator::Less => I::TestLess { when, a, b },
                BinaryOperator::LessEqual => I::TestLessEqual { when, a, b },
                BinaryOperator::Greater => I::TestLess { when, a: b, b: a },
                BinaryOperator::GreaterEqual => I::TestLessEqual { when, a: b, b: a },
                BinaryOperator::NotEqual => I::TestEqual { when: !when, a, b },
                _ => I::TestEqual { when, a, b },
            },
            span,
        );
    }

    fn list(&mut self, items: &[Argument], dst: u16, span: Span) {
        /// More elements than this are appended one by one instead of standing in registers.
        const AT_ONCE: usize = 64;
        let plain = items.iter().take(AT_ONCE).take_while(|it| !it.spread).count();
        let start = self.state().allocate_many(plain.max(1));
        for (position, item) in items[..plain].iter().enumerate() {
            self.expr_to(&item.value, start + position as u16);
        }
        if plain == items.len() {
            return self.op(I::MakeList { dst, start, count: plain as u16 }, span);
        }
        let list = start;
        self.op(I::MakeList { dst: list, start, count: plain as u16 }, span);
        for item in &items[plain..] {
            let src = self.state().allocate();
            self.expr_to(&item.value, src);
            let instruction = if item.spread { I::ListExtend { list, src } } else { I::ListAppend { list, src } };
            self.op(instruction, item.value.span);
            self.state().release(src);
        }
        self.op(I::Take { dst, src: list }, span);
    }

    fn dict(&mut self, entries: &[DictEntry], dst: u16, span: Span) {
        let dict = self.state().allocate();
        self.op(I::MakeDict { dst: dict }, span);
        for entry in entries {
            let mark = self.state().mark();
            match entry {
                DictEntry::Field { key, key_span, value } => {
                    let src = self.state().allocate();
                    self.expr_to(value, src);
                    let name = self.name(key);
                    self.op(I::DictSet { dict, name, src }, *key_span);
                }
                DictEntry::Computed { key, value } => {
                    let register = self.state().allocate();
                    self.expr_to(key, register);
                    let src = self.state().allocate();
                    self.expr_to(value, src);
                    self.op(I::DictSetComputed { dict, key: register, src }, key.span);
                }
                DictEntry::Spread(value) => {
                    let src = self.state().allocate();
                    self.expr_to(value, src);
                    self.op(I::DictMerge { dict, src }, value.span);
                }
            }
            self.state().release(mark);
        }
        self.op(I::Take { dst, src: dict }, span);
    }

    fn struct_literal(&mut self, name: &(Name, Span), entries: &[DictEntry], dst: u16, span: Span) {
        let Some(shape) = self.shape(&name.0) else {
            if self.unit.check_calls {
                let known: Vec<String> = self.structs.keys().map(|it| it.to_string()).collect();
                let hint = crate::suggest::static_name(&name.0, known.iter().map(String::as_str))
                    .map_or(String::new(), |it| format!(" — did you mean `{it}`?"));
                return self.error(Code::UNKNOWN_STRUCT, format!("unknown struct type `{}`{hint}", name.0), name.1);
            }
            let src = self.state().allocate();
            self.dict(entries, src, span);
            let name = self.name(&name.0);
            return self.op(I::OpenStruct { dst, src, name }, span);
        };
        let index = self.state().builder.shape(&shape);
        if !entries.iter().all(|it| matches!(it, DictEntry::Field { .. })) {
            let src = self.state().allocate();
            self.dict(entries, src, span);
            return self.op(I::StructFromDict { dst, src, shape: index }, span);
        }
        let count = shape.fields().len();
        let start = self.state().allocate_many(count.max(1));
        let mut given = vec![false; count];
        for entry in entries {
            let DictEntry::Field { key, value, .. } = entry else { continue };
            match shape.position(&Str::from(&**key)) {
                Some(position) => {
                    given[position] = true;
                    self.expr_to(value, start + position as u16);
                }
                None => self.discard(value),
            }
        }
        for (position, _) in given.iter().enumerate().filter(|(_, given)| !**given) {
            self.load(Value::Unset, start + position as u16, span);
        }
        self.op(I::MakeStruct { dst, start, shape: index }, span);
    }

    fn property(&mut self, object: &Expr, name: &(Name, Span), optional: bool, dst: u16, span: Span) {
        if let Some(enumeration) = self.enum_receiver(object) {
            let at = self.state().allocate();
            let (enumeration, variant) = (self.name(&enumeration), self.name(&name.0));
            self.op(I::MakeEnum { count: 0, at, enumeration, variant }, span);
            return self.op(I::Take { dst, src: at }, span);
        }
        if let Some(slot) = self.namespace_member(object, &name.0) {
            return self.read_place(Storage::Function(slot), &name.0, dst, Role::Read, span);
        }
        let object = self.member_object(object, dst);
        let name = self.name(&name.0);
        self.op(
            if optional { I::GetFieldOptional { dst, object, name } } else { I::GetField { dst, object, name } },
            span,
        );
    }

    /// The object of a member access. A fresh value may stand in `dst` meanwhile when that is a temporary.
    fn member_object(&mut self, object: &Expr, dst: u16) -> u16 {
        if self.state().is_top(dst) && !matches!(object.kind, ExprKind::Name(_) | ExprKind::Placeholder) {
            self.expr_to(object, dst);
            return dst;
        }
        self.expr_any(object)
    }

    /// The enum that an expression names, unless a variable hides it.
    pub(super) fn enum_receiver(&mut self, object: &Expr) -> Option<Name> {
        match &object.kind {
            ExprKind::Name(name) if self.is_enum(name) && self.resolve(name).is_none() => Some(name.clone()),
            _ => None,
        }
    }

    fn index(&mut self, object: &Expr, index: &Expr, optional: bool, dst: u16, span: Span) {
        let source = self.left_operand(object, index);
        if !optional {
            let index = self.expr_any(index);
            return self.op(I::GetIndex { dst, object: source, index }, span);
        }
        let (none, end) = (self.state().builder.label(), self.state().builder.label());
        let to = self.state().builder.to(none);
        self.op(I::JumpIfNil { src: source, to }, span);
        let register = self.expr_any(index);
        self.op(I::GetIndex { dst, object: source, index: register }, span);
        let to = self.state().builder.to(end);
        self.op(I::Jump { to }, span);
        self.state().builder.place(none);
        self.op(I::LoadNil { dst }, span);
        self.state().builder.place(end);
    }

    fn propagate(&mut self, operand: &Expr, dst: u16, span: Span) {
        let src = self.state().allocate();
        self.expr_to(operand, src);
        let fine = self.state().builder.label();
        self.op(I::PropagateOk { dst, src }, span);
        let to = self.state().builder.to(fine);
        self.op(I::Jump { to }, span);
        self.return_value(src, span);
        self.state().builder.place(fine);
    }

    fn if_form(&mut self, condition: &Expr, then: &Block, otherwise: Option<&Block>, want: Option<u16>, span: Span) {
        let (no, end) = (self.state().builder.label(), self.state().builder.label());
        self.jump_if(condition, false, no);
        self.block(then, want);
        if otherwise.is_none() && want.is_none() {
            return self.state().builder.place(no);
        }
        let to = self.state().builder.to(end);
        self.op(I::Jump { to }, span);
        self.state().builder.place(no);
        match (otherwise, want) {
            (Some(otherwise), want) => self.block(otherwise, want),
            (None, Some(dst)) => self.op(I::LoadNil { dst }, span),
            (None, None) => {}
        }
        self.state().builder.place(end);
    }

    /// Reads a name as a value.
    fn read_name(&mut self, name: &Name, dst: u16, span: Span) {
        match self.resolve(name) {
            Some((place, _)) => self.read_place(place, name, dst, Role::Read, span),
            None if !self.read_given(name, dst, span) => {
                let text = self.undefined_text(name);
                self.op(I::UndefinedVariable { text }, span);
            }
            None => {}
        }
    }

    /// Reads what a name means that nothing in reach binds: a struct, a global, a builtin; false when it means nothing.
    fn read_given(&mut self, name: &Name, dst: u16, span: Span) -> bool {
        if let Some(shape) = self.shape(name) {
            self.constructor(name, &shape, dst, span);
        } else if let Some(value) = global(name, self.unit.builtins) {
            self.load(value, dst, span);
        } else if &**name == "argv"
            && let Some(builtin) = self.unit.builtins.function("__argv")
        {
            let builtin = self.state().builder.builtin(builtin);
            let at = self.state().allocate();
            self.op(I::CallBuiltin { at, builtin, count: 0 }, span);
            self.op(I::Take { dst, src: at }, span);
        } else if let Some(builtin) = self.unit.builtins.function(name)
            && !name.starts_with("__")
        {
            let builtin = self.state().builder.builtin(builtin);
            self.op(I::LoadBuiltin { dst, builtin }, span);
        } else if let Some(function) = self.unit.builtins.script(name) {
            self.load(Value::Closure(function.clone()), dst, span);
        } else if let Some(schema) = self.alias_schema(name) {
            self.load(schema, dst, span);
        } else {
            return false;
        }
        true
    }

    pub(super) fn read_place(&mut self, place: Storage, name: &Name, dst: u16, role: Role, span: Span) {
        let instruction = match place {
            Storage::Register(src) if src == dst => return,
            Storage::Register(src) => I::Move { dst, src },
            Storage::Captured(capture) => I::LoadCapture { dst, capture },
            Storage::Itself => I::LoadItself { dst },
            Storage::Function(function) => I::LoadFunction { dst, function },
            Storage::State(slot) => I::LoadState { dst, slot },
            Storage::Cell(cell) => return self.read_cell(cell, name, dst, role, span),
            Storage::CapturedCell(capture) => {
                self.op(I::LoadCapture { dst, capture }, span);
                return self.read_cell(dst, name, dst, role, span);
            }
        };
        self.op(instruction, span);
    }

    /// Reads a function that an enclosing scope declares later; until it has, the name means what it would without.
    fn read_cell(&mut self, cell: u16, name: &Name, dst: u16, role: Role, span: Span) {
        let done = self.state().builder.label();
        self.op(I::TestCell { dst, cell }, span);
        let to = self.state().builder.to(done);
        self.op(I::Jump { to }, span);
        if !self.read_given(name, dst, span) {
            let kind = if role == Role::Called { "builtin" } else { "variable" };
            let text = self.state().builder.constant(Value::from(format!("Undefined {kind}: {name}")));
            self.op(I::UndefinedVariable { text }, span);
        }
        self.state().builder.place(done);
    }

    /// A struct's name as a function of one dict.
    fn constructor(&mut self, name: &Name, shape: &Arc<Shape>, dst: u16, span: Span) {
        self.begin(Str::from(&**name), None);
        self.open_scope();
        let src = self.state().allocate();
        let index = self.state().builder.shape(shape);
        self.op(I::StructFromDict { dst: src, src, shape: index }, span);
        self.op(I::Return { src }, span);
        let proto = self.finish(vec![Str::from("fields")], 1, false);
        let proto = self.state().builder.proto(proto);
        self.op(I::MakeClosure { dst, proto }, span);
    }

    /// The text of the error that reading an unknown name throws, as a constant.
    pub(super) fn undefined_text(&mut self, name: &Name) -> u32 {
        let mut visible: Vec<String> = Vec::new();
        for state in &self.states {
            visible.extend(state.bound().map(|it| it.to_string()));
        }
        visible.extend(self.slots.keys().chain(self.state_slots.keys()).map(|it| it.to_string()));
        visible.extend(self.structs.keys().chain(self.unit.imported.keys()).map(|it| it.to_string()));
        visible.extend(["pi", "e", "argv", "stream"].map(str::to_owned));
        visible.extend(self.unit.builtins.names().map(str::to_owned));
        let hint = crate::suggest::runtime_name(name, visible.iter().map(String::as_str))
            .filter(|_| &**name != "_")
            .map_or(String::new(), |it| format!(" (did you mean `{it}`?)"));
        self.state().builder.constant(Value::from(format!("Undefined variable: {name}{hint}")))
    }
}

/// Why a name is read: the error for an unknown one says so.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Read,
    Called,
}

fn is_comparison(operator: BinaryOperator) -> bool {
    matches!(
        operator,
        BinaryOperator::Less
            | BinaryOperator::LessEqual
            | BinaryOperator::Greater
            | BinaryOperator::GreaterEqual
            | BinaryOperator::Equal
            | BinaryOperator::NotEqual
    )
}

/// Where the text of an expression begins; spans of operators and members begin later.
fn start_of(mut expr: &Expr) -> u32 {
    loop {
        expr = match &expr.kind {
            ExprKind::Binary { left, .. } => left,
            ExprKind::MethodCall { receiver, .. } => receiver,
            ExprKind::Property { object, .. } | ExprKind::Index { object, .. } => object,
            _ => return expr.span.start,
        };
    }
}

/// Globals that are plain values; a namespace is the dict of its functions.
fn global(name: &str, builtins: &BuiltinTable) -> Option<Value> {
    match name {
        "stream" | "event_log" => Some(Value::Dict(builtins.namespace(name))),
        "pi" => Some(Value::Float(std::f64::consts::PI)),
        "e" => Some(Value::Float(std::f64::consts::E)),
        _ => None,
    }
}
