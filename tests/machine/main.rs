//! The controller's knowledge as a state machine: any observations in any order, and after each the invariants of DESIGN.md §5
//! that one decision can show. The reference model holds only what they need: what was truly seen, and when.

use std::{collections::BTreeMap, time::Duration};

use portcullis::{
    action::{Action, AttemptKey, Departure, Held},
    alert::{Alert, AlertKey},
    decide::{Decision, Memo, decide},
    digest::Digest,
    instance::{GroupName, InstanceId, LifecycleState, WaitId},
    observation::{Answer, Description, GroupFacts, Hook, InstanceFacts, Observation},
    observed::{Instance, Observed},
    outcome::Status,
    policy::{GroupPolicy, Limits, Mode, OnDrift, Policy},
    reason::Reason,
    record::{
        BreakerRecord, GroupRecord, Key, OverrideRecord, PauseRecord, ProtectionRecord, Record, RejectionRecord, Stage,
        Warrant, Word,
    },
    report::{Cause, Evidence, Readiness},
    timestamp::Timestamp,
    verdict::{Ruling, Verdict},
};
use proptest::prelude::*;
use proptest_state_machine::{ReferenceStateMachine, StateMachineTest, prop_state_machine};

mod invariants;

/// What can happen. Instances, boots and releases are small numbers, so that they meet often.
#[derive(Debug, Clone)]
enum Transition {
    /// The group is described as of `ago` seconds.
    Describe {
        ago: u64,
        complete: bool,
        states: [Option<LifecycleState>; 2],
        protected: [bool; 2],
    },
    /// A challenge is given out and answered at once; `late` reports answer the one before.
    Report {
        instance: usize,
        boot: u8,
        release: u8,
        ready: Option<Status>,
        late: bool,
    },
    /// The n-th action of the present decision is sent, and answered (or not).
    Act {
        nth: usize,
        answer: Option<Answer>,
    },
    Promote {
        releases: Vec<u8>,
    },
    /// An operator speaks of an instance's last wait, or of the one before.
    Say {
        instance: usize,
        word: Word,
        before: bool,
        seconds: u64,
    },
    Pause {
        seconds: u64,
    },
    Notice,
    Lease {
        seconds: u64,
    },
    Pass {
        seconds: u64,
    },
    /// The last observation comes once more.
    Again,
    /// All but the store is lost.
    Restart,
}

fn state() -> impl Strategy<Value = Option<LifecycleState>> {
    prop_oneof![
        1 => Just(None),
        1 => Just(Some(LifecycleState::Pending)),
        6 => Just(Some(LifecycleState::PendingWait)),
        6 => Just(Some(LifecycleState::InService)),
        2 => Just(Some(LifecycleState::Standby)),
        1 => Just(Some(LifecycleState::Terminating)),
    ]
}

fn answer() -> impl Strategy<Value = Option<Answer>> {
    let refused = Answer::Refused { because: "no".into() };
    let unknown = Answer::Unknown { because: "timeout".into() };
    prop_oneof![
        6 => Just(Some(Answer::Accepted)),
        1 => Just(Some(Answer::Throttled)),
        1 => Just(Some(Answer::NoActiveAction)),
        1 => Just(Some(refused)),
        1 => Just(Some(unknown)),
        1 => Just(None),
    ]
}

fn readiness() -> impl Strategy<Value = Option<Status>> {
    prop_oneof![4 => Just(None), 1 => Just(Some(Status::Fail)), 1 => Just(Some(Status::Unknown))]
}

fn word() -> impl Strategy<Value = Word> {
    prop_oneof![2 => Just(Word::Admit), 1 => Just(Word::Hold), 1 => Just(Word::Reject)]
}

/// The reference has no state: every transition can come at any time.
struct Anything;

impl ReferenceStateMachine for Anything {
    type State = ();
    type Transition = Transition;

    fn init_state() -> BoxedStrategy<()> {
        Just(()).boxed()
    }

    fn transitions((): &()) -> BoxedStrategy<Transition> {
        prop_oneof![
            4 => (0_u64..20, prop::bool::weighted(0.8), [state(), state()], [prop::bool::ANY, prop::bool::ANY])
                .prop_map(|(ago, complete, states, protected)| Transition::Describe { ago, complete, states, protected }),
            4 => (0_usize..2, 1_u8..3, 1_u8..4, readiness(), prop::bool::weighted(0.2))
                .prop_map(|(instance, boot, release, ready, late)| Transition::Report { instance, boot, release, ready, late }),
            12 => (0_usize..4, answer()).prop_map(|(nth, answer)| Transition::Act { nth, answer }),
            1 => prop::collection::vec(1_u8..4, 0..3).prop_map(|releases| Transition::Promote { releases }),
            2 => (0_usize..2, word(), prop::bool::weighted(0.3), prop_oneof![1_u64..60, 60_u64..4_000])
                .prop_map(|(instance, word, before, seconds)| Transition::Say { instance, word, before, seconds }),
            1 => (1_u64..2_000).prop_map(|seconds| Transition::Pause { seconds }),
            1 => Just(Transition::Notice),
            2 => (20_u64..2_000).prop_map(|seconds| Transition::Lease { seconds }),
            4 => prop_oneof![0_u64..10, 10_u64..100, 500_u64..2_000].prop_map(|seconds| Transition::Pass { seconds }),
            1 => Just(Transition::Again),
            1 => Just(Transition::Restart),
        ]
        .boxed()
    }

    fn apply((): (), _: &Transition) {}
}

/// What the invariants need to know, apart from the code under test.
struct Machine {
    observed: Observed,
    memo: Memo,
    policy: Policy,
    now: Timestamp,
    revision: u64,
    epoch: u64,
    last: Option<Observation>,
    /// The challenge before the last of each instance.
    challenges: BTreeMap<InstanceId, (Timestamp, WaitId)>,
    /// Answers that each end of a wait had, in this life.
    taken: BTreeMap<AttemptKey, Timestamp>,
    listening_since: Option<Timestamp>,
}

impl StateMachineTest for Machine {
    type SystemUnderTest = Self;
    type Reference = Anything;

    fn init_test((): &()) -> Self {
        let (mode, on_drift) = (Mode::Enforce, OnDrift::Standby);
        let group = GroupPolicy { mode, on_drift, breaker_failures: 2, ..GroupPolicy::default() };
        let policy = Policy {
            groups: [(web(), group)].into(),
            limits: Limits::default(),
            sinks: vec!["mail".into(), "pager".into()],
        };
        let mut machine = Self {
            observed: Observed::default(),
            memo: Memo::default(),
            policy,
            now: Timestamp(1_000_000_000),
            revision: 0,
            epoch: 0,
            last: None,
            challenges: BTreeMap::new(),
            taken: BTreeMap::new(),
            listening_since: None,
        };
        machine.writes(Key::Group(web()), Record::Group(GroupRecord { accepted: vec![release(1)], at: Timestamp(0) }));
        machine.leads(5_000);
        machine
    }

    fn apply(mut machine: Self, (): &(), transition: Transition) -> Self {
        machine.now = machine.now + Duration::from_millis(7);
        machine.remembers();
        match transition {
            Transition::Describe { ago, complete, states, protected } => {
                machine.describes(ago, complete, states, protected);
            }
            Transition::Report { instance, boot, release, ready, late } => {
                machine.reports(&id(instance), boot, release, ready, late);
            }
            Transition::Act { nth, answer } => machine.acts(nth, answer),
            Transition::Promote { releases } => {
                let accepted = releases.into_iter().map(release).collect();
                machine.writes(Key::Group(web()), Record::Group(GroupRecord { accepted, at: machine.now }));
            }
            Transition::Say { instance, word, before, seconds } => machine.says(&id(instance), word, before, seconds),
            Transition::Pause { seconds } => {
                let until = machine.now + Duration::from_secs(seconds);
                let record = PauseRecord { warrant: warrant(), at: machine.now, until };
                machine.writes(Key::Pause(web()), Record::Pause(record));
            }
            Transition::Notice => machine.folds(Observation::Noticed(web())),
            Transition::Lease { seconds } => machine.leads(seconds),
            Transition::Pass { seconds } => machine.now = machine.now + Duration::from_secs(seconds),
            Transition::Again => machine.last.clone().into_iter().for_each(|last| machine.folds(last)),
            Transition::Restart => machine.restarts(),
        }
        machine.remembers();
        machine
    }

    fn check_invariants(machine: &Self, (): &()) {
        let decision = machine.decides(machine.now);
        machine.admits_only_what_is_proven(&decision);
        machine.gives_up_only_what_is_due(&decision);
        machine.holds_with_reason_and_deadline(&decision);
        machine.protects_only_what_is_on_record(&decision);
        machine.acts_only_with_the_lease(&decision);
        machine.sends_nothing_twice(&decision);
        machine.withdraws_and_returns_with_reason(&decision);
        machine.stays_as_it_is_until_it_wakes(&decision);
    }
}

prop_state_machine! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn whatever_happens_in_whatever_order(sequential 1..80 => Machine);
}

// --- what happens

impl Machine {
    /// Folding is idempotent: every observation is folded twice.
    fn folds(&mut self, observation: Observation) {
        self.memo.fold(&mut self.observed, observation.clone(), self.now);
        let once = self.observed.clone();
        self.memo.fold(&mut self.observed, observation.clone(), self.now);
        assert_eq!(self.observed, once, "twice is once");
        self.last = Some(observation);
    }

    /// What is remembered is what would be decided from scratch: before each step, a moment after the one before.
    fn remembers(&mut self) {
        let turn = self.memo.turn(&self.observed, &self.policy, self.now);
        assert_eq!(turn, self.decides(self.now), "turn == decide");
    }

    fn decides(&self, now: Timestamp) -> Decision {
        decide(&self.observed, &self.policy, now)
    }

    fn writes(&mut self, key: Key, record: Record) {
        self.revision += 1;
        self.folds(Observation::Stored { key, revision: self.revision, record: Some(record) });
    }

    fn leads(&mut self, seconds: u64) {
        let until = self.now + Duration::from_secs(seconds);
        let gap = self.observed.lease.is_none_or(|(_, until)| until <= self.now);
        if gap {
            self.epoch += 1;
            self.listening_since = Some(self.now);
        }
        self.folds(Observation::Lease { epoch: self.epoch, until });
    }

    fn describes(&mut self, ago: u64, complete: bool, states: [Option<LifecycleState>; 2], protected: [bool; 2]) {
        let instances = states.into_iter().enumerate().filter_map(|(index, state)| {
            let (protected, launch_template) = (protected[index], None);
            Some(InstanceFacts { instance: id(index), state: state?, launch_template, protected, healthy: None })
        });
        let hook = Hook {
            name: "portcullis".into(),
            heartbeat_timeout_s: 3_600,
            global_timeout_s: 172_800,
            abandons_by_default: true,
        };
        let instances = instances.collect();
        let facts = Some(GroupFacts { desired: 2, launch_hooks: vec![hook], instances, ..GroupFacts::default() });
        let asked_at = Timestamp(self.now.0 - ago * 1_000);
        self.folds(Observation::Described(Description { group: web(), asked_at, complete, facts }));
    }

    fn reports(&mut self, instance: &InstanceId, boot: u8, of: u8, ready: Option<Status>, late: bool) {
        let wait = match self.observed.records.get(&Key::Wait(instance.clone())) {
            Some((_, Record::Wait(wait))) if !wait.over => wait.wait,
            _ => WaitId(0),
        };
        let before = self.challenges.insert(instance.clone(), (self.now, wait));
        let (challenged_at, wait) = before.filter(|_| late).unwrap_or((self.now, wait));
        let drift: Vec<_> = ready.into_iter().map(cause).collect();
        let readiness = ready.map_or(Readiness::Ready, |status| Readiness::NotReady { causes: vec![cause(status)] });
        self.folds(Observation::Reported(Evidence {
            instance: instance.clone(),
            group: web(),
            boot: (*format!("boot {boot}")).into(),
            wait,
            manifest: release(of),
            challenged_at,
            received_at: self.now,
            drift,
            diffs: Default::default(),
            readiness,
        }));
    }

    fn says(&mut self, instance: &InstanceId, word: Word, before: bool, seconds: u64) {
        let Some(Record::Wait(wait)) = self.record(&Key::Wait(instance.clone())) else { return };
        let wait = WaitId(wait.wait.0 - u64::from(before));
        let (at, until) = (self.now, self.now + Duration::from_secs(seconds));
        let record = OverrideRecord { group: web(), wait, word, warrant: warrant(), at, until };
        self.writes(Key::Override(instance.clone()), Record::Override(record));
    }

    fn acts(&mut self, nth: usize, answer: Option<Answer>) {
        let actions = self.decides(self.now).actions;
        let Some(action) = actions.into_iter().nth(nth) else { return };
        let attempt = action.key();
        self.folds(Observation::Sent { attempt: attempt.clone(), at: self.now });
        self.now = self.now + Duration::from_millis(3);
        let Some(answer) = answer else { return };
        if answer == Answer::Accepted {
            self.is_done(action);
        }
        self.folds(Observation::Answered { attempt, answer, at: self.now });
    }

    fn is_done(&mut self, action: Action) {
        match action {
            Action::Record { key, record, .. } => self.writes(key, record),
            Action::Admit(_) | Action::GiveUp(_) => drop(self.taken.insert(action.key(), self.now)),
            Action::Describe(_) | Action::KeepWaiting(_) | Action::Protect(_) | Action::Tell { .. } => {}
            Action::Withdraw(_) | Action::Return(_) => {}
        }
    }

    fn restarts(&mut self) {
        let records = core::mem::take(&mut self.observed).records;
        self.memo = Memo::default();
        self.taken.clear();
        self.listening_since = None;
        for (key, (revision, record)) in records {
            self.folds(Observation::Stored { key, revision, record: Some(record) });
        }
    }
}

// --- words

fn web() -> GroupName {
    "web".into()
}

fn id(index: usize) -> InstanceId {
    (*format!("i-{index}")).into()
}

fn release(number: u8) -> Digest {
    Digest::of(&[number])
}

fn warrant() -> Warrant {
    Warrant { by: "ada".into(), because: "I looked".into() }
}

fn cause(status: Status) -> Cause {
    Cause { check: "app".into(), status, problem: None, count: 0, examples: vec![], detail: None }
}
