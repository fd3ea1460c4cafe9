//! Reads a file whole, if it is one: never waits for a FIFO, never opens a device's door, never reads without end.

use std::{
    fs::{self, File},
    io::{self, Read as _},
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

use portcullis::text;
use rustix::{
    fs::{FileType, Mode, OFlags},
    io::Errno,
};
use zeroize::Zeroizing;

use super::Problem;

/// The content. It may hold a key, and is wiped when dropped.
///
/// Links are followed: certificates usually are links. What is not there or is no file is a failure; what cannot be read
/// could not be told.
pub(super) fn read(path: &str) -> Result<Zeroizing<Vec<u8>>, Problem> {
    let shown = text::visible(path);
    // A FIFO would wait for a writer, a terminal would become ours.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let opened = regular(path).and_then(|()| rustix::fs::open(path, flags, Mode::empty()).map_err(Trouble::Io));
    let (file, size) = opened.and_then(still_regular).map_err(|trouble| trouble.of(path))?;
    // All at once: what has to grow leaves copies behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(size.min(BYTES_MAX as usize) + 1));
    let read = File::from(file).take(BYTES_MAX + 1).read_to_end(&mut bytes);
    read.map_err(|error| Problem::unknown("", format!("{shown} cannot be read: {error}")))?;
    match bytes.len() {
        0 => Err(Problem::fail("", format!("{shown} is empty"))),
        many if many as u64 > BYTES_MAX => {
            Err(Problem::fail("", format!("{shown} has more than {} MiB", BYTES_MAX >> 20)))
        }
        _ => Ok(bytes),
    }
}

enum Trouble {
    Io(Errno),
    Kind(FileType),
}

/// Before it is opened: opening a device may do something.
fn regular(path: &str) -> Result<(), Trouble> {
    is_file(&rustix::fs::stat(path).map_err(Trouble::Io)?)
}

/// And after: it may have been replaced. With its size.
fn still_regular(file: OwnedFd) -> Result<(OwnedFd, usize), Trouble> {
    let stat = rustix::fs::fstat(&file).map_err(Trouble::Io)?;
    is_file(&stat).map(|()| (file, usize::try_from(stat.st_size).unwrap_or(0)))
}

fn is_file(stat: &rustix::fs::Stat) -> Result<(), Trouble> {
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => Ok(()),
        other => Err(Trouble::Kind(other)),
    }
}

impl Trouble {
    fn of(self, path: &str) -> Problem {
        let shown = text::visible(path);
        match self {
            Self::Kind(kind) => Problem::fail("", format!("{shown} is {}, not a file", name(kind))),
            Self::Io(Errno::NOENT | Errno::NOTDIR) => Problem::fail("", missing(path)),
            Self::Io(Errno::LOOP) => Problem::fail("", format!("{shown} is a link that leads back to itself")),
            Self::Io(error) => {
                let error = io::Error::from(error);
                Problem::unknown("", format!("{shown} cannot be read: {error}"))
            }
        }
    }
}

/// Which link leads nowhere, if one does.
fn missing(path: &str) -> String {
    let mut at = PathBuf::from(path);
    for _ in 0..LINKS_MAX {
        match fs::read_link(&at) {
            Ok(target) => at = at.parent().unwrap_or(Path::new("/")).join(target),
            Err(_) => break,
        }
    }
    let (path, end) = (text::visible(path), text::escape(at.as_os_str().as_encoded_bytes()));
    if path == end { format!("{path} is missing") } else { format!("{path} is a link to {end}, which is missing") }
}

fn name(kind: FileType) -> &'static str {
    match kind {
        FileType::Directory => "a directory",
        FileType::Fifo => "a FIFO",
        FileType::Socket => "a socket",
        FileType::CharacterDevice | FileType::BlockDevice => "a device",
        _ => "something else",
    }
}

/// Ten thousand certificates, and all the authorities of the world forty times over.
const BYTES_MAX: u64 = 16 << 20;

/// As many as Linux follows.
const LINKS_MAX: usize = 40;
