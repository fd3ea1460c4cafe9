//! What was seen of one instance: a JSON document, `release learn --save` writes it.
//!
//! ```json
//! {"version":1,"facts":{"hostname":"web-1"},
//!  "trees":[{"root":"/etc/nginx","entries":[
//!    {"path":"conf.d","kind":"dir","mode":493,"uid":0,"gid":0},
//!    {"path":"conf.d/site.conf","kind":"file","mode":420,"uid":0,"gid":0,"size":12,"sha256":"sha256:…","text":"listen 80;\n"}]}],
//!  "listening":[{"address":"0.0.0.0","port":80,"executable":"/usr/sbin/nginx","user":"root"}],
//!  "running":[{"executable":"/usr/sbin/nginx","unit":"nginx.service"}],
//!  "certificates":[{"file":"/etc/ssl/site.pem","key":"/etc/ssl/site.key","names":["shop.example"]}],"servers":["nginx"]}
//! ```
//!
//! Paths are relative to the root, a byte that is not UTF-8 as `\xNN` and a backslash as `\\`. Modes are numbers. A text is
//! there for small configuration files only, and never for what looks like a secret.

use alloc::{collections::BTreeMap, string::String, vec::Vec};

use serde::{Deserialize, Serialize};

use crate::{
    digest::Digest,
    json::{self, JsonError, Limits},
};

/// The only version of the format.
pub const VERSION: u64 = 1;
/// Of one instance: a document some 60 MiB long. Larger trees are no candidates for learning by comparison.
pub const ENTRIES_MAX: usize = 300_000;
/// Of one document.
pub const LIMITS: Limits = Limits { bytes_max: 128 << 20, depth_max: 8 };
/// A text is kept up to this size: what a fact is written into is short.
pub const TEXT_BYTES_MAX: usize = 16 << 10;
/// All texts of one observation.
pub const TEXTS_BYTES_MAX: usize = 8 << 20;
/// Instances that are compared with each other.
pub const INSTANCES_MAX: usize = 8;

/// What was seen of one instance.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Observation {
    /// [`VERSION`].
    pub version: u64,
    /// What is particular to it, by name.
    #[serde(default)]
    pub facts: BTreeMap<String, String>,
    /// Directories that may be trees of the release.
    pub trees: Vec<SeenTree>,
    /// Sockets that are listened on.
    #[serde(default)]
    pub listening: Vec<Listening>,
    /// Programs that run as services.
    #[serde(default)]
    pub running: Vec<Running>,
    /// Certificates that the configuration of a web server names.
    #[serde(default)]
    pub certificates: Vec<SeenCertificate>,
    /// Web servers that are there: `nginx`, `apache`, `haproxy`.
    #[serde(default)]
    pub servers: Vec<String>,
}

/// A directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SeenTree {
    /// Absolute.
    pub root: String,
    /// Whether the root itself is a symlink.
    #[serde(default, skip_serializing_if = "core::ops::Not::not")]
    pub root_link: bool,
    /// All below it, ascending by path.
    pub entries: Vec<Seen>,
}

/// A thing in a tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Seen {
    /// Relative to the root, as [`text::path`](crate::text::path) writes it.
    pub path: String,
    /// What it is.
    pub kind: Kind,
    /// `0o7777` bits.
    pub mode: u32,
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// Of a file, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// Of a file. Absent when it could not be read, or changed meanwhile: then it differs from everything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<Digest>,
    /// Of a link, as `path` is written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// Of a small configuration file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// It begins like a program, a page, a key or a certificate, whatever its name.
    #[serde(default, skip_serializing_if = "core::ops::Not::not")]
    pub code: bool,
    /// It was changed within minutes of the observation.
    #[serde(default, skip_serializing_if = "core::ops::Not::not")]
    pub recent: bool,
}

/// What a thing is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A directory.
    Dir,
    /// A regular file.
    File,
    /// A symlink.
    Link,
    /// A socket, a FIFO, a device, another file system: what no manifest can have.
    Other,
}

/// A socket that is listened on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Listening {
    /// An IP address.
    pub address: String,
    /// From 1.
    pub port: u16,
    /// Who holds it, absolute, where that can be seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub executable: Option<String>,
}

/// A program that runs as a service.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Running {
    /// Absolute.
    pub executable: String,
    /// The systemd unit it runs in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
}

/// A certificate that a server shows.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SeenCertificate {
    /// Absolute.
    pub file: String,
    /// Absolute, if that is another file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Names it is to be good for.
    #[serde(default)]
    pub names: Vec<String>,
}

impl Observation {
    /// Reads a document.
    ///
    /// # Errors
    /// When it is none, of another version, or larger than the limits.
    pub fn parse(bytes: &[u8]) -> Result<Self, ObservationError> {
        let observation: Self = json::parse(bytes, &LIMITS)?;
        if observation.version != VERSION {
            return Err(ObservationError::Version(observation.version));
        }
        if observation.trees.iter().map(|tree| tree.entries.len()).sum::<usize>() > ENTRIES_MAX {
            return Err(ObservationError::TooMany);
        }
        Ok(observation)
    }
}

/// A document that is no observation.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ObservationError {
    /// Not such JSON.
    #[error(transparent)]
    Json(#[from] JsonError),
    /// From another time.
    #[error("it has version {0}, and only {VERSION} is known")]
    Version(u64),
    /// More than [`ENTRIES_MAX`].
    #[error("it has more than {ENTRIES_MAX} entries")]
    TooMany,
}

/// The bytes that [`text::path`](crate::text::path) wrote as `path`.
pub fn bytes(path: &str) -> Vec<u8> {
    let (mut out, mut rest) = (Vec::with_capacity(path.len()), path);
    while let Some((before, after)) = rest.split_once('\\') {
        out.extend(before.as_bytes());
        let hex = after.strip_prefix('x').and_then(|hex| hex.get(..2)).and_then(|hex| u8::from_str_radix(hex, 16).ok());
        let taken = match hex {
            Some(byte) => {
                out.push(byte);
                3
            }
            None => {
                out.push(b'\\');
                usize::from(after.starts_with('\\'))
            }
        };
        rest = &after[taken..];
    }
    out.extend(rest.as_bytes());
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_there_and_back() {
        for path in [&b"a/b.php"[..], b"\xff\xfe/x", b"a\\b", b"\\x41", b"\\", b"a\nb", "gr\u{f6}\u{df}e".as_bytes()] {
            assert_eq!(bytes(&crate::text::path(path)), path);
        }
    }

    #[test]
    fn documents() {
        let version = |version| alloc::format!(r#"{{"version":{version},"trees":[]}}"#);
        assert!(Observation::parse(version(1).as_bytes()).is_ok());
        assert_eq!(Observation::parse(version(2).as_bytes()), Err(ObservationError::Version(2)));
        assert!(matches!(Observation::parse(b"[]"), Err(ObservationError::Json(_))));
    }
}
