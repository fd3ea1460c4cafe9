//! What one client may ask for, and what all together: a bound on everything, a count when it is reached.

use std::{
    collections::BTreeMap,
    error::Error,
    net::IpAddr,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use portcullis::timestamp::Timestamp;

/// At most so many in each minute.
#[derive(Debug)]
pub(crate) struct Window {
    max: u32,
    minute: Mutex<(Timestamp, u32)>,
}

impl Window {
    pub(crate) fn new(max: u32) -> Self {
        Self { max, minute: Mutex::new((Timestamp(0), 0)) }
    }

    pub(crate) fn admits(&self, now: Timestamp) -> bool {
        let mut minute = self.minute.lock().unwrap_or_else(PoisonError::into_inner);
        count(&mut minute, now) <= self.max
    }
}

/// At most so many in each minute for each address: one faulty client is refused, and named, before it loads everything.
#[derive(Debug)]
pub(crate) struct Clients {
    max: u32,
    minutes: Mutex<BTreeMap<IpAddr, (Timestamp, u32)>>,
}

impl Clients {
    pub(crate) fn new(max: u32) -> Self {
        Self { max, minutes: Mutex::default() }
    }

    pub(crate) fn max(&self) -> u32 {
        self.max
    }

    pub(crate) fn admits(&self, client: IpAddr, now: Timestamp) -> bool {
        let mut minutes = self.minutes.lock().unwrap_or_else(PoisonError::into_inner);
        if minutes.len() >= CLIENTS_MAX {
            minutes.retain(|_, (began, _)| now.since(*began) < MINUTE);
        }
        count(minutes.entry(client).or_insert((Timestamp(0), 0)), now) <= self.max
    }
}

/// Counts one more in the minute that runs, or begins a new one.
fn count((began, count): &mut (Timestamp, u32), now: Timestamp) -> u32 {
    if now.since(*began) >= MINUTE {
        (*began, *count) = (now, 0);
    }
    *count = count.saturating_add(1);
    *count
}

/// Whether a body was refused for its size.
pub(crate) fn is_too_large(error: &axum::Error) -> bool {
    let mut source: Option<&dyn Error> = error.source();
    while let Some(error) = source {
        if error.to_string().contains("length limit exceeded") {
            return true;
        }
        source = error.source();
    }
    false
}

const MINUTE: Duration = Duration::from_secs(60);
/// Beyond this many addresses those of past minutes are forgotten.
const CLIENTS_MAX: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_client_has_its_own_minute() {
        let clients = Clients::new(2);
        let (a, b) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
        let at = |seconds: u64| Timestamp(1_000_000 + seconds * 1_000);
        let admitted = [(a, 0), (a, 1), (a, 2), (b, 2), (a, 59), (a, 60), (a, 61), (a, 62)];
        let admitted: Vec<_> = admitted.map(|(client, second)| clients.admits(client, at(second))).into();
        assert_eq!(admitted, [true, true, false, true, false, true, true, false]);
    }
}
