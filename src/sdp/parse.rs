//! Reading the ICE attributes of a session description or trickle fragment (RFC 8839 §5, RFC 8840 §4.4).

use core::str::FromStr;
use core::time::Duration;

use alloc::borrow::ToOwned;
use alloc::string::String;
use alloc::vec::Vec;

use super::candidate::{read_address, read_port};
use super::description::{IceDescription, IceMedia, RemoteCandidate, SkippedCandidate};
use super::number;
use super::options::{IceOptions, ParseIceOptionsError};
use crate::candidate::Candidate;
use crate::credentials::ParseCredentialError;
use crate::stream::ComponentId;

#[cfg(test)]
pub(super) mod tests;

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
    /// There are more candidates in one section than this.
    #[error("more than {0} candidates in one media section")]
    TooManyCandidates(usize),
    /// The section with this index has the username fragment of an earlier one, but another password (RFC 8839 §5.4).
    #[error("media section {0} has the username fragment of another but a different password")]
    PasswordDiffers(usize),
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

/// Why an SDP text has no usable [`IceDescription`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {reason}")]
pub struct ParseIceDescriptionError {
    line: usize,
    position: usize,
    reason: IceDescriptionError,
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

impl FromStr for IceDescription {
    type Err = ParseIceDescriptionError;

    /// Reads the ICE attributes of any SDP text; lines end with CRLF or LF, and those that are not ICE are passed over.
    ///
    /// Names of attributes are taken in any case. An attribute at a level where it has no place is passed over, and of
    /// a repeated one the last counts. A candidate line that is broken or not supported is passed over and noted in
    /// [`IceMedia::skipped`].
    ///
    /// # Errors
    /// [`ParseIceDescriptionError`] for credentials, options, pacing and remote candidates that are not well-formed,
    /// for more than 256 sections or 1000 candidates in one of them, and for two sections with the same username
    /// fragment but different passwords.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut reader =
            Reader { description: Self { options: IceOptions::empty(), ..Self::default() }, starts: Vec::new() };
        let mut at = Place { line: 1, position: 0 };
        for line in text.split('\n') {
            // No attribute has a carriage return in it: what follows a stray one is passed over.
            let content = line.split('\r').next().unwrap_or_default();
            reader.read_line(at, content).map_err(|reason| at.error(reason))?;
            at.line += 1;
            at.position += line.len() + 1;
        }
        reader.finish()
    }
}

impl IceDescription {
    /// Whether the description may be sent as an offer or answer.
    ///
    /// A description that was read is not held to all of this, as peers that break these rules still work.
    ///
    /// # Errors
    /// The first of these that holds: [`PasswordDiffers`](IceDescriptionError::PasswordDiffers),
    /// [`PacingOfLite`](IceDescriptionError::PacingOfLite), and for a section
    /// [`UnexpectedCandidates`](IceDescriptionError::UnexpectedCandidates),
    /// [`MissingIce2`](IceDescriptionError::MissingIce2),
    /// [`PartialTrickle`](IceDescriptionError::PartialTrickle), [`MissingMid`](IceDescriptionError::MissingMid),
    /// [`PortWithoutCandidates`](IceDescriptionError::PortWithoutCandidates).
    pub fn validate(&self) -> Result<(), IceDescriptionError> {
        if let Some(index) = self.differing_password() {
            return Err(IceDescriptionError::PasswordDiffers(index));
        }
        if self.lite && self.pacing.is_some() {
            return Err(IceDescriptionError::PacingOfLite);
        }
        let trickles = self.media.iter().any(|media| self.has_option(media, IceOptions::TRICKLE));
        for (index, media) in self.media.iter().enumerate() {
            if (media.is_rejected() || media.mismatch) && !media.candidates.is_empty() {
                return Err(IceDescriptionError::UnexpectedCandidates(index));
            }
            if media.is_rejected() || self.credentials(media).is_none() {
                continue;
            }
            if !self.has_option(media, IceOptions::ICE2) {
                return Err(IceDescriptionError::MissingIce2(index));
            }
            if trickles && !self.has_option(media, IceOptions::TRICKLE) {
                return Err(IceDescriptionError::PartialTrickle(index));
            }
            if trickles && media.mid.is_none() {
                return Err(IceDescriptionError::MissingMid(index));
            }
            let without_port = media.port().is_none_or(|port| matches!(port, 0 | 9));
            if trickles && media.candidates.is_empty() && !without_port {
                return Err(IceDescriptionError::PortWithoutCandidates(index));
            }
        }
        Ok(())
    }

    /// Index of the first section that has the username fragment of an earlier one but not its password.
    fn differing_password(&self) -> Option<usize> {
        let mut seen = alloc::collections::BTreeMap::new();
        for (index, media) in self.media.iter().enumerate() {
            if let (Some(ufrag), Some(password)) = self.ufrag_and_password(media) {
                if *seen.entry(ufrag).or_insert(password) != password {
                    return Some(index);
                }
            }
        }
        None
    }
}

/// Most candidate lines per section that are remembered as passed over.
const MAX_SKIPPED: usize = 16;

/// A line of the text.
#[derive(Clone, Copy)]
struct Place {
    line: usize,
    position: usize,
}

impl Place {
    const fn error(self, reason: IceDescriptionError) -> ParseIceDescriptionError {
        ParseIceDescriptionError { line: self.line, position: self.position, reason }
    }
}

struct Reader {
    description: IceDescription,
    /// Where each section starts.
    starts: Vec<Place>,
}

impl Reader {
    fn read_line(&mut self, at: Place, line: &str) -> Result<(), IceDescriptionError> {
        if let Some(m_line) = line.strip_prefix("m=") {
            if self.description.media.len() >= IceDescription::MAX_MEDIA {
                return Err(IceDescriptionError::TooManySections(IceDescription::MAX_MEDIA));
            }
            self.description.media.push(IceMedia::with_m_line(m_line));
            self.starts.push(at);
            return Ok(());
        }
        let Some(attribute) = line.strip_prefix("a=") else { return Ok(()) };
        let (name, value) = attribute.split_once(':').unwrap_or((attribute, ""));
        let (name, value) = (name.trim_end_matches(' '), value.trim_matches(' '));
        match Attribute::named(name) {
            Some(Attribute::Candidate) => self.read_candidate(at, line),
            Some(attribute) => self.read_attribute(attribute, value),
            None => Ok(()),
        }
    }

    fn read_candidate(&mut self, at: Place, line: &str) -> Result<(), IceDescriptionError> {
        // Candidates of no section are nobody's (RFC 8839 §5.1).
        let Some(media) = self.description.media.last_mut() else { return Ok(()) };
        if media.candidates.len() + media.skipped_count >= IceDescription::MAX_CANDIDATES {
            return Err(IceDescriptionError::TooManyCandidates(IceDescription::MAX_CANDIDATES));
        }
        match line.parse::<Candidate>() {
            Ok(candidate) => media.candidates.push(candidate),
            Err(reason) => {
                media.skipped_count += 1;
                if media.skipped.len() < MAX_SKIPPED {
                    media.skipped.push(SkippedCandidate { line: at.line, reason });
                }
            }
        }
        Ok(())
    }

    fn read_attribute(&mut self, attribute: Attribute, value: &str) -> Result<(), IceDescriptionError> {
        let session = &mut self.description;
        match (attribute, session.media.last_mut()) {
            (Attribute::Ufrag, media) => {
                let ufrag = Some(value.parse().map_err(IceDescriptionError::Ufrag)?);
                media.map_or(&mut session.ufrag, |media| &mut media.ufrag).clone_from(&ufrag);
            }
            (Attribute::Password, media) => {
                let password = Some(value.parse().map_err(IceDescriptionError::Password)?);
                media.map_or(&mut session.password, |media| &mut media.password).clone_from(&password);
            }
            (Attribute::Options, media) => {
                let options = value.parse().map_err(IceDescriptionError::Options)?;
                *media.map_or(&mut session.options, |media| &mut media.options) = options;
            }
            (Attribute::EndOfCandidates, media) => {
                *media.map_or(&mut session.end_of_candidates, |media| &mut media.end_of_candidates) = true;
            }
            (Attribute::Lite, None) => session.lite = true,
            (Attribute::Pacing, None) => {
                let milliseconds = number(value, 10).ok_or(IceDescriptionError::Pacing)?;
                session.pacing = Some(Duration::from_millis(milliseconds));
            }
            (Attribute::Group, None) => {
                let mut words = value.split(' ').filter(|word| !word.is_empty());
                if session.bundle.is_empty() && words.next().is_some_and(|word| word.eq_ignore_ascii_case("BUNDLE")) {
                    session.bundle = words.map(ToOwned::to_owned).take(IceDescription::MAX_MEDIA).collect();
                }
            }
            (Attribute::Mid, Some(media)) => media.mid = Some(value.to_owned()).filter(|mid: &String| !mid.is_empty()),
            (Attribute::BundleOnly, Some(media)) => media.bundle_only = true,
            (Attribute::RtcpMux, Some(media)) => media.rtcp_mux = true,
            (Attribute::Mismatch, Some(media)) => media.mismatch = true,
            (Attribute::RemoteCandidates, Some(media)) => {
                media.remote_candidates = read_remote_candidates(value).ok_or(IceDescriptionError::RemoteCandidates)?;
            }
            // The rest stands where it has no meaning.
            (Attribute::Lite | Attribute::Pacing | Attribute::Group, Some(_))
            | (
                Attribute::Mid
                | Attribute::BundleOnly
                | Attribute::RtcpMux
                | Attribute::Mismatch
                | Attribute::RemoteCandidates,
                None,
            )
            | (Attribute::Candidate, _) => {}
        }
        Ok(())
    }

    fn finish(self) -> Result<IceDescription, ParseIceDescriptionError> {
        let Self { description, starts } = self;
        match description.differing_password() {
            Some(index) => {
                let start = starts.get(index).copied().unwrap_or(Place { line: 1, position: 0 });
                Err(start.error(IceDescriptionError::PasswordDiffers(index)))
            }
            None => Ok(description),
        }
    }
}

/// The attributes that are read.
#[derive(Clone, Copy)]
enum Attribute {
    Candidate,
    Ufrag,
    Password,
    Options,
    Pacing,
    Lite,
    Mismatch,
    RemoteCandidates,
    EndOfCandidates,
    Mid,
    Group,
    BundleOnly,
    RtcpMux,
}

impl Attribute {
    /// The attribute with this name, in any case of its letters.
    fn named(name: &str) -> Option<Self> {
        const NAMES: [(&str, Attribute); 13] = [
            ("candidate", Attribute::Candidate),
            ("ice-ufrag", Attribute::Ufrag),
            ("ice-pwd", Attribute::Password),
            ("ice-options", Attribute::Options),
            ("ice-pacing", Attribute::Pacing),
            ("ice-lite", Attribute::Lite),
            ("ice-mismatch", Attribute::Mismatch),
            ("remote-candidates", Attribute::RemoteCandidates),
            ("end-of-candidates", Attribute::EndOfCandidates),
            ("mid", Attribute::Mid),
            ("group", Attribute::Group),
            ("bundle-only", Attribute::BundleOnly),
            ("rtcp-mux", Attribute::RtcpMux),
        ];
        NAMES.into_iter().find(|(known, _)| name.eq_ignore_ascii_case(known)).map(|(_, attribute)| attribute)
    }
}

/// Reads triples of component, address and port; `None` if there are none, or a component comes twice.
fn read_remote_candidates(value: &str) -> Option<Vec<RemoteCandidate>> {
    let mut words = value.split(' ').filter(|word| !word.is_empty());
    let mut list: Vec<RemoteCandidate> = Vec::new();
    while let Some(component) = words.next() {
        let component = ComponentId::new(u16::try_from(number(component, 3)?).ok()?)?;
        let (address, port) = (words.next()?, read_port(words.next()?)?);
        if list.iter().any(|earlier| earlier.component == component) {
            return None;
        }
        list.push(RemoteCandidate { component, address: read_address(address, port)? });
    }
    if list.is_empty() { None } else { Some(list) }
}
