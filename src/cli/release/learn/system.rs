//! What listens and runs on this machine, from `/proc`.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    path::{Path, PathBuf},
};

use portcullis::learn::{Listening, Running};

use crate::cli::files;

/// Sockets that are listened on, and programs that run as services or listen. What cannot be seen (of others' processes, unless
/// one is root) is left out.
pub(super) fn look() -> (Vec<Listening>, Vec<Running>) {
    let mut sockets = BTreeMap::new();
    for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
        let text = files::read(Path::new(table), TABLE_BYTES_MAX).unwrap_or_default();
        sockets.extend(listening(&String::from_utf8_lossy(&text)));
    }
    let (mut held, mut running) = (BTreeMap::new(), BTreeSet::new());
    for process in processes() {
        let Some(executable) = executable(&process) else { continue };
        let mine: Vec<u64> = inodes(&process).filter(|inode| sockets.contains_key(inode)).collect();
        let unit = unit(&process);
        if !mine.is_empty() || unit.is_some() {
            running.insert(Running { executable: executable.clone(), unit });
        }
        for inode in mine {
            held.entry(inode).or_insert_with(|| executable.clone());
        }
    }
    let listening: BTreeSet<Listening> = sockets
        .into_iter()
        .map(|(inode, (address, port))| Listening {
            address: address.to_string(),
            port,
            executable: held.get(&inode).cloned(),
        })
        .collect();
    (listening.into_iter().collect(), running.into_iter().collect())
}

fn processes() -> impl Iterator<Item = PathBuf> {
    let items = fs::read_dir("/proc").into_iter().flatten().flatten();
    let is_process = |name: &str| name.bytes().all(|byte| byte.is_ascii_digit());
    items
        .filter(move |item| item.file_name().to_str().is_some_and(is_process))
        .map(|item| item.path())
        .take(PROCESSES_MAX)
}

/// The file that a process runs, as it is named on disk; kernel threads run none.
fn executable(process: &Path) -> Option<String> {
    let target = fs::read_link(process.join("exe")).ok()?.into_os_string().into_string().ok()?;
    let target = target.strip_suffix(" (deleted)").map_or(target.clone(), str::to_owned);
    target.starts_with('/').then_some(target)
}

/// Inodes of the sockets that it holds.
fn inodes(process: &Path) -> impl Iterator<Item = u64> {
    let items = fs::read_dir(process.join("fd")).into_iter().flatten().flatten().take(DESCRIPTORS_MAX);
    items.filter_map(|item| {
        let target = fs::read_link(item.path()).ok()?;
        target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
    })
}

/// The system service that a process belongs to, by its cgroup.
fn unit(process: &Path) -> Option<String> {
    let text = files::read(&process.join("cgroup"), CGROUP_BYTES_MAX).ok()?;
    let text = String::from_utf8(text).ok()?;
    let path = text.lines().find_map(|line| line.split_once("/system.slice/"))?.1;
    path.split('/').find(|part| part.ends_with(".service")).map(str::to_owned)
}

/// By inode, what a table of the kernel says is listened on.
fn listening(table: &str) -> BTreeMap<u64, (IpAddr, u16)> {
    let row = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (local, state, inode) = (words.get(1)?, words.get(3)?, words.get(9)?);
        let (address, port) = local.split_once(':')?;
        let address = address_of(address)?;
        let (port, inode) = (u16::from_str_radix(port, 16).ok()?, inode.parse().ok()?);
        (*state == LISTEN).then_some((inode, (address, port)))
    };
    table.lines().skip(1).filter_map(row).collect()
}

/// Words of 32 bits, each as this machine stores it.
fn address_of(hex: &str) -> Option<IpAddr> {
    let word = |at: usize| u32::from_str_radix(hex.get(at * 8..at * 8 + 8)?, 16).ok().map(u32::to_ne_bytes);
    match hex.len() {
        8 => word(0).map(|bytes| Ipv4Addr::from(bytes).into()),
        32 => {
            let words = [word(0)?, word(1)?, word(2)?, word(3)?];
            let bytes: [u8; 16] = words.concat().try_into().ok()?;
            Some(Ipv6Addr::from(bytes).into())
        }
        _ => None,
    }
}

/// `TCP_LISTEN` of the kernel.
const LISTEN: &str = "0A";
const TABLE_BYTES_MAX: usize = 64 << 20;
const CGROUP_BYTES_MAX: usize = 64 << 10;
const PROCESSES_MAX: usize = 100_000;
const DESCRIPTORS_MAX: usize = 100_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_real_table() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n   \
            0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 x 100 0 0 10 0\n   \
            1: 0100007F:1F91 0100007F:1F90 01 00000000:00000000 00:00000000 00000000     0        0 4712 1 x 100 0 0 10 0\n   \
            2: 00000000000000000000000001000000:0050 0:0 0A 0 0 0 0 0 4713 1\n   \
            3: nonsense\n";
        let found = listening(table);
        if cfg!(target_endian = "little") {
            assert_eq!(
                found,
                [(4711, ("127.0.0.1".parse().unwrap(), 8080)), (4713, ("::1".parse().unwrap(), 80))].into()
            );
        }
    }
}
