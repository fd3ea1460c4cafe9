//! A file system whose files each take their time to be read for the first time, as on a volume that is fresh from a snapshot.
//!
//! One flat directory, made up: the least of the FUSE protocol (`linux/fuse.h`) that it takes to list and read it. Any number
//! of reads wait at the same time. Mounting takes root.

use std::{
    fs::{File, OpenOptions},
    io::{Read as _, Write as _},
    os::fd::AsRawFd as _,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::Duration,
};

use rustix::mount::{MountFlags, UnmountFlags};

/// Mounted until dropped.
pub(super) struct Slow {
    at: PathBuf,
}

struct Server {
    device: File,
    files: u64,
    latency: Duration,
}

impl Slow {
    /// `files` files at the empty directory `at`.
    pub(super) fn mount(at: &Path, files: u64, latency: Duration) -> anyhow::Result<Self> {
        let device = OpenOptions::new().read(true).write(true).open("/dev/fuse")?;
        let options = format!("fd={},rootmode=40000,user_id=0,group_id=0", device.as_raw_fd());
        let options = std::ffi::CString::new(options)?;
        rustix::mount::mount("slow", at, "fuse", MountFlags::NODEV | MountFlags::NOSUID, options.as_c_str())
            .map_err(|error| anyhow::anyhow!("a FUSE file system cannot be mounted (are you root?): {error}"))?;
        let server = Arc::new(Server { device, files, latency });
        thread::spawn(move || serve(&server));
        Ok(Self { at: at.into() })
    }
}

impl Drop for Slow {
    fn drop(&mut self) {
        let _ = rustix::mount::unmount(&self.at, UnmountFlags::DETACH);
    }
}

/// Until it is unmounted.
fn serve(server: &Arc<Server>) {
    let mut buffer = vec![0; BUFFER];
    while let Ok(length) = (&server.device).read(&mut buffer) {
        let request = Request::of(&buffer[..length]);
        if request.opcode == READ && request.number(8) == 0 {
            let (server, request) = (Arc::clone(server), request);
            thread::spawn(move || {
                thread::sleep(server.latency);
                server.answer(&request);
            });
        } else {
            server.answer(&request);
        }
    }
}

struct Request {
    opcode: u32,
    unique: u64,
    node: u64,
    body: Vec<u8>,
}

impl Request {
    fn of(bytes: &[u8]) -> Self {
        let body = bytes.get(40..).unwrap_or_default().to_vec();
        let head = Self { opcode: 0, unique: 0, node: 0, body: bytes.to_vec() };
        let opcode = u32::try_from(head.number(0) >> 32).unwrap_or(0);
        Self { opcode, unique: head.number(8), node: head.number(16), body }
    }

    /// Eight bytes of the body.
    fn number(&self, at: usize) -> u64 {
        let bytes = self.body.get(at..).and_then(|rest| rest.first_chunk());
        bytes.map_or(0, |bytes| u64::from_ne_bytes(*bytes))
    }
}

impl Server {
    fn answer(&self, request: &Request) {
        let (error, body) = match self.body(request) {
            Some(Ok(body)) => (0, body),
            Some(Err(errno)) => (-errno, Vec::new()),
            None => return,
        };
        let length = u32::try_from(16 + body.len()).unwrap_or(0);
        let mut answer = Vec::with_capacity(16 + body.len());
        answer.extend_from_slice(&length.to_ne_bytes());
        answer.extend_from_slice(&error.to_ne_bytes());
        answer.extend_from_slice(&request.unique.to_ne_bytes());
        answer.extend_from_slice(&body);
        let _ = (&self.device).write_all(&answer);
    }

    /// `None`: nobody waits for an answer.
    fn body(&self, request: &Request) -> Option<Result<Vec<u8>, i32>> {
        Some(match request.opcode {
            INIT => {
                // Version 7.31, nothing special, 64 requests in the background, writes of a page, times in nanoseconds.
                let mut words = [0_u32; 16];
                words[..7].copy_from_slice(&[7, 31, 0, 0, 64 | 48 << 16, 4_096, 1]);
                Ok(words.iter().flat_map(|word| word.to_ne_bytes()).collect())
            }
            LOOKUP => self.lookup(&request.body),
            GETATTR => Ok([&VALID_S.to_ne_bytes()[..], &[0; 8], &self.attributes(request.node)].concat()),
            OPEN => Ok([&[0; 8][..], &DIRECT_IO.to_ne_bytes(), &[0; 4]].concat()),
            OPENDIR => Ok(vec![0; 16]),
            READ => {
                let from = usize::try_from(request.number(8)).unwrap_or(usize::MAX).min(FILE_BYTES);
                Ok(content(request.node)[from..].to_vec())
            }
            READDIR => Ok(self.list(request)),
            FLUSH | RELEASE | RELEASEDIR => Ok(Vec::new()),
            STATFS => Ok(vec![0; 80]),
            FORGET | BATCH_FORGET | INTERRUPT => return None,
            _ => Err(ENOSYS),
        })
    }

    fn lookup(&self, name: &[u8]) -> Result<Vec<u8>, i32> {
        let text = str::from_utf8(name.split(|&byte| byte == 0).next().unwrap_or_default()).unwrap_or_default();
        let index: u64 = text.strip_prefix('f').and_then(|digits| digits.parse().ok()).ok_or(ENOENT)?;
        if index >= self.files || text != name_of(index) {
            return Err(ENOENT);
        }
        let node = index + FIRST;
        let words = [node, 0, VALID_S, VALID_S, 0];
        let head: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
        Ok([head, self.attributes(node)].concat())
    }

    fn attributes(&self, node: u64) -> Vec<u8> {
        let is_root = node < FIRST;
        let size = if is_root { 0 } else { FILE_BYTES as u64 };
        let longs = [node, size, size.div_ceil(512), 1, 1, 1];
        let mode: u32 = if is_root { 0o040_755 } else { 0o100_644 };
        let shorts = [0, 0, 0, mode, if is_root { 2 } else { 1 }, 0, 0, 0, 4_096, 0];
        let longs = longs.iter().flat_map(|word| word.to_ne_bytes());
        longs.chain(shorts.iter().flat_map(|word: &u32| word.to_ne_bytes())).collect()
    }

    fn list(&self, request: &Request) -> Vec<u8> {
        let (from, room) = (request.number(8), usize::try_from(request.number(16) & 0xffff_ffff).unwrap_or(0));
        let mut entries = Vec::new();
        for index in from..self.files {
            let name = name_of(index);
            let mut entry: Vec<u8> = [index + FIRST, index + 1].iter().flat_map(|word| word.to_ne_bytes()).collect();
            entry.extend_from_slice(&u32::try_from(name.len()).unwrap_or(0).to_ne_bytes());
            entry.extend_from_slice(&REGULAR.to_ne_bytes());
            entry.extend_from_slice(name.as_bytes());
            entry.resize(entry.len().next_multiple_of(8), 0);
            if entries.len() + entry.len() > room {
                break;
            }
            entries.extend_from_slice(&entry);
        }
        entries
    }
}

fn name_of(index: u64) -> String {
    format!("f{index:06}")
}

fn content(node: u64) -> Vec<u8> {
    node.to_le_bytes().repeat(FILE_BYTES / 8)
}

const FILE_BYTES: usize = 4_096;
/// Node of the first file; the root is 1.
const FIRST: u64 = 2;
const BUFFER: usize = 256 << 10;
/// The kernel need not ask again for names and attributes.
const VALID_S: u64 = 3_600;
/// `FOPEN_DIRECT_IO`: no page cache, so that each check waits as the first would.
const DIRECT_IO: u32 = 1;
/// `DT_REG`.
const REGULAR: u32 = 8;

const LOOKUP: u32 = 1;
const FORGET: u32 = 2;
const GETATTR: u32 = 3;
const OPEN: u32 = 14;
const READ: u32 = 15;
const STATFS: u32 = 17;
const RELEASE: u32 = 18;
const FLUSH: u32 = 25;
const INIT: u32 = 26;
const OPENDIR: u32 = 27;
const READDIR: u32 = 28;
const RELEASEDIR: u32 = 29;
const INTERRUPT: u32 = 36;
const BATCH_FORGET: u32 = 42;

const ENOENT: i32 = 2;
const ENOSYS: i32 = 38;
