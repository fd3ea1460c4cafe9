//! Words for tables: a scene is one instance, `i-1` of group `web`, with all that is known of it. Times are seconds since its
//! wait began. The limits are the defaults; the group enforces, and wants release `new` (`old` is accepted too).

use alloc::{
    format,
    string::{String, ToString},
    vec,
    vec::Vec,
};
use core::time::Duration;

use super::{case::Case, opinion::Opinion};
use crate::{
    action::{Action, AttemptKey, Protection},
    attempt::Attempts,
    digest::Digest,
    instance::{GroupName, InstanceId, LifecycleState, WaitId},
    observation::{Answer, Custody, GroupFacts, Hook, Refresh},
    observed::{Group, Instance, Observed},
    outcome::Status,
    policy::{GroupPolicy, Mode, Policy},
    reason::Reason,
    record::{
        AdmissionRecord, BreakerRecord, DetachRecord, DisputeRecord, GroupRecord, Key, OverrideRecord, PauseRecord,
        ProtectionRecord, Record, RejectionRecord, WaitRecord, Warrant, Word,
    },
    report::{Cause, Evidence, Readiness},
    timestamp::Timestamp,
};

mod case;
mod withdrawal;

pub(super) use withdrawal::drifting;

/// Seconds after the wait began.
pub(super) fn at(seconds: u64) -> Timestamp {
    Timestamp((DAY + seconds) * 1_000)
}

/// Seconds before the wait began.
pub(super) fn before(seconds: u64) -> Timestamp {
    Timestamp((DAY - seconds) * 1_000)
}

/// A real one, in seconds: moments have as many digits as they have in use.
const DAY: u64 = 20_000 * 86_400;

#[derive(Clone)]
pub(super) struct Scene {
    pub(super) observed: Observed,
    pub(super) policy: Policy,
}

pub(super) fn in_state(state: LifecycleState) -> Scene {
    let hook = Hook {
        name: "portcullis".into(),
        heartbeat_timeout_s: 3_600,
        global_timeout_s: 172_800,
        abandons_by_default: true,
    };
    let facts = GroupFacts { desired: 1, launch_hooks: vec![hook], ..GroupFacts::default() };
    let mut scene = Scene { observed: Observed::default(), policy: Policy::default() };
    scene.observed.groups.insert(web(), Group { asked_at: Some(at(0)), facts: Some(facts), ..Group::default() });
    scene.observed.lease = Some((1, at(1_000_000)));
    scene.observed.listening_since = Some(before(600));
    let group = GroupPolicy { mode: Mode::Enforce, ..GroupPolicy::default() };
    scene.policy.groups.insert(web(), group);
    scene.accepting(&["new", "old"]).beside("i-1", state)
}

/// It waits, and its wait is on record.
pub(super) fn waiting() -> Scene {
    in_state(LifecycleState::PendingWait).wait(1, false)
}

/// It waits, was proven in time and recorded so, and was described a moment ago: all is set for CONTINUE at 100 s.
pub(super) fn proven() -> Scene {
    waiting().reported(ready().received(95)).admission(1).described(98)
}

/// It waits, and its turn to be given up began at 1,300 s.
pub(super) fn rejected() -> Scene {
    waiting().rejection("i-1", 1, 1_300).described(1_300)
}

pub(super) fn web() -> GroupName {
    "web".into()
}

pub(super) fn i1() -> InstanceId {
    "i-1".into()
}

impl Scene {
    pub(super) fn observing(mut self) -> Self {
        self.group_policy().mode = Mode::Observe;
        self
    }

    pub(super) fn group_policy(&mut self) -> &mut GroupPolicy {
        self.policy.groups.get_mut(&web()).expect("every scene has the group")
    }

    pub(super) fn facts(&mut self) -> &mut GroupFacts {
        let group = self.observed.groups.get_mut(&web()).expect("every scene has the group");
        group.facts.as_mut().expect("every scene's group was described")
    }

    /// What the group accepts; nothing at all is no release.
    pub(super) fn accepting(self, releases: &[&str]) -> Self {
        let accepted = releases.iter().map(|name| Digest::of(name.as_bytes())).collect();
        self.stored(Key::Group(web()), Record::Group(GroupRecord { accepted, at: before(600) }))
    }

    pub(super) fn hooks(mut self, names: &[&str]) -> Self {
        let hook = self.facts().launch_hooks[0].clone();
        self.facts().launch_hooks = names.iter().map(|name| Hook { name: (*name).into(), ..hook.clone() }).collect();
        self
    }

    pub(super) fn hook_timeout(mut self, seconds: u64) -> Self {
        self.facts().launch_hooks[0].heartbeat_timeout_s = seconds;
        self
    }

    pub(super) fn listening_since(mut self, since: Option<Timestamp>) -> Self {
        self.observed.listening_since = since;
        self
    }

    /// Its balancer finds it unhealthy.
    pub(super) fn unhealthy(mut self) -> Self {
        self.observed.instances.values_mut().for_each(|instance| instance.healthy = Some(false));
        self
    }

    /// Held where it is, by a balancer.
    pub(super) fn in_place(mut self) -> Self {
        self.facts().custody = Custody::InPlace;
        self
    }

    /// Held by a hook, as anywhere else.
    pub(super) fn at_launch(mut self) -> Self {
        self.facts().custody = Custody::AtLaunch;
        self
    }

    /// Described in another state.
    pub(super) fn in_state(mut self, state: LifecycleState) -> Self {
        self.observed.instances.insert(i1(), Instance { state, ..self.observed.instances[&i1()].clone() });
        self
    }

    /// Another instance of the group.
    pub(super) fn beside(mut self, id: &str, state: LifecycleState) -> Self {
        let (group, described_at) = (web(), at(0));
        let instance = Instance {
            group,
            state,
            protected: false,
            described_at,
            healthy: None,
            serving_since: None,
            evidence: None,
            passing_since: None,
            well_since: None,
            drifting_since: None,
        };
        self.observed.instances.insert(id.into(), instance);
        self
    }

    /// It serves, and was first seen to then.
    pub(super) fn serving_since(mut self, seconds: u64) -> Self {
        self.observed.instances.values_mut().for_each(|instance| instance.serving_since = Some(at(seconds)));
        self
    }

    /// Too few of the group serve, since then.
    pub(super) fn short_since(mut self, seconds: u64) -> Self {
        self.observed.groups.values_mut().for_each(|group| group.short_since = Some(at(seconds)));
        self
    }

    /// The cloud says that it is protected from scale-in.
    pub(super) fn protected(mut self, id: &str) -> Self {
        self.observed.instances.get_mut(&id.into()).into_iter().for_each(|instance| instance.protected = true);
        self
    }

    /// It is on record that we protect it, since then.
    pub(super) fn guarded(self, id: &str, seconds: u64) -> Self {
        let mut instances = super::survivors::kept(&web(), &self.observed);
        instances.insert(id.into(), at(seconds));
        self.stored(Key::Protection(web()), Record::Protection(ProtectionRecord { instances }))
    }

    /// All instances of the group are being replaced.
    pub(super) fn refreshing(mut self, waits_for_protected: bool) -> Self {
        self.facts().refresh = Some(Refresh { id: "r-1".into(), waits_for_protected, said: "5 % done".into() });
        self
    }

    /// What the cloud says of its own attempts.
    pub(super) fn activity(mut self, said: &str) -> Self {
        self.facts().activities.push(said.into());
        self
    }

    pub(super) fn stored(mut self, key: Key, record: Record) -> Self {
        self.observed.records.insert(key, (7, record));
        self
    }

    pub(super) fn wait(self, wait: u64, over: bool) -> Self {
        self.wait_of("i-1", wait, at(0), over)
    }

    pub(super) fn wait_of(self, id: &str, wait: u64, since: Timestamp, over: bool) -> Self {
        let record = WaitRecord { group: web(), wait: WaitId(wait), since, over, warm: false };
        self.stored(Key::Wait(id.into()), Record::Wait(record))
    }

    /// For boot `boot` and release `new`.
    /// Its wait was on the way into the warm pool.
    pub(super) fn warm(mut self) -> Self {
        if let Some((_, Record::Wait(record))) = self.observed.records.get_mut(&Key::Wait(i1())) {
            record.warm = true;
        }
        self
    }

    pub(super) fn admission(self, wait: u64) -> Self {
        self.admission_of(wait, Some("boot"), Some("new"))
    }

    pub(super) fn admission_of(self, wait: u64, boot: Option<&str>, release: Option<&str>) -> Self {
        let (boot, manifest) = (boot.map(Into::into), release.map(|name| Digest::of(name.as_bytes())));
        let record = AdmissionRecord { group: web(), wait: WaitId(wait), boot, manifest, at: at(96), warrant: None };
        self.stored(Key::Admission(i1()), Record::Admission(record))
    }

    /// Admitted without proof, on an operator's word.
    pub(super) fn warranted(self, wait: u64, boot: Option<&str>) -> Self {
        let (wait, boot, warrant) = (WaitId(wait), boot.map(Into::into), Some(warrant()));
        let record = AdmissionRecord { group: web(), wait, boot, manifest: None, at: at(96), warrant };
        self.stored(Key::Admission(i1()), Record::Admission(record))
    }

    /// Its rejection is on an operator's word.
    pub(super) fn on_a_word(mut self) -> Self {
        if let Some((_, Record::Rejection(record))) = self.observed.records.get_mut(&Key::Rejection(i1())) {
            record.warrant = Some(warrant());
        }
        self
    }

    pub(super) fn rejection(self, id: &str, wait: u64, seconds: u64) -> Self {
        let (wait, at, because) = (WaitId(wait), at(seconds), "late".into());
        let causes = vec!["no_report".into()];
        let record = RejectionRecord { group: web(), wait, at, because, causes, warrant: None };
        self.stored(Key::Rejection(id.into()), Record::Rejection(record))
    }

    /// An operator's word on a wait, and when it was said and ends.
    pub(super) fn said(self, word: Word, wait: u64, since: u64, until: u64) -> Self {
        let (group, wait, at, until) = (web(), WaitId(wait), at(since), at(until));
        let record = OverrideRecord { group, wait, word, warrant: warrant(), at, until };
        self.stored(Key::Override(i1()), Record::Override(record))
    }

    pub(super) fn paused(self, until: u64) -> Self {
        let record = PauseRecord { warrant: warrant(), at: at(1), until: at(until) };
        self.stored(Key::Pause(web()), Record::Pause(record))
    }

    /// Its group was detached at the first, and attached again at the second.
    pub(super) fn detached(self, since: u64, ended: Option<u64>) -> Self {
        let record = DetachRecord { warrant: warrant(), at: at(since), ended_at: ended.map(at) };
        self.stored(Key::Detach(web()), Record::Detach(record))
    }

    /// A promotion at that time.
    pub(super) fn promoted(self, seconds: u64) -> Self {
        let accepted = vec![Digest::of(b"new"), Digest::of(b"old")];
        self.stored(Key::Group(web()), Record::Group(GroupRecord { accepted, at: at(seconds) }))
    }

    /// The breaker opened at the first, was last written at the second, and tries again at the third.
    pub(super) fn broken(self, since: u64, written: u64, until: u64) -> Self {
        let (since, written, until) = (at(since), at(written), at(until));
        let record = BreakerRecord { cause: "no_report".into(), since, at: written, until, closed_at: None };
        self.stored(Key::Breaker(web()), Record::Breaker(record))
    }

    /// It was closed.
    pub(super) fn mended(mut self, seconds: u64) -> Self {
        if let Some((_, Record::Breaker(record))) = self.observed.records.get_mut(&Key::Breaker(web())) {
            record.closed_at = Some(at(seconds));
        }
        self
    }

    /// Somebody else claimed to be the instance.
    pub(super) fn disputed(self) -> Self {
        self.stored(Key::Dispute(i1()), Record::Dispute(DisputeRecord { at: at(97) }))
    }

    pub(super) fn moved(mut self, id: &str, group: &str) -> Self {
        self.observed
            .instances
            .get_mut(&id.into())
            .into_iter()
            .for_each(|moved: &mut Instance| moved.group = group.into());
        self
    }

    /// Moves a rejection to another group.
    pub(super) fn in_group_of(mut self, id: &str, group: &str) -> Self {
        if let Some((_, Record::Rejection(record))) = self.observed.records.get_mut(&Key::Rejection(id.into())) {
            record.group = group.into();
        }
        self
    }

    pub(super) fn reported(mut self, evidence: Evidence) -> Self {
        self.observed.fold(crate::observation::Observation::Reported(evidence), at(0));
        self
    }

    /// The whole group, then.
    pub(super) fn described(mut self, seconds: u64) -> Self {
        self.observed.instances.values_mut().for_each(|instance| instance.described_at = at(seconds));
        self.observed.groups.values_mut().for_each(|group| group.asked_at = Some(at(seconds)));
        self
    }

    pub(super) fn tried(mut self, key: AttemptKey, sent: u64, answer: Option<Answer>) -> Self {
        let mut attempts = Attempts::first(at(sent));
        answer.into_iter().for_each(|answer| attempts.answered(answer, at(sent)));
        self.observed.attempts.insert(key, attempts);
        self
    }

    /// CONTINUE was sent and answered then.
    pub(super) fn continued(self, seconds: u64, answer: Option<Answer>) -> Self {
        self.tried(AttemptKey::Admit(i1(), WaitId(1)), seconds, answer)
    }

    pub(super) fn abandoned(self, seconds: u64, answer: Option<Answer>) -> Self {
        self.tried(AttemptKey::GiveUp(i1(), WaitId(1)), seconds, answer)
    }

    pub(super) fn beaten(self, seconds: u64, answer: Option<Answer>) -> Self {
        self.tried(AttemptKey::KeepWaiting(i1(), WaitId(1)), seconds, answer)
    }
}

/// A passing report for `new`, from boot `boot` in wait 1; checking began at 90 s, and it came at 95 s.
pub(super) fn ready() -> Evidence {
    Evidence {
        instance: i1(),
        group: web(),
        boot: "boot".into(),
        wait: WaitId(1),
        manifest: Digest::of(b"new"),
        challenged_at: at(90),
        received_at: at(95),
        drift: vec![],
        diffs: Default::default(),
        readiness: Readiness::Ready,
    }
}

/// The same, not ready: one cause for each status.
pub(super) fn not_ready(statuses: &[Status]) -> Evidence {
    let cause = |status: &Status| Cause {
        check: "app".into(),
        status: *status,
        problem: None,
        count: 0,
        examples: vec![],
        detail: None,
    };
    let causes: Vec<_> = statuses.iter().map(cause).collect();
    Evidence { drift: causes.clone(), readiness: Readiness::NotReady { causes }, ..ready() }
}

impl Evidence {
    pub(super) fn received(self, seconds: u64) -> Self {
        Self { received_at: at(seconds), ..self }
    }

    pub(super) fn challenged(self, challenged_at: Timestamp) -> Self {
        Self { challenged_at, ..self }
    }

    /// What failed has the scope `launch`.
    pub(super) fn outside(self) -> Self {
        Self { drift: vec![], ..self }
    }

    pub(super) fn of_boot(self, boot: &str) -> Self {
        Self { boot: boot.into(), ..self }
    }

    pub(super) fn of_wait(self, wait: u64) -> Self {
        Self { wait: WaitId(wait), ..self }
    }

    pub(super) fn of_release(self, name: &str) -> Self {
        Self { manifest: Digest::of(name.as_bytes()), ..self }
    }
}

pub(super) fn warrant() -> Warrant {
    Warrant { by: "ada".into(), because: "I looked".into() }
}

pub(super) fn unknown() -> Answer {
    Answer::Unknown { because: "timeout".into() }
}

pub(super) fn refused() -> Answer {
    Answer::Refused { because: "not authorised".into() }
}

/// One line a row: verdict and reason, wishes, and when it could change: `held no_report, keep waiting, until 600`.
pub(super) fn check(rule: fn(&Case<'_>) -> Option<Opinion>, rows: &[(Scene, u64, &str)]) {
    for (number, (scene, seconds, expected)) in rows.iter().enumerate() {
        let told = rule(&scene.case(at(*seconds))).map_or_else(|| "not ours".to_string(), |opinion| told(&opinion));
        assert_eq!(told, *expected, "row {number}, at {seconds} s");
    }
}

fn told(opinion: &Opinion) -> String {
    let ruling = opinion.ruling.as_ref();
    let ruling = ruling.map_or_else(|| "nothing".into(), |said| format!("{} {}", said.verdict, code(&said.reason)));
    let wishes = opinion.wishes.iter().map(said);
    let until = opinion.wake_at.map(|until| format!("until {}", seconds(until)));
    [ruling].into_iter().chain(wishes).chain(until).collect::<Vec<_>>().join(", ")
}

fn code(reason: &Reason) -> String {
    let inner = match reason {
        Reason::ObservedOnly { otherwise } => otherwise,
        Reason::AbandonPaced { last, .. } | Reason::RejectionNotRecorded { last } => last,
        Reason::DeadlinePassed { last, .. } => last,
        Reason::Refused { wanted, .. } => wanted,
        Reason::Proven { behind: true, .. } => return "proven behind".into(),
        _ => return reason.code().into(),
    };
    format!("{}({})", reason.code(), code(inner))
}

/// An action in words.
pub(super) fn said(action: &Action) -> String {
    match action {
        Action::Record { key, record: Record::Wait(wait), .. } if wait.over => format!("{key} {} over", wait.wait),
        Action::Record { key, record: Record::Wait(wait), .. } => format!("{key} {}", wait.wait),
        Action::Record { key, record: Record::Withdrawal(record), .. } => {
            format!("{key} {}", format!("{:?}", record.stage).to_lowercase())
        }
        Action::Record { key, .. } => key.to_string(),
        Action::Describe(group) => format!("describe {group}"),
        Action::Admit(held) => format!("admit {}", held.instance),
        Action::KeepWaiting(held) => format!("keep {}", held.instance),
        Action::GiveUp(held) => format!("give up {}", held.instance),
        Action::Withdraw(departure) => format!("withdraw {}", departure.instance),
        Action::Return(departure) => format!("return {}", departure.instance),
        Action::Protect(Protection { instances, protected, .. }) => {
            let ids: Vec<_> = instances.iter().map(ToString::to_string).collect();
            format!("{} {}", if *protected { "protect" } else { "release" }, ids.join(" "))
        }
        Action::Tell { key, sink, .. } => format!("tell {sink} {}", key.code),
    }
}

/// Seconds since the wait began; `+` for a millisecond more.
pub(super) fn seconds(moment: Timestamp) -> String {
    let since = moment.since(at(0));
    let whole = Duration::from_secs(since.as_secs());
    match since.saturating_sub(whole).as_millis() {
        0 => format!("{}", whole.as_secs()),
        1 => format!("{}+", whole.as_secs()),
        ms => format!("{}.{ms:03}", whole.as_secs()),
    }
}
