//! Takes instances out of traffic that drifted, or came past the gate and were not proven, within what their group may lose: the gate never empties a fleet.
//!
//! Of a group that says so by `on_drift` and `on_bypass`, those that have failed for `withdraw_after` go on record one by one, and may be taken out,
//! while all of this holds: no common cause is at work (`freeze`), the group is not paused, no more than `unavailable_max` do not
//! serve, *whatever the reason*, the one in question included, and `ready_min` others are proven and serve. All of it is looked at when
//! the record is written, and once more when the call is made; who was first on record is first.
//!
//! An instance that stands by by our doing was taken off the number that the group wants, and is put on top of it here: so a share is
//! of the same number, however many stand by.
//!
//! Planted bugs (tests/simulation): `withdraw_no_budget`, `withdraw_below_floor`, `withdraw_on_silence`.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    string::String,
    vec::Vec,
};

use super::{
    Freeze, bypass,
    case::Case,
    drift,
    failure::{Failure, failure},
    gated::Gated,
    opinion::Opinion,
    withdrawn,
};
use crate::{
    action::{Action, AttemptKey},
    instance::{InstanceId, LifecycleState},
    policy::GroupPolicy,
    reason::{Reason, Restraint},
    record::{Key, Record, Stage},
    timestamp::Timestamp,
    verdict::Verdict,
};

/// All instances of a group that was described whole, where drift may take them out of traffic.
pub(super) struct Fleet<'a> {
    pub(super) gated: &'a Gated<'a>,
    members: &'a [Case<'a>],
    desired: u32,
}

impl<'a> Fleet<'a> {
    /// `None` while nobody knows how many there should be.
    pub(super) fn of(gated: &'a Gated<'a>, members: &'a [Case<'a>]) -> Option<Self> {
        let desired = gated.group?.facts.as_ref()?.desired;
        Some(Self { gated, members, desired })
    }

    /// Whether anything may take anybody out of traffic.
    pub(super) fn withdraws(&self) -> bool {
        self.members.first().is_some_and(Case::withdraws)
    }

    pub(super) fn members(&self) -> impl Iterator<Item = &Case<'a>> {
        self.members.iter()
    }

    pub(super) fn serving(&self) -> impl Iterator<Item = &Case<'a>> {
        self.members.iter().filter(|case| case.instance.state == LifecycleState::InService)
    }

    /// How many there should be: those that are wanted, and those that we took off that number, or may have. Behind a balancer nothing is taken off
    /// what an operator wants, and there are never more than there are.
    pub(super) fn size(&self) -> u32 {
        let stands_by = |case: &&Case<'_>| {
            let may_be_ours = || self.gated.observed.unreadable.contains_key(&Key::Withdrawal(case.id.clone()));
            matches!(case.instance.state, LifecycleState::EnteringStandby | LifecycleState::Standby)
                && (case.withdrawal().is_some() || may_be_ours())
        };
        let ours = self.members.iter().filter(stands_by).count();
        let size = self.desired.saturating_add(u32::try_from(ours).unwrap_or(u32::MAX));
        match self.members.first().is_some_and(Case::is_in_place) {
            true => size.min(u32::try_from(self.members.len()).unwrap_or(u32::MAX).max(self.desired)),
            false => size,
        }
    }

    /// How many do not serve.
    fn down(&self) -> usize {
        (self.size() as usize).saturating_sub(self.serving().count())
    }

    /// How many serve, are proven, and are not on their way out.
    fn proven(&self) -> usize {
        let leaves = |case: &Case<'_>| case.withdrawal().is_some_and(|record| record.stage == Stage::Out);
        self.serving().filter(|case| !leaves(case) && drift::is_proven(case)).count()
    }
}

/// How many in a hundred.
pub(super) fn share(count: usize, of: u32) -> usize {
    (count * 100).checked_div(of as usize).unwrap_or(100)
}

/// Grants what may be withdrawn now, and says why of all that drifted and may not.
pub(super) fn within_limits(
    opinions: &mut BTreeMap<InstanceId, Opinion>,
    freeze: Option<&Freeze>,
    fleet: &Fleet<'_>,
    wakes: &mut BTreeSet<Timestamp>,
) {
    let Gated { policy, now, .. } = *fleet.gated;
    wakes.extend(fleet.serving().filter_map(drift::silent_at));
    wakes.extend(fleet.serving().filter_map(bypass::due_at));
    let limits = Limits::of(fleet, policy, freeze);
    let mut leaving = Vec::new();
    for case in fleet.serving() {
        let Some(opinion) = opinions.get(case.id) else { continue };
        leaving.extend(Leaving::of(case, opinion, policy));
    }
    leaving.sort_by_key(Leaving::order);
    let mut unavailable = fleet.down();
    for one in leaving {
        let settling = one.settles_at.filter(|at| now < *at);
        if settling.is_none() {
            unavailable += 1;
        }
        let restraint = settling.map(|until| Restraint::Settling { until }).or_else(|| limits.restraint(unavailable));
        wakes.extend(restraint.as_ref().and_then(until));
        opinions.get_mut(one.case.id).into_iter().for_each(|opinion| one.tell(opinion, restraint.clone()));
    }
}

/// What a group may lose.
struct Limits {
    frozen: Option<Restraint>,
    paused: Option<Restraint>,
    proven: usize,
    ready_min: usize,
    unavailable_max: usize,
}

impl Limits {
    fn of(fleet: &Fleet<'_>, policy: &GroupPolicy, freeze: Option<&Freeze>) -> Self {
        let size = fleet.size();
        let pause = fleet.members.first().and_then(Case::pause);
        Self {
            frozen: freeze.map(|freeze| Restraint::CommonCause { cause: freeze.cause.clone() }),
            paused: pause.map(|pause| Restraint::Paused { until: pause.until }),
            proven: fleet.proven(),
            ready_min: usize::try_from(policy.ready_min(size)).unwrap_or(usize::MAX),
            unavailable_max: policy.unavailable_max(size),
        }
    }

    /// What forbids that so many do not serve.
    fn restraint(&self, unavailable: usize) -> Option<Restraint> {
        let Self { proven, ready_min, unavailable_max, .. } = *self;
        let too_few = || (proven < ready_min).then_some(Restraint::TooFewProven { proven, ready_min });
        let too_many =
            || (unavailable > unavailable_max).then_some(Restraint::Unavailable { unavailable, unavailable_max });
        self.frozen.clone().or_else(|| self.paused.clone()).or_else(too_few).or_else(too_many)
    }
}

const fn until(restraint: &Restraint) -> Option<Timestamp> {
    match restraint {
        Restraint::Settling { until } | Restraint::Paused { until } => Some(*until),
        Restraint::CommonCause { .. } | Restraint::Unavailable { .. } | Restraint::TooFewProven { .. } => None,
    }
}

/// One that serves and is to leave: on record already, or to be.
struct Leaving<'a> {
    case: &'a Case<'a>,
    /// When that was decided, and whether it may have been done.
    on_record: Option<(Timestamp, bool)>,
    failure: Option<Failure>,
    /// Until when it is looked at first.
    settles_at: Option<Timestamp>,
}

impl<'a> Leaving<'a> {
    fn of(case: &'a Case<'a>, opinion: &Opinion, policy: &GroupPolicy) -> Option<Self> {
        if let Some(record) = case.withdrawal() {
            let tried = case.attempts(&AttemptKey::Withdraw(case.id.clone(), record.changed_at)).is_some();
            let wanted = tried || opinion.wishes.iter().any(|wish| matches!(wish, Action::Withdraw(_)));
            let on_record = Some((record.changed_at, tried));
            let leaves = record.stage == Stage::Out && (wanted || failure(case).is_some());
            return leaves.then_some(Self { case, on_record, failure: None, settles_at: None });
        }
        let failure = failure(case).filter(|failure| !is_let_be(case, failure))?;
        let settles_at = Some(failure.since + policy.withdraw_after);
        Some(Self { case, on_record: None, failure: Some(failure), settles_at })
    }

    /// What may have been done comes first, then what is on record, or is being recorded.
    fn order(&self) -> (bool, bool, Timestamp, InstanceId) {
        let key = AttemptKey::Record(Key::Withdrawal(self.case.id.clone()));
        let is_being_recorded = self.on_record.is_some() || self.case.attempts(&key).is_some();
        let since = self.on_record.map(|(at, _)| at).or(self.settles_at).unwrap_or_default();
        (!self.on_record.is_some_and(|(_, tried)| tried), !is_being_recorded, since, self.case.id.clone())
    }

    fn tell(&self, opinion: &mut Opinion, restraint: Option<Restraint>) {
        let because = self.because();
        match (restraint, &self.failure) {
            // It was taken out, or the call is under way: there is nothing left to hold back.
            (Some(_), None) if is_done(opinion) || !opinion.wishes.iter().any(is_of_withdrawing) => {}
            (Some(restraint), _) => {
                opinion.wishes.retain(|wish| !is_of_withdrawing(wish));
                say(opinion, Reason::WithdrawalHeldBack { restraint, because });
            }
            (None, Some(failure)) => {
                opinion.wishes.push(withdrawn::begin(self.case, failure));
                say(opinion, Reason::WithdrawalNotRecorded { because });
            }
            (None, None) => {}
        }
    }

    fn because(&self) -> String {
        let on_record = || self.case.withdrawal().map(|record| record.because.clone()).unwrap_or_default();
        self.failure.as_ref().map_or_else(on_record, |failure| failure.because.clone())
    }
}

fn is_done(opinion: &Opinion) -> bool {
    opinion.ruling.as_ref().is_some_and(|ruling| ruling.verdict == Verdict::Withdrawn)
}

fn say(opinion: &mut Opinion, reason: Reason) {
    if let Some(ruling) = &mut opinion.ruling {
        ruling.reason = reason;
    }
}

/// The call, or the description that it waits for.
fn is_of_withdrawing(wish: &Action) -> bool {
    match wish {
        Action::Withdraw(_) | Action::Describe(_) => true,
        Action::Record { record: Record::Withdrawal(_), .. } => false,
        Action::Record { .. }
        | Action::Admit(_)
        | Action::KeepWaiting(_)
        | Action::GiveUp(_)
        | Action::Return(_)
        | Action::Protect(_)
        | Action::Tell { .. } => false,
    }
}

/// An operator let it in without proof; or somebody brought it back by hand, and it fails for nothing new.
fn is_let_be(case: &Case<'_>, failure: &Failure) -> bool {
    let on_a_word = case.admission().is_some_and(|admission| admission.warrant.is_some());
    on_a_word
        || case.last_withdrawal().is_some_and(|record| {
            record.by_hand
                && record.stage == Stage::Over
                && failure.causes.iter().all(|cause| record.causes.contains(cause))
        })
}

#[cfg(test)]
mod tests {
    use alloc::{format, string::ToString as _};

    use super::{super::fixtures::*, *};
    use crate::{decide::decide, observation::Answer};

    const FOUR: [&str; 4] = ["i-1", "i-2", "i-3", "i-4"];

    /// What is done, and what is said of all that drifted.
    fn told(scene: &Scene, now: u64) -> String {
        let decision = decide(&scene.observed, &scene.policy, at(now));
        let done = decision.actions.iter().filter(|action| is_about_withdrawing(action)).map(said);
        let reasons = decision.rulings.iter().filter_map(|(id, ruling)| {
            let restraint = match &ruling.reason {
                Reason::WithdrawalHeldBack { restraint, .. } => restraint.to_string(),
                reason if reason.code().starts_with("withdraw") => reason.code().to_string(),
                _ => return None,
            };
            Some(format!("{id} {restraint}"))
        });
        done.chain(reasons).collect::<Vec<_>>().join(", ")
    }

    fn is_about_withdrawing(action: &Action) -> bool {
        matches!(action, Action::Withdraw(_) | Action::Return(_))
            || matches!(action, Action::Record { record: Record::Withdrawal(_) | Record::Freeze(_), .. })
    }

    #[test]
    fn within_what_a_group_may_lose() {
        let one = || drifting(&FOUR, &["i-1"], 1_000);
        let granted = "withdrawal/i-1 out, i-1 withdrawal_not_recorded";
        let two = || drifting(&FOUR, &["i-1"], 1_000).drifts("i-2", 500, 999);
        let waits = |mut scene: Scene, ready_min: u32| {
            scene.group_policy().ready_min = Some(ready_min);
            scene
        };
        let wanted = |mut scene: Scene, desired| {
            scene.facts().desired = desired;
            scene
        };
        let may_lose = |mut scene: Scene, unavailable_max: u32| {
            scene.group_policy().unavailable_max_percent = unavailable_max * 25;
            scene
        };
        let drained = |desired| {
            let out = one().withdrawal("i-4", Stage::Out, 300).in_the_state("i-4", LifecycleState::Standby).in_place();
            let out = out.tried(AttemptKey::Withdraw("i-4".into(), at(300)), 300, Some(Answer::Accepted));
            wanted(may_lose(out, 2), desired)
        };
        for (number, (scene, now, expected)) in [
            (drifting(&FOUR, &[], 1_000), 1_000, ""),
            (one(), 999, "i-1 looked at until 2024-10-04T00:16:40.000Z"),
            (one(), 1_000, granted),
            (one().observing(), 1_000, ""),
            (one().paused(2_000), 1_000, "i-1 its group is paused until 2024-10-04T00:33:20.000Z"),
            (one().paused(1_000), 1_000, granted),
            // Who drifted first is first.
            (two(), 1_000, "withdrawal/i-2 out, i-1 2 would not serve, 1 may not, i-2 withdrawal_not_recorded"),
            (
                may_lose(two(), 2),
                1_000,
                "withdrawal/i-1 out, withdrawal/i-2 out, i-1 withdrawal_not_recorded, i-2 withdrawal_not_recorded",
            ),
            // Whatever the reason why others do not serve.
            (wanted(one(), 5), 1_000, "i-1 2 would not serve, 1 may not"),
            (one().in_the_state("i-4", LifecycleState::Standby), 1_000, "i-1 2 would not serve, 1 may not"),
            (
                wanted(one().in_the_state("i-4", LifecycleState::Standby), 3),
                1_000,
                "withdrawal/i-1 out, i-1 withdrawal_not_recorded",
            ),
            (
                wanted(
                    one()
                        .withdrawal("i-4", Stage::Out, 300)
                        .tried(AttemptKey::Withdraw("i-4".into(), at(300)), 300, Some(Answer::Accepted))
                        .in_the_state("i-4", LifecycleState::Standby),
                    3,
                ),
                1_000,
                "i-1 2 would not serve, 1 may not, i-4 withdrawn",
            ),
            // The same, where nobody knows any more who put it there.
            (
                wanted(
                    one()
                        .withdrawal("i-1", Stage::Out, 995)
                        .unreadable(Key::Withdrawal("i-4".into()))
                        .in_the_state("i-4", LifecycleState::Standby),
                    3,
                ),
                1_000,
                "i-1 2 would not serve, 1 may not",
            ),
            // Behind a balancer an operator's number stays as it is; without one, it is that of those that are not drained.
            (drained(4), 1_000, "withdrawal/i-1 out, i-1 withdrawal_not_recorded, i-4 withdrawn"),
            (drained(3), 1_000, "withdrawal/i-1 out, i-1 withdrawal_not_recorded, i-4 withdrawn"),
            (may_lose(drained(4), 1), 1_000, "i-1 2 would not serve, 1 may not, i-4 withdrawn"),
            (may_lose(drained(3), 1), 1_000, "i-1 2 would not serve, 1 may not, i-4 withdrawn"),
            // The others must be proven.
            (waits(one(), 3), 1_000, granted),
            (waits(one(), 4), 1_000, "i-1 3 others are proven, 4 must be"),
            (waits(one().listening_since(Some(before(1))), 3), 1_000, granted),
            (drifting(&["i-1"], &["i-1"], 1_000), 1_000, "i-1 0 others are proven, 1 must be"),
            (drifting(&["i-1", "i-2"], &["i-1"], 1_000), 1_000, granted),
        ]
        .into_iter()
        .enumerate()
        {
            assert_eq!(told(&scene, now), expected, "row {number}");
        }
    }

    #[test]
    fn what_is_on_record_is_counted_and_looked_at_again() {
        let recorded = || drifting(&FOUR, &["i-1"], 1_000).withdrawal("i-1", Stage::Out, 995);
        let with_another = || recorded().drifts("i-2", 500, 999);
        let call = |answer| with_another().tried(AttemptKey::Withdraw(i1(), at(995)), 999, answer);
        let being_recorded = || {
            let key = AttemptKey::Record(Key::Withdrawal(i1()));
            drifting(&FOUR, &["i-1"], 1_000).drifts("i-2", 500, 999).tried(key, 1_000, None)
        };
        let waits = "i-2 2 would not serve, 1 may not";
        for (number, (scene, expected)) in [
            (recorded(), "withdraw i-1, i-1 withdrawing".to_string()),
            (with_another(), format!("withdraw i-1, i-1 withdrawing, {waits}")),
            (call(None), format!("i-1 withdrawing, {waits}")),
            (call(Some(Answer::Accepted)), format!("i-1 withdrawn, {waits}")),
            (being_recorded(), format!("i-1 withdrawal_not_recorded, {waits}")),
            // Meanwhile another one went.
            (
                recorded().in_the_state("i-4", LifecycleState::Terminating),
                "i-1 2 would not serve, 1 may not".to_string(),
            ),
            (recorded().frozen(900, None), "i-1 many fail for one cause (app: fail)".to_string()),
            // Two on record, by a race: the first goes.
            (
                with_another()
                    .withdrawal("i-2", Stage::Out, 994)
                    .change("i-2", |record| record.causes = ["db: fail".into()].into()),
                "withdraw i-2, i-1 2 would not serve, 1 may not, i-2 withdrawing".to_string(),
            ),
        ]
        .into_iter()
        .enumerate()
        {
            assert_eq!(told(&scene, 1_000), expected, "row {number}");
        }
    }

    #[test]
    fn what_came_back_by_hand_is_let_be() {
        let by_hand = |causes: &[&str]| {
            let scene = drifting(&FOUR, &["i-1"], 1_000).withdrawal("i-1", Stage::Over, 300);
            let causes = causes.iter().map(|cause| (*cause).into()).collect();
            scene.change("i-1", |record| (record.by_hand, record.causes) = (true, causes))
        };
        assert_eq!(told(&by_hand(&["app: fail", "db: fail"]), 1_000), "");
        let granted = "withdrawal/i-1 out, i-1 withdrawal_not_recorded";
        assert_eq!(told(&by_hand(&["db: fail"]), 1_000), granted);
        assert_eq!(told(&by_hand(&["app: fail"]).change("i-1", |record| record.by_hand = false), 1_000), granted);
    }

    /// A minute later it would be out again, for what the operator knew.
    #[test]
    fn what_an_operator_let_in_is_let_be() {
        let scene = || drifting(&FOUR, &["i-1"], 1_000);
        assert_eq!(told(&scene().warranted(1, Some("boot")), 1_000), "");
        let granted = "withdrawal/i-1 out, i-1 withdrawal_not_recorded";
        assert_eq!(told(&scene().warranted(2, Some("boot")), 1_000), granted, "of another wait");
    }

    #[test]
    fn a_detached_group_withdraws_nothing() {
        let scene = |ended| drifting(&FOUR, &["i-1"], 1_000).detached(50, ended);
        assert_eq!(told(&scene(None), 1_000), "");
        assert_eq!(told(&scene(None).drifts("i-2", 940, 999), 1_000), "", "nor is it frozen");
        assert_eq!(told(&scene(None).withdrawal("i-1", Stage::Out, 995), 1_000), "withdrawal/i-1 over");
        let granted = "withdrawal/i-1 out, i-1 withdrawal_not_recorded";
        assert_eq!(told(&scene(Some(99)), 1_000), granted);
    }

    #[test]
    fn it_wakes_when_the_time_has_come() {
        let scene = drifting(&FOUR, &["i-1"], 1_000).described(996);
        let decision = decide(&scene.observed, &scene.policy, at(997));
        assert_eq!(decision.wake_at.map(seconds).as_deref(), Some("1000"));
    }
}
