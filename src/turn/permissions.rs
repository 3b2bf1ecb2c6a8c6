//! Permissions of an allocation, with their lifetimes (RFC 8656 §9).

use alloc::collections::BTreeMap;
use core::net::IpAddr;
use core::time::Duration;

use smallvec::SmallVec;

use super::backoff::Backoff;
use crate::config::limits;
use crate::types::{Instant, after, earliest};

/// Addresses that one CreatePermission asks for.
pub(crate) type Batch = SmallVec<[IpAddr; Permissions::MOST_AT_ONCE]>;

#[derive(Clone, Copy, Debug)]
enum PermissionState {
    Wanted,
    /// To be asked for again then.
    Later(Instant),
    Asked,
    Refused,
    /// Installed, and due for renewal then.
    Installed(Instant),
}

#[derive(Clone, Copy, Debug)]
struct Permission {
    state: PermissionState,
    /// It holds until then, whatever is asked meanwhile.
    until: Option<Instant>,
    /// A pair needs it.
    is_kept: bool,
    /// It is asked for alone: a request with others was refused.
    is_alone: bool,
    backoff: Backoff,
}

/// Which addresses may send through an allocation (RFC 8656 §9): by address, whatever the port.
#[derive(Clone, Debug, Default)]
pub(crate) struct Permissions {
    by_ip: BTreeMap<IpAddr, Permission>,
}

impl Permissions {
    /// Whether there is none.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.by_ip.is_empty()
    }

    /// How long one lasts (RFC 8656 §9).
    const LIFETIME: Duration = Duration::from_secs(300);
    /// When it is renewed: a minute early, which leaves time for all retransmissions.
    const RENEWAL: Duration = Duration::from_secs(240);
    /// Most of them; more addresses than that are refused.
    pub(crate) const MOST: usize = limits::PERMISSIONS;
    /// How long to wait at first before one is asked for again.
    const AGAIN: Duration = Duration::from_secs(1);
    /// How often one is asked for again before it is installed: 1, 2, 4 and 8 s later.
    const PATIENCE: u8 = 4;
    /// Most addresses in one request.
    pub(crate) const MOST_AT_ONCE: usize = limits::PERMISSIONS_AT_ONCE;

    /// Wants one for this address; `false` if there are too many, or it was refused.
    #[must_use]
    pub(crate) fn want(&mut self, ip: IpAddr) -> bool {
        if let Some(known) = self.by_ip.get_mut(&ip) {
            known.is_kept = true;
            return !matches!(known.state, PermissionState::Refused);
        }
        if self.by_ip.len() >= Self::MOST {
            return false;
        }
        let (state, backoff) = (PermissionState::Wanted, Backoff::default());
        let fresh = Permission { state, until: None, is_kept: true, is_alone: false, backoff };
        self.by_ip.insert(ip, fresh);
        true
    }

    /// Whether one is installed.
    pub(crate) fn holds(&self, now: Instant, ip: IpAddr) -> bool {
        self.by_ip.get(&ip).and_then(|known| known.until).is_some_and(|until| until > now)
    }

    /// Lets those lapse that nobody needs any more.
    pub(crate) fn keep_only(&mut self, mut is_needed: impl FnMut(IpAddr) -> bool) {
        self.by_ip.iter_mut().for_each(|(ip, known)| known.is_kept = is_needed(*ip));
        self.by_ip.retain(|_, known| known.is_kept || known.until.is_some());
    }

    pub(crate) fn has_wanted(&self) -> bool {
        self.by_ip.values().any(|known| matches!(known.state, PermissionState::Wanted))
    }

    /// Whether one is wanted that holds for the time being.
    pub(crate) fn has_renewal(&self) -> bool {
        self.by_ip.values().any(|known| matches!(known.state, PermissionState::Wanted) && known.until.is_some())
    }

    /// Whether one of IPv6 is the first to be asked for; `None` if none is.
    pub(crate) fn next_is_ipv6(&self) -> Option<bool> {
        let is_wanted = |known: &Permission| matches!(known.state, PermissionState::Wanted);
        self.by_ip.iter().find(|(_, known)| is_wanted(known)).map(|(ip, _)| ip.is_ipv6())
    }

    /// Addresses to ask for in one request, at most so many.
    pub(crate) fn take_wanted(&mut self, most: usize) -> Batch {
        let most = most.clamp(1, Self::MOST_AT_ONCE);
        let mut batch = Batch::new();
        for (ip, known) in &mut self.by_ip {
            if !matches!(known.state, PermissionState::Wanted) || (known.is_alone && !batch.is_empty()) {
                continue;
            }
            known.state = PermissionState::Asked;
            batch.push(*ip);
            if known.is_alone || batch.len() == most {
                break;
            }
        }
        batch
    }

    /// One was installed by a request that was sent then.
    pub(crate) fn install(&mut self, ip: IpAddr, asked_at: Instant) {
        if let Some(known) = self.by_ip.get_mut(&ip) {
            known.backoff = Backoff::default();
            known.state = PermissionState::Installed(after(asked_at, Self::RENEWAL));
            known.until = Some(after(asked_at, Self::LIFETIME));
        }
    }

    /// Asks for these again, each alone: one of them spoils the request.
    pub(crate) fn ask_alone(&mut self, ips: &[IpAddr]) {
        for ip in ips {
            if let Some(known) = self.by_ip.get_mut(ip) {
                known.state = PermissionState::Wanted;
                known.is_alone = true;
            }
        }
    }

    /// Asks for one again some time later, unless it was asked for in vain too often and is not installed; whether it is.
    #[must_use]
    pub(crate) fn postpone(&mut self, now: Instant, ip: IpAddr) -> bool {
        let holds = self.holds(now, ip);
        let Some(known) = self.by_ip.get_mut(&ip) else { return false };
        if !holds && known.backoff.failures() >= Self::PATIENCE {
            self.by_ip.remove(&ip);
            return false;
        }
        known.state = PermissionState::Later(after(now, known.backoff.next(Self::AGAIN)));
        true
    }

    /// Asks for one again for which a request had no room.
    pub(crate) fn ask_anew(&mut self, ip: IpAddr) {
        if let Some(known) = self.by_ip.get_mut(&ip) {
            known.state = PermissionState::Wanted;
        }
    }

    /// Asks for one again that is thought to be installed.
    pub(crate) fn doubt(&mut self, ip: IpAddr) {
        if let Some(known) = self.by_ip.get_mut(&ip) {
            if matches!(known.state, PermissionState::Installed(_)) {
                known.state = PermissionState::Wanted;
            }
        }
    }

    /// Nothing is known of one, so that it may be wanted again.
    pub(crate) fn forget(&mut self, ip: IpAddr) {
        self.by_ip.remove(&ip);
    }

    /// One was refused.
    pub(crate) fn refuse(&mut self, ip: IpAddr) {
        if let Some(known) = self.by_ip.get_mut(&ip) {
            known.state = PermissionState::Refused;
        }
    }

    /// Whether any is due for renewal: then is the time to say which are needed.
    pub(crate) fn is_due(&self, now: Instant) -> bool {
        self.deadline().is_some_and(|at| at <= now)
    }

    pub(crate) fn expire(&mut self, now: Instant) {
        self.by_ip.retain(|_, known| {
            known.until.take_if(|until| *until <= now);
            match known.state {
                PermissionState::Installed(renewal) if renewal <= now && known.is_kept => {
                    known.state = PermissionState::Wanted;
                    true
                }
                PermissionState::Later(at) if at <= now && known.is_kept => {
                    known.state = PermissionState::Wanted;
                    true
                }
                PermissionState::Installed(_) => known.until.is_some(),
                PermissionState::Wanted
                | PermissionState::Later(_)
                | PermissionState::Asked
                | PermissionState::Refused => known.is_kept || known.until.is_some(),
            }
        });
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        let of = |known: &Permission| match known.state {
            PermissionState::Installed(at) if known.is_kept => Some(at),
            PermissionState::Later(at) if known.is_kept => earliest(Some(at), known.until),
            PermissionState::Installed(_)
            | PermissionState::Later(_)
            | PermissionState::Wanted
            | PermissionState::Asked
            | PermissionState::Refused => known.until,
        };
        self.by_ip.values().filter_map(of).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Req: 8656-10.1-a
    #[test]
    fn addresses_share_a_request_until_one_of_them_spoils_it() {
        let mut permissions = Permissions::default();
        let ips: alloc::vec::Vec<IpAddr> = (1..=5).map(|last| IpAddr::from([192, 0, 2, last])).collect();
        assert!(ips.iter().all(|ip| permissions.want(*ip)));
        assert_eq!(permissions.take_wanted(8).as_slice(), ips);
        permissions.ask_alone(&ips);
        for ip in &ips {
            assert_eq!(permissions.take_wanted(8).as_slice(), [*ip]);
        }
        assert!(!permissions.has_wanted());
    }

    #[test]
    fn there_are_only_so_many_permissions() {
        let mut permissions = Permissions::default();
        let ip = |number: u32| IpAddr::from(number.to_be_bytes());
        assert!((0..256).all(|number| permissions.want(ip(number))));
        assert!(!permissions.want(ip(256)) && permissions.want(ip(0)));
    }
}
