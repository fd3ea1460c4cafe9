//! What a bug makes of all that a controller knows.

use super::*;

/// Whoever serves stands for another one too, that is well.
pub(super) fn see_twice(known: &mut Observed, now: Timestamp) {
    for (id, instance) in known.instances.clone() {
        let Some(mut evidence) = instance.evidence.clone().filter(|_| instance.state == LifecycleState::InService)
        else {
            continue;
        };
        (evidence.readiness, evidence.drift, evidence.received_at) = (Readiness::Ready, vec![], now);
        let (evidence, drifting_since) = (Some(evidence), None);
        let twin = (*format!("{id}-again")).into();
        known.instances.insert(twin, Instance { evidence, drifting_since, ..instance });
    }
}

pub(super) fn see_another_template(known: &mut Observed, now: Timestamp) {
    for group in known.groups.values_mut() {
        group.template_since = Some(now);
        group.facts.iter_mut().for_each(|facts| facts.launch_template = Some("another".into()));
    }
}

pub(super) fn forget_adopted(known: &mut Observed) {
    for (_, record) in known.records.values_mut() {
        if let Record::Adoption(adoption) = record {
            adoption.instances.clear();
        }
    }
}

pub(super) fn adopt_all(known: &mut Observed) {
    for (id, instance) in known.instances.iter().filter(|(_, instance)| instance.state == LifecycleState::Standby) {
        let record = WithdrawalRecord {
            group: instance.group.clone(),
            way: Way::Standby,
            stage: Stage::Back,
            at: Timestamp(0),
            changed_at: Timestamp(0),
            because: String::new(),
            causes: vec![],
            by_hand: false,
            bypassed: false,
        };
        let revision = known.records.get(&Key::Withdrawal(id.clone())).map(|(revision, _)| *revision);
        let is_open = known.records.get(&Key::Withdrawal(id.clone())).is_some_and(|(_, record)| is_open(record));
        if !is_open {
            known.records.insert(Key::Withdrawal(id.clone()), (revision.unwrap_or(0), Record::Withdrawal(record)));
        }
    }
}

fn is_open(record: &Record) -> bool {
    matches!(record, Record::Withdrawal(record) if record.stage != Stage::Over)
}

pub(super) fn accept_all(known: &mut Observed) {
    let seen: Vec<_> =
        known.instances.values().filter_map(|instance| Some(instance.evidence.as_ref()?.manifest)).collect();
    for (_, record) in known.records.values_mut() {
        if let Record::Group(group) = record {
            group.accepted.extend(&seen);
        }
    }
}

pub(super) fn detach_for_ever(known: &mut Observed) {
    for (_, record) in known.records.values_mut() {
        if let Record::Detach(detached) = record {
            detached.ended_at = None;
        }
    }
}

pub(super) fn record_in_thought(known: &mut Observed) {
    for (id, instance) in &known.instances {
        let Some(evidence) = &instance.evidence else { continue };
        let record = AdmissionRecord {
            group: instance.group.clone(),
            wait: evidence.wait,
            boot: Some(evidence.boot.clone()),
            manifest: Some(evidence.manifest),
            at: evidence.received_at,
            warrant: None,
        };
        known.records.insert(Key::Admission(id.clone()), (0, Record::Admission(record)));
    }
}

/// As if nobody but the guard protected anybody: who is protected looks unprotected until a call of ours was sent for it.
pub(super) fn take_for_ours(known: &mut Observed) {
    for (id, instance) in &mut known.instances {
        let since = match known.records.get(&Key::Protection(instance.group.clone())) {
            Some((_, Record::Protection(record))) => record.instances.get(id),
            _ => None,
        };
        let tried = known.attempts.get(&AttemptKey::Protect(instance.group.clone(), true));
        let sent = since.is_some_and(|since| tried.is_some_and(|tried| tried.last_sent >= *since));
        instance.protected &= sent;
    }
}

pub(super) fn protect_in_thought(known: &mut Observed) {
    for name in known.groups.keys() {
        let members = known.instances.iter().filter(|(_, instance)| instance.group == *name && !instance.protected);
        let instances = members.map(|(id, instance)| (id.clone(), instance.described_at)).collect();
        let record = Record::Protection(ProtectionRecord { instances });
        known.records.insert(Key::Protection(name.clone()), (0, record));
    }
}

pub(super) fn forget(known: &mut Observed, which: impl Fn(&AttemptKey, bool) -> bool) {
    let attempts: BTreeMap<_, _> = core::mem::take(&mut known.attempts);
    known.attempts = attempts.into_iter().filter(|(key, tried)| !which(key, tried.answered.is_some())).collect();
}
