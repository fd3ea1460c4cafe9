//! How long a decision takes in a quiet fleet: all serve, and their agents report. `cargo bench-decide [INSTANCES [GROUPS]]`.

#![expect(clippy::print_stdout, reason = "it is a program for people")]
#![expect(clippy::disallowed_methods, reason = "it measures")]

use std::time::{Duration, Instant};

use portcullis::{
    action::AttemptKey,
    decide::decide,
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
    for (instances, groups) in fleets {
        measure(instances, groups);
    }
}

fn measure(instances: usize, groups: usize) {
    let fleet = Fleet { instances, groups };
    let (mut observed, policy) = (Observed::default(), fleet.policy());
    fleet.observations().for_each(|observation| observed.fold(observation, START));
    let (turns, began) = (if instances > 10_000 { 3 } else { 10 }, Instant::now());
    let (mut folding, mut deciding, mut cloning) = (Duration::ZERO, Duration::ZERO, Duration::ZERO);
    for turn in 0..turns {
        let now = START + Duration::from_secs(1 + turn);
        let news: Vec<_> = fleet.news(turn as usize, now).collect();
        folding += timed(|| news.into_iter().for_each(|observation| observed.fold(observation, now))).1;
        let (decision, took) = timed(|| decide(&observed, &policy, now));
        deciding += took;
        cloning += timed(|| observed.clone()).1;
        assert_eq!((decision.rulings.len(), decision.actions.len()), (instances, 0), "all is quiet");
        if began.elapsed() > Duration::from_secs(60) {
            println!("{instances} instances in {groups} groups: decide takes {:.1?}", deciding / (turn as u32 + 1));
            return;
        }
    }
    let mean = |all: Duration| all / turns as u32;
    let (folding, deciding, cloning) = (mean(folding), mean(deciding), mean(cloning));
    println!(
        "{instances} instances in {groups} groups, {REPORTS} reports a turn: fold {folding:.1?}, decide {deciding:.1?}, clone {cloning:.1?}"
    );
}

fn timed<T>(what: impl FnOnce() -> T) -> (T, Duration) {
    let began = Instant::now();
    (what(), began.elapsed())
}

struct Fleet {
    instances: usize,
    groups: usize,
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
        let reports = (0..REPORTS).map(move |nth| self.reported((turn * REPORTS + nth) * 7_919 % self.instances, now));
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

const REPORTS: usize = 300;
const BEFORE: Timestamp = Timestamp(1_700_000_000_000);
const START: Timestamp = Timestamp(1_700_086_400_000);
