//! What is said of lines that are not as they should be.

use core::fmt;

use super::parse::IceDescriptionError;

/// Something about a line of a text that is worth a line in a log: it was understood though it is not as the RFCs have it, or
/// it was passed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct IceNote {
    /// Number of the line, from 1 on.
    pub line: usize,
    /// Where that line starts, in bytes from the start of the text.
    pub position: usize,
    /// Index of its section; `None` if it stands before the first one.
    pub media: Option<usize>,
    /// What is to be said of it.
    pub kind: IceNoteKind,
}

/// What is to be said of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum IceNoteKind {
    /// It is wrong, and was passed over. Faulty credentials cost their section, which does without ICE; other faults cost only
    /// the line.
    Faulty(IceDescriptionError),
    /// There are other blanks in it than single spaces. It was understood.
    Blanks,
    /// `ice-lite` stands in every section and not before them. It was understood (RFC 8839 §5.3).
    LiteInSections,
    /// `ice-pacing` stands in a section and not before them. The largest value was taken (RFC 8839 §5.5).
    PacingInSections,
    /// An attribute stands where it has no meaning, and was passed over.
    Misplaced,
    /// An attribute is repeated. The last one counts.
    Repeated,
    /// A candidate stands before the first section. It was taken for one of the only section, or of that which bundles all.
    CandidateOutside,
    /// There is no `m=` line before a `mid`. A section was taken to begin there.
    NoMediaLine,
}

impl IceNote {
    /// Whether the line was passed over.
    #[must_use]
    pub const fn is_fault(&self) -> bool {
        matches!(self.kind, IceNoteKind::Faulty(_) | IceNoteKind::Misplaced)
    }
}

impl fmt::Display for IceNote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.kind)
    }
}

impl fmt::Display for IceNoteKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Faulty(reason) => return reason.fmt(f),
            Self::Blanks => "other blanks than single spaces",
            Self::LiteInSections => "ice-lite in every section",
            Self::PacingInSections => "ice-pacing in a section",
            Self::Misplaced => "an attribute where it has no meaning",
            Self::Repeated => "a repeated attribute",
            Self::CandidateOutside => "a candidate before the first media section",
            Self::NoMediaLine => "a mid without a media line",
        })
    }
}
