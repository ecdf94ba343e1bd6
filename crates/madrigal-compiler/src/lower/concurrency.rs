//! `parallel`, `spawn`, `scope`, `select`, `deadline`, `retry`, `mutex`.

use madrigal_syntax::SyntaxKind::*;
use madrigal_syntax::{SyntaxNode, ast, literal};

use super::{Lowerer, has, name_of, named};
use crate::hir::*;

impl Lowerer {
    pub(super) fn retry(&mut self, node: &SyntaxNode) -> ExprKind {
        let options = ast::child(node, RETRY_OPTIONS);
        let options = options.iter().flat_map(|list| ast::children(list, RETRY_OPTION));
        ExprKind::Retry {
            attempts: Box::new(self.expr_in(node)),
            options: options.map(|option| (option_name(&option), self.expr_in(&option))).collect(),
            body: self.child_block(node),
        }
    }

    pub(super) fn deadline(&mut self, node: &SyntaxNode) -> ExprKind {
        ExprKind::Deadline { duration: Box::new(self.expr_in(node)), body: self.child_block(node) }
    }

    pub(super) fn parallel(&mut self, node: &SyntaxNode) -> ExprKind {
        let options = ast::child(node, PARALLEL_OPTIONS);
        let limit = options.and_then(|list| ast::child(&list, RETRY_OPTION));
        ExprKind::Parallel {
            mode: parallel_mode(node),
            source: Box::new(self.expr_in(node)),
            max_concurrent: limit.map(|option| Box::new(self.expr_in(&option))),
            body: self.task(node),
        }
    }

    /// The block of `spawn` and `parallel`, as a function of its own.
    pub(super) fn task(&mut self, node: &SyntaxNode) -> std::rc::Rc<Function> {
        let block = ast::child(node, BLOCK);
        let name = block.as_ref().and_then(binder);
        let param = name.map(|name| Param { name, annotation: None, default: None, rest: false });
        self.anonymous(node, FunctionKind::Task, |this| (param.into_iter().collect(), this.child_block(node)))
    }

    pub(super) fn scope(&mut self, node: &SyntaxNode) -> ExprKind {
        let handle = ast::child(node, BLOCK).as_ref().and_then(binder);
        ExprKind::Scope { handle, body: self.child_block(node) }
    }

    pub(super) fn select(&mut self, node: &SyntaxNode) -> ExprKind {
        let cases = ast::children(node, SELECT_CASE).map(|case| SelectCase {
            name: name_of(&case),
            channel: self.expr_in(&case),
            body: self.child_block(&case),
        });
        let cases = cases.collect();
        let timeout = ast::child(node, SELECT_TIMEOUT);
        let default = ast::child(node, SELECT_DEFAULT);
        ExprKind::Select {
            cases,
            timeout: timeout.map(|case| (Box::new(self.expr_in(&case)), self.child_block(&case))),
            default: default.map(|case| self.child_block(&case)),
        }
    }
}

fn option_name(node: &SyntaxNode) -> Name {
    match ast::token(node, STRING) {
        Some(token) => literal::string_value(token.text()).into(),
        None => name_of(node).0,
    }
}

fn binder(block: &SyntaxNode) -> Option<(Name, Span)> {
    let binder = ast::child(block, BINDER)?;
    ast::token(&binder, IDENT).map(|token| named(&token))
}

fn parallel_mode(node: &SyntaxNode) -> ParallelMode {
    if has(node, STREAM_KW) {
        ParallelMode::Stream
    } else if has(node, EACH_KW) {
        ParallelMode::Each
    } else if has(node, SETTLE_KW) {
        ParallelMode::Settle
    } else {
        ParallelMode::Count
    }
}
