//! Cuts a stream of bytes into events: those of server-sent events, or lines of JSON. Bytes may be cut anywhere, also
//! within a character.

use crate::failure::LlmError;

/// Longest event.
const EVENT_BYTES_MAX: usize = 8 << 20;

/// How events are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// `data:` lines, an empty line after each event.
    ServerSent,
    /// One event a line.
    JsonLines,
}

/// Takes bytes, gives events.
pub struct Lines {
    framing: Framing,
    buffer: Vec<u8>,
    /// Where the next line begins.
    start: usize,
    /// From where on the end of the line was not looked for.
    scanned: usize,
    data: String,
    has_data: bool,
}

impl Lines {
    pub fn new(framing: Framing) -> Lines {
        Lines { framing, buffer: Vec::new(), start: 0, scanned: 0, data: String::new(), has_data: false }
    }

    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.drain(..self.start);
        self.scanned -= self.start;
        self.start = 0;
        self.buffer.extend_from_slice(bytes);
    }

    /// The next event that is complete.
    pub fn next(&mut self) -> Result<Option<String>, LlmError> {
        while let Some(line) = self.line()? {
            match self.framing {
                Framing::JsonLines if line.trim().is_empty() => {}
                Framing::JsonLines => return Ok(Some(line)),
                Framing::ServerSent if line.is_empty() && self.has_data => {
                    self.has_data = false;
                    return Ok(Some(std::mem::take(&mut self.data)));
                }
                Framing::ServerSent => self.field(&line)?,
            }
        }
        Ok(None)
    }

    fn field(&mut self, line: &str) -> Result<(), LlmError> {
        let Some(value) = line.strip_prefix("data:") else { return Ok(()) };
        if self.has_data {
            self.data.push('\n');
        }
        self.has_data = true;
        self.data.push_str(value.strip_prefix(' ').unwrap_or(value));
        if self.data.len() > EVENT_BYTES_MAX { Err(too_large()) } else { Ok(()) }
    }

    fn line(&mut self) -> Result<Option<String>, LlmError> {
        let Some(at) = self.buffer[self.scanned..].iter().position(|it| *it == b'\n') else {
            self.scanned = self.buffer.len();
            return if self.buffer.len() - self.start > EVENT_BYTES_MAX { Err(too_large()) } else { Ok(None) };
        };
        let end = self.scanned + at;
        let line = &self.buffer[self.start..end];
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let text = std::str::from_utf8(line).map(str::to_owned);
        self.start = end + 1;
        self.scanned = self.start;
        text.map(Some).map_err(|_| LlmError::new("server_error", "a chunk is not UTF-8").because("malformed_chunk"))
    }
}

fn too_large() -> LlmError {
    LlmError::new("server_error", "an event is longer than 8 MiB").because("too_large")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_the_same_however_the_bytes_are_cut() {
        let stream = "event: x\ndata: {\"a\":\r\ndata: \"ö\"}\r\n\r\n: comment\n\ndata:[DONE]\n\n".as_bytes();
        for size in 1..stream.len() {
            let mut lines = Lines::new(Framing::ServerSent);
            let mut events = Vec::new();
            for chunk in stream.chunks(size) {
                lines.push(chunk);
                while let Some(event) = lines.next().expect("it is well formed") {
                    events.push(event);
                }
            }
            assert_eq!(events, ["{\"a\":\n\"ö\"}", "[DONE]"], "cut every {size} bytes");
        }
    }

    #[test]
    fn an_event_without_end_is_refused() {
        let mut lines = Lines::new(Framing::JsonLines);
        lines.push(&vec![b'x'; EVENT_BYTES_MAX + 1]);
        assert_eq!(lines.next().expect_err("it is too long").reason, "too_large");
    }

    #[test]
    fn half_a_character_is_waited_for_and_a_wrong_one_refused() {
        let mut lines = Lines::new(Framing::JsonLines);
        lines.push(&[0xC3]);
        assert!(lines.next().expect("nothing wrong yet").is_none());
        lines.push(&[0xB6, b'\n']);
        assert_eq!(lines.next().expect("it is a character").as_deref(), Some("ö"));
        lines.push(&[0xC3, b'\n']);
        assert_eq!(lines.next().expect_err("it is none").reason, "malformed_chunk");
    }
}
