//! A STUN and TURN server on a simulated host (RFC 8489, RFC 8656).

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::string::{String, ToString};
use std::time::Duration;
use std::vec::Vec;

use super::host::HostId;
use super::network::{Delivery, Network, StreamEvent, StreamSocketId};
use crate::stun::address::write_xor_address;
use crate::stun::server::{Method, ServerMessage, ServerWriter, kinds, type_bytes};
use crate::stun::{Class, Integrity, IntegrityKey, TransactionId, looks_like_stun, userhash};
use crate::turn::framing::FromServerFrames;
use crate::types::{Frame, Framer, Instant, Random, Seed, after};

/// What a client asks a server for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum ServerMethod {
    /// Its address as the server sees it.
    Binding,
    /// A relayed address.
    Allocate,
    /// More time for it, or its end.
    Refresh,
    /// That peers may send to it.
    CreatePermission,
    /// A channel to a peer.
    ChannelBind,
}

/// A request that a [`Server`] was asked, and what it said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServedRequest {
    /// When it came.
    pub at: Instant,
    /// Where it came from, as the server sees it.
    pub client: SocketAddr,
    /// What it asked for.
    pub method: ServerMethod,
    /// Its LIFETIME, if it has one.
    pub lifetime: Option<u32>,
    /// The peers that it names.
    pub peers: usize,
    /// Whether it has credentials, right or wrong.
    pub has_credentials: bool,
    /// The error code of the answer; `None` for success.
    pub error: Option<u16>,
}

/// What was allocated to a client.
#[derive(Clone, Debug)]
struct Held {
    /// The transaction that has made it: a retransmission gets the same answer (RFC 8656 §7.2).
    made_by: TransactionId,
    relayed: Vec<SocketAddr>,
    expires_at: Instant,
    permissions: BTreeMap<IpAddr, Instant>,
    channels: BTreeMap<u16, (SocketAddr, Instant)>,
}

/// An answer that a test has asked for instead of the right one.
#[derive(Clone, Copy, Debug)]
struct Scripted {
    method: ServerMethod,
    code: u16,
    left: u32,
    is_signed: bool,
}

/// A STUN and TURN server over UDP and TCP on a host of a [`Network`]: it answers Binding requests of everybody, and relays for
/// the users that it knows. Hand it what arrives at its host.
///
/// It relays on the addresses of its host, ports from 49152 up. For tests it can be told to answer with errors, to forget,
/// to shorten lifetimes, to redirect, and to fall silent.
#[derive(Clone, Debug)]
pub struct Server {
    host: HostId,
    address: SocketAddr,
    relay_addresses: Vec<IpAddr>,
    random: Random,
    realm: String,
    users: BTreeMap<String, String>,
    is_sha256: bool,
    has_userhash: bool,
    nonce: String,
    lifetime: Duration,
    quota: usize,
    /// Connections of clients.
    streams: BTreeMap<StreamSocketId, (SocketAddr, Framer<FromServerFrames>)>,
    is_alive: bool,
    next_port: u16,
    held: BTreeMap<SocketAddr, Held>,
    scripted: Vec<Scripted>,
    refused_peers: Vec<IpAddr>,
    alternate: Option<SocketAddr>,
    served: Vec<ServedRequest>,
}

impl Server {
    /// A server at this address of a host, without users: a STUN server. The realm is `sim`.
    #[must_use]
    pub fn new(host: HostId, address: SocketAddr, seed: &Seed) -> Self {
        let mut server = Self {
            host,
            address,
            relay_addresses: Vec::from([address.ip()]),
            random: Random::new(&seed.derive(&address.to_string())),
            realm: String::from("sim"),
            users: BTreeMap::new(),
            is_sha256: false,
            has_userhash: false,
            nonce: String::new(),
            lifetime: Duration::from_secs(600),
            quota: usize::MAX,
            streams: BTreeMap::new(),
            is_alive: true,
            next_port: 49_152,
            held: BTreeMap::new(),
            scripted: Vec::new(),
            refused_peers: Vec::new(),
            alternate: None,
            served: Vec::new(),
        };
        server.rotate_nonce();
        server
    }

    /// The same with a user that it relays for.
    #[must_use]
    pub fn with_user(mut self, username: &str, password: &str) -> Self {
        self.users.insert(username.into(), password.into());
        self
    }

    /// The same with another realm.
    #[must_use]
    pub fn with_realm(mut self, realm: &str) -> Self {
        self.set_realm(realm);
        self
    }

    /// The same with SHA-256 as its first choice, and perhaps with hashed user names (RFC 8489 §9.2).
    #[must_use]
    pub fn with_sha256(mut self, userhash: bool) -> Self {
        self.is_sha256 = true;
        self.has_userhash = userhash;
        self.rotate_nonce();
        self
    }

    /// The same with a further address of its host to relay on: the first of each family counts.
    #[must_use]
    pub fn with_relay_address(mut self, ip: IpAddr) -> Self {
        self.relay_addresses.push(ip);
        self
    }

    /// The same with allocations that live so long, whatever is asked for; 600 s by default.
    #[must_use]
    pub const fn with_lifetime(mut self, lifetime: Duration) -> Self {
        self.lifetime = lifetime;
        self
    }

    /// The same with so many allocations at most; further ones are refused with 486.
    #[must_use]
    pub const fn with_quota(mut self, quota: usize) -> Self {
        self.quota = quota;
        self
    }

    /// The host.
    #[must_use]
    pub const fn host(&self) -> HostId {
        self.host
    }

    /// Its address.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// All requests so far.
    #[must_use]
    pub fn served(&self) -> &[ServedRequest] {
        &self.served
    }

    /// How many requests of a method it got.
    #[must_use]
    pub fn count(&self, method: ServerMethod) -> usize {
        self.served.iter().filter(|served| served.method == method).count()
    }

    /// How many allocations there are.
    #[must_use]
    pub fn allocations(&self, now: Instant) -> usize {
        self.held.values().filter(|held| held.expires_at > now).count()
    }

    /// Lets it die, or live again with all that it had.
    pub const fn set_alive(&mut self, is_alive: bool) {
        self.is_alive = is_alive;
    }

    /// Forgets all allocations, as a restart does.
    pub fn forget_allocations(&mut self) {
        self.held.clear();
    }

    /// Forgets the channels of all allocations.
    pub fn forget_channels(&mut self) {
        self.held.values_mut().for_each(|held| held.channels.clear());
    }

    /// Forgets the permissions of all allocations: nothing gets through until they are asked for again.
    pub fn forget_permissions(&mut self) {
        self.held.values_mut().for_each(|held| held.permissions.clear());
    }

    /// Gives out another nonce from now on: requests with the one before are answered with 438.
    pub fn rotate_nonce(&mut self) {
        // The first of the 24 bits of RFC 8489 §9.2.1 are PASSWORD-ALGORITHMS and USERHASH.
        let bits = match (self.is_sha256, self.has_userhash) {
            (false, false) => "",
            (true, false) => "obMatJos2gAAA",
            (false, true) => "obMatJos2QAAA",
            (true, true) => "obMatJos2wAAA",
        };
        self.nonce = std::format!("{bits}{:016x}", self.random.u64());
    }

    /// Changes the realm, and the nonce.
    pub fn set_realm(&mut self, realm: &str) {
        self.realm = realm.into();
        self.rotate_nonce();
    }

    /// Answers the next `times` requests of a method that are authenticated with this error.
    pub fn fail(&mut self, method: ServerMethod, code: u16, times: u32) {
        self.scripted.push(Scripted { method, code, left: times, is_signed: true });
    }

    /// The same without integrity, before authentication.
    pub fn fail_unauthenticated(&mut self, method: ServerMethod, code: u16, times: u32) {
        self.scripted.push(Scripted { method, code, left: times, is_signed: false });
    }

    /// Appends what it will do as text.
    pub(super) fn write_state(&self, out: &mut String) {
        use std::fmt::Write;
        let _ =
            write!(out, "{:?}{:?}{:?}{:?}{:?}", self.nonce, self.is_alive, self.next_port, self.held, self.scripted);
    }

    pub(super) fn forget_served(&mut self) {
        self.served.clear();
    }

    /// Forgets all errors that it was told to answer with, and whom it refuses.
    pub fn forgive(&mut self) {
        self.scripted.clear();
        self.refused_peers.clear();
        self.alternate = None;
    }

    /// Refuses permissions for a peer with 403.
    pub fn refuse_peer(&mut self, ip: IpAddr) {
        self.refused_peers.push(ip);
    }

    /// Answers each Allocate with 300 and this alternate server, or no longer.
    pub const fn redirect(&mut self, alternate: Option<SocketAddr>) {
        self.alternate = alternate;
    }

    /// Takes what arrived at its host; `false` if it is for somebody else there.
    pub fn deliver(&mut self, network: &mut Network, delivery: &Delivery) -> bool {
        if delivery.host != self.host {
            return false;
        }
        if delivery.destination != self.address {
            return self.relay_in(network, delivery);
        }
        self.take(network, delivery.source, &delivery.payload);
        true
    }

    /// Takes what has happened to a connection at its host: it has to [listen](Network::listen) at the server's address.
    pub fn deliver_stream(&mut self, network: &mut Network, event: &StreamEvent) {
        match event {
            StreamEvent::Accepted { host, socket, local, remote } if (*host, *local) == (self.host, self.address) => {
                self.streams.insert(*socket, (*remote, Framer::<FromServerFrames>::default()));
            }
            StreamEvent::Bytes { socket, bytes, .. } => {
                let (mut rest, mut spare) = (bytes.as_slice(), Vec::new());
                while let Some((client, framer)) = self.streams.get_mut(socket) {
                    let client = *client;
                    let Ok(Some(frame)) = framer.next(&mut rest, &mut spare) else { break };
                    match &frame {
                        Frame::Whole(frame) => self.take(network, client, frame),
                        Frame::Joined(frame) => self.take(network, client, frame),
                    }
                }
            }
            StreamEvent::Closed { socket, .. } => {
                if let Some((client, _)) = self.streams.remove(socket) {
                    self.held.remove(&client);
                }
            }
            StreamEvent::Accepted { .. } | StreamEvent::Opened { .. } | StreamEvent::Failed { .. } => {}
        }
    }

    /// The connection of a client, if it has one.
    fn stream_of(&self, client: SocketAddr) -> Option<StreamSocketId> {
        self.streams.iter().find(|(_, (remote, _))| *remote == client).map(|(socket, _)| *socket)
    }

    fn send_to(&self, network: &mut Network, client: SocketAddr, bytes: &[u8]) {
        match self.stream_of(client) {
            Some(socket) => network.send_stream(socket, bytes),
            None => {
                network.send(self.host, self.address, client, bytes);
            }
        }
    }

    /// Takes a message or ChannelData of a client.
    fn take(&mut self, network: &mut Network, client: SocketAddr, bytes: &[u8]) {
        if !self.is_alive {
            return;
        }
        let now = network.now();
        self.held.retain(|_, held| held.expires_at > now);
        if bytes.first().is_some_and(|first| (0x40..0x50).contains(first)) {
            self.relay_channel(network, client, bytes);
        } else if let Some(message) = Some(bytes).filter(|bytes| looks_like_stun(bytes)).and_then(ServerMessage::read) {
            match message.class {
                Class::Request => {
                    if let Some(answer) = self.answer(now, client, &message) {
                        self.send_to(network, client, &answer);
                    }
                }
                Class::Indication if message.method == Method::Send => self.relay_out(network, client, &message),
                Class::Indication | Class::Success | Class::Error => {}
            }
        }
    }

    fn answer(&mut self, now: Instant, client: SocketAddr, message: &ServerMessage<'_>) -> Option<Vec<u8>> {
        let method = match message.method {
            Method::Binding => ServerMethod::Binding,
            Method::Allocate => ServerMethod::Allocate,
            Method::Refresh => ServerMethod::Refresh,
            Method::CreatePermission => ServerMethod::CreatePermission,
            Method::ChannelBind => ServerMethod::ChannelBind,
            Method::Send | Method::Data => return None,
        };
        let mut out = ServerWriter::new(Class::Success, message.method, message.id);
        let mut protection = None;
        let result = self.scripted_error(method, false).map_or(Ok(()), Err).and_then(|()| {
            if method == ServerMethod::Binding {
                out.put_xor_address(kinds::XOR_MAPPED_ADDRESS, client);
                return self.scripted_error(method, true).map_or(Ok(()), Err);
            }
            protection = Some(self.authenticate(message)?);
            self.serve(now, client, method, message, &mut out)
        });
        self.served.push(ServedRequest {
            at: now,
            client,
            method,
            lifetime: message.number(kinds::LIFETIME),
            peers: message.xor_addresses(kinds::XOR_PEER_ADDRESS).count(),
            has_credentials: message.has_integrity(),
            error: result.err(),
        });
        let protection = protection.as_ref().map(|(key, integrity)| (key, *integrity));
        Some(match result {
            Ok(()) => out.finish(protection),
            Err(code) => {
                let mut out = ServerWriter::new(Class::Error, message.method, message.id);
                out.put_error(code, reason(code));
                if matches!(code, 401 | 438) {
                    out.put(kinds::REALM, self.realm.as_bytes()).put(kinds::NONCE, self.nonce.as_bytes());
                    if self.is_sha256 {
                        out.put(kinds::PASSWORD_ALGORITHMS, ALGORITHMS);
                    }
                }
                if let Some(alternate) = self.alternate.filter(|_| code == 300) {
                    out.put_alternate_server(alternate);
                }
                out.finish(protection)
            }
        })
    }

    fn scripted_error(&mut self, method: ServerMethod, is_signed: bool) -> Option<u16> {
        let is_it =
            |script: &&mut Scripted| (script.method, script.is_signed) == (method, is_signed) && script.left > 0;
        let script = self.scripted.iter_mut().find(is_it)?;
        script.left -= 1;
        Some(script.code)
    }

    fn authenticate(&self, message: &ServerMessage<'_>) -> Result<(IntegrityKey, Integrity), u16> {
        if !message.has_integrity() {
            return Err(401);
        }
        if message.get(kinds::NONCE) != Some(self.nonce.as_bytes()) {
            return Err(438);
        }
        let is_sha256 = self.is_sha256 && message.get(kinds::PASSWORD_ALGORITHM) == Some(&[0, 2, 0, 0]);
        if self.is_sha256 && message.get(kinds::PASSWORD_ALGORITHMS) != Some(ALGORITHMS) {
            return Err(400);
        }
        let integrity = if is_sha256 { Integrity::Sha256 } else { Integrity::Sha1 };
        let is_it = |name: &str| match message.get(kinds::USERHASH) {
            Some(hash) => self.has_userhash && *hash == userhash(name.as_bytes(), self.realm.as_bytes()),
            None => message.get(kinds::USERNAME) == Some(name.as_bytes()),
        };
        let (name, password) = self.users.iter().find(|(name, _)| is_it(name)).ok_or(401_u16)?;
        let key = IntegrityKey::long_term(name.as_bytes(), self.realm.as_bytes(), password.as_bytes(), integrity);
        let is_realm = message.get(kinds::REALM) == Some(self.realm.as_bytes());
        if is_realm && message.is_genuine(&key, integrity) { Ok((key, integrity)) } else { Err(401) }
    }

    fn serve(
        &mut self,
        now: Instant,
        client: SocketAddr,
        method: ServerMethod,
        message: &ServerMessage<'_>,
        out: &mut ServerWriter,
    ) -> Result<(), u16> {
        if let Some(code) = self.scripted_error(method, true) {
            return Err(code);
        }
        match method {
            ServerMethod::Binding => Ok(()),
            ServerMethod::Allocate => self.allocate(now, client, message, out),
            ServerMethod::Refresh => {
                let held = self.held.get_mut(&client).ok_or(437_u16)?;
                let lifetime = if message.number(kinds::LIFETIME) == Some(0) { Duration::ZERO } else { self.lifetime };
                held.expires_at = after(now, lifetime);
                out.put(kinds::LIFETIME, &seconds(lifetime));
                if lifetime.is_zero() {
                    self.held.remove(&client);
                }
                Ok(())
            }
            ServerMethod::CreatePermission => {
                let held = self.held.get_mut(&client).ok_or(437_u16)?;
                let peers: Vec<IpAddr> = message.xor_addresses(kinds::XOR_PEER_ADDRESS).map(|peer| peer.ip()).collect();
                if peers.is_empty() {
                    return Err(400);
                }
                if peers.iter().any(|ip| self.refused_peers.contains(ip)) {
                    return Err(403);
                }
                if peers.iter().any(|ip| !held.relayed.iter().any(|address| address.is_ipv4() == ip.is_ipv4())) {
                    return Err(443);
                }
                held.permissions.extend(peers.into_iter().map(|ip| (ip, after(now, PERMISSION))));
                Ok(())
            }
            ServerMethod::ChannelBind => {
                let held = self.held.get_mut(&client).ok_or(437_u16)?;
                let number = message.number(kinds::CHANNEL_NUMBER).ok_or(400_u16)? >> 16;
                let number =
                    u16::try_from(number).ok().filter(|number| (0x4000..0x5000).contains(number)).ok_or(400_u16)?;
                let peer = message.xor_address(kinds::XOR_PEER_ADDRESS).ok_or(400_u16)?;
                if self.refused_peers.contains(&peer.ip()) {
                    return Err(403);
                }
                let is_live = |until: Instant| until > now;
                let is_other = |(known, (bound, until)): (&u16, &(SocketAddr, Instant))| {
                    is_live(*until) && (*known == number) != (*bound == peer)
                };
                if held.channels.iter().any(is_other) {
                    return Err(400);
                }
                held.channels.insert(number, (peer, after(now, CHANNEL)));
                held.permissions.insert(peer.ip(), after(now, PERMISSION));
                Ok(())
            }
        }
    }

    fn allocate(
        &mut self,
        now: Instant,
        client: SocketAddr,
        message: &ServerMessage<'_>,
        out: &mut ServerWriter,
    ) -> Result<(), u16> {
        if self.alternate.is_some() {
            return Err(300);
        }
        if message.get(kinds::REQUESTED_TRANSPORT) != Some(&[17, 0, 0, 0]) {
            return Err(442);
        }
        if let Some(held) = self.held.get(&client) {
            if held.made_by != message.id {
                return Err(437);
            }
            for address in &held.relayed {
                out.put_xor_address(kinds::XOR_RELAYED_ADDRESS, *address);
            }
            let left = held.expires_at.saturating_duration_since(now);
            out.put_xor_address(kinds::XOR_MAPPED_ADDRESS, client).put(kinds::LIFETIME, &seconds(left));
            return Ok(());
        }
        if self.held.len() >= self.quota {
            return Err(486);
        }
        let family = |kind: u16| message.get(kind).and_then(|value| value.first().copied());
        let wanted: &[u8] = match (family(kinds::REQUESTED_ADDRESS_FAMILY), family(kinds::ADDITIONAL_ADDRESS_FAMILY)) {
            (None, None) | (Some(1), None) => &[1],
            (Some(2), None) => &[2],
            (None, Some(2)) => &[1, 2],
            _ => return Err(400),
        };
        let mut relayed = Vec::new();
        for family in wanted {
            match self.relay_addresses.iter().find(|ip| ip.is_ipv4() == (*family == 1)) {
                Some(ip) => relayed.push(SocketAddr::new(*ip, self.next_port)),
                None if wanted.len() == 1 => return Err(440),
                None => {
                    out.put(kinds::ADDRESS_ERROR_CODE, &[*family, 0, 4, 40]);
                }
            }
        }
        if relayed.is_empty() {
            return Err(440);
        }
        self.next_port = self.next_port.checked_add(1).unwrap_or(49_152);
        for address in &relayed {
            out.put_xor_address(kinds::XOR_RELAYED_ADDRESS, *address);
        }
        out.put_xor_address(kinds::XOR_MAPPED_ADDRESS, client).put(kinds::LIFETIME, &seconds(self.lifetime));
        let (permissions, channels) = (BTreeMap::new(), BTreeMap::new());
        let expires_at = after(now, self.lifetime);
        self.held.insert(client, Held { made_by: message.id, relayed, expires_at, permissions, channels });
        Ok(())
    }

    /// From a client to a peer, by a Send indication.
    fn relay_out(&self, network: &mut Network, client: SocketAddr, message: &ServerMessage<'_>) {
        let peer = message.xor_address(kinds::XOR_PEER_ADDRESS);
        let Some((peer, data)) = peer.zip(message.get(kinds::DATA)) else { return };
        self.forward(network, client, peer, data);
    }

    /// From a client to a peer, by a channel.
    fn relay_channel(&self, network: &mut Network, client: SocketAddr, bytes: &[u8]) {
        let now = network.now();
        let Some((&[n1, n2, l1, l2], data)) = bytes.split_first_chunk::<4>() else { return };
        let Some(data) = data.get(..usize::from(u16::from_be_bytes([l1, l2]))) else { return };
        let channel = self.held.get(&client).and_then(|held| held.channels.get(&u16::from_be_bytes([n1, n2])));
        if let Some((peer, _)) = channel.filter(|(_, until)| *until > now) {
            self.forward(network, client, *peer, data);
        }
    }

    fn forward(&self, network: &mut Network, client: SocketAddr, peer: SocketAddr, data: &[u8]) {
        let now = network.now();
        let Some(held) = self.held.get(&client) else { return };
        let is_permitted = held.permissions.get(&peer.ip()).is_some_and(|until| *until > now);
        let relayed = held.relayed.iter().find(|relayed| relayed.is_ipv4() == peer.is_ipv4());
        if let Some(relayed) = relayed.filter(|_| is_permitted) {
            network.send(self.host, *relayed, peer, data);
        }
    }

    /// From a peer to a client.
    fn relay_in(&mut self, network: &mut Network, delivery: &Delivery) -> bool {
        let now = network.now();
        let found = self.held.iter().find(|(_, held)| held.relayed.contains(&delivery.destination));
        let Some((client, held)) = found else { return false };
        let peer = delivery.source;
        let is_permitted = held.permissions.get(&peer.ip()).is_some_and(|until| *until > now);
        if !self.is_alive || !is_permitted || held.expires_at <= now {
            return true;
        }
        let is_it = |(_, (bound, until)): &(&u16, &(SocketAddr, Instant))| *bound == peer && *until > now;
        let mut bytes = Vec::with_capacity(delivery.payload.len() + 48);
        let length = u16::try_from(delivery.payload.len()).unwrap_or_default().to_be_bytes();
        if let Some((number, _)) = held.channels.iter().find(is_it) {
            bytes.extend_from_slice(&number.to_be_bytes());
            bytes.extend_from_slice(&length);
            bytes.extend_from_slice(&delivery.payload);
            if self.stream_of(*client).is_some() {
                bytes.resize(bytes.len().next_multiple_of(4), 0);
            }
        } else {
            let mut value = [0; 20];
            let id = TransactionId::draw(&mut self.random);
            let address = write_xor_address(&mut value, peer, id);
            let total = 4 + address.len() + 4 + delivery.payload.len().next_multiple_of(4);
            bytes.extend_from_slice(&type_bytes(Class::Indication, Method::Data));
            bytes.extend_from_slice(&u16::try_from(total).unwrap_or_default().to_be_bytes());
            bytes.extend_from_slice(&stun_types::message::MAGIC_COOKIE.to_be_bytes());
            bytes.extend_from_slice(&id.0);
            bytes.extend_from_slice(&kinds::XOR_PEER_ADDRESS.to_be_bytes());
            bytes.extend_from_slice(&u16::try_from(address.len()).unwrap_or_default().to_be_bytes());
            bytes.extend_from_slice(address);
            bytes.extend_from_slice(&kinds::DATA.to_be_bytes());
            bytes.extend_from_slice(&length);
            bytes.extend_from_slice(&delivery.payload);
            bytes.resize(20 + total, 0);
        }
        self.send_to(network, *client, &bytes);
        true
    }
}

/// PASSWORD-ALGORITHMS of a server that likes SHA-256 best: then MD5.
const ALGORITHMS: &[u8] = &[0, 2, 0, 0, 0, 1, 0, 0];
const PERMISSION: Duration = Duration::from_secs(300);
const CHANNEL: Duration = Duration::from_secs(600);

fn seconds(lifetime: Duration) -> [u8; 4] {
    u32::try_from(lifetime.as_secs()).unwrap_or(u32::MAX).to_be_bytes()
}

const fn reason(code: u16) -> &'static str {
    match code {
        300 => "Try Alternate",
        400 => "Bad Request",
        401 => "Unauthenticated",
        403 => "Forbidden",
        437 => "Allocation Mismatch",
        438 => "Stale Nonce",
        440 => "Address Family not Supported",
        441 => "Wrong Credentials",
        442 => "Unsupported Transport Protocol",
        443 => "Peer Address Family Mismatch",
        486 => "Allocation Quota Reached",
        508 => "Insufficient Capacity",
        _ => "Error",
    }
}
