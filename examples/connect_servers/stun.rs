//! A STUN server that fits on a page: it tells whoever asks the address that it has seen (RFC 8489 §3).

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::thread;

/// What tells STUN from all else (RFC 8489 §5).
const MAGIC_COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];

/// Starts a server at a port of the system's choice, and gives its address. It ends with the process.
pub(crate) fn start(ip: IpAddr) -> io::Result<SocketAddr> {
    let socket = UdpSocket::bind((ip, 0))?;
    let address = socket.local_addr()?;
    thread::spawn(move || {
        let mut request = [0; 1500];
        while let Ok((length, source)) = socket.recv_from(&mut request) {
            if let Some(answer) = request.get(..length).and_then(|request| answer(request, source)) {
                // What gets lost is asked for again.
                let _ = socket.send_to(&answer, source);
            }
        }
    });
    Ok(address)
}

/// The answer to a Binding request: its transaction ID, and XOR-MAPPED-ADDRESS (RFC 8489 §14.2).
fn answer(request: &[u8], source: SocketAddr) -> Option<Vec<u8>> {
    let (header, _) = request.split_first_chunk::<20>()?;
    let [0, 1, _, _, id @ ..] = header else { return None };
    if !id.starts_with(&MAGIC_COOKIE) {
        return None;
    }
    let (family, ip) = match source.ip() {
        IpAddr::V4(ip) => (1, ip.octets().to_vec()),
        IpAddr::V6(ip) => (2, ip.octets().to_vec()),
    };
    let mut value = vec![0, family];
    value.extend(source.port().to_be_bytes().iter().zip(MAGIC_COOKIE).map(|(byte, mask)| byte ^ mask));
    value.extend(ip.iter().zip(id).map(|(byte, mask)| byte ^ mask));
    let length = u16::try_from(value.len()).ok()?;
    let head = [&[1, 1], &(length + 4).to_be_bytes()[..], id, &[0, 0x20], &length.to_be_bytes()].concat();
    Some([head, value].concat())
}
