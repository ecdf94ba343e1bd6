//! Expressions other than `match` and the concurrent forms.

use std::sync::Arc;

use madrigal_syntax::SyntaxKind::*;
use madrigal_syntax::literal::{self, Number, Piece};
use madrigal_syntax::{Code, SyntaxNode, SyntaxToken, ast};

use super::matching::bind_placeholder;
use super::{Lowerer, has, name_of, nil, range, span, token_span, value_block};
use crate::hir::*;

const SPREAD_MISUSE: &str =
    "spread (...) can only be used inside list literals, dict literals, or function call arguments";
const OR_PATTERN_MISUSE: &str = "or-pattern (|) can only appear as a match arm pattern";
const TRY_STAR_MISUSE: &str = "try* requires an enclosing function (fn, tool, or pipeline) so the rethrow has a target";

impl Lowerer {
    /// The first expression among the children of `node`; nil when there is none.
    pub(super) fn expr_in(&mut self, node: &SyntaxNode) -> Expr {
        self.opt_expr_in(node).unwrap_or_else(|| nil(span(node)))
    }

    pub(super) fn opt_expr_in(&mut self, node: &SyntaxNode) -> Option<Expr> {
        ast::expr(node).map(|expr| self.expr(&expr))
    }

    fn nth_in(&mut self, node: &SyntaxNode, nth: usize) -> Expr {
        let found = ast::exprs(node).nth(nth);
        found.map_or_else(|| nil(span(node)), |expr| self.expr(&expr))
    }

    /// Walks down the left spine in a loop, then builds the way back up.
    pub(super) fn expr(&mut self, node: &SyntaxNode) -> Expr {
        if !is_chain(node) {
            return self.operand(node);
        }
        let mut spine = vec![node.clone()];
        let base = loop {
            let Some(next) = spine.last().and_then(ast::expr) else {
                break nil(span(node));
            };
            if !is_chain(&next) {
                break self.operand(&next);
            }
            spine.push(next);
        };
        spine.iter().rev().fold(base, |left, link| self.link(left, link))
    }

    fn link(&mut self, left: Expr, node: &SyntaxNode) -> Expr {
        match node.kind() {
            BINARY_EXPR => self.binary(left, node),
            METHOD_CALL_EXPR => self.method_call(left, node),
            PROPERTY_EXPR => {
                let name = name_of(node);
                let span = name.1;
                let optional = has(node, QUESTION_DOT);
                Expr { kind: ExprKind::Property { object: Box::new(left), name, optional }, span }
            }
            INDEX_EXPR => {
                let index = Box::new(self.nth_in(node, 1));
                let optional = has(node, QUESTION);
                Expr { kind: ExprKind::Index { object: Box::new(left), index, optional }, span: span(node) }
            }
            SLICE_EXPR => self.slice(left, node),
            _ => Expr { kind: ExprKind::Propagate(Box::new(left)), span: span(node) },
        }
    }

    fn method_call(&mut self, receiver: Expr, node: &SyntaxNode) -> Expr {
        let name = name_of(node);
        let span = name.1;
        let arguments = self.arguments_in(node);
        let optional = has(node, QUESTION_DOT);
        Expr { kind: ExprKind::MethodCall { receiver: Box::new(receiver), name, arguments, optional }, span }
    }

    fn slice(&mut self, object: Expr, node: &SyntaxNode) -> Expr {
        let colon = ast::token(node, COLON).map(|token| token.text_range().start());
        let (mut start, mut end) = (None, None);
        for bound in ast::exprs(node).skip(1) {
            let before = colon.is_none_or(|colon| bound.text_range().start() < colon);
            *(if before { &mut start } else { &mut end }) = Some(Box::new(self.expr(&bound)));
        }
        Expr { kind: ExprKind::Slice { object: Box::new(object), start, end }, span: span(node) }
    }

    fn binary(&mut self, left: Expr, node: &SyntaxNode) -> Expr {
        let mut right = self.nth_in(node, 1);
        let Some(operator) = operator_token(node) else {
            return left;
        };
        let mut span = token_span(&operator);
        let left = Box::new(left);
        let kind = match operator.kind() {
            PIPE_GT if bind_placeholder(&mut right) => ExprKind::PipeBind { value: left, body: Box::new(right) },
            PIPE_GT => ExprKind::PipeCall { value: left, callee: Box::new(right) },
            AND_AND => ExprKind::And(left, Box::new(right)),
            OR_OR => ExprKind::Or(left, Box::new(right)),
            QUESTION_QUESTION => ExprKind::Coalesce(left, Box::new(right)),
            kind => {
                if kind == NOT_KW
                    && let Some(token) = ast::token(node, IN_KW)
                {
                    span.end = token_span(&token).end;
                }
                ExprKind::Binary { operator: binary_operator(kind), left, right: Box::new(right) }
            }
        };
        Expr { kind, span }
    }

    /// Everything that is not a link of a chain.
    fn operand(&mut self, node: &SyntaxNode) -> Expr {
        let kind = match node.kind() {
            LITERAL => self.literal(node),
            INTERPOLATED_STRING => self.interpolated(node),
            NAME_EXPR => ExprKind::Name(name_of(node).0),
            PAREN_EXPR => return self.expr_in(node),
            CALL_EXPR => return self.call(node),
            LIST_EXPR => ExprKind::List(self.arguments(node)),
            DICT_EXPR => ExprKind::Dict(self.entries(node)),
            STRUCT_EXPR => self.struct_literal(node),
            CLOSURE_EXPR => ExprKind::Closure(
                self.anonymous(node, FunctionKind::Closure, |this| (this.params(node), this.block(node))),
            ),
            FN_EXPR => ExprKind::Closure(
                self.anonymous(node, FunctionKind::Closure, |this| (this.params(node), this.child_block(node))),
            ),
            UNARY_EXPR => return self.unary(node),
            RANGE_EXPR => return self.range(node),
            TERNARY_EXPR => self.ternary(node),
            IF_EXPR => return self.if_(node),
            MATCH_EXPR => self.match_(node),
            TRY_EXPR => self.try_(node),
            TRY_STAR_EXPR => self.try_star(node),
            SPREAD => {
                self.compile_error(span(node), SPREAD_MISUSE);
                return self.expr_in(node);
            }
            OR_PATTERN => {
                self.compile_error(span(node), OR_PATTERN_MISUSE);
                return self.expr_in(node);
            }
            RETRY_EXPR => self.retry(node),
            DEADLINE_EXPR => self.deadline(node),
            PARALLEL_EXPR => self.parallel(node),
            SPAWN_EXPR => ExprKind::Spawn(self.task(node)),
            SCOPE_EXPR => self.scope(node),
            SELECT_EXPR => self.select(node),
            MUTEX_EXPR => ExprKind::Mutex(self.child_block(node)),
            _ => ExprKind::Nil,
        };
        Expr { kind, span: span(node) }
    }

    fn literal(&mut self, node: &SyntaxNode) -> ExprKind {
        let Some(token) = node.first_token() else {
            return ExprKind::Nil;
        };
        match token.kind() {
            INT | FLOAT => match literal::number_value(token.text()) {
                Number::Int(value) => ExprKind::Int(value),
                Number::Float(value) => ExprKind::Float(value),
            },
            DURATION => ExprKind::Duration(literal::duration_value(token.text()).unwrap_or_else(|| {
                self.compile_error(span(node), "duration literal is too large");
                0
            })),
            TRUE_KW => ExprKind::Bool(true),
            FALSE_KW => ExprKind::Bool(false),
            STRING | TRIPLE_STRING | RAW_STRING => ExprKind::String(literal::string_value(token.text()).into()),
            _ => ExprKind::Nil,
        }
    }

    fn interpolated(&mut self, node: &SyntaxNode) -> ExprKind {
        let triple = ast::token(node, STRING_START).is_some_and(|token| token.text().len() == 3);
        let (texts, holes) = self.string_parts(node, triple);
        let mut pieces = Vec::with_capacity(texts.len() + holes.len());
        let mut holes = holes.into_iter();
        for (text, span) in texts {
            if !text.is_empty() {
                pieces.push(Expr { kind: ExprKind::String(text.into()), span });
            }
            pieces.extend(holes.next());
        }
        ExprKind::Interpolation(pieces)
    }

    /// The literal texts before, between and after the interpolations, and the interpolations.
    fn string_parts(&mut self, node: &SyntaxNode, triple: bool) -> (Vec<(String, Span)>, Vec<Expr>) {
        let mut raw: Vec<(String, Span)> = vec![(String::new(), span(node))];
        let mut holes = Vec::new();
        for part in node.children_with_tokens() {
            let place = range(part.text_range().into());
            if let Some(token) = part.as_token().filter(|token| token.kind() == STRING_TEXT) {
                if let Some(last) = raw.last_mut() {
                    *last = (token.text().to_owned(), place);
                }
            } else if let Some(hole) = part.as_node().filter(|hole| hole.kind() == INTERPOLATION) {
                holes.push(self.expr_in(hole));
                raw.push((String::new(), place));
            }
        }
        if !triple {
            let unescaped = raw.into_iter().map(|(text, span)| (literal::unescape(&text), span));
            return (unescaped.collect(), holes);
        }
        let mut pieces = Vec::new();
        for (nth, (text, _)) in raw.iter().enumerate() {
            if nth > 0 {
                pieces.push(Piece::Hole);
            }
            pieces.push(Piece::Text(text));
        }
        let texts = literal::dedent(&pieces);
        (texts.into_iter().zip(raw.iter().map(|(_, span)| *span)).collect(), holes)
    }

    fn call(&mut self, node: &SyntaxNode) -> Expr {
        let mut callee = ast::expr(node);
        while let Some(paren) = callee.clone().filter(|it| it.kind() == PAREN_EXPR) {
            callee = ast::expr(&paren);
        }
        let name = callee.map_or_else(|| (Arc::from(""), span(node)), |callee| name_of(&callee));
        let span = name.1;
        Expr { kind: ExprKind::Call { name, arguments: self.arguments_in(node) }, span }
    }

    fn arguments_in(&mut self, node: &SyntaxNode) -> Vec<Argument> {
        ast::child(node, ARG_LIST).map_or_else(Vec::new, |list| self.arguments(&list))
    }

    fn arguments(&mut self, list: &SyntaxNode) -> Vec<Argument> {
        let argument = |it: SyntaxNode| match it.kind() {
            SPREAD => Argument { spread: true, value: self.expr_in(&it) },
            _ => Argument { spread: false, value: self.expr(&it) },
        };
        ast::exprs(list).map(argument).collect()
    }

    fn entries(&mut self, node: &SyntaxNode) -> Vec<DictEntry> {
        node.children().filter_map(|child| self.entry(&child)).collect()
    }

    fn entry(&mut self, node: &SyntaxNode) -> Option<DictEntry> {
        Some(match node.kind() {
            SPREAD => DictEntry::Spread(self.expr_in(node)),
            DICT_COMPUTED => DictEntry::Computed { key: self.nth_in(node, 0), value: self.nth_in(node, 1) },
            DICT_FIELD => {
                let key = node.first_token();
                let string = key.as_ref().filter(|token| matches!(token.kind(), STRING | TRIPLE_STRING));
                let name = string.map(|token| literal::string_value(token.text()).into());
                let key_span = key.as_ref().map_or_else(|| span(node), token_span);
                let value = self.expr_in(node);
                DictEntry::Field { key: name.unwrap_or_else(|| name_of(node).0), key_span, value }
            }
            _ => return None,
        })
    }

    fn struct_literal(&mut self, node: &SyntaxNode) -> ExprKind {
        let name = ast::child(node, NAME_EXPR);
        let name = name.map_or_else(|| name_of(node), |name| name_of(&name));
        ExprKind::StructLiteral { name, entries: self.entries(node) }
    }

    fn unary(&mut self, node: &SyntaxNode) -> Expr {
        let operand = Box::new(self.expr_in(node));
        let not = has(node, BANG);
        let operator = if not { UnaryOperator::Not } else { UnaryOperator::Negate };
        let place = node.first_token().map_or_else(|| span(node), |token| token_span(&token));
        Expr { kind: ExprKind::Unary { operator, operand }, span: place }
    }

    fn range(&mut self, node: &SyntaxNode) -> Expr {
        let (start, end) = (Box::new(self.nth_in(node, 0)), Box::new(self.nth_in(node, 1)));
        let place = ast::token(node, TO_KW).map_or_else(|| span(node), |token| token_span(&token));
        Expr { kind: ExprKind::Range { start, end, exclusive: has(node, EXCLUSIVE_KW) }, span: place }
    }

    fn ternary(&mut self, node: &SyntaxNode) -> ExprKind {
        let mut branch = |nth| {
            let value = self.nth_in(node, nth);
            let place = ast::exprs(node).nth(nth).map_or_else(|| span(node), |branch| span(&branch));
            value_block(value, place)
        };
        let (then, otherwise) = (branch(1), branch(2));
        ExprKind::If { condition: Box::new(self.nth_in(node, 0)), then, otherwise: Some(otherwise) }
    }

    /// `else if` chains are built from their end, without recursion.
    fn if_(&mut self, node: &SyntaxNode) -> Expr {
        let mut links = vec![node.clone()];
        while let Some(next) = links.last().and_then(else_if) {
            links.push(next);
        }
        let mut heads = Vec::with_capacity(links.len());
        let mut otherwise = None;
        for link in &links {
            let condition = Box::new(self.expr_in(link));
            let mut blocks = ast::children(link, BLOCK);
            let then = blocks.next().map_or_else(Block::default, |block| self.block(&block));
            otherwise = blocks.next().map(|block| self.block(&block));
            heads.push((condition, then, span(link)));
        }
        let mut result = nil(span(node));
        for (condition, then, span) in heads.into_iter().rev() {
            result = Expr { kind: ExprKind::If { condition, then, otherwise }, span };
            otherwise = None;
            if span.start != links[0].text_range().start().into() {
                otherwise = Some(value_block(std::mem::replace(&mut result, nil(span)), span));
            }
        }
        result
    }

    fn try_(&mut self, node: &SyntaxNode) -> ExprKind {
        let body = self.child_block(node);
        let catch = ast::child(node, CATCH_CLAUSE).map(|clause| Catch {
            name: ast::token(&clause, IDENT).map(|_| name_of(&clause)),
            annotation: ast::type_(&clause).map(|node| self.type_(&node)),
            body: self.child_block(&clause),
        });
        let finally = ast::child(node, FINALLY_CLAUSE).map(|clause| self.child_block(&clause));
        ExprKind::Try { body, catch, finally }
    }

    fn try_star(&mut self, node: &SyntaxNode) -> ExprKind {
        if !self.frame().function {
            self.error(Code::TRY_STAR_AT_TOP_LEVEL, span(node), TRY_STAR_MISUSE.to_owned());
        }
        ExprKind::TryStar(Box::new(self.expr_in(node)))
    }
}

fn is_chain(node: &SyntaxNode) -> bool {
    matches!(node.kind(), BINARY_EXPR | METHOD_CALL_EXPR | PROPERTY_EXPR | INDEX_EXPR | SLICE_EXPR | PROPAGATE_EXPR)
}

/// The `if` after `else`, which is a direct child behind the first block.
fn else_if(node: &SyntaxNode) -> Option<SyntaxNode> {
    let block = ast::child(node, BLOCK)?;
    ast::children(node, IF_EXPR).find(|link| link.text_range().start() > block.text_range().start())
}

fn operator_token(node: &SyntaxNode) -> Option<SyntaxToken> {
    let mut tokens = node.children_with_tokens().filter_map(|it| it.into_token());
    tokens.find(|token| !token.kind().is_trivia())
}

fn binary_operator(kind: madrigal_syntax::SyntaxKind) -> BinaryOperator {
    match kind {
        MINUS => BinaryOperator::Subtract,
        STAR => BinaryOperator::Multiply,
        SLASH => BinaryOperator::Divide,
        PERCENT => BinaryOperator::Modulo,
        STAR_STAR => BinaryOperator::Power,
        EQ_EQ => BinaryOperator::Equal,
        BANG_EQ => BinaryOperator::NotEqual,
        LT => BinaryOperator::Less,
        GT => BinaryOperator::Greater,
        LT_EQ => BinaryOperator::LessEqual,
        GT_EQ => BinaryOperator::GreaterEqual,
        IN_KW => BinaryOperator::In,
        NOT_KW => BinaryOperator::NotIn,
        _ => BinaryOperator::Add,
    }
}
