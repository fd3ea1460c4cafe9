//! Why a thing could not be told.

use alloc::{
    format,
    string::{String, ToString},
};

use rustix::io::Errno;

/// Why a thing could not be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Trouble {
    /// The kernel refused.
    Unreadable(Errno),
    /// It changed under our eyes.
    Unstable,
    /// Something is mounted on it, that no other tree of the manifest answers for.
    Mount,
    /// Below more directories than are walked.
    TooDeep,
}

impl Trouble {
    /// For people.
    pub(super) fn text(&self) -> String {
        match self {
            Self::Unreadable(errno) => {
                let text = errno.to_string();
                text.split(" (os error").next().unwrap_or_default().to_lowercase()
            }
            Self::Unstable => "changed while it was read".into(),
            Self::Mount => "mount".into(),
            Self::TooDeep => format!("more than {} directories deep", super::DEPTH_MAX),
        }
    }
}

/// Of a name that was there a moment ago, and of the kind that it is opened as.
impl From<Errno> for Trouble {
    fn from(errno: Errno) -> Self {
        match errno {
            Errno::XDEV => Self::Mount,
            // Gone, or replaced by something else (`AGAIN`: renamed while it was looked up, `NXIO`: now a socket).
            Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::AGAIN | Errno::NXIO | Errno::STALE => Self::Unstable,
            _ => Self::Unreadable(errno),
        }
    }
}
