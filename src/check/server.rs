//! What a request means (RFC 8445 §7.3): decided from the request and a few facts, before anything changes.

use crate::stun::{Authenticated, ErrorReply, Message, NOMINATION, UnknownAttributes};
use crate::types::{Renomination, Role, RoleVerdict, Tiebreaker, judge};

/// What is to be done about a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Answer it, and take the role given here if there is one.
    Accept(Check),
    /// Answer it with an error; nothing else happens.
    Refuse(ErrorReply),
}

/// An acceptable connectivity check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Check {
    /// PRIORITY: that of the peer's candidate if it is peer-reflexive (RFC 8445 §7.3.1.3).
    pub(crate) priority: u32,
    /// It nominates the pair.
    pub(crate) nominates: bool,
    /// The value of the nomination, where that was negotiated.
    pub(crate) value: Option<u32>,
    /// The role that the peer is in.
    pub(crate) claimed: Role,
    /// The role conflict is ours to solve.
    pub(crate) switch: bool,
}

/// Judges a request: unknown attributes, then completeness, then the role (RFC 8489 §6.3.1, RFC 8445 §7.3.1.1). Where
/// roles are not to be repaired, whatever the peer claims is taken.
pub(crate) fn examine(
    request: &Authenticated<Message<'_>>,
    role: Role,
    tiebreaker: Tiebreaker,
    repairs_roles: bool,
    renomination: Option<Renomination>,
) -> Verdict {
    if !request.unknown.is_empty() {
        return Verdict::Refuse(ErrorReply::UnknownAttributes(request.unknown.clone()));
    }
    if request.nomination2.is_some() && renomination != Some(Renomination::Draft2026) {
        // One has to understand it, and has not said so.
        return Verdict::Refuse(ErrorReply::UnknownAttributes(UnknownAttributes::one(NOMINATION)));
    }
    let (Some(priority), Some((claimed, theirs)), false) =
        (request.priority.filter(|priority| *priority != 0), request.claimed_role(), request.has_broken_attribute)
    else {
        return Verdict::Refuse(ErrorReply::BadRequest);
    };
    let switch = match judge(role, tiebreaker, claimed, theirs) {
        _ if !repairs_roles => false,
        RoleVerdict::Agree => false,
        RoleVerdict::Switch => true,
        RoleVerdict::KeepAndReply487 => return Verdict::Refuse(ErrorReply::RoleConflict),
    };
    let value = match renomination {
        Some(Renomination::Draft2016) => request.nomination,
        Some(Renomination::Draft2026) => request.nomination2,
        None => None,
    };
    // libwebrtc leaves the flag out where it has a value.
    let nominates = request.use_candidate || renomination == Some(Renomination::Draft2016) && value.is_some();
    Verdict::Accept(Check { priority, nominates, value, claimed, switch })
}
