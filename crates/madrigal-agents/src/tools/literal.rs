//! Dict literals of constant values, as models write them: `{ city: "Bern", days: 2 }`.

use madrigal_vm::{Dict, Str, Value};

/// Deepest nesting that is read.
const DEPTH_MAX: usize = 64;

/// The value of a literal; the error says what was expected.
pub fn parse(text: &str) -> Result<Value, String> {
    let mut reader = Reader { rest: text };
    let value = reader.value(0)?;
    reader.space();
    if reader.rest.is_empty() { Ok(value) } else { Err("text after the value".to_owned()) }
}

struct Reader<'a> {
    rest: &'a str,
}

impl Reader<'_> {
    fn space(&mut self) {
        self.rest = self.rest.trim_start();
    }

    fn eat(&mut self, wanted: char) -> bool {
        self.space();
        match self.rest.strip_prefix(wanted) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn word(&mut self) -> &str {
        let end = self.rest.find(|it: char| !it.is_alphanumeric() && !"_.+-".contains(it)).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        word
    }

    fn value(&mut self, depth: usize) -> Result<Value, String> {
        if depth > DEPTH_MAX {
            return Err("nested too deeply".to_owned());
        }
        if self.eat('{') {
            return self.dict(depth);
        }
        if self.eat('[') {
            return self.list(depth);
        }
        if self.rest.starts_with('"') {
            return self.string().map(Value::from);
        }
        match self.word() {
            "true" => Ok(Value::Bool(true)),
            "false" => Ok(Value::Bool(false)),
            "nil" | "null" => Ok(Value::Nil),
            word => {
                let int = word.parse().map(Value::Int).ok();
                let float =
                    || word.parse().map(Value::Float).ok().filter(|_| word.contains(|it: char| it.is_ascii_digit()));
                int.or_else(float).ok_or_else(|| format!("'{word}' is no value"))
            }
        }
    }

    fn dict(&mut self, depth: usize) -> Result<Value, String> {
        let mut entries = Dict::new();
        while !self.eat('}') {
            let key = if self.rest.starts_with('"') { self.string()? } else { self.word().to_owned() };
            if key.is_empty() || !self.eat(':') {
                return Err("expected key: value".to_owned());
            }
            entries.insert(Str::from(key), self.value(depth + 1)?);
            if !self.eat(',') && !self.rest.starts_with('}') {
                return Err("expected ',' or '}'".to_owned());
            }
        }
        Ok(Value::Dict(entries))
    }

    fn list(&mut self, depth: usize) -> Result<Value, String> {
        let mut items = Vec::new();
        while !self.eat(']') {
            items.push(self.value(depth + 1)?);
            if !self.eat(',') && !self.rest.starts_with(']') {
                return Err("expected ',' or ']'".to_owned());
            }
        }
        Ok(Value::list(items))
    }

    fn string(&mut self) -> Result<String, String> {
        let mut out = String::new();
        let mut chars = self.rest[1..].char_indices();
        while let Some((at, it)) = chars.next() {
            match it {
                '"' => {
                    self.rest = &self.rest[at + 2..];
                    return Ok(out);
                }
                '\\' => match chars.next().map(|it| it.1) {
                    Some('n') => out.push('\n'),
                    Some('t') => out.push('\t'),
                    Some('r') => out.push('\r'),
                    Some(other) => out.push(other),
                    None => break,
                },
                other => out.push(other),
            }
        }
        Err("a string without end".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Result<&str, ()>) {
        assert_eq!(parse(text).map(|it| it.to_string()).map_err(|_| ()), expected.map(str::to_owned), "{text}");
    }

    #[test]
    fn constants_are_read() {
        check(
            r#"{ a: 1, "b c": [-2.5, nil, true], d: {e: "x\n\"y\""}, }"#,
            Ok("{a: 1, b c: [-2.5, nil, true], d: {e: x\n\"y\"}}"),
        );
        check("{}", Ok("{}"));
        check("{a}", Err(()));
        check("{a: b}", Err(()));
        check("{a: 1} x", Err(()));
        check(&"[".repeat(1000), Err(()));
    }
}
