//! Why a host could not send.

/// What an error of a host says when it could not send a datagram: whether it speaks of the host itself or of what is
/// behind it. Given to [`Agent::handle_send_failure`](crate::Agent::handle_send_failure).
///
/// What says neither, for example that a buffer is full or a datagram too long, is no failure of the path, and is not told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SendFailure {
    /// The interface or the address that it was to leave from is gone: nobody outside can have made that up.
    Local,
    /// A network, host or port does not take it. That comes from an ICMP message, which anybody can forge, or looks as if
    /// it did.
    Unreachable,
}

#[cfg(feature = "std")]
impl SendFailure {
    /// Reads the error of an operating system, as the table in [`guide::liveness`](crate::guide::liveness) has it; `None` for
    /// an error that says nothing about the path.
    ///
    /// ```
    /// use nilas::SendFailure;
    /// use std::io::{Error, ErrorKind};
    ///
    /// assert_eq!(SendFailure::of(&ErrorKind::AddrNotAvailable.into()), Some(SendFailure::Local));
    /// assert_eq!(SendFailure::of(&ErrorKind::ConnectionRefused.into()), Some(SendFailure::Unreachable));
    /// assert_eq!(SendFailure::of(&ErrorKind::WouldBlock.into()), None);
    /// # let _: Error = ErrorKind::WouldBlock.into();
    /// ```
    #[must_use]
    pub fn of(error: &std::io::Error) -> Option<Self> {
        use std::io::ErrorKind as Kind;
        let kind = error.kind();
        if matches!(kind, Kind::NetworkDown | Kind::AddrNotAvailable) {
            return Some(Self::Local);
        }
        let is_from_outside = matches!(
            kind,
            Kind::ConnectionRefused
                | Kind::ConnectionReset
                | Kind::HostUnreachable
                | Kind::NetworkUnreachable
                | Kind::PermissionDenied
        );
        if is_from_outside {
            return Some(Self::Unreachable);
        }
        let code = error.raw_os_error()?;
        codes::LIST.iter().find(|(one, _)| *one == code).map(|(_, failure)| *failure)
    }
}

/// The numbers of those errors that the standard library has no name for.
#[cfg(feature = "std")]
mod codes {
    use super::SendFailure::{self, Local, Unreachable};

    /// ENXIO, ENODEV, EINVAL (of a bound IPv4 address that was removed), ENONET, ENOPROTOOPT, EHOSTDOWN.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    pub(super) const LIST: &[(i32, SendFailure)] =
        &[(6, Local), (19, Local), (22, Local), (64, Unreachable), (92, Unreachable), (112, Unreachable)];

    /// ENXIO, ENODEV, EHOSTDOWN.
    #[cfg(target_vendor = "apple")]
    pub(super) const LIST: &[(i32, SendFailure)] = &[(6, Local), (19, Local), (64, Unreachable)];

    /// WSAENETRESET (no hop is left), WSAEHOSTDOWN.
    #[cfg(windows)]
    pub(super) const LIST: &[(i32, SendFailure)] = &[(10052, Unreachable), (10064, Unreachable)];

    #[cfg(not(any(target_os = "linux", target_os = "android", target_vendor = "apple", windows)))]
    pub(super) const LIST: &[(i32, SendFailure)] = &[];
}

#[cfg(all(test, feature = "std"))]
mod tests {
    use std::io::Error;

    use super::*;

    #[cfg(target_os = "linux")]
    #[test]
    fn errors_of_linux_are_told_apart() {
        let of = |code| SendFailure::of(&Error::from_raw_os_error(code));
        // ENETDOWN, EADDRNOTAVAIL, ENODEV, ENXIO, EINVAL.
        for code in [100, 99, 19, 6, 22] {
            assert_eq!(of(code), Some(SendFailure::Local), "{code}");
        }
        // ECONNREFUSED, EHOSTUNREACH, ENETUNREACH, EHOSTDOWN, ENONET, ENOPROTOOPT, EPERM, EACCES.
        for code in [111, 113, 101, 112, 64, 92, 1, 13] {
            assert_eq!(of(code), Some(SendFailure::Unreachable), "{code}");
        }
        // EAGAIN, ENOBUFS, ENOMEM, EMSGSIZE, EINTR, EBADF.
        for code in [11, 105, 12, 90, 4, 9] {
            assert_eq!(of(code), None, "{code}");
        }
    }
}
