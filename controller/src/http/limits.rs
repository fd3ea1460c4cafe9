//! What one client may ask for, and what all together: a bound on everything, a count when it is reached.

use std::{
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
    error::Error,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{
    body::Body,
    extract::{FromRequest, Request},
};
use portcullis::timestamp::Timestamp;
use tokio::sync::Semaphore;

use super::serve::Client;
use crate::metrics::{Limited, Metrics};

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

/// The clients of one listener, by their addresses: one faulty client is refused, and named, before it loads everything. What
/// several share (an address translator, a network of IPv6) counts as one.
#[derive(Debug)]
pub(crate) struct Clients {
    requests_max: u32,
    connections_max: usize,
    known: Mutex<BTreeMap<IpAddr, Known>>,
}

#[derive(Debug)]
struct Known {
    requests: (Timestamp, u32),
    arrivals: (Timestamp, u32),
    connections: usize,
    bodies: Arc<Semaphore>,
}

impl Clients {
    pub(crate) fn new(requests_max: u32, connections_max: usize) -> Self {
        Self { requests_max, connections_max, known: Mutex::default() }
    }

    pub(crate) fn requests_max(&self) -> u32 {
        self.requests_max
    }

    /// A connection of a client, if it may have one more. It counts until what is given is dropped.
    pub(crate) fn arrives(self: &Arc<Self>, address: IpAddr, now: Timestamp) -> Option<Arrived> {
        let address = one_client(address);
        let (requests_max, connections_max) = (self.requests_max, self.connections_max);
        self.of(address, now, |key, known| {
            let often = count(&mut known.arrivals, now) > requests_max.saturating_mul(ARRIVALS_PER_REQUEST);
            if often || known.connections >= connections_max {
                return None;
            }
            known.connections += 1;
            let bodies = Arc::clone(&known.bodies);
            Some(Arrived { address, key, bodies, clients: Arc::clone(self) })
        })
    }

    /// Whether a client may ask for one thing more in this minute.
    pub(crate) fn admits(&self, address: IpAddr, now: Timestamp) -> bool {
        self.of(one_client(address), now, |_, known| count(&mut known.requests, now) <= self.requests_max)
    }

    fn of<T>(&self, address: IpAddr, now: Timestamp, what: impl FnOnce(IpAddr, &mut Known) -> T) -> T {
        let mut all = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= CLIENTS_MAX && !all.contains_key(&address) {
            let recent = |known: &Known| now.since(known.arrivals.0.max(known.requests.0)) < MINUTE;
            all.retain(|_, known| known.connections > 0 || recent(known));
        }
        // More than can be told apart share what one may have.
        let full = all.len() >= CLIENTS_MAX && !all.contains_key(&address);
        let key = if full { IpAddr::V4(Ipv4Addr::UNSPECIFIED) } else { address };
        let none = || (Timestamp(0), 0);
        let known = all.entry(key).or_insert_with(|| Known {
            requests: none(),
            arrivals: none(),
            connections: 0,
            bodies: Arc::new(Semaphore::new(BODIES_OF_ONE_MAX)),
        });
        what(key, known)
    }
}

/// A connection of a client.
#[derive(Debug)]
pub(crate) struct Arrived {
    pub(crate) address: IpAddr,
    /// What it is known by.
    key: IpAddr,
    /// Bodies of this client that are taken in at once.
    pub(crate) bodies: Arc<Semaphore>,
    clients: Arc<Clients>,
}

impl Drop for Arrived {
    fn drop(&mut self) {
        let mut all = self.clients.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = all.get_mut(&self.key) {
            known.connections = known.connections.saturating_sub(1);
        }
    }
}

/// A host of IPv6 has a whole /64 of addresses to choose from.
fn one_client(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX))),
        v4 @ IpAddr::V4(_) => v4,
    }
}

/// What a client was refused for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Limit {
    /// Too many at once, or too many new ones.
    Connections,
    /// No TLS in time.
    Handshake,
    /// No request in time.
    Headers,
    /// Too many requests.
    Requests,
    /// A body that is too large.
    BodySize,
    /// A body that does not come in time.
    BodyTime,
    /// It does not take the answer that it asked for.
    AnswerTime,
}

impl Limit {
    const fn word(self) -> &'static str {
        match self {
            Self::Connections => "connections",
            Self::Handshake => "handshake",
            Self::Headers => "headers",
            Self::Requests => "requests",
            Self::BodySize => "body_size",
            Self::BodyTime => "body_time",
            Self::AnswerTime => "answer_time",
        }
    }
}

/// Who reached which limit: in a metric that names the first few, and in the log, once a minute each.
#[derive(Debug, Default)]
pub(crate) struct Offenders {
    named: Mutex<BTreeSet<IpAddr>>,
    told: Mutex<BTreeMap<(IpAddr, Limit), Timestamp>>,
}

impl Offenders {
    pub(crate) fn offends(
        &self,
        metrics: &Metrics,
        listener: &'static str,
        client: IpAddr,
        limit: Limit,
        now: Timestamp,
    ) {
        let client = one_client(client);
        let named = {
            let mut named = self.named.lock().unwrap_or_else(PoisonError::into_inner);
            named.contains(&client) || (named.len() < NAMED_MAX && named.insert(client))
        };
        let label = if named { client.to_string() } else { "others".into() };
        metrics.limited.get_or_create(&Limited { listener, client: label, limit: limit.word() }).inc();
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.len() >= CLIENTS_MAX {
            told.retain(|_, at| now.since(*at) < MINUTE);
        }
        let is_news = told.get(&(client, limit)).is_none_or(|at| now.since(*at) >= MINUTE);
        if is_news && told.len() < CLIENTS_MAX {
            told.insert((client, limit), now);
            tracing::warn!(listener, %client, limit = limit.word(), "a client reached a limit");
        }
    }
}

/// A body, and whose it is.
pub(crate) struct Inflow {
    pub(crate) body: Body,
    pub(crate) client: Option<Arc<Client>>,
}

impl<S: Sync> FromRequest<S> for Inflow {
    type Rejection = Infallible;

    async fn from_request(request: Request, _: &S) -> Result<Self, Infallible> {
        let client = request.extensions().get().cloned();
        Ok(Self { body: request.into_body(), client })
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
/// New connections for each request that is allowed: a client that keeps none needs one each, and a few fail.
const ARRIVALS_PER_REQUEST: u32 = 2;
/// A quarter of all: three clients that send slowly leave room for the others.
const BODIES_OF_ONE_MAX: usize = 16;
/// Clients that the metric names; it must not grow with what strangers do.
const NAMED_MAX: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Timestamp {
        Timestamp(1_000_000 + seconds * 1_000)
    }

    #[test]
    fn each_client_has_its_own_minute() {
        let clients = Clients::new(2, 9);
        let (a, b) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
        let admitted = [(a, 0), (a, 1), (a, 2), (b, 2), (a, 59), (a, 60), (a, 61), (a, 62)];
        let admitted: Vec<_> = admitted.map(|(client, second)| clients.admits(client, at(second))).into();
        assert_eq!(admitted, [true, true, false, true, false, true, true, false]);
    }

    #[test]
    fn each_client_has_its_own_connections() {
        let clients = Arc::new(Clients::new(3, 2));
        let (a, b) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
        let (first, second) = (clients.arrives(a, at(0)), clients.arrives(a, at(0)));
        assert!(first.is_some() && second.is_some());
        assert!(clients.arrives(a, at(1)).is_none(), "two at once");
        assert!(clients.arrives(b, at(1)).is_some());
        drop(first);
        assert!(clients.arrives(a, at(2)).is_some());
        assert!(clients.arrives(a, at(3)).is_some());
        assert!(clients.arrives(a, at(4)).is_some(), "the sixth in a minute");
        assert!(clients.arrives(a, at(5)).is_none(), "too many new ones");
        assert!(clients.arrives(a, at(60)).is_some());
    }

    #[test]
    fn a_network_of_ipv6_is_one_client() {
        let of = |text: &str| one_client(text.parse().unwrap());
        assert_eq!(of("2001:db8:0:1:aaaa::1"), of("2001:db8:0:1:bbbb::2"));
        assert_ne!(of("2001:db8:0:1::1"), of("2001:db8:0:2::1"));
        assert_eq!(of("::ffff:10.0.0.1"), of("10.0.0.1"));
    }

    #[test]
    fn strangers_do_not_make_the_metric_grow() {
        let (offenders, metrics) = (Offenders::default(), Metrics::new());
        for n in 0..200 {
            offenders.offends(&metrics, "agents", IpAddr::from([10, 0, 0, n]), Limit::Headers, at(0));
        }
        let page = metrics.page();
        let lines: Vec<_> = page.lines().filter(|line| line.starts_with("portcullis_clients_limited_total{")).collect();
        assert_eq!(lines.len(), NAMED_MAX + 1, "{page}");
        assert!(page.contains("client=\"others\",limit=\"headers\"} 168"), "{page}");
    }
}
