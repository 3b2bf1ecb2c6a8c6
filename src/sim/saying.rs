//! What a peer may say that knows all credentials and has no manners, as letters of the alphabet.

use std::net::{SocketAddr, SocketAddrV4};
use std::vec::Vec;

use super::op::Bytes;
use super::wire::MessageBuilder;
use crate::Credentials;

/// A datagram of a peer without manners. Ports are added to the one that it usually speaks from.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Saying {
    /// A check with these attributes behind USERNAME.
    Check {
        /// Added to the port.
        port: u8,
        /// Its attributes.
        attributes: Vec<Attribute>,
        /// Whether it is protected by SHA-256.
        sha256: bool,
    },
    /// An answer to one of the latest requests of the agent, 0 being the last.
    Answer {
        /// Which request.
        which: u8,
        /// Added to the port if it is a multiple of 3; otherwise it comes from where the request went to.
        port: u8,
        /// Its error code, if it is no success.
        code: Option<u16>,
        /// Tells the mapped address, if there is one: the true one for an even number, else one with this port.
        mapped: Option<u16>,
    },
    /// A Binding indication.
    Indication,
    /// So many bytes of data.
    Data(u8),
}

/// An attribute of a check.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Attribute {
    /// PRIORITY.
    Priority(u32),
    /// ICE-CONTROLLING.
    Controlling(u64),
    /// ICE-CONTROLLED.
    Controlled(u64),
    /// USE-CANDIDATE.
    UseCandidate,
    /// The value of a nomination, by the later draft if it is true.
    Value(bool, u32),
    /// Any attribute.
    Other(u16, Vec<u8>),
}

/// Who speaks to whom.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_structs, reason = "plain input")]
pub struct Voice<'a> {
    /// The credentials of the agent.
    pub ours: &'a Credentials,
    /// Those of its peer.
    pub theirs: &'a Credentials,
    /// Where the peer speaks from.
    pub from: SocketAddr,
    /// The address of the agent as the peer may truly see it.
    pub seen: SocketAddr,
    /// The transaction ID of a new check.
    pub id: [u8; 12],
    /// The latest requests of the agent, the last one first: where each went, and its ID.
    pub asked: &'a [(SocketAddr, [u8; 12])],
}

impl Saying {
    pub(super) fn decode(bytes: &mut Bytes<'_, '_>) -> Self {
        match bytes.u8() % 12 {
            0..5 => {
                let (port, sha256) = (bytes.u8() % 12, bytes.bool());
                let mut attributes = std::vec![Attribute::Priority(77)];
                // Most checks have what they need.
                attributes.extend((0..bytes.u8() % 4).map(|_| Attribute::decode(bytes)));
                Self::Check { port, attributes, sha256 }
            }
            5..10 => {
                let (which, port) = (bytes.u8() % 6, bytes.u8() % 12);
                let code = match bytes.u8() % 7 {
                    0..3 => None,
                    3..6 => Some(487),
                    _ => Some(300 + bytes.u16() % 400),
                };
                let mapped = (bytes.u8() % 5 > 0).then(|| 6000 + bytes.u16() % 12);
                Self::Answer { which, port, code, mapped }
            }
            10 => Self::Indication,
            _ => Self::Data(bytes.u8()),
        }
    }

    /// The datagram, and where it comes from; `None` for an answer where nothing was asked.
    #[must_use]
    pub fn write(&self, voice: &Voice<'_>) -> Option<(SocketAddr, Vec<u8>)> {
        let at = |port: u8| SocketAddr::new(voice.from.ip(), voice.from.port().saturating_add(u16::from(port)));
        Some(match self {
            Self::Check { port, attributes, sha256 } => {
                let builder = MessageBuilder::binding_request(voice.id)
                    .username(voice.ours.ufrag.as_str(), voice.theirs.ufrag.as_str());
                let builder = attributes.iter().fold(builder, |builder, attribute| attribute.append(builder));
                let password = &voice.ours.password;
                let builder = if *sha256 { builder.integrity_sha256(password) } else { builder.integrity(password) };
                (at(*port), builder.fingerprint().build())
            }
            Self::Answer { which, port, code, mapped } => {
                let (asked, id) = *voice.asked.get(usize::from(*which))?;
                let builder = match code {
                    Some(code) => MessageBuilder::binding_error(id, *code),
                    None => MessageBuilder::binding_success(id),
                };
                let builder = match (mapped, voice.seen) {
                    (Some(port), SocketAddr::V4(seen)) => {
                        let odd = SocketAddrV4::new([192, 0, 2, 1].into(), *port);
                        builder.mapped_v4(if port % 2 == 0 { seen } else { odd })
                    }
                    (None, _) | (Some(_), SocketAddr::V6(_)) => builder,
                };
                let bytes = builder.integrity(&voice.theirs.password).fingerprint().build();
                // Mostly symmetric.
                (if port % 3 == 0 { at(*port) } else { asked }, bytes)
            }
            Self::Indication => {
                let builder = MessageBuilder::new(0x0011, voice.id);
                (voice.from, builder.integrity(&voice.ours.password).fingerprint().build())
            }
            Self::Data(length) => (voice.from, std::vec![0x80; usize::from(*length).max(1)]),
        })
    }
}

impl Attribute {
    fn decode(bytes: &mut Bytes<'_, '_>) -> Self {
        let tiebreaker = |bytes: &mut Bytes<'_, '_>| match bytes.u8() % 3 {
            0 => 0,
            1 => u64::MAX,
            _ => u64::from(bytes.u32()) << 32 | u64::from(bytes.u32()),
        };
        match bytes.u8() % 13 {
            0..4 => {
                let any = bytes.u32();
                Self::Priority(bytes.of(any, &[0, 1, u32::MAX]))
            }
            4..7 => Self::Controlling(tiebreaker(bytes)),
            7..10 => Self::Controlled(tiebreaker(bytes)),
            10 => Self::UseCandidate,
            11 => {
                let is_late = bytes.bool();
                let small = u32::from(bytes.u8() % 6);
                Self::Value(is_late, if bytes.bool() { small } else { bytes.u32() })
            }
            _ => {
                let (kind, length) = (bytes.u16(), bytes.u8() % 12);
                Self::Other(kind, (0..length).map(|_| bytes.u8()).collect())
            }
        }
    }

    fn append(&self, builder: MessageBuilder) -> MessageBuilder {
        match self {
            Self::Priority(priority) => builder.priority(*priority),
            Self::Controlling(tiebreaker) => builder.controlling(*tiebreaker),
            Self::Controlled(tiebreaker) => builder.controlled(*tiebreaker),
            Self::UseCandidate => builder.use_candidate(),
            Self::Value(is_late, value) => {
                builder.attribute(if *is_late { 0x0030 } else { 0xc001 }, &value.to_be_bytes())
            }
            Self::Other(kind, value) => builder.attribute(*kind, value),
        }
    }
}
