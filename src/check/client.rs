//! What a response means for the check that asked (RFC 8445 §7.2.5).

use core::net::SocketAddr;

use crate::stun::{Authenticated, Class, Message};

/// What is to be done about an authenticated response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The check succeeded; this is the address that the peer saw.
    Success(SocketAddr),
    /// The peer insists on the role that we claimed (RFC 8445 §7.2.5.1).
    RoleConflict,
    /// The peer withdraws its consent (RFC 7675 §5.2).
    Forbidden,
    /// The peer had a problem of its own, which may pass (RFC 8489 §6.3.4).
    ServerError,
    /// The check failed.
    Failure,
    /// The response says nothing: the check goes on as if it had not come.
    Unusable,
}

/// Judges a response; `is_symmetric` if it came from where the request went to, to where it left from
/// (RFC 8445 §7.2.5.2.1).
pub(crate) fn examine(response: &Authenticated<Message<'_>>, is_symmetric: bool) -> Verdict {
    if !response.unknown.is_empty() {
        return Verdict::Failure;
    }
    match (response.class, response.error, response.mapped) {
        (Class::Error, Some(487), _) => Verdict::RoleConflict,
        (Class::Error, Some(403), _) => Verdict::Forbidden,
        (Class::Error, Some(500..=599), _) if is_symmetric => Verdict::ServerError,
        (Class::Error, _, _) => Verdict::Failure,
        (Class::Success, _, _) if !is_symmetric => Verdict::Failure,
        (Class::Success, _, Some(mapped)) => Verdict::Success(mapped),
        (Class::Success, _, None) => Verdict::Unusable,
        (Class::Request | Class::Indication, _, _) => Verdict::Unusable,
    }
}
