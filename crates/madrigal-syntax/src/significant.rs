//! The tokens the grammar sees: no trivia, but what trivia said about lines, and brackets matched in one pass.
//! Not here: lexing, parsing. Knowing the partner of a bracket beforehand keeps look-ahead and recovery linear.

use crate::kinds::SyntaxKind::{self, *};
use crate::lexer::Token;

/// A token the grammar sees.
#[derive(Clone, Copy)]
pub(crate) struct Sig {
    pub(crate) kind: SyntaxKind,
    /// A NEWLINE token stands before it.
    pub(crate) newline: bool,
    /// It stands on a later line than the token before it, for whatever reason.
    pub(crate) later_line: bool,
    /// For `{`: a `->` stands directly inside.
    pub(crate) arrow: bool,
    pub(crate) start: u32,
    pub(crate) end: u32,
    /// For opening brackets: index of the matching one, 0 when there is none.
    pub(crate) partner: u32,
}

/// The tokens the grammar sees, with brackets matched and the end marked.
pub(crate) fn significant(text: &str, tokens: &[Token]) -> Vec<Sig> {
    let mut sigs = Vec::with_capacity(tokens.len() * 2 / 3 + 1);
    let mut at = 0u32;
    let (mut newline, mut later_line) = (false, false);
    let end = Token { kind: END, len: 0 };
    for token in tokens.iter().chain(std::iter::once(&end)) {
        let start = at;
        at += token.len;
        match token.kind {
            NEWLINE => (newline, later_line) = (true, true),
            LINE_JOIN => later_line = true,
            BLOCK_COMMENT => later_line |= text[start as usize..at as usize].contains('\n'),
            kind if kind.is_trivia() => {}
            kind => {
                sigs.push(Sig { kind, newline, later_line, arrow: false, start, end: at, partner: 0 });
                (newline, later_line) = (false, false);
            }
        }
    }
    match_brackets(&mut sigs);
    sigs
}

/// Finds the partner of every bracket and marks `{` with a `->` directly inside.
fn match_brackets(sigs: &mut [Sig]) {
    let mut open: Vec<usize> = Vec::new();
    let mut counts = [0usize; 4];
    for index in 0..sigs.len() {
        let kind = sigs[index].kind;
        if kind == ARROW {
            if let Some(&top) = open.last() {
                sigs[top].arrow = true;
            }
        } else if let Some(class) = opening(kind) {
            counts[class] += 1;
            open.push(index);
        } else if let Some(class) = closing(kind)
            && counts[class] > 0
        {
            while let Some(top) = open.pop() {
                let found = opening(sigs[top].kind);
                counts[found.unwrap_or(class)] -= 1;
                if found == Some(class) {
                    sigs[top].partner = index as u32;
                    break;
                }
            }
        }
    }
}

fn opening(kind: SyntaxKind) -> Option<usize> {
    match kind {
        L_BRACE => Some(0),
        L_PAREN => Some(1),
        L_BRACKET => Some(2),
        INTERPOLATION_START => Some(3),
        _ => None,
    }
}

fn closing(kind: SyntaxKind) -> Option<usize> {
    match kind {
        R_BRACE => Some(0),
        R_PAREN => Some(1),
        R_BRACKET => Some(2),
        INTERPOLATION_END => Some(3),
        _ => None,
    }
}
