//! Text to tokens, keeping every byte: white space, newlines, comments and line joins are tokens too.
//! Not here: which newlines matter (`parser.rs`), what literals mean (`literal.rs`). Invariant: the lengths of the tokens
//! add up to the length of the text. The text between `${` and `}` is lexed by the same loop with a nearer `end`.

use crate::diagnostic::Code;
use crate::kinds::SyntaxKind::{self, *};

/// Strings inside interpolations of strings inside …
const INTERPOLATION_DEPTH_MAX: u32 = 24;
/// Errors after this many are not recorded.
pub(crate) const ERRORS_MAX: usize = 100;

/// A kind and a length in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token {
    /// What it is.
    pub kind: SyntaxKind,
    /// Bytes it covers.
    pub len: u32,
}

/// Something no token can be made of.
#[derive(Clone, Debug)]
pub struct LexError {
    /// Its code.
    pub code: Code,
    /// Byte offset it points at.
    pub offset: u32,
    /// The message without ` at L:C`.
    pub message: String,
}

/// Splits `text` into tokens.
pub fn lex(text: &str) -> (Vec<Token>, Vec<LexError>) {
    let mut lexer = Lexer {
        text,
        bytes: text.as_bytes(),
        pos: 0,
        end: text.len(),
        depth: 0,
        tokens: Vec::with_capacity(text.len() / 3),
        errors: Vec::new(),
    };
    lexer.shebang();
    lexer.run();
    (lexer.tokens, lexer.errors)
}

struct Lexer<'a> {
    text: &'a str,
    bytes: &'a [u8],
    pos: usize,
    end: usize,
    depth: u32,
    tokens: Vec<Token>,
    errors: Vec<LexError>,
}

impl Lexer<'_> {
    fn peek(&self, ahead: usize) -> u8 {
        let at = self.pos + ahead;
        if at < self.end { self.bytes[at] } else { 0 }
    }

    fn char_at(&self, at: usize) -> Option<char> {
        if at >= self.end { None } else { self.text[at..].chars().next() }
    }

    fn push_to(&mut self, kind: SyntaxKind, to: usize) {
        if to > self.pos {
            self.tokens.push(Token { kind, len: (to - self.pos) as u32 });
            self.pos = to;
        }
    }

    fn push(&mut self, kind: SyntaxKind, len: usize) {
        self.push_to(kind, self.pos + len);
    }

    fn error(&mut self, code: Code, offset: usize, message: String) {
        if self.errors.len() < ERRORS_MAX {
            self.errors.push(LexError { code, offset: offset as u32, message });
        }
    }

    fn shebang(&mut self) {
        if self.text.starts_with("#!") {
            let end = self.line_end(0);
            self.push_to(SHEBANG, end);
        }
    }

    fn line_end(&self, from: usize) -> usize {
        self.bytes[from..self.end].iter().position(|&b| b == b'\n').map_or(self.end, |at| from + at)
    }

    fn run(&mut self) {
        while self.pos < self.end {
            self.token();
        }
    }

    fn token(&mut self) {
        let first = self.bytes[self.pos];
        match first {
            b' ' | b'\t' | b'\r' => self.blanks(),
            b'\n' => self.push(NEWLINE, 1),
            b'a'..=b'z' | b'A'..=b'Z' | b'_' => self.word(),
            b'0'..=b'9' => self.number(),
            b'"' => self.string(),
            b'/' if self.peek(1) == b'/' => {
                let end = self.line_end(self.pos);
                self.push_to(LINE_COMMENT, end);
            }
            b'/' if self.peek(1) == b'*' => self.block_comment(),
            b'\\' if self.peek(1) == b'\n' => self.push(LINE_JOIN, 2),
            b'\\' if self.peek(1) == b'\r' && self.peek(2) == b'\n' => self.push(LINE_JOIN, 3),
            0x80.. => match self.char_at(self.pos) {
                Some(c) if c.is_alphabetic() => self.word(),
                _ => self.unknown(),
            },
            _ => match punctuation(first, self.peek(1)) {
                Some((kind, len)) => self.push(kind, len),
                None => self.unknown(),
            },
        }
    }

    fn blanks(&mut self) {
        let mut to = self.pos;
        while to < self.end && matches!(self.bytes[to], b' ' | b'\t' | b'\r') {
            to += 1;
        }
        self.push_to(WHITESPACE, to);
    }

    fn unknown(&mut self) {
        let c = self.char_at(self.pos).unwrap_or('\0');
        self.error(Code::UNEXPECTED_CHARACTER, self.pos, format!("Unexpected character '{c}'"));
        self.push(UNKNOWN, c.len_utf8());
    }

    fn word(&mut self) {
        if self.bytes[self.pos] == b'r' && self.peek(1) == b'"' {
            return self.raw_string();
        }
        let to = self.word_end(self.pos);
        let kind = SyntaxKind::from_word(&self.text[self.pos..to]).unwrap_or(IDENT);
        self.push_to(kind, to);
    }

    fn word_end(&self, from: usize) -> usize {
        let mut at = from;
        while at < self.end {
            let b = self.bytes[at];
            if b.is_ascii_alphanumeric() || b == b'_' {
                at += 1;
            } else if b >= 0x80
                && let Some(c) = self.char_at(at)
                && c.is_alphanumeric()
            {
                at += c.len_utf8();
            } else {
                break;
            }
        }
        at
    }

    fn digits_end(&self, from: usize) -> usize {
        let rest = &self.bytes[from..self.end];
        from + rest.iter().position(|b| !b.is_ascii_digit()).unwrap_or(rest.len())
    }

    fn number(&mut self) {
        let whole = self.digits_end(self.pos);
        if whole + 1 < self.end && self.bytes[whole] == b'.' && self.bytes[whole + 1].is_ascii_digit() {
            let end = self.digits_end(whole + 1);
            return self.push_to(FLOAT, end);
        }
        let at = |index: usize| {
            if index < self.end { self.bytes[index] } else { 0 }
        };
        if at(whole) == b'm' && at(whole + 1) == b's' {
            return self.push_to(DURATION, whole + 2);
        }
        let unit = matches!(at(whole), b's' | b'm' | b'h' | b'd' | b'w');
        if unit && !self.char_at(whole + 1).is_some_and(char::is_alphanumeric) {
            return self.push_to(DURATION, whole + 1);
        }
        self.push_to(INT, whole);
    }

    fn block_comment(&mut self) {
        let mut depth = 0usize;
        let mut at = self.pos;
        while at + 1 < self.end {
            match (self.bytes[at], self.bytes[at + 1]) {
                (b'/', b'*') => {
                    depth += 1;
                    at += 2;
                }
                (b'*', b'/') => {
                    depth -= 1;
                    at += 2;
                    if depth == 0 {
                        return self.push_to(BLOCK_COMMENT, at);
                    }
                }
                _ => at += 1,
            }
        }
        self.error(Code::UNTERMINATED_COMMENT, self.pos, "Unterminated block comment".to_owned());
        self.push_to(BLOCK_COMMENT, self.end);
    }

    fn raw_string(&mut self) {
        let start = self.pos + 2;
        let rest = &self.bytes[start..self.end];
        match rest.iter().position(|&b| b == b'"' || b == b'\n') {
            Some(at) if rest[at] == b'"' => self.push_to(RAW_STRING, start + at + 1),
            other => {
                let end = other.map_or(self.end, |at| start + at);
                self.unterminated(self.pos + 1, end);
            }
        }
    }

    fn unterminated(&mut self, quote: usize, end: usize) {
        self.error(Code::UNTERMINATED_STRING, quote, "Unterminated string".to_owned());
        self.push_to(UNKNOWN, end);
    }

    fn string(&mut self) {
        let triple = self.peek(1) == b'"' && self.peek(2) == b'"';
        let quotes = if triple { 3 } else { 1 };
        let mut holes = Vec::new();
        match self.scan_string(self.pos + quotes, triple, &mut holes) {
            Err(end) => self.unterminated(self.pos, end),
            Ok(end) if holes.is_empty() => self.push_to(if triple { TRIPLE_STRING } else { STRING }, end),
            Ok(end) => self.interpolated(quotes, end, &holes),
        }
    }

    /// Finds the end of a string and the places of its `${` and matching `}`; `Err` is where an unterminated one ends.
    fn scan_string(&self, from: usize, triple: bool, holes: &mut Vec<(usize, usize)>) -> Result<usize, usize> {
        let mut at = from;
        while at < self.end {
            let next = if at + 1 < self.end { self.bytes[at + 1] } else { 0 };
            match self.bytes[at] {
                b'"' if !triple => return Ok(at + 1),
                b'"' if next == b'"' && at + 2 < self.end && self.bytes[at + 2] == b'"' => {
                    return Ok(at + 3);
                }
                b'\n' if !triple => return Err(at),
                b'\\' if !triple && next != b'\n' => at += 2,
                b'$' if next == b'{' => {
                    let close = self.scan_hole(at + 2, triple)?;
                    holes.push((at, close));
                    at = close + 1;
                }
                _ => at += 1,
            }
        }
        Err(self.end)
    }

    fn scan_hole(&self, from: usize, triple: bool) -> Result<usize, usize> {
        let mut depth = 0usize;
        for at in from..self.end {
            match self.bytes[at] {
                b'{' => depth += 1,
                b'}' if depth == 0 => return Ok(at),
                b'}' => depth -= 1,
                b'\n' if !triple => return Err(at),
                _ => {}
            }
        }
        Err(self.end)
    }

    fn interpolated(&mut self, quotes: usize, end: usize, holes: &[(usize, usize)]) {
        self.push(STRING_START, quotes);
        for &(open, close) in holes {
            self.push_to(STRING_TEXT, open);
            self.push(INTERPOLATION_START, 2);
            self.hole(quotes, close);
            self.push(INTERPOLATION_END, 1);
        }
        self.push_to(STRING_TEXT, end - quotes);
        self.push(STRING_END, quotes);
    }

    fn hole(&mut self, quotes: usize, close: usize) {
        if quotes == 1 && self.text[self.pos..close].trim().is_empty() {
            self.error(Code::UNEXPECTED_CHARACTER, close, "Unexpected character '}'".to_owned());
        }
        if self.depth >= INTERPOLATION_DEPTH_MAX {
            let message = format!("string interpolations are nested too deep (limit {INTERPOLATION_DEPTH_MAX})");
            self.error(Code::OTHER_SYNTAX, self.pos, message);
            return self.push_to(UNKNOWN, close);
        }
        let outer = std::mem::replace(&mut self.end, close);
        self.depth += 1;
        self.run();
        self.depth -= 1;
        self.end = outer;
    }
}

/// The longest punctuation token that starts with `first`, `second`, and its length.
fn punctuation(first: u8, second: u8) -> Option<(SyntaxKind, usize)> {
    let two = match (first, second) {
        (b'=', b'=') => EQ_EQ,
        (b'!', b'=') => BANG_EQ,
        (b'&', b'&') => AND_AND,
        (b'|', b'|') => OR_OR,
        (b'|', b'>') => PIPE_GT,
        (b'?', b'?') => QUESTION_QUESTION,
        (b'*', b'*') => STAR_STAR,
        (b'?', b'.') => QUESTION_DOT,
        (b'-', b'>') => ARROW,
        (b'-', b'=') => MINUS_EQ,
        (b'+', b'=') => PLUS_EQ,
        (b'*', b'=') => STAR_EQ,
        (b'/', b'=') => SLASH_EQ,
        (b'%', b'=') => PERCENT_EQ,
        (b'<', b'=') => LT_EQ,
        (b'>', b'=') => GT_EQ,
        _ => return single(first).map(|kind| (kind, 1)),
    };
    Some((two, 2))
}

fn single(first: u8) -> Option<SyntaxKind> {
    Some(match first {
        b'{' => L_BRACE,
        b'}' => R_BRACE,
        b'(' => L_PAREN,
        b')' => R_PAREN,
        b'[' => L_BRACKET,
        b']' => R_BRACKET,
        b',' => COMMA,
        b':' => COLON,
        b';' => SEMICOLON,
        b'.' => DOT,
        b'=' => EQ,
        b'!' => BANG,
        b'+' => PLUS,
        b'-' => MINUS,
        b'*' => STAR,
        b'/' => SLASH,
        b'%' => PERCENT,
        b'<' => LT,
        b'>' => GT,
        b'?' => QUESTION,
        b'|' => PIPE,
        b'@' => AT,
        _ => return None,
    })
}
