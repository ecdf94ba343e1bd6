//! Forms that run things concurrently.

use super::{AstNode, token};
use crate::kinds::SyntaxKind;

nodes! {
    /// `retry n { }`
    RetryExpr = RETRY_EXPR,
    /// `deadline d { }`
    DeadlineExpr = DEADLINE_EXPR,
    /// `parallel ..`
    ParallelExpr = PARALLEL_EXPR,
    /// `spawn { }`
    SpawnExpr = SPAWN_EXPR,
    /// `scope { }`
    ScopeExpr = SCOPE_EXPR,
    /// `select { }`
    SelectExpr = SELECT_EXPR,
    /// `mutex { }`
    MutexExpr = MUTEX_EXPR,
}

impl ParallelExpr {
    /// Whether `as stream` follows.
    pub fn is_stream(&self) -> bool {
        token(self.syntax(), SyntaxKind::STREAM_KW).is_some()
    }
}
