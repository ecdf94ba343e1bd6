//! A provider on loopback that does what a test says: one answer a connection, in the order of connections, in pieces,
//! cut off or stalled. It keeps what it was sent.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc;
use std::thread;

/// What happens after the pieces of an answer.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The connection is closed properly.
    Close,
    /// Nothing more comes; the test ends when the client goes away.
    Stall,
}

/// One answer.
pub struct Answer {
    pub pieces: Vec<Vec<u8>>,
    pub end: End,
}

impl Answer {
    /// A whole answer.
    pub fn new(status: &str, headers: &[&str], body: &str) -> Answer {
        let mut head = format!("HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {}\r\n", body.len());
        for header in headers {
            head.push_str(header);
            head.push_str("\r\n");
        }
        Answer { pieces: vec![format!("{head}\r\n{body}").into_bytes()], end: End::Close }
    }

    /// A stream whose length is not told: it ends with the connection.
    pub fn stream(kind: &str, pieces: &[&[u8]], end: End) -> Answer {
        let head = format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: {kind}\r\n\r\n").into_bytes();
        Answer { pieces: std::iter::once(head).chain(pieces.iter().map(|it| it.to_vec())).collect(), end }
    }

    /// Server-sent events.
    pub fn events(events: &[&str], end: End) -> Answer {
        let text: String = events.iter().map(|it| format!("data: {it}\n\n")).collect();
        Answer::stream("text/event-stream", &[text.as_bytes()], end)
    }
}

/// The requests, in order; ends once every answer was given and every client has gone.
pub struct Provider {
    pub address: String,
    requests: mpsc::Receiver<String>,
}

impl Provider {
    pub fn start(answers: Vec<Answer>) -> Provider {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback exists");
        let address = listener.local_addr().expect("it is bound").to_string();
        let (sender, requests) = mpsc::channel();
        thread::spawn(move || {
            for answer in answers {
                let Ok((socket, _)) = listener.accept() else { return };
                let sender = sender.clone();
                thread::spawn(move || serve(socket, answer, &sender));
            }
        });
        Provider { address, requests }
    }

    /// All requests; waits for the end of their connections.
    pub fn requests(self) -> Vec<String> {
        self.requests.iter().collect()
    }
}

fn serve(mut socket: TcpStream, answer: Answer, requests: &mpsc::Sender<String>) {
    let request = read_request(&mut socket);
    for piece in answer.pieces {
        if socket.write_all(&piece).and_then(|()| socket.flush()).is_err() {
            break;
        }
    }
    if answer.end == End::Stall {
        // Ends when the client closes its side: nothing of it is read.
        let _ = socket.read(&mut [0; 1]);
    }
    let _ = requests.send(request);
}

fn read_request(socket: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let mut buffer = [0; 8192];
    while let Ok(len) = socket.read(&mut buffer) {
        bytes.extend_from_slice(&buffer[..len]);
        let text = String::from_utf8_lossy(&bytes);
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            if len == 0 {
                break;
            }
            continue;
        };
        let length = head.lines().find_map(|it| it.to_lowercase().strip_prefix("content-length:")?.trim().parse().ok());
        if len == 0 || body.len() >= length.unwrap_or(0) {
            break;
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
