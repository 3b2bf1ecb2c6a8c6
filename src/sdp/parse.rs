//! Reading the ICE attributes of a session description or trickle fragment (RFC 8839 §5, RFC 8840 §4.4).

use core::str::FromStr;
use core::time::Duration;

use alloc::borrow::ToOwned;
use alloc::string::String;
use alloc::vec::Vec;

use super::candidate::{ParseCandidateError, has_odd_blanks, read_address, read_port};
use super::description::{IceDescription, IceMedia, RemoteCandidate, SkippedCandidate};
use super::note::{IceNote, IceNoteKind};
use super::options::IceOptions;
use super::{BLANKS, number, strip_prefix_ignore_case, words};
use crate::candidate::Candidate;
use crate::config::limits;
use crate::types::ComponentId;

mod attribute;
mod error;
#[cfg(test)]
pub(super) mod tests;

use attribute::Attribute;
pub use error::{IceDescriptionError, ParseIceDescriptionError};

impl FromStr for IceDescription {
    type Err = ParseIceDescriptionError;

    /// Reads the ICE attributes of any SDP text; lines end with CRLF, LF or CR, and those that are not ICE are passed over.
    ///
    /// Names of attributes are taken in any case, and several spaces or tabs as one. Of a repeated attribute the last counts.
    /// A candidate line that is broken or not supported is passed over and told in [`IceMedia::skipped`]. Any other line that
    /// is wrong or has no meaning where it stands is passed over and told in [`notes`](Self::notes): it costs its section at
    /// most, and nothing if that is rejected.
    ///
    /// Candidates before the first section belong to the [only section](Self::only_section).
    ///
    /// # Errors
    /// [`ParseIceDescriptionError`] if credentials are not well-formed and no other section is left to use ICE, for more than
    /// 256 sections, for two sections with the same username fragment but different passwords, and for a candidate before the
    /// first section if there are several that it may belong to.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        read(text, Form::Description)
    }
}

/// What a text is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// A session description.
    Description,
    /// A trickle fragment, in which `mid` alone may begin a section.
    Fragment,
}

/// Reads a text of ICE.
pub(super) fn read(text: &str, form: Form) -> Result<IceDescription, ParseIceDescriptionError> {
    let mut reader = Reader::new(form);
    for (at, line) in (Lines { rest: Some(text), at: Place { line: 1, position: 0 } }) {
        reader.read_line(at, line).map_err(|reason| at.error(reason))?;
    }
    reader.finish()
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
    /// [`LooseCredentials`](IceDescriptionError::LooseCredentials),
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
            let Some(credentials) = self.credentials(media).filter(|_| !media.is_rejected()) else { continue };
            if !credentials.is_strict() {
                return Err(IceDescriptionError::LooseCredentials(index));
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

    /// Index of the first section that has the username fragment of an earlier one but not its password. Rejected ones, and
    /// those without ICE, cost nothing.
    fn differing_password(&self) -> Option<usize> {
        let mut seen = alloc::collections::BTreeMap::new();
        for (index, media) in self.media.iter().enumerate() {
            if media.is_rejected() || media.mismatch || media.has_faulty_credentials {
                continue;
            }
            if let (Some(ufrag), Some(password)) = self.ufrag_and_password(media) {
                if *seen.entry(ufrag).or_insert(password) != password {
                    return Some(index);
                }
            }
        }
        None
    }
}

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

/// The lines of a text, however they end.
struct Lines<'a> {
    rest: Option<&'a str>,
    at: Place,
}

impl<'a> Iterator for Lines<'a> {
    type Item = (Place, &'a str);

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.rest?;
        let at = self.at;
        let Some((line, after)) = rest.split_once(['\r', '\n']) else {
            self.rest = None;
            return Some((at, rest));
        };
        let is_cr = rest.as_bytes().get(line.len()) == Some(&b'\r');
        // CR and LF together are one end.
        let after = if is_cr { after.strip_prefix('\n').unwrap_or(after) } else { after };
        self.at = Place { line: at.line + 1, position: at.position + rest.len() - after.len() };
        self.rest = Some(after);
        Some((at, line))
    }
}

/// What is known of one level, the session or a section, besides what it keeps.
#[derive(Clone, Copy, Default)]
struct Level {
    /// Where it starts.
    start: Option<Place>,
    /// Where it has `ice-lite`.
    lite: Option<Place>,
    pacing: Option<(Place, Duration)>,
    /// What is wrong with its username fragment, and its password.
    faults: [Option<(Place, IceDescriptionError)>; 2],
    /// There is no `m=` line for it.
    is_implied: bool,
    /// It has more candidates than are read.
    is_full: bool,
}

struct Reader {
    form: Form,
    description: IceDescription,
    session: Level,
    sections: Vec<Level>,
    /// Candidate lines before the first section.
    outside: Vec<(Place, Result<Candidate, ParseCandidateError>)>,
    outside_mid: Option<String>,
}

impl Reader {
    fn new(form: Form) -> Self {
        let description = IceDescription { options: IceOptions::empty(), ..IceDescription::default() };
        let (session, sections, outside) = (Level::default(), Vec::new(), Vec::new());
        Self { form, description, session, sections, outside, outside_mid: None }
    }

    fn note(&mut self, at: Place, kind: IceNoteKind) {
        let media = self.description.media.len().checked_sub(1);
        self.note_of(at, media, kind);
    }

    fn note_of(&mut self, Place { line, position }: Place, media: Option<usize>, kind: IceNoteKind) {
        let description = &mut self.description;
        description.notes_count += 1;
        if description.notes.len() < limits::NOTES {
            description.notes.push(IceNote { line, position, media, kind });
        }
    }

    fn level(&mut self) -> &mut Level {
        self.sections.last_mut().unwrap_or(&mut self.session)
    }

    fn begin(&mut self, at: Place, media: IceMedia, is_implied: bool) -> Result<(), IceDescriptionError> {
        if self.description.media.len() >= IceDescription::MAX_MEDIA {
            return Err(IceDescriptionError::TooManySections(IceDescription::MAX_MEDIA));
        }
        self.description.media.push(media);
        self.sections.push(Level { start: Some(at), is_implied, ..Level::default() });
        Ok(())
    }

    fn read_line(&mut self, at: Place, line: &str) -> Result<(), IceDescriptionError> {
        let content = line.trim_start_matches(BLANKS);
        if let Some(m_line) = strip_prefix_ignore_case(content, "m=") {
            return self.begin(at, IceMedia::with_m_line(m_line), false);
        }
        let is_bare = strip_prefix_ignore_case(content, "candidate:").is_some();
        let attribute = strip_prefix_ignore_case(content, "a=").or(is_bare.then_some(content));
        let Some(attribute) = attribute.map(|attribute| attribute.trim_start_matches(BLANKS)) else { return Ok(()) };
        let (name, value) = attribute.split_once(':').unwrap_or((attribute, ""));
        let (name, value) = (name.trim_end_matches(BLANKS), value.trim_matches(BLANKS));
        if words(name).next().is_some_and(|word| word.eq_ignore_ascii_case("candidate")) {
            self.read_candidate(at, content);
            return Ok(());
        }
        let Some(attribute) = Attribute::named(name) else { return Ok(()) };
        if value.contains('\t') || value.contains("  ") {
            self.note(at, IceNoteKind::Blanks);
        }
        self.read_attribute(at, attribute, value)
    }

    fn read_candidate(&mut self, at: Place, line: &str) {
        if has_odd_blanks(line) {
            self.note(at, IceNoteKind::Blanks);
        }
        let candidate = line.parse::<Candidate>();
        let Some(index) = self.description.media.len().checked_sub(1) else {
            if self.outside.len() < IceDescription::MAX_CANDIDATES {
                self.outside.push((at, candidate));
            } else {
                let fault = IceDescriptionError::TooManyCandidates(IceDescription::MAX_CANDIDATES);
                self.note(at, IceNoteKind::Faulty(fault));
            }
            return;
        };
        self.take_candidate(at, index, candidate);
    }

    fn take_candidate(&mut self, at: Place, index: usize, candidate: Result<Candidate, ParseCandidateError>) {
        let Some((media, level)) = self.description.media.get_mut(index).zip(self.sections.get_mut(index)) else {
            return;
        };
        if media.candidates.len() + media.skipped_count >= IceDescription::MAX_CANDIDATES {
            media.skipped_count += 1;
            if !core::mem::replace(&mut level.is_full, true) {
                let fault = IceDescriptionError::TooManyCandidates(IceDescription::MAX_CANDIDATES);
                self.note_of(at, Some(index), IceNoteKind::Faulty(fault));
            }
            return;
        }
        match candidate {
            Ok(candidate) => media.candidates.push(candidate),
            Err(reason) => {
                media.skipped_count += 1;
                if media.skipped.len() < limits::SKIPPED_LINES {
                    media.skipped.push(SkippedCandidate { line: at.line, reason });
                }
            }
        }
    }

    fn read_attribute(&mut self, at: Place, attribute: Attribute, value: &str) -> Result<(), IceDescriptionError> {
        if self.description.media.is_empty() {
            self.read_session_attribute(at, attribute, value)
        } else {
            self.read_section_attribute(at, attribute, value)
        }
    }

    fn read_ufrag(&mut self, at: Place, value: &str) {
        let read = value.parse();
        let media = self.description.media.last_mut();
        let place = media.map_or(&mut self.description.ufrag, |media| &mut media.ufrag);
        let before = core::mem::replace(place, read.as_ref().ok().cloned());
        self.record_fault(at, 0, read.err().map(IceDescriptionError::Ufrag));
        self.note_repetition(at, before.is_some());
    }

    fn read_password(&mut self, at: Place, value: &str) {
        let read = value.parse();
        let media = self.description.media.last_mut();
        let place = media.map_or(&mut self.description.password, |media| &mut media.password);
        let before = core::mem::replace(place, read.as_ref().ok().cloned());
        self.record_fault(at, 1, read.err().map(IceDescriptionError::Password));
        self.note_repetition(at, before.is_some());
    }

    fn read_options(&mut self, at: Place, value: &str) {
        let media = self.description.media.last_mut();
        let place = media.map_or(&mut self.description.options, |media| &mut media.options);
        match value.parse::<IceOptions>() {
            Ok(options) => {
                let before = core::mem::replace(place, options);
                self.note_repetition(at, !before.is_empty());
            }
            Err(reason) => self.note(at, IceNoteKind::Faulty(IceDescriptionError::Options(reason))),
        }
    }

    fn read_end(&mut self) {
        let media = self.description.media.last_mut();
        *media.map_or(&mut self.description.end_of_candidates, |media| &mut media.end_of_candidates) = true;
    }

    fn note_repetition(&mut self, at: Place, is_repeated: bool) {
        if is_repeated {
            self.note(at, IceNoteKind::Repeated);
        }
    }

    fn record_fault(&mut self, at: Place, part: usize, fault: Option<IceDescriptionError>) {
        if let Some(place) = self.level().faults.get_mut(part) {
            *place = fault.map(|reason| (at, reason));
        }
        if let Some(reason) = fault {
            self.note(at, IceNoteKind::Faulty(reason));
        }
    }

    fn read_session_attribute(
        &mut self,
        at: Place,
        attribute: Attribute,
        value: &str,
    ) -> Result<(), IceDescriptionError> {
        match attribute {
            Attribute::Ufrag => self.read_ufrag(at, value),
            Attribute::Password => self.read_password(at, value),
            Attribute::Options => self.read_options(at, value),
            Attribute::EndOfCandidates => self.read_end(),
            Attribute::Lite => self.description.lite = true,
            Attribute::Pacing => match read_pacing(value) {
                Some(pacing) => {
                    if self.description.pacing.replace(pacing).is_some() {
                        self.note(at, IceNoteKind::Repeated);
                    }
                }
                None => self.note(at, IceNoteKind::Faulty(IceDescriptionError::Pacing)),
            },
            Attribute::Group => {
                let mut group = words(value);
                let is_bundle = group.next().is_some_and(|word| word.eq_ignore_ascii_case("BUNDLE"));
                if is_bundle && self.description.bundle.is_empty() {
                    self.description.bundle = group.map(ToOwned::to_owned).take(IceDescription::MAX_MEDIA).collect();
                }
            }
            Attribute::Mid if value.is_empty() => {}
            Attribute::Mid if self.form == Form::Fragment => {
                self.note(at, IceNoteKind::NoMediaLine);
                self.begin(at, IceMedia::new(value), true)?;
            }
            Attribute::Mid => {
                self.outside_mid.get_or_insert_with(|| value.to_owned());
                self.note(at, IceNoteKind::Misplaced);
            }
            Attribute::BundleOnly | Attribute::RtcpMux | Attribute::Mismatch | Attribute::RemoteCandidates => {
                self.note(at, IceNoteKind::Misplaced);
            }
        }
        Ok(())
    }

    fn read_section_attribute(
        &mut self,
        at: Place,
        attribute: Attribute,
        value: &str,
    ) -> Result<(), IceDescriptionError> {
        let is_implied = self.level().is_implied;
        let Some(media) = self.description.media.last_mut() else { return Ok(()) };
        match attribute {
            Attribute::Ufrag => self.read_ufrag(at, value),
            Attribute::Password => self.read_password(at, value),
            Attribute::Options => self.read_options(at, value),
            Attribute::EndOfCandidates => self.read_end(),
            Attribute::Mid if value.is_empty() => {}
            Attribute::Mid if is_implied => {
                self.note(at, IceNoteKind::NoMediaLine);
                self.begin(at, IceMedia::new(value), true)?;
            }
            Attribute::Mid => {
                if media.mid.replace(value.to_owned()).is_some() {
                    self.note(at, IceNoteKind::Repeated);
                }
            }
            Attribute::BundleOnly => media.bundle_only = true,
            Attribute::RtcpMux => media.rtcp_mux = true,
            Attribute::Mismatch => media.mismatch = true,
            Attribute::RemoteCandidates => match read_remote_candidates(value) {
                Some(read) => {
                    let before = core::mem::replace(&mut media.remote_candidates, read);
                    if !before.is_empty() {
                        self.note(at, IceNoteKind::Repeated);
                    }
                }
                None => self.note(at, IceNoteKind::Faulty(IceDescriptionError::RemoteCandidates)),
            },
            // Whether these are understood is seen at the end.
            Attribute::Lite => self.level().lite = Some(at),
            Attribute::Pacing => match read_pacing(value) {
                Some(pacing) => self.level().pacing = Some((at, pacing)),
                None => self.note(at, IceNoteKind::Faulty(IceDescriptionError::Pacing)),
            },
            Attribute::Group => self.note(at, IceNoteKind::Misplaced),
        }
        Ok(())
    }

    fn finish(mut self) -> Result<IceDescription, ParseIceDescriptionError> {
        self.imply_section();
        self.settle_faults();
        self.settle_lite_and_pacing();
        self.place_outside()?;
        if let Some(index) = self.description.differing_password() {
            let start = self.sections.get(index).and_then(|level| level.start);
            let start = start.unwrap_or(Place { line: 1, position: 0 });
            return Err(start.error(IceDescriptionError::PasswordDiffers(index)));
        }
        if let Some((at, reason)) = self.first_fault().filter(|_| !self.description.uses_ice()) {
            // Nothing is left of what the text is about.
            return Err(at.error(reason));
        }
        Ok(self.description)
    }

    /// Makes a section of a text without any, if it is about ICE: not everybody puts SDP around it.
    fn imply_section(&mut self) {
        let description = &self.description;
        let has_credentials = description.ufrag.is_some() || description.password.is_some();
        let has_fault = self.session.faults.iter().any(Option::is_some);
        let is_about_ice = match self.form {
            Form::Description => !self.outside.is_empty() || has_credentials || has_fault,
            Form::Fragment => !self.outside.is_empty(),
        };
        if description.media.is_empty() && is_about_ice {
            let mut media = IceMedia::without_mid();
            media.mid = self.outside_mid.take();
            self.description.media.push(media);
            self.sections.push(Level { is_implied: true, ..Level::default() });
        }
    }

    /// Lets sections do without ICE whose credentials cannot be read: neither with half of them, nor with those of the
    /// session.
    fn settle_faults(&mut self) {
        for (media, level) in self.description.media.iter_mut().zip(&self.sections) {
            if level.faults.iter().any(Option::is_some) {
                media.has_faulty_credentials = true;
                (media.ufrag, media.password) = (None, None);
            }
        }
    }

    fn first_fault(&self) -> Option<(Place, IceDescriptionError)> {
        let of_sections = self.description.media.iter().zip(&self.sections);
        let active = of_sections.filter(|(media, _)| !media.is_rejected()).map(|(_, level)| level);
        core::iter::once(&self.session).chain(active).flat_map(|level| level.faults).flatten().next()
    }

    /// Understands `ice-lite` in all sections, and `ice-pacing` in any, that are not rejected.
    fn settle_lite_and_pacing(&mut self) {
        let of_sections = self.description.media.iter().zip(&self.sections);
        let active: Vec<Level> =
            of_sections.filter(|(media, _)| !media.is_rejected()).map(|(_, level)| *level).collect();
        if !self.description.lite && !active.is_empty() && active.iter().all(|level| level.lite.is_some()) {
            self.description.lite = true;
            if let Some(at) = active.first().and_then(|level| level.lite) {
                self.note_of(at, Some(0), IceNoteKind::LiteInSections);
            }
        } else {
            for (index, level) in self.sections.clone().into_iter().enumerate() {
                if let Some(at) = level.lite {
                    self.note_of(at, Some(index), IceNoteKind::Misplaced);
                }
            }
        }
        let largest = active.iter().filter_map(|level| level.pacing).max_by_key(|(_, pacing)| *pacing);
        if let Some((at, pacing)) = largest {
            let is_known = self.description.pacing.is_some();
            self.description.pacing.get_or_insert(pacing);
            let kind = if is_known { IceNoteKind::Misplaced } else { IceNoteKind::PacingInSections };
            self.note_of(at, None, kind);
        }
    }

    /// Gives the candidates before the first section to the one that they can only be of.
    fn place_outside(&mut self) -> Result<(), ParseIceDescriptionError> {
        let outside = core::mem::take(&mut self.outside);
        let Some((first, _)) = outside.first() else { return Ok(()) };
        let Some(index) = self.description.only_section() else {
            return Err(first.error(IceDescriptionError::CandidateOutside));
        };
        let is_implied = self.sections.get(index).is_some_and(|level| level.is_implied);
        // They come first, as in the text.
        let own = self.description.media.get_mut(index).map(|media| core::mem::take(&mut media.candidates));
        for (at, candidate) in outside {
            if !is_implied {
                self.note_of(at, None, IceNoteKind::CandidateOutside);
            }
            self.take_candidate(at, index, candidate);
        }
        let at = Place { line: 1, position: 0 };
        own.into_iter().flatten().for_each(|candidate| self.take_candidate(at, index, Ok(candidate)));
        Ok(())
    }
}

/// Milliseconds: 1 to 10 digits (RFC 8839 §5.5).
fn read_pacing(value: &str) -> Option<Duration> {
    number(value, 10).map(Duration::from_millis)
}

/// Reads triples of component, address and port; `None` if there are none, or a component comes twice.
fn read_remote_candidates(value: &str) -> Option<Vec<RemoteCandidate>> {
    let mut words = words(value);
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
