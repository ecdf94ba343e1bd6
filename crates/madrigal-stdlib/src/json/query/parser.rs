//! Reading jq expressions. Nesting is bounded, so neither reading nor evaluating overflows the stack.

use madrigal_vm::{Str, Value};

/// How deep parentheses and the like may nest.
const DEPTH_MAX: usize = 100;

/// An expression.
#[derive(Debug)]
pub(super) enum Expr {
    Pipe(Vec<Expr>),
    Comma(Vec<Expr>),
    And(Box<Expr>, Box<Expr>),
    Or(Box<Expr>, Box<Expr>),
    Not(Box<Expr>),
    Compare(Comparison, Box<Expr>, Box<Expr>),
    Path(Vec<Step>),
    /// `..`
    Descend,
    Object(Vec<(Str, Expr)>),
    Literal(Value),
    Length,
    Keys,
    Values,
    Type,
    Map(Box<Expr>),
    Select(Box<Expr>),
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Comparison {
    Equal,
    Unequal,
    Less,
    Greater,
}

/// A step of a path.
#[derive(Debug)]
pub(super) enum Step {
    Field(Str),
    Index(i64),
    Slice(Option<i64>, Option<i64>),
    /// `[]`
    Each,
}

/// The expression that a text describes.
pub(super) fn parse(text: &str) -> Result<Expr, String> {
    let mut parser = Parser { rest: text, depth: 0 };
    let expr = parser.pipe(true)?;
    parser.blanks();
    if parser.rest.is_empty() { Ok(expr) } else { Err(format!("unexpected input near '{}'", parser.rest)) }
}

struct Parser<'a> {
    rest: &'a str,
    depth: usize,
}

/// One expression, or several under a common head.
fn joined(mut parts: Vec<Expr>, join: fn(Vec<Expr>) -> Expr) -> Option<Expr> {
    if parts.len() > 1 { Some(join(parts)) } else { parts.pop() }
}

impl<'a> Parser<'a> {
    fn blanks(&mut self) {
        self.rest = self.rest.trim_start();
    }

    /// Takes `token` after blanks.
    fn eat(&mut self, token: &str) -> bool {
        self.blanks();
        self.eat_here(token)
    }

    fn eat_here(&mut self, token: &str) -> bool {
        let rest = self.rest.strip_prefix(token);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn expect(&mut self, token: &str) -> Result<(), String> {
        if self.eat(token) { Ok(()) } else { Err(format!("expected '{token}' near '{}'", self.rest)) }
    }

    /// Takes the word, if it is not only the start of a longer one.
    fn word(&mut self, word: &str) -> bool {
        self.blanks();
        let found = name(self.rest) == word;
        if found {
            self.rest = &self.rest[word.len()..];
        }
        found
    }

    /// `commas` tells whether stages may emit several expressions separated by commas.
    fn pipe(&mut self, commas: bool) -> Result<Expr, String> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err("expression is nested too deeply".to_owned());
        }
        let mut stages = Vec::new();
        loop {
            stages.push(if commas { self.comma()? } else { self.boolean()? });
            if !self.eat("|") {
                break;
            }
        }
        self.depth -= 1;
        joined(stages, Expr::Pipe).ok_or_else(String::new)
    }

    fn comma(&mut self) -> Result<Expr, String> {
        let mut parts = Vec::new();
        loop {
            parts.push(self.boolean()?);
            if !self.eat(",") {
                return joined(parts, Expr::Comma).ok_or_else(String::new);
            }
        }
    }

    fn boolean(&mut self) -> Result<Expr, String> {
        let mut left = self.comparison()?;
        let mut operators = 0;
        loop {
            let combine = if self.word("and") {
                Expr::And
            } else if self.word("or") {
                Expr::Or
            } else {
                return Ok(left);
            };
            operators += 1;
            if operators > DEPTH_MAX {
                return Err("expression is nested too deeply".to_owned());
            }
            left = combine(Box::new(left), Box::new(self.comparison()?));
        }
    }

    fn comparison(&mut self) -> Result<Expr, String> {
        let left = self.unary()?;
        let operators = [
            ("==", Comparison::Equal),
            ("!=", Comparison::Unequal),
            ("<", Comparison::Less),
            (">", Comparison::Greater),
        ];
        let Some((_, how)) = operators.into_iter().find(|(token, _)| self.eat(token)) else { return Ok(left) };
        Ok(Expr::Compare(how, Box::new(left), Box::new(self.unary()?)))
    }

    fn unary(&mut self) -> Result<Expr, String> {
        let mut negations = 0;
        while self.word("not") {
            negations += 1;
        }
        let operand = self.primary()?;
        // Two negations make a truth value of it, further pairs change nothing.
        let wraps = if negations > 2 { 2 - negations % 2 } else { negations };
        Ok((0..wraps).fold(operand, |it, _| Expr::Not(Box::new(it))))
    }

    fn primary(&mut self) -> Result<Expr, String> {
        self.blanks();
        if self.eat_here("(") {
            let inner = self.pipe(true)?;
            self.expect(")")?;
            return Ok(inner);
        }
        if self.eat_here("..") {
            return Ok(Expr::Descend);
        }
        match self.rest.chars().next() {
            Some('.') => self.path(),
            Some('{') => self.object(),
            Some('"') => Ok(Expr::Literal(Value::from(self.string()?))),
            Some('-' | '0'..='9') => self.number(),
            Some(it) if it.is_alphabetic() || it == '_' => self.named(),
            _ => Err(format!("expected expression near '{}'", self.rest)),
        }
    }

    fn path(&mut self) -> Result<Expr, String> {
        self.rest = &self.rest[1..];
        let mut steps = Vec::new();
        loop {
            let field = name(self.rest);
            if !field.is_empty() {
                steps.push(Step::Field(Str::from(field)));
                self.rest = &self.rest[field.len()..];
            } else if self.eat_here("[") {
                steps.push(self.bracket()?);
            } else if !self.eat_here(".") {
                return Ok(Expr::Path(steps));
            }
        }
    }

    /// What follows `[`.
    fn bracket(&mut self) -> Result<Step, String> {
        self.blanks();
        if self.eat_here("]") {
            return Ok(Step::Each);
        }
        if self.rest.starts_with('"') {
            let key = self.string()?;
            self.expect("]")?;
            return Ok(Step::Field(Str::from(key)));
        }
        let start = self.bound();
        if !self.eat(":") {
            let index = start.ok_or("expected array index or slice bound")?;
            self.expect("]")?;
            return Ok(Step::Index(index));
        }
        let end = self.bound();
        if end.is_none() && !self.rest.trim_start().starts_with(']') {
            return Err("expected array index or slice bound".to_owned());
        }
        self.expect("]")?;
        Ok(Step::Slice(start, end))
    }

    fn bound(&mut self) -> Option<i64> {
        self.blanks();
        let sign = usize::from(self.rest.starts_with('-'));
        let digits = self.rest[sign..].find(|it: char| !it.is_ascii_digit()).unwrap_or(self.rest.len() - sign);
        let bound = self.rest[..sign + digits].parse().ok()?;
        self.rest = &self.rest[sign + digits..];
        Some(bound)
    }

    fn object(&mut self) -> Result<Expr, String> {
        self.rest = &self.rest[1..];
        let mut fields = Vec::new();
        if self.eat("}") {
            return Ok(Expr::Object(fields));
        }
        loop {
            self.blanks();
            let key = if self.rest.starts_with('"') { self.string()? } else { self.field_name()? };
            self.expect(":")?;
            fields.push((Str::from(key), self.pipe(false)?));
            if !self.eat(",") {
                self.expect("}")?;
                return Ok(Expr::Object(fields));
            }
        }
    }

    fn field_name(&mut self) -> Result<String, String> {
        let field = name(self.rest);
        if field.is_empty() {
            return Err(format!("expected field name near '{}'", self.rest));
        }
        self.rest = &self.rest[field.len()..];
        Ok(field.to_owned())
    }

    fn string(&mut self) -> Result<String, String> {
        let mut escaped = false;
        let end = self.rest.char_indices().skip(1).find(|(_, it)| {
            let ends = *it == '"' && !escaped;
            escaped = *it == '\\' && !escaped;
            ends
        });
        let (end, _) = end.ok_or("unterminated string literal")?;
        let literal = &self.rest[..=end];
        self.rest = &self.rest[end + 1..];
        match super::super::parse(literal) {
            Ok(Value::String(text)) => Ok(text.to_string()),
            _ => Ok(literal[1..end].to_owned()),
        }
    }

    fn number(&mut self) -> Result<Expr, String> {
        let len = self.rest.find(|it: char| !matches!(it, '0'..='9' | '.' | '-' | '+' | 'e' | 'E'));
        let text = &self.rest[..len.unwrap_or(self.rest.len())];
        let int = text.parse().map(Value::Int);
        let number = int.or_else(|_| text.parse().map(Value::Float));
        let number = number.map_err(|_| format!("expected expression near '{}'", self.rest))?;
        self.rest = &self.rest[text.len()..];
        Ok(Expr::Literal(number))
    }

    fn named(&mut self) -> Result<Expr, String> {
        let word = name(self.rest);
        self.rest = &self.rest[word.len()..];
        Ok(match word {
            "true" => Expr::Literal(Value::Bool(true)),
            "false" => Expr::Literal(Value::Bool(false)),
            "null" | "nil" => Expr::Literal(Value::Nil),
            "length" => Expr::Length,
            "keys" => Expr::Keys,
            "values" => Expr::Values,
            "type" => Expr::Type,
            "map" => Expr::Map(self.argument()?),
            "select" => Expr::Select(self.argument()?),
            other => return Err(format!("unknown identifier '{other}'")),
        })
    }

    fn argument(&mut self) -> Result<Box<Expr>, String> {
        self.expect("(")?;
        let argument = self.pipe(true)?;
        self.expect(")")?;
        Ok(Box::new(argument))
    }
}

/// The identifier at the start; empty when there is none.
fn name(text: &str) -> &str {
    if text.starts_with(|it: char| it.is_ascii_digit()) {
        return "";
    }
    let end = text.find(|it: char| !it.is_alphanumeric() && it != '_').unwrap_or(text.len());
    &text[..end]
}
