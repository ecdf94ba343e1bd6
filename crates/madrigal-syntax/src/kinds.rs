//! Every token and node kind of the tree, once.
//! Not here: how text becomes tokens (`lexer.rs`) or tokens become nodes (`grammar/`).
//! To know before editing: the order is the raw number inside the tree; `ALL` keeps both directions in step.

macro_rules! kinds {
    ($($name:ident),* $(,)?) => {
        /// The kind of a token or node.
        #[allow(missing_docs, non_camel_case_types, clippy::upper_case_acronyms)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u16)]
        pub enum SyntaxKind { $($name),* }

        impl SyntaxKind {
            const ALL: &'static [SyntaxKind] = &[$(SyntaxKind::$name),*];
        }
    };
}

kinds! {
    // Trivia.
    WHITESPACE, NEWLINE, LINE_COMMENT, BLOCK_COMMENT, LINE_JOIN, SHEBANG,
    // Tokens without a fixed text.
    UNKNOWN, IDENT, INT, FLOAT, DURATION, STRING, TRIPLE_STRING, RAW_STRING,
    STRING_START, STRING_TEXT, STRING_END, INTERPOLATION_START, INTERPOLATION_END, END,
    // Punctuation.
    L_BRACE, R_BRACE, L_PAREN, R_PAREN, L_BRACKET, R_BRACKET, COMMA, COLON, SEMICOLON, DOT,
    EQ, BANG, PLUS, MINUS, STAR, SLASH, PERCENT, LT, GT, QUESTION, PIPE, AT,
    EQ_EQ, BANG_EQ, AND_AND, OR_OR, PIPE_GT, QUESTION_QUESTION, STAR_STAR, QUESTION_DOT, ARROW,
    MINUS_EQ, PLUS_EQ, STAR_EQ, SLASH_EQ, PERCENT_EQ, LT_EQ, GT_EQ,
    // Reserved words; BREAK_KW and YIELD_KW bound the range.
    BREAK_KW, CATCH_KW, CONTINUE_KW, DEADLINE_KW, DEFER_KW, EMIT_KW, ELSE_KW, ENUM_KW, EVAL_PACK_KW,
    EXCLUSIVE_KW, EXTENDS_KW, FALSE_KW, FINALLY_KW, FN_KW, FOR_KW, FROM_KW, GUARD_KW, IF_KW, IMPL_KW,
    IMPORT_KW, IN_KW, INTERFACE_KW, LET_KW, MATCH_KW, MUTEX_KW, NIL_KW, OVERRIDE_KW, PARALLEL_KW,
    PIPELINE_KW, PUB_KW, REQUIRE_KW, RETRY_KW, RETURN_KW, SELECT_KW, SKILL_KW, SPAWN_KW, STRUCT_KW,
    THROW_KW, TO_KW, TOOL_KW, TRUE_KW, TRY_KW, TYPE_KW, VAR_KW, WHILE_KW, YIELD_KW,
    // Contextual words: identifiers to the lexer, given these kinds by the grammar.
    GEN_KW, EACH_KW, SETTLE_KW, WITH_KW, AS_KW, STREAM_KW, SCOPE_KW, TIMEOUT_KW, DEFAULT_KW, NOT_KW,
    WHERE_KW, OUT_KW, DESCRIPTION_KW, SUMMARIZE_KW,
    // Items and declarations.
    SOURCE_FILE, ERROR, IMPORT, IMPORT_NAMES, PIPELINE_DECL, PIPELINE_PARAMS, EXTENDS, ATTRIBUTE,
    ATTRIBUTE_ARG, FN_DECL, TOOL_DECL, TOOL_DESCRIPTION, SKILL_DECL, SKILL_FIELD, EVAL_PACK_DECL,
    EVAL_PACK_FIELD, EVAL_PACK_SUMMARIZE, STRUCT_DECL, STRUCT_FIELD, ENUM_DECL, ENUM_VARIANT,
    INTERFACE_DECL, INTERFACE_TYPE, INTERFACE_METHOD, IMPL_DECL, TYPE_ALIAS, OVERRIDE_DECL,
    TYPE_PARAMS, TYPE_PARAM, PARAM_LIST, PARAM, RESULT_TYPE, WHERE_CLAUSE, BLOCK, BINDER,
    // Statements.
    LET_STMT, FOR_STMT, WHILE_STMT, RETURN_STMT, THROW_STMT, GUARD_STMT, REQUIRE_STMT, YIELD_STMT,
    EMIT_STMT, DEFER_STMT, BREAK_STMT, CONTINUE_STMT, ASSIGN_STMT, EXPR_STMT,
    // Patterns.
    NAME_PATTERN, DICT_PATTERN, DICT_PATTERN_FIELD, LIST_PATTERN, LIST_PATTERN_ITEM, REST_PATTERN,
    PAIR_PATTERN,
    // Expressions.
    LITERAL, INTERPOLATED_STRING, INTERPOLATION, NAME_EXPR, PAREN_EXPR, LIST_EXPR, DICT_EXPR,
    DICT_FIELD, DICT_COMPUTED, SPREAD, CLOSURE_EXPR, FN_EXPR, STRUCT_EXPR, UNARY_EXPR, BINARY_EXPR,
    RANGE_EXPR, TERNARY_EXPR, OR_PATTERN, CALL_EXPR, METHOD_CALL_EXPR, PROPERTY_EXPR, INDEX_EXPR,
    SLICE_EXPR, PROPAGATE_EXPR, ARG_LIST, TYPE_ARGS, IF_EXPR, MATCH_EXPR, MATCH_ARM, MATCH_GUARD,
    TRY_EXPR, CATCH_CLAUSE, FINALLY_CLAUSE, TRY_STAR_EXPR,
    // Concurrency.
    RETRY_EXPR, RETRY_OPTIONS, RETRY_OPTION, DEADLINE_EXPR, PARALLEL_EXPR, PARALLEL_OPTIONS,
    SPAWN_EXPR, SCOPE_EXPR, SELECT_EXPR, SELECT_CASE, SELECT_TIMEOUT, SELECT_DEFAULT, MUTEX_EXPR,
    // Types.
    NAMED_TYPE, LIST_TYPE, SHAPE_TYPE, SHAPE_FIELD, FN_TYPE, UNION_TYPE, LITERAL_TYPE,
}

use SyntaxKind::*;

impl SyntaxKind {
    /// The kind with this raw number; [`SyntaxKind::ERROR`] for a number that is none.
    pub fn from_raw(raw: u16) -> SyntaxKind {
        Self::ALL.get(usize::from(raw)).copied().unwrap_or(ERROR)
    }

    /// White space, newlines, comments: kept in the tree, invisible to the grammar.
    pub fn is_trivia(self) -> bool {
        self <= SHEBANG
    }

    /// Whether it is a reserved word.
    pub fn is_reserved(self) -> bool {
        (BREAK_KW..=YIELD_KW).contains(&self)
    }

    /// Whether it is the kind of an expression node.
    pub fn is_expr(self) -> bool {
        matches!(
            self,
            LITERAL
                | INTERPOLATED_STRING
                | NAME_EXPR
                | PAREN_EXPR
                | LIST_EXPR
                | DICT_EXPR
                | SPREAD
                | CLOSURE_EXPR
                | FN_EXPR
                | STRUCT_EXPR
                | UNARY_EXPR
                | BINARY_EXPR
                | RANGE_EXPR
                | TERNARY_EXPR
                | OR_PATTERN
                | CALL_EXPR
                | METHOD_CALL_EXPR
                | PROPERTY_EXPR
                | INDEX_EXPR
                | SLICE_EXPR
                | PROPAGATE_EXPR
                | IF_EXPR
                | MATCH_EXPR
                | TRY_EXPR
                | TRY_STAR_EXPR
                | RETRY_EXPR
                | DEADLINE_EXPR
                | PARALLEL_EXPR
                | SPAWN_EXPR
                | SCOPE_EXPR
                | SELECT_EXPR
                | MUTEX_EXPR
        )
    }

    /// Whether it is the kind of a type node.
    pub fn is_type(self) -> bool {
        matches!(self, NAMED_TYPE | LIST_TYPE | SHAPE_TYPE | FN_TYPE | UNION_TYPE | LITERAL_TYPE)
    }

    /// Whether it is the kind of a `let` or `for` pattern.
    pub fn is_pattern(self) -> bool {
        matches!(self, NAME_PATTERN | DICT_PATTERN | LIST_PATTERN | PAIR_PATTERN)
    }

    /// Whether it is the kind of a statement or declaration node.
    pub fn is_statement(self) -> bool {
        (LET_STMT..=EXPR_STMT).contains(&self)
            || matches!(
                self,
                FN_DECL
                    | TOOL_DECL
                    | SKILL_DECL
                    | EVAL_PACK_DECL
                    | STRUCT_DECL
                    | ENUM_DECL
                    | INTERFACE_DECL
                    | IMPL_DECL
                    | TYPE_ALIAS
                    | OVERRIDE_DECL
            )
    }

    /// The reserved word `text` is, if it is one.
    pub fn from_word(text: &str) -> Option<SyntaxKind> {
        Some(match text {
            "break" => BREAK_KW,
            "catch" => CATCH_KW,
            "continue" => CONTINUE_KW,
            "deadline" => DEADLINE_KW,
            "defer" => DEFER_KW,
            "emit" => EMIT_KW,
            "else" => ELSE_KW,
            "enum" => ENUM_KW,
            "eval_pack" => EVAL_PACK_KW,
            "exclusive" => EXCLUSIVE_KW,
            "extends" => EXTENDS_KW,
            "false" => FALSE_KW,
            "finally" => FINALLY_KW,
            "fn" => FN_KW,
            "for" => FOR_KW,
            "from" => FROM_KW,
            "guard" => GUARD_KW,
            "if" => IF_KW,
            "impl" => IMPL_KW,
            "import" => IMPORT_KW,
            "in" => IN_KW,
            "interface" => INTERFACE_KW,
            "let" => LET_KW,
            "match" => MATCH_KW,
            "mutex" => MUTEX_KW,
            "nil" => NIL_KW,
            "override" => OVERRIDE_KW,
            "parallel" => PARALLEL_KW,
            "pipeline" => PIPELINE_KW,
            "pub" => PUB_KW,
            "require" => REQUIRE_KW,
            "retry" => RETRY_KW,
            "return" => RETURN_KW,
            "select" => SELECT_KW,
            "skill" => SKILL_KW,
            "spawn" => SPAWN_KW,
            "struct" => STRUCT_KW,
            "throw" => THROW_KW,
            "to" => TO_KW,
            "tool" => TOOL_KW,
            "true" => TRUE_KW,
            "try" => TRY_KW,
            "type" => TYPE_KW,
            "var" => VAR_KW,
            "while" => WHILE_KW,
            "yield" => YIELD_KW,
            _ => return None,
        })
    }

    /// The spelling of a punctuation token, for messages.
    pub fn spelling(self) -> &'static str {
        match self {
            L_BRACE => "{",
            R_BRACE | INTERPOLATION_END => "}",
            L_PAREN => "(",
            R_PAREN => ")",
            L_BRACKET => "[",
            R_BRACKET => "]",
            COMMA => ",",
            COLON => ":",
            SEMICOLON => ";",
            DOT => ".",
            EQ => "=",
            LT => "<",
            GT => ">",
            STAR => "*",
            ARROW => "->",
            ELSE_KW => "else",
            FROM_KW => "from",
            IN_KW => "in",
            FN_KW => "fn",
            _ => "token",
        }
    }
}
