//! The last look: whatever changes between the decision and CONTINUE, nothing is sent.

use std::sync::Mutex;

use portcullis::{
    digest::Digest,
    instance::{LifecycleState, WaitId},
    observation::GroupFacts,
    observed::{Group, Instance as Seen, Observed},
    outcome::Status,
    policy::{GroupPolicy, OnDrift, Policy},
    record::{
        DetachRecord, DisputeRecord, FreezeRecord, OverrideRecord, PauseRecord, WaitRecord, Warrant, WithdrawalRecord,
    },
    report::Cause,
    timestamp::Timestamp,
};

use super::*;
use crate::{
    audit::Audit,
    metrics::Metrics,
    providers::{Finder, Pending, Provider},
    stores::{Store, Write, memory::MemoryStore},
};

#[derive(Default)]
struct Counting(Mutex<Vec<Call>>);

impl Provider for Counting {
    fn describe<'a>(&'a self, _groups: &'a [GroupName], _: Finder) -> Pending<'a, ()> {
        Box::pin(async {})
    }

    fn perform(&self, call: Call) -> Pending<'_, Answer> {
        self.0.lock().unwrap().push(call);
        Box::pin(async { Answer::Accepted })
    }
}

/// All that the last look looks at, as it should be.
struct Scene {
    mode: Mode,
    now: Timestamp,
    group: GroupRecord,
    admission: AdmissionRecord,
    word: Option<OverrideRecord>,
    pause: Option<PauseRecord>,
    detached: Option<DetachRecord>,
    evidence: Evidence,
    binding: Binding,
    withdrawal: Option<WithdrawalRecord>,
    freeze: Option<FreezeRecord>,
    is_disputed: bool,
    is_silent: bool,
    on_bypass: OnDrift,
    seen: Seen,
    lease_left: Duration,
    /// Held by a balancer; and whether its wait was over before.
    in_place: Option<bool>,
    lease_left_by_wall: Duration,
}

impl Scene {
    fn good() -> Self {
        let (now, proven) = (Clock::system().now(), Digest::of(b"m"));
        let evidence = Evidence {
            instance: "i-1".into(),
            group: "web".into(),
            boot: "boot".into(),
            wait: WaitId(1),
            manifest: proven,
            challenged_at: now,
            received_at: now,
            drift: vec![],
            diffs: Default::default(),
            readiness: Readiness::Ready,
        };
        Self {
            mode: Mode::Enforce,
            now,
            group: GroupRecord { accepted: vec![proven], at: now },
            admission: AdmissionRecord {
                group: "web".into(),
                wait: WaitId(1),
                boot: Some("boot".into()),
                manifest: Some(proven),
                at: now,
                warrant: None,
            },
            word: None,
            pause: None,
            withdrawal: None,
            freeze: None,
            is_disputed: false,
            is_silent: false,
            on_bypass: OnDrift::Observe,
            detached: None,
            binding: Binding {
                instance: "i-1".into(),
                group: None,
                public_key: String::new(),
                boot: "boot".into(),
                epoch: 1,
                n: 1,
                last_report: None,
                enrolled_at: now,
                boot_at: Timestamp(0),
            },
            seen: Seen {
                group: "web".into(),
                state: LifecycleState::PendingWait,
                protected: false,
                described_at: now,
                evidence: Some(evidence.clone()),
                healthy: None,
                serving_since: None,
                passing_since: Some(now),
                well_since: Some(now),
                drifting_since: None,
            },
            evidence,
            lease_left: Duration::from_secs(3_600),
            in_place: None,
            lease_left_by_wall: Duration::from_secs(3_600),
        }
    }

    /// It was let in, serves and says so once a minute; its balancer was restarted and holds it again.
    fn restarted() -> Self {
        let mut scene = Self { in_place: Some(true), ..Self::good() };
        scene.evidence.wait = WaitId(0);
        scene.evidence.received_at = Timestamp(scene.now.0 - 80_000);
        scene.evidence.boot = "boot-2".into();
        scene.binding.boot = "boot-2".into();
        scene.evidence.manifest = Digest::of(b"deployed in place");
        scene.group.accepted.push(scene.evidence.manifest);
        scene
    }

    fn writes(&self) -> Vec<Write> {
        let record = |key: Key, record: Record| records::put(key.path(), None, &record);
        let word = self.word.clone().map(|said| record(Key::Override("i-1".into()), Record::Override(said)));
        let pause = self.pause.clone().map(|pause| record(Key::Pause("web".into()), Record::Pause(pause)));
        let detached = self.detached.clone();
        let detached = detached.map(|detached| record(Key::Detach("web".into()), Record::Detach(detached)));
        let mut writes = vec![
            record(Key::Group("web".into()), Record::Group(self.group.clone())),
            record(Key::Admission("i-1".into()), Record::Admission(self.admission.clone())),
            records::put(records::bound_path(&"i-1".into()), None, &"id"),
            records::put(records::binding_path("id"), None, &self.binding),
        ];
        if !self.is_silent {
            writes.push(records::put(records::evidence_path(&"i-1".into()), None, &self.evidence));
        }
        let withdrawal = self.withdrawal.clone().map(Record::Withdrawal);
        writes.extend(withdrawal.map(|withdrawal| record(Key::Withdrawal("i-1".into()), withdrawal)));
        let freeze = self.freeze.clone().map(Record::Freeze);
        writes.extend(freeze.map(|freeze| record(Key::Freeze("web".into()), freeze)));
        let dispute = self.is_disputed.then_some(Record::Dispute(DisputeRecord { at: self.now }));
        writes.extend(dispute.map(|dispute| record(Key::Dispute("i-1".into()), dispute)));
        let (group, wait, since) = ("web".into(), WaitId(1), self.now);
        let wait = self.in_place.map(|over| Record::Wait(WaitRecord { group, wait, since, over, warm: false }));
        let wait = wait.map(|wait| record(Key::Wait("i-1".into()), wait));
        writes.extend(word.into_iter().chain(pause).chain(detached).chain(wait));
        writes
    }

    /// An operator's word on that wait; in effect for so many seconds.
    fn says(&mut self, word: Word, wait: u64, seconds: u64) {
        let until = self.now + Duration::from_secs(seconds);
        let (group, wait, at) = ("web".into(), WaitId(wait), self.now);
        self.word = Some(OverrideRecord { group, wait, word, warrant: warrant(), at, until });
    }

    /// Nothing is proven.
    fn unproven(mut self) -> Self {
        self.admission.manifest = None;
        self.evidence.readiness = Readiness::NotReady { causes: vec![] };
        self
    }

    /// It drifted, and is to be withdrawn; or it is well again, and is to be brought back.
    fn departing(stage: Stage) -> Self {
        let mut scene = Self::good();
        if stage == Stage::Out {
            let cause = Cause {
                check: "app".into(),
                status: Status::Fail,
                problem: None,
                count: 0,
                examples: vec![],
                detail: None,
            };
            scene.evidence.drift = vec![cause];
            scene.seen.state = LifecycleState::InService;
        } else {
            scene.seen.state = LifecycleState::Standby;
        }
        let (group, way, because, causes) = ("web".into(), Way::Standby, String::new(), vec![]);
        let (at, changed_at, by_hand) = (scene.now, scene.now, false);
        scene.withdrawal =
            Some(WithdrawalRecord { group, way, stage, at, changed_at, because, causes, by_hand, bypassed: false });
        scene
    }

    fn record(&mut self) -> &mut WithdrawalRecord {
        self.withdrawal.as_mut().unwrap()
    }

    fn departure(&self) -> Departure {
        Departure { group: "web".into(), instance: "i-1".into(), way: Way::Standby, decided_at: self.now }
    }

    /// Tries to admit; gives what was sent, and how it was answered.
    async fn admit(self) -> (Vec<Call>, Answer) {
        self.attempt(Action::Admit(held())).await
    }

    async fn attempt(self, action: Action) -> (Vec<Call>, Answer) {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
        store.commit(Batch { writes: self.writes(), events: vec![] }).unwrap();
        let (provider, metrics) = (Arc::new(Counting::default()), Arc::new(Metrics::new()));
        let (audit, _) = Audit::start(Arc::clone(&store), Arc::clone(&metrics));
        let (mode, on_drift, on_bypass) = (self.mode, OnDrift::Standby, self.on_bypass);
        let group = GroupPolicy { mode, on_drift, on_bypass, ..GroupPolicy::default() };
        let policy = Policy { groups: [("web".into(), group)].into(), ..Policy::default() };
        let sends = Arc::clone(&provider);
        let custody = self.in_place.map_or(Custody::AtLaunch, |_| Custody::InPlace);
        let described = Group { facts: Some(GroupFacts { custody, ..GroupFacts::default() }), ..Group::default() };
        let (instances, groups) = ([("i-1".into(), self.seen)].into(), [("web".into(), described)].into());
        let observed = Observed { instances, groups, ..Observed::default() };
        let (sinks, heard, clock) = (Arc::default(), Arc::default(), Clock::system());
        let parts = Parts { store, provider, sinks, heard, policy, clock, metrics, audit };
        let (until, until_wall) = (Clock::monotonic() + self.lease_left, clock_now() + self.lease_left_by_wall);
        let (_lease, lease) = watch::channel(Some(Lease { epoch: 1, until, until_wall }));
        let (_shown, shown) = watch::channel(Arc::new(Snapshot { observed, ..Snapshot::default() }));
        let (done, mut answers) = mpsc::channel(8);
        Actor::new(parts, lease, shown, done).attempt(action).await;
        let Some(Observation::Answered { answer, .. }) = answers.recv().await else { panic!("no answer") };
        let sent = sends.0.lock().unwrap().clone();
        (sent, answer)
    }
}

fn clock_now() -> Timestamp {
    Clock::system().now()
}

fn held() -> Held {
    Held { group: "web".into(), instance: "i-1".into(), wait: WaitId(1), hook: "portcullis".into() }
}

#[tokio::test]
async fn what_still_holds_is_sent_once() {
    assert_eq!(Scene::good().admit().await, (vec![Call::Admit(held())], Answer::Accepted));
}

type Change = fn(&mut Scene);

#[tokio::test]
async fn whatever_changed_is_seen_and_nothing_is_sent() {
    let long = Duration::from_secs(31);
    assert!(long > portcullis::policy::Limits::default().report_age_max);
    let changes: [(&str, Change); 12] = [
        ("no longer accepted", |scene| scene.group.accepted.clear()),
        ("another wait", |scene| scene.evidence.wait = WaitId(0)),
        ("another wait", |scene| scene.admission.wait = WaitId(2)),
        ("another release", |scene| scene.evidence.manifest = Digest::of(b"other")),
        ("another boot", |scene| scene.evidence.boot = "boot-2".into()),
        ("has booted since", |scene| scene.binding.boot = "boot-2".into()),
        ("not ready", |scene| scene.evidence.readiness = Readiness::NotReady { causes: vec![] }),
        ("report is too old", |scene| scene.evidence.received_at = Timestamp(scene.now.0 - 31_000)),
        ("description is too old", |scene| scene.seen.described_at = Timestamp(scene.now.0 - 11_000)),
        ("is InService", |scene| scene.seen.state = LifecycleState::InService),
        ("lease", |scene| scene.lease_left = Duration::from_secs(29)),
        ("lease", |scene| scene.lease_left_by_wall = Duration::from_secs(29)),
    ];
    for (because, change) in changes {
        let mut scene = Scene::good();
        change(&mut scene);
        let (sent, answer) = scene.admit().await;
        assert_eq!(sent, [], "{because}");
        let Answer::Refused { because: said } = answer else { panic!("{because}: {answer:?}") };
        assert!(said.contains(because), "{because}: {said}");
    }
}

fn warrant() -> Warrant {
    Warrant { by: "ada".into(), because: "I looked".into() }
}

#[tokio::test]
async fn an_operators_word_counts_for_its_wait_and_its_time() {
    for (word, wait, seconds, sent) in [
        (Word::Admit, 1, 60, true),
        (Word::Admit, 1, 0, false),
        (Word::Admit, 2, 60, false),
        (Word::Hold, 1, 60, false),
        (Word::Reject, 1, 60, false),
    ] {
        let mut scene = Scene::good().unproven();
        scene.says(word, wait, seconds);
        assert_eq!(scene.admit().await.0.is_empty(), !sent, "{word:?} on {wait} for {seconds} s");
    }
    for (word, wait, seconds, sent) in
        [(Word::Hold, 1, 60, false), (Word::Reject, 1, 60, false), (Word::Hold, 1, 0, true), (Word::Hold, 2, 60, true)]
    {
        for mode in [Mode::Enforce, Mode::Observe] {
            let mut scene = Scene { mode, ..Scene::good() };
            scene.says(word, wait, seconds);
            assert_eq!(scene.admit().await.0.is_empty(), !sent, "{word:?} on {wait} for {seconds} s: {mode}");
        }
    }
}

#[tokio::test]
async fn nothing_is_sent_for_a_paused_group_but_on_a_word() {
    let paused = |seconds| {
        let mut scene = Scene::good();
        let until = scene.now + Duration::from_secs(seconds);
        scene.pause = Some(PauseRecord { warrant: warrant(), at: scene.now, until });
        scene
    };
    assert_eq!(paused(60).admit().await.0, []);
    assert_eq!(paused(0).admit().await.0, [Call::Admit(held())]);
    let mut said = paused(60).unproven();
    said.says(Word::Admit, 1, 60);
    assert_eq!(said.admit().await.0, [Call::Admit(held())]);
}

#[tokio::test]
async fn for_a_detached_group_it_is_sent_without_proof_until_that_ends() {
    let detached = |ended: bool| {
        let mut scene = Scene::good().unproven();
        let ended_at = ended.then_some(scene.now);
        scene.detached = Some(DetachRecord { warrant: warrant(), at: scene.now, ended_at });
        scene
    };
    assert_eq!(detached(false).admit().await.0, [Call::Admit(held())]);
    assert_eq!(detached(true).admit().await.0, []);
    let mut held_by_a_word = detached(false);
    held_by_a_word.says(Word::Hold, 1, 60);
    assert_eq!(held_by_a_word.admit().await.0, []);
    let mut gone = detached(false);
    gone.seen.state = LifecycleState::InService;
    assert_eq!(gone.admit().await.0, []);
}

#[tokio::test]
async fn a_group_that_only_observes_lets_everyone_in() {
    let mut scene = Scene { mode: Mode::Observe, ..Scene::good() };
    scene.admission.manifest = None;
    scene.group.accepted.clear();
    assert_eq!(scene.admit().await.0, [Call::Admit(held())]);
}

#[tokio::test]
async fn what_still_drifts_is_withdrawn() {
    let scene = || Scene::departing(Stage::Out);
    let departure = scene().departure();
    let tries = |scene: Scene| {
        let departure = scene.departure();
        scene.attempt(Action::Withdraw(departure))
    };
    let (sent, answer) = tries(scene()).await;
    assert_eq!((sent.len(), answer), (1, Answer::Accepted));
    assert!(matches!(&sent[0], Call::Withdraw(sent) if sent.instance == departure.instance));
    let changes: [(&str, Change); 9] = [
        ("nothing is withdrawn from its group", |scene| scene.mode = Mode::Observe),
        ("no longer on record", |scene| scene.record().stage = Stage::Over),
        ("no longer on record", |scene| scene.record().changed_at = Timestamp(1)),
        ("no longer on record", |scene| scene.withdrawal = None),
        ("no longer fails", |scene| scene.evidence.drift.clear()),
        ("two keys", |scene| scene.is_disputed = true),
        ("is Standby", |scene| scene.seen.state = LifecycleState::Standby),
        ("description is too old", |scene| scene.seen.described_at = Timestamp(scene.now.0 - 11_000)),
        ("lease", |scene| scene.lease_left = Duration::from_secs(29)),
    ];
    for (because, change) in changes {
        let mut scene = scene();
        change(&mut scene);
        is_refused(because, tries(scene).await);
    }
    for (over_at, is_sent) in [(None, false), (Some(Timestamp(1)), true)] {
        let mut scene = scene();
        let (cause, since) = ("app: fail".into(), scene.now);
        scene.freeze = Some(FreezeRecord { cause, since, over_at, warrant: None });
        let (sent, _) = tries(scene).await;
        assert_eq!(sent.is_empty(), !is_sent);
    }
    let mut paused = scene();
    let until = paused.now + Duration::from_secs(60);
    paused.pause = Some(PauseRecord { warrant: warrant(), at: paused.now, until });
    is_refused("paused", tries(paused).await);
    let mut detached = scene();
    detached.detached = Some(DetachRecord { warrant: warrant(), at: detached.now, ended_at: None });
    is_refused("detached", tries(detached).await);
}

/// It came past the gate: what its agent does not say counts too, until it has shown once that all is well.
#[tokio::test]
async fn what_never_proved_itself_is_withdrawn() {
    let tries = |change: Change| {
        let mut scene = Scene::departing(Stage::Out);
        scene.record().bypassed = true;
        scene.evidence.drift.clear();
        scene.evidence.readiness = Readiness::NotReady { causes: vec![] };
        scene.on_bypass = OnDrift::Standby;
        change(&mut scene);
        let departure = scene.departure();
        scene.attempt(Action::Withdraw(departure))
    };
    assert_eq!(tries(|_| {}).await.1, Answer::Accepted);
    assert_eq!(tries(|scene| scene.is_silent = true).await.1, Answer::Accepted);
    let ready = |scene: &mut Scene| scene.evidence.readiness = Readiness::Ready;
    is_refused("it has proven itself", tries(ready).await);
    let of_another = |scene: &mut Scene| {
        scene.evidence.readiness = Readiness::Ready;
        scene.group.accepted.clear();
    };
    assert_eq!(tries(of_another).await.1, Answer::Accepted);
    is_refused("only told", tries(|scene| scene.on_bypass = OnDrift::Observe).await);
    is_refused("two keys", tries(|scene| scene.is_disputed = true).await);
    is_refused("no longer on record", tries(|scene| scene.record().stage = Stage::Over).await);
}

#[tokio::test]
async fn what_is_still_well_is_brought_back() {
    let scene = || Scene::departing(Stage::Back);
    let tries = |scene: Scene| {
        let departure = scene.departure();
        scene.attempt(Action::Return(departure))
    };
    let (sent, answer) = tries(scene()).await;
    assert_eq!((sent.len(), answer), (1, Answer::Accepted));
    assert!(matches!(&sent[0], Call::Return(_)));
    let mut somewhere = scene();
    (somewhere.in_place, somewhere.seen.state) = (Some(true), LifecycleState::InService);
    assert_eq!(tries(somewhere).await.1, Answer::Accepted);
    let changes: [(&str, Change); 9] = [
        ("no longer on record", |scene| scene.record().stage = Stage::Out),
        ("not ready", |scene| scene.evidence.readiness = Readiness::NotReady { causes: vec![] }),
        ("not ready", |scene| scene.evidence.drift = Scene::departing(Stage::Out).evidence.drift),
        ("report is too old", |scene| scene.evidence.received_at = Timestamp(scene.now.0 - 31_000)),
        ("no longer accepted", |scene| scene.group.accepted.clear()),
        ("has booted since", |scene| scene.binding.boot = "boot-2".into()),
        ("two keys", |scene| scene.is_disputed = true),
        ("is InService", |scene| scene.seen.state = LifecycleState::InService),
        ("lease", |scene| scene.lease_left = Duration::from_secs(29)),
    ];
    for (because, change) in changes {
        let mut scene = scene();
        change(&mut scene);
        is_refused(because, tries(scene).await);
    }
}

#[track_caller]
fn is_refused(because: &str, (sent, answer): (Vec<Call>, Answer)) {
    assert_eq!(sent, [], "{because}");
    let Answer::Refused { because: said } = answer else { panic!("{because}: {answer:?}") };
    assert!(said.contains(because), "{because}: {said}");
}

#[tokio::test]
async fn what_a_balancer_forgot_is_let_in_again_on_its_newest_report() {
    assert_eq!(Scene::restarted().admit().await.0, [Call::Admit(held())]);
    let mut partly = Scene::restarted();
    partly.seen.state = LifecycleState::PendingProceed;
    assert_eq!(partly.admit().await.0, [Call::Admit(held())]);
    let changes: [(&str, Change); 10] = [
        ("another wait", |scene| scene.in_place = Some(false)),
        ("another wait", |scene| scene.in_place = None),
        ("not let in on proof", |scene| scene.admission.manifest = None),
        ("not let in on proof", |scene| scene.admission.wait = WaitId(2)),
        ("another wait", |scene| scene.evidence.wait = WaitId(2)),
        ("no longer accepted", |scene| scene.group.accepted.truncate(1)),
        ("not ready", |scene| scene.evidence.readiness = Readiness::NotReady { causes: vec![] }),
        ("too old", |scene| scene.evidence.received_at = Timestamp(scene.now.0 - 91_000)),
        ("has booted since", |scene| scene.binding.boot = "boot-3".into()),
        ("is InService", |scene| scene.seen.state = LifecycleState::InService),
    ];
    for (because, change) in changes {
        let mut scene = Scene::restarted();
        change(&mut scene);
        let (sent, answer) = scene.admit().await;
        assert_eq!(sent, [], "{because}");
        let Answer::Refused { because: said } = answer else { panic!("{because}: {answer:?}") };
        assert!(said.contains(because), "{because}: {said}");
    }
}

#[tokio::test]
async fn a_decision_and_its_line_are_one_commit() {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let (provider, metrics) = (Arc::new(Counting::default()), Arc::new(Metrics::new()));
    // Nobody writes what is dropped off there: a kill would lose it.
    let (audit, writer) = Audit::start(Arc::new(MemoryStore::new()), Arc::clone(&metrics));
    let (sinks, heard, clock, policy) = (Arc::default(), Arc::default(), Clock::system(), Policy::default());
    let parts = Parts { store: Arc::clone(&store), provider, sinks, heard, policy, clock, metrics, audit };
    let lease = Lease { epoch: 1, until: Clock::monotonic() + LONG, until_wall: clock_now() + LONG };
    let (_lease, lease) = watch::channel(Some(lease));
    let (_shown, shown) = watch::channel(Arc::default());
    let (done, _answers) = mpsc::channel(8);
    let actor = Actor::new(parts, lease, shown, done);
    let record = Record::Admission(Scene::good().admission);
    let revision = None;
    actor.attempt(Action::Record { key: Key::Admission("i-1".into()), revision, record }).await;
    actor.attempt(Action::GiveUp(held())).await;
    let lines: Vec<_> = store.events(0, 9).unwrap().into_iter().map(|event| (event.kind, event.text)).collect();
    let proven = format!("wait 1 may end: proven: {}", Digest::of(b"m"));
    assert_eq!(lines, [("admission".into(), proven), ("answer".into(), "ABANDON: accepted".into())]);
    assert_eq!(store.list("").unwrap().len(), 2, "with what they are about");
    drop(actor);
    writer.await.unwrap();
}

const LONG: Duration = Duration::from_secs(3_600);
