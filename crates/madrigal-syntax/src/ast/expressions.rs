//! Expressions.

nodes! {
    /// A number, string, duration, bool or nil.
    Literal = LITERAL,
    /// A string with `${..}`.
    InterpolatedString = INTERPOLATED_STRING,
    /// A name.
    NameExpr = NAME_EXPR,
    /// `[..]`
    ListExpr = LIST_EXPR,
    /// `{key: value}`
    DictExpr = DICT_EXPR,
    /// `{ params -> statements }`
    ClosureExpr = CLOSURE_EXPR,
    /// `fn(..) { }`
    FnExpr = FN_EXPR,
    /// `Name {..}`
    StructExpr = STRUCT_EXPR,
    /// `!x`, `-x`
    UnaryExpr = UNARY_EXPR,
    /// `a op b`, `a |> b`
    BinaryExpr = BINARY_EXPR,
    /// `name(..)`
    CallExpr = CALL_EXPR,
    /// `x.name(..)`
    MethodCallExpr = METHOD_CALL_EXPR,
    /// `x.name`
    PropertyExpr = PROPERTY_EXPR,
    /// `x[i]`
    IndexExpr = INDEX_EXPR,
    /// `x[a:b]`
    SliceExpr = SLICE_EXPR,
    /// `if ..`
    IfExpr = IF_EXPR,
    /// `match ..`
    MatchExpr = MATCH_EXPR,
    /// `pattern -> { }`
    MatchArm = MATCH_ARM,
    /// `try ..`
    TryExpr = TRY_EXPR,
}
