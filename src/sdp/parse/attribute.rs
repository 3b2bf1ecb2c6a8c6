//! The attributes that are read.

/// The attributes that are read.
#[derive(Clone, Copy)]
pub(super) enum Attribute {
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
    pub(super) fn named(name: &str) -> Option<Self> {
        const NAMES: [(&str, Attribute); 12] = [
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
