//! Connections at once, each client's share of them bounded: one that holds all it gets takes nothing from the others.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// How many connections each client has.
#[derive(Debug)]
pub(super) struct Shares {
    all_max: usize,
    client_max: usize,
    held: Mutex<BTreeMap<IpAddr, usize>>,
}

/// A connection's place; given back when dropped.
#[derive(Debug)]
pub(super) struct Place {
    shares: Arc<Shares>,
    client: IpAddr,
}

impl Shares {
    pub(super) fn new(all_max: usize, client_max: usize) -> Arc<Self> {
        Arc::new(Self { all_max, client_max, held: Mutex::default() })
    }

    /// A place for one more connection of `client`, if there is one left for it.
    pub(super) fn take(self: &Arc<Self>, client: IpAddr) -> Option<Place> {
        let client = client.to_canonical();
        let mut held = self.lock();
        let of_client = held.get(&client).copied().unwrap_or(0);
        if of_client >= self.client_max || held.values().sum::<usize>() >= self.all_max {
            return None;
        }
        held.insert(client, of_client + 1);
        Some(Place { shares: Arc::clone(self), client })
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<IpAddr, usize>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut held = self.shares.lock();
        match held.get_mut(&self.client) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(held.remove(&self.client)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_client_cannot_take_the_places_of_others() {
        let shares = Shares::new(3, 2);
        let (greedy, other) = ("10.0.0.1".parse().unwrap(), "::ffff:10.0.0.2".parse().unwrap());
        let first = shares.take(greedy);
        let second = shares.take(greedy);
        assert!(first.is_some() && second.is_some() && shares.take(greedy).is_none());
        let third = shares.take(other);
        assert!(third.is_some());
        assert!(shares.take("10.0.0.3".parse().unwrap()).is_none(), "all are taken");
        drop((first, third));
        assert!(shares.take(greedy).is_some(), "given back");
        drop(second);
        assert!(shares.lock().is_empty(), "nothing is remembered of those who left");
    }
}
