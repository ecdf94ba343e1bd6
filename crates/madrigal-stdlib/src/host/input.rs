//! Standard input, read by a thread of its own: a read that nobody waits for any more must neither keep the run from
//! ending nor swallow what the next reader should get.

use parking_lot::Mutex;
use std::collections::VecDeque;
use std::io::{BufRead, BufReader, IsTerminal, Read};
use std::sync::mpsc;
use tokio::sync::oneshot;

/// Where a run reads from.
pub struct Input {
    reader: Mutex<Reader>,
    terminal: bool,
}

enum Reader {
    /// Nothing has been read yet.
    Idle(Box<dyn Read + Send>),
    Running(mpsc::Sender<Request>),
    Failed,
}

struct Request {
    whole: bool,
    answer: oneshot::Sender<Option<String>>,
}

impl Input {
    /// Standard input of the process.
    pub fn stdin() -> Input {
        Input { reader: Mutex::new(Reader::Idle(Box::new(std::io::stdin()))), terminal: std::io::stdin().is_terminal() }
    }

    /// Input that is at its end.
    pub fn empty() -> Input {
        Input::text("")
    }

    /// A fixed text.
    pub fn text(text: impl Into<String>) -> Input {
        let bytes = VecDeque::from(text.into().into_bytes());
        Input { reader: Mutex::new(Reader::Idle(Box::new(bytes))), terminal: false }
    }

    /// Whether somebody types it.
    pub fn is_terminal(&self) -> bool {
        self.terminal
    }

    /// The next line with its end; `None` at the end of input. Must be polled where waiting for the outside is allowed.
    /// Dropped early, the line stays for the next reader.
    pub fn line(&self) -> impl Future<Output = Option<String>> + Send + use<> {
        self.ask(false)
    }

    /// Everything left; `None` when reading fails.
    pub fn rest(&self) -> impl Future<Output = Option<String>> + Send + use<> {
        self.ask(true)
    }

    fn ask(&self, whole: bool) -> impl Future<Output = Option<String>> + Send + use<> {
        let (answer, answered) = oneshot::channel();
        if let Some(requests) = self.requests() {
            // A reader that has ended drops the request, which then reads as the end of input.
            let _ = requests.send(Request { whole, answer });
        }
        async move { answered.await.ok().flatten() }
    }

    fn requests(&self) -> Option<mpsc::Sender<Request>> {
        let mut reader = self.reader.lock();
        if let Reader::Idle(_) = &*reader
            && let Reader::Idle(source) = std::mem::replace(&mut *reader, Reader::Failed)
        {
            let (sender, requests) = mpsc::channel();
            let thread = std::thread::Builder::new().name("stdin".to_owned());
            if thread.spawn(move || serve(BufReader::new(source), &requests)).is_ok() {
                *reader = Reader::Running(sender);
            }
        }
        match &*reader {
            Reader::Running(sender) => Some(sender.clone()),
            Reader::Idle(_) | Reader::Failed => None,
        }
    }
}

/// Answers requests until the run is gone. `kept` is what was read for somebody who had left.
fn serve(mut source: impl BufRead, requests: &mpsc::Receiver<Request>) {
    let mut kept = Vec::new();
    for Request { whole, answer } in requests {
        let mut bytes = std::mem::take(&mut kept);
        let read = match whole {
            true => source.read_to_end(&mut bytes),
            false if bytes.is_empty() => source.read_until(b'\n', &mut bytes),
            false => Ok(bytes.len()),
        };
        let at_end = bytes.is_empty() && !whole;
        let text = (read.is_ok() && !at_end).then(|| String::from_utf8_lossy(&bytes).into_owned());
        if answer.send(text).is_err() {
            kept = bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_nobody_waited_for_stays() {
        let input = Input::text("a\r\nb\nc");
        crate::testing::Bench::new().runtime().block_on(async {
            assert_eq!(input.line().await.as_deref(), Some("a\r\n"));
            drop(input.line());
            assert_eq!(input.rest().await.as_deref(), Some("b\nc"));
            assert_eq!(input.line().await, None);
            assert_eq!(input.rest().await.as_deref(), Some(""));
        });
    }
}
