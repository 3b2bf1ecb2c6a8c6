//! What comes in: lines from stdin and datagrams from sockets, each read by a thread of its own into one channel.

#![expect(clippy::disallowed_types, reason = "the caller of the agent does I/O")]

use std::io::{self, BufRead, Read};
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc::SyncSender;
use std::thread;

use nilas::ConnectionId;

use crate::connections::Link;
use crate::protocol::Command;

/// One thing for the agent's thread to deal with.
pub(crate) enum Input {
    /// A message from stdin.
    Command(Command),
    /// A line from stdin that is no message, and why.
    BadLine(String),
    /// The end of stdin.
    End,
    /// A datagram.
    Datagram {
        /// Where it came from.
        source: SocketAddr,
        /// The address of the socket that it arrived at.
        destination: SocketAddr,
        /// Its bytes.
        payload: Vec<u8>,
    },
    /// What has become of a connection that was to be opened.
    Connected {
        /// Its name.
        id: ConnectionId,
        /// The connection.
        link: io::Result<Link>,
    },
    /// A connection was accepted.
    Accepted {
        /// The address of the listener.
        local: SocketAddr,
        /// The address at the other end.
        remote: SocketAddr,
        /// The connection.
        stream: TcpStream,
    },
    /// Bytes of a connection.
    Bytes {
        /// Its name.
        id: ConnectionId,
        /// The bytes.
        bytes: Vec<u8>,
    },
    /// A connection is over.
    Disconnected {
        /// Its name.
        id: ConnectionId,
    },
}

/// Longest line, without its end.
const MAX_LINE: u64 = 1 << 20;

/// Starts to read stdin.
pub(crate) fn read_stdin(inputs: SyncSender<Input>) {
    thread::spawn(move || {
        let mut stdin = io::stdin().lock();
        while let Some(input) = next_line(&mut stdin) {
            if inputs.send(input).is_err() {
                return;
            }
        }
        // Without a receiver the process is at its end, too.
        let _ = inputs.send(Input::End);
    });
}

/// The next line that is not empty; `None` at the end of the input.
fn next_line(reader: &mut impl BufRead) -> Option<Input> {
    loop {
        let mut line = Vec::new();
        let length = reader.by_ref().take(MAX_LINE + 1).read_until(b'\n', &mut line).ok()?;
        if length == 0 {
            return None;
        }
        if line.last() != Some(&b'\n') && line.len() as u64 > MAX_LINE {
            reader.skip_until(b'\n').ok()?;
            return Some(Input::BadLine(format!("a line of more than {MAX_LINE} bytes")));
        }
        let line = line.trim_ascii();
        if !line.is_empty() {
            return Some(match serde_json::from_slice(line) {
                Ok(command) => Input::Command(command),
                Err(error) => Input::BadLine(format!("a line that is no message: {error}")),
            });
        }
    }
}
