//! TCP connections of a peer. Threads accept, open and read them, and tell the peer's thread.

#![expect(clippy::disallowed_types, reason = "sockets belong to the application")]

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::Sender;
use std::thread;

use nilas::ConnectionId;
use socket2::{Domain, Socket, Type};

use crate::{Input, TIME_LIMIT};

/// The connections that the agent wants.
pub(crate) struct Connections {
    /// `None` is one that is being opened.
    streams: BTreeMap<ConnectionId, Option<TcpStream>>,
    inputs: Sender<Input>,
}

impl Connections {
    pub(crate) const fn new(inputs: Sender<Input>) -> Self {
        Self { streams: BTreeMap::new(), inputs }
    }

    /// Accepts connections at a port of the system's choice: [`Input::Accepted`].
    pub(crate) fn listen(&self, ip: IpAddr) -> io::Result<SocketAddr> {
        let listener = TcpListener::bind((ip, 0))?;
        let (local, inputs) = (listener.local_addr()?, self.inputs.clone());
        thread::spawn(move || {
            while let Ok((stream, remote)) = listener.accept() {
                if inputs.send(Input::Accepted { local, remote, stream }).is_err() {
                    return;
                }
            }
        });
        Ok(local)
    }

    /// Opens a connection; what has become of it comes as [`Input::Opened`].
    pub(crate) fn open(&mut self, id: ConnectionId, local: SocketAddr, remote: SocketAddr) {
        self.streams.insert(id, None);
        let inputs = self.inputs.clone();
        thread::spawn(move || inputs.send(Input::Opened { id, opened: connect(local, remote) }));
    }

    /// Whether a connection is still wanted.
    pub(crate) fn contains(&self, id: ConnectionId) -> bool {
        self.streams.contains_key(&id)
    }

    /// Keeps a connection that is open, and reads it: [`Input::Bytes`] and, at its end, [`Input::Closed`].
    pub(crate) fn keep(&mut self, id: ConnectionId, stream: TcpStream) -> io::Result<()> {
        // Checks and pings are small, and do not wait for company.
        stream.set_nodelay(true)?;
        let (mut reader, inputs) = (stream.try_clone()?, self.inputs.clone());
        self.streams.insert(id, Some(stream));
        thread::spawn(move || {
            let mut buffer = [0; 2048];
            while let Ok(length @ 1..) = reader.read(&mut buffer) {
                let bytes = buffer.get(..length).unwrap_or_default().to_vec();
                if inputs.send(Input::Bytes { id, bytes }).is_err() {
                    return;
                }
            }
            // A peer that is done does not want to know.
            let _ = inputs.send(Input::Closed { id });
        });
        Ok(())
    }

    /// Writes all of it. The little that is on its way in this example never has to wait; the example `peer` has
    /// threads that write.
    pub(crate) fn write(&mut self, id: ConnectionId, bytes: &[u8]) -> io::Result<()> {
        match self.streams.get_mut(&id) {
            Some(Some(stream)) => stream.write_all(bytes),
            _ => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    /// Closes a connection, or has no use for it when it is open.
    pub(crate) fn close(&mut self, id: ConnectionId) {
        if let Some(Some(stream)) = self.streams.remove(&id) {
            // This ends the thread that reads. A connection that is broken has ended it already.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

/// Connects from a local address; its port 0 stands for any.
fn connect(local: SocketAddr, remote: SocketAddr) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(remote), Type::STREAM, None)?;
    socket.bind(&local.into())?;
    socket.connect_timeout(&remote.into(), TIME_LIMIT)?;
    Ok(socket.into())
}
