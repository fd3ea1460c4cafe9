//! How long a decision takes in a quiet fleet: all serve, and their agents report. `cargo bench-decide [INSTANCES [GROUPS [REPORTS A TURN]]]`.

#![expect(clippy::print_stdout, reason = "it is a program for people")]
#![expect(clippy::disallowed_methods, reason = "it measures")]

use std::time::{Duration, Instant};

use portcullis::{
    action::AttemptKey,
    decide::{Memo, decide},
    digest::Digest,
    instance::{GroupName, InstanceId, LifecycleState, WaitId},
    observation::{Answer, Description, GroupFacts, Hook, InstanceFacts, Observation},
    observed::Observed,
    policy::{GroupPolicy, Mode, OnDrift, Policy},
    record::{AdmissionRecord, GroupRecord, Key, Record, WaitRecord},
    report::{Evidence, Readiness},
    timestamp::Timestamp,
};

fn main() {
    let mut given = std::env::args().skip(1).filter_map(|text| text.parse::<usize>().ok());
    let fleets = match (given.next(), given.next()) {
        (Some(instances), groups) => vec![(instances, groups.unwrap_or(instances.div_ceil(100)))],
        (None, _) => vec![(1_000, 10), (10_000, 100), (10_000, 1), (100_000, 1_000)],
    };
    let reports = given.next().map_or(vec![300, 10], |reports| vec![reports]);
    for (instances, groups) in fleets {
        reports.iter().for_each(|reports| measure(&Fleet { instances, groups, reports: *reports }));
    }
}

fn measure(fleet: &Fleet) {
    let Fleet { instances, groups, reports } = *fleet;
    let (mut observed, mut memo, policy) = (Observed::default(), Memo::default(), fleet.policy());
    fleet.observations().for_each(|observation| memo.fold(&mut observed, observation, START));
    memo.turn(&observed, &policy, START);
    let turns = if instances > 10_000 { 5 } else { 10 };
    let mut took = [Duration::ZERO; 5];
    for turn in 0..turns {
        let now = START + Duration::from_secs(1 + turn);
        let (mut folded, news) = (observed.clone(), || fleet.news(turn as usize, now).collect::<Vec<_>>());
        let (plain, remembered) = (news(), news());
        took[0] += timed(|| plain.into_iter().for_each(|observation| folded.fold(observation, now))).1;
        took[1] += timed(|| remembered.into_iter().for_each(|news| memo.fold(&mut observed, news, now))).1;
        let (decision, decide) = timed(|| decide(&observed, &policy, now));
        let (remembered, turn) = timed(|| memo.turn(&observed, &policy, now));
        let (_, clone) = timed(|| observed.clone());
        assert!(remembered == decision && folded == observed, "turn == decide");
        assert_eq!((decision.rulings.len(), decision.actions.len()), (instances, 0), "all is quiet");
        took[2..].iter_mut().zip([decide, turn, clone]).for_each(|(sum, took)| *sum += took);
    }
    let [fold, memo_fold, decide, turn, clone] = took.map(|sum| sum / turns as u32);
    println!(
        "{instances} instances in {groups} groups, {reports} reports and a description a turn: fold {fold:.1?} (memo {memo_fold:.1?}), \
         decide {decide:.1?}, memo {turn:.1?}; to copy what is known {clone:.1?}"
    );
}

/// By the processor's time, where the kernel tells it: others may want it too.
fn timed<T>(what: impl FnOnce() -> T) -> (T, Duration) {
    let clock = || {
        let on_cpu = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
        on_cpu.and_then(|text| Some(Duration::from_nanos(text.split(' ').next()?.parse().ok()?)))
    };
    let (began, began_on_cpu) = (Instant::now(), clock());
    let done = what();
    let on_cpu = clock().zip(began_on_cpu).map(|(now, began)| now.saturating_sub(began));
    (done, on_cpu.unwrap_or_else(|| began.elapsed()))
}

struct Fleet {
    instances: usize,
    groups: usize,
    reports: usize,
}

impl Fleet {
    fn policy(&self) -> Policy {
        let group = GroupPolicy {
            mode: Mode::Enforce,
            on_drift: OnDrift::Standby,
            ready_min: Some(1),
            ..GroupPolicy::default()
        };
        let groups = (0..self.groups).map(|number| (group_name(number), group.clone())).collect();
        Policy { groups, sinks: vec!["pager".into()], ..Policy::default() }
    }

    /// All that is known of it: described, admitted on record, and heard.
    fn observations(&self) -> impl Iterator<Item = Observation> + '_ {
        let lease = Observation::Lease { epoch: 1, until: START + Duration::from_secs(3_600) };
        let promoted = (0..self.groups).map(|group| {
            let record = GroupRecord { accepted: vec![Digest::of(b"release")], at: BEFORE };
            stored(Key::Group(group_name(group)), Record::Group(record))
        });
        let described = (0..self.groups).map(|group| self.described(group, START));
        let of_each = (0..self.instances).flat_map(|number| {
            let (id, group, wait) = (id(number), self.group_of(number), WaitId(1));
            let admission = AdmissionRecord {
                group: group.clone(),
                wait,
                boot: Some("boot".into()),
                manifest: Some(Digest::of(b"release")),
                at: BEFORE,
                warrant: None,
            };
            let attempt = AttemptKey::Admit(id.clone(), wait);
            let wait = WaitRecord { group, wait, since: BEFORE, over: true, warm: false };
            [
                stored(Key::Wait(id.clone()), Record::Wait(wait)),
                stored(Key::Admission(id), Record::Admission(admission)),
                Observation::Sent { attempt: attempt.clone(), at: BEFORE },
                Observation::Answered { attempt, answer: Answer::Accepted, at: BEFORE },
                self.reported(number, START),
            ]
        });
        core::iter::once(lease).chain(promoted).chain(described).chain(of_each)
    }

    /// Some hundred reports, and the description of one group.
    fn news(&self, turn: usize, now: Timestamp) -> impl Iterator<Item = Observation> + '_ {
        let reports =
            (0..self.reports).map(move |nth| self.reported((turn * self.reports + nth) * 7_919 % self.instances, now));
        reports.chain([self.described(turn % self.groups, now)])
    }

    fn described(&self, group: usize, asked_at: Timestamp) -> Observation {
        let members = (group..self.instances).step_by(self.groups);
        let instances: Vec<_> = members
            .map(|number| InstanceFacts {
                instance: id(number),
                state: LifecycleState::InService,
                launch_template: None,
                protected: false,
                healthy: Some(true),
            })
            .collect();
        let hook = Hook {
            name: GroupPolicy::default().hook,
            heartbeat_timeout_s: 3_600,
            global_timeout_s: 172_800,
            abandons_by_default: true,
        };
        let desired = u32::try_from(instances.len()).unwrap_or(u32::MAX);
        let facts = Some(GroupFacts { desired, launch_hooks: vec![hook], instances, ..GroupFacts::default() });
        Observation::Described(Description { group: group_name(group), asked_at, complete: true, facts })
    }

    fn reported(&self, number: usize, at: Timestamp) -> Observation {
        Observation::Reported(Evidence {
            instance: id(number),
            group: self.group_of(number),
            boot: "boot".into(),
            wait: WaitId(0),
            manifest: Digest::of(b"release"),
            challenged_at: at,
            received_at: at,
            readiness: Readiness::Ready,
            drift: vec![],
            diffs: vec![],
        })
    }

    fn group_of(&self, number: usize) -> GroupName {
        group_name(number % self.groups)
    }
}

fn stored(key: Key, record: Record) -> Observation {
    Observation::Stored { key, revision: 1, record: Some(record) }
}

fn group_name(number: usize) -> GroupName {
    GroupName(format!("group-{number}"))
}

/// As long as those of AWS, and in no order.
fn id(number: usize) -> InstanceId {
    InstanceId(format!("i-{:017x}", (number as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 4))
}

const BEFORE: Timestamp = Timestamp(1_700_000_000_000);
const START: Timestamp = Timestamp(1_700_086_400_000);
