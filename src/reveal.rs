//! What a web server's configuration reveals: certificates, addresses it listens on, servers behind it, files it includes.
//!
//! For hints and warnings, never for a verdict on the configuration itself: whether that parses is its server's to say.
//! So the readers are tolerant. What they cannot read they pass over, what depends on a variable they name as
//! [`Unclear`]. They are given texts and open nothing; whatever these hold, the work is bounded.

use alloc::{
    borrow::ToOwned as _,
    collections::{BTreeMap, BTreeSet},
    format,
    string::String,
    vec::Vec,
};

use crate::glob::Ignore;

pub use address::{Address, address};
pub use apache::apache;
pub use haproxy::haproxy;
pub use nginx::{nginx, nginx_dump};

mod address;
mod apache;
mod haproxy;
mod nginx;

/// Texts of configuration files, by absolute path.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Files(BTreeMap<String, String>);

impl Files {
    /// Takes a file; beyond [`FILE_BYTES_MAX`] its end is left out.
    pub fn insert(&mut self, path: &str, text: &str) {
        if self.0.len() < FILES_MAX {
            let end = text.floor_char_boundary(FILE_BYTES_MAX);
            self.0.insert(normal(path), text[..end].to_owned());
        }
    }

    /// The text of a file.
    pub fn text(&self, path: &str) -> Option<&str> {
        self.0.get(&normal(path)).map(String::as_str)
    }

    /// All paths, ascending.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// What a pattern as of glob(3) finds: `*` meets neither a slash nor a dot at the beginning.
    fn matching(&self, pattern: &str) -> Vec<&str> {
        let pattern = normal(pattern);
        if !is_glob(&pattern) {
            return self.0.get_key_value(&pattern).map(|(path, _)| path.as_str()).into_iter().collect();
        }
        let Ok(glob) = Ignore::new(core::slice::from_ref(&pattern)) else { return Vec::new() };
        let hidden = |path: &str| {
            path.split('/').zip(pattern.split('/')).any(|(name, part)| name.starts_with('.') && !part.starts_with('.'))
        };
        let deep = |path: &str| path.matches('/').count();
        let same = |path: &&str| deep(path) == deep(&pattern) && !hidden(path);
        self.paths().filter(same).filter(|path| glob.matches(path.trim_start_matches('/').as_bytes(), false)).collect()
    }

    /// What is below a directory, at any depth.
    fn below(&self, directory: &str) -> Vec<&str> {
        let prefix = format!("{}/", normal(directory).trim_end_matches('/'));
        self.paths().filter(|path| path.starts_with(&prefix)).collect()
    }
}

/// Where something is written.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct At {
    /// Which file.
    pub file: String,
    /// From 1.
    pub line: usize,
}

/// A certificate that the server shows to others.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Certificate {
    /// Absolute path.
    pub file: String,
    /// Absolute path of its key, if that is written; it may be the same file.
    pub key: Option<String>,
    /// Which names it is to be good for, as far as they are written beside it; no regular expressions.
    pub names: Vec<String>,
    /// Where it is written.
    pub at: At,
}

/// Another file that the server reads.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reference {
    /// Absolute path.
    pub file: String,
    /// What for.
    pub role: Role,
    /// Where it is written.
    pub at: At,
}

/// What a file is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Certificates of authorities: they expire too.
    Authority,
    /// Read with the configuration and as good as a part of it: maps, lists, scripts, pages.
    Part,
    /// Read with the configuration, and mostly not of it: parameters, tables of types, revocation lists, passwords of keys.
    Data,
    /// Read anew as it is needed: lists of users. Nothing has to be loaded again when it changes.
    Live,
}

/// An address that the server listens on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Listen {
    /// Which.
    pub address: Address,
    /// Whether TLS is spoken there.
    pub tls: bool,
    /// Where it is written.
    pub at: At,
}

/// A server behind this one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Upstream {
    /// Its host, always there, and port.
    pub address: Address,
    /// Where it is written.
    pub at: At,
}

/// A socket of this machine, with a server behind it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Socket {
    /// Absolute path.
    pub path: String,
    /// Where it is written.
    pub at: At,
}

/// An inclusion.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Include {
    /// Absolute path, or pattern of such.
    pub pattern: String,
    /// Which of the files that were given it includes. For none, it leads to nothing, or out of them.
    pub found: Vec<String>,
    /// Where it is written.
    pub at: At,
}

/// What cannot be told from the text alone.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Unclear {
    /// The directive and its value, as written.
    pub what: String,
    /// Whether it names a file that is read.
    pub is_file: bool,
    /// Where it is written.
    pub at: At,
}

/// All that a configuration reveals, each list in the order of reading and without what is said twice.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Revealed {
    /// Certificates that are shown.
    pub certificates: Vec<Certificate>,
    /// Other files that are read.
    pub references: Vec<Reference>,
    /// Addresses that are listened on.
    pub listens: Vec<Listen>,
    /// Servers behind it.
    pub upstreams: Vec<Upstream>,
    /// Those that are reached by a socket.
    pub sockets: Vec<Socket>,
    /// What is included.
    pub includes: Vec<Include>,
    /// Names it answers to: neither wildcards nor regular expressions.
    pub names: Vec<String>,
    /// The file that the master writes its process id to, if it is written.
    pub pid_file: Option<String>,
    /// What depends on a variable.
    pub unclear: Vec<Unclear>,
    /// Every file that was read.
    pub files: BTreeSet<String>,
    /// There was more than the limits allow: not all is listed.
    pub is_cut: bool,
}

impl Revealed {
    /// Adds what another configuration reveals.
    pub fn merge(&mut self, other: Self) {
        merge(&mut self.certificates, other.certificates);
        merge(&mut self.references, other.references);
        merge(&mut self.listens, other.listens);
        merge(&mut self.upstreams, other.upstreams);
        merge(&mut self.sockets, other.sockets);
        merge(&mut self.includes, other.includes);
        merge(&mut self.names, other.names);
        merge(&mut self.unclear, other.unclear);
        self.pid_file = self.pid_file.take().or(other.pid_file);
        self.files.extend(other.files);
        self.is_cut |= other.is_cut;
    }
}

fn merge<T: Ord>(into: &mut Vec<T>, from: Vec<T>) {
    for item in from {
        if !into.contains(&item) {
            into.push(item);
        }
    }
}

/// How much has been read, and what was found: each reader has one.
#[derive(Default)]
struct Reading {
    revealed: Revealed,
    /// Where in the list a certificate is, by its file and its key.
    certificates: BTreeMap<(String, Option<String>), usize>,
    /// All other findings, as `kind what`.
    seen: BTreeSet<String>,
    bytes: usize,
}

impl Reading {
    /// Whether a file may be read, once more: included twice it is read twice, as its server does, until it is too much.
    fn may_read(&mut self, path: &str, text: &str, depth: usize) -> bool {
        self.bytes = self.bytes.saturating_add(text.len()).saturating_add(FILE_COST);
        let may = depth <= DEPTH_MAX && self.bytes <= BYTES_MAX;
        if may {
            self.revealed.files.insert(path.into());
        }
        self.revealed.is_cut |= !may;
        may
    }

    /// Whether `what` is new, and there is room for it.
    fn is_new(&mut self, kind: &str, what: &str) -> bool {
        if self.seen.len() >= ITEMS_MAX {
            self.revealed.is_cut = true;
            return false;
        }
        self.seen.insert(format!("{kind} {what}"))
    }

    fn unclear(&mut self, at: &At, what: String) {
        self.unclear_of(at, what, false);
    }

    fn unclear_file(&mut self, at: &At, what: String) {
        self.unclear_of(at, what, true);
    }

    fn unclear_of(&mut self, at: &At, what: String, is_file: bool) {
        if self.is_new("unclear", &what) {
            self.revealed.unclear.push(Unclear { what, is_file, at: at.clone() });
        }
    }

    /// A certificate; what is known of it already grows by the names.
    fn certificate(&mut self, at: &At, file: String, key: Option<String>, names: &[String]) {
        let both = (file, key);
        if let Some(&index) = self.certificates.get(&both) {
            let known = &mut self.revealed.certificates[index].names;
            let room = NAMES_MAX.saturating_sub(known.len());
            merge(known, names.iter().take(room).cloned().collect());
        } else if self.certificates.len() < ITEMS_MAX {
            self.certificates.insert(both.clone(), self.revealed.certificates.len());
            let (file, key) = both;
            let names = names.iter().take(NAMES_MAX).cloned().collect();
            self.revealed.certificates.push(Certificate { file, key, names, at: at.clone() });
        } else {
            self.revealed.is_cut = true;
        }
    }

    fn reference(&mut self, at: &At, role: Role, file: String) {
        if self.is_new("file", &file) {
            self.revealed.references.push(Reference { file, role, at: at.clone() });
        }
    }

    fn listen(&mut self, at: &At, address: Address, tls: bool) {
        if self.is_new(if tls { "tls" } else { "listen" }, &format!("{address}")) {
            self.revealed.listens.push(Listen { address, tls, at: at.clone() });
        }
    }

    fn upstream(&mut self, at: &At, address: Address) {
        if address.host.is_some() && self.is_new("upstream", &format!("{address}")) {
            self.revealed.upstreams.push(Upstream { address, at: at.clone() });
        }
    }

    fn socket(&mut self, at: &At, path: &str) {
        if path.starts_with('/') && !path.contains('$') && self.is_new("socket", path) {
            self.revealed.sockets.push(Socket { path: path.into(), at: at.clone() });
        }
    }

    fn include(&mut self, at: &At, pattern: &str, found: &[&str]) {
        if self.is_new("include", pattern) {
            let found = found.iter().map(|&path| path.into()).collect();
            self.revealed.includes.push(Include { pattern: pattern.into(), found, at: at.clone() });
        }
    }

    fn names(&mut self, names: &[String]) {
        for name in names.iter().filter(|name| !name.contains('*')) {
            if self.is_new("name", name) {
                self.revealed.names.push(name.clone());
            }
        }
    }
}

/// Whether a path is a pattern of paths.
pub fn is_glob(path: &str) -> bool {
    path.contains(['*', '?', '['])
}

/// `path` seen from `base`, without empty and `.` components; `..` takes the component before it away, as if there were no
/// symlinks.
pub fn resolve(base: &str, path: &str) -> String {
    if path.starts_with('/') { normal(path) } else { normal(&format!("{base}/{path}")) }
}

fn normal(path: &str) -> String {
    let mut parts = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

/// The directory that a path is in.
fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("/", |(parent, _)| if parent.is_empty() { "/" } else { parent })
}

/// A name that a certificate can be for; neither a regular expression nor the name of nobody.
fn certificate_name(name: &str) -> Option<&str> {
    let host = name.strip_prefix("*.").unwrap_or(name);
    let plain = host.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-'));
    (plain && host.contains('.') && !host.starts_with('.') && host.len() <= NAME_BYTES_MAX).then_some(name)
}

/// Configuration, not data: what is longer is cut.
pub const FILE_BYTES_MAX: usize = 4 << 20;

/// Hosts of thousands of sites have a file each.
pub const FILES_MAX: usize = 20_000;

/// All that one reader reads, files included several times counted each time: a second of work.
const BYTES_MAX: usize = 64 << 20;

/// What a file costs besides its bytes, so that empty files that include each other end too.
const FILE_COST: usize = 1_024;

/// Files that include files: more is a circle.
const DEPTH_MAX: usize = 32;

/// Findings of all kinds together.
const ITEMS_MAX: usize = 20_000;

/// Of one certificate: no authority takes more than a few hundred.
const NAMES_MAX: usize = 1_000;

/// Of a host name (RFC 1035).
const NAME_BYTES_MAX: usize = 253;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        for (base, path, resolved) in [
            ("/etc/nginx", "mime.types", "/etc/nginx/mime.types"),
            ("/etc/nginx", "/a//b/./c", "/a/b/c"),
            ("/etc/nginx/", "../ssl/a.pem", "/etc/ssl/a.pem"),
            ("/", "../../a", "/a"),
        ] {
            assert_eq!(resolve(base, path), resolved);
        }
    }

    #[test]
    fn patterns() {
        let mut files = Files::default();
        for path in ["/e/nginx.conf", "/e/d/a.conf", "/e/d/.b.conf", "/e/d/c/d.conf", "/e/d/x"] {
            files.insert(path, "");
        }
        for (pattern, found) in [
            ("/e/nginx.conf", &["/e/nginx.conf"][..]),
            ("/e/d/*.conf", &["/e/d/a.conf"]),
            ("/e/d/*", &["/e/d/a.conf", "/e/d/x"]),
            ("/e/d/.*", &["/e/d/.b.conf"]),
            ("/e/*/*/*.conf", &["/e/d/c/d.conf"]),
            ("/e/**", &["/e/nginx.conf"]),
            ("/e/d/[", &[]),
            ("/absent", &[]),
        ] {
            assert_eq!(files.matching(pattern), found, "{pattern}");
        }
    }

    #[test]
    fn names_that_certificates_are_for() {
        for (name, usable) in [
            ("shop.example", true),
            ("*.shop.example", true),
            ("_", false),
            ("", false),
            ("localhost", false),
            ("~^www\\d+\\.shop\\.example$", false),
            ("www.*", false),
            ("a b.example", false),
        ] {
            assert_eq!(certificate_name(name).is_some(), usable, "{name}");
        }
    }
}
