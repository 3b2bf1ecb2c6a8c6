//! The candidate line: how a [`Candidate`] is read and written (RFC 8839 §5.1, RFC 6544 §4.5).
//!
//! ```text
//! candidate:<foundation> <component> <transport> <priority> <address> <port> typ <type>
//!           [raddr <address>] [rport <port>] [tcptype <type>] *(<name> <value>)
//! ```
//!
//! A line is read field by field. What the fields mean is kept in the candidate; where writing them again would not
//! give the same letters, the text is kept as well, and is what the candidate prints. So the application gets every
//! line as the peer wrote it, also with fields that mean nothing here.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use core::str::FromStr;

use super::{BLANKS, is_word, is_word_or_empty, number, strip_prefix_ignore_case};
use crate::candidate::{
    Candidate, CandidateAddress, CandidateKind, Foundation, ParseFoundationError, Priority, TcpType,
};
use crate::config::limits;
use crate::types::{ComponentId, Transport};

#[cfg(test)]
pub(super) mod tests;

/// Why a text is not a [`Candidate`].
///
/// Positions count bytes from the start of the text and are those of the field that is wrong, or of the end of the
/// text if the field is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseCandidateError {
    /// The text has this many bytes, more than 4096.
    #[error("{0} bytes are more than a candidate line may have")]
    TooLong(usize),
    /// There is a line end or NUL within the line.
    #[error("a line end or NUL at byte {at}")]
    ControlCharacter {
        /// Its position.
        at: usize,
    },
    /// The foundation is wrong.
    #[error("no foundation at byte {at}: {reason}")]
    Foundation {
        /// Its position.
        at: usize,
        /// What is wrong with it.
        reason: ParseFoundationError,
    },
    /// The component is not a number of 1 to 3 digits from 1 to 256.
    #[error("no component from 1 to 256 at byte {at}")]
    Component {
        /// Its position.
        at: usize,
    },
    /// The transport is missing.
    #[error("no transport at byte {at}")]
    Transport {
        /// Its position.
        at: usize,
    },
    /// The priority is not a number of 1 to 10 digits from 1 to 2^32-1.
    #[error("no priority from 1 to 4294967295 at byte {at}")]
    Priority {
        /// Its position.
        at: usize,
    },
    /// The address is neither an IP address nor a host name.
    #[error("no address at byte {at}")]
    Address {
        /// Its position.
        at: usize,
    },
    /// The port is not a number from 0 to 65535.
    #[error("no port at byte {at}")]
    Port {
        /// Its position.
        at: usize,
    },
    /// The word `typ` is missing, or the type that follows it.
    #[error("no candidate type at byte {at}")]
    Kind {
        /// Its position.
        at: usize,
    },
    /// The related port is not a number from 0 to 65535.
    #[error("no related port at byte {at}")]
    RelatedPort {
        /// Its position.
        at: usize,
    },
    /// The transport is neither UDP nor TCP.
    #[error("unsupported transport at byte {at}")]
    UnsupportedTransport {
        /// Its position.
        at: usize,
    },
    /// The type is none of `host`, `srflx`, `prflx` and `relay`.
    #[error("unsupported candidate type at byte {at}")]
    UnsupportedKind {
        /// Its position.
        at: usize,
    },
    /// A TCP candidate has no `tcptype` (RFC 6544 §4.5).
    #[error("a tcp candidate without tcptype, which ends at byte {at}")]
    MissingTcpType {
        /// Where the text ends.
        at: usize,
    },
    /// The `tcptype` is none of `active`, `passive` and `so`.
    #[error("unsupported tcptype at byte {at}")]
    UnsupportedTcpType {
        /// Its position.
        at: usize,
    },
}

impl ParseCandidateError {
    /// Whether the line is well-formed but of a kind that this crate does not know, so that it is to be passed over in
    /// silence (RFC 8839 §5.1, RFC 6544 §4.5). Other errors are mistakes of whoever wrote the line.
    #[must_use]
    pub const fn is_skippable(&self) -> bool {
        matches!(
            self,
            Self::UnsupportedTransport { .. }
                | Self::UnsupportedKind { .. }
                | Self::MissingTcpType { .. }
                | Self::UnsupportedTcpType { .. }
        )
    }

    /// Position of what is wrong, in bytes from the start of the text.
    #[must_use]
    pub const fn position(&self) -> usize {
        match *self {
            Self::TooLong(_) => MAX_LINE,
            Self::Foundation { at, .. }
            | Self::ControlCharacter { at }
            | Self::Component { at }
            | Self::Transport { at }
            | Self::Priority { at }
            | Self::Address { at }
            | Self::Port { at }
            | Self::Kind { at }
            | Self::RelatedPort { at }
            | Self::UnsupportedTransport { at }
            | Self::UnsupportedKind { at }
            | Self::MissingTcpType { at }
            | Self::UnsupportedTcpType { at } => at,
        }
    }
}

impl FromStr for Candidate {
    type Err = ParseCandidateError;

    /// Reads a candidate line: `a=candidate:`, `candidate:` or nothing, and then the value of the attribute.
    ///
    /// It accepts what peers are known to send: any case of the words, several spaces or tabs between fields, line ends and
    /// blanks at the ends, priorities up to 2^32-1 (RFC 8839 §5.1 stops at 2^31-1), `raddr`, `rport` and `tcptype` anywhere
    /// after the type, an extension name without value at the very end, and a zone after an IPv6 address, of which only a
    /// number has a meaning. An IPv4 address in its IPv6 form, `::ffff:a.b.c.d`, is that address (RFC 8445 §5.1.1.1). A
    /// name is accepted in place of an address; whether to resolve it is for the agent. The port of an active TCP
    /// candidate counts as 9 whatever is written (RFC 6544 §4.5). A related address that cannot be read or is that
    /// of a host candidate, a `tcptype` of a UDP candidate and the repetition of any of the three mean nothing. An extension
    /// may have an empty value (RFC 8839 §5.1): two blanks after its name are one, unless it is one of those known here.
    ///
    /// # Errors
    /// [`ParseCandidateError`], which tells lines that are broken from those that are merely not supported.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() > MAX_LINE {
            return Err(ParseCandidateError::TooLong(text.len()));
        }
        let line = text.trim_end_matches(['\r', '\n']);
        let (whole, line) = (line.len(), line.trim_start_matches(BLANKS));
        let value = strip_prefix_ignore_case(line, "a=candidate:")
            .or_else(|| strip_prefix_ignore_case(line, "candidate:"))
            .unwrap_or(line);
        let start = whole - value.len();
        if let Some(at) = value.bytes().position(|byte| matches!(byte, b'\r' | b'\n' | 0)) {
            return Err(ParseCandidateError::ControlCharacter { at: start + at });
        }
        let mut candidate = read(Fields { rest: Some(value), at: start })?;
        let mut canonical = String::with_capacity(value.len());
        // Writing to a string cannot fail.
        let _ = write_canonical(&candidate, &mut canonical);
        if canonical != value {
            candidate.spelling = Some(value.into());
        }
        Ok(candidate)
    }
}

impl fmt::Display for Candidate {
    /// Writes `candidate:` and the value of the attribute, as in a trickle message; in SDP, `a=` goes before it.
    ///
    /// A candidate that was read is written with the letters it was read with. Others are written as RFC 8839 §5.1
    /// says: a host candidate without related address, an active TCP candidate with port 9, `tcptype` right after the
    /// related address. The zone of an IPv6 address is not written, as it means nothing to another host. An extension
    /// is left out if it could not be read again: one with a space or line end in it, without name, or named `raddr`,
    /// `rport` or `tcptype`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("candidate:")?;
        match &self.spelling {
            Some(spelling) => f.write_str(spelling),
            None => write_canonical(self, f),
        }
    }
}

impl Candidate {
    /// The `generation` extension of libwebrtc: which ICE restart it belongs to, from 0 on.
    ///
    /// `None` if there is none or it is not a number below 2^32.
    #[must_use]
    pub fn generation(&self) -> Option<u32> {
        u32::try_from(number(self.extension("generation")?, 10)?).ok()
    }

    /// The `ufrag` extension: the username fragment of the generation that it belongs to (RFC 8838 §9).
    #[must_use]
    pub fn ufrag(&self) -> Option<&str> {
        self.extension("ufrag")
    }

    /// The `network-id` extension of libwebrtc: which of its networks the peer uses, 0 to 65535.
    ///
    /// `None` if there is none or it is not such a number.
    #[must_use]
    pub fn network_id(&self) -> Option<u16> {
        u16::try_from(number(self.extension("network-id")?, 5)?).ok()
    }

    /// The `network-cost` extension of libwebrtc: how dear that network is, 0 to 999, lower is better.
    ///
    /// `None` if there is none or it is not such a number.
    #[must_use]
    pub fn network_cost(&self) -> Option<u16> {
        u16::try_from(number(self.extension("network-cost")?, 3)?).ok()
    }

    /// The same with the related address hidden: `0.0.0.0` or `::` of the same family, and port 9 (RFC 8839 §5.1).
    ///
    /// A reflexive or relayed candidate without related address gets one, as the RFC wants. A host candidate, which
    /// has none, is left as it is.
    #[must_use]
    pub fn with_masked_related_address(mut self) -> Self {
        if self.kind == CandidateKind::Host {
            return self;
        }
        let known = self.related_address.as_ref().and_then(CandidateAddress::socket).or(self.address.socket());
        let ip = match known {
            Some(SocketAddr::V6(_)) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
            Some(SocketAddr::V4(_)) | None => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        };
        self.related_address = Some(CandidateAddress::Socket(SocketAddr::new(ip, DISCARD)));
        self.spelling = None;
        self
    }
}

/// Most bytes of a line, prefix and line end included. Lines in use have less than 300.
const MAX_LINE: usize = limits::CANDIDATE_LINE;

/// The port of an active TCP candidate and of a hidden address (RFC 6544 §4.5, RFC 8839 §5.1).
const DISCARD: u16 = 9;

/// The fields of a line that were not read yet: what is between single blanks.
struct Fields<'a> {
    rest: Option<&'a str>,
    /// Position of the rest in the whole text.
    at: usize,
}

impl<'a> Fields<'a> {
    /// The next field and its position; `None` at the end.
    fn next(&mut self) -> Option<(usize, &'a str)> {
        let rest = self.rest?;
        let at = self.at;
        if let Some((field, after)) = rest.split_once(BLANKS) {
            self.rest = Some(after);
            self.at += field.len() + 1;
            Some((at, field))
        } else {
            self.rest = None;
            self.at += rest.len();
            Some((at, rest))
        }
    }

    /// The next field that is not empty; at the end, an empty one.
    fn required(&mut self) -> (usize, &'a str) {
        loop {
            match self.next() {
                Some((_, "")) => {}
                Some(field) => return field,
                None => return (self.at, ""),
            }
        }
    }

    /// The value of an attribute that has one, however many blanks there are before it; the name of another one is none.
    fn value(&mut self) -> Option<(usize, &'a str)> {
        let first = self.next()?;
        if !first.1.is_empty() {
            return Some(first);
        }
        let (before, at) = (self.rest, self.at);
        match self.required() {
            (_, "") => Some(first),
            (_, name) if is_known(name) => {
                (self.rest, self.at) = (before, at);
                Some(first)
            }
            found => Some(found),
        }
    }
}

/// What stands after the type of a candidate.
#[derive(Default)]
struct Tail<'a> {
    related_address: Option<(usize, &'a str)>,
    related_port: Option<(usize, &'a str)>,
    tcp_type: Option<(usize, &'a str)>,
}

/// Reads the value of a candidate attribute. A mistake anywhere in it comes before a field that is not supported.
fn read(mut fields: Fields<'_>) -> Result<Candidate, ParseCandidateError> {
    let (at, text) = fields.required();
    let foundation: Foundation = text.parse().map_err(|reason| ParseCandidateError::Foundation { at, reason })?;

    let (at, text) = fields.required();
    let component = number(text, 3)
        .and_then(|value| u16::try_from(value).ok())
        .and_then(ComponentId::new)
        .ok_or(ParseCandidateError::Component { at })?;

    let (at, text) = fields.required();
    if text.is_empty() {
        return Err(ParseCandidateError::Transport { at });
    }
    let transport = read_transport(text).ok_or(ParseCandidateError::UnsupportedTransport { at });

    let (at, text) = fields.required();
    let priority = number(text, 10)
        .and_then(|value| u32::try_from(value).ok())
        .and_then(Priority::new)
        .ok_or(ParseCandidateError::Priority { at })?;

    let (at, text) = fields.required();
    let address = read_address(text, 0).ok_or(ParseCandidateError::Address { at })?;
    let (at, text) = fields.required();
    let port = read_port(text).ok_or(ParseCandidateError::Port { at })?;

    let (at, text) = fields.required();
    if !text.eq_ignore_ascii_case("typ") {
        return Err(ParseCandidateError::Kind { at });
    }
    let (at, text) = fields.required();
    if text.is_empty() {
        return Err(ParseCandidateError::Kind { at });
    }
    let kind = read_kind(text).ok_or(ParseCandidateError::UnsupportedKind { at });

    let (tail, extensions) = read_tail(&mut fields);
    let is_host = matches!(kind, Ok(CandidateKind::Host));
    let related_address = if is_host { None } else { read_related_address(&tail)? };
    let (transport, kind) = (transport?, kind?);
    let tcp_type = match transport {
        Transport::Udp => None,
        Transport::Tcp => Some(read_tcp_type(&tail, fields.at)?),
    };
    let port = if tcp_type == Some(TcpType::Active) { DISCARD } else { port };
    Ok(Candidate {
        foundation,
        component,
        transport,
        tcp_type,
        priority,
        address: with_port(address, port),
        kind,
        related_address,
        extensions,
        spelling: None,
    })
}

/// Reads what follows the type: the attributes that are understood, each once, and all others.
fn read_tail<'a>(fields: &mut Fields<'a>) -> (Tail<'a>, Vec<(String, String)>) {
    let mut extensions = Vec::new();
    let mut tail = Tail::default();
    while let Some((_, name)) = fields.next() {
        if name.is_empty() {
            // Spaces at the end, or one too many.
            continue;
        }
        // A name at the end without even a space after it has no value, and is kept only as spelled.
        let Some(value) = (if is_known(name) { fields.value() } else { fields.next() }) else { break };
        let known = if name.eq_ignore_ascii_case("raddr") {
            &mut tail.related_address
        } else if name.eq_ignore_ascii_case("rport") {
            &mut tail.related_port
        } else if name.eq_ignore_ascii_case("tcptype") {
            &mut tail.tcp_type
        } else {
            if !(value.1.is_empty() && is_known(name)) {
                // Without its value it says nothing, and is kept only as spelled.
                extensions.push((name.into(), value.1.into()));
            }
            continue;
        };
        known.get_or_insert(value);
    }
    (tail, extensions)
}

/// Whether an attribute with this name has a value that is not empty.
fn is_known(name: &str) -> bool {
    const KNOWN: [&str; 7] = ["raddr", "rport", "tcptype", "generation", "ufrag", "network-id", "network-cost"];
    KNOWN.iter().any(|known| name.eq_ignore_ascii_case(known))
}

/// Whether there are other blanks in a line than single spaces between the fields that every candidate has.
pub(super) fn has_odd_blanks(line: &str) -> bool {
    let value = strip_prefix_ignore_case(line, "a=candidate:").unwrap_or(line);
    value.contains('\t') || value.split(' ').take(8).any(str::is_empty)
}

fn read_transport(text: &str) -> Option<Transport> {
    if text.eq_ignore_ascii_case("udp") {
        Some(Transport::Udp)
    } else if text.eq_ignore_ascii_case("tcp") {
        Some(Transport::Tcp)
    } else {
        None
    }
}

fn read_kind(text: &str) -> Option<CandidateKind> {
    use CandidateKind::{Host, PeerReflexive, Relayed, ServerReflexive};
    [Host, ServerReflexive, PeerReflexive, Relayed].into_iter().find(|kind| text.eq_ignore_ascii_case(kind.as_str()))
}

fn read_tcp_type(tail: &Tail<'_>, end: usize) -> Result<TcpType, ParseCandidateError> {
    let (at, text) = tail.tcp_type.ok_or(ParseCandidateError::MissingTcpType { at: end })?;
    [TcpType::Active, TcpType::Passive, TcpType::SimultaneousOpen]
        .into_iter()
        .find(|tcp_type| text.eq_ignore_ascii_case(tcp_type.as_str()))
        .ok_or(ParseCandidateError::UnsupportedTcpType { at })
}

/// The related address, with port 0 if only the address is there.
///
/// One that is neither an IP address nor a name counts as none: some peers write such, and it is only for diagnosis.
fn read_related_address(tail: &Tail<'_>) -> Result<Option<CandidateAddress>, ParseCandidateError> {
    let port = match tail.related_port {
        Some((at, text)) => read_port(text).ok_or(ParseCandidateError::RelatedPort { at })?,
        None => 0,
    };
    Ok(tail.related_address.and_then(|(_, text)| read_address(text, port)))
}

/// A `port`: 1 to 5 digits.
pub(super) fn read_port(text: &str) -> Option<u16> {
    u16::try_from(number(text, 5)?).ok()
}

/// A `connection-address`: IPv6 if it has a colon, else IPv4 or a name (RFC 8839 §5.1).
pub(super) fn read_address(text: &str, port: u16) -> Option<CandidateAddress> {
    if text.contains(':') {
        let (ip, zone) = text.split_once('%').map_or((text, None), |(ip, zone)| (ip, Some(zone)));
        let scope = match zone {
            Some("") => return None,
            Some(zone) => number(zone, 10).and_then(|value| u32::try_from(value).ok()).unwrap_or(0),
            None => 0,
        };
        let ip: Ipv6Addr = ip.parse().ok()?;
        return Some(CandidateAddress::of(SocketAddrV6::new(ip, port, 0, scope).into()));
    }
    if let Ok(ip) = text.parse::<Ipv4Addr>() {
        return Some(CandidateAddress::Socket(SocketAddr::new(ip.into(), port)));
    }
    is_host_name(text).then(|| CandidateAddress::Name { host: text.into(), port })
}

/// Whether it looks like a host name, and not like an IPv4 address with a mistake in it.
fn is_host_name(text: &str) -> bool {
    (1..=MAX_NAME).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
        && text.bytes().any(|byte| byte.is_ascii_alphabetic())
        && !text.starts_with('.')
        && !text.contains("..")
}

/// Most characters of a host name with a dot at its end (RFC 1035 §2.3.4).
const MAX_NAME: usize = limits::HOST_NAME;

fn with_port(address: CandidateAddress, port: u16) -> CandidateAddress {
    match address {
        CandidateAddress::Socket(mut socket) => {
            socket.set_port(port);
            CandidateAddress::Socket(socket)
        }
        CandidateAddress::Name { host, port: _ } => CandidateAddress::Name { host, port },
    }
}

/// Writes the value of the attribute as RFC 8839 §5.1 has it.
fn write_canonical(candidate: &Candidate, f: &mut impl fmt::Write) -> fmt::Result {
    let Candidate { foundation, component, transport, priority, address, kind, .. } = candidate;
    // That of a peer-reflexive one is known from its connection, and never signalled.
    let has_port = candidate.tcp_type != Some(TcpType::Active) || candidate.kind == CandidateKind::PeerReflexive;
    let port = if has_port { address.port() } else { DISCARD };
    write!(f, "{foundation} {component} {transport} {priority} {} {port} typ {kind}", Host(address))?;
    if let (true, Some(related)) = (*kind != CandidateKind::Host, &candidate.related_address) {
        write!(f, " raddr {} rport {}", Host(related), related.port())?;
    }
    if let (Transport::Tcp, Some(tcp_type)) = (transport, candidate.tcp_type) {
        write!(f, " tcptype {}", tcp_type.as_str())?;
    }
    for (name, value) in candidate.extensions.iter().filter(|(name, value)| is_extension(name, value)) {
        write!(f, " {name} {value}")?;
    }
    Ok(())
}

/// Whether it can be read again as an extension.
fn is_extension(name: &str, value: &str) -> bool {
    const OTHERS: [&str; 3] = ["raddr", "rport", "tcptype"];
    let has_value = !value.is_empty() || !is_known(name);
    has_value
        && is_word(name)
        && is_word_or_empty(value)
        && !OTHERS.iter().any(|other| name.eq_ignore_ascii_case(other))
}

/// Writes an address without its port and zone.
pub(super) struct Host<'a>(pub(super) &'a CandidateAddress);

impl fmt::Display for Host<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            CandidateAddress::Socket(socket) => socket.ip().fmt(f),
            CandidateAddress::Name { host, .. } => f.write_str(host),
        }
    }
}
