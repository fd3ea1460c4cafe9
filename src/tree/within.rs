//! Where to look, for one who has been told where something happened: in some directories and those above them. All others
//! are closed: what is in them is neither missing nor extra, since nobody looks.
//!
//! So little of a tree says that it differs, never that it does not.

use alloc::{collections::BTreeSet, vec::Vec};

/// Directories of a tree, by their paths below its root (empty: the root itself), and all above them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Within(BTreeSet<Vec<u8>>);

impl Within {
    /// Whether to look into the directory at `path`.
    pub(super) fn opens(&self, path: &[u8]) -> bool {
        self.0.contains(path)
    }
}

impl<P: AsRef<[u8]>> FromIterator<P> for Within {
    fn from_iter<I: IntoIterator<Item = P>>(paths: I) -> Self {
        let mut open = BTreeSet::new();
        for path in paths {
            let path = path.as_ref();
            let slashes = path.iter().enumerate().filter(|&(_, &byte)| byte == b'/');
            open.extend(slashes.map(|(slash, _)| path[..slash].to_vec()));
            open.insert(path.to_vec());
        }
        Self(open)
    }
}
