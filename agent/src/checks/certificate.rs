//! `certificate`: reads certificates from a file or an endpoint and judges them, each by itself and all as a chain.
//!
//! ```text
//!  file     ─▶ blocks ─▶ certificates ┐
//!                                     ├─▶ dates · names · chain · trust · key ─▶ problems ─▶ finding
//!  endpoint ─▶ presented chain ───────┘
//! ```
//!
//! Whatever is wrong with one certificate is a problem of that one: the others are judged all the same (incident I5 of the
//! design). What is read is bounded in bytes, what is told in number.

use std::time::Instant;

use portcullis::check::certificate::{
    Certificate as Wanted,
    clock::distrust,
    margin::{Margins, Standing, about, date},
    names::Names,
};

use super::{Finding, Task};
use crate::clock;

mod blocks;
mod chain;
mod endpoint;
mod file;
mod key;
mod parsed;
mod problem;
mod trust;

use blocks::Block;
use parsed::Certificate;
use problem::{Problem, Problems};

/// Judges a file or an endpoint.
pub(super) fn run(wanted: &Wanted, task: &Task<'_>) -> Finding {
    let now_s = now_s();
    if let Some(reason) = distrust(now_s, task.manifest.sequence) {
        return Finding::unknown(reason);
    }
    match (&wanted.file, &wanted.connect) {
        (Some(path), _) => in_file(path, wanted, now_s, task.until),
        (None, Some(address)) => presented(address, wanted, now_s, task),
        (None, None) => Finding::unknown("it has neither a file nor an endpoint"),
    }
}

fn in_file(path: &str, wanted: &Wanted, now_s: i64, until: Instant) -> Finding {
    match file::read(path) {
        Ok(bytes) => Judge { wanted, now_s, until }.file(&bytes),
        Err(problem) => Problems::from(problem).into_finding(),
    }
}

fn presented(address: &str, wanted: &Wanted, now_s: i64, task: &Task<'_>) -> Finding {
    let chain = match endpoint::chain(address, wanted.asked_for(), task) {
        Ok(chain) => chain,
        Err(finding) => return finding,
    };
    let mut problems = Problems::default();
    problems.extend(chain.unproven);
    let blocks =
        chain.certificates.into_iter().enumerate().map(|(index, der)| Block { number: index + 1, offset: None, der });
    // A server that was slow to answer is no reason not to judge what it said: that takes no time.
    Judge { wanted, now_s, until: task.until + JUDGING }.all(blocks.collect(), &mut problems);
    problems.into_finding()
}

/// What all certificates of one check are held against.
struct Judge<'a> {
    wanted: &'a Wanted,
    now_s: i64,
    until: Instant,
}

impl Judge<'_> {
    fn file(&self, bytes: &[u8]) -> Finding {
        let mut problems = Problems::default();
        let blocks = blocks::split(bytes, &mut problems);
        self.all(blocks, &mut problems);
        problems.into_finding()
    }

    fn all(&self, blocks: Vec<Block>, problems: &mut Problems) {
        let total = blocks.len();
        let mut certificates: Vec<Certificate> = Vec::new();
        for (index, block) in blocks.into_iter().enumerate() {
            if clock::monotonic() >= self.until {
                problems
                    .push(Problem::unknown("", format!("not done in time: {index} of {total} certificates judged")));
                return;
            }
            if let Some(certificate) = parsed::parse(block, problems) {
                dates(&certificate, self.wanted.margins(), self.now_s, problems);
                if certificates.len() < CHAIN_MAX {
                    certificates.push(certificate);
                }
            }
        }
        if !self.wanted.collection {
            self.chain(&certificates, total, problems);
        }
    }

    fn chain(&self, certificates: &[Certificate], total: usize, problems: &mut Problems) {
        // What it means when the first one cannot be read was told where it was read.
        let Some(first) = certificates.first().filter(|first| first.number == 1) else { return };
        names(first, &self.wanted.wanted_names(), problems);
        if total > CHAIN_MAX {
            // What is out of order among the first of them would be counted like all there is.
            let text = "certificates are no chain, and their order was not looked at: if they are a collection, say `collection = true`";
            problems.push(Problem::fail("", format!("{total} {text}")));
        } else {
            chain::order(certificates, total, problems);
        }
        if let Some(roots) = &self.wanted.roots {
            trust::check(certificates, roots, self.wanted.margins(), self.now_s, problems);
        }
        if let Some(key) = &self.wanted.key {
            key::belongs(first, key, problems);
        }
    }
}

fn dates(certificate: &Certificate, margins: Margins, now_s: i64, problems: &mut Problems) {
    let validity = certificate.validity;
    let (from, until) = (date(validity.from_s), date(validity.until_s));
    let place = certificate.place();
    problems.extend(match validity.standing(margins, now_s) {
        Standing::Good => None,
        Standing::Never => Some(Problem::fail(&place, format!("is never valid: from {from} until {until}"))),
        Standing::NotYet => Some(Problem::differs(&place, "is not yet valid", format!("from {from}"), date(now_s))),
        Standing::Expired => Some(Problem::differs(&place, "has expired", format!("until {until}"), date(now_s))),
        Standing::Short { left, wanted } => {
            let left = format!("{} left (until {until})", about(left));
            Some(Problem::differs(&place, "expires soon", format!("{} left", about(wanted)), left))
        }
        Standing::Soon { left } => {
            Some(Problem::warning(&place, format!("expires soon: {} left (until {until})", about(left))))
        }
    });
}

fn names(certificate: &Certificate, wanted: &[&str], problems: &mut Problems) {
    let presented: &Names = &certificate.names;
    for name in wanted.iter().filter(|name| !presented.cover(name)) {
        problems.push(Problem::fail(&certificate.place(), format!("is not for `{name}`: {}", presented.why_not(name))));
    }
}

fn now_s() -> i64 {
    i64::try_from(clock::now().0 / 1_000).unwrap_or(i64::MAX)
}

/// As many as OpenSSL follows at most. Whoever looks for the place of each among all takes the square of the time, and all of them
/// would have to be kept.
const CHAIN_MAX: usize = 100;

/// For a chain that was received, which is small.
const JUDGING: std::time::Duration = std::time::Duration::from_secs(2);

#[cfg(test)]
mod tests;
