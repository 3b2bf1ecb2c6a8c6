//! Bodies of type `application/trickle-ice-sdpfrag`, which carry candidates after the description (RFC 8840 §4.4, §9).
//!
//! Every body repeats all candidates of the generation and appends the new ones, so that a lost or reordered one does
//! no harm. The sender keeps one [`TrickleFragment`] that grows; the receiver has a [`TrickleReceiver`] per description,
//! which hands on each candidate once.

use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::net::SocketAddr;
use core::str::FromStr;

use super::description::{IceDescription, IceMedia, write_section_head};
use super::is_word;
use super::parse::{Form, ParseIceDescriptionError, read};
use crate::candidate::{Candidate, CandidateAddress};
use crate::credentials::Credentials;
use crate::types::address::plain;
use crate::types::{ComponentId, Transport};

#[cfg(test)]
mod tests;

/// A body of type `application/trickle-ice-sdpfrag`: the candidates known so far, by section (RFC 8840 §4.4).
///
/// ```
/// use nilas::{IceDescription, TrickleFragment};
///
/// let sent: IceDescription = "a=ice-ufrag:8hhY\r\na=ice-pwd:asd88fgpdd777uzjYhagZg\r\n\
///                             m=audio 9 RTP/AVP 0\r\na=mid:1\r\n".parse()?;
/// let mut fragment = TrickleFragment::new(&sent);
/// fragment.append("1", "candidate:1 1 udp 2130706431 192.0.2.1 5010 typ host".parse().expect("it is a candidate"))?;
/// fragment.end(None)?;
/// assert!(fragment.to_string().ends_with("192.0.2.1 5010 typ host\r\na=end-of-candidates\r\n"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TrickleFragment {
    /// What the body says, as if it were a description. Its `m=` lines only separate the sections.
    pub description: IceDescription,
}

/// Why a candidate or the end of candidates was not appended to a [`TrickleFragment`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AppendCandidateError {
    /// No section has this identification.
    #[error("no media section has this mid")]
    UnknownMid,
    /// The end of candidates was already announced for the section (RFC 8838 §13).
    #[error("the end of candidates was already announced")]
    Ended,
    /// The section has this many candidates and takes no more.
    #[error("the media section has {0} candidates and takes no more")]
    TooManyCandidates(usize),
}

/// Why a whole [`TrickleFragment`] was discarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReceiveFragmentError {
    /// It has no username fragment or no password, so it cannot be told which generation it is of.
    #[error("the fragment is without credentials")]
    MissingCredentials,
    /// Its credentials are those of another generation (RFC 8840 §4.4).
    #[error("the fragment is of another generation")]
    OtherGeneration,
    /// Nothing in it belongs to a section of the description, from the one with this index in the fragment on: that names a
    /// `mid` that the description does not have, or none where there are several it could mean.
    #[error("section {0} of the fragment is none of the description")]
    UnknownSection(usize),
}

/// Something new in a [`TrickleFragment`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TrickleItem {
    /// A candidate that was not known before.
    Candidate {
        /// Identification of its section; empty if the description gives it none.
        mid: String,
        /// The candidate.
        candidate: Candidate,
    },
    /// No more candidates come in this section.
    EndOfCandidates {
        /// Identification of the section; empty if the description gives it none.
        mid: String,
    },
}

impl TrickleFragment {
    /// The body that repeats what the description said (RFC 8840 §4.4): its credentials at the same level, the sections
    /// with their identification, and all candidates. Sections that do not use ICE are left out.
    #[must_use]
    pub fn new(sent: &IceDescription) -> Self {
        let mut description = sent.clone();
        description.media.retain(|media| !media.is_rejected() && !media.mismatch && !media.has_faulty_credentials);
        (description.notes, description.notes_count) = (Vec::new(), 0);
        Self { description }
    }

    /// Appends a candidate to the section with this identification; returns whether it was not there before.
    ///
    /// # Errors
    /// [`UnknownMid`](AppendCandidateError::UnknownMid), [`Ended`](AppendCandidateError::Ended), and
    /// [`TooManyCandidates`](AppendCandidateError::TooManyCandidates) from 1000 candidates on, which is what a receiver
    /// of this crate takes.
    pub fn append(&mut self, mid: &str, candidate: Candidate) -> Result<bool, AppendCandidateError> {
        let ended = self.description.end_of_candidates;
        let media = self.section(mid)?;
        let new = key(&candidate);
        if media.candidates.iter().any(|known| key(known) == new) {
            return Ok(false);
        }
        if ended || media.end_of_candidates {
            return Err(AppendCandidateError::Ended);
        }
        if media.candidates.len() >= IceDescription::MAX_CANDIDATES {
            return Err(AppendCandidateError::TooManyCandidates(IceDescription::MAX_CANDIDATES));
        }
        media.candidates.push(candidate);
        Ok(true)
    }

    /// Announces that no more candidates come in the section with this identification, or with `None` in all of them
    /// (RFC 8840 §8.2). Doing so again changes nothing.
    ///
    /// # Errors
    /// [`UnknownMid`](AppendCandidateError::UnknownMid).
    pub fn end(&mut self, mid: Option<&str>) -> Result<(), AppendCandidateError> {
        match mid {
            Some(mid) => self.section(mid)?.end_of_candidates = true,
            None => {
                // Said once per section, it stands after the candidates that it is about.
                self.description.end_of_candidates |= self.description.media.is_empty();
                self.description.media.iter_mut().for_each(|media| media.end_of_candidates = true);
            }
        }
        Ok(())
    }

    fn section(&mut self, mid: &str) -> Result<&mut IceMedia, AppendCandidateError> {
        let mut sections = self.description.media.iter_mut();
        sections.find(|media| media.mid.as_deref() == Some(mid)).ok_or(AppendCandidateError::UnknownMid)
    }
}

impl FromStr for TrickleFragment {
    type Err = ParseIceDescriptionError;

    /// Reads a body. It is as forgiving as the reader of [`IceDescription`], and has the same limits. Each `mid` begins a
    /// section where there are no `m=` lines; candidates without either are in a section without `mid`.
    ///
    /// # Errors
    /// Those of reading an [`IceDescription`].
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self { description: read(text, Form::Fragment)? })
    }
}

impl fmt::Display for TrickleFragment {
    /// Writes the body: session attributes, then for each section `m=`, `mid`, and its attributes, in lower case and
    /// with CRLF at the end of each line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let IceDescription { bundle, media, .. } = &self.description;
        let mut mids = bundle.iter().filter(|mid| is_word(mid)).peekable();
        if mids.peek().is_some() {
            f.write_str("a=group:BUNDLE")?;
            mids.try_for_each(|mid| write!(f, " {mid}"))?;
            f.write_str("\r\n")?;
        }
        self.description.session_attributes().fmt(f)?;
        for media in media {
            write_section_head(f, media)?;
            media.fragment_attributes().fmt(f)?;
        }
        Ok(())
    }
}

/// Receiver of trickle fragments for one remote description, that is, for one generation (RFC 8840 §4.4).
///
/// It hands on each candidate and each end of candidates once, in the order of the fragments. After an ICE restart the
/// new description gets a new receiver.
#[derive(Clone, Debug)]
pub struct TrickleReceiver {
    sections: Vec<Section>,
    /// The sections of the description that do without ICE.
    unused: BTreeSet<String>,
    /// The section that is meant if another is named where none has a name.
    only: Option<usize>,
    /// The section that is meant if none is named: the only one without a name, or the only one.
    nameless: Option<usize>,
    /// Some section has a `mid`.
    are_named: bool,
    ignored: usize,
}

#[derive(Clone, Debug)]
struct Section {
    mid: Option<String>,
    credentials: Credentials,
    known: BTreeSet<Key>,
    ended: bool,
}

/// What a section of a fragment is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Subject {
    /// The section with this index.
    Section(usize),
    /// One that does without ICE.
    Unused,
    /// Nobody knows.
    Unknown,
}

impl TrickleReceiver {
    /// A receiver for the sections of this description that use ICE.
    ///
    /// What the description says itself counts as known.
    #[must_use]
    pub fn new(remote: &IceDescription) -> Self {
        let (mut sections, mut unused, mut only) = (Vec::new(), BTreeSet::new(), None);
        let only_section = remote.only_section();
        for (index, media) in remote.media.iter().enumerate() {
            let credentials = remote.credentials(media).filter(|_| !media.is_rejected());
            let Some(credentials) = credentials else {
                unused.extend(media.mid.clone());
                continue;
            };
            if only_section == Some(index) {
                only = Some(sections.len());
            }
            sections.push(Section {
                mid: media.mid.clone(),
                credentials,
                known: media.candidates.iter().map(key).collect(),
                ended: remote.has_ended(media),
            });
        }
        let mut without_name = sections.iter().enumerate().filter(|(_, section)| section.mid.is_none());
        let nameless = match (without_name.next(), without_name.next()) {
            (Some((index, _)), None) => Some(index),
            _ => only,
        };
        // What several sections without a name say is all about that one: those in a bundle have one transport.
        let nameless_media = || remote.media.iter().filter(|media| media.mid.is_none());
        if let Some(section) = nameless.and_then(|index| sections.get_mut(index)) {
            section.known.extend(nameless_media().flat_map(|media| &media.candidates).map(key));
            section.ended |= nameless_media().any(|media| media.end_of_candidates);
        }
        let are_named = remote.media.iter().any(|media| media.mid.is_some());
        Self { sections, unused, only, nameless, are_named, ignored: 0 }
    }

    /// How many candidates were not handed on, though they were not known: of sections that do without ICE or that the
    /// description does not have, after the end of candidates, and past 1000 in a section.
    #[must_use]
    pub const fn ignored(&self) -> usize {
        self.ignored
    }

    /// Takes a fragment and returns what is new in it.
    ///
    /// A candidate is known if one with the same component, transport, address and port was there before. What follows
    /// an end of candidates is not handed on (RFC 8838 §11.2), as is what is about sections without ICE, and candidates past
    /// 1000 in a section; it is [counted](Self::ignored). A section without `mid` is the
    /// [only one](IceDescription::only_section) of the description.
    ///
    /// # Errors
    /// [`MissingCredentials`](ReceiveFragmentError::MissingCredentials),
    /// [`OtherGeneration`](ReceiveFragmentError::OtherGeneration), and [`UnknownSection`](ReceiveFragmentError::UnknownSection)
    /// if there are candidates or ends of them and not one is of a section of the description. Nothing has changed then.
    pub fn receive(&mut self, fragment: &TrickleFragment) -> Result<Vec<TrickleItem>, ReceiveFragmentError> {
        let said = &fragment.description;
        let subjects: Vec<Subject> = said.media.iter().map(|media| self.subject(media)).collect();
        self.check_sections(said, &subjects)?;
        self.check_generation(said, &subjects)?;
        let mut items = Vec::new();
        for (media, subject) in said.media.iter().zip(&subjects) {
            let Subject::Section(index) = *subject else {
                self.ignored = self.ignored.saturating_add(media.candidates.len());
                continue;
            };
            let Some(section) = self.sections.get_mut(index) else { continue };
            let mid = section.mid.clone().unwrap_or_default();
            for candidate in &media.candidates {
                if section.known.contains(&key(candidate)) {
                    continue;
                }
                if section.admits(candidate) {
                    items.push(TrickleItem::Candidate { mid: mid.clone(), candidate: candidate.clone() });
                } else {
                    self.ignored = self.ignored.saturating_add(1);
                }
            }
            if media.end_of_candidates && !section.ended {
                section.ended = true;
                items.push(TrickleItem::EndOfCandidates { mid });
            }
        }
        if said.end_of_candidates {
            for (index, section) in self.sections.iter_mut().enumerate() {
                let is_listed = subjects.contains(&Subject::Section(index));
                if !section.ended && (is_listed || section.speaks_of(said)) {
                    section.ended = true;
                    let mid = section.mid.clone().unwrap_or_default();
                    items.push(TrickleItem::EndOfCandidates { mid });
                }
            }
        }
        Ok(items)
    }

    /// The section of the description that a section of a fragment is about.
    fn subject(&self, media: &IceMedia) -> Subject {
        let Some(mid) = &media.mid else {
            return self.nameless.map_or(Subject::Unknown, Subject::Section);
        };
        match self.sections.iter().position(|section| section.mid.as_ref() == Some(mid)) {
            Some(index) => Subject::Section(index),
            None if self.unused.contains(mid) => Subject::Unused,
            None if self.are_named => Subject::Unknown,
            None => self.only.map_or(Subject::Unknown, Subject::Section),
        }
    }

    /// A fragment that says something says something of a section of the description.
    fn check_sections(&self, said: &IceDescription, subjects: &[Subject]) -> Result<(), ReceiveFragmentError> {
        if subjects.iter().any(|subject| *subject != Subject::Unknown) {
            return Ok(());
        }
        let says =
            |media: &IceMedia| !media.candidates.is_empty() || media.end_of_candidates || media.skipped_count > 0;
        match said.media.iter().position(says) {
            Some(index) => Err(ReceiveFragmentError::UnknownSection(index)),
            None => Ok(()),
        }
    }

    /// A fragment counts if it has the credentials of every section that it speaks of.
    fn check_generation(&self, said: &IceDescription, subjects: &[Subject]) -> Result<(), ReceiveFragmentError> {
        let mut listed = false;
        for (media, subject) in said.media.iter().zip(subjects) {
            let Subject::Section(index) = *subject else { continue };
            let Some(section) = self.sections.get(index) else { continue };
            let credentials = said.credentials(media).ok_or(ReceiveFragmentError::MissingCredentials)?;
            if credentials != section.credentials {
                return Err(ReceiveFragmentError::OtherGeneration);
            }
            listed = true;
        }
        if listed || self.sections.iter().any(|section| section.speaks_of(said)) {
            return Ok(());
        }
        match (&said.ufrag, &said.password) {
            (Some(_), Some(_)) => Err(ReceiveFragmentError::OtherGeneration),
            (None, _) | (_, None) => Err(ReceiveFragmentError::MissingCredentials),
        }
    }
}

impl Section {
    /// Whether the candidate is to be handed on; it is known from then on.
    fn admits(&mut self, candidate: &Candidate) -> bool {
        !self.ended && self.known.len() < IceDescription::MAX_CANDIDATES && self.known.insert(key(candidate))
    }

    /// Whether what a fragment says for the whole session holds for this section, by its credentials.
    fn speaks_of(&self, said: &IceDescription) -> bool {
        let Credentials { ufrag, password } = &self.credentials;
        said.ufrag.as_ref() == Some(ufrag) && said.password.as_ref() == Some(password)
    }
}

/// What makes two candidates of a section the same one (RFC 8840 §4.4).
type Key = (ComponentId, Transport, Result<SocketAddr, (Box<str>, u16)>);

fn key(candidate: &Candidate) -> Key {
    let address = match candidate.address() {
        CandidateAddress::Socket(socket) => Ok(plain(*socket)),
        CandidateAddress::Name { host, port } => Err((host.to_ascii_lowercase().into(), *port)),
    };
    (candidate.component(), candidate.transport(), address)
}
