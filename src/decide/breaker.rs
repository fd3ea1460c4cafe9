//! Stops a group from replacing instances that keep failing for the same cause: what AWS would do for ever is done three times.
//!
//! A failure is a launch that was given up, or that is held past its deadline. Once `breaker_failures` of them within
//! `breaker_window` have a cause in common, no more are given up: they stay, with heartbeats, for a person to look at (whoever
//! becomes ready is still admitted). After `breaker_retry_after`, a promotion, or an operator's word, one of them is given up,
//! so that its replacement shows whether it still fails: the youngest, since the oldest is the one that people look at. A
//! proven launch ends it. Where nobody is given up (a group that only observes, or is detached), there is nothing to stop; what is on
//! record counts again when that is over.
//!
//! Causes are compared, not texts: `app: missing`, whatever the files and the instance. All of it follows from the records, and
//! holds across restarts.
//!
//! Planted bugs (tests/simulation): `breaker_never_opens`, `breaker_never_tries`.

use alloc::{
    boxed::Box,
    collections::{BTreeMap, BTreeSet},
    string::String,
    vec::Vec,
};

use super::{gated::Gated, opinion::Opinion};
use crate::{
    action::{Action, AttemptKey},
    instance::InstanceId,
    policy::{GroupPolicy, Mode},
    reason::Reason,
    record::{BreakerRecord, Key, Record, RejectionRecord},
    timestamp::Timestamp,
    verdict::Ruling,
};

/// Whether a group replaces what fails.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Breaker {
    /// It does.
    #[default]
    Closed,
    /// It does not.
    Open {
        /// What the failures have in common.
        cause: String,
        /// Since when.
        since: Timestamp,
        /// When one more is replaced.
        until: Timestamp,
    },
    /// One more may be replaced.
    HalfOpen {
        /// What the failures had in common.
        cause: String,
        /// Since when it is not as it should be.
        since: Timestamp,
    },
}

/// The breaker of a group. Where it is open, whoever would be given up is kept; what should be on record is added to `wishes`.
pub(super) fn veto(
    opinions: &mut BTreeMap<InstanceId, Opinion>,
    gated: &Gated<'_>,
    wishes: &mut Vec<Action>,
    wakes: &mut BTreeSet<Timestamp>,
) -> Breaker {
    if gated.policy.mode == Mode::Observe || gated.detached.is_some() {
        return Breaker::Closed;
    }
    let failing = opinions.iter().filter_map(|(id, opinion)| {
        let last = would_be_given_up(opinion.ruling.as_ref()?)?;
        Some((id.clone(), last.causes()))
    });
    let look = look(gated, &failing.collect());
    wishes.extend(look.wish);
    wakes.extend(look.wake_at);
    if let Breaker::Open { cause, until, .. } = &look.breaker {
        opinions.values_mut().for_each(|opinion| keep(opinion, cause, *until));
    }
    look.breaker
}

/// Why an instance failed that is held past its deadline, and not on an operator's word.
fn would_be_given_up(ruling: &Ruling) -> Option<&Reason> {
    match &ruling.reason {
        Reason::AbandonPaced { last, .. } => Some(&**last),
        Reason::RejectionNotRecorded { last } if !matches!(**last, Reason::OperatorRejects { .. }) => Some(&**last),
        _ => None,
    }
}

fn keep(opinion: &mut Opinion, cause: &str, until: Timestamp) {
    let Some(ruling) = &mut opinion.ruling else { return };
    let Some(last) = would_be_given_up(ruling) else { return };
    ruling.reason = Reason::BreakerOpen { cause: cause.into(), until, last: Box::new(last.clone()) };
    opinion.wishes.retain(|wish| !matches!(wish.key(), AttemptKey::Record(Key::Rejection(_))));
}

/// The breaker of a group now; the record that should say so, where none does; and when it changes by itself.
struct Look {
    breaker: Breaker,
    wish: Option<Action>,
    wake_at: Option<Timestamp>,
}

fn look(gated: &Gated<'_>, failing: &BTreeMap<InstanceId, Vec<String>>) -> Look {
    let Gated { name, policy, observed, now, .. } = *gated;
    let (revision, record) = match observed.records.get(&Key::Breaker(name.clone())) {
        Some((revision, Record::Breaker(record))) => (Some(*revision), Some(record)),
        _ => (None, None),
    };
    let write = |record: BreakerRecord| {
        Some(Action::Record { key: Key::Breaker(name.clone()), revision, record: Record::Breaker(record) })
    };
    match record.filter(|record| record.closed_at.is_none()) {
        Some(record) if was_proven(gated, record.since) => {
            let closed = BreakerRecord { closed_at: Some(now), at: now, ..record.clone() };
            Look { breaker: Breaker::Closed, wish: write(closed), wake_at: None }
        }
        Some(record) => stopped(gated, record, write),
        None => {
            let since = record.and_then(|record| record.closed_at).unwrap_or_default();
            let given_up = given_up_lately(gated, since);
            let Some(cause) = common(&failures(&given_up, failing), policy) else {
                return Look { breaker: Breaker::Closed, wish: None, wake_at: None };
            };
            let until = now + policy.breaker_retry_after;
            let opened = BreakerRecord { cause: cause.clone(), since: now, at: now, until, closed_at: None };
            // As long as it is not on record, it lasts no longer than what it was opened for is remembered.
            let forgotten_at = given_up.values().map(|rejection| rejection.at + policy.breaker_window).min();
            Look { breaker: Breaker::Open { cause, since: now, until }, wish: write(opened), wake_at: forgotten_at }
        }
    }
}

fn stopped(gated: &Gated<'_>, record: &BreakerRecord, write: impl Fn(BreakerRecord) -> Option<Action>) -> Look {
    let (cause, since, now) = (record.cause.clone(), record.since, gated.now);
    let promoted_at = promoted_at(gated).filter(|at| *at > record.at);
    let tries_at = promoted_at.map_or(record.until, |at| at.min(record.until));
    if now < tries_at {
        return Look { breaker: Breaker::Open { cause, since, until: tries_at }, wish: None, wake_at: Some(tries_at) };
    }
    let rejected_at = gated.members.rejections.iter().map(|(_, rejection)| rejection.at);
    let Some(tried_at) = rejected_at.filter(|at| *at >= tries_at).max() else {
        return Look { breaker: Breaker::HalfOpen { cause, since }, wish: None, wake_at: None };
    };
    let until = tried_at + gated.policy.breaker_retry_after;
    let again = BreakerRecord { at: now, until, ..record.clone() };
    Look { breaker: Breaker::Open { cause, since, until }, wish: write(again), wake_at: Some(until) }
}

/// Everybody who failed, and why.
fn failures(
    given_up: &BTreeMap<&InstanceId, &RejectionRecord>,
    failing: &BTreeMap<InstanceId, Vec<String>>,
) -> BTreeMap<InstanceId, Vec<String>> {
    let given_up = given_up.iter().map(|(id, rejection)| ((*id).clone(), rejection.causes.clone()));
    given_up.chain(failing.iter().map(|(id, causes)| (id.clone(), causes.clone()))).collect()
}

/// Whose rejection, on nobody's word, counts still.
fn given_up_lately<'a>(gated: &Gated<'a>, since: Timestamp) -> BTreeMap<&'a InstanceId, &'a RejectionRecord> {
    let counts = |rejection: &RejectionRecord| {
        let lately = gated.now.since(rejection.at) < gated.policy.breaker_window;
        rejection.warrant.is_none() && rejection.at >= since && lately
    };
    gated.members.rejections.iter().copied().filter(|(_, rejection)| counts(rejection)).collect()
}

/// The cause that most have in common, if they are enough.
fn common(failures: &BTreeMap<InstanceId, Vec<String>>, policy: &GroupPolicy) -> Option<String> {
    let mut counts: BTreeMap<&String, usize> = BTreeMap::new();
    for causes in failures.values() {
        for cause in causes.iter().collect::<BTreeSet<_>>() {
            *counts.entry(cause).or_default() += 1;
        }
    }
    let (cause, count) = counts.into_iter().max_by_key(|(_, count)| *count)?;
    (count >= policy.breaker_failures).then(|| cause.clone())
}

/// Whether an instance of the group was admitted on proof since.
fn was_proven(gated: &Gated<'_>, since: Timestamp) -> bool {
    gated.members.admissions.iter().any(|(_, admission)| admission.at > since && admission.manifest.is_some())
}

fn promoted_at(gated: &Gated<'_>) -> Option<Timestamp> {
    match gated.observed.records.get(&Key::Group(gated.name.clone())) {
        Some((_, Record::Group(record))) => Some(record.at),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use alloc::{
        format,
        string::{String, ToString as _},
        vec::Vec,
    };

    use super::*;
    use crate::{
        decide::{decide, fixtures::*},
        instance::LifecycleState::PendingWait,
        outcome::Status,
        record::Word,
        report::Evidence,
    };

    /// Three of the group are past their deadline, and described a moment ago.
    fn three() -> Scene {
        let scene = waiting().beside("i-2", PendingWait).beside("i-3", PendingWait);
        scene.wait_of("i-2", 1, before(5), false).wait_of("i-3", 1, at(5), false).described(2_000)
    }

    fn failing(id: &str, checks: &[&str]) -> Evidence {
        let mut evidence = Evidence { instance: id.into(), ..not_ready(&[Status::Fail]).received(1_999) };
        if let crate::report::Readiness::NotReady { causes } = &mut evidence.readiness {
            let cause = causes[0].clone();
            *causes =
                checks.iter().map(|check| crate::report::Cause { check: (*check).into(), ..cause.clone() }).collect();
        }
        evidence
    }

    /// The breaker, the records that are wished for, and who is kept.
    fn told(scene: &Scene, now: u64) -> String {
        let decision = decide(&scene.observed, &scene.policy, at(now));
        let breaker = match &decision.breakers[&web()] {
            Breaker::Closed => "closed".to_string(),
            Breaker::Open { cause, until, .. } => format!("open until {} ({cause})", seconds(*until)),
            Breaker::HalfOpen { cause, .. } => format!("half open ({cause})"),
        };
        let records = decision.actions.iter().filter(|action| matches!(action, Action::Record { .. })).map(said);
        let kept = decision.rulings.iter().filter(|(_, ruling)| ruling.reason.code() == "breaker_open");
        let kept: Vec<_> = kept.map(|(id, _)| id.to_string()).collect();
        let kept = (!kept.is_empty()).then(|| format!("kept {}", kept.join(" ")));
        [breaker].into_iter().chain(records).chain(kept).collect::<Vec<_>>().join(", ")
    }

    #[test]
    fn it_opens_when_enough_fail_for_one_cause() {
        let two = || {
            let scene = waiting().beside("i-2", PendingWait);
            scene.wait_of("i-2", 1, before(5), false).described(2_000)
        };
        let rows = [
            (two(), 2_000, "closed, rejection/i-2"),
            (three(), 2_000, "open until 3800 (no_report), breaker/web, kept i-1 i-2 i-3"),
            // Given up before, and not too long ago; on nobody's word.
            (two().rejection("i-9", 1, 201), 2_000, "open until 3800 (no_report), breaker/web, kept i-1 i-2"),
            (two().rejection("i-9", 1, 200), 2_000, "closed, rejection/i-2"),
            (two().rejection("i-9", 1, 201).in_group_of("i-9", "db"), 2_000, "closed, rejection/i-2"),
            (two().rejection("i-1", 1, 1_990).on_a_word(), 2_000, "closed"),
            // Whoever waits for a turn counts, and is kept, as whoever could have it.
            (three().rejection("i-9", 1, 1_999), 2_000, "open until 3800 (no_report), breaker/web, kept i-1 i-2 i-3"),
            // The same instance again is one failure.
            (two().rejection("i-2", 1, 1_990), 2_000, "closed"),
            // Since it was closed, only what came after counts.
            (
                two().rejection("i-9", 1, 500).broken(300, 300, 2_100).mended(500),
                2_000,
                "open until 3800 (no_report), breaker/web, kept i-1 i-2",
            ),
            (two().rejection("i-9", 1, 500).broken(300, 300, 2_100).mended(501), 2_000, "closed, rejection/i-2"),
            // For causes that have nothing in common, it stays closed.
            (three().reported(failing("i-1", &["app"])), 2_000, "closed, rejection/i-2"),
            (
                three()
                    .reported(failing("i-1", &["app", "db"]))
                    .reported(failing("i-2", &["db", "app"]))
                    .reported(failing("i-3", &["db"])),
                2_000,
                "open until 3800 (db: fail), breaker/web, kept i-1 i-2 i-3",
            ),
        ];
        for (number, (scene, now, expected)) in rows.iter().enumerate() {
            assert_eq!(told(scene, *now), *expected, "row {number}");
        }
    }

    #[test]
    fn it_tries_one_and_closes_on_proof() {
        let open = || three().broken(1_000, 1_000, 2_800);
        let given_up = |seconds| open().rejection("i-9", 1, seconds);
        let rows = [
            (open(), 2_000, "open until 2800 (no_report), kept i-1 i-2 i-3"),
            (open(), 2_799, "open until 2800 (no_report), kept i-1 i-2 i-3"),
            // The youngest: the oldest is looked at.
            (open(), 2_800, "half open (no_report), rejection/i-3"),
            (given_up(2_799), 3_200, "half open (no_report), rejection/i-3"),
            (given_up(2_800), 3_200, "open until 4600 (no_report), breaker/web, kept i-1 i-2 i-3"),
            // An operator's word on one is no failure of it, and is done.
            (
                open().said(Word::Reject, 1, 1_990, 3_000),
                2_000,
                "open until 2800 (no_report), rejection/i-1, kept i-2 i-3",
            ),
            // A promotion may have mended it; one from before it was written has not.
            (open().promoted(1_500), 2_000, "half open (no_report), rejection/i-3"),
            (open().promoted(1_000), 2_000, "open until 2800 (no_report), kept i-1 i-2 i-3"),
            (open().promoted(2_900), 2_850, "half open (no_report), rejection/i-3"),
            (
                open().promoted(1_500).rejection("i-9", 1, 1_600),
                2_000,
                "open until 3400 (no_report), breaker/web, kept i-1 i-2 i-3",
            ),
            // Nobody is given up, so that nothing would ever end it.
            (open().observing(), 2_000, "closed, admission/i-1, admission/i-2, admission/i-3"),
            (open().detached(1_000, None), 2_000, "closed, admission/i-1, admission/i-2, admission/i-3"),
            (open().detached(1_000, Some(1_500)), 2_000, "open until 2800 (no_report), kept i-1 i-2 i-3"),
            // Proven: i-1 was admitted at 96.
            (three().broken(95, 95, 1_895).admission(1), 2_000, "closed, breaker/web, rejection/i-2"),
            (three().broken(96, 96, 2_896).admission(1), 2_000, "open until 2896 (no_report), kept i-2 i-3"),
            (three().broken(95, 95, 2_895).warranted(1, None), 2_000, "open until 2895 (no_report), kept i-2 i-3"),
        ];
        for (number, (scene, now, expected)) in rows.iter().enumerate() {
            let records = told(scene, *now);
            let waits = records.replace(", wait/i-1 2", "").replace("wait/i-1 2, ", "");
            assert_eq!(waits, *expected, "row {number}");
        }
    }

    #[test]
    fn what_goes_on_record() {
        let written = |scene: &Scene, now: u64| {
            let is_breaker = |action: Action| match action {
                Action::Record { record: Record::Breaker(record), revision, .. } => Some((record, revision)),
                _ => None,
            };
            decide(&scene.observed, &scene.policy, at(now)).actions.into_iter().find_map(is_breaker)
        };
        let record = |since, written, until, closed_at| BreakerRecord {
            cause: "no_report".into(),
            since: at(since),
            at: at(written),
            until: at(until),
            closed_at,
        };
        let open = || three().broken(95, 96, 1_895);
        for (scene, expected) in [
            (three(), (record(2_000, 2_000, 3_800, None), None)),
            (open().rejection("i-9", 1, 1_900), (record(95, 2_000, 3_700, None), Some(7))),
            (open().admission(1), (record(95, 2_000, 1_895, Some(at(2_000))), Some(7))),
        ] {
            assert_eq!(written(&scene, 2_000), Some(expected));
        }
    }

    #[test]
    fn it_wakes_to_try() {
        let decision = decide(&three().broken(1_000, 1_000, 2_005).observed, &three().policy, at(2_000));
        assert_eq!(decision.wake_at.map(seconds).as_deref(), Some("2005"));
    }

    #[test]
    fn it_wakes_when_what_it_would_open_for_is_forgotten() {
        let scene = waiting().beside("i-2", PendingWait).wait_of("i-2", 1, before(5), false).described(2_000);
        let scene = scene.rejection("i-9", 1, 205);
        assert!(told(&scene, 2_000).starts_with("open"), "{}", told(&scene, 2_000));
        assert_eq!(decide(&scene.observed, &scene.policy, at(2_000)).wake_at.map(seconds).as_deref(), Some("2005"));
        assert!(told(&scene, 2_005).starts_with("closed"), "{}", told(&scene, 2_005));
    }
}
