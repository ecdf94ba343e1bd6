//! Reading JUnit test reports, leniently: whatever looks like a `testcase` counts, and nothing is an error.

use madrigal_vm::{Args, Cx, Fault, Value};

madrigal_vm::builtins! {
    /// The test cases of a JUnit XML report: dicts `{name, status, duration_ms, message, stdout, stderr}`.
    "parse_junit_xml" (input: any) -> list = parse_junit_xml;
}

fn parse_junit_xml(_: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    let text = match args.get(0) {
        Value::String(text) => text.to_string(),
        Value::Bytes(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        other => {
            return Err(Fault::thrown(format!("parse_junit_xml: expected string or bytes, got {}", other.type_name())));
        }
    };
    Ok(Value::list(Elements { text: &text, name: "testcase" }.map(|it| case(&it)).collect()))
}

fn case(element: &Element<'_>) -> Value {
    let attribute = |name: &str| element.attribute(name);
    let name = attribute("name").unwrap_or_default();
    let name = match attribute("classname") {
        Some(class) if !class.is_empty() => format!("{class}::{name}"),
        _ => name,
    };
    let seconds = attribute("time").and_then(|it| it.trim().parse::<f64>().ok()).unwrap_or(0.0);
    let outcomes = [("failure", "failed"), ("error", "errored"), ("skipped", "skipped")];
    let outcome = outcomes.iter().find_map(|(tag, status)| Some((*status, element.child(tag)?)));
    let (status, message) = match &outcome {
        Some((status, child)) => (*status, message(child)),
        None => ("passed", Value::Nil),
    };
    let output = |tag: &'static str| element.child(tag).map_or(Value::Nil, |it| Value::from(it.text()));
    Value::dict([
        ("name", Value::from(name)),
        ("status", Value::from(status)),
        ("duration_ms", Value::Int((seconds * 1000.0) as i64)),
        ("message", message),
        ("stdout", output("system-out")),
        ("stderr", output("system-err")),
    ])
}

/// The message attribute and the text, whichever there are.
fn message(element: &Element<'_>) -> Value {
    let text = element.text();
    let parts = [element.attribute("message").unwrap_or_default(), text.trim().to_owned()];
    let parts: Vec<String> = parts.into_iter().filter(|it| !it.is_empty()).collect();
    if parts.is_empty() { Value::Nil } else { Value::from(parts.join("\n")) }
}

/// An element as it stands in the text.
struct Element<'a> {
    /// Between name and `>`.
    attributes: &'a str,
    /// Between the tags.
    content: &'a str,
}

impl Element<'_> {
    fn attribute(&self, name: &str) -> Option<String> {
        let mut rest = self.attributes;
        while let Some(equals) = rest.find('=') {
            let key = rest[..equals].trim();
            let value = rest[equals + 1..].trim_start();
            let quote = value.chars().next().filter(|it| matches!(it, '"' | '\''))?;
            let end = value[1..].find(quote)? + 1;
            if key == name {
                return Some(decoded(&value[1..end]));
            }
            rest = &value[end + 1..];
        }
        None
    }

    fn child(&self, name: &'static str) -> Option<Element<'_>> {
        Elements { text: self.content, name }.next()
    }

    /// The text inside: markup left out, entities decoded, CDATA as it is.
    fn text(&self) -> String {
        let mut out = String::new();
        let mut rest = self.content;
        while let Some(open) = rest.find('<') {
            out.push_str(&decoded(&rest[..open]));
            rest = &rest[open..];
            if let Some(data) = rest.strip_prefix("<![CDATA[") {
                let end = data.find("]]>").unwrap_or(data.len());
                out.push_str(&data[..end]);
                rest = data.get(end + 3..).unwrap_or_default();
            } else {
                rest = rest.find('>').map_or("", |end| &rest[end + 1..]);
            }
        }
        out.push_str(&decoded(rest));
        out
    }
}

/// The elements of one name, in order; one inside another of the same name is not seen.
struct Elements<'a> {
    text: &'a str,
    name: &'static str,
}

impl Elements<'_> {
    /// Where the next opening tag of this name begins.
    fn open(&self) -> Option<usize> {
        let tag = format!("<{}", self.name);
        let mut from = 0;
        loop {
            let at = from + self.text[from..].find(['<'])?;
            let rest = &self.text[at..];
            if rest.starts_with("<![CDATA[") {
                from = at + rest.find("]]>")? + 3;
            } else if rest.starts_with("<!--") {
                from = at + rest.find("-->")? + 3;
            } else if rest.strip_prefix(&tag).is_some_and(|it| it.starts_with([' ', '\t', '\n', '\r', '/', '>'])) {
                return Some(at + tag.len());
            } else {
                from = at + 1;
            }
        }
    }
}

impl<'a> Iterator for Elements<'a> {
    type Item = Element<'a>;

    fn next(&mut self) -> Option<Element<'a>> {
        let start = self.open()?;
        let end = start + tag_end(&self.text[start..])?;
        let attributes = &self.text[start..end];
        if let Some(attributes) = attributes.strip_suffix('/') {
            self.text = &self.text[end + 1..];
            return Some(Element { attributes, content: "" });
        }
        let close = format!("</{}", self.name);
        let inside = &self.text[end + 1..];
        let length = inside.find(&close).unwrap_or(inside.len());
        self.text = &inside[length..];
        Some(Element { attributes, content: &inside[..length] })
    }
}

/// Where the `>` of a tag is, outside of quotes.
fn tag_end(text: &str) -> Option<usize> {
    let mut quote = None;
    for (at, it) in text.char_indices() {
        match quote {
            Some(open) if it == open => quote = None,
            Some(_) => {}
            None if it == '"' || it == '\'' => quote = Some(it),
            None if it == '>' => return Some(at),
            None => {}
        }
    }
    None
}

/// With the five entities of XML decoded.
fn decoded(text: &str) -> String {
    let entities = [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&apos;", "'"), ("&amp;", "&")];
    entities.iter().fold(text.to_owned(), |text, (entity, plain)| text.replace(entity, plain))
}
