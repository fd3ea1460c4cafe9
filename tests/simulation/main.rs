//! The real fold, `decide`, retry and backoff against a seeded world: a cloud that holds instances at hooks with both timers,
//! agents that are good, slow, silent, not ready or lying, a store, and two controllers with one lease.
//!
//! A run has a chaos phase, in which everything that can go wrong does (safety is looked at after every step), and a heal phase,
//! in which everything must settle (liveness). A simulator is worth what it finds: `planted` has a list of bugs, and each must
//! be found.
//!
//! ```sh
//! cargo test --test simulation                          # 80 seeds, and the planted bugs; `./test` takes 300
//! PORTCULLIS_SEED=17 cargo test --test simulation       # one seed again, with what happened
//! PORTCULLIS_BUG=NoHeartbeat cargo test --test simulation planted    # one bug only
//! PORTCULLIS_SEEDS=100000 cargo test --release --test simulation
//! ```
#![expect(clippy::print_stderr, reason = "the seed and the figures are what a run is for")]

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::atomic::{AtomicU64, Ordering},
    thread,
};

mod agent;
mod cloud;
mod controller;
mod invariants;
mod planted;
mod random;
mod world;

use planted::Bug;
use world::{Figures, World};

#[test]
fn nothing_is_found_in_what_is_meant_to_work() {
    if let Some(seed) = number("PORTCULLIS_SEED") {
        eprintln!("PORTCULLIS_SEED={seed}");
        World::new(seed, None).loud().run().unwrap_or_else(|violation| panic!("seed {seed}: {violation}"));
        return;
    }
    let seeds = number("PORTCULLIS_SEEDS").unwrap_or(SEEDS);
    eprintln!("PORTCULLIS_SEED=0..{seeds}");
    let figures = each_seed(seeds, |seed| {
        run(seed, None).unwrap_or_else(|violation| panic!("PORTCULLIS_SEED={seed}: {violation}"))
    });
    let total = figures.into_iter().fold(Figures::default(), Figures::and);
    eprintln!("{seeds} seeds: {total:?}");
    assert!(total.covers(), "the world has become too tame to prove anything: {total:?}");
}

#[test]
fn every_planted_bug_is_found() {
    let only = std::env::var("PORTCULLIS_BUG").ok();
    let wanted = |bug: &Bug| only.as_ref().is_none_or(|only| format!("{bug:?}") == *only);
    let bugs: Vec<Bug> = Bug::ALL.iter().copied().filter(wanted).collect();
    let found = each_seed(bugs.len() as u64, |index| {
        let bug = bugs[index as usize];
        let mut seeds = (0..SEEDS_FOR_A_BUG).map(|seed| (bug.found_lately() + seed) % SEEDS_FOR_A_BUG);
        let found = seeds.find_map(|seed| Some((seed, run(seed, Some(bug)).err()?)));
        (bug, found)
    });
    for (bug, found) in &found {
        match found {
            Some((seed, violation)) => eprintln!("{bug:?}: seed {seed}: {violation}"),
            None => eprintln!("{bug:?}: NOT FOUND in {SEEDS_FOR_A_BUG} seeds"),
        }
    }
    assert!(found.iter().all(|(_, found)| found.is_some()), "a simulator is worth what it finds");
}

#[test]
fn the_same_seed_is_the_same_run() {
    for seed in 0..5 {
        assert_eq!(run(seed, None), run(seed, None), "seed {seed}");
    }
}

const SEEDS: u64 = 80;
const SEEDS_FOR_A_BUG: u64 = 1_000;

/// One whole life of a world. A panic in the core is a finding like any other.
fn run(seed: u64, bug: Option<Bug>) -> Result<Figures, String> {
    catch_unwind(AssertUnwindSafe(|| World::new(seed, bug).run())).unwrap_or_else(|_| Err("a panic".into()))
}

/// On all cores, in no order: runs know nothing of each other.
fn each_seed<T: Send>(seeds: u64, run: impl Fn(u64) -> T + Sync) -> Vec<T> {
    let next = AtomicU64::new(0);
    let work = || {
        let taken = std::iter::from_fn(|| Some(next.fetch_add(1, Ordering::Relaxed)).filter(|seed| *seed < seeds));
        taken.map(|seed| (seed, run(seed))).collect::<Vec<_>>()
    };
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let mut done: Vec<_> = thread::scope(|scope| {
        let workers: Vec<_> = (0..cores).map(|_| scope.spawn(work)).collect();
        workers
            .into_iter()
            .flat_map(|worker| worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    });
    done.sort_by_key(|(seed, _)| *seed);
    done.into_iter().map(|(_, result)| result).collect()
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is not a number: {text}")))
}
