//! STUN messages (RFC 8489) with the attributes that ICE adds (RFC 8445 §7.1): the only place that names `stun-types`.
//!
//! Every check passes here twice, so reading and writing are one pass each without allocation. The reader finds what ICE
//! asks for while it walks over the attributes once; whoever wants to believe a message has to turn it into an
//! [`Authenticated`] one first.

pub(crate) mod address;
mod answer;
mod attributes;
mod key;
mod message;
#[cfg(any(test, feature = "sim"))]
pub(crate) mod reference;
#[cfg(feature = "turn")]
pub(crate) mod server;
#[cfg(test)]
mod tests;
mod writer;

pub(crate) use answer::{ServerAnswer, read_answer, response_id};
pub(crate) use attributes::{NOMINATION, UnknownAttributes};
#[cfg(feature = "turn")]
pub(crate) use key::userhash;
pub(crate) use key::{Integrity, IntegrityKey};
pub(crate) use message::{Authenticated, Class, Message, Unreadable, looks_like_stun};
pub(crate) use writer::{
    ErrorReply, Request, Scratch, write_binding, write_error, write_keepalive, write_request, write_success,
};

use crate::types::Random;

/// A STUN transaction ID: 96 random bits (RFC 8489 §5).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TransactionId(pub(crate) [u8; 12]);

impl TransactionId {
    pub(crate) fn draw(random: &mut Random) -> Self {
        let mut bytes = [0; 12];
        random.fill(&mut bytes);
        Self(bytes)
    }

    /// 64 of its bits, which are as good as any hash of it where the ID is one of ours.
    pub(crate) fn bits(self) -> u64 {
        let [a, b, c, d, e, f, g, h, ..] = self.0;
        u64::from_be_bytes([a, b, c, d, e, f, g, h])
    }
}

impl core::fmt::Debug for TransactionId {
    /// Withholds the ID: who knows it can forge an answer's outside (RFC 7675 §5.1).
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("TransactionId(..)")
    }
}
