//! What a session description says about ICE, and how to write it (RFC 8839 §5).
//!
//! An SDP text has a session part and then one section per `m=` line. Most ICE attributes may stand in either, and the
//! one of the section wins (RFC 8839 §5.4). [`IceDescription`] keeps each attribute where it was found; the questions
//! that matter, such as which credentials a section has, are its methods. Reading is in `parse.rs`, and comparing two
//! descriptions in `update.rs`.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use super::candidate::{Host, ParseCandidateError, read_port};
use super::note::IceNote;
use super::options::IceOptions;
use super::{BLANKS, is_word, is_word_or_empty, words};
use crate::candidate::{Candidate, CandidateAddress};
use crate::config::limits;
use crate::credentials::{Credentials, Password, Ufrag};
use crate::types::ComponentId;
use crate::types::address::plain;

/// The ICE attributes of a whole session description (RFC 8839 §5).
///
/// It is read from any SDP text with [`str::parse`], which passes over all that is not ICE. To write one, print
/// [`session_attributes`](Self::session_attributes) before the first `m=` line and
/// [`IceMedia::attributes`] in each section.
///
/// ```
/// use nilas::IceDescription;
///
/// let text = "v=0\r\na=ice-options:ice2 trickle\r\nm=audio 9 RTP/AVP 0\r\na=mid:0\r\na=ice-ufrag:8hhY\r\n\
///             a=ice-pwd:asd88fgpdd777uzjYhagZg\r\na=candidate:1 1 UDP 2130706431 192.0.2.1 5010 typ host\r\n";
/// let description: IceDescription = text.parse()?;
/// let media = description.media_by_mid("0").expect("there is such a section");
/// assert!(description.trickle());
/// assert_eq!(description.credentials(media).expect("it uses ICE").ufrag.as_str(), "8hhY");
/// assert_eq!(media.candidates.len(), 1);
/// # Ok::<(), nilas::ParseIceDescriptionError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct IceDescription {
    /// Whether the agent is a lite one: `ice-lite` (RFC 8839 §5.3).
    pub lite: bool,
    /// Username fragment of the sections that have none of their own: `ice-ufrag` (RFC 8839 §5.4).
    pub ufrag: Option<Ufrag>,
    /// Password of the sections that have none of their own: `ice-pwd` (RFC 8839 §5.4).
    pub password: Option<Password>,
    /// What the agent supports in all sections: `ice-options`, empty if a text has no such attribute (RFC 8839 §5.6).
    pub options: IceOptions,
    /// The Ta that the agent wants: `ice-pacing`, in whole milliseconds (RFC 8839 §5.5). `None` means 50 ms.
    pub pacing: Option<Duration>,
    /// Whether no more candidates come in any section: `end-of-candidates` (RFC 8840 §8.2).
    pub end_of_candidates: bool,
    /// The sections that share one transport: `mid`s of the first `group:BUNDLE` attribute, at most 256 (RFC 9143 §7.1).
    pub bundle: Vec<String>,
    /// The sections, one per `m=` line, in their order. A text of ICE without any `m=` line, as some signal it without SDP
    /// around it, is one section.
    pub media: Vec<IceMedia>,
    /// The first 64 things to be said of lines when a text was read: faults that cost a line or a section, and what was
    /// understood though the RFCs do not have it so. Candidates that were passed over are in [`IceMedia::skipped`].
    pub notes: Vec<IceNote>,
    /// How many such things there were.
    pub notes_count: usize,
}

/// The ICE attributes of one media section of a session description (RFC 8839 §5).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct IceMedia {
    /// What follows `m=`. By default `audio 9 RTP/AVP 0`, which a trickle fragment has if the real one is not known
    /// (RFC 8840 §4.4).
    pub m_line: String,
    /// Identification of the section: `mid` (RFC 5888 §4).
    pub mid: Option<String>,
    /// Whether port 0 does not mean that the section is rejected: `bundle-only` (RFC 9143 §6).
    pub bundle_only: bool,
    /// Whether RTP and RTCP share component 1: `rtcp-mux` (RFC 5761 §5.1.1).
    pub rtcp_mux: bool,
    /// Username fragment, if the section has one of its own: `ice-ufrag` (RFC 8839 §5.4).
    pub ufrag: Option<Ufrag>,
    /// Password, if the section has one of its own: `ice-pwd` (RFC 8839 §5.4).
    pub password: Option<Password>,
    /// What the agent supports in this section in addition: `ice-options` (RFC 8839 §5.6).
    pub options: IceOptions,
    /// Whether its credentials cannot be read, so that it does without ICE; which line is wrong is in
    /// [`IceDescription::notes`].
    pub has_faulty_credentials: bool,
    /// Whether the answerer does not run ICE for it since candidates did not match: `ice-mismatch` (RFC 8839 §5.3).
    pub mismatch: bool,
    /// The candidates in their order: `candidate` (RFC 8839 §5.1).
    pub candidates: Vec<Candidate>,
    /// The remote candidates in use, one per component: `remote-candidates` (RFC 8839 §5.2).
    pub remote_candidates: Vec<RemoteCandidate>,
    /// Whether no more candidates come in this section: `end-of-candidates` (RFC 8840 §8.2).
    pub end_of_candidates: bool,
    /// The first 16 candidate lines that were passed over when a text was read.
    pub skipped: Vec<SkippedCandidate>,
    /// How many candidate lines were passed over.
    pub skipped_count: usize,
}

/// One entry of a `remote-candidates` attribute: the remote address that a component uses (RFC 8839 §5.2).
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "RFC 8839 closes the set")]
pub struct RemoteCandidate {
    /// The component.
    pub component: ComponentId,
    /// The address and port.
    pub address: CandidateAddress,
}

/// A candidate line that was passed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SkippedCandidate {
    /// Number of the line, from 1 on.
    pub line: usize,
    /// What is wrong with it; positions are within the line.
    pub reason: ParseCandidateError,
}

impl IceDescription {
    /// The Ta of an agent that does not say otherwise: 50 ms (RFC 8839 §5.5).
    pub const DEFAULT_TA: Duration = Duration::from_millis(50);
    /// Most sections that are read: 256.
    pub const MAX_MEDIA: usize = limits::MEDIA_SECTIONS;
    /// Most candidates that are read per section, those passed over included: 1000.
    pub const MAX_CANDIDATES: usize = limits::LISTED_CANDIDATES;

    /// The same with these credentials for all sections that have none of their own.
    #[must_use]
    pub fn with_credentials(mut self, credentials: &Credentials) -> Self {
        self.ufrag = Some(credentials.ufrag.clone());
        self.password = Some(credentials.password.clone());
        self
    }

    /// The section with this identification; the first, if several have it.
    #[must_use]
    pub fn media_by_mid(&self, mid: &str) -> Option<&IceMedia> {
        self.media.iter().find(|media| media.mid.as_deref() == Some(mid))
    }

    /// Credentials of a section: its own username fragment and password, else those of the session (RFC 8839 §5.4).
    ///
    /// `None` means that the section does not use ICE: either is missing or cannot be read, or `ice-mismatch` is there.
    #[must_use]
    pub fn credentials(&self, media: &IceMedia) -> Option<Credentials> {
        if media.mismatch || media.has_faulty_credentials {
            return None;
        }
        let (ufrag, password) = self.ufrag_and_password(media);
        Some(Credentials { ufrag: ufrag?.clone(), password: password?.clone() })
    }

    /// The faults among the notes: lines that were passed over.
    pub fn faults(&self) -> impl Iterator<Item = &IceNote> {
        self.notes.iter().filter(|note| note.is_fault())
    }

    /// Index of the section that something belongs to which names none: the only one, or the one that bundles all others
    /// (RFC 9143 §7.2). Only sections that use ICE count, unless there are none.
    ///
    /// `None` if there are several transports, or no section.
    #[must_use]
    pub fn only_section(&self) -> Option<usize> {
        let usable = |media: &IceMedia| !media.is_rejected() && !media.mismatch && !media.has_faulty_credentials;
        let indices = |keep: &dyn Fn(&IceMedia) -> bool| -> Vec<usize> {
            self.media.iter().enumerate().filter(|(_, media)| keep(media)).map(|(index, _)| index).collect()
        };
        let mut open = indices(&|media| usable(media) && self.credentials(media).is_some());
        if open.is_empty() {
            open = indices(&usable);
        }
        if let [only] = open.as_slice() {
            return Some(*only);
        }
        let mid = |index: usize| self.media.get(index).and_then(|media| media.mid.as_ref());
        let is_member = |index: &usize| mid(*index).is_none_or(|mid| self.bundle.contains(mid));
        if self.bundle.is_empty() || !open.iter().all(is_member) {
            return None;
        }
        let tagged = self.bundle.iter().find_map(|tag| open.iter().copied().find(|index| mid(*index) == Some(tag)));
        tagged.or(open.first().copied())
    }

    /// Whether the agent supports this extension of ICE in this section.
    #[must_use]
    pub fn has_option(&self, media: &IceMedia, token: &str) -> bool {
        self.options.contains(token) || media.options.contains(token)
    }

    /// Whether the agent trickles: `trickle` for the session, or in every section that is not rejected (RFC 8838 §3).
    #[must_use]
    pub fn trickle(&self) -> bool {
        self.has_everywhere(IceOptions::TRICKLE)
    }

    /// Whether the agent obeys RFC 8445: `ice2` for the session, or in every section that is not rejected. If not, it
    /// may nominate aggressively as RFC 5245 allows (RFC 8839 §4.2.5).
    #[must_use]
    pub fn ice2(&self) -> bool {
        self.has_everywhere(IceOptions::ICE2)
    }

    /// Whether ICE is used at all: some section that is not rejected has credentials and no `ice-mismatch`. An answer where
    /// it is not ends ICE for the session; one where single sections do without ends it for those
    /// ([`Agent::remove_stream`](crate::Agent::remove_stream), RFC 8839 §4.3.3).
    #[must_use]
    pub fn uses_ice(&self) -> bool {
        self.media.iter().any(|media| !media.is_rejected() && self.credentials(media).is_some())
    }

    /// Whether no more candidates come in this section (RFC 8840 §8.2).
    #[must_use]
    pub fn has_ended(&self, media: &IceMedia) -> bool {
        self.end_of_candidates || media.end_of_candidates
    }

    /// The Ta that the agent wants: its `ice-pacing`, or 50 ms (RFC 8839 §5.5).
    #[must_use]
    pub fn ta(&self) -> Duration {
        self.pacing.unwrap_or(Self::DEFAULT_TA)
    }

    /// The Ta that both use: the larger of what this one and the other want (RFC 8445 §14.2, RFC 8839 §5.5).
    #[must_use]
    pub fn agreed_ta(&self, other: &Self) -> Duration {
        self.ta().max(other.ta())
    }

    /// The ICE attributes that stand before the first `m=` line, each as a line that ends with CRLF.
    ///
    /// `ice-pacing` is written if it is set, except for a lite agent, which must not have it (RFC 8839 §5.5).
    #[must_use]
    pub fn session_attributes(&self) -> impl fmt::Display {
        Session(self)
    }

    pub(super) fn ufrag_and_password<'a>(&'a self, media: &'a IceMedia) -> (Option<&'a Ufrag>, Option<&'a Password>) {
        (media.ufrag.as_ref().or(self.ufrag.as_ref()), media.password.as_ref().or(self.password.as_ref()))
    }

    pub(super) fn has_everywhere(&self, token: &str) -> bool {
        let mut sections = self.media.iter().filter(|media| !media.is_rejected()).peekable();
        self.options.contains(token) || sections.peek().is_some() && sections.all(|media| media.options.contains(token))
    }
}

impl IceMedia {
    /// A section with this identification and nothing else.
    #[must_use]
    pub fn new(mid: &str) -> Self {
        Self { mid: Some(mid.into()), ..Self::with_m_line(DEFAULT_M_LINE) }
    }

    /// The same with credentials of its own.
    #[must_use]
    pub fn with_credentials(mut self, credentials: &Credentials) -> Self {
        self.ufrag = Some(credentials.ufrag.clone());
        self.password = Some(credentials.password.clone());
        self
    }

    /// A section that is not identified yet.
    pub(crate) fn without_mid() -> Self {
        Self::with_m_line(DEFAULT_M_LINE)
    }

    /// Whether the default destination of a component, of the `m=` and `c=` lines or `rtcp`, is one of its candidates. If
    /// not, something between the agents has changed it, and ICE may be left out for the section with `ice-mismatch`
    /// (RFC 8839 §4.2.5). 0.0.0.0 and `::` with port 9, and names, always match.
    #[must_use]
    pub fn matches_default(&self, component: ComponentId, default: &CandidateAddress) -> bool {
        let Some(address) = default.socket().map(plain) else { return true };
        if address.ip().is_unspecified() && address.port() == 9 {
            return true;
        }
        let mut candidates = self.candidates.iter().filter(|candidate| candidate.component() == component);
        candidates.any(|candidate| candidate.socket_address().map(plain) == Some(address))
    }

    pub(super) fn with_m_line(m_line: &str) -> Self {
        Self {
            m_line: m_line.into(),
            mid: None,
            bundle_only: false,
            rtcp_mux: false,
            ufrag: None,
            password: None,
            options: IceOptions::empty(),
            has_faulty_credentials: false,
            mismatch: false,
            candidates: Vec::new(),
            remote_candidates: Vec::new(),
            end_of_candidates: false,
            skipped: Vec::new(),
            skipped_count: 0,
        }
    }

    /// The port of the `m=` line; `None` if it has none that can be read.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        let port = words(&self.m_line).nth(1)?;
        read_port(port.split_once('/').map_or(port, |(port, _)| port))
    }

    /// Whether the section is rejected or removed: port 0 without `bundle-only` (RFC 3264 §6, RFC 9143 §6).
    #[must_use]
    pub fn is_rejected(&self) -> bool {
        self.port() == Some(0) && !self.bundle_only
    }

    /// The ICE attributes that stand in the section, each as a line that ends with CRLF; `mid` is not among them.
    ///
    /// A rejected section, and one with `ice-mismatch`, is written without candidates (RFC 8839 §4.2.1, §4.2.5). One whose
    /// credentials cannot be read is written as one with `ice-mismatch`: it does without ICE, whatever stands before it.
    #[must_use]
    pub fn attributes(&self) -> impl fmt::Display {
        Section { media: self, with_candidates: !self.is_rejected() && !self.is_without_ice() }
    }

    /// Whether it says that it does without ICE, or nothing else can be read in it.
    const fn is_without_ice(&self) -> bool {
        self.mismatch || self.has_faulty_credentials
    }

    /// The same for a trickle fragment, where the `m=` line means nothing.
    pub(super) fn fragment_attributes(&self) -> impl fmt::Display {
        Section { media: self, with_candidates: true }
    }
}

/// The `m=` line of a trickle fragment where the real one is not known (RFC 8840 §4.4).
const DEFAULT_M_LINE: &str = "audio 9 RTP/AVP 0";

/// The same of a section that is rejected.
const REJECTED_M_LINE: &str = "audio 0 RTP/AVP 0";

/// Most milliseconds that 10 digits hold.
const MAX_PACING_MS: u128 = 9_999_999_999;

struct Session<'a>(&'a IceDescription);

impl fmt::Display for Session<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let IceDescription { lite, ufrag, password, options, pacing, end_of_candidates, .. } = self.0;
        if *lite {
            f.write_str("a=ice-lite\r\n")?;
        }
        write_credentials(f, ufrag.as_ref(), password.as_ref())?;
        write_options(f, options)?;
        if let (Some(pacing), false) = (pacing, lite) {
            write!(f, "a=ice-pacing:{}\r\n", pacing.as_millis().min(MAX_PACING_MS))?;
        }
        if *end_of_candidates {
            f.write_str(END_OF_CANDIDATES)?;
        }
        Ok(())
    }
}

struct Section<'a> {
    media: &'a IceMedia,
    with_candidates: bool,
}

impl fmt::Display for Section<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let media = self.media;
        write_credentials(f, media.ufrag.as_ref(), media.password.as_ref())?;
        write_options(f, &media.options)?;
        if media.is_without_ice() {
            f.write_str("a=ice-mismatch\r\n")?;
        }
        if !self.with_candidates {
            return Ok(());
        }
        for candidate in &media.candidates {
            write!(f, "a={candidate}\r\n")?;
        }
        for (index, RemoteCandidate { component, address }) in media.remote_candidates.iter().enumerate() {
            f.write_str(if index == 0 { "a=remote-candidates:" } else { " " })?;
            write!(f, "{component} {} {}", Host(address), address.port())?;
        }
        if !media.remote_candidates.is_empty() {
            f.write_str("\r\n")?;
        }
        if media.end_of_candidates {
            f.write_str(END_OF_CANDIDATES)?;
        }
        Ok(())
    }
}

const END_OF_CANDIDATES: &str = "a=end-of-candidates\r\n";

fn write_credentials(f: &mut fmt::Formatter<'_>, ufrag: Option<&Ufrag>, password: Option<&Password>) -> fmt::Result {
    if let Some(password) = password {
        write!(f, "a=ice-pwd:{}\r\n", password.expose())?;
    }
    if let Some(ufrag) = ufrag {
        write!(f, "a=ice-ufrag:{ufrag}\r\n")?;
    }
    Ok(())
}

fn write_options(f: &mut fmt::Formatter<'_>, options: &IceOptions) -> fmt::Result {
    if options.is_empty() { Ok(()) } else { write!(f, "a=ice-options:{options}\r\n") }
}

/// Writes what stands before the ICE attributes of a section in a trickle fragment: `m=`, `mid`, `rtcp-mux`.
///
/// Text with line ends would become attributes of its own, and is replaced or left out.
pub(super) fn write_section_head(f: &mut fmt::Formatter<'_>, media: &IceMedia) -> fmt::Result {
    let fits = media.m_line.split(BLANKS).all(is_word_or_empty);
    let default = if media.is_rejected() { REJECTED_M_LINE } else { DEFAULT_M_LINE };
    write!(f, "m={}\r\n", if fits { media.m_line.as_str() } else { default })?;
    if let Some(mid) = media.mid.as_deref().filter(|mid| is_word(mid)) {
        write!(f, "a=mid:{mid}\r\n")?;
    }
    if media.rtcp_mux {
        f.write_str("a=rtcp-mux\r\n")?;
    }
    Ok(())
}
