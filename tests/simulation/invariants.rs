//! What must hold after every step, by what the cloud and the store saw; and what must have come about at the end.

use std::collections::BTreeMap;

use portcullis::{
    action::{Action, AttemptKey, Held, Told},
    alert::AlertKey,
    decide::{Breaker, Decision},
    digest::Digest,
    instance::{GroupName, InstanceId, LifecycleState, WaitId},
    policy::{Mode, Policy},
    reason::Reason,
    record::{Key, OverrideRecord, Record, RejectionRecord, Warrant, Word},
    verdict::{Ruling, Verdict},
};

use crate::{
    cloud::{Cloud, IN_PLACE, Machine},
    controller::Controller,
    world::SKEW_MAX,
};

mod survivors;
mod withdrawal;
mod words;

type Store = BTreeMap<Key, (u64, Record)>;

/// How old the truth may be on which CONTINUE rests: a check and its way (4.5 s), the report's age (10 s), the call (4 s).
const TRUTH_AGE_MAX: u64 = 18_500 + SKEW_MAX;
/// A lease (15 s) less a call, in which a leader that is cut off from the store acts on what it knew; and the call.
const PROMOTION_AGE_MAX: u64 = 16_000;
/// From a decision to its effect.
const CALL: u64 = 4_000;
/// Until a leader knows what is so in the cloud: several descriptions, some of which are lost.
const NOTICED: u64 = 40_000;
/// The reason of whoever detaches a group.
pub(crate) const LEAVING: &str = "we leave";
/// More turns than that in a second are a treadmill.
const TURNS_PER_SECOND_MAX: usize = 400;

pub(crate) struct Invariants {
    policy: Policy,
    violation: Option<String>,
    healed_at: Option<u64>,
    accepted: BTreeMap<GroupName, Vec<(u64, Vec<Digest>)>>,
    /// What operators said, and when the next word took its place.
    words: BTreeMap<InstanceId, Vec<(OverrideRecord, u64)>>,
    /// When groups were detached, and attached again.
    detached: BTreeMap<GroupName, Vec<(u64, u64)>>,
    given_up_at: BTreeMap<GroupName, u64>,
    /// Who was given up, when, and why; since the group was last proven or promoted.
    failed: BTreeMap<GroupName, Vec<(u64, Vec<String>)>>,
    admitted: BTreeMap<(InstanceId, WaitId), u64>,
    leads_since: BTreeMap<(usize, u64), u64>,
    turns: BTreeMap<usize, (u64, usize)>,
    /// Since when a group is impaired, in truth.
    impaired_since: BTreeMap<GroupName, u64>,
    well_since: BTreeMap<GroupName, u64>,
    /// Since when too few of a group serve, in truth.
    short_since: BTreeMap<GroupName, u64>,
    /// What each sink took last of each alert.
    told: BTreeMap<(AlertKey, String), (u64, Told)>,
    /// Since when an alert fires, or does not, by whoever leads.
    fires_since: BTreeMap<AlertKey, (u64, bool)>,
}

impl Invariants {
    pub(crate) const fn new(policy: Policy) -> Self {
        Self {
            policy,
            violation: None,
            healed_at: None,
            accepted: BTreeMap::new(),
            words: BTreeMap::new(),
            detached: BTreeMap::new(),
            given_up_at: BTreeMap::new(),
            failed: BTreeMap::new(),
            admitted: BTreeMap::new(),
            leads_since: BTreeMap::new(),
            turns: BTreeMap::new(),
            impaired_since: BTreeMap::new(),
            well_since: BTreeMap::new(),
            short_since: BTreeMap::new(),
            told: BTreeMap::new(),
            fires_since: BTreeMap::new(),
        }
    }

    /// # Errors
    /// With the first that did not hold.
    pub(crate) fn verdict(&mut self) -> Result<(), String> {
        self.violation.take().map_or(Ok(()), Err)
    }

    fn must(&mut self, holds: bool, violation: impl FnOnce() -> String) {
        if !holds && self.violation.is_none() {
            self.violation = Some(violation());
        }
    }

    fn enforces(&self, group: &GroupName) -> bool {
        self.policy.groups[group].mode == Mode::Enforce
    }

    pub(crate) const fn heals(&mut self, now: u64) {
        self.healed_at = Some(now);
    }

    pub(crate) fn promoted(&mut self, group: &GroupName, accepted: &[Digest], now: u64) {
        self.failed.remove(group);
        self.accepted.entry(group.clone()).or_default().push((now, accepted.to_vec()));
    }

    /// Whether a release was accepted at any time since.
    fn was_accepted(&self, group: &GroupName, release: &Digest, since: u64) -> bool {
        let history = &self.accepted[group];
        let ends = history.iter().skip(1).map(|(at, _)| *at).chain([u64::MAX]);
        history.iter().zip(ends).any(|((_, accepted), end)| end >= since && accepted.contains(release))
    }

    pub(crate) fn leased(&mut self, index: usize, life: u64, led_already: bool, now: u64) {
        let since = self.leads_since.entry((index, life)).or_insert(now);
        if !led_already {
            *since = now;
        }
    }

    /// 5: every waiting or serving instance has a ruling, every hold that waits for the instance a deadline.
    pub(crate) fn decided(&mut self, index: usize, controller: &Controller, decision: &Decision, now: u64) {
        self.counts_turns(index, now);
        self.must(!controller.forgot, || "7: what a part of a description did not list was forgotten".into());
        for (id, instance) in &controller.observed.instances {
            let known = controller.observed.groups.get(&instance.group).is_some_and(|group| group.facts.is_some());
            let gated = instance.state.is_waiting() || instance.state == LifecycleState::InService;
            let ruled = decision.rulings.contains_key(id);
            self.must(!known || !gated || ruled, || format!("5: {id} is {} and has no ruling", instance.state));
        }
        for (id, ruling) in &decision.rulings {
            let bounded = ruling.deadline.is_some() || !waits_for_the_instance(ruling);
            self.must(bounded, || format!("5: {id} is held without a deadline: {}", ruling.reason));
        }
    }

    /// Nothing is stuck in silence: too few that serve, and agents that say nothing, are told by whoever has led long enough.
    pub(crate) fn tells(&mut self, by: (usize, u64), cloud: &Cloud, decision: &Decision, now: u64) {
        self.notes_alerts(decision, now);
        let led_since = self.leads_since.get(&by).copied().unwrap_or(now);
        for (name, group) in &cloud.groups {
            let serving: Vec<_> = cloud.instances.iter().filter(|(_, machine)| machine.group == *name).collect();
            let serving: Vec<_> = serving.into_iter().filter(|(_, one)| one.is(&LifecycleState::InService)).collect();
            if serving.len() >= group.desired {
                self.short_since.remove(name);
            } else {
                self.short_since.entry(name.clone()).or_insert(now);
            }
            let fires = |code: &str| decision.alerts.contains_key(&AlertKey { group: name.clone(), code: code.into() });
            let policy = &self.policy.groups[name];
            let (stall_after, silent_after) =
                (policy.stall_after.as_millis() as u64, policy.silent_after.as_millis() as u64);
            let short_since = self.short_since.get(name).map_or(now, |since| *since.max(&led_since));
            let stalled = now - short_since > stall_after + NOTICED;
            self.must(!stalled || fires("stalled"), || format!("5: too few of {name} serve, and nobody is told"));
            for (id, machine) in serving {
                let since = machine.agent.spoke_at.max(machine.since()).max(led_since);
                let silent = now - since > silent_after + NOTICED;
                self.must(!silent || fires("silent"), || format!("5: {id} says nothing, and nobody is told"));
            }
        }
    }

    fn notes_alerts(&mut self, decision: &Decision, now: u64) {
        for (key, fires) in &mut self.fires_since {
            if fires.1 && !decision.alerts.contains_key(key) {
                *fires = (now, false);
            }
        }
        for key in decision.alerts.keys() {
            let fires = self.fires_since.entry(key.clone()).or_insert((now, true));
            if !fires.1 {
                *fires = (now, true);
            }
        }
    }

    pub(crate) fn told(&mut self, key: AlertKey, sink: String, told: Told, now: u64) {
        self.told.insert((key, sink), (now, told));
    }

    /// Every sink that listens knows what fires, and what no longer does; and knows of the one that does not.
    pub(crate) fn everybody_was_told(&mut self, leader: &Controller, deaf: bool, now: u64) {
        let decision = leader.decides(now);
        let calm = self.healed_at.map_or(now, |at| at + 60_000);
        for (key, (since, fires)) in self.fires_since.clone() {
            let settled = since.max(calm) + 30_000 < now && fires == decision.alerts.contains_key(&key);
            for sink in ["mail", "pager"] {
                let last = self.told.get(&(key.clone(), sink.to_string())).copied();
                let knows = match (fires, last) {
                    (true, last) => last.is_some_and(|(at, told)| told == Told::Fires && at >= since),
                    (false, last) => last.is_none_or(|(_, told)| told == Told::IsOver),
                };
                let listens = !(deaf && sink == "mail");
                self.must(!settled || !listens || knows, || {
                    format!("{sink} was last told {last:?} of {key:?}, which fires: {fires}, since {since}")
                });
            }
        }
    }

    fn counts_turns(&mut self, index: usize, now: u64) {
        let (second, turns) = self.turns.entry(index).or_insert((0, 0));
        if *second != now / 1_000 {
            (*second, *turns) = (now / 1_000, 0);
        }
        *turns += 1;
        let turns = *turns;
        self.must(turns <= TURNS_PER_SECOND_MAX, || format!("a treadmill: {turns} turns in a second"));
    }

    /// 8: nothing is sent while the same is under way, nor once it is known to be done.
    pub(crate) fn sends(&mut self, controller: &Controller, action: &Action, now: u64) {
        let limits = self.policy.limits.clone();
        let (lost_after, again_after) = (limits.call_timeout.as_millis(), limits.propagation_max.as_millis());
        let key = action.key();
        let measured = |at: u64| controller.clock_set_at < at;
        let under_way = controller.under_way.get(&key).filter(|at| measured(**at));
        let under_way = under_way.is_some_and(|at| u128::from(now - at) < lost_after);
        self.must(!under_way, || format!("8: {key:?} is sent while it is under way"));
        self.is_no_common_cause(controller, action, now);
        // Half of what there is; a description may take the last of it, and two more.
        let pressed = controller.pressed.as_ref().is_some_and(|(at, calls)| {
            let cost: usize = calls.iter().map(AttemptKey::cost).sum();
            measured(*at) && now < at + 1_000 && cost >= limits.calls_per_turn_max / 2
        });
        self.must(!pressed || !key.is_call(), || format!("{key:?} is sent although the cloud throttles"));
        if let AttemptKey::Admit(id, wait) = &key {
            let described_at = controller.observed.instances.get(id).map_or(0, |instance| instance.described_at.0);
            let now_local = controller.local(now).0;
            let fresh = u128::from(now_local.saturating_sub(described_at)) <= limits.describe_age_max.as_millis();
            self.must(fresh, || format!("1: CONTINUE for {id} is sent on an old description"));
            let taken = controller.taken.get(&(id.clone(), *wait));
            // Forgotten, when a description lagged so far that the instance was not in it: sent again, and no harm done.
            let known = controller.observed.attempts.contains_key(&key);
            // A balancer that forgot is told again at once.
            let group = controller.observed.instances.get(id).map(|instance| &instance.group);
            let known = known && group.is_none_or(|group| group.as_str() != IN_PLACE);
            let taken = taken.filter(|at| known && measured(**at));
            let taken = taken.is_some_and(|at| u128::from(now - at) < again_after);
            self.must(!taken, || format!("8: CONTINUE for {id} is sent again after it was taken"));
        }
    }

    /// 8: only the lease holder acts.
    pub(crate) fn arrives(&mut self, action: &Action, by_holder: bool) {
        self.must(by_holder, || format!("8: {:?} comes from one who does not hold the lease", action.key()));
    }

    /// 1, 3: admitted on the truth, for an accepted release, in this wait; and on record (6).
    pub(crate) fn admitted(&mut self, held: &Held, machine: &Machine, began_at: u64, store: &Store, now: u64) {
        let id = &held.instance;
        let record = match store.get(&Key::Admission(id.clone())) {
            Some((_, Record::Admission(record))) if record.wait == held.wait => Some(record),
            _ => None,
        };
        self.must(record.is_some(), || format!("6: {id} was admitted, and no record says so"));
        self.is_not_held(held, store, now);
        if let Some(warrant) = record.and_then(|record| record.warrant.as_ref()) {
            return self.admitted_on_a_word(held, warrant, began_at, now);
        }
        if !self.enforces(&held.group) {
            return;
        }
        let boots = machine.agent.booted_at + TRUTH_AGE_MAX > now;
        let proven = record.and_then(|record| record.boot.as_ref()) == Some(&machine.agent.boot_id());
        self.must(boots || proven, || format!("1: {id} was admitted, and another boot of it is on record"));
        let since = now.saturating_sub(TRUTH_AGE_MAX).max(began_at);
        let ready = machine.agent.was_ready(since, now);
        self.must(ready, || format!("1: {id} was admitted, and is {:?} and not ready", machine.agent.kind));
        let accepted = self.was_accepted(&held.group, &machine.agent.release, now.saturating_sub(PROMOTION_AGE_MAX));
        self.must(accepted, || format!("1: {id} was admitted with a release that is not accepted"));
        self.failed.remove(&held.group);
        let first = self.admitted.insert((id.clone(), held.wait), now).is_none();
        self.must(first, || format!("8: two CONTINUE for wait {} of {id} were taken", held.wait));
    }

    /// The same behind a balancer, which may be told again when it forgot: then on what a serving agent said last.
    pub(crate) fn let_in(&mut self, held: &Held, machine: &Machine, store: &Store, now: u64) {
        let id = &held.instance;
        let record = match store.get(&Key::Admission(id.clone())) {
            Some((_, Record::Admission(record))) if record.wait == held.wait => Some(record),
            _ => None,
        };
        self.must(record.is_some(), || format!("6: {id} was let in, and no record says so"));
        self.is_not_held(held, store, now);
        if !self.enforces(&held.group) {
            return;
        }
        if let Some(warrant) = record.and_then(|record| record.warrant.as_ref()) {
            return self.admitted_on_a_word(held, warrant, 0, now);
        }
        let again = self.admitted.insert((id.clone(), held.wait), now).is_some();
        let serving_age_max = self.policy.limits.serving_report_age_max.as_millis() as u64;
        let age_max = if again { TRUTH_AGE_MAX + serving_age_max } else { TRUTH_AGE_MAX };
        let ready = machine.agent.was_ready(now.saturating_sub(age_max), now);
        self.must(ready, || format!("1: {id} was let in (again: {again}), and is {:?}", machine.agent.kind));
        let accepted = self.was_accepted(&held.group, &machine.agent.release, now.saturating_sub(PROMOTION_AGE_MAX));
        self.must(accepted, || format!("1: {id} was let in with a release that is not accepted"));
    }

    /// 1: what is held and gets traffic all the same is held again, by whoever has led long enough.
    pub(crate) fn nobody_slips(&mut self, by: (usize, u64), cloud: &Cloud, store: &Store, now: u64) {
        let led_since = self.leads_since.get(&by).copied().unwrap_or(now);
        for (id, machine) in &cloud.instances {
            let serves = cloud.groups[&machine.group].in_place && machine.is(&LifecycleState::InService);
            if !serves || !self.enforces(&machine.group) {
                continue;
            }
            let wait = match store.get(&Key::Wait(id.clone())) {
                Some((_, Record::Wait(wait))) if !wait.over => wait,
                _ => continue,
            };
            let admitted = matches!(store.get(&Key::Admission(id.clone())), Some((_, Record::Admission(record)))
                if record.wait == wait.wait);
            // By a clock that may be ahead.
            let slipped_for = now.saturating_sub(machine.since().max(led_since).max(wait.since.0));
            self.must(admitted || slipped_for < 2 * NOTICED, || {
                format!("1: {id} gets traffic for {slipped_for} ms though it is held")
            });
        }
    }

    /// 2, 5: given up after its deadline, with its group's interval, and on record.
    pub(crate) fn given_up(&mut self, held: &Held, machine: &Machine, began_at: u64, store: &Store, now: u64) {
        let id = &held.instance;
        let policy = self.policy.groups[&held.group].clone();
        let last = self.given_up_at.insert(held.group.clone(), now);
        if is_on_a_word(store.get(&Key::Rejection(id.clone()))) {
            return;
        }
        let detached = self.is_surely_detached(&held.group, now);
        self.must(!detached, || format!("{id} was given up in a group that is detached"));
        let enforces = self.enforces(&held.group);
        self.must(enforces, || format!("{id} was given up in a group that only observes"));
        let deadline = began_at + policy.admission_deadline.as_millis() as u64;
        let outdated = matches!(store.get(&Key::Rejection(id.clone())), Some((_, Record::Rejection(record)))
            if record.outdated.is_some());
        self.must(outdated || now + SKEW_MAX >= deadline, || {
            format!("5: {id} was given up {} ms before its deadline", deadline.saturating_sub(now))
        });
        let paced =
            last.is_none_or(|last| u128::from(now - last + SKEW_MAX) >= policy.abandon_interval_min.as_millis());
        self.must(paced, || format!("2: {id} was given up too soon after another of its group"));
        let on_record = match store.get(&Key::Rejection(id.clone())) {
            Some((_, Record::Rejection(record))) => record.wait == held.wait,
            _ => false,
        };
        self.must(on_record, || format!("6: {id} was given up, and no record says so"));
        self.spares_the_ready(held, machine, now);
    }

    /// 5: before its deadline, only one that has failed for longer than a launch takes, and only where another template is there by now.
    pub(crate) fn gives_way(
        &mut self,
        held: &Held,
        machine: &Machine,
        began_at: u64,
        cloud: &Cloud,
        store: &Store,
        now: u64,
    ) {
        let (id, policy) = (&held.instance, self.policy.groups[&held.group].clone());
        let record = store.get(&Key::Rejection(id.clone()));
        if !matches!(record, Some((_, Record::Rejection(record))) if record.outdated.is_some()) || is_on_a_word(record)
        {
            return;
        }
        let present = cloud.groups[&held.group].template;
        self.must(machine.template < present, || format!("5: {id} gave way, and is of the present template"));
        let waited_for = now - began_at + SKEW_MAX;
        self.must(u128::from(waited_for) >= policy.stall_after.as_millis(), || {
            format!("5: {id} gave way after {waited_for} ms, as long as a launch may take")
        });
        let turn = self.policy.limits.call_timeout.as_millis() as u64 * 3;
        let failed = machine.agent.failed_at.is_some_and(|at| now - at <= TRUTH_AGE_MAX + turn);
        self.must(failed, || format!("3: {id} gave way, and its agent ({:?}) told of no failure", machine.agent.kind));
    }

    /// Once launches keep failing for one cause, they are replaced one at a time, and seldom.
    fn breaks_off(&mut self, id: &InstanceId, rejection: &RejectionRecord, now: u64) {
        let policy = &self.policy.groups[&rejection.group];
        let (window, pause) = (policy.breaker_window.as_millis() as u64, policy.breaker_retry_after.as_millis() as u64);
        let failed = self.failed.entry(rejection.group.clone()).or_default();
        failed.retain(|(at, _)| at + window > now);
        let same = failed.iter().filter(|(_, causes)| causes.iter().any(|cause| rejection.causes.contains(cause)));
        let last = same.map(|(at, _)| *at).max();
        failed.push((now, rejection.causes.clone()));
        let stopped = last.is_none_or(|last| now - last + CALL + SKEW_MAX >= pause);
        self.must(stopped, || {
            format!("2: {id} was rejected soon after another, for the same cause: {:?}", rejection.causes)
        });
    }

    /// 6: rejected by one who listened; another turn for a rejected one needs no more of it.
    pub(crate) fn recorded(&mut self, by: (usize, u64), key: &Key, record: &Record, store: &Store, now: u64) {
        if let Record::Admission(admission) = record
            && admission.manifest.is_some()
        {
            self.failed.remove(&admission.group);
        }
        let (Key::Rejection(id), Record::Rejection(record)) = (key, record) else { return };
        if let Some(warrant) = &record.warrant {
            let said = matches!(store.get(&Key::Override(id.clone())), Some((_, Record::Override(said)))
                if said.warrant == *warrant && said.wait == record.wait);
            return self.must(said, || format!("{id} was rejected on a word that nobody gave"));
        }
        if matches!(store.get(key), Some((_, Record::Rejection(before))) if before.wait == record.wait) {
            return;
        }
        self.breaks_off(id, record, now);
        let listened = self.leads_since.get(&by).map_or(0, |since| now - since);
        let heard = u128::from(listened + SKEW_MAX) >= self.policy.limits.listen_min.as_millis();
        self.must(heard, || format!("6: {id} was rejected by one who had listened for {listened} ms only"));
    }

    /// With nothing in the way, one that is ready and says so is admitted, never given up.
    fn spares_the_ready(&mut self, held: &Held, machine: &Machine, now: u64) {
        let calm = self.healed_at.is_some_and(|healed_at| now > healed_at + 60_000);
        let ready = machine.agent.ready.iter().any(|(from, until)| *from + 100_000 < now && now < *until);
        let accepted = self.accepted[&held.group].last();
        let accepted = accepted.is_some_and(|(_, accepted)| accepted.contains(&machine.agent.release));
        self.must(!(calm && ready && accepted), || format!("5: {} was given up, and was ready", held.instance));
    }

    /// 4: with a controller at work, no hook runs into its timeout.
    pub(crate) fn timed_out(&mut self, id: &InstanceId, now: u64) {
        let calm = self.healed_at.is_some_and(|healed_at| now > healed_at + 70_000);
        self.must(!calm, || format!("4: the hook of {id} timed out, with a controller at work"));
    }

    /// 5, 6, 7: whatever happened, in the end every instance serves, or is given up in its turn.
    pub(crate) fn at_the_end(&mut self, cloud: &Cloud, controllers: &[Controller], leader: usize, now: u64) {
        let decision = controllers[leader].decides(now);
        for (name, group) in &cloud.groups {
            let members = || cloud.instances.iter().filter(|(_, machine)| machine.group == *name);
            let serving = members().filter(|(_, machine)| machine.is(&LifecycleState::InService));
            let serving: Vec<_> = serving.map(|(id, _)| id.clone()).collect();
            self.must(group.hopeless || serving.len() == group.desired, || {
                format!("7: {} of {} instances of {name} serve in the end", serving.len(), group.desired)
            });
            for id in serving {
                let bypassed = decision.rulings.get(&id).is_some_and(|ruling| ruling.reason == Reason::Bypassed);
                let wrongly = bypassed && !group.other_hook && self.serves_as_admitted(&cloud.instances[&id], &id);
                self.must(!wrongly, || format!("6: {id} was admitted and looks as if it had bypassed the gate"));
            }
            for (id, machine) in members().filter(|(_, machine)| machine.stands_by()) {
                let stays = self.is_well(machine, now);
                self.must(!stays, || format!("2: {id} is well again and was never brought back"));
            }
            self.nobody_bypasses_for_ever(name, cloud, &controllers[leader], now);
            let longest = self.longest_wait(name, group.desired as u64);
            for (id, machine) in members() {
                let since = machine.wait.as_ref().map_or(now, |wait| wait.began_at);
                let kept = matches!(decision.breakers.get(name), Some(Breaker::Open { .. } | Breaker::HalfOpen { .. }));
                let kept = kept && group.hopeless;
                self.must(kept || now - since <= longest, || format!("5: {id} waits for ever, since {since} ms"));
            }
        }
    }

    /// Whether it was admitted and did not boot since: one that reboots while other hooks hold it waits anew, unproven.
    fn serves_as_admitted(&self, machine: &Machine, id: &InstanceId) -> bool {
        self.admitted.iter().any(|((admitted, _), at)| admitted == id && machine.agent.booted_at < *at)
    }

    /// Listening, a deadline, twice where it was admitted first, and a turn for each of the group.
    fn longest_wait(&self, name: &GroupName, desired: u64) -> u64 {
        let (policy, limits) = (&self.policy.groups[name], &self.policy.limits);
        let turn = policy.abandon_interval_min + limits.call_timeout * 4 + limits.describe_every;
        let tries = policy.breaker_retry_after + policy.admission_deadline;
        (limits.listen_min + policy.admission_deadline * 2 + tries + turn * (desired as u32 + 1)).as_millis() as u64
    }
}

fn is_on_a_word(record: Option<&(u64, Record)>) -> bool {
    matches!(record, Some((_, Record::Rejection(rejection))) if rejection.warrant.is_some())
}

fn waits_for_the_instance(ruling: &Ruling) -> bool {
    ruling.verdict == Verdict::Held
        && !matches!(
            ruling.reason,
            Reason::WaitNotRecorded
                | Reason::AdmissionNotRecorded
                | Reason::AwaitingDescription
                | Reason::Refused { .. }
                | Reason::NoHook { .. }
        )
}
