//! Answers for an instance whose withdrawal is on record: it is taken out of traffic, stands by until it has proven itself again, and
//! is brought back.
//!
//! Every stage goes on record before the call that brings it about, so that after a crash it is known which instances are ours to
//! bring back: one that an operator put in standby never is. Whether it may be taken out *now* is for `withdraw` to say, which looks at
//! the whole group; nothing here counts others.
//!
//! The way back has no hook: the proof comes first. It must pass all that counts, at launch and while it serves, for a release that its
//! group accepts, in one run of reports of at least `return_after`, the last of them fresh.
//!
//! Whoever brings an instance back by hand, or puts one in standby that we brought back, has the last word: it is none of ours then.
//! But a balancer forgets what it drained when it restarts, and nobody can tell that from a hand: it is told again.
//!
//! Planted bugs (tests/simulation): `returns_unproven`, `returns_what_others_withdrew`.

use core::time::Duration;

use super::{
    case::Case,
    complete::{depart, is_described},
    drift,
    failure::{self, Failure, failure},
    opinion::Opinion,
    serving,
};
use crate::{
    action::{Action, AttemptKey, Departure},
    attempt::Attempts,
    instance::LifecycleState,
    reason::Reason,
    record::{Key, Record, Stage, Way, WithdrawalRecord},
    report::Evidence,
    timestamp::Timestamp,
};

/// Answers for all that are on their way out, out, or on their way back.
pub(super) fn rule(case: &Case<'_>) -> Option<Opinion> {
    let record = case.withdrawal()?;
    match (record.stage, &case.instance.state) {
        (Stage::Out, LifecycleState::InService) => Some(goes(case, record)),
        (Stage::Out, LifecycleState::EnteringStandby | LifecycleState::Standby) if record.way == Way::Standby => {
            Some(stands_by(case, record))
        }
        (Stage::Back, LifecycleState::Standby) => Some(comes(case, record)),
        (Stage::Back, LifecycleState::EnteringStandby) => Some(Opinion::withdrawn(case, returning(record))),
        (Stage::Back, LifecycleState::Pending) => Some(Opinion::admitted(case, returning(record)).past_the_hook()),
        (Stage::Back, LifecycleState::InService) => is_back(case, record),
        _ => None,
    }
}

/// It serves, and is to be taken out. One that healed before it was is let be; so is one that the gate itself let in since: a balancer
/// forgot what it was told and held it anew, or its root volume was replaced.
fn goes(case: &Case<'_>, record: &WithdrawalRecord) -> Opinion {
    if case.admission().is_some_and(|admission| admission.at > record.changed_at) {
        // Of several balancers, one that was not restarted still drains it.
        let undone = if case.is_in_place() { Stage::Back } else { Stage::Over };
        return serves(case).wishing(write(case, record, undone, false));
    }
    let tried = case.attempts(&AttemptKey::Withdraw(case.id.clone(), record.changed_at));
    if let Some(taken_at) = tried.and_then(|tried| tried.accepted_at) {
        if record.way == Way::Replace || shows_before(case, taken_at) {
            return described_since(case, taken_at, Opinion::withdrawn(case, withdrawn(record)));
        }
        if !case.is_in_place() {
            return serves(case).wishing(write(case, record, Stage::Over, true));
        }
    }
    if failure(case).is_none() {
        let untouched = tried.is_none_or(|tried| case.instance.described_at >= tried.settled_at(case.limits));
        let well = untouched && (drift::is_proven(case) || !failure::is_policy(case, record));
        // One of several balancers may have drained it already.
        let undone = if case.is_in_place() && tried.is_some() { Stage::Back } else { Stage::Over };
        return serves(case).and(well.then(|| write(case, record, undone, false)));
    }
    let reason = refused_or(tried, Reason::Withdrawing { because: record.because.clone() });
    depart(case, Action::Withdraw(departure(case, record)), record.changed_at, Opinion::admitted(case, reason))
}

fn stands_by(case: &Case<'_>, record: &WithdrawalRecord) -> Opinion {
    if !may_have_been_tried(case, record) {
        return Opinion::default().wishing(write(case, record, Stage::Over, true));
    }
    let opinion = Opinion::withdrawn(case, withdrawn(record)).until(case, stale_at(case));
    let stands_by = case.instance.state == LifecycleState::Standby;
    opinion.and((stands_by && is_proven_anew(case, record)).then(|| write(case, record, Stage::Back, false)))
}

/// Whether a call of ours may have taken it out: one of this life, or of an earlier one, whose clock may have been a little ahead. Else
/// somebody else did, while we were held back.
fn may_have_been_tried(case: &Case<'_>, record: &WithdrawalRecord) -> bool {
    let earlier =
        case.observed.listening_since.is_none_or(|began| record.changed_at < began + case.limits.call_timeout);
    let was_to_come_back = record.changed_at > record.at;
    let tried = || case.attempts(&AttemptKey::Withdraw(case.id.clone(), record.changed_at)).is_some();
    earlier || was_to_come_back || tried()
}

/// It stands by, and is to come back: while it is well.
fn comes(case: &Case<'_>, record: &WithdrawalRecord) -> Opinion {
    let tried = case.attempts(&AttemptKey::Return(case.id.clone(), record.changed_at));
    if let Some(taken_at) = tried.and_then(|tried| tried.accepted_at) {
        return if shows_before(case, taken_at) {
            described_since(case, taken_at, Opinion::admitted(case, returning(record)).past_the_hook())
        } else {
            Opinion::default().wishing(write(case, record, Stage::Over, true))
        };
    }
    if well(case, record).is_none() {
        let broke = case.instance.evidence.as_ref().is_some_and(|evidence| !evidence.is_well());
        let opinion = Opinion::withdrawn(case, withdrawn(record));
        return opinion.and(broke.then(|| write(case, record, Stage::Out, false)));
    }
    let opinion = Opinion::withdrawn(case, refused_or(tried, returning(record))).until(case, stale_at(case));
    depart(case, Action::Return(departure(case, record)), record.changed_at, opinion)
}

/// It serves again: the withdrawal is over. Behind several balancers it serves as soon as one of them lets it in: not before all of
/// them took it, unless it fails again.
fn is_back(case: &Case<'_>, record: &WithdrawalRecord) -> Option<Opinion> {
    let tried = case.attempts(&AttemptKey::Return(case.id.clone(), record.changed_at));
    let everywhere = tried.is_some_and(|tried| tried.accepted_at.is_some());
    if case.is_in_place() && !everywhere && drift::drift(case).is_none() {
        let call = Action::Return(departure(case, record));
        return serving::rule(case).map(|opinion| depart(case, call, record.changed_at, opinion));
    }
    let seen = is_described(case, None, record.changed_at);
    serving::rule(case).map(|opinion| opinion.and(seen.then(|| write(case, record, Stage::Over, false))))
}

/// What is said of it while nothing is done.
fn serves(case: &Case<'_>) -> Opinion {
    serving::rule(case).unwrap_or_default()
}

/// Descriptions of a cloud lag: for a while after a call was taken, the state from before it is no contradiction. A balancer's do not.
fn shows_before(case: &Case<'_>, taken_at: Timestamp) -> bool {
    let lag = if case.is_in_place() { Duration::ZERO } else { case.limits.propagation_max };
    case.instance.described_at < taken_at + lag
}

fn described_since(case: &Case<'_>, taken_at: Timestamp, opinion: Opinion) -> Opinion {
    let stale = case.instance.described_at < taken_at;
    opinion.and(stale.then(|| Action::Describe(case.instance.group.clone())))
}

/// The last report, if it shows that all is well, and is fresh enough to bring it back on.
fn well<'a>(case: &Case<'a>, record: &WithdrawalRecord) -> Option<&'a Evidence> {
    let evidence = case.instance.evidence.as_ref()?;
    let of_now = evidence.challenged_at >= record.at;
    let fresh = of_now && case.now.since(evidence.received_at) <= case.limits.report_age_max;
    let accepted = case.accepted().contains(&evidence.manifest);
    (fresh && accepted && evidence.is_well() && case.dispute().is_none()).then_some(evidence)
}

/// Two passes at least, so far apart, without a break, all since it was withdrawn.
fn is_proven_anew(case: &Case<'_>, record: &WithdrawalRecord) -> bool {
    let run = case.instance.well_since.map(|since| since.max(record.changed_at));
    let long_enough =
        |(evidence, since): (&Evidence, Timestamp)| evidence.received_at >= since + case.policy.return_after;
    well(case, record).zip(run).is_some_and(long_enough)
}

fn stale_at(case: &Case<'_>) -> Timestamp {
    super::proof::stale_at(case)
}

fn withdrawn(record: &WithdrawalRecord) -> Reason {
    Reason::Withdrawn { since: record.at, because: record.because.clone() }
}

const fn returning(record: &WithdrawalRecord) -> Reason {
    Reason::Returning { since: record.at }
}

fn refused_or(tried: Option<&Attempts>, wanted: Reason) -> Reason {
    match tried.and_then(|tried| tried.refused.clone()) {
        Some(because) => Reason::Refused { because, wanted: wanted.into() },
        None => wanted,
    }
}

fn departure(case: &Case<'_>, record: &WithdrawalRecord) -> Departure {
    let (group, instance) = (case.instance.group.clone(), case.id.clone());
    Departure { group, instance, way: record.way, decided_at: record.changed_at }
}

/// The record that takes an instance out, for what is wrong with it now.
pub(super) fn begin(case: &Case<'_>, failure: &Failure) -> Action {
    let (group, at, stage) = (case.instance.group.clone(), case.now, Stage::Out);
    let (way, bypassed, because) = (failure.way, failure.bypassed, failure.because.clone());
    let causes = failure.causes.iter().cloned().collect();
    put(case, WithdrawalRecord { group, way, stage, at, changed_at: at, because, causes, by_hand: false, bypassed })
}

fn write(case: &Case<'_>, record: &WithdrawalRecord, stage: Stage, by_hand: bool) -> Action {
    put(case, WithdrawalRecord { stage, by_hand, changed_at: case.now, ..record.clone() })
}

fn put(case: &Case<'_>, record: WithdrawalRecord) -> Action {
    let key = Key::Withdrawal(case.id.clone());
    Action::Record { revision: case.revision(&key), key, record: Record::Withdrawal(record) }
}

#[cfg(test)]
mod tests {
    use super::{super::fixtures::*, *};
    use crate::{instance::LifecycleState::*, observation::Answer, outcome::Status};

    /// Drifted, and on record since 100 s.
    fn out() -> Scene {
        drifting(&["i-1", "i-2"], &["i-1"], 110).withdrawal("i-1", Stage::Out, 100)
    }

    fn standing_by(stage: Stage) -> Scene {
        out().withdrawal("i-1", stage, 100).in_the_state("i-1", Standby).listening_since(Some(at(113)))
    }

    fn withdraw(scene: Scene, sent: u64, answer: Option<Answer>) -> Scene {
        scene.tried(AttemptKey::Withdraw(i1(), at(100)), sent, answer)
    }

    fn bring_back(scene: Scene, sent: u64, answer: Option<Answer>) -> Scene {
        scene.tried(AttemptKey::Return(i1(), at(100)), sent, answer)
    }

    fn ready_at(seconds: u64) -> Evidence {
        ready().challenged(at(seconds - 1)).received(seconds)
    }

    #[test]
    fn on_its_way_out() {
        let taken = || withdraw(out(), 110, Some(Answer::Accepted));
        let healed = || out().reported(ready_at(111));
        check(
            rule,
            &[
                (drifting(&["i-1", "i-2"], &["i-1"], 110), 110, "not ours"),
                (out(), 110, "admitted withdrawing, withdraw i-1, until 120+"),
                (out().described(99), 109, "admitted withdrawing, describe web"),
                (withdraw(out(), 110, None), 111, "admitted withdrawing, until 140"),
                (
                    withdraw(out(), 110, Some(refused())).described(111),
                    111,
                    "admitted refused(withdrawing), withdraw i-1, until 121+",
                ),
                (taken().described(109), 111, "withdrawn withdrawn, describe web"),
                (taken().described(169), 170, "withdrawn withdrawn"),
                // By hand.
                (taken().described(170), 170, "admitted proven, withdrawal/i-1 over"),
                // A balancer that was restarted, or somebody: told again.
                (taken().in_place().described(109), 111, "withdrawn withdrawn, describe web"),
                (taken().in_place().described(111), 111, "admitted withdrawing, withdraw i-1, until 121+"),
                (
                    taken().in_place().described(111).reported(ready_at(111)),
                    112,
                    "admitted proven, withdrawal/i-1 back",
                ),
                (
                    taken().in_place().described(170).wait(2, true).admission(2).withdrawal("i-1", Stage::Out, 95),
                    170,
                    "admitted proven, withdrawal/i-1 back",
                ),
                (taken().change("i-1", |record| record.way = Way::Replace).described(900), 900, "withdrawn withdrawn"),
                // By nobody's hand: the gate let it in anew.
                (
                    taken().described(170).wait(2, true).admission(2).withdrawal("i-1", Stage::Out, 95),
                    170,
                    "admitted proven, withdrawal/i-1 over",
                ),
                // It healed; but the call may have been made.
                (healed(), 112, "admitted proven, withdrawal/i-1 over"),
                (withdraw(healed(), 110, None), 112, "admitted proven"),
                (withdraw(healed(), 110, Some(unknown())).described(112), 112, "admitted proven, withdrawal/i-1 over"),
                (
                    withdraw(healed().in_place(), 110, Some(unknown())).described(112),
                    112,
                    "admitted proven, withdrawal/i-1 back",
                ),
                (
                    out().reported(not_ready(&[Status::Unknown]).challenged(at(110)).received(111)),
                    112,
                    "admitted proven",
                ),
                // Nothing is withdrawn any more.
                (out().observing(), 110, "admitted proven, withdrawal/i-1 over"),
                (out().in_the_state("i-1", Terminating), 110, "not ours"),
                (out().in_the_state("i-1", Pending), 110, "not ours"),
            ],
        );
    }

    #[test]
    fn out_until_it_is_proven_anew() {
        let passing =
            |from: u64, until: u64| standing_by(Stage::Out).reported(ready_at(from)).reported(ready_at(until));
        let back = "withdrawn withdrawn, withdrawal/i-1 back, until 201+";
        let by_hand = || standing_by(Stage::Out).listening_since(Some(at(60)));
        check(
            rule,
            &[
                (standing_by(Stage::Out), 120, "withdrawn withdrawn, until 139+"),
                // Held back until somebody put it there by hand: never ours.
                (by_hand(), 120, "nothing, withdrawal/i-1 over"),
                (withdraw(by_hand(), 110, None), 120, "withdrawn withdrawn, until 139+"),
                (by_hand().change("i-1", |record| record.at = at(99)), 120, "withdrawn withdrawn, until 139+"),
                (passing(111, 170), 171, "withdrawn withdrawn, until 200+"),
                (passing(111, 171), 171, back),
                (passing(111, 171), 201, back),
                (passing(111, 171), 202, "withdrawn withdrawn"),
                (passing(111, 171).accepting(&["newer"]), 171, "withdrawn withdrawn, until 201+"),
                (passing(111, 171).disputed(), 171, "withdrawn withdrawn, until 201+"),
                (passing(111, 171).in_the_state("i-1", EnteringStandby), 171, "withdrawn withdrawn, until 201+"),
                // A break, another boot, and something that counts at launch only.
                (
                    standing_by(Stage::Out).reported(ready_at(112)).reported(ready_at(171).of_boot("other")),
                    171,
                    "withdrawn withdrawn, until 201+",
                ),
                (
                    passing(111, 170).reported(not_ready(&[Status::Fail]).outside().challenged(at(170)).received(171)),
                    171,
                    "withdrawn withdrawn, until 201+",
                ),
                // It passed before it was withdrawn: that counts from then on.
                (passing(111, 171).withdrawal("i-1", Stage::Out, 112), 171, "withdrawn withdrawn, until 201+"),
                // Somebody else's.
                (passing(111, 171).withdrawal("i-1", Stage::Over, 112), 171, "not ours"),
                (passing(111, 171).change("i-1", |record| record.way = Way::Replace), 171, "not ours"),
                (passing(111, 171).change("i-1", |record| record.group = "db".into()), 171, "not ours"),
            ],
        );
    }

    #[test]
    fn on_its_way_back() {
        let back = || standing_by(Stage::Back).reported(ready_at(111)).described(111);
        let taken = || bring_back(back(), 112, Some(Answer::Accepted));
        let partly = |answer| bring_back(back().in_place(), 112, answer).in_the_state("i-1", InService).described(113);
        check(
            rule,
            &[
                (back(), 112, "withdrawn returning, return i-1, until 121+"),
                (back().described(99), 109, "withdrawn returning, describe web, until 141+"),
                (bring_back(back(), 112, None), 113, "withdrawn returning, until 141+"),
                (
                    bring_back(back(), 112, Some(refused())).described(113),
                    113,
                    "withdrawn refused(returning), return i-1, until 123+",
                ),
                (back(), 142, "withdrawn withdrawn"),
                (
                    back().reported(not_ready(&[Status::Fail]).challenged(at(112)).received(113)),
                    114,
                    "withdrawn withdrawn, withdrawal/i-1 out",
                ),
                (taken(), 113, "admitted returning, describe web"),
                (taken().described(112), 113, "admitted returning"),
                (taken().described(172), 173, "nothing, withdrawal/i-1 over"),
                (taken().in_the_state("i-1", Pending), 113, "admitted returning"),
                (taken().in_the_state("i-1", InService), 113, "admitted proven, withdrawal/i-1 over"),
                (taken().in_the_state("i-1", InService).described(99), 109, "admitted proven"),
                // One of several balancers did not answer: it is told what it missed.
                (partly(Some(unknown())), 115, "admitted proven, return i-1, until 123+"),
                (partly(Some(Answer::Accepted)), 115, "admitted proven, withdrawal/i-1 over"),
                (partly(None), 115, "admitted proven, until 142"),
                (
                    partly(Some(unknown())).drifts("i-1", 113, 114).listening_since(Some(at(60))),
                    115,
                    "admitted proven, withdrawal/i-1 over",
                ),
            ],
        );
    }
}
