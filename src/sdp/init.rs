//! `RTCIceCandidateInit`, the form in which WebRTC applications send candidates as JSON (RFC 9429 §3.5.2).

use alloc::boxed::Box;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

use super::candidate::ParseCandidateError;
use super::description::{IceDescription, IceMedia};
use super::strip_prefix_ignore_case;
use crate::candidate::Candidate;
use crate::credentials::Ufrag;

#[cfg(test)]
mod tests;

/// A candidate, or the end of candidates, with where it belongs: WebRTC's `RTCIceCandidateInit`.
///
/// With the feature `serde` it becomes a JSON object of exactly the members `candidate`, `sdpMid`, `sdpMLineIndex` and
/// `usernameFragment`, the same as in browsers. Members that are missing or `null` get their defaults and others are ignored;
/// `null` in the place of the object, or of `candidate`, is the end of candidates, as `addIceCandidate(null)` is.
///
/// ```
/// use nilas::{Candidate, IceCandidateInit};
///
/// let candidate: Candidate = "candidate:1 1 udp 2130706431 192.0.2.1 5010 typ host".parse()?;
/// let init = IceCandidateInit::from(&candidate).with_mid("0");
/// assert_eq!(init.candidate, "candidate:1 1 udp 2130706431 192.0.2.1 5010 typ host");
/// assert_eq!(init.to_candidate()?, Some(candidate));
/// # Ok::<(), nilas::ParseCandidateError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "camelCase"))]
#[expect(clippy::exhaustive_structs, reason = "WebRTC closes the set")]
pub struct IceCandidateInit {
    /// The candidate line without `a=`; empty for the end of candidates. Default: empty.
    pub candidate: String,
    /// `mid` of the section that it belongs to; an empty one is none. Default: none.
    pub sdp_mid: Option<String>,
    /// Index of that section, from 0 on; it counts only without `sdp_mid`, or if no section has a `mid`. Default: none.
    pub sdp_m_line_index: Option<u16>,
    /// Username fragment of the generation that it belongs to; none means the most recent one. Default: none.
    pub username_fragment: Option<String>,
}

/// What an [`IceCandidateInit`] means for a description. Indices are those of [`IceDescription::media`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ResolvedCandidate {
    /// A candidate of one section.
    Candidate {
        /// Index of the section.
        media: usize,
        /// The candidate.
        candidate: Box<Candidate>,
    },
    /// No more candidates come in these sections.
    EndOfCandidates {
        /// Indices of the sections.
        media: Vec<usize>,
    },
    /// It is accepted but has no effect: the section is rejected or does not use ICE, or the candidate is of a kind
    /// that is not supported.
    Ignored,
}

/// Why an [`IceCandidateInit`] was refused (WebRTC §4.4.1.7, RFC 9429 §4.1.19).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AddIceCandidateError {
    /// A candidate names neither `sdpMid` nor `sdpMLineIndex`.
    #[error("the candidate names neither mid nor index of a media section")]
    NoSection,
    /// There is no remote description.
    #[error("there is no remote description")]
    NoRemoteDescription,
    /// No section has this `sdpMid`.
    #[error("no media section has this mid")]
    UnknownMid,
    /// There are not so many sections.
    #[error("media section {index} of {count}")]
    UnknownIndex {
        /// The `sdpMLineIndex`.
        index: u16,
        /// Number of sections.
        count: usize,
    },
    /// The username fragment is not that of the section: the candidate is of another generation.
    #[error("the username fragment is not that of the media section")]
    UnknownUfrag,
    /// The candidate line is wrong.
    #[error("invalid candidate: {0}")]
    Candidate(ParseCandidateError),
}

impl AddIceCandidateError {
    /// Name of the exception that WebRTC's `addIceCandidate` rejects with: `TypeError`, `InvalidStateError` or
    /// `OperationError`.
    #[must_use]
    pub const fn exception_name(&self) -> &'static str {
        match self {
            Self::NoSection => "TypeError",
            Self::NoRemoteDescription => "InvalidStateError",
            Self::UnknownMid | Self::UnknownIndex { .. } | Self::UnknownUfrag | Self::Candidate(_) => "OperationError",
        }
    }
}

impl IceCandidateInit {
    /// The end of candidates: in one section if one is named, else in all of them (RFC 9429 §4.1.19).
    #[must_use]
    pub fn end_of_candidates() -> Self {
        Self::default()
    }

    /// The same for the section with this `mid`.
    #[must_use]
    pub fn with_mid(mut self, mid: &str) -> Self {
        self.sdp_mid = Some(mid.into());
        self
    }

    /// The same for the section with this index.
    #[must_use]
    pub fn with_m_line_index(mut self, index: u16) -> Self {
        self.sdp_m_line_index = Some(index);
        self
    }

    /// The same for the generation with this username fragment.
    #[must_use]
    pub fn with_username_fragment(mut self, ufrag: &Ufrag) -> Self {
        self.username_fragment = Some(ufrag.as_str().into());
        self
    }

    /// Whether it is the end of candidates: the candidate is empty, or the attribute `end-of-candidates` itself.
    #[must_use]
    pub fn is_end_of_candidates(&self) -> bool {
        let text = self.candidate.trim_matches([' ', '\t', '\r', '\n']);
        text.is_empty()
            || strip_prefix_ignore_case(text, "a=").unwrap_or(text).eq_ignore_ascii_case("end-of-candidates")
    }

    /// The candidate in it; `None` for the end of candidates.
    ///
    /// # Errors
    /// [`ParseCandidateError`] if the line is wrong.
    pub fn to_candidate(&self) -> Result<Option<Candidate>, ParseCandidateError> {
        if self.is_end_of_candidates() { Ok(None) } else { self.candidate.parse().map(Some) }
    }

    /// What it means for the remote description of the most recent generation; this is what WebRTC's `addIceCandidate`
    /// does first.
    ///
    /// `sdp_mid` wins over `sdp_m_line_index` (RFC 9429 §3.5.2.1). In a description without any `mid` the index counts, and
    /// without one it is the [only section](IceDescription::only_section). The generation is named by `username_fragment`, else
    /// by the `ufrag` extension of the candidate; if by neither, or by an empty text, it is the most recent one.
    ///
    /// # Errors
    /// [`AddIceCandidateError`]: each variant can occur.
    pub fn resolve(&self, remote: Option<&IceDescription>) -> Result<ResolvedCandidate, AddIceCandidateError> {
        let names_section = self.mid().is_some() || self.sdp_m_line_index.is_some();
        if !names_section && !self.is_end_of_candidates() {
            return Err(AddIceCandidateError::NoSection);
        }
        let remote = remote.ok_or(AddIceCandidateError::NoRemoteDescription)?;
        if !names_section {
            return self.resolve_end_of_all(remote);
        }
        let (index, media) = self.find_section(remote)?;
        let candidate = match self.to_candidate() {
            Ok(candidate) => candidate,
            Err(reason) if reason.is_skippable() => return Ok(ResolvedCandidate::Ignored),
            Err(reason) => return Err(AddIceCandidateError::Candidate(reason)),
        };
        let Some(credentials) = remote.credentials(media).filter(|_| !media.is_rejected()) else {
            return Ok(ResolvedCandidate::Ignored);
        };
        let named = self.ufrag().or(candidate.as_ref().and_then(Candidate::ufrag));
        if named.is_some_and(|named| named != credentials.ufrag.as_str()) {
            return Err(AddIceCandidateError::UnknownUfrag);
        }
        Ok(match candidate {
            Some(candidate) => ResolvedCandidate::Candidate { media: index, candidate: Box::new(candidate) },
            None => ResolvedCandidate::EndOfCandidates { media: vec![index] },
        })
    }

    /// An end of candidates that names no section is about all sections of the generation (RFC 9429 §4.1.19).
    fn resolve_end_of_all(&self, remote: &IceDescription) -> Result<ResolvedCandidate, AddIceCandidateError> {
        let sections = remote.media.iter().enumerate().filter(|(_, media)| !media.is_rejected());
        let media: Vec<usize> = sections
            .filter(|(_, media)| {
                remote
                    .credentials(media)
                    .is_some_and(|credentials| self.ufrag().is_none_or(|named| named == credentials.ufrag.as_str()))
            })
            .map(|(index, _)| index)
            .collect();
        if media.is_empty() && self.ufrag().is_some() {
            return Err(AddIceCandidateError::UnknownUfrag);
        }
        Ok(ResolvedCandidate::EndOfCandidates { media })
    }

    /// The section that is named, by `mid` first.
    fn find_section<'a>(&self, remote: &'a IceDescription) -> Result<(usize, &'a IceMedia), AddIceCandidateError> {
        let mut sections = remote.media.iter().enumerate();
        let are_named = remote.media.iter().any(|media| media.mid.is_some());
        match (self.mid(), self.sdp_m_line_index) {
            (Some(mid), _) if are_named => {
                sections.find(|(_, media)| media.mid.as_deref() == Some(mid)).ok_or(AddIceCandidateError::UnknownMid)
            }
            (Some(_), None) => {
                let only = remote.only_section().ok_or(AddIceCandidateError::UnknownMid)?;
                sections.nth(only).ok_or(AddIceCandidateError::UnknownMid)
            }
            (_, Some(index)) => sections
                .nth(usize::from(index))
                .ok_or(AddIceCandidateError::UnknownIndex { index, count: remote.media.len() }),
            (None, None) => Err(AddIceCandidateError::NoSection),
        }
    }

    /// The identification of the section, if there is one.
    fn mid(&self) -> Option<&str> {
        self.sdp_mid.as_deref().filter(|mid| !mid.is_empty())
    }

    /// The username fragment, if there is one.
    fn ufrag(&self) -> Option<&str> {
        self.username_fragment.as_deref().filter(|ufrag| !ufrag.is_empty())
    }
}

#[cfg(feature = "serde")]
mod json {
    //! Reading the JSON form. JavaScript has `null` where there is nothing.

    use alloc::string::String;

    use serde::{Deserialize, Deserializer};

    use super::IceCandidateInit;

    #[derive(Default, Deserialize)]
    #[serde(rename_all = "camelCase", default)]
    struct Members {
        #[serde(deserialize_with = "nullable")]
        candidate: String,
        sdp_mid: Option<String>,
        sdp_m_line_index: Option<u16>,
        username_fragment: Option<String>,
    }

    fn nullable<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
        if deserializer.is_human_readable() {
            Ok(Option::<String>::deserialize(deserializer)?.unwrap_or_default())
        } else {
            String::deserialize(deserializer)
        }
    }

    impl<'de> Deserialize<'de> for IceCandidateInit {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            let members = if deserializer.is_human_readable() {
                Option::<Members>::deserialize(deserializer)?.unwrap_or_default()
            } else {
                Members::deserialize(deserializer)?
            };
            let Members { candidate, sdp_mid, sdp_m_line_index, username_fragment } = members;
            Ok(Self { candidate, sdp_mid, sdp_m_line_index, username_fragment })
        }
    }
}

impl From<&Candidate> for IceCandidateInit {
    /// The candidate line, and the username fragment that its `ufrag` extension names; which section it belongs to is
    /// left open.
    fn from(candidate: &Candidate) -> Self {
        Self {
            candidate: candidate.to_string(),
            username_fragment: candidate.ufrag().map(Into::into),
            ..Self::default()
        }
    }
}
