//! `/proc`, as far as checks read it. Processes end while they are looked at; that is no error: they are then not there.

use std::{
    fs::{self, File, Metadata},
    io::{self, Read as _},
    os::unix::{
        ffi::{OsStrExt as _, OsStringExt as _},
        fs::MetadataExt as _,
    },
    path::{Path, PathBuf},
};

/// The ids of all processes, but threads of the kernel, as far as they can be seen.
pub(super) fn pids() -> io::Result<Vec<u32>> {
    let entries = fs::read_dir("/proc")?;
    Ok(entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect())
}

/// Whether processes of other users are hidden altogether (`hidepid`): then nothing can be said of what is not seen.
pub(super) fn others_are_hidden() -> bool {
    !Path::new("/proc/1").exists()
}

/// A process, by id. Another one may have its id by the time it is asked for something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pid(pub(super) u32);

impl Pid {
    pub(super) fn path(self, name: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/{name}", self.0))
    }

    /// What it runs; `None` when it has ended, or runs nothing: a zombie, a thread of the kernel.
    pub(super) fn executable(self) -> io::Result<Option<Executable>> {
        let exe = self.path("exe");
        let both = fs::read_link(&exe).and_then(|link| Ok((link, fs::metadata(&exe)?)));
        match both {
            Ok((link, metadata)) => Ok(Some(Executable::new(&link, &metadata))),
            Err(error) if has_ended(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Its state and when it was started, in ticks of the clock since boot.
    pub(super) fn stat(self) -> Option<Stat> {
        Stat::parse(&self.text("stat")?)
    }

    /// The user that it acts as.
    pub(super) fn user(self) -> Option<u32> {
        effective_user(&self.text("status")?)
    }

    /// Its arguments, joined by single spaces.
    pub(super) fn arguments(self) -> Option<String> {
        let bytes = read(&self.path("cmdline")).ok()?;
        let bytes = bytes.strip_suffix(b"\0").unwrap_or(&bytes);
        Some(String::from_utf8_lossy(bytes).replace('\0', " "))
    }

    /// Whether it is called so, as far as anyone may see: by its own name or by the one that it was started under.
    pub(super) fn is_called(self, name: &str) -> bool {
        let comm = self.text("comm").unwrap_or_default();
        let comm = comm.trim_end_matches('\n');
        let started_as = self.arguments().unwrap_or_default();
        let started_as = started_as.split(' ').next().unwrap_or_default();
        comm == name.get(..COMM_BYTES).unwrap_or(name) || started_as.rsplit('/').next() == Some(name)
    }

    /// Whether it sees other files under the same names: it is in a container. A mount namespace of its own is not enough for
    /// that: systemd gives one to many services, with the root that all have.
    pub(super) fn is_elsewhere(self) -> bool {
        let same = |name: &str| match (fs::metadata(self.path(name)), fs::metadata(format!("/proc/self/{name}"))) {
            (Ok(its), Ok(ours)) => (its.dev(), its.ino()) == (ours.dev(), ours.ino()),
            _ => false,
        };
        !same("ns/mnt") && !same("root")
    }

    /// Files that it has mapped to run code from and that are no longer there under that name: libraries that were replaced.
    pub(super) fn stale_libraries(self) -> io::Result<Vec<String>> {
        match read(&self.path("maps")) {
            Ok(maps) => Ok(stale_libraries(&String::from_utf8_lossy(&maps))),
            Err(error) if has_ended(&error) => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    /// The inodes of the sockets that it holds.
    pub(super) fn sockets(self) -> io::Result<Vec<u64>> {
        let descriptors = match fs::read_dir(self.path("fd")) {
            Ok(descriptors) => descriptors,
            Err(error) if has_ended(&error) => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let inode = |link: PathBuf| link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok();
        Ok(descriptors.flatten().filter_map(|entry| inode(fs::read_link(entry.path()).ok()?)).collect())
    }

    fn text(self, name: &str) -> Option<String> {
        String::from_utf8(read(&self.path(name)).ok()?).ok()
    }
}

/// A file that is run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Executable {
    /// Where it was, without the mark of a deleted one.
    pub(super) path: PathBuf,
    /// Whether it is still there under that name.
    pub(super) deleted: bool,
    /// Device and inode: which file it is, whatever its name.
    pub(super) id: (u64, u64),
}

impl Executable {
    fn new(link: &Path, metadata: &Metadata) -> Self {
        let bytes = link.as_os_str().as_bytes();
        // A file whose name really ends so is still there.
        let deleted = bytes.strip_suffix(DELETED.as_bytes()).filter(|_| metadata.nlink() == 0 || !link.exists());
        let path = deleted.map_or_else(|| link.into(), |path| std::ffi::OsString::from_vec(path.into()).into());
        Self { path, deleted: deleted.is_some(), id: (metadata.dev(), metadata.ino()) }
    }
}

/// Of `/proc/PID/stat`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stat {
    /// `R`, `S`, `Z`…
    pub(super) state: char,
    /// The process that it is a child of.
    pub(super) parent: u32,
    /// In ticks of the clock since boot.
    pub(super) started: u64,
}

impl Stat {
    /// The program's name, which stands in parentheses, may have any characters, parentheses too.
    fn parse(stat: &str) -> Option<Self> {
        let (_, rest) = stat.rsplit_once(')')?;
        let mut fields = rest.split_ascii_whitespace();
        // proc(5): state is the third field, the parent the fourth, starttime the 22nd.
        let (state, parent) = (fields.next()?.chars().next()?, fields.next()?.parse().ok()?);
        Some(Self { state, parent, started: fields.nth(17)?.parse().ok()? })
    }
}

/// The number of a user: itself, or by its name in `/etc/passwd`. What other sources of names know is not asked: it may hang.
pub(super) fn user_id(user: &str) -> Option<u32> {
    if let Ok(number) = user.parse() {
        return Some(number);
    }
    user_in(&String::from_utf8_lossy(&read(Path::new("/etc/passwd")).ok()?), user)
}

fn user_in(passwd: &str, user: &str) -> Option<u32> {
    let mut lines = passwd.lines().map(|line| line.split(':'));
    lines.find_map(|mut fields| (fields.next() == Some(user)).then(|| fields.nth(1)?.parse().ok()).flatten())
}

fn effective_user(status: &str) -> Option<u32> {
    let ids = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    ids.split_ascii_whitespace().nth(1)?.parse().ok()
}

fn stale_libraries(maps: &str) -> Vec<String> {
    let mut stale: Vec<String> = maps.lines().filter_map(stale_library).map(Into::into).collect();
    stale.sort_unstable();
    stale.dedup();
    stale
}

/// proc(5): address, permissions, offset, device, inode, path.
fn stale_library(line: &str) -> Option<&str> {
    // The path may have spaces; what is before it has none.
    let mut fields = line.splitn(6, ' ');
    let code = fields.nth(1)?.contains('x');
    let rest = fields.nth(3)?.trim_start_matches(' ');
    let path = rest.strip_suffix(DELETED)?;
    let name = path.rsplit('/').next()?;
    // Memory that is shared, or code made at run time, is a deleted file too; it never had a name to be replaced under.
    let is_library =
        path.starts_with('/') && !path.starts_with("/memfd:") && (name.ends_with(".so") || name.contains(".so."));
    (code && is_library).then_some(path)
}

fn has_ended(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(rustix::io::Errno::SRCH.raw_os_error())
}

/// At most [`BYTES_MAX`] of a file, which says 0 when asked for its size.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(bytes)
}

const DELETED: &str = " (deleted)";

/// The kernel keeps so much of a program's name.
const COMM_BYTES: usize = 15;

/// A process has at most 65,530 mappings, of a hundred bytes or so; all other files here are far smaller.
const BYTES_MAX: u64 = 8 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stat() {
        let rest = "S 1 2 2 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 12345 999 1";
        for (name, parsed) in [("nginx", true), ("a) R 1 (b", true), (") (", true)] {
            let stat = Stat::parse(&format!("42 ({name}) {rest}"));
            assert_eq!(stat, parsed.then_some(Stat { state: 'S', parent: 1, started: 12_345 }), "{name}");
        }
        for broken in ["", "42", "42 (a)", "42 (a) S 1 2"] {
            assert_eq!(Stat::parse(broken), None, "{broken}");
        }
    }

    #[test]
    fn users() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\nbroken\nwww-data:x:33:33::/:\nodd:x:a:b\n";
        for (user, id) in [("root", Some(0)), ("www-data", Some(33)), ("odd", None), ("broken", None), ("nobody", None)]
        {
            assert_eq!(user_in(passwd, user), id, "{user}");
        }
        assert_eq!(user_id("65534"), Some(65_534));
        assert_eq!(effective_user("Name:\ta\nUid:\t0\t33\t33\t33\nGid:\t0"), Some(33));
        assert_eq!(effective_user("Uid:\t"), None);
    }

    #[test]
    fn libraries() {
        let at = "7f00-7f01 r-xp 00000000 fd:00 1234                       ";
        for (line, stale) in [
            (format!("{at}/usr/lib/libssl.so.3 (deleted)"), Some("/usr/lib/libssl.so.3")),
            (format!("{at}/srv/a b/ext.so (deleted)"), Some("/srv/a b/ext.so")),
            (format!("{at}/usr/lib/libssl.so.3"), None),
            (format!("{}/usr/lib/libssl.so.3 (deleted)", at.replace("r-xp", "r--p")), None),
            (format!("{at}/memfd:jit.so (deleted)"), None),
            (format!("{at}/dev/zero (deleted)"), None),
            (format!("{at}/usr/sbin/nginx (deleted)"), None),
            (at.trim_end().into(), None),
            (String::new(), None),
        ] {
            assert_eq!(stale_library(&line), stale, "{line}");
        }
    }

    #[test]
    fn this_one() {
        let me = Pid(std::process::id());
        let executable = me.executable().unwrap().unwrap();
        let disk = fs::metadata(std::env::current_exe().unwrap()).unwrap();
        assert_eq!((executable.id, executable.deleted), ((disk.dev(), disk.ino()), false));
        assert!(pids().unwrap().contains(&me.0) && !me.is_elsewhere());
        let name = std::env::current_exe().unwrap();
        assert!(me.is_called(name.file_name().unwrap().to_str().unwrap()) && !me.is_called("nginx"));
        assert_eq!(me.user(), Some(rustix::process::geteuid().as_raw()));
        assert!(me.stat().is_some() && me.arguments().is_some() && me.stale_libraries().unwrap().is_empty());
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let inode = rustix::fs::fstat(&socket).unwrap().st_ino;
        assert!(me.sockets().unwrap().contains(&inode));
        // No process ever has this id.
        assert!(matches!(Pid(u32::MAX).executable(), Ok(None)) && Pid(u32::MAX).stat().is_none());
    }
}
