//! match: arms in order, patterns to tests and bindings.

use super::*;
use crate::hir::{Expr, MatchArm, MatchItem, MatchPattern};
use madrigal_vm::bytecode::Instruction as I;

impl Emitter<'_> {
    pub(super) fn match_form(&mut self, subject: &Expr, arms: &[MatchArm], want: Option<u16>, span: Span) {
        let value = self.state().allocate();
        self.expr_to(subject, value);
        let end = self.state().builder.label();
        for arm in arms {
            let next = self.state().builder.label();
            self.open_scope();
            self.pattern(&arm.pattern, value, next, arm.span);
            if let Some(guard) = &arm.guard {
                self.jump_if(guard, false, next);
            }
            self.prepare_cells(&arm.body.statements);
            self.statements(&arm.body.statements, want, arm.body.span);
            self.close_scope(arm.body.span);
            let to = self.state().builder.to(end);
            self.op(I::Jump { to }, arm.span);
            self.state().builder.place(next);
        }
        let src = self.state().allocate();
        self.load_text("No match arm matched the value", src, span);
        self.op(I::Throw { src }, span);
        self.state().builder.place(end);
    }

    /// Tests `value` and binds; goes to `next` when it does not match.
    fn pattern(&mut self, pattern: &MatchPattern, value: u16, next: builder::Label, span: Span) {
        match pattern {
            MatchPattern::Any => {}
            MatchPattern::Bind(name, name_span) => {
                let dst = self.state().allocate();
                self.op(I::Move { dst, src: value }, *name_span);
                self.declare(name, Storage::Register(dst), false, *name_span);
            }
            MatchPattern::Variant { enum_name, variant, fields, otherwise } => {
                if !self.is_enum(&enum_name.0) || self.resolve(&enum_name.0).is_some() {
                    return self.must_equal(value, otherwise, next);
                }
                let (enumeration, variant) = (self.name(&enum_name.0), self.name(variant));
                self.op(I::TestVariant { src: value, enumeration, variant }, enum_name.1);
                self.jump(next, span);
                for (index, field) in fields.iter().enumerate() {
                    self.item(field, next, span, |dst| I::EnumField { dst, src: value, index: index as u16 });
                }
            }
            MatchPattern::Dict(entries) => {
                self.op(I::TestDict { src: value }, span);
                self.jump(next, span);
                for (key, item) in entries {
                    let name = self.name(key);
                    self.item(item, next, span, |dst| I::GetField { dst, object: value, name });
                }
            }
            MatchPattern::List(items) => {
                self.op(I::TestList { src: value, count: items.len() as u16 }, span);
                self.jump(next, span);
                for (index, item) in items.iter().enumerate() {
                    self.item(item, next, span, |dst| I::ListItem { dst, src: value, index: index as u16 });
                }
            }
            MatchPattern::Alternatives(values) => {
                let matched = self.state().builder.label();
                for alternative in values {
                    let mark = self.state().mark();
                    let b = self.expr_any(alternative);
                    self.op(I::TestEqual { when: true, a: value, b }, alternative.span);
                    self.jump(matched, span);
                    self.state().release(mark);
                }
                self.jump(next, span);
                self.state().builder.place(matched);
            }
            MatchPattern::Value(expected) => self.must_equal(value, expected, next),
        }
    }

    fn jump(&mut self, label: builder::Label, span: Span) {
        let to = self.state().builder.to(label);
        self.op(I::Jump { to }, span);
    }

    fn must_equal(&mut self, value: u16, expected: &Expr, next: builder::Label) {
        let mark = self.state().mark();
        let b = self.expr_any(expected);
        self.op(I::TestEqual { when: false, a: value, b }, expected.span);
        self.jump(next, expected.span);
        self.state().release(mark);
    }

    /// One position inside a pattern; `read` gets its value.
    fn item(&mut self, item: &MatchItem, next: builder::Label, span: Span, read: impl Fn(u16) -> I) {
        match item {
            MatchItem::Any => {}
            MatchItem::Bind(name, name_span) => {
                let dst = self.state().allocate();
                self.op(read(dst), *name_span);
                self.declare(name, Storage::Register(dst), false, *name_span);
            }
            MatchItem::Value(expected) => {
                let mark = self.state().mark();
                let dst = self.state().allocate();
                self.op(read(dst), span);
                self.must_equal(dst, expected, next);
                self.state().release(mark);
            }
        }
    }
}
