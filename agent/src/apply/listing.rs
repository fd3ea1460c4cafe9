//! What a tree is to look like when all is put back: a listing that is kept on disk, one line a thing.

use std::{
    collections::BTreeMap,
    io::{self, BufRead, Write},
};

use portcullis::manifest::{EntryKind, Tree};
use serde::{Deserialize, Serialize};

/// One thing, with what is in it.
#[derive(Debug, Default)]
pub(crate) struct Node {
    pub(crate) wanted: Wanted,
    /// By name.
    pub(crate) children: BTreeMap<Vec<u8>, Node>,
}

/// What one thing is to be. What is `None` stays as it is found.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Wanted {
    pub(crate) kind: Kind,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) mode: Option<u32>,
    /// User and group.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) owner: Option<(u32, u32)>,
    /// Seconds and nanoseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) modified: Option<(i64, i64)>,
    /// Access lists, capabilities, labels: by name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) attributes: Option<BTreeMap<Bytes, Bytes>>,
}

/// What it is.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    #[default]
    Directory,
    File(Content),
    Link(Bytes),
    /// A FIFO, a socket, a device: whoever made it makes it again.
    Other,
}

/// Where the content of a file is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Content {
    /// In the copy of this number, of this size.
    Copy { number: u64, size: u64 },
    /// Here.
    Text(Box<str>),
    /// Nowhere: it stays as it is found.
    NotKept,
}

impl Node {
    /// The node at `path`, made with all above it if need be.
    pub(crate) fn at(&mut self, path: &[u8]) -> &mut Self {
        let mut components = path.split(|&byte| byte == b'/').filter(|name| !name.is_empty());
        components
            .try_fold(self, |node, name| Some(node.children.entry(name.to_vec()).or_default()))
            .expect("never none")
    }

    /// What a manifest has of a tree: its texts, links and directories.
    pub(crate) fn of_manifest(tree: &Tree) -> Self {
        let mut root = Self::default();
        for entry in &tree.entries {
            let kind = match &entry.kind {
                EntryKind::Directory => Kind::Directory,
                EntryKind::File { text: Some(text), .. } => Kind::File(Content::Text(text.clone())),
                EntryKind::File { text: None, .. } | EntryKind::Template { .. } => Kind::File(Content::NotKept),
                EntryKind::Link { target } => Kind::Link(Bytes(target.clone())),
            };
            let owner = entry.owner.map(|owner| (owner.uid, owner.gid));
            root.at(&entry.path).wanted = Wanted { kind, mode: entry.mode, owner, ..Wanted::default() };
        }
        root
    }
}

#[derive(Serialize, Deserialize)]
struct Line {
    path: Bytes,
    wanted: Wanted,
}

/// Writes one thing of a listing.
pub(crate) fn write(out: &mut impl Write, path: &[u8], wanted: &Wanted) -> io::Result<()> {
    serde_json::to_writer(&mut *out, &Line { path: Bytes(path.to_vec()), wanted: wanted.clone() })?;
    out.write_all(b"\n")
}

/// Reads a listing.
pub(crate) fn read(lines: impl BufRead) -> io::Result<Node> {
    let mut root = Node::default();
    for line in lines.lines() {
        let Line { path, wanted } = serde_json::from_str(&line?)?;
        root.at(&path.0).wanted = wanted;
    }
    Ok(root)
}

/// Any bytes, in JSON as a string of the characters U+0000 to U+00FF: readable where they are ASCII.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct Bytes(pub(crate) Vec<u8>);

impl From<Bytes> for String {
    fn from(bytes: Bytes) -> Self {
        bytes.0.into_iter().map(char::from).collect()
    }
}

impl TryFrom<String> for Bytes {
    type Error = std::char::TryFromCharError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.chars().map(u8::try_from).collect::<Result<_, _>>().map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let odd = b"conf.d/\xff\n\"x\"".to_vec();
        let file = Wanted {
            kind: Kind::File(Content::Copy { number: 7, size: 3 }),
            mode: Some(0o640),
            owner: Some((33, 0)),
            modified: Some((-1, 999_999_999)),
            attributes: Some(BTreeMap::from([(Bytes(b"user.a".to_vec()), Bytes(vec![0, 255]))])),
        };
        let link = Wanted { kind: Kind::Link(Bytes(vec![0xfe])), ..Wanted::default() };
        let mut written = Vec::new();
        for (path, wanted) in
            [(&b""[..], &Wanted::default()), (b"conf.d", &Wanted::default()), (&odd, &file), (b"l", &link)]
        {
            write(&mut written, path, wanted).unwrap();
        }
        let mut root = read(&written[..]).unwrap();
        assert_eq!(root.at(&odd).wanted, file);
        assert_eq!(root.at(b"l").wanted, link);
        assert_eq!(root.children.len(), 2);
        assert!(read(&b"{\"path\":\"\xc4\x80\",\"wanted\":{\"kind\":\"other\"}}\n"[..]).is_err(), "no byte");
    }
}
