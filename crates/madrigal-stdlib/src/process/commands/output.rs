//! What a command writes: the beginning and the end of it in memory, everything in a file once that is not all.

use parking_lot::Mutex;
use std::collections::VecDeque;
use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use tokio::io::{AsyncRead, AsyncReadExt};

/// Both outputs of a command.
pub(super) struct Output {
    path: PathBuf,
    state: Mutex<State>,
}

struct State {
    streams: [Stream; 2],
    spool: Option<File>,
}

struct Stream {
    head: Vec<u8>,
    tail: VecDeque<u8>,
    head_max: usize,
    tail_max: usize,
    dropped: usize,
}

impl Stream {
    fn new(most: usize) -> Stream {
        let head_max = most / 4;
        Stream { head: Vec::new(), tail: VecDeque::new(), head_max, tail_max: most - head_max, dropped: 0 }
    }

    fn fits(&self, more: usize) -> bool {
        self.head.len() + self.tail.len() + more <= self.head_max + self.tail_max
    }

    fn push(&mut self, bytes: &[u8]) {
        let (first, rest) = bytes.split_at(bytes.len().min(self.head_max - self.head.len()));
        self.head.extend_from_slice(first);
        self.tail.extend(rest);
        let over = self.tail.len().saturating_sub(self.tail_max);
        self.tail.drain(..over);
        self.dropped += over;
    }

    fn bytes(&self) -> Vec<u8> {
        self.head.iter().chain(&self.tail).copied().collect()
    }

    fn text(&self) -> String {
        if self.dropped == 0 {
            return String::from_utf8_lossy(&self.bytes()).into_owned();
        }
        let tail: Vec<u8> = self.tail.iter().copied().collect();
        let (head, tail) = (String::from_utf8_lossy(&self.head), String::from_utf8_lossy(&tail));
        format!("{head}\n[... {} bytes left out ...]\n{tail}", self.dropped)
    }
}

impl Output {
    /// The outputs of the command `id`, at most so many bytes of each in memory.
    pub fn new(id: &str, most: usize) -> Output {
        let path = std::env::temp_dir().join(format!("madrigal-{}-{id}.log", std::process::id()));
        Output { path, state: Mutex::new(State { streams: [Stream::new(most), Stream::new(most)], spool: None }) }
    }

    /// Takes everything that a pipe gives, of the error output or of the other.
    pub async fn read(self: std::sync::Arc<Output>, mut pipe: impl AsyncRead + Unpin, is_error: bool) {
        let mut chunk = vec![0; 16 * 1024];
        while let Ok(count @ 1..) = pipe.read(&mut chunk).await {
            self.take(&chunk[..count], usize::from(is_error));
        }
    }

    fn take(&self, bytes: &[u8], which: usize) {
        let mut state = self.state.lock();
        if state.spool.is_none() && !state.streams[which].fits(bytes.len()) {
            // Nothing was dropped so far. A full disk costs the file, not the command.
            let kept: Vec<u8> = state.streams.iter().flat_map(Stream::bytes).collect();
            state.spool =
                File::create(&self.path).ok().and_then(|mut file| file.write_all(&kept).is_ok().then_some(file));
        }
        if let Some(file) = &mut state.spool {
            let _ = file.write_all(bytes);
        }
        state.streams[which].push(bytes);
    }

    /// Standard output and error output.
    pub fn texts(&self) -> (String, String) {
        let state = self.state.lock();
        (state.streams[0].text(), state.streams[1].text())
    }

    /// Whether something is in the file only.
    pub fn is_truncated(&self) -> bool {
        self.state.lock().streams.iter().any(|it| it.dropped > 0)
    }

    /// The file that has everything, if there is one.
    pub fn path(&self) -> Option<String> {
        self.state.lock().spool.as_ref().map(|_| self.path.to_string_lossy().into_owned())
    }
}
