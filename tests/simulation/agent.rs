//! Agents, and the truth about the instances that they speak for.

use portcullis::{
    digest::Digest,
    instance::{BootId, GroupName, InstanceId, WaitId},
    outcome::Status,
    report::{Cause, Evidence, Readiness},
    timestamp::Timestamp,
};

use crate::random::Random;

/// How an agent, or the machine below it, behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Ready after a while, and says so.
    Good,
    /// Never says a word; its content is wrong.
    Silent,
    /// Its content is wrong, and it says so.
    Failing,
    /// Its content is wrong, and it cannot tell.
    Unknowing,
    /// Its content is wrong, and it answers the first challenge it ever got, from before its wait, with "ready".
    Lying,
    /// Ready for a while, then broken, and says so.
    Breaking,
    /// Ready for a while, then broken and silent.
    Dying,
}

impl Kind {
    pub(crate) const BAD: [Self; 6] =
        [Self::Silent, Self::Failing, Self::Unknowing, Self::Lying, Self::Breaking, Self::Dying];
}

/// What a controller gave an agent: when, and for which wait.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Challenge {
    pub(crate) issued: Timestamp,
    pub(crate) wait: WaitId,
}

#[derive(Debug)]
pub(crate) struct Agent {
    pub(crate) kind: Kind,
    pub(crate) boot: u64,
    pub(crate) booted_at: u64,
    pub(crate) release: Digest,
    /// When the content was, is or will be as the release wants it.
    pub(crate) ready: Vec<(u64, u64)>,
    first: Option<Challenge>,
    /// When it last said a word.
    pub(crate) spoke_at: u64,
    /// When it last said that something fails which counts while it serves.
    pub(crate) failed_at: Option<u64>,
    /// The check that fails when its content is wrong.
    check: &'static str,
}

impl Agent {
    pub(crate) fn new(kind: Kind, release: Digest, boot: u64, now: u64, random: &mut Random) -> Self {
        let check = random.one_of(&CHECKS);
        let (first, failed_at) = (None, None);
        let mut agent =
            Self { kind, boot, booted_at: now, release, ready: vec![], first, spoke_at: 0, failed_at, check };
        agent.boots(now, random);
        agent
    }

    /// After a boot it takes a while until the content is complete.
    pub(crate) fn boots(&mut self, now: u64, random: &mut Random) {
        self.booted_at = now;
        self.end_of_ready(now);
        let from = now + random.one_of(&[1_000, 4_000, 10_000, 50_000]);
        let until = match self.kind {
            Kind::Good => u64::MAX,
            Kind::Breaking | Kind::Dying => from + random.between(500, 15_000),
            Kind::Silent | Kind::Failing | Kind::Unknowing | Kind::Lying => return,
        };
        self.ready.push((from, until));
    }

    /// Its content is changed, so that `check` fails.
    pub(crate) fn drifts(&mut self, check: &'static str, now: u64) {
        self.end_of_ready(now);
        self.check = check;
    }

    /// Its content is as it should be again.
    pub(crate) fn heals(&mut self, now: u64) {
        if self.kind == Kind::Good && self.is_broken_for_good(now) {
            self.ready.push((now, u64::MAX));
        }
    }

    /// Other content on the same machine: what was true of the former was true.
    pub(crate) fn follows(&mut self, mut former: Self, now: u64) {
        former.end_of_ready(now);
        self.ready = [former.ready, core::mem::take(&mut self.ready)].concat();
        self.failed_at = former.failed_at;
    }

    fn end_of_ready(&mut self, now: u64) {
        for (_, until) in &mut self.ready {
            *until = (*until).min(now);
        }
    }

    pub(crate) fn was_ready(&self, from: u64, until: u64) -> bool {
        self.ready.iter().any(|(since, end)| *since <= until && *end > from)
    }

    fn is_broken_for_good(&self, now: u64) -> bool {
        self.ready.iter().all(|(_, end)| *end <= now)
    }

    /// What it reports, having checked at `now` on a challenge; `None` when it is silent. `outage`: what lies outside is down.
    pub(crate) fn checks(&mut self, challenge: Challenge, outage: bool, now: u64) -> Option<(Challenge, Readiness)> {
        let first = *self.first.get_or_insert(challenge);
        let ready = match (self.was_ready(now, now), outage) {
            (true, false) => Readiness::Ready,
            (true, true) => not_ready(OUTSIDE, Status::Fail),
            (false, _) => not_ready(self.check, Status::Fail),
        };
        let said = match self.kind {
            Kind::Good | Kind::Failing | Kind::Breaking => Some((challenge, ready)),
            Kind::Dying => (!self.is_broken_for_good(now)).then_some((challenge, ready)),
            Kind::Unknowing => Some((challenge, not_ready(self.check, Status::Unknown))),
            Kind::Lying => Some((first, Readiness::Ready)),
            Kind::Silent => None,
        };
        self.spoke_at = if said.is_some() { now } else { self.spoke_at };
        let fails = |(_, readiness): &(_, Readiness)| *readiness == not_ready(self.check, Status::Fail);
        self.failed_at = if said.as_ref().is_some_and(fails) { Some(now) } else { self.failed_at };
        said
    }

    pub(crate) fn boot_id(&self) -> BootId {
        (*format!("boot-{}", self.boot)).into()
    }

    pub(crate) fn evidence(
        &self,
        instance: InstanceId,
        group: GroupName,
        challenge: Challenge,
        readiness: Readiness,
        received_at: Timestamp,
    ) -> Evidence {
        Evidence {
            instance,
            group,
            boot: self.boot_id(),
            wait: challenge.wait,
            manifest: self.release,
            challenged_at: challenge.issued,
            received_at,
            drift: drift(&readiness),
            diffs: Vec::new(),
            readiness,
        }
    }
}

/// All but what lies outside.
fn drift(readiness: &Readiness) -> Vec<Cause> {
    match readiness {
        Readiness::Ready => vec![],
        Readiness::NotReady { causes } => causes.iter().filter(|cause| cause.check != OUTSIDE).cloned().collect(),
    }
}

/// What may fail of the content.
pub(crate) const CHECKS: [&str; 2] = ["app", "web"];
/// A check of scope `launch`.
const OUTSIDE: &str = "database";

fn not_ready(check: &str, status: Status) -> Readiness {
    let cause = Cause { check: check.into(), status, problem: None, count: 0, examples: vec![], detail: None };
    Readiness::NotReady { causes: vec![cause] }
}
