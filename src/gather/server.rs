//! STUN and TURN servers: their URIs (RFC 7064, RFC 7065) and credentials.

use alloc::boxed::Box;
use alloc::format;
use alloc::sync::Arc;
use core::fmt;
use core::net::{IpAddr, SocketAddr};
use core::str::FromStr;

#[cfg(feature = "turn")]
use crate::types::RelayProtocol;
use crate::types::Transport;
use crate::types::address::plain;

/// What a server does for an agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum IceServerKind {
    /// It tells which address a NAT has given to the agent (RFC 8489).
    Stun,
    /// It relays packets, too (RFC 8656).
    Turn,
}

/// A STUN or TURN server from which candidates are gathered: where it is, and who is allowed to use it.
///
/// It is made of a URI (RFC 7064, RFC 7065), as browsers take it, whose host is an IP address:
///
/// ```
/// use nilas::{IceServer, IceServerKind};
///
/// let stun: IceServer = "stun:192.0.2.1".parse()?;
/// assert_eq!(stun.address(), "192.0.2.1:3478".parse()?);
///
/// let turn: IceServer = "turn:[2001:db8::1]:3479?transport=tcp".parse()?;
/// let turn = turn.with_credentials("user", "secret");
/// assert_eq!((turn.kind(), turn.username()), (IceServerKind::Turn, Some("user")));
/// assert!(!format!("{turn:?}").contains("secret"));
///
/// // A name is resolved by the application, and stays the name that a TLS certificate has to show.
/// let tls = IceServer::resolved("turns:turn.example.org", "192.0.2.7".parse()?)?;
/// assert_eq!((tls.address(), tls.host()), ("192.0.2.7:5349".parse()?, "turn.example.org"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct IceServer {
    url: Arc<str>,
    kind: IceServerKind,
    host: Box<str>,
    address: SocketAddr,
    transport: Transport,
    is_secure: bool,
    username: Option<Box<str>>,
    credential: Option<Box<str>>,
    is_anonymous: bool,
}

/// Why a text is not the URI of an [`IceServer`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseIceServerError {
    /// It begins with none of `stun:`, `turn:` and `turns:`. STUN over TLS, `stuns:`, is not supported.
    #[error("the scheme has to be stun, turn or turns")]
    Scheme,
    /// The host is empty, or an IPv6 address is not in brackets.
    #[error("the host is missing or malformed")]
    Host,
    /// The host is a name: see [`IceServer::resolved`].
    #[error("the host is a name, which has to be resolved first")]
    Name,
    /// The port is not a number from 1 to 65535.
    #[error("the port is not a number from 1 to 65535")]
    Port,
    /// The part after `?` is not `transport=udp` or `transport=tcp`, or the scheme allows none.
    #[error("the query has to be transport=udp or transport=tcp, and of a TURN server")]
    Query,
    /// DTLS to the server is not supported.
    #[error("DTLS to the server is not supported")]
    Dtls,
}

impl IceServer {
    /// A STUN server at this address, over UDP.
    #[must_use]
    pub fn stun(address: SocketAddr) -> Self {
        Self::at(IceServerKind::Stun, address, format!("stun:{address}"))
    }

    /// A TURN server at this address, over UDP.
    #[must_use]
    pub fn turn(address: SocketAddr, username: &str, credential: &str) -> Self {
        let url = format!("turn:{address}?transport=udp");
        Self::at(IceServerKind::Turn, address, url).with_credentials(username, credential)
    }

    /// A TURN server at this address, over UDP, that relays for guests: it asks for no credentials.
    ///
    /// No answer of it is authenticated, so that whoever sees the requests can answer in its place.
    #[must_use]
    pub fn turn_anonymous(address: SocketAddr) -> Self {
        Self::at(IceServerKind::Turn, address, format!("turn:{address}?transport=udp")).anonymous()
    }

    fn at(kind: IceServerKind, address: SocketAddr, url: alloc::string::String) -> Self {
        let host = format!("{}", address.ip()).into();
        let (transport, is_secure) = (Transport::Udp, false);
        let address = plain(address);
        let (username, credential, is_anonymous) = (None, None, false);
        Self { url: url.into(), kind, host, address, transport, is_secure, username, credential, is_anonymous }
    }

    /// The server of a URI whose host the application has resolved to this address.
    ///
    /// # Errors
    /// [`ParseIceServerError`] if it is not the URI of a server that can be used.
    pub fn resolved(url: &str, ip: IpAddr) -> Result<Self, ParseIceServerError> {
        Self::parse(url, Some(ip))
    }

    /// The same with credentials, which a TURN server asks for (RFC 8489 §9.2). The user name has at most 508 bytes
    /// (RFC 8489 §14.3).
    #[must_use]
    pub fn with_credentials(mut self, username: &str, credential: &str) -> Self {
        self.username = Some(username.into());
        self.credential = Some(credential.into());
        self.is_anonymous = false;
        self
    }

    /// The same without credentials, as a guest: see [`turn_anonymous`](Self::turn_anonymous).
    #[must_use]
    pub fn anonymous(mut self) -> Self {
        self.username = None;
        self.credential = None;
        self.is_anonymous = true;
        self
    }

    fn parse(url: &str, ip: Option<IpAddr>) -> Result<Self, ParseIceServerError> {
        use ParseIceServerError as E;
        let (scheme, rest) = url.split_once(':').ok_or(E::Scheme)?;
        let is = |name| scheme.eq_ignore_ascii_case(name);
        let (kind, is_secure) = match () {
            () if is("stun") => (IceServerKind::Stun, false),
            () if is("turn") => (IceServerKind::Turn, false),
            () if is("turns") => (IceServerKind::Turn, true),
            () => return Err(E::Scheme),
        };
        let (authority, query) = match rest.split_once('?') {
            Some((authority, query)) if kind == IceServerKind::Turn => (authority, Some(query)),
            Some(_) => return Err(E::Query),
            None => (rest, None),
        };
        let transport = match query.map(|query| query.strip_prefix("transport=").unwrap_or_default()) {
            Some(name) if name.eq_ignore_ascii_case("tcp") => Transport::Tcp,
            Some(name) if name.eq_ignore_ascii_case("udp") => Transport::Udp,
            Some(_) => return Err(E::Query),
            None if is_secure => Transport::Tcp,
            None => Transport::Udp,
        };
        if is_secure && transport == Transport::Udp {
            return Err(E::Dtls);
        }
        let (host, port) = split_port(authority).ok_or(E::Host)?;
        let port = match port {
            Some(port) => {
                let is_number = port.bytes().all(|byte| byte.is_ascii_digit());
                port.parse().ok().filter(|port| is_number && *port != 0).ok_or(E::Port)?
            }
            None if is_secure => 5349,
            None => 3478,
        };
        let ip = ip.or_else(|| host.parse().ok()).ok_or(E::Name)?;
        Ok(Self {
            url: url.into(),
            kind,
            host: host.into(),
            address: plain(SocketAddr::new(ip, port)),
            transport,
            is_secure,
            username: None,
            credential: None,
            is_anonymous: false,
        })
    }

    /// The URI.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    pub(crate) fn shared_url(&self) -> Arc<str> {
        Arc::clone(&self.url)
    }

    /// What it does.
    #[must_use]
    pub const fn kind(&self) -> IceServerKind {
        self.kind
    }

    /// The host of the URI: an address without brackets, or the name that was resolved.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Where it is. Without a port in the URI that is 3478, or 5349 with TLS.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// How it is reached.
    #[must_use]
    pub const fn transport(&self) -> Transport {
        self.transport
    }

    /// Whether it is reached over TLS.
    #[must_use]
    pub const fn is_secure(&self) -> bool {
        self.is_secure
    }

    /// How it is reached, as a relay.
    #[cfg(feature = "turn")]
    pub(crate) const fn relay_protocol(&self) -> RelayProtocol {
        match (self.transport, self.is_secure) {
            (Transport::Udp, _) => RelayProtocol::Udp,
            (Transport::Tcp, false) => RelayProtocol::Tcp,
            (Transport::Tcp, true) => RelayProtocol::Tls,
        }
    }

    /// The user name.
    #[must_use]
    pub fn username(&self) -> Option<&str> {
        self.username.as_deref()
    }

    /// Whether it is used without credentials.
    #[must_use]
    pub const fn is_anonymous(&self) -> bool {
        self.is_anonymous
    }

    /// The password.
    #[must_use]
    pub fn credential(&self) -> Option<&str> {
        self.credential.as_deref()
    }
}

/// The host, without the brackets of an IPv6 address, and the port.
fn split_port(authority: &str) -> Option<(&str, Option<&str>)> {
    let (host, rest) = match authority.strip_prefix('[') {
        Some(bracketed) => bracketed.split_once(']').filter(|(host, _)| host.contains(':'))?,
        None => authority.split_at(authority.find(':').unwrap_or(authority.len())),
    };
    let is_host = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'/' | b'@' | b'#' | b'[' | b']');
    if host.is_empty() || !host.bytes().all(is_host) {
        return None;
    }
    match rest.strip_prefix(':') {
        Some(port) => Some((host, Some(port))),
        None if rest.is_empty() => Some((host, None)),
        None => None,
    }
}

impl FromStr for IceServer {
    type Err = ParseIceServerError;

    fn from_str(url: &str) -> Result<Self, Self::Err> {
        Self::parse(url, None)
    }
}

impl fmt::Debug for IceServer {
    /// Withholds the credential, and all but the fact of a user name.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("IceServer");
        debug.field("url", &self.url).field("address", &self.address);
        if self.username.is_some() {
            debug.field("username", &format_args!("..")).field("credential", &format_args!(".."));
        }
        debug.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ParseIceServerError as E;

    #[test]
    fn uris_of_the_two_rfcs_are_read() {
        use IceServerKind::{Stun, Turn};
        use Transport::{Tcp, Udp};
        let cases = [
            ("stun:192.0.2.1", Stun, "192.0.2.1:3478", Udp, false),
            ("STUN:192.0.2.1:19302", Stun, "192.0.2.1:19302", Udp, false),
            ("stun:[2001:db8::1]:5000", Stun, "[2001:db8::1]:5000", Udp, false),
            ("turn:192.0.2.1", Turn, "192.0.2.1:3478", Udp, false),
            ("turn:192.0.2.1?transport=udp", Turn, "192.0.2.1:3478", Udp, false),
            ("turn:192.0.2.1:80?transport=tcp", Turn, "192.0.2.1:80", Tcp, false),
            ("turns:[2001:db8::1]?transport=tcp", Turn, "[2001:db8::1]:5349", Tcp, true),
            ("turns:192.0.2.1", Turn, "192.0.2.1:5349", Tcp, true),
        ];
        for (url, kind, address, transport, is_secure) in cases {
            let server: IceServer = url.parse().unwrap();
            assert_eq!((server.url(), server.kind(), server.transport()), (url, kind, transport));
            assert_eq!((server.address(), server.is_secure()), (address.parse().unwrap(), is_secure));
        }
    }

    #[test]
    fn what_is_wrong_with_a_uri_is_told() {
        let cases = [
            ("", E::Scheme),
            ("192.0.2.1:3478", E::Scheme),
            ("stuns:192.0.2.1", E::Scheme),
            ("stun:", E::Host),
            ("stun:2001:db8::1", E::Port),
            ("stun:[192.0.2.1]", E::Host),
            ("stun:[2001:db8::1", E::Host),
            ("stun:[2001:db8::1]x", E::Host),
            ("stun://192.0.2.1", E::Host),
            ("stun:user@192.0.2.1", E::Host),
            ("stun:stun.example.org", E::Name),
            ("stun:192.0.2.1:", E::Port),
            ("stun:192.0.2.1:0", E::Port),
            ("stun:192.0.2.1:65536", E::Port),
            ("stun:192.0.2.1:+80", E::Port),
            ("stun:192.0.2.1?transport=udp", E::Query),
            ("turn:192.0.2.1?transport=sctp", E::Query),
            ("turn:192.0.2.1?", E::Query),
            ("turns:192.0.2.1?transport=udp", E::Dtls),
        ];
        for (url, error) in cases {
            assert_eq!(url.parse::<IceServer>(), Err(error), "{url}");
        }
    }

    /// S031
    #[test]
    fn credentials_are_not_in_debug_output() {
        let text = format!("{:?}", IceServer::turn("192.0.2.1:3478".parse().unwrap(), "alice", "secret"));
        assert!(!text.contains("alice") && !text.contains("secret"), "{text}");
    }
}
