//! UDP sockets, one for each address, each read by a thread of its own.

#![expect(clippy::disallowed_types, reason = "the caller of the agent does I/O")]

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::thread;

use crate::input::Input;

/// The addresses of this host, without those that nobody else can reach (RFC 8445 §5.1.1.1).
pub(crate) fn host_addresses(ipv6: bool) -> io::Result<Vec<IpAddr>> {
    let interfaces = if_addrs::get_if_addrs()?;
    let usable = interfaces.iter().filter(|one| one.is_oper_up() && !one.is_loopback() && !one.is_link_local());
    let mut addresses: Vec<IpAddr> = usable.map(if_addrs::Interface::ip).filter(|ip| ipv6 || ip.is_ipv4()).collect();
    addresses.sort();
    addresses.dedup();
    Ok(addresses)
}

/// The sockets of a session.
pub(crate) struct Sockets {
    by_address: BTreeMap<SocketAddr, Arc<UdpSocket>>,
    inputs: SyncSender<Input>,
}

impl Sockets {
    /// No sockets; what later ones receive goes to `inputs`.
    pub(crate) const fn new(inputs: SyncSender<Input>) -> Self {
        Self { by_address: BTreeMap::new(), inputs }
    }

    /// Opens a socket at a port of the system's choice, and tells its address.
    pub(crate) fn open(&mut self, ip: IpAddr) -> io::Result<SocketAddr> {
        let socket = Arc::new(UdpSocket::bind((ip, 0))?);
        let address = socket.local_addr()?;
        self.by_address.insert(address, Arc::clone(&socket));
        let inputs = self.inputs.clone();
        thread::spawn(move || receive(&socket, address, &inputs));
        Ok(address)
    }

    /// Sends one datagram.
    pub(crate) fn send(&self, source: SocketAddr, destination: SocketAddr, payload: &[u8]) -> io::Result<()> {
        let socket = self.by_address.get(&source).ok_or(ErrorKind::AddrNotAvailable)?;
        socket.send_to(payload, destination).map(drop)
    }
}

/// Reads until the session is over or the socket is beyond use.
fn receive(socket: &UdpSocket, destination: SocketAddr, inputs: &SyncSender<Input>) {
    const MAX_ERRORS: u32 = 100;
    let mut buffer = vec![0; 65_536];
    let mut errors = 0;
    while errors < MAX_ERRORS {
        let Ok((length, source)) = socket.recv_from(&mut buffer) else {
            // Mostly news of an earlier datagram of ours that found nobody, which says nothing about the next.
            errors += 1;
            continue;
        };
        errors = 0;
        let payload = buffer.get(..length).unwrap_or_default().to_vec();
        if inputs.send(Input::Datagram { source, destination, payload }).is_err() {
            return;
        }
    }
}
