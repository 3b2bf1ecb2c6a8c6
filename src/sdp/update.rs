//! What a later description changes against an earlier one (RFC 8839 §4.4).

use alloc::vec::Vec;

use super::description::{IceDescription, IceMedia};
use crate::credentials::Credentials;

/// How the credentials of a section differ from those of an earlier description (RFC 8839 §4.4.1.1.1).
///
/// Whoever restarts ICE changes both values. On receipt a change of either counts as a restart, as it did in RFC 5245
/// §9.2.1.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "these are all cases")]
pub enum CredentialsChange {
    /// Both are the same, or there were none and are none.
    Unchanged,
    /// Both differ: an ICE restart.
    Restart,
    /// Only the username fragment differs: an ICE restart by a peer that makes a mistake.
    OnlyUfrag,
    /// Only the password differs: an ICE restart by a peer that makes a mistake. Candidates and ends of candidates name their
    /// generation by the username fragment alone, so that late ones of the earlier generation cannot be told apart.
    OnlyPassword,
    /// There were none before: ICE starts.
    Started,
    /// There are none any more: ICE ends for the section (RFC 8839 §4.4.3.1).
    Stopped,
}

impl CredentialsChange {
    /// What changed from the earlier to the later credentials, where `None` means no ICE.
    #[must_use]
    pub fn between(earlier: Option<&Credentials>, later: Option<&Credentials>) -> Self {
        match (earlier, later) {
            (None, None) => Self::Unchanged,
            (None, Some(_)) => Self::Started,
            (Some(_), None) => Self::Stopped,
            (Some(earlier), Some(later)) => match (earlier.ufrag == later.ufrag, earlier.password == later.password) {
                (true, true) => Self::Unchanged,
                (false, false) => Self::Restart,
                (false, true) => Self::OnlyUfrag,
                (true, false) => Self::OnlyPassword,
            },
        }
    }

    /// Whether it asks for an ICE restart.
    #[must_use]
    pub const fn is_restart(self) -> bool {
        matches!(self, Self::Restart | Self::OnlyUfrag | Self::OnlyPassword)
    }

    /// Whether it asks for an ICE restart but leaves one of the two values as it was, which is worth a warning.
    #[must_use]
    pub const fn is_incomplete(self) -> bool {
        matches!(self, Self::OnlyUfrag | Self::OnlyPassword)
    }
}

/// How an answer contradicts its offer (RFC 9429 §5.10).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AnswerError {
    /// The offer restarts this section, and the answer does not; counted from 0.
    #[error("the answer leaves the credentials of section {0} as they were, which the offer restarts")]
    RestartIgnored(usize),
    /// The answer restarts this section, and the offer does not; counted from 0.
    #[error("the answer changes the credentials of section {0}, which the offer does not restart")]
    UnaskedRestart(usize),
}

impl IceDescription {
    /// What changed in the credentials of each section, in the order of the sections (RFC 8839 §4.4.1.1.1).
    ///
    /// It does not matter at which level the values stand, so moving them between session and section is no change. A
    /// section is compared with the one of the same `mid` in the earlier description, or without `mid` with the one at
    /// the same place. A rejected section counts as one without ICE.
    ///
    /// In an answer to a restart, a section that is [`Unchanged`](CredentialsChange::Unchanged) is an error of the peer.
    #[must_use]
    pub fn changes_since(&self, earlier: &Self) -> Vec<CredentialsChange> {
        let changes = self.media.iter().enumerate().map(|(index, media)| {
            let before = self.counterpart(index, media, earlier).and_then(|media| earlier.active_credentials(media));
            CredentialsChange::between(before.as_ref(), self.active_credentials(media).as_ref())
        });
        changes.collect()
    }

    /// Checks this answer against the offer that it answers, each with the description of the same side before it: a section
    /// restarts on both sides or on none (RFC 9429 §5.10).
    ///
    /// Sections that one of the two does not have, has rejected, or begins ICE in are passed over.
    ///
    /// # Errors
    /// * [`RestartIgnored`](AnswerError::RestartIgnored) if the offer restarts a section and the answer leaves its credentials
    ///   as they were.
    /// * [`UnaskedRestart`](AnswerError::UnaskedRestart) if the answer changes credentials of a section that the offer leaves
    ///   as they were.
    pub fn check_answer(&self, before: &Self, offer: &Self, offer_before: &Self) -> Result<(), AnswerError> {
        let offered = offer.changes_since(offer_before);
        for (section, (answered, offered)) in self.changes_since(before).into_iter().zip(offered).enumerate() {
            match (offered.is_restart(), answered) {
                (true, CredentialsChange::Unchanged) => return Err(AnswerError::RestartIgnored(section)),
                (false, answered) if answered.is_restart() && offered == CredentialsChange::Unchanged => {
                    return Err(AnswerError::UnaskedRestart(section));
                }
                (true | false, _) => {}
            }
        }
        Ok(())
    }

    /// Whether `ice-lite`, the Ta that is wanted, or the options of some section differ from the earlier description.
    ///
    /// They may do so only together with an ICE restart (RFC 8839 §4.4.1.1.1), but not every peer sticks to that.
    #[must_use]
    pub fn settings_changed_since(&self, earlier: &Self) -> bool {
        self.lite != earlier.lite
            || self.ta() != earlier.ta()
            || self.media.iter().enumerate().any(|(index, media)| {
                self.counterpart(index, media, earlier).is_some_and(|before| !self.same_options(media, earlier, before))
            })
    }

    fn counterpart<'a>(&self, index: usize, media: &IceMedia, earlier: &'a Self) -> Option<&'a IceMedia> {
        match &media.mid {
            Some(mid) => earlier.media_by_mid(mid),
            None => earlier.media.get(index),
        }
    }

    fn active_credentials(&self, media: &IceMedia) -> Option<Credentials> {
        if media.is_rejected() { None } else { self.credentials(media) }
    }

    fn same_options(&self, media: &IceMedia, earlier: &Self, before: &IceMedia) -> bool {
        let within = |a: &Self, a_media: &IceMedia, b: &Self, b_media: &IceMedia| {
            a.options.tokens().chain(a_media.options.tokens()).all(|token| b.has_option(b_media, token))
        };
        within(self, media, earlier, before) && within(earlier, before, self, media)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;
    use alloc::string::String;
    use alloc::vec;

    const A: &str = "a=ice-ufrag:aaaa\na=ice-pwd:aaaaaaaaaaaaaaaaaaaaaa\n";
    const B: &str = "a=ice-ufrag:bbbb\na=ice-pwd:bbbbbbbbbbbbbbbbbbbbbb\n";

    fn description(session: &str, media: &[&str]) -> IceDescription {
        let mut text = String::from(session);
        for (index, attributes) in media.iter().enumerate() {
            text += &format!("m=audio 9 RTP/AVP 0\na=mid:{index}\n{attributes}");
        }
        text.parse().unwrap()
    }

    /// Req: 8839-4.4.1-a
    #[test]
    fn moving_the_same_credentials_to_another_level_is_no_restart() {
        let at_session = description(A, &["", ""]);
        let at_media = description("", &[A, A]);
        assert_eq!(at_media.changes_since(&at_session), [CredentialsChange::Unchanged; 2]);
        assert_eq!(at_session.changes_since(&at_media), [CredentialsChange::Unchanged; 2]);
    }

    /// ICE that is gone from a section is seen, and when it comes again it begins anew, as a restart does.
    ///
    /// Req: 8839-4.4.1-a
    /// Req: 8839-4.4.3-b
    #[test]
    fn changing_both_values_is_a_restart_and_changing_one_is_an_incomplete_one() {
        let before = description("", &[A, A, A, A, "", ""]);
        let ufrag = "a=ice-ufrag:cccc\na=ice-pwd:aaaaaaaaaaaaaaaaaaaaaa\n";
        let password = "a=ice-ufrag:dddd\na=ice-pwd:bbbbbbbbbbbbbbbbbbbbbb\n";
        let after = description("", &[B, A, ufrag, "", A, ""]);
        let changes = after.changes_since(&before);
        use CredentialsChange::{OnlyPassword, OnlyUfrag, Restart, Started, Stopped, Unchanged};
        assert_eq!(changes, vec![Restart, Unchanged, OnlyUfrag, Stopped, Started, Unchanged]);
        assert_eq!(description("", &[password]).changes_since(&description("", &[B])), [OnlyUfrag]);
        let same_ufrag = "a=ice-ufrag:aaaa\na=ice-pwd:bbbbbbbbbbbbbbbbbbbbbb\n";
        assert_eq!(description("", &[same_ufrag]).changes_since(&description("", &[A])), [OnlyPassword]);
        assert!(Restart.is_restart() && OnlyUfrag.is_restart() && OnlyPassword.is_restart());
        assert!(!Unchanged.is_restart() && !Started.is_restart() && !Stopped.is_restart());
        assert!(OnlyUfrag.is_incomplete() && !Restart.is_incomplete());
    }

    /// Req: 8839-4.4.1-c
    #[test]
    fn a_hold_style_address_is_no_restart() {
        let before = description(A, &["c=IN IP4 192.0.2.1\n"]);
        let after = description(A, &["c=IN IP4 0.0.0.0\n"]);
        assert_eq!(after.changes_since(&before), [CredentialsChange::Unchanged]);
    }

    #[test]
    fn sections_are_found_by_mid_and_rejected_ones_are_without_ice() {
        let before: IceDescription = format!("m=audio 9 x 0\na=mid:x\n{A}m=audio 9 x 0\na=mid:y\n{B}").parse().unwrap();
        let swapped: IceDescription =
            format!("m=audio 9 x 0\na=mid:y\n{B}m=audio 0 x 0\na=mid:x\n{A}").parse().unwrap();
        assert_eq!(swapped.changes_since(&before), [CredentialsChange::Unchanged, CredentialsChange::Stopped]);
    }

    /// An answerer that is strict rejects an offer of which this is true and that restarts nothing.
    ///
    /// Req: 8839-4.4.1-b
    #[test]
    fn a_change_of_options_pacing_or_lite_is_seen() {
        let before = description(A, &["a=ice-options:ice2 trickle\n"]);
        assert!(!description(&format!("{B}a=ice-options:trickle ice2\n"), &[""]).settings_changed_since(&before));
        assert!(description(A, &["a=ice-options:ice2\n"]).settings_changed_since(&before));
        assert!(description(A, &["a=ice-options:ice2 trickle x\n"]).settings_changed_since(&before));
        assert!(
            description(&format!("{A}a=ice-lite\n"), &["a=ice-options:ice2 trickle\n"]).settings_changed_since(&before)
        );
        let same = description(&format!("{A}a=ice-pacing:50\n"), &["a=ice-options:ice2 trickle\n"]);
        assert!(!same.settings_changed_since(&before));
        let faster = description(&format!("{A}a=ice-pacing:20\n"), &["a=ice-options:ice2 trickle\n"]);
        assert!(faster.settings_changed_since(&before));
    }

    /// Req: 9429-5.10-a
    #[test]
    fn an_answer_restarts_what_the_offer_restarts_and_nothing_else() {
        let (a, b) = (description("", &[A, A]), description("", &[A, B]));
        let one = description("", &[A]);
        assert_eq!(b.check_answer(&a, &b, &a), Ok(()));
        assert_eq!(a.check_answer(&a, &a, &a), Ok(()));
        assert_eq!(a.check_answer(&a, &b, &a), Err(AnswerError::RestartIgnored(1)));
        assert_eq!(b.check_answer(&a, &a, &a), Err(AnswerError::UnaskedRestart(1)));
        // A change of one of the two values counts as a restart, on either side.
        let half = description("", &[A, "a=ice-ufrag:cccc\na=ice-pwd:aaaaaaaaaaaaaaaaaaaaaa\n"]);
        assert_eq!(half.check_answer(&a, &b, &a), Ok(()));
        assert_eq!(half.check_answer(&a, &a, &a), Err(AnswerError::UnaskedRestart(1)));
        assert_eq!(b.check_answer(&one, &a, &one), Ok(()), "what begins is no restart");
    }
}
