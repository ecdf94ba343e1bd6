//! Expressions of directives: tokens, grammar (from loose to tight: filters, `or`, `and`, `not`, one comparison,
//! primary), and their values. Nesting is bounded, so no template overflows the stack.

use super::filters;
use super::scope::Scope;
use madrigal_vm::{Range, Str, Value, value};
use std::cmp::Ordering;

/// How deep parentheses, indices and negations nest.
const DEPTH_MAX: usize = 100;

/// An expression.
#[derive(Debug)]
pub(super) enum Expr {
    Literal(Value),
    Path(String, Vec<Step>),
    Not(Box<Expr>),
    And(Box<Expr>, Box<Expr>),
    Or(Box<Expr>, Box<Expr>),
    Compare(Comparison, Box<Expr>, Box<Expr>),
    Filter(Box<Expr>, String, Vec<Expr>),
}

/// `.name` or `[index]`.
#[derive(Debug)]
pub(super) enum Step {
    Field(String),
    Index(Expr),
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token {
    Word(String),
    Text(String),
    Int(i64),
    Float(f64),
    Symbol(&'static str),
}

impl Token {
    fn shown(&self) -> String {
        match self {
            Token::Word(it) => it.clone(),
            Token::Text(it) => format!("\"{it}\""),
            Token::Int(it) => it.to_string(),
            Token::Float(it) => value::display_float(*it),
            Token::Symbol(it) => (*it).to_owned(),
        }
    }
}

const SYMBOLS: [&str; 21] =
    ["==", "!=", "<=", ">=", "&&", "||", "<", ">", "|", "!", "(", ")", "[", "]", "{", "}", ",", ":", ".", "-", "="];

/// The tokens of a directive.
pub(super) fn tokens(text: &str) -> Result<Vec<Token>, String> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let token;
        (token, rest) = if first == '"' || first == '\'' {
            quoted(rest, first)?
        } else if first.is_ascii_digit() {
            number(rest)?
        } else if first.is_alphabetic() || first == '_' {
            let end = rest.find(|it: char| !it.is_alphanumeric() && it != '_').unwrap_or(rest.len());
            (Token::Word(rest[..end].to_owned()), &rest[end..])
        } else {
            match SYMBOLS.iter().find(|it| rest.starts_with(**it)) {
                Some(&"=") => return Err("unexpected `=` (use `==`)".to_owned()),
                Some(symbol) => (Token::Symbol(symbol), &rest[symbol.len()..]),
                None => return Err(format!("unexpected character `{first}`")),
            }
        };
        tokens.push(token);
        rest = rest.trim_start();
    }
    Ok(tokens)
}

fn quoted(text: &str, quote: char) -> Result<(Token, &str), String> {
    let mut out = String::new();
    let mut characters = text.char_indices().skip(1);
    while let Some((at, it)) = characters.next() {
        match it {
            '\\' => match characters.next() {
                Some((_, 'n')) => out.push('\n'),
                Some((_, 't')) => out.push('\t'),
                Some((_, 'r')) => out.push('\r'),
                Some((_, it @ ('\\' | '"' | '\''))) => out.push(it),
                Some((_, other)) => out.extend(['\\', other]),
                None => break,
            },
            it if it == quote => return Ok((Token::Text(out), &text[at + 1..])),
            it => out.push(it),
        }
    }
    Err("unterminated string literal".to_owned())
}

fn number(text: &str) -> Result<(Token, &str), String> {
    let digits = |from: usize| from + text[from..].find(|it: char| !it.is_ascii_digit()).unwrap_or(text.len() - from);
    let mut end = digits(0);
    let fraction = text[end..].starts_with('.') && text[end + 1..].starts_with(|it: char| it.is_ascii_digit());
    if fraction {
        end = digits(end + 1);
    }
    let (digits, rest) = text.split_at(end);
    let token = if fraction { digits.parse().ok().map(Token::Float) } else { digits.parse().ok().map(Token::Int) };
    token.map(|it| (it, rest)).ok_or_else(|| format!("number out of range: {digits}"))
}

/// Reads tokens from left to right.
pub(super) struct Reader {
    tokens: std::iter::Peekable<std::vec::IntoIter<Token>>,
    depth: usize,
}

impl Reader {
    pub(super) fn new(text: &str) -> Result<Reader, String> {
        Ok(Reader { tokens: tokens(text)?.into_iter().peekable(), depth: 0 })
    }

    pub(super) fn next(&mut self) -> Option<Token> {
        self.tokens.next()
    }

    /// Takes the next token if it is this symbol.
    pub(super) fn take(&mut self, symbol: &'static str) -> bool {
        self.tokens.next_if_eq(&Token::Symbol(symbol)).is_some()
    }

    /// Takes the next token if it is this word.
    pub(super) fn take_word(&mut self, word: &str) -> bool {
        self.tokens.next_if(|it| matches!(it, Token::Word(found) if found == word)).is_some()
    }

    pub(super) fn expect(&mut self, symbol: &'static str) -> Result<(), String> {
        if self.take(symbol) { Ok(()) } else { Err(format!("expected `{symbol}`{}", self.found())) }
    }

    fn found(&mut self) -> String {
        self.tokens.peek().map_or(String::new(), |it| format!(", found `{}`", it.shown()))
    }

    /// Nothing may be left.
    pub(super) fn end(&mut self) -> Result<(), String> {
        match self.next() {
            None => Ok(()),
            Some(token) => Err(format!("unexpected `{}`", token.shown())),
        }
    }

    /// A whole expression with its filters.
    pub(super) fn expression(&mut self) -> Result<Expr, String> {
        let mut expr = self.alternatives()?;
        while self.take("|") {
            let Some(Token::Word(name)) = self.next() else {
                return Err("expected filter name after `|`".to_owned());
            };
            let mut arguments = Vec::new();
            if self.take(":") {
                arguments.push(self.alternatives()?);
                while self.take(",") {
                    arguments.push(self.alternatives()?);
                }
            }
            expr = Expr::Filter(Box::new(expr), name, arguments);
        }
        Ok(expr)
    }

    /// `a or b`.
    pub(super) fn alternatives(&mut self) -> Result<Expr, String> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err("expression nested too deeply".to_owned());
        }
        let mut expr = self.conjunction()?;
        while self.take("||") || self.take_word("or") {
            expr = Expr::Or(Box::new(expr), Box::new(self.conjunction()?));
        }
        self.depth -= 1;
        Ok(expr)
    }

    fn conjunction(&mut self) -> Result<Expr, String> {
        let mut expr = self.negation()?;
        while self.take("&&") || self.take_word("and") {
            expr = Expr::And(Box::new(expr), Box::new(self.negation()?));
        }
        Ok(expr)
    }

    fn negation(&mut self) -> Result<Expr, String> {
        let mut negated = 0;
        while self.take("!") || self.take_word("not") {
            negated += 1;
        }
        let expr = self.comparison()?;
        // Twice is a truth value already; more than that changes nothing.
        let times = if negated < 2 { negated } else { 2 - negated % 2 };
        Ok((0..times).fold(expr, |expr, _| Expr::Not(Box::new(expr))))
    }

    fn comparison(&mut self) -> Result<Expr, String> {
        let left = self.primary()?;
        let Some(comparison) = self.tokens.peek().and_then(comparison_of) else { return Ok(left) };
        self.next();
        Ok(Expr::Compare(comparison, Box::new(left), Box::new(self.primary()?)))
    }

    fn primary(&mut self) -> Result<Expr, String> {
        Ok(match self.next() {
            None => return Err("expected an expression".to_owned()),
            Some(Token::Int(it)) => Expr::Literal(Value::Int(it)),
            Some(Token::Float(it)) => Expr::Literal(Value::Float(it)),
            Some(Token::Text(it)) => Expr::Literal(Value::from(it)),
            Some(Token::Symbol("-")) => match self.next() {
                Some(Token::Int(it)) => Expr::Literal(Value::Int(-it)),
                Some(Token::Float(it)) => Expr::Literal(Value::Float(-it)),
                _ => return Err("expected a number after `-`".to_owned()),
            },
            Some(Token::Symbol("(")) => {
                let expr = self.alternatives()?;
                self.expect(")")?;
                expr
            }
            Some(Token::Word(word)) => match word.as_str() {
                "nil" => Expr::Literal(Value::Nil),
                "true" => Expr::Literal(Value::Bool(true)),
                "false" => Expr::Literal(Value::Bool(false)),
                _ => Expr::Path(word, self.steps()?),
            },
            Some(token) => return Err(format!("unexpected `{}`", token.shown())),
        })
    }

    fn steps(&mut self) -> Result<Vec<Step>, String> {
        let mut steps = Vec::new();
        loop {
            if self.take(".") {
                match self.next() {
                    Some(Token::Word(name)) => steps.push(Step::Field(name)),
                    _ => return Err("expected a name after `.`".to_owned()),
                }
            } else if self.take("[") {
                steps.push(Step::Index(self.alternatives()?));
                self.expect("]")?;
            } else {
                return Ok(steps);
            }
        }
    }
}

fn comparison_of(token: &Token) -> Option<Comparison> {
    Some(match token {
        Token::Symbol("==") => Comparison::Equal,
        Token::Symbol("!=") => Comparison::NotEqual,
        Token::Symbol("<") => Comparison::Less,
        Token::Symbol("<=") => Comparison::LessEqual,
        Token::Symbol(">") => Comparison::Greater,
        Token::Symbol(">=") => Comparison::GreaterEqual,
        _ => return None,
    })
}

impl Expr {
    /// The name, when the expression is exactly one identifier.
    pub(super) fn bare_name(&self) -> Option<&str> {
        match self {
            Expr::Path(name, steps) if steps.is_empty() => Some(name),
            _ => None,
        }
    }

    pub(super) fn evaluate(&self, scope: &Scope) -> Result<Value, String> {
        Ok(match self {
            Expr::Literal(it) => it.clone(),
            Expr::Path(name, steps) => {
                let mut value = scope.get(name).unwrap_or_default();
                for step in steps {
                    value = match step {
                        Step::Field(name) => field(&value, name),
                        Step::Index(index) => indexed(&value, &index.evaluate(scope)?),
                    };
                }
                value
            }
            Expr::Not(inner) => Value::Bool(!is_truthy(&inner.evaluate(scope)?)),
            Expr::And(left, right) => {
                let left = left.evaluate(scope)?;
                if is_truthy(&left) { right.evaluate(scope)? } else { left }
            }
            Expr::Or(left, right) => {
                let left = left.evaluate(scope)?;
                if is_truthy(&left) { left } else { right.evaluate(scope)? }
            }
            Expr::Compare(how, left, right) => {
                Value::Bool(compare(*how, &left.evaluate(scope)?, &right.evaluate(scope)?))
            }
            Expr::Filter(input, name, arguments) => {
                let input = input.evaluate(scope)?;
                let arguments: Result<Vec<_>, _> = arguments.iter().map(|it| it.evaluate(scope)).collect();
                filters::apply(name, input, &arguments?)?
            }
        })
    }
}

/// Truth in templates: blank text is false, too.
pub(super) fn is_truthy(value: &Value) -> bool {
    match value {
        Value::Nil | Value::Unset => false,
        Value::Bool(it) => *it,
        Value::Float(it) => *it != 0.0,
        Value::String(it) => !it.trim().is_empty(),
        Value::List(it) => !it.is_empty(),
        Value::Dict(it) => !it.is_empty(),
        other => other.as_int() != Some(0),
    }
}

fn field(value: &Value, name: &str) -> Value {
    match value {
        Value::Dict(entries) => entries.get(name).cloned().unwrap_or_default(),
        Value::Struct(it) => it.fields().find(|(key, _)| key.as_str() == name).map_or(Value::Nil, |it| it.1.clone()),
        _ => Value::Nil,
    }
}

fn indexed(value: &Value, index: &Value) -> Value {
    match (value, index) {
        (_, Value::String(key)) => field(value, key),
        (Value::List(items), index) => {
            position(items.len(), index).and_then(|at| items.get(at).cloned()).unwrap_or_default()
        }
        (Value::String(text), index) => {
            position(text.count(), index).and_then(|at| text.at(at)).map_or(Value::Nil, Value::String)
        }
        (Value::Range(range), index) => position(range.len(), index).map_or(Value::Nil, |at| nth(range, at)),
        _ => Value::Nil,
    }
}

fn nth(range: &Range, at: usize) -> Value {
    range.iter().nth(at).map_or(Value::Nil, Value::Int)
}

fn position(len: usize, index: &Value) -> Option<usize> {
    let index = index.as_int()?;
    let len = i64::try_from(len).ok()?;
    let at = if index < 0 { len + index } else { index };
    (0..len).contains(&at).then_some(at as usize)
}

fn compare(how: Comparison, left: &Value, right: &Value) -> bool {
    let order = || match (left, right) {
        (Value::String(a), Value::String(b)) => Some(a.cmp(b)),
        _ => match (left.as_int(), right.as_int()) {
            (Some(a), Some(b)) => Some(a.cmp(&b)),
            _ => left.as_number()?.partial_cmp(&right.as_number()?),
        },
    };
    match how {
        Comparison::Equal => value::equal(left, right),
        Comparison::NotEqual => !value::equal(left, right),
        Comparison::Less => order() == Some(Ordering::Less),
        Comparison::LessEqual => order().is_some_and(Ordering::is_le),
        Comparison::Greater => order() == Some(Ordering::Greater),
        Comparison::GreaterEqual => order().is_some_and(Ordering::is_ge),
    }
}

/// What a value prints as: nothing for nil.
pub(super) fn shown(value: &Value) -> Str {
    if value.is_nil() { Str::from("") } else { value.display() }
}
