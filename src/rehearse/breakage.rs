//! The ways in which one thing of a tree can be broken.

use alloc::{string::String, vec::Vec};

use crate::{
    manifest::{Entry, EntryKind},
    text,
};

/// One thing to break.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Breakage {
    /// Index of the tree in its manifest.
    pub tree: usize,
    /// Relative to the tree's root.
    pub path: Vec<u8>,
    /// What it stands for: `*.php`, `directory`, `biggest`.
    pub class: String,
    /// What is done to it.
    pub how: How,
}

/// What is done to a thing.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum How {
    /// Taken away, with all that is below it.
    Missing,
    /// Cut to nothing.
    Emptied,
    /// Its last byte cut off.
    Cut,
    /// Its first byte changed.
    FirstByte,
    /// The byte in its middle changed.
    MiddleByte,
    /// Its last byte changed.
    LastByte,
    /// A byte more at its end.
    Appended,
    /// Every byte changed; size and time of modification as they were.
    Replaced,
    /// The content of another file of its tree, and the other way round.
    Swapped {
        /// The other one.
        with: Vec<u8>,
    },
    /// A template's place for a fact left as it stands in the template.
    Unrendered,
    /// Another permission bit: made executable, or no longer so.
    Executable,
    /// Made writable for everybody.
    WorldWritable,
    /// Made set-user-id.
    SetUid,
    /// Given to another user.
    Owner,
    /// A symlink that leads elsewhere.
    Retargeted,
    /// A symlink to its own content, somewhere else, in its place.
    Link,
    /// An empty directory in its place.
    Directory,
    /// A regular file in its place.
    File,
    /// A FIFO in its place.
    Fifo,
    /// Something that is not listed, in that place.
    Extra,
}

impl How {
    /// The word for it in results.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Emptied => "emptied",
            Self::Cut => "cut by a byte",
            Self::FirstByte => "first byte changed",
            Self::MiddleByte => "middle byte changed",
            Self::LastByte => "last byte changed",
            Self::Appended => "appended to",
            Self::Replaced => "replaced, same size and time",
            Self::Swapped { .. } => "swapped with another",
            Self::Unrendered => "template not rendered",
            Self::Executable => "execute bit flipped",
            Self::WorldWritable => "writable for everybody",
            Self::SetUid => "set-user-id",
            Self::Owner => "another owner",
            Self::Retargeted => "link leads elsewhere",
            Self::Link => "a link in its place",
            Self::Directory => "a directory in its place",
            Self::File => "a file in its place",
            Self::Fifo => "a FIFO in its place",
            Self::Extra => "extra file",
        }
    }

    /// Whether nothing but permission bits changes.
    pub const fn is_mode(&self) -> bool {
        matches!(self, Self::Executable | Self::WorldWritable)
    }
}

impl Breakage {
    /// Every path that it touches.
    pub fn touches(&self) -> impl Iterator<Item = &[u8]> {
        let other = if let How::Swapped { with } = &self.how { Some(with.as_slice()) } else { None };
        core::iter::once(self.path.as_slice()).chain(other)
    }

    /// The path, for people.
    pub fn shown(&self) -> String {
        text::escape(&self.path)
    }
}

/// All that can be done to `entry` by itself.
pub(super) fn ways(entry: &Entry) -> Vec<How> {
    match &entry.kind {
        EntryKind::Directory => Vec::from(DIRECTORY),
        EntryKind::Link { .. } => Vec::from(LINK),
        EntryKind::File { size, .. } => {
            CONTENT.into_iter().filter(|(_, size_min)| size >= size_min).map(|(how, _)| how).chain(FILE).collect()
        }
        EntryKind::Template { template } => {
            let place = (!template.facts().is_empty()).then_some(How::Unrendered);
            [How::Emptied, How::Appended].into_iter().chain(place).chain(FILE).collect()
        }
    }
}

/// What can be done to a file's content, and how many bytes that takes to be something of its own.
const CONTENT: [(How, u64); 7] = [
    (How::Emptied, 1),
    (How::Cut, 2),
    (How::FirstByte, 1),
    (How::MiddleByte, 3),
    (How::LastByte, 2),
    (How::Appended, 0),
    (How::Replaced, 2),
];

/// What can be done to any file.
const FILE: [How; 8] =
    [How::Missing, How::Executable, How::WorldWritable, How::SetUid, How::Owner, How::Link, How::Directory, How::Fifo];

const DIRECTORY: [How; 5] = [How::Missing, How::WorldWritable, How::Owner, How::Link, How::File];

const LINK: [How; 4] = [How::Missing, How::Retargeted, How::File, How::Owner];

#[cfg(test)]
mod tests {
    use alloc::collections::BTreeSet;

    use super::*;
    use crate::digest::Digest;

    #[test]
    fn small_files_have_fewer_ways() {
        let ways_of = |size| {
            let kind = EntryKind::File { size, sha256: Digest::of(b""), text: None };
            ways(&Entry { path: b"a".into(), kind, mode: None, owner: None }).len() - FILE.len()
        };
        assert_eq!([0, 1, 2, 3, 100].map(ways_of), [1, 3, 6, 7, 7]);
    }

    #[test]
    fn a_template_without_a_place_cannot_be_left_unrendered() {
        let ways_of = |text| {
            let kind = EntryKind::Template { template: crate::facts::Template::parse(text).unwrap() };
            ways(&Entry { path: b"a".into(), kind, mode: None, owner: None })
        };
        assert!(ways_of("{{ instance }}").contains(&How::Unrendered));
        assert!(!ways_of("plain").contains(&How::Unrendered));
    }

    #[test]
    fn words_for_people() {
        let all = CONTENT.into_iter().map(|(how, _)| how).chain(FILE).chain(DIRECTORY).chain(LINK);
        let all: BTreeSet<How> = all.chain([How::Swapped { with: "b".into() }, How::Unrendered, How::Extra]).collect();
        let names: BTreeSet<&str> = all.iter().map(How::name).collect();
        assert_eq!((names.len(), all.len()), (20, 20), "each by its own name: {names:?}");
        let breakage = Breakage { tree: 0, path: b"a\nb".into(), class: "".into(), how: How::Cut };
        assert_eq!(breakage.shown(), "a\\u{a}b");
    }
}
