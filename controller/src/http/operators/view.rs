//! `GET /v1/status` and `GET /v1/instances/{id}`: the loop's last snapshot, for people.

use portcullis::{
    action::AttemptKey,
    alert::{Alert, AlertKey},
    api::{AlertStatus, GroupStatus, InstanceStatus, ProtectedBy, Status, Trial},
    decide::{self, Breaker, Guard},
    digest::Digest,
    instance::{GroupName, InstanceId},
    observation::Answer,
    observed::{Group, Instance},
    policy::{GroupPolicy, Mode},
    record::{Key, Record},
    timestamp::Timestamp,
    verdict::{Ruling, Verdict},
};

use crate::{
    act::in_words,
    http::{App, problem::Refusal},
    reconcile::Snapshot,
};

/// Every gated group, with its instances.
pub(super) fn status(app: &App, snapshot: &Snapshot) -> Result<Status, Refusal> {
    let groups = &app.config.policy.groups;
    let groups = groups.iter().map(|(name, policy)| group(app, snapshot, name, policy)).collect::<Result<_, _>>()?;
    Ok(Status { decided_at: snapshot.decided_at, groups, alerts: alerts(snapshot, &GroupName::controller()) })
}

fn group(app: &App, snapshot: &Snapshot, name: &GroupName, policy: &GroupPolicy) -> Result<GroupStatus, Refusal> {
    let observed = snapshot.observed.groups.get(name);
    let wanted = wanted(snapshot, name);
    let release = wanted.map(|wanted| app.releases.release(&wanted)).transpose()?.flatten();
    let members = snapshot.observed.instances.iter().filter(|(_, instance)| instance.group == *name);
    Ok(GroupStatus {
        group: name.clone(),
        mode: policy.mode,
        release: release.map(|release| release.release),
        wanted,
        desired: observed.and_then(|group| group.facts.as_ref()).map(|facts| facts.desired),
        warnings: failure(snapshot, name)
            .into_iter()
            .chain(nothing_to_admit(policy, wanted.as_ref()))
            .chain(broken(snapshot.decision.breakers.get(name)))
            .chain(paused(snapshot, name))
            .chain(refresh(snapshot, name, observed))
            .chain(warnings(observed, policy))
            .collect(),
        alerts: alerts(snapshot, name),
        instances: members.map(|(id, instance)| shown(app, snapshot, id, instance)).collect(),
    })
}

/// One instance of a gated group.
pub(super) fn instance(app: &App, snapshot: &Snapshot, id: &InstanceId) -> Option<InstanceStatus> {
    snapshot.observed.instances.get(id).map(|instance| shown(app, snapshot, id, instance))
}

fn wanted(snapshot: &Snapshot, group: &GroupName) -> Option<Digest> {
    match snapshot.observed.records.get(&Key::Group(group.clone())) {
        Some((_, Record::Group(record))) => record.accepted.first().copied(),
        _ => None,
    }
}

/// Why the last description did not come: a missing permission is seen here first.
fn failure(snapshot: &Snapshot, group: &GroupName) -> Option<String> {
    let (answer, at) = snapshot.observed.attempts.get(&AttemptKey::Describe(group.clone()))?.answered.as_ref()?;
    (*answer != Answer::Accepted).then(|| format!("not described at {at}: {}", in_words(answer)))
}

/// Enforcing without a release holds everything, and abandons it at its deadline.
fn nothing_to_admit(policy: &GroupPolicy, wanted: Option<&Digest>) -> Option<String> {
    let closed = policy.mode == Mode::Enforce && wanted.is_none();
    closed.then(|| "it enforces, and no release is promoted: nothing can be admitted; promote one, or observe".into())
}

fn alerts(snapshot: &Snapshot, name: &GroupName) -> Vec<AlertStatus> {
    let of_group = snapshot.decision.alerts.iter().filter(|(key, _)| key.group == *name);
    let shown = |(key, alert): (&AlertKey, &Alert)| AlertStatus {
        code: key.code.clone(),
        severity: alert.severity(),
        text: alert.to_string(),
        acknowledged: match snapshot.observed.records.get(&Key::Alert(key.clone())) {
            Some((_, Record::Alert(record))) if record.over_at.is_none() => record.acknowledged.clone(),
            _ => None,
        },
    };
    of_group.map(shown).collect()
}

/// Whether the group stopped replacing what fails.
fn broken(breaker: Option<&Breaker>) -> Option<String> {
    match breaker? {
        Breaker::Closed => None,
        Breaker::Open { cause, since, until } => Some(format!(
            "since {since} launches keep failing ({cause}): none is replaced until {until}; promote a release that mends it, \
             or `portcullis retry`"
        )),
        Breaker::HalfOpen { cause, since } => Some(format!(
            "since {since} launches keep failing ({cause}): one more is replaced now, to see whether it still does"
        )),
    }
}

fn paused(snapshot: &Snapshot, name: &GroupName) -> Option<String> {
    match snapshot.observed.records.get(&Key::Pause(name.clone())) {
        Some((_, Record::Pause(pause))) if snapshot.decided_at < pause.until => {
            Some(format!("paused until {} by {}", pause.until, pause.warrant))
        }
        _ => None,
    }
}

/// What the survivors guard makes of an instance refresh that waits for protected instances.
fn refresh(snapshot: &Snapshot, name: &GroupName, observed: Option<&Group>) -> Option<String> {
    let refresh = observed?.facts.as_ref()?.refresh.as_ref().filter(|refresh| refresh.waits_for_protected)?;
    let said = portcullis::text::visible(&refresh.said);
    match snapshot.decision.guards.get(name)? {
        Guard::Impaired => Some(format!(
            "an instance refresh ({said}) waits for those that the survivors guard protects until new ones are proven, and fails \
             after an hour; `survivors_guard = \"off\"` lets it go on"
        )),
        Guard::StandsAside => {
            Some(format!("an instance refresh ({said}) goes on: the survivors guard protects nobody meanwhile"))
        }
        Guard::Off | Guard::AtRest | Guard::Floor => None,
    }
}

/// The cloud has one bit for everybody; whether it is ours is on record.
fn protected_by(snapshot: &Snapshot, id: &InstanceId, instance: &Instance) -> Option<ProtectedBy> {
    let record = snapshot.observed.records.get(&Key::Protection(instance.group.clone()));
    let ours = matches!(record, Some((_, Record::Protection(record))) if record.instances.contains_key(id));
    let by = if ours { ProtectedBy::SurvivorsGuard } else { ProtectedBy::SomebodyElse };
    instance.protected.then_some(by)
}

fn warnings(observed: Option<&Group>, policy: &GroupPolicy) -> Vec<String> {
    let Some(group) = observed.filter(|group| group.asked_at.is_some()) else {
        return vec!["not described yet".into()];
    };
    let Some(facts) = &group.facts else {
        return vec!["the cloud has no such group".into()];
    };
    let mut warnings = Vec::new();
    match facts.launch_hooks.iter().find(|hook| hook.name == policy.hook) {
        None => warnings.push(format!("no launch hook named `{}`: nothing is held", policy.hook)),
        Some(hook) if !hook.abandons_by_default => {
            warnings.push("the hook's default result is CONTINUE: without a controller the unproven get in".into());
        }
        Some(_) => {}
    }
    if !facts.suspended.is_empty() {
        warnings.push(format!("suspended processes: {}", portcullis::text::visible(&facts.suspended.join(", "))));
    }
    warnings
}

fn shown(app: &App, snapshot: &Snapshot, id: &InstanceId, instance: &Instance) -> InstanceStatus {
    let ruling = snapshot.decision.rulings.get(id);
    InstanceStatus {
        instance: id.clone(),
        group: instance.group.clone(),
        state: instance.state.clone(),
        verdict: ruling.map(|ruling| ruling.verdict),
        reason: ruling.map(|ruling| ruling.reason.clone()),
        because: because(app, ruling, id, instance),
        deadline: ruling.and_then(|ruling| ruling.deadline),
        continue_accepted: ruling.is_some_and(|ruling| ruling.continue_accepted),
        in_service: instance.serves(),
        protected_by: protected_by(snapshot, id, instance),
        wait: ruling.and_then(|ruling| ruling.wait),
        evidence: instance.evidence.clone(),
    }
}

/// The reason; and, where a report is missed, why the last one was not taken.
fn because(app: &App, ruling: Option<&Ruling>, id: &InstanceId, instance: &Instance) -> String {
    let Some(ruling) = ruling else { return format!("{}: not to be ruled on", instance.state) };
    let reason = ruling.reason.to_string();
    let received_at = instance.evidence.as_ref().map(|evidence| evidence.received_at);
    match app.last_refusal(id).filter(|(at, _)| Some(*at) > received_at) {
        Some((at, why)) if ruling.verdict == Verdict::Held => {
            format!("{reason}; a message in its name was refused at {at}: {why}")
        }
        _ => reason,
    }
}

/// What a group would have done with its launches.
pub(super) fn trial(app: &App, snapshot: &Snapshot, group: &GroupName, since: Timestamp) -> Result<Trial, Refusal> {
    app.gated(group)?;
    Ok(decide::trial::review(&snapshot.observed, group, since))
}
