use alloc::{
    string::{String, ToString},
    vec::Vec,
};

use super::*;
use crate::{
    decide::{decide, fixtures::*},
    instance::LifecycleState::{InService, PendingWait, Standby, Terminating},
    observation::Answer,
    outcome::Status,
    policy::SurvivorsGuard,
    report::Evidence,
};

/// `i-1` and `i-2` serve and were proven, `i-3` waits; described a moment ago.
fn impaired() -> Scene {
    let scene = well().beside("i-3", PendingWait).wait_of("i-3", 1, at(90), false);
    scene.wanting(3).described(100)
}

/// `i-1` and `i-2` serve and were proven, and no more are wanted.
fn well() -> Scene {
    let scene = in_state(InService).wait(1, true).admission(1).beside("i-2", InService).wait_of("i-2", 1, at(0), true);
    scene.admitted("i-2", 97).wanting(2).described(100)
}

fn guarding(scene: Scene, guard: SurvivorsGuard) -> Scene {
    let mut scene = scene;
    scene.group_policy().survivors_guard = guard;
    scene
}

fn always(scene: Scene) -> Scene {
    guarding(scene, SurvivorsGuard::Always)
}

fn claimed(seconds: u64) -> Scene {
    impaired().guarded("i-1", seconds).guarded("i-2", seconds)
}

/// Both are protected by us, and the group is well again.
fn over() -> Scene {
    well()
        .guarded("i-1", 10)
        .guarded("i-2", 10)
        .protected("i-1")
        .protected("i-2")
        .protecting(11, Some(Answer::Accepted))
}

impl Scene {
    fn wanting(mut self, desired: u32) -> Self {
        self.facts().desired = desired;
        let described = self.observed.instances.iter().map(|(id, instance)| crate::observation::InstanceFacts {
            instance: id.clone(),
            state: instance.state.clone(),
            launch_template: None,
            protected: false,
            healthy: instance.healthy,
        });
        self.facts().instances = described.collect::<Vec<_>>();
        self
    }

    fn admitted(self, id: &str, seconds: u64) -> Self {
        let mut scene = self;
        let (_, record) = scene.observed.records[&Key::Admission(i1())].clone();
        let Record::Admission(mut record) = record else { panic!("an admission") };
        record.at = at(seconds);
        scene.observed.records.insert(Key::Admission(id.into()), (7, Record::Admission(record)));
        scene
    }

    fn protecting(self, sent: u64, answer: Option<Answer>) -> Self {
        self.tried(AttemptKey::Protect(web(), true), sent, answer)
    }

    fn releasing(self, sent: u64, answer: Option<Answer>) -> Self {
        self.tried(AttemptKey::Protect(web(), false), sent, answer)
    }

    fn now(self, id: &str, state: LifecycleState) -> Self {
        let mut scene = self;
        scene.observed.instances.get_mut(&id.into()).expect("it is there").state = state;
        scene
    }
}

fn says(id: &str, evidence: Evidence) -> Evidence {
    Evidence { instance: id.into(), ..evidence }
}

/// What the guard is about, whom it has on record afterwards if that changes, and its calls.
fn told(scene: &Scene, now: u64) -> String {
    let mut wishes = Vec::new();
    let (observed, policy) = (&scene.observed, &scene.policy);
    let decision = decide(observed, policy, at(now));
    let (rulings, breakers) = (&decision.rulings, &decision.breakers);
    let guard = protect(rulings, &breakers[&web()], scene.gated(at(now)), &mut wishes, &mut BTreeSet::new());
    let records = wishes.iter().filter_map(|wish| match wish {
        Action::Record { record: Record::Protection(record), .. } => {
            let ids: Vec<_> = record.instances.keys().map(ToString::to_string).collect();
            Some(alloc::format!("on record: {}", ids.join(" ")))
        }
        Action::Record { .. } => None,
        call => Some(said(call)),
    });
    let guard = alloc::format!("{guard:?}");
    [guard].into_iter().chain(records).collect::<Vec<_>>().join(", ")
}

fn check(rows: &[(Scene, u64, &str)]) {
    for (number, (scene, now, expected)) in rows.iter().enumerate() {
        assert_eq!(told(scene, *now), *expected, "row {number}, at {now} s");
    }
}

#[test]
fn when_a_group_is_impaired() {
    let mut waits_beyond = impaired();
    waits_beyond.facts().desired = 2;
    let short = |state| well().now("i-2", state).wanting(2);
    check(&[
        (impaired(), 100, "Impaired, on record: i-1 i-2"),
        // The number that is wanted was lowered: this is when an old one would go.
        (waits_beyond, 100, "Impaired, on record: i-1 i-2"),
        (short(Standby), 100, "Impaired, on record: i-1"),
        (short(LifecycleState::Pending), 100, "Impaired, on record: i-1"),
        (short(LifecycleState::PendingProceed), 100, "Impaired, on record: i-1"),
        (well(), 100, "AtRest"),
        (well().broken(98, 98, 150), 100, "Impaired, on record: i-1 i-2"),
        (well().broken(98, 98, 100), 100, "AtRest"),
        (impaired().observing(), 100, "Off"),
        (guarding(impaired(), SurvivorsGuard::Off), 100, "Off"),
        (always(impaired()), 100, "Impaired, on record: i-1 i-2"),
        (always(well()).detached(50, None), 100, "AtRest"),
        (always(impaired()).detached(50, None), 100, "Impaired, on record: i-1 i-2"),
    ]);
}

#[test]
fn who_is_a_survivor() {
    let bypassed = || impaired().beside("i-4", InService).described(100);
    let two = "Impaired, on record: i-1 i-2";
    check(&[
        (bypassed(), 100, two),
        (bypassed().reported(says("i-4", ready())), 100, "Impaired, on record: i-1 i-2 i-4"),
        (bypassed().reported(says("i-4", ready().of_release("retired"))), 100, two),
        (impaired().reported(not_ready(&[Status::Fail])), 100, "Impaired, on record: i-2"),
        (impaired().reported(not_ready(&[Status::Unknown])), 100, two),
        // Once it is protected, a check that fails changes nothing.
        (
            impaired().guarded("i-1", 50).reported(not_ready(&[Status::Fail])),
            100,
            "Impaired, on record: i-1 i-2, protect i-1",
        ),
        (impaired().warranted(1, None), 100, "Impaired, on record: i-2"),
    ]);
}

#[test]
fn on_record_then_protected_then_looked_at() {
    let set = |answer| claimed(100).protecting(101, answer);
    let both = |scene: Scene| scene.protected("i-1").protected("i-2");
    check(&[
        // On a fresh description only: somebody may have protected one since.
        (impaired(), 110, "Impaired, on record: i-1 i-2"),
        (impaired(), 111, "Impaired, describe web"),
        (claimed(100), 101, "Impaired, protect i-1 i-2"),
        (claimed(100), 111, "Impaired, describe web"),
        // Nothing overtakes anything.
        (claimed(100).releasing(101, None), 102, "Impaired"),
        (set(None), 130, "Impaired"),
        (set(None), 131, "Impaired, describe web"),
        (set(None).described(131), 131, "Impaired, protect i-1 i-2"),
        (set(Some(Answer::Accepted)), 101, "Impaired, describe web"),
        (both(set(Some(Answer::Accepted)).described(101)), 102, "Impaired"),
        // Not all of them were taken.
        (set(Some(Answer::Accepted)).protected("i-1").described(101), 102, "Impaired, protect i-2"),
        (set(Some(refused())).described(101), 101, "Impaired"),
        (set(Some(refused())).described(101), 102, "Impaired, protect i-1 i-2"),
        // Whoever left is off the record, and whoever came is on it.
        (both(claimed(50).protecting(50, None)).now("i-2", Terminating), 100, "Impaired, on record: i-1"),
        (claimed(50).moved("i-2", "db"), 100, "Impaired, on record: i-1, protect i-1"),
        (claimed(50).now("i-2", Standby), 100, "Impaired, on record: i-1, protect i-1"),
    ]);
}

#[test]
fn what_somebody_else_protected_is_left_alone() {
    let began = |scene: Scene| scene.listening_since(Some(at(40)));
    check(&[
        (impaired().protected("i-1"), 100, "Impaired, on record: i-2"),
        (well().protected("i-1"), 100, "AtRest"),
        // Between the record and our first call.
        (claimed(99).protected("i-1"), 100, "Impaired, on record: i-2, protect i-2"),
        (
            claimed(99).protected("i-1").protecting(98, Some(Answer::Accepted)),
            100,
            "Impaired, on record: i-2, protect i-2",
        ),
        (claimed(99).protected("i-1").protecting(99, Some(Answer::Accepted)), 100, "Impaired, protect i-2"),
        // What an earlier life may have sent, nobody knows; it was on record for that.
        (began(claimed(39)).protected("i-1"), 100, "Impaired, protect i-2"),
        (began(claimed(40)).protected("i-1"), 100, "Impaired, on record: i-2, protect i-2"),
    ]);
}

#[test]
fn what_is_ours_is_taken_away_once_the_group_is_well() {
    let released = |answer| over().releasing(101, answer);
    let gone = |scene: Scene| {
        let mut scene = scene;
        scene.observed.instances.values_mut().for_each(|instance| instance.protected = false);
        scene
    };
    let restarted = |scene: Scene| scene.listening_since(Some(at(90)));
    check(&[
        (over(), 100, "AtRest, release i-1 i-2"),
        (guarding(over(), SurvivorsGuard::Off), 100, "Off, release i-1 i-2"),
        (over().observing(), 100, "Off, release i-1 i-2"),
        (over().now("i-2", Standby).wanting(1), 100, "AtRest, release i-1"),
        (over(), 111, "AtRest, describe web"),
        (released(None), 102, "AtRest"),
        (released(Some(Answer::Accepted)), 101, "AtRest, describe web"),
        (gone(released(Some(Answer::Accepted))).described(101), 101, "AtRest, on record: "),
        (gone(released(Some(unknown())).protecting(42, Some(Answer::Accepted))).described(101), 101, "AtRest"),
        // Ours is sent once more; a description may lag.
        (released(Some(Answer::Accepted)).described(101), 101, "AtRest, release i-1 i-2"),
        // A description may be of before we set it: only one that is late enough counts.
        (gone(over()).described(70), 80, "AtRest"),
        (gone(over()).described(71), 80, "AtRest, on record: "),
        (
            gone(released(Some(Answer::Accepted)).protecting(50, Some(Answer::Accepted))).described(101),
            101,
            "AtRest, on record: ",
        ),
        (gone(over().releasing(40, Some(Answer::Accepted)).protecting(50, None)).described(101), 101, "AtRest"),
        // All of it is of this life.
        (over().listening_since(Some(at(10))).described(12), 12, "AtRest, release i-1 i-2"),
        // Nothing was ever sent.
        (well().guarded("i-1", 99), 100, "AtRest, on record: "),
        // What an earlier life sent must have had its effect.
        (restarted(over()), 100, "AtRest"),
        (restarted(over()).described(119), 120, "AtRest, describe web"),
        (restarted(over()).described(120), 120, "AtRest, release i-1 i-2"),
        (restarted(gone(over())).described(179), 180, "AtRest"),
        (restarted(gone(over())).described(180), 180, "AtRest, on record: "),
    ]);
}

#[test]
fn always_keeps_as_many_as_must_serve() {
    let two = || always(well());
    let behind = |scene: Scene| {
        let mut scene = scene;
        if let Some((_, Record::Admission(record))) = scene.observed.records.get_mut(&Key::Admission(i1())) {
            record.manifest = Some(crate::digest::Digest::of(b"old"));
        }
        scene
    };
    let all = |mut scene: Scene| {
        scene.group_policy().ready_min = Some(2);
        scene
    };
    check(&[
        // Admitted first.
        (two(), 100, "Floor, on record: i-1"),
        (all(two()), 100, "Floor, on record: i-1 i-2"),
        // With the wanted release.
        (behind(two()), 100, "Floor, on record: i-2"),
        (two().guarded("i-2", 50), 100, "Floor, protect i-2"),
        // First one is taken on, then another let go.
        (
            behind(two().guarded("i-1", 50).protected("i-1").protecting(50, Some(Answer::Accepted))),
            100,
            "Floor, on record: i-1 i-2",
        ),
        (behind(two().guarded("i-1", 50).protected("i-1")), 100, "Floor, on record: i-2"),
        (
            behind(two().guarded("i-1", 10).guarded("i-2", 99).protected("i-1").protecting(11, Some(Answer::Accepted))),
            100,
            "Floor, protect i-2",
        ),
        (
            behind(
                two()
                    .guarded("i-1", 10)
                    .guarded("i-2", 10)
                    .protected("i-1")
                    .protected("i-2")
                    .protecting(11, Some(Answer::Accepted)),
            ),
            100,
            "Floor, release i-1",
        ),
        // An instance refresh would wait for it, and fail; but not while new ones are not proven.
        (two().refreshing(true), 100, "StandsAside"),
        (always(over()).refreshing(true), 100, "StandsAside, release i-1 i-2"),
        (two().refreshing(false), 100, "Floor, on record: i-1"),
        (always(impaired()).refreshing(true), 100, "Impaired, on record: i-1 i-2"),
    ]);
}

#[test]
fn nothing_is_done_in_a_group_that_was_never_described() {
    let mut scene = over();
    scene.observed.groups.values_mut().for_each(|group| group.asked_at = None);
    assert_eq!(told(&scene, 100), "Off");
}

#[test]
fn it_wakes_when_it_may_go_on() {
    for (scene, now, until) in [
        (impaired(), 100, "110+"),
        (claimed(100).protecting(101, None), 102, "131"),
        (over().listening_since(Some(at(90))), 100, "120"),
    ] {
        let mut wakes = BTreeSet::new();
        let decision = decide(&scene.observed, &scene.policy, at(now));
        let (rulings, breakers) = (&decision.rulings, &decision.breakers);
        protect(rulings, &breakers[&web()], scene.gated(at(now)), &mut Vec::new(), &mut wakes);
        assert_eq!(wakes.into_iter().map(seconds).collect::<Vec<_>>(), [until]);
    }
}
