//! One attempt at one action. It chooses nothing and retries nothing; what came of it goes back as an observation.

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

use portcullis::{
    action::{Action, AttemptKey, Departure, Held, Protection},
    instance::{GroupName, InstanceId, LifecycleState, WaitId},
    observation::{Answer, Custody, Description, Observation},
    policy::Mode,
    record::{AdmissionRecord, GroupRecord, Key, Record, Stage, Way, Word},
    report::{Evidence, Readiness},
    timestamp::Timestamp,
};
use tokio::sync::{mpsc, watch};

use crate::{
    alerts::Message,
    audit,
    clock::Clock,
    metrics::Attempt,
    providers::{Call, Facts, Found},
    reconcile::{CONTROLLER, Parts, Snapshot},
    records::{self, Binding, Ended},
    stores::{Batch, Entry, StoreError},
};

/// The right to act. It ends by whichever clock comes first: the monotonic one does not count the time for which a machine was
/// suspended, and the wall clock may be set back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    /// Ascends with every holder.
    pub epoch: u64,
    /// Its end.
    pub until: Instant,
    /// Its end, by the wall clock.
    pub until_wall: Timestamp,
}

impl Lease {
    /// What is left of it.
    pub(crate) fn left(&self, now: Instant, now_wall: Timestamp) -> Duration {
        self.until.saturating_duration_since(now).min(self.until_wall.since(now_wall))
    }
}

/// Makes attempts.
pub(crate) struct Actor {
    parts: Parts,
    lease: watch::Receiver<Option<Lease>>,
    snapshots: watch::Receiver<Arc<Snapshot>>,
    done: mpsc::Sender<Observation>,
}

impl Actor {
    pub(crate) fn new(
        parts: Parts,
        lease: watch::Receiver<Option<Lease>>,
        snapshots: watch::Receiver<Arc<Snapshot>>,
        done: mpsc::Sender<Observation>,
    ) -> Self {
        Self { parts, lease, snapshots, done }
    }

    /// Tells the audit what is about to be sent to the cloud.
    pub(crate) async fn announce(&self, action: &Action) {
        if let Some((concerns, words)) = call_in_words(action) {
            self.parts.audit.record(self.line("action", concerns, words)).await;
        }
    }

    /// One attempt, and its answer.
    pub(crate) async fn attempt(&self, action: Action) {
        let attempt = action.key();
        let answer = match &action {
            // What was decided with the lease may come to be attempted without it; a description does no harm.
            action if !self.holds_lease() && !matches!(action, Action::Describe(_)) => {
                Answer::Refused { because: "not sent: the lease ends too soon".into() }
            }
            Action::Record { key, revision, record } => self.record(key, *revision, record).await,
            Action::Describe(group) => return self.describe(vec![group.clone()]).await,
            Action::Admit(held) => self.admit(held).await,
            Action::KeepWaiting(held) => self.call(Call::KeepWaiting(held.clone())).await,
            Action::GiveUp(held) => self.call(Call::GiveUp(held.clone())).await,
            Action::Withdraw(departure) => {
                self.depart(Call::Withdraw(departure.clone()), self.still_fails(departure)).await
            }
            Action::Return(departure) => self.depart(Call::Return(departure.clone()), self.still_well(departure)).await,
            Action::Protect(protection) => self.call(Call::Protect(protection.clone())).await,
            Action::Tell { key, sink, told, alert, since } => {
                self.tell(sink, &Message::new(key, *told, alert, *since)).await
            }
        };
        if let Some((concerns, words)) = call_in_words(&action) {
            let line = self.line("answer", concerns, format!("{words}: {}", in_words(&answer)));
            match (&answer, &action) {
                (Answer::Accepted, Action::Admit(held) | Action::GiveUp(held)) => {
                    self.remember(held, &attempt, line).await;
                }
                _ => self.parts.audit.record(line).await,
            }
        }
        self.answered(attempt, answer).await;
    }

    /// Puts on record that a wait was ended, with its line in the audit. Without it, after a crash, the call is made once more
    /// and answered "no active action": the answer may be lost at any moment all the same, so that losing the record is no error.
    async fn remember(&self, held: &Held, attempt: &AttemptKey, line: Entry) {
        let (store, path) = (Arc::clone(&self.parts.store), records::ended_path(&held.instance));
        let ended = Ended { attempt: attempt.clone(), at: self.parts.clock.now() };
        let event = line.clone();
        let kept = tokio::task::spawn_blocking(move || {
            let before = store.get(&path)?.map(|found| found.revision);
            store.commit(Batch { writes: vec![records::put(path, before, &ended)], events: vec![event] })
        });
        if let Ok(Err(error)) = kept.await {
            tracing::warn!(instance = %held.instance, %error, "that its wait was ended is not on record");
            self.parts.audit.record(line).await;
        }
    }

    /// One description of several groups; each is told as it comes.
    pub(crate) async fn describe(&self, groups: Vec<GroupName>) {
        let asked_at = self.parts.clock.now();
        let mut missing: BTreeSet<_> = groups.iter().cloned().collect();
        let (finder, mut coming) = mpsc::channel(FOUND_MAX);
        let describing = tokio::time::timeout(self.limit(), self.parts.provider.describe(&groups, finder));
        let telling = async {
            while let Some(found) = coming.recv().await {
                match found {
                    Found::Group(group, facts) => {
                        missing.remove(&group);
                        self.described(group, asked_at, facts).await;
                    }
                    Found::Throttled => {
                        let at = self.parts.clock.now();
                        let _ = self.done.send(Observation::Throttled { at }).await;
                    }
                }
            }
        };
        // Whoever describes drops its end when it is done or out of time: then this ends too.
        let _: (Result<(), _>, ()) = tokio::join!(describing, telling);
        for group in missing {
            self.described(group, asked_at, Err(Answer::Unknown { because: "no answer in time".into() })).await;
        }
    }

    async fn described(&self, group: GroupName, asked_at: Timestamp, facts: Facts) {
        let answer = match facts {
            Ok(facts) => {
                let description = Description { group: group.clone(), asked_at, complete: true, facts };
                let _ = self.done.send(Observation::Described(description)).await;
                Answer::Accepted
            }
            Err(answer) => {
                tracing::warn!(%group, answer = in_words(&answer), "the group could not be described");
                answer
            }
        };
        self.answered(AttemptKey::Describe(group), answer).await;
    }

    async fn record(&self, key: &Key, revision: Option<u64>, record: &Record) -> Answer {
        let write = records::put(key.path(), revision, record);
        let store = Arc::clone(&self.parts.store);
        let batch = Batch { writes: vec![write], events: audit::line_of(key, record).into_iter().collect() };
        match tokio::task::spawn_blocking(move || store.commit(batch)).await {
            Ok(Ok(_)) => Answer::Accepted,
            Ok(Err(error @ StoreError::Conflict { .. })) => Answer::Refused { because: error.to_string() },
            Ok(Err(error @ StoreError::Failed(_))) => Answer::Unknown { because: error.to_string() },
            Err(error) => Answer::Unknown { because: error.to_string() },
        }
    }

    /// CONTINUE, after the last look: what was decided must still hold.
    async fn admit(&self, held: &Held) -> Answer {
        match self.still_proven(held) {
            Ok(()) => self.call(Call::Admit(held.clone())).await,
            Err(because) => Answer::Refused { because: format!("not sent: {because}") },
        }
    }

    async fn tell(&self, sink: &str, message: &Message) -> Answer {
        let Some(found) = self.parts.sinks.get(sink) else {
            return Answer::Refused { because: "there is no such sink".into() };
        };
        let told = tokio::time::timeout(self.limit(), found.tell(message)).await;
        let answer = told.unwrap_or_else(|_| Answer::Unknown { because: "no answer in time".into() });
        self.parts.heard.answered(sink, &answer);
        self.parts
            .audit
            .record(Entry {
                at: self.parts.clock.now(),
                kind: "alert",
                group: Some(message.group.clone()),
                instance: None,
                actor: CONTROLLER.into(),
                text: format!("{} ({sink}: {})", message.text, in_words(&answer)),
            })
            .await;
        answer
    }

    async fn call(&self, call: Call) -> Answer {
        if !self.holds_lease() {
            return Answer::Refused { because: "not sent: the lease ends too soon".into() };
        }
        let sent = tokio::time::timeout(self.limit(), self.parts.provider.perform(call)).await;
        sent.unwrap_or_else(|_| Answer::Unknown { because: "no answer in time".into() })
    }

    /// The cloud takes no fencing token: whoever may lose the lease before an answer comes does not send.
    fn holds_lease(&self) -> bool {
        let (now, now_wall) = (Clock::monotonic(), self.parts.clock.now());
        self.lease.borrow().is_some_and(|lease| lease.left(now, now_wall) >= self.limit())
    }

    /// Reads promotion, admission, evidence and binding from the store once more, and looks at the newest description.
    /// A few reads of an embedded store: microseconds.
    fn still_proven(&self, held: &Held) -> Result<(), String> {
        let mode = self.parts.policy.groups.get(&held.group).ok_or("the group is no longer gated")?.mode;
        let unreadable = |error: StoreError| error.to_string();
        let store = &*self.parts.store;
        match self.operator(held).map_err(unreadable)? {
            Some(Word::Hold) => return Err("an operator holds it".into()),
            Some(Word::Reject) => return Err("an operator gives it up".into()),
            Some(Word::Admit) => return self.still_waits(held),
            None if mode == Mode::Observe => return Ok(()),
            None if self.is_detached(&held.group).map_err(unreadable)? => return self.still_waits(held),
            None => self.is_not_paused(&held.group)?,
        }
        let group = records::read(store, &Key::Group(held.group.clone()).path()).map_err(unreadable)?;
        let admission = records::read(store, &Key::Admission(held.instance.clone()).path()).map_err(unreadable)?;
        let evidence = records::read(store, &records::evidence_path(&held.instance)).map_err(unreadable)?;
        let (Some((_, Record::Group(group))), Some((_, Record::Admission(admission))), Some((_, evidence))) =
            (group, admission, evidence)
        else {
            return Err("promotion, admission or evidence is not on record".into());
        };
        if store.get(&Key::Dispute(held.instance.clone()).path()).map_err(unreadable)?.is_some() {
            return Err("two keys claim to be this instance".into());
        }
        if self.was_let_in(held)? {
            self.stands(held, &group, &admission, &evidence)?;
        } else {
            self.agree(held, &group, &admission, &evidence)?;
        }
        self.present_boot(&evidence).map_err(unreadable)?.then_some(()).ok_or("the instance has booted since")?;
        self.still_waits(held)
    }

    /// What an operator says of this wait, now.
    fn operator(&self, held: &Held) -> Result<Option<Word>, StoreError> {
        let record = records::read(&*self.parts.store, &Key::Override(held.instance.clone()).path())?;
        let now = self.parts.clock.now();
        Ok(match record {
            Some((_, Record::Override(said))) if said.wait == held.wait && now < said.until => Some(said.word),
            _ => None,
        })
    }

    /// Whether the group does without the gate, now.
    fn is_detached(&self, group: &GroupName) -> Result<bool, StoreError> {
        let record = records::read(&*self.parts.store, &Key::Detach(group.clone()).path())?;
        Ok(matches!(record, Some((_, Record::Detach(detached))) if detached.ended_at.is_none()))
    }

    fn is_not_paused(&self, group: &GroupName) -> Result<(), String> {
        let record = records::read(&*self.parts.store, &Key::Pause(group.clone()).path());
        match record.map_err(|error| error.to_string())? {
            Some((_, Record::Pause(pause))) if self.parts.clock.now() < pause.until => {
                Err("its group is paused".into())
            }
            _ => Ok(()),
        }
    }

    fn agree(
        &self,
        held: &Held,
        group: &GroupRecord,
        admission: &AdmissionRecord,
        evidence: &Evidence,
    ) -> Result<(), String> {
        let limits = &self.parts.policy.limits;
        let proven = admission.manifest.ok_or("the admission on record proves nothing")?;
        let checks = [
            (group.accepted.contains(&proven), "the release is no longer accepted"),
            (admission.wait == held.wait && evidence.wait == held.wait, "the proof is of another wait"),
            (evidence.manifest == proven, "the last report is for another release"),
            (admission.boot.as_ref() == Some(&evidence.boot), "the last report is of another boot"),
            (evidence.readiness == Readiness::Ready, "the last report is not ready"),
            (self.parts.clock.now().since(evidence.received_at) <= limits.report_age_max, "the last report is too old"),
        ];
        checks.iter().find(|(holds, _)| !holds).map_or(Ok(()), |(_, because)| Err((*because).into()))
    }

    /// Whether a balancer let it in in this wait, and holds it again because it was restarted.
    fn was_let_in(&self, held: &Held) -> Result<bool, String> {
        if !self.is_in_place(&held.group) {
            return Ok(false);
        }
        let wait = records::read(&*self.parts.store, &Key::Wait(held.instance.clone()).path());
        Ok(match wait.map_err(|error| error.to_string())? {
            Some((_, Record::Wait(wait))) => wait.over && wait.wait == held.wait,
            _ => false,
        })
    }

    fn is_in_place(&self, group: &GroupName) -> bool {
        let snapshot = self.snapshots.borrow();
        let facts = snapshot.observed.groups.get(group).and_then(|group| group.facts.as_ref());
        facts.is_some_and(|facts| facts.custody == Custody::InPlace)
    }

    /// As [`agree`](Self::agree), for what was let in before: what it says as it serves is good enough.
    fn stands(
        &self,
        held: &Held,
        group: &GroupRecord,
        admission: &AdmissionRecord,
        evidence: &Evidence,
    ) -> Result<(), String> {
        let age_max = self.parts.policy.limits.serving_report_age_max;
        let checks = [
            (admission.wait == held.wait && admission.manifest.is_some(), "it was not let in on proof"),
            (evidence.wait == held.wait || evidence.wait == WaitId(0), "the last report is of another wait"),
            (group.accepted.contains(&evidence.manifest), "the last report is for a release no longer accepted"),
            (evidence.readiness == Readiness::Ready, "the last report is not ready"),
            (self.parts.clock.now().since(evidence.received_at) <= age_max, "the last report is too old"),
        ];
        checks.iter().find(|(holds, _)| !holds).map_or(Ok(()), |(_, because)| Err((*because).into()))
    }

    fn present_boot(&self, evidence: &Evidence) -> Result<bool, StoreError> {
        let store = &*self.parts.store;
        let Some((_, id)) = records::read::<String>(store, &records::bound_path(&evidence.instance))? else {
            return Ok(false);
        };
        let binding = records::read::<Binding>(store, &records::binding_path(&id))?;
        Ok(binding.is_some_and(|(_, binding)| binding.boot == evidence.boot))
    }

    fn still_waits(&self, held: &Held) -> Result<(), String> {
        let in_place = self.is_in_place(&held.group);
        let held_somewhere = |state: &LifecycleState| in_place && *state == LifecycleState::PendingProceed;
        self.is_still(&held.instance, |state| state.is_waiting() || held_somewhere(state))
    }

    fn is_still(&self, instance: &InstanceId, fits: impl Fn(&LifecycleState) -> bool) -> Result<(), String> {
        let snapshot = self.snapshots.borrow();
        let instance = snapshot.observed.instances.get(instance).ok_or("the instance is gone")?;
        if !fits(&instance.state) {
            return Err(format!("the instance is {}", instance.state));
        }
        let age = self.parts.clock.now().since(instance.described_at);
        if age > self.parts.policy.limits.describe_age_max {
            return Err("the last description is too old".into());
        }
        Ok(())
    }

    fn limit(&self) -> Duration {
        self.parts.policy.limits.call_timeout
    }

    fn line(&self, kind: &'static str, (group, instance): Concerns<'_>, text: String) -> Entry {
        Entry {
            at: self.parts.clock.now(),
            kind,
            group: Some(group.clone()),
            instance: instance.cloned(),
            actor: CONTROLLER.into(),
            text,
        }
    }

    /// The loop outlives attempts but at the very end, when nobody needs the answer.
    async fn answered(&self, attempt: AttemptKey, answer: Answer) {
        let labels = Attempt { action: name(&attempt), answer: word(&answer) };
        self.parts.metrics.attempts.get_or_create(&labels).inc();
        let at = self.parts.clock.now();
        let _ = self.done.send(Observation::Answered { attempt, answer, at }).await;
    }
}

/// A group, and one of its instances where it is about one.
type Concerns<'a> = (&'a GroupName, Option<&'a InstanceId>);

/// What is sent to the cloud, for people; `None` for what stays inside.
fn call_in_words(action: &Action) -> Option<(Concerns<'_>, String)> {
    match action {
        Action::Admit(held) => about(held, "CONTINUE"),
        Action::KeepWaiting(held) => about(held, "heartbeat"),
        Action::GiveUp(held) => about(held, "ABANDON"),
        Action::Protect(protection) => Some(((&protection.group, None), protection_in_words(protection))),
        Action::Withdraw(departure) => {
            let words = match departure.way {
                Way::Standby => "into standby",
                Way::Replace => "to be replaced",
            };
            Some(((&departure.group, Some(&departure.instance)), words.into()))
        }
        Action::Return(departure) => Some(((&departure.group, Some(&departure.instance)), "out of standby".into())),
        Action::Record { .. } | Action::Describe(_) | Action::Tell { .. } => None,
    }
}

fn about<'a>(held: &'a Held, words: &str) -> Option<(Concerns<'a>, String)> {
    Some(((&held.group, Some(&held.instance)), words.into()))
}

fn protection_in_words(protection: &Protection) -> String {
    let ids: Vec<_> = protection.instances.iter().map(ToString::to_string).collect();
    let verb = if protection.protected { "protect from scale-in" } else { "no longer protect from scale-in" };
    format!("{verb}: {}", ids.join(", "))
}

fn name(attempt: &AttemptKey) -> &'static str {
    match attempt {
        AttemptKey::Record(_) => "record",
        AttemptKey::Describe(_) => "describe",
        AttemptKey::Admit(..) => "admit",
        AttemptKey::KeepWaiting(..) => "keep_waiting",
        AttemptKey::GiveUp(..) => "give_up",
        AttemptKey::Withdraw(..) => "withdraw",
        AttemptKey::Return(..) => "return",
        AttemptKey::Protect(_, true) => "protect",
        AttemptKey::Protect(_, false) => "unprotect",
        AttemptKey::Tell(..) => "tell",
    }
}

fn word(answer: &Answer) -> &'static str {
    match answer {
        Answer::Accepted => "accepted",
        Answer::Throttled => "throttled",
        Answer::NoActiveAction => "no_active_action",
        Answer::Refused { .. } => "refused",
        Answer::Unknown { .. } => "unknown",
    }
}

/// An answer for people.
pub(crate) fn in_words(answer: &Answer) -> String {
    match answer {
        Answer::Accepted => "accepted".into(),
        Answer::Throttled => "throttled".into(),
        Answer::NoActiveAction => "no active lifecycle action".into(),
        Answer::Refused { because } => format!("refused: {because}"),
        Answer::Unknown { because } => format!("unknown: {because}"),
    }
}

/// What was found and not yet taken in; beyond this many, describing waits.
const FOUND_MAX: usize = 64;

mod depart;
#[cfg(test)]
mod tests;
