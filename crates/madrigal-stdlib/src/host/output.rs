//! One ordered writer per stream. Text is gathered and handed on in whole calls: pieces of two tasks never mix within
//! one. The driver flushes before a task waits, before reports and at every end. A reader that went away is no error
//! of the script: what follows is dropped, and [`Output::is_closed`] tells.

use parking_lot::Mutex;
use std::fs::File;
use std::io::{ErrorKind, IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Where a stream of a run goes.
pub struct Output {
    state: Mutex<State>,
    /// Something is gathered; lets `flush` be called often.
    dirty: AtomicBool,
    /// Set by the first failed write and never reset.
    closed: AtomicBool,
    /// Set when more was written than it takes, and never reset.
    full: AtomicBool,
    terminal: bool,
}

struct State {
    sink: Box<dyn Write + Send>,
    buffer: Vec<u8>,
    /// Hand on after every call.
    eager: bool,
    /// How many more bytes it takes.
    left: u64,
}

/// Bytes gathered before they are handed on.
const BUFFER_LEN: usize = 32 * 1024;

impl Output {
    /// Standard output of the process; line by line when somebody watches.
    pub fn stdout() -> Output {
        let stdout = std::io::stdout();
        let terminal = stdout.is_terminal();
        Output { terminal, ..Output::new(unbuffered(&stdout).unwrap_or(Box::new(std::io::stdout())), terminal) }
    }

    /// Standard error of the process.
    pub fn stderr() -> Output {
        Output { terminal: std::io::stderr().is_terminal(), ..Output::new(Box::new(std::io::stderr()), true) }
    }

    /// A writer; `eager` hands every call on at once.
    pub fn new(sink: Box<dyn Write + Send>, eager: bool) -> Output {
        let state = State { sink, buffer: Vec::new(), eager, left: u64::MAX };
        let state = Mutex::new(state);
        Output { state, dirty: false.into(), closed: false.into(), full: false.into(), terminal: false }
    }

    /// A stream that is kept in memory.
    pub fn captured() -> (Output, Captured) {
        let captured = Captured::default();
        (Output::new(Box::new(captured.clone()), false), captured)
    }

    /// Adds what `write` appends, as one piece.
    pub fn write(&self, write: impl FnOnce(&mut Vec<u8>)) {
        let mut state = self.state.lock();
        write(&mut state.buffer);
        self.dirty.store(true, Ordering::Relaxed);
        if state.eager || state.buffer.len() >= BUFFER_LEN {
            self.hand_on(&mut state);
        }
    }

    /// Hands on what was gathered.
    pub fn flush(&self) {
        if !self.dirty.load(Ordering::Relaxed) {
            return;
        }
        let mut state = self.state.lock();
        if !state.buffer.is_empty() {
            self.hand_on(&mut state);
        }
    }

    /// Takes at most so many bytes; what follows is dropped, and [`Output::is_full`] tells.
    pub fn limited(self, bytes: u64) -> Output {
        self.state.lock().left = bytes;
        self
    }

    /// Whether more was written than it takes.
    pub fn is_full(&self) -> bool {
        self.full.load(Ordering::Relaxed)
    }

    /// Whether somebody watches.
    pub fn is_terminal(&self) -> bool {
        self.terminal
    }

    /// Whether the reader went away.
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }

    fn hand_on(&self, state: &mut State) {
        if state.buffer.len() as u64 > state.left {
            let left = usize::try_from(state.left).unwrap_or(usize::MAX);
            state.buffer.truncate(left);
            self.full.store(true, Ordering::Relaxed);
        }
        state.left -= state.buffer.len() as u64;
        if !self.is_closed() && write_whole(&mut *state.sink, &state.buffer).is_err() {
            self.closed.store(true, Ordering::Relaxed);
        }
        self.dirty.store(false, Ordering::Relaxed);
        state.buffer.clear();
        // One huge piece must not keep its memory.
        state.buffer.shrink_to(BUFFER_LEN * 2);
    }
}

/// Like `write_all`, but also for a descriptor that somebody made non-blocking.
fn write_whole(sink: &mut (dyn Write + Send), mut bytes: &[u8]) -> std::io::Result<()> {
    while !bytes.is_empty() {
        match sink.write(bytes) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(written) => bytes = &bytes[written..],
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => std::thread::sleep(Duration::from_millis(1)),
            Err(error) => return Err(error),
        }
    }
    sink.flush()
}

/// The descriptor itself: the standard library would gather lines a second time.
#[cfg(unix)]
fn unbuffered(stdout: &std::io::Stdout) -> Option<Box<dyn Write + Send>> {
    use std::os::fd::AsFd;
    let descriptor = stdout.as_fd().try_clone_to_owned().ok()?;
    Some(Box::new(File::from(descriptor)))
}

#[cfg(not(unix))]
fn unbuffered(_: &std::io::Stdout) -> Option<Box<dyn Write + Send>> {
    None::<File>.map(|it| Box::new(it) as Box<dyn Write + Send>)
}

/// Text captured from an [`Output`].
#[derive(Clone, Debug, Default)]
pub struct Captured(Arc<Mutex<Vec<u8>>>);

impl Captured {
    /// What was flushed so far.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock()).into_owned()
    }
}

impl Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Gone;

    impl Write for Gone {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(ErrorKind::BrokenPipe.into())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_reader_that_left_is_noted_and_what_follows_dropped() {
        let output = Output::new(Box::new(Gone), true);
        output.write(|out| out.extend_from_slice(b"one\n"));
        output.write(|out| out.extend_from_slice(b"two\n"));
        assert!(output.is_closed());
    }

    #[test]
    fn pieces_arrive_in_order() {
        let (output, captured) = Output::captured();
        output.write(|out| out.extend_from_slice(b"a"));
        output.write(|out| out.extend_from_slice(b"b\n"));
        assert_eq!(captured.text(), "");
        output.flush();
        assert_eq!(captured.text(), "ab\n");
    }
}
