//! TCP connections: listeners, and for each connection a thread that reads and one that writes.

#![expect(clippy::disallowed_types, reason = "the caller of the agent does I/O")]

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::{self, SyncSender};
use std::thread;
use std::time::Duration;

use nilas::ConnectionId;
use rustls::ClientConfig;
use socket2::{Domain, Socket, Type};

use crate::input::Input;
use crate::tls::Tls;

/// How many writes may wait on one connection. A peer that reads slower than that is as good as gone.
const MAX_WAITING: usize = 1024;

/// The connections of a session.
pub(crate) struct Connections {
    writers: BTreeMap<ConnectionId, Writer>,
    /// Those that are being opened.
    opening: BTreeSet<ConnectionId>,
    inputs: SyncSender<Input>,
}

/// The way to the thread that writes.
struct Writer {
    waiting: SyncSender<Vec<u8>>,
    /// To end the thread that reads.
    stream: TcpStream,
}

/// A connection that is open, and what protects it.
pub(crate) struct Link {
    pub(crate) stream: TcpStream,
    pub(crate) tls: Option<Tls>,
}

impl Connections {
    /// No connections; what later ones receive goes to `inputs`.
    pub(crate) const fn new(inputs: SyncSender<Input>) -> Self {
        Self { writers: BTreeMap::new(), opening: BTreeSet::new(), inputs }
    }

    /// Listens at a port of the system's choice, and tells its address.
    pub(crate) fn listen(&self, ip: IpAddr) -> io::Result<SocketAddr> {
        let listener = TcpListener::bind((ip, 0))?;
        let address = listener.local_addr()?;
        let inputs = self.inputs.clone();
        thread::spawn(move || accept(&listener, address, &inputs));
        Ok(address)
    }

    /// Opens a connection; tells what has become of it by [`Input::Connected`].
    pub(crate) fn open(
        &mut self,
        id: ConnectionId,
        local: SocketAddr,
        remote: SocketAddr,
        security: Option<(Arc<ClientConfig>, String)>,
    ) {
        self.opening.insert(id);
        let inputs = self.inputs.clone();
        thread::spawn(move || {
            let link = connect(local, remote).and_then(|mut stream| {
                let tls = security.map(|(config, name)| Tls::shake_hands(config, &name, &mut stream)).transpose()?;
                Ok(Link { stream, tls })
            });
            inputs.send(Input::Connected { id, link })
        });
    }

    /// Takes a connection off those that are being opened; `false` if nobody wants it any more.
    pub(crate) fn is_wanted(&mut self, id: ConnectionId) -> bool {
        self.opening.remove(&id)
    }

    /// Begins to read and write on a connection that is open.
    pub(crate) fn start(&mut self, id: ConnectionId, link: Link) -> io::Result<()> {
        let Link { stream, tls } = link;
        // A check is small, and nobody wants it to wait for company.
        stream.set_nodelay(true)?;
        let (mut reader, mut writer) = (stream.try_clone()?, stream.try_clone()?);
        let (waiting, writes) = mpsc::sync_channel::<Vec<u8>>(MAX_WAITING);
        self.writers.insert(id, Writer { waiting, stream });
        let protection = tls.clone();
        thread::spawn(move || {
            while let Ok(bytes) = writes.recv() {
                let written = match &protection {
                    Some(tls) => tls.write(&bytes, &mut writer),
                    None => writer.write_all(&bytes),
                };
                if written.is_err() {
                    break;
                }
            }
            // All that was to be sent is sent, or cannot be.
            let _ = writer.shutdown(Shutdown::Write);
        });
        let inputs = self.inputs.clone();
        thread::spawn(move || {
            let mut buffer = vec![0; 65_536];
            loop {
                let input = match reader.read(&mut buffer) {
                    Ok(0) => Input::Disconnected { id },
                    Ok(length) => {
                        let bytes = buffer.get(..length).unwrap_or_default();
                        let inside = tls.as_ref().map_or(Ok(bytes.to_vec()), |tls| tls.open(bytes, &mut reader));
                        inside.map_or_else(
                            |error| {
                                eprintln!("connection {id}: {error}");
                                Input::Disconnected { id }
                            },
                            |bytes| Input::Bytes { id, bytes },
                        )
                    }
                    Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                    Err(_) => Input::Disconnected { id },
                };
                let is_over = matches!(input, Input::Disconnected { .. });
                if inputs.send(input).is_err() || is_over {
                    return;
                }
            }
        });
        Ok(())
    }

    /// Writes to a connection; an error if it takes nothing any more.
    pub(crate) fn send(&self, id: ConnectionId, bytes: &[u8]) -> io::Result<()> {
        let writer = self.writers.get(&id).ok_or(ErrorKind::NotConnected)?;
        writer.waiting.try_send(bytes.to_vec()).map_err(|_| ErrorKind::WouldBlock.into())
    }

    /// Closes a connection once what was written is sent.
    pub(crate) fn close(&mut self, id: ConnectionId) {
        self.opening.remove(&id);
        if let Some(writer) = self.writers.remove(&id) {
            // Whether it was open at all is of no interest any more.
            let _ = writer.stream.shutdown(Shutdown::Read);
        }
    }

    /// Breaks every connection, as a network may do it.
    pub(crate) fn break_all(&self) {
        for writer in self.writers.values() {
            let _ = writer.stream.shutdown(Shutdown::Both);
        }
    }
}

/// Accepts connections until the session is over or the listener is beyond use.
fn accept(listener: &TcpListener, local: SocketAddr, inputs: &SyncSender<Input>) {
    const MAX_ERRORS: u32 = 100;
    let mut errors = 0;
    while errors < MAX_ERRORS {
        let Ok((stream, remote)) = listener.accept() else {
            errors += 1;
            continue;
        };
        errors = 0;
        if inputs.send(Input::Accepted { local, remote, stream }).is_err() {
            return;
        }
    }
}

/// Opens a connection from a local address; its port 0 is any.
fn connect(local: SocketAddr, remote: SocketAddr) -> io::Result<TcpStream> {
    const PATIENCE: Duration = Duration::from_secs(10);
    let socket = Socket::new(Domain::for_address(remote), Type::STREAM, None)?;
    socket.bind(&local.into())?;
    socket.connect_timeout(&remote.into(), PATIENCE)?;
    Ok(socket.into())
}
