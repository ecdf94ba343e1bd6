//! Lexer, parser and lossless syntax tree of the Harn language, and its diagnostics.
