//! Nominating again (two drafts).

/// How a controlling agent may change its mind: it nominates another pair of a component, with a higher value, and both
/// sides move to it. Both have to list the option (RFC 8839 §5.6); otherwise a component is nominated once (RFC 8445 §8.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Renomination {
    /// draft-thatcher-ice-renomination-01, option `renomination`: a value of 24 bits in the attribute that libwebrtc uses.
    /// The largest value counts, and among nominations without one the last.
    Draft2016,
    /// draft-thatcher-tsvwg-renomination, option `renomination2`: the attribute NOMINATION with a value of 32 bits, of which
    /// only one above all before counts.
    Draft2026,
}
