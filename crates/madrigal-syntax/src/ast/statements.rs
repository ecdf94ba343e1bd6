//! Statements.

nodes! {
    /// `let`, `var`
    LetStmt = LET_STMT,
    /// `for`
    ForStmt = FOR_STMT,
    /// `while`
    WhileStmt = WHILE_STMT,
    /// `return`
    ReturnStmt = RETURN_STMT,
    /// `place = value`
    AssignStmt = ASSIGN_STMT,
    /// An expression.
    ExprStmt = EXPR_STMT,
}
