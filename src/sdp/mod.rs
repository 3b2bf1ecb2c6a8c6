//! ICE in SDP and in trickle messages (RFC 8839, RFC 8840, RFC 9429).
//!
//! Text comes in as `&str` and leaves through [`Display`](core::fmt::Display); nothing here keeps state of an agent.
//! Reading is forgiving where peers are known to differ from the RFCs and strict where a wrong guess would matter, and
//! it takes time linear in the text. A line that is wrong costs its section at most, and nothing vanishes: each line of ICE
//! comes out again, is refused with a typed error, or is noted and counted. What is written follows the RFCs.
//!
//! A candidate line is a [`Candidate`](crate::Candidate), a whole session description boils down to an
//! [`IceDescription`], and candidates that follow later travel in a [`TrickleFragment`] or an [`IceCandidateInit`].

mod candidate;
mod description;
mod init;
mod note;
mod options;
mod parse;
mod trickle;
mod update;

pub use candidate::ParseCandidateError;
pub use description::{IceDescription, IceMedia, RemoteCandidate, SkippedCandidate};
pub use init::{AddIceCandidateError, IceCandidateInit, ResolvedCandidate};
pub use note::{IceNote, IceNoteKind};
pub use options::{IceOptions, ParseIceOptionsError};
pub use parse::{IceDescriptionError, ParseIceDescriptionError};
pub use trickle::{AppendCandidateError, ReceiveFragmentError, TrickleFragment, TrickleItem, TrickleReceiver};
pub use update::{AnswerError, CredentialsChange};

/// The text after `prefix`, whatever the case of its letters.
fn strip_prefix_ignore_case<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    let (head, tail) = text.split_at_checked(prefix.len())?;
    head.eq_ignore_ascii_case(prefix).then_some(tail)
}

/// Value of a text that is 1 to `most` decimal digits; `most` is 19 or less, so that it fits.
fn number(text: &str, most: usize) -> Option<u64> {
    if text.is_empty() || text.len() > most || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

/// What stands between fields: one space by the RFCs, and any number of spaces and tabs by some peers.
const BLANKS: [char; 2] = [' ', '\t'];

/// What stands between blanks.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(BLANKS).filter(|word| !word.is_empty())
}

/// Whether a text can be one word of a line: not empty, without blank, line end and NUL.
fn is_word(text: &str) -> bool {
    !text.is_empty() && is_word_or_empty(text)
}

/// The same for a text that may be empty.
fn is_word_or_empty(text: &str) -> bool {
    !text.bytes().any(|byte| matches!(byte, b' ' | b'\t' | b'\r' | b'\n' | 0))
}
