//! Standard input, read by a thread of its own: a read that nobody waits for any more must neither keep the run from
//! ending nor swallow what the next reader should get.

use parking_lot::Mutex;
use std::collections::VecDeque;
use std::io::{BufRead, BufReader, IsTerminal, Read};
use std::sync::{Arc, mpsc};
use tokio::sync::oneshot;

/// Where a run reads from.
pub struct Input {
    reader: Mutex<Reader>,
    kept: Kept,
    terminal: bool,
}

/// What was read for somebody who had left; comes first in the next answer.
type Kept = Arc<Mutex<Vec<u8>>>;

enum Reader {
    /// Nothing has been read yet.
    Idle(Box<dyn Read + Send>),
    Running(mpsc::Sender<Request>),
    Failed,
}

struct Request {
    whole: bool,
    answer: oneshot::Sender<Option<Vec<u8>>>,
}

/// An answer that is waited for. Dropped early it gives back what has been read already.
struct Asked {
    answered: oneshot::Receiver<Option<Vec<u8>>>,
    kept: Kept,
}

impl Drop for Asked {
    fn drop(&mut self) {
        // From here on the reader keeps its answer itself; what it sent before is still there.
        self.answered.close();
        if let Ok(Some(bytes)) = self.answered.try_recv() {
            self.kept.lock().extend(bytes);
        }
    }
}

impl Input {
    /// Standard input of the process.
    pub fn stdin() -> Input {
        Input::new(Box::new(std::io::stdin()), std::io::stdin().is_terminal())
    }

    /// Input that is at its end.
    pub fn empty() -> Input {
        Input::text("")
    }

    /// A fixed text.
    pub fn text(text: impl Into<String>) -> Input {
        Input::new(Box::new(VecDeque::from(text.into().into_bytes())), false)
    }

    fn new(source: Box<dyn Read + Send>, terminal: bool) -> Input {
        Input { reader: Mutex::new(Reader::Idle(source)), kept: Kept::default(), terminal }
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
        let mut asked = Asked { answered, kept: self.kept.clone() };
        async move {
            let bytes = (&mut asked.answered).await.ok().flatten();
            bytes.map(|it| String::from_utf8_lossy(&it).into_owned())
        }
    }

    fn requests(&self) -> Option<mpsc::Sender<Request>> {
        let mut reader = self.reader.lock();
        if let Reader::Idle(_) = &*reader
            && let Reader::Idle(source) = std::mem::replace(&mut *reader, Reader::Failed)
        {
            let (sender, requests) = mpsc::channel();
            let thread = std::thread::Builder::new().name("stdin".to_owned());
            let kept = self.kept.clone();
            if thread.spawn(move || serve(BufReader::new(source), &requests, &kept)).is_ok() {
                *reader = Reader::Running(sender);
            }
        }
        match &*reader {
            Reader::Running(sender) => Some(sender.clone()),
            Reader::Idle(_) | Reader::Failed => None,
        }
    }
}

/// Answers requests until the run is gone.
fn serve(mut source: impl BufRead, requests: &mpsc::Receiver<Request>, kept: &Kept) {
    for Request { whole, answer } in requests {
        let mut bytes = std::mem::take(&mut *kept.lock());
        let read = match whole {
            true => source.read_to_end(&mut bytes),
            false if bytes.is_empty() => source.read_until(b'\n', &mut bytes),
            false => Ok(bytes.len()),
        };
        let at_end = bytes.is_empty() && !whole;
        if let Err(Some(unread)) = answer.send((read.is_ok() && !at_end).then_some(bytes)) {
            kept.lock().extend(unread);
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
