//! A TCP connection: a socket used through shared references, a buffer under the readers' lock, the writers' lock.

use super::failed;
use madrigal_vm::Fault;
use std::io::{Error, ErrorKind, Result};
use std::net::Shutdown;
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio::sync::{Mutex, OwnedMutexGuard};

/// An open connection, or a closed one.
pub(super) struct Connection {
    pub(super) id: u64,
    pub(super) peer: String,
    pub(super) local: String,
    /// Empty once closed; who reads or writes holds the socket itself until that ends.
    socket: parking_lot::Mutex<Option<Arc<TcpStream>>>,
    /// Received and not yet read. Its lock makes reads take turns.
    received: Mutex<Vec<u8>>,
    /// Makes writes take turns.
    writing: Arc<Mutex<()>>,
}

/// Held by who writes.
pub(super) type Turn = OwnedMutexGuard<()>;

impl Connection {
    pub(super) fn new(stream: TcpStream, id: u64) -> Result<Connection> {
        let (peer, local) = (stream.peer_addr()?.to_string(), stream.local_addr()?.to_string());
        // Scripts talk line by line: gathering small writes would only add delay.
        stream.set_nodelay(true)?;
        Ok(Connection {
            id,
            peer,
            local,
            socket: parking_lot::Mutex::new(Some(Arc::new(stream))),
            received: Mutex::new(Vec::new()),
            writing: Arc::new(Mutex::new(())),
        })
    }

    fn socket(&self) -> Result<Arc<TcpStream>> {
        let closed = || Error::new(ErrorKind::NotConnected, "the connection is closed");
        self.socket.lock().clone().ok_or_else(closed)
    }

    fn fault(&self, what: &str) -> impl Fn(Error) -> Fault {
        move |error| failed(what, &self.peer, &error)
    }

    /// Receives more into the buffer; how much, 0 at the end.
    async fn fill(&self, received: &mut Vec<u8>) -> Result<usize> {
        let Ok(socket) = self.socket() else { return Ok(0) };
        let mut chunk = [0; 8192];
        loop {
            socket.readable().await?;
            match socket.try_read(&mut chunk) {
                Ok(len) => {
                    received.extend_from_slice(&chunk[..len]);
                    return Ok(len);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                // Closed by ourselves while we waited: the end, like any other.
                Err(_) if self.socket.lock().is_none() => return Ok(0),
                Err(error) => return Err(error),
            }
        }
    }

    /// Up to `max` bytes; `None` at the end.
    pub(super) async fn read(&self, max: usize) -> std::result::Result<Option<Vec<u8>>, Fault> {
        let mut received = self.received.lock().await;
        if received.is_empty() && self.fill(&mut received).await.map_err(self.fault("read"))? == 0 {
            return Ok(None);
        }
        let len = received.len().min(max);
        Ok(Some(received.drain(..len).collect()))
    }

    /// Exactly `n` bytes.
    pub(super) async fn read_exact(&self, n: usize) -> std::result::Result<Vec<u8>, Fault> {
        let mut received = self.received.lock().await;
        while received.len() < n {
            if self.fill(&mut received).await.map_err(self.fault("read_exact"))? == 0 {
                return Err(self.fault("read_exact")(ErrorKind::UnexpectedEof.into()));
            }
        }
        Ok(received.drain(..n).collect())
    }

    /// The next line, if it is here already and nobody else reads.
    pub(super) fn try_read_line(&self) -> Option<String> {
        let mut received = self.received.try_lock().ok()?;
        let end = received.iter().position(|it| *it == b'\n')?;
        Some(take_line(&mut received, end))
    }

    /// The next line; `None` at the end.
    pub(super) async fn read_line(&self, max: usize) -> std::result::Result<Option<String>, Fault> {
        let mut received = self.received.lock().await;
        let mut searched = 0;
        loop {
            if let Some(end) = received[searched..].iter().position(|it| *it == b'\n') {
                return Ok(Some(take_line(&mut received, searched + end)));
            }
            searched = received.len();
            if searched > max {
                return Err(self.fault("read_line")(Error::new(ErrorKind::InvalidData, "the line is too long")));
            }
            if self.fill(&mut received).await.map_err(self.fault("read_line"))? == 0 {
                let rest = std::mem::take(&mut *received);
                return Ok((!rest.is_empty()).then(|| String::from_utf8_lossy(&rest).into_owned()));
            }
        }
    }

    /// Everything until the end.
    pub(super) async fn read_to_end(&self, limit: usize) -> std::result::Result<Vec<u8>, Fault> {
        let mut received = self.received.lock().await;
        while self.fill(&mut received).await.map_err(self.fault("read_to_end"))? > 0 {
            if received.len() > limit {
                let text = format!("more than {limit} bytes");
                return Err(self.fault("read_to_end")(Error::new(ErrorKind::InvalidData, text)));
            }
        }
        Ok(std::mem::take(&mut *received))
    }

    /// Writes what fits into the socket's buffer, when nobody else writes: how much, and the turn that a caller keeps
    /// until the rest is written.
    pub(super) fn begin_write(&self, bytes: &[u8]) -> Option<(usize, Turn)> {
        let turn = Arc::clone(&self.writing).try_lock_owned().ok()?;
        // What goes wrong here goes wrong again, and is reported, where the rest is written.
        let written = self.socket().and_then(|socket| socket.try_write(bytes)).unwrap_or(0);
        Some((written, turn))
    }

    /// The turn of a writer, once those before it are done.
    pub(super) async fn turn(&self) -> Turn {
        Arc::clone(&self.writing).lock_owned().await
    }

    /// Writes all of it.
    pub(super) async fn write(&self, mut bytes: &[u8], _turn: Turn) -> std::result::Result<(), Fault> {
        let socket = self.socket().map_err(self.fault("write"))?;
        while !bytes.is_empty() {
            match socket.try_write(bytes) {
                Ok(written) => bytes = &bytes[written..],
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    socket.writable().await.map_err(self.fault("write"))?;
                }
                Err(error) => return Err(self.fault("write")(error)),
            }
        }
        Ok(())
    }

    /// Ends our direction, after writes under way.
    pub(super) async fn shutdown(&self) -> std::result::Result<(), Fault> {
        let _turn = self.turn().await;
        let socket = self.socket().map_err(self.fault("shutdown"))?;
        match shut(&socket, Shutdown::Write) {
            Err(error) if error.kind() != ErrorKind::NotConnected => Err(self.fault("shutdown")(error)),
            _ => Ok(()),
        }
    }

    /// Ends both directions at once and gives the socket back.
    pub(super) fn close(&self) {
        if let Some(socket) = self.socket.lock().take() {
            // A peer that is gone already is as closed as it gets.
            let _ = shut(&socket, Shutdown::Both);
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.close();
    }
}

fn take_line(received: &mut Vec<u8>, end: usize) -> String {
    let line: Vec<u8> = received.drain(..=end).collect();
    let line = &line[..end];
    String::from_utf8_lossy(line.strip_suffix(b"\r").unwrap_or(line)).into_owned()
}

/// Shuts a shared socket down, through a second descriptor of it.
#[cfg(unix)]
fn shut(socket: &TcpStream, how: Shutdown) -> Result<()> {
    use std::os::fd::AsFd;
    std::net::TcpStream::from(socket.as_fd().try_clone_to_owned()?).shutdown(how)
}

#[cfg(windows)]
fn shut(socket: &TcpStream, how: Shutdown) -> Result<()> {
    use std::os::windows::io::AsSocket;
    std::net::TcpStream::from(socket.as_socket().try_clone_to_owned()?).shutdown(how)
}
