//! A TURN server on loopback: `turn-server-proto` with sockets around it (RFC 8656).

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread;
use std::time::Duration;

use nilas::{IceServer, Instant};
use turn_server_proto::api::{SocketAllocateError, Transmit, TurnServerApi, TurnServerPollRet};
use turn_server_proto::server::TurnServer;
use turn_server_proto::types::TransportType;
use turn_server_proto::types::prelude::DelayedTransmitBuild;

const USER: &str = "user";
const PASSWORD: &str = "pass";

/// A datagram: where it arrived, where it came from, and its bytes.
type Arrived = (SocketAddr, SocketAddr, Vec<u8>);

/// Starts a server at a port of the system's choice. It ends with the process.
pub(crate) fn start(ip: IpAddr) -> io::Result<IceServer> {
    let (arrivals, inputs) = mpsc::channel::<Arrived>();
    let mut sockets = BTreeMap::new();
    let address = open(ip, &arrivals, &mut sockets)?;
    let mut server = TurnServer::new(TransportType::Udp, address, "loopback".into());
    server.add_user(USER.into(), PASSWORD.into());
    let start = std::time::Instant::now();
    thread::spawn(move || {
        loop {
            let now = Instant::from_std(start);
            let mut wait = Duration::from_secs(1);
            loop {
                match server.poll(now) {
                    TurnServerPollRet::WaitUntil(at) => {
                        wait = wait.min(at.saturating_duration_since(now));
                        break;
                    }
                    TurnServerPollRet::AllocateSocket {
                        transport,
                        listen_addr,
                        client_addr,
                        allocation_transport,
                        family,
                    } => {
                        let relayed = open(ip, &arrivals, &mut sockets);
                        let relayed = relayed.map_err(|_| SocketAllocateError::InsufficientCapacity);
                        let client = (transport, listen_addr, client_addr);
                        let (transport, listen_addr, client_addr) = client;
                        let kind = allocation_transport;
                        server.allocated_socket(transport, listen_addr, client_addr, kind, family, relayed, now);
                    }
                    TurnServerPollRet::SocketClose { listen_addr, .. } => drop(sockets.remove(&listen_addr)),
                    TurnServerPollRet::TcpConnect { .. } | TurnServerPollRet::TcpClose { .. } => {}
                }
            }
            while let Some(transmit) = server.poll_transmit(now) {
                send(&sockets, transmit.from, transmit.to, &transmit.data);
            }
            match inputs.recv_timeout(wait) {
                Ok((to, from, data)) => {
                    let arrived = Transmit::new(data, TransportType::Udp, from, to);
                    if let Some(transmit) = server.recv(arrived, Instant::from_std(start)) {
                        send(&sockets, transmit.from, transmit.to, &transmit.data.build());
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    });
    Ok(IceServer::turn(address, USER, PASSWORD))
}

/// Opens a socket, and lets a thread read it.
fn open(
    ip: IpAddr,
    arrivals: &Sender<Arrived>,
    sockets: &mut BTreeMap<SocketAddr, UdpSocket>,
) -> io::Result<SocketAddr> {
    let socket = UdpSocket::bind((ip, 0))?;
    let address = socket.local_addr()?;
    let reader = socket.try_clone()?;
    let arrivals = arrivals.clone();
    thread::spawn(move || {
        let mut buffer = [0; 2048];
        while let Ok((length, source)) = reader.recv_from(&mut buffer) {
            let payload = buffer.get(..length).unwrap_or_default().to_vec();
            if arrivals.send((address, source, payload)).is_err() {
                return;
            }
        }
    });
    sockets.insert(address, socket);
    Ok(address)
}

fn send(sockets: &BTreeMap<SocketAddr, UdpSocket>, from: SocketAddr, to: SocketAddr, payload: &[u8]) {
    if let Some(socket) = sockets.get(&from) {
        // What gets lost is sent again.
        let _ = socket.send_to(payload, to);
    }
}
