//! Ports for servers that cannot be told to take any, and for nobody.

use std::{
    net::TcpListener,
    sync::atomic::{AtomicU32, Ordering},
};

/// A port of loopback where nobody listens, and where nobody comes by chance: what the kernel gives away, to whoever connects or
/// binds port 0, lies above. Each process begins elsewhere and takes none twice.
pub(crate) fn free_port() -> u16 {
    static TAKEN: AtomicU32 = AtomicU32::new(0);
    let begin = std::process::id().wrapping_mul(STRIDE);
    let mut ports = (0..SPAN).map(|_| FIRST + begin.wrapping_add(TAKEN.fetch_add(1, Ordering::Relaxed)) % SPAN);
    let is_free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    let port = ports.find_map(|port| u16::try_from(port).ok().filter(is_free));
    port.expect("one of twenty thousand is free")
}

/// Linux gives away ports from 32768 on (`ip_local_port_range`).
const FIRST: u32 = 12_000;
const SPAN: u32 = 20_000;
/// More than one process takes.
const STRIDE: u32 = 211;
