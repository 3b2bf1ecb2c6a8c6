//! Why the text of a description cannot be used.

use super::super::options::ParseIceOptionsError;
use crate::credentials::ParseCredentialError;

/// What is wrong with the ICE attributes of a description.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IceDescriptionError {
    /// `ice-ufrag` is not a username fragment.
    #[error("invalid ice-ufrag: {0}")]
    Ufrag(ParseCredentialError),
    /// `ice-pwd` is not a password.
    #[error("invalid ice-pwd: {0}")]
    Password(ParseCredentialError),
    /// `ice-options` is not a list of tokens.
    #[error("invalid ice-options: {0}")]
    Options(ParseIceOptionsError),
    /// `ice-pacing` is not a number of 1 to 10 digits.
    #[error("ice-pacing is not a number of 1 to 10 digits")]
    Pacing,
    /// `remote-candidates` is not a list of component, address and port, with each component at most once.
    #[error("remote-candidates is not a list of component, address and port")]
    RemoteCandidates,
    /// There are more sections than this.
    #[error("more than {0} media sections")]
    TooManySections(usize),
    /// There are more candidates in one section than this: the others are passed over.
    #[error("more than {0} candidates in one media section")]
    TooManyCandidates(usize),
    /// A candidate stands before the first section, and there are several sections or transports that it may belong to.
    #[error("a candidate before the first media section, which may be of several")]
    CandidateOutside,
    /// The section with this index has the username fragment of an earlier one, but another password (RFC 8839 §5.4).
    #[error("media section {0} has the username fragment of another but a different password")]
    PasswordDiffers(usize),
    /// The section with this index has credentials with characters that are only taken on receipt (RFC 8839 §5.4). Only in
    /// what we send.
    #[error("media section {0} has credentials with characters that others need not take")]
    LooseCredentials(usize),
    /// The section with this index has no `ice2` among its options (RFC 8839 §5.6). Only in what we send.
    #[error("media section {0} is without the ice2 option")]
    MissingIce2(usize),
    /// Some sections have the option `trickle` and the one with this index has not (RFC 8838 §3). Only in what we
    /// send.
    #[error("media section {0} is without the trickle option, which others have")]
    PartialTrickle(usize),
    /// The section with this index may get trickled candidates but has no `mid` (RFC 8840 §4.1). Only in what we send.
    #[error("media section {0} is without mid in a description that allows trickling")]
    MissingMid(usize),
    /// The section with this index has a port other than 9 but no candidate, in a description that allows trickling
    /// (RFC 8840 §4.1). Only in what we send.
    #[error("media section {0} has a port but no candidates")]
    PortWithoutCandidates(usize),
    /// A lite agent has `ice-pacing` (RFC 8839 §5.5). Only in what we send.
    #[error("a lite agent does not send ice-pacing")]
    PacingOfLite,
    /// The section with this index has candidates though it is rejected or has `ice-mismatch` (RFC 8839 §4.2.1, §5.3).
    /// Only in what we send.
    #[error("media section {0} has candidates but does not use ice")]
    UnexpectedCandidates(usize),
}

/// Why an SDP text has no usable [`IceDescription`](crate::IceDescription).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {reason}")]
pub struct ParseIceDescriptionError {
    pub(super) line: usize,
    pub(super) position: usize,
    pub(super) reason: IceDescriptionError,
}

impl ParseIceDescriptionError {
    /// Number of the line that is wrong, from 1 on; if it is a whole section, its `m=` line.
    #[must_use]
    pub const fn line(&self) -> usize {
        self.line
    }

    /// Where that line starts, in bytes from the start of the text.
    #[must_use]
    pub const fn position(&self) -> usize {
        self.position
    }

    /// What is wrong.
    #[must_use]
    pub const fn reason(&self) -> IceDescriptionError {
        self.reason
    }
}
