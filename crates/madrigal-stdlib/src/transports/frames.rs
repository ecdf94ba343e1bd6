//! Frames of server-sent events: written, and read from bytes that arrive in any pieces.

use super::option;
use madrigal_vm::{Dict, Fault, Str, Value};

/// An event as it was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Event {
    pub event: Option<String>,
    pub data: Option<String>,
    pub id: Option<String>,
    pub retry_ms: Option<i64>,
    pub comment: Option<String>,
}

impl Event {
    /// The dict that scripts see.
    pub(super) fn value(&self) -> Value {
        let text = |it: &Option<String>| it.as_deref().map_or(Value::Nil, Value::from);
        Value::dict([
            ("type", Value::from("event")),
            ("event", Value::from(self.event.as_deref().unwrap_or("message"))),
            ("data", Value::from(self.data.as_deref().unwrap_or(""))),
            ("id", text(&self.id)),
            ("retry_ms", self.retry_ms.map_or(Value::Nil, Value::Int)),
        ])
    }

    fn is_only_comment(&self) -> bool {
        self.comment.is_some() && self.data.is_none() && self.event.is_none() && self.id.is_none()
    }

    fn line(&mut self, line: &str) {
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        let extend = |slot: &mut Option<String>| match slot {
            Some(text) => {
                text.push('\n');
                text.push_str(value);
            }
            None => *slot = Some(value.to_owned()),
        };
        match field {
            "" => extend(&mut self.comment),
            "data" => extend(&mut self.data),
            "event" => self.event = Some(value.to_owned()),
            "id" if !value.contains('\0') => self.id = Some(value.to_owned()),
            "retry" => self.retry_ms = value.parse().ok().filter(|it| *it >= 0).or(self.retry_ms),
            _ => {}
        }
    }
}

/// Reads events from pieces of a stream.
#[derive(Default)]
pub(super) struct Reader {
    bytes: Vec<u8>,
    event: Event,
    /// The last piece ended in a carriage return: a line feed that follows belongs to it.
    after_return: bool,
    /// Bytes of the event under way.
    pub pending: usize,
}

impl Reader {
    /// The events that `piece` completes.
    pub(super) fn feed(&mut self, piece: &[u8]) -> Vec<Event> {
        let mut complete = Vec::new();
        for &byte in piece {
            let skip = self.after_return && byte == b'\n';
            self.after_return = byte == b'\r';
            match byte {
                b'\n' if skip => {}
                b'\n' | b'\r' => {
                    let line = String::from_utf8_lossy(&std::mem::take(&mut self.bytes)).into_owned();
                    if line.is_empty() {
                        self.pending = 0;
                        let event = std::mem::take(&mut self.event);
                        if event.data.is_some() {
                            complete.push(event);
                        }
                    } else {
                        self.event.line(line.strip_prefix('\u{feff}').unwrap_or(&line));
                    }
                }
                other => {
                    self.bytes.push(other);
                    self.pending += 1;
                }
            }
        }
        complete
    }
}

/// A single frame parsed back: the dict of `sse_server_mock_receive`.
pub(super) fn parsed(frame: &str) -> Value {
    let mut event = Event::default();
    frame.lines().filter(|it| !it.is_empty()).for_each(|line| event.line(line));
    if event.is_only_comment() {
        let comment = event.comment.unwrap_or_default();
        return Value::dict([("type", Value::from("comment")), ("comment", Value::from(comment))]);
    }
    match event.value() {
        Value::Dict(mut entries) => {
            entries.insert(Str::from("raw"), Value::from(frame));
            Value::Dict(entries)
        }
        other => other,
    }
}

/// The frame of an event; `options` fill in what the event does not say.
pub(super) fn frame(event: &Value, options: Option<&Dict>) -> Result<String, Fault> {
    let own = match event {
        Value::Dict(it) => Some(it),
        _ => None,
    };
    let field = |names: &[&str]| {
        let named = |dict: Option<&Dict>| names.iter().find_map(|name| option(dict, name).cloned());
        named(own).or_else(|| named(options))
    };
    let data = if own.is_some() || event.is_nil() { field(&["data"]) } else { Some(event.clone()) };
    let comment = field(&["comment"]);
    let mut out = String::new();
    for line in comment.iter().flat_map(|it| lines(&it.display())) {
        push(&mut out, ":", &line);
    }
    let mut has_fields = false;
    for (name, names) in [("id", &["id"][..]), ("event", &["event", "name"])] {
        let Some(value) = field(names).map(|it| it.display()) else { continue };
        if value.contains(['\n', '\r']) {
            return Err(Fault::thrown(format!("sse_event: {name} must not contain newlines")));
        }
        has_fields = true;
        push(&mut out, &format!("{name}:"), &value);
    }
    if let Some(retry) = field(&["retry", "retry_ms"]) {
        let millis = retry.as_millis().filter(|it| *it >= 0);
        let wrong = || Fault::thrown("sse_event: retry/retry_ms must be a non-negative integer");
        has_fields = true;
        push(&mut out, "retry:", &millis.ok_or_else(wrong)?.to_string());
    }
    match data {
        Some(data) => lines(&data.display()).iter().for_each(|line| push(&mut out, "data:", line)),
        None if has_fields && comment.is_none() => push(&mut out, "data:", ""),
        None => {}
    }
    out.push('\n');
    Ok(out)
}

fn push(out: &mut String, name: &str, value: &str) {
    out.extend([name, " ", value, "\n"]);
}

fn lines(text: &str) -> Vec<String> {
    text.replace("\r\n", "\n").replace('\r', "\n").split('\n').map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(pieces: &[&str]) -> Vec<String> {
        let mut reader = Reader::default();
        let events = pieces.iter().flat_map(|it| reader.feed(it.as_bytes())).collect::<Vec<_>>();
        events.into_iter().map(|it| it.data.unwrap_or_default()).collect()
    }

    #[test]
    fn events_are_found_however_they_are_cut() {
        assert_eq!(data(&["da", "ta: a\nda", "ta:b\n\n", ": ping\n\ndata\r", "\n\r\n"]), ["a\nb", ""]);
        assert_eq!(data(&["data: é\n\ndata: cut off"]), ["é"]);
    }
}
