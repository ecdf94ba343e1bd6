//! Reading JSON (RFC 8259) with a stack of its own. An error names what was expected and where.

use madrigal_vm::{Dict, Str, Value};

/// The value of a JSON text, or what is wrong with it.
pub fn parse(text: &str) -> Result<Value, String> {
    let mut reader = Reader { text, at: 0 };
    match reader.document() {
        Ok(value) => Ok(value),
        Err(mistake) => Err(reader.located(mistake)),
    }
}

struct Reader<'a> {
    text: &'a str,
    /// Byte position of the next character, always between characters.
    at: usize,
}

/// A container whose end has not come yet.
enum Open {
    List(Vec<Value>),
    /// Entries so far and the key whose value comes next.
    Dict(Vec<(Str, Value)>, Str),
}

/// What reading the start of a value gave.
enum Begun {
    Complete(Value),
    Opened(Open),
}

type Mistake = &'static str;

impl Reader<'_> {
    fn document(&mut self) -> Result<Value, Mistake> {
        let mut open: Vec<Open> = Vec::new();
        loop {
            let mut value = match self.begin_value()? {
                Begun::Opened(container) => {
                    open.push(container);
                    continue;
                }
                Begun::Complete(value) => value,
            };
            // A complete value may be the last one of the containers around it.
            loop {
                let Some(container) = open.pop() else { return self.end(value) };
                match self.add(container, value)? {
                    Begun::Complete(closed) => value = closed,
                    Begun::Opened(container) => {
                        open.push(container);
                        break;
                    }
                }
            }
        }
    }

    fn end(&mut self, value: Value) -> Result<Value, Mistake> {
        self.blanks();
        if self.at == self.text.len() { Ok(value) } else { Err("trailing characters") }
    }

    fn begin_value(&mut self) -> Result<Begun, Mistake> {
        self.blanks();
        let value = match self.peek() {
            None => return Err("unexpected end of input"),
            Some(b'[') => return self.begin_list(),
            Some(b'{') => return self.begin_dict(),
            Some(b'"') => Value::String(Str::from(self.string()?)),
            Some(b'-' | b'0'..=b'9') => self.number()?,
            Some(b't') => self.word("true", Value::Bool(true))?,
            Some(b'f') => self.word("false", Value::Bool(false))?,
            Some(b'n') => self.word("null", Value::Nil)?,
            Some(_) => return Err("expected value"),
        };
        Ok(Begun::Complete(value))
    }

    fn begin_list(&mut self) -> Result<Begun, Mistake> {
        self.at += 1;
        self.blanks();
        if self.eat(b']') {
            return Ok(Begun::Complete(Value::list(Vec::new())));
        }
        Ok(Begun::Opened(Open::List(Vec::new())))
    }

    fn begin_dict(&mut self) -> Result<Begun, Mistake> {
        self.at += 1;
        self.blanks();
        if self.eat(b'}') {
            return Ok(Begun::Complete(Value::Dict(Dict::new())));
        }
        Ok(Begun::Opened(Open::Dict(Vec::new(), self.key()?)))
    }

    /// Adds a value to its container: which is complete now, or open for the next one.
    fn add(&mut self, container: Open, value: Value) -> Result<Begun, Mistake> {
        self.blanks();
        match container {
            Open::List(mut items) => {
                items.push(value);
                if self.eat(b']') {
                    return Ok(Begun::Complete(Value::list(items)));
                }
                self.expect(b',', "expected `,` or `]`")?;
                Ok(Begun::Opened(Open::List(items)))
            }
            Open::Dict(mut entries, key) => {
                entries.push((key, value));
                if self.eat(b'}') {
                    return Ok(Begun::Complete(Value::dict(entries)));
                }
                self.expect(b',', "expected `,` or `}`")?;
                Ok(Begun::Opened(Open::Dict(entries, self.key()?)))
            }
        }
    }

    fn key(&mut self) -> Result<Str, Mistake> {
        self.blanks();
        if self.peek() != Some(b'"') {
            return Err(if self.peek().is_none() { "unexpected end of input" } else { "key must be a string" });
        }
        let key = Str::from(self.string()?);
        self.blanks();
        self.expect(b':', "expected `:`")?;
        Ok(key)
    }

    fn number(&mut self) -> Result<Value, Mistake> {
        let start = self.at;
        let whole = self.skip_number();
        let text = &self.text[start..self.at];
        match whole {
            Some(true) if text.parse::<i64>().is_ok() => Ok(text.parse().map_or(Value::Nil, Value::Int)),
            Some(_) => text.parse().map(Value::Float).map_err(|_| "invalid number"),
            None => {
                self.at = start;
                Err("invalid number")
            }
        }
    }

    /// Passes over a number; whether it has neither fraction nor exponent. `None` when it is malformed.
    fn skip_number(&mut self) -> Option<bool> {
        self.eat(b'-');
        let leading_zero = self.peek() == Some(b'0');
        let digits = self.digits();
        if digits == 0 || (leading_zero && digits > 1) {
            return None;
        }
        let mut whole = true;
        if self.eat(b'.') {
            whole = false;
            (self.digits() > 0).then_some(())?;
        }
        if self.eat(b'e') || self.eat(b'E') {
            whole = false;
            let _ = self.eat(b'+') || self.eat(b'-');
            (self.digits() > 0).then_some(())?;
        }
        Some(whole)
    }

    fn digits(&mut self) -> usize {
        let start = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        self.at - start
    }

    fn string(&mut self) -> Result<String, Mistake> {
        self.at += 1;
        let mut text = String::new();
        loop {
            let rest = &self.text.as_bytes()[self.at..];
            let plain = rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..=0x1f));
            let plain = plain.ok_or("unexpected end of input in a string")?;
            text.push_str(&self.text[self.at..self.at + plain]);
            self.at += plain;
            match rest[plain] {
                b'"' => {
                    self.at += 1;
                    return Ok(text);
                }
                b'\\' => text.push(self.escape().ok_or("invalid escape")?),
                _ => return Err("control character in a string"),
            }
        }
    }

    /// The character of an escape; on a mistake stays in front of it.
    fn escape(&mut self) -> Option<char> {
        let bytes = &self.text.as_bytes()[self.at + 1..];
        let (it, len) = match bytes.first()? {
            b'"' => ('"', 1),
            b'\\' => ('\\', 1),
            b'/' => ('/', 1),
            b'b' => ('\u{8}', 1),
            b'f' => ('\u{c}', 1),
            b'n' => ('\n', 1),
            b'r' => ('\r', 1),
            b't' => ('\t', 1),
            b'u' => unicode_escape(bytes)?,
            _ => return None,
        };
        self.at += 1 + len;
        Some(it)
    }

    fn word(&mut self, word: &str, value: Value) -> Result<Value, Mistake> {
        if !self.text[self.at..].starts_with(word) {
            return Err("expected value");
        }
        self.at += word.len();
        Ok(value)
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn eat(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, byte: u8, mistake: Mistake) -> Result<(), Mistake> {
        match self.peek() {
            None => Err("unexpected end of input"),
            Some(found) if found == byte => {
                self.at += 1;
                Ok(())
            }
            Some(_) => Err(mistake),
        }
    }

    fn blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn located(&self, mistake: Mistake) -> String {
        let before = &self.text[..self.at];
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        format!("{mistake} at line {line} column {column}")
    }
}

/// The character of `uXXXX`, or of two of them that form a surrogate pair, and their length.
fn unicode_escape(bytes: &[u8]) -> Option<(char, usize)> {
    let unit = |from: usize| {
        let digits = bytes.get(from..from + 4)?;
        digits.iter().try_fold(0, |unit, digit| Some(unit * 16 + char::from(*digit).to_digit(16)?))
    };
    let first = unit(1)?;
    if let Some(it) = char::from_u32(first) {
        return Some((it, 5));
    }
    let second = if bytes.get(5..7)? == b"\\u" { unit(7)? } else { return None };
    if !(0xd800..0xdc00).contains(&first) || !(0xdc00..0xe000).contains(&second) {
        return None;
    }
    char::from_u32(0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00)).map(|it| (it, 11))
}
