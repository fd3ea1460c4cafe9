//! Promoting a release: it becomes the wanted one of a group; the former ones stay accepted, until they are retired.

use std::collections::BTreeSet;

use portcullis::{
    api::{Promote, Retire},
    decide::promotion,
    digest::Digest,
    instance::{GroupName, InstanceId},
    record::{GroupRecord, Key, Record},
    timestamp::Timestamp,
};

use crate::{
    http::{
        App,
        problem::{Kind, Refusal},
    },
    records::{self, Release},
    stores::{Batch, Entry},
};

/// Makes a published release the wanted one of a gated group, and gives what the group accepts from now on.
pub(super) fn promote(app: &App, group: &GroupName, wish: &Promote, operator: &str) -> Result<GroupRecord, Refusal> {
    app.gated(group)?;
    let (digest, release) = find(app, group, &wish.release)?;
    check_pin(app, group, &release)?;
    let path = Key::Group(group.clone()).path();
    let before = records::read::<Record>(&*app.store, &path)?;
    let revision = before.as_ref().map(|(revision, _)| *revision);
    let mut record = match before {
        Some((_, Record::Group(record))) => record,
        _ => GroupRecord { accepted: Vec::new(), at: Timestamp(0) },
    };
    if record.accepted.first() == Some(&digest) {
        return Ok(record);
    }
    check_order(app, &record, &release, wish)?;
    check_proof(app, group, &digest, wish)?;
    record.accepted.retain(|accepted| *accepted != digest);
    record.accepted.insert(0, digest);
    record.accepted.truncate(ACCEPTED_MAX);
    record.at = app.clock.now();
    let write = records::put(path, revision, &Record::Group(record.clone()));
    let event = line(app, group, operator, "promoted", &text(wish, &digest, &release));
    app.store.commit(Batch { writes: vec![write], events: vec![event] })?;
    Ok(record)
}

/// No longer accepts a former release in a group, and gives what the group accepts from now on.
pub(super) fn retire(app: &App, group: &GroupName, wish: &Retire, operator: &str) -> Result<GroupRecord, Refusal> {
    app.gated(group)?;
    let (digest, release) = find(app, group, &wish.release)?;
    let refused = |detail: String| Err(Refusal::new(Kind::RetirementRefused, detail));
    let path = Key::Group(group.clone()).path();
    let Some((revision, Record::Group(mut record))) = records::read(&*app.store, &path)? else {
        return refused(format!("{group} accepts no release"));
    };
    match record.accepted.iter().position(|accepted| *accepted == digest) {
        None => return refused(format!("{group} does not accept it")),
        Some(0) => return refused("it is the wanted one: promote another first".into()),
        Some(_) => {}
    }
    let serving = promotion::serving(&app.snapshot().observed, group, &digest);
    let reason = wish.reason.as_deref().unwrap_or("").trim();
    if !serving.is_empty() && (!wish.force || reason.is_empty()) {
        return refused(format!("it still serves on {}: that needs `force`, with a reason", told(&serving)));
    }
    record.accepted.retain(|accepted| *accepted != digest);
    record.at = app.clock.now();
    let write = records::put(path, Some(revision), &Record::Group(record.clone()));
    let words =
        format!("retired {} {} ({digest}){}", release.product, release.release, because(wish.reason.as_deref()));
    let event = line(app, group, operator, "retired", &words);
    app.store.commit(Batch { writes: vec![write], events: vec![event] })?;
    Ok(record)
}

/// How many there are, and the first of them.
fn told(instances: &BTreeSet<InstanceId>) -> String {
    let first: Vec<&str> = instances.iter().take(TOLD_MAX).map(InstanceId::as_str).collect();
    let more = if instances.len() > TOLD_MAX { ", ..." } else { "" };
    format!("{} ({}{more})", instances.len(), first.join(", "))
}

/// Only what was proven where the group's policy demands it, unless somebody answers for it. Going back needs no proof: what is
/// gone back to was proven here.
fn check_proof(app: &App, group: &GroupName, digest: &Digest, wish: &Promote) -> Result<(), Refusal> {
    let Some(needs) = &app.gated(group)?.promotion_needs else { return Ok(()) };
    let proven = promotion::proven(&app.snapshot().observed, &needs.group, digest);
    let answered_for =
        (wish.force || wish.rollback) && wish.reason.as_deref().is_some_and(|reason| !reason.trim().is_empty());
    if proven.len() >= needs.instances || answered_for {
        return Ok(());
    }
    let so_far = if proven.is_empty() { "0".into() } else { told(&proven) };
    let detail = format!(
        "{group} takes what {} instances of {} have proven, and this was proven by {so_far}: promote it there first, or say \
         `force`, with a reason",
        needs.instances, needs.group
    );
    Err(Refusal::new(Kind::PromotionRefused, detail))
}

/// A digest, or the name of exactly one published release.
fn find(app: &App, group: &GroupName, wanted: &str) -> Result<(Digest, Release), Refusal> {
    let unknown = || Refusal::new(Kind::NotFound, format!("no release `{wanted}` is published"));
    if let Some(digest) = wanted.parse().ok().or_else(|| Digest::from_hex(wanted)) {
        return Ok((digest, app.releases.release(&digest)?.ok_or_else(unknown)?));
    }
    let product = app.config.pins.get(group).and_then(|pin| pin.product.as_deref());
    let mut named = app.releases.all()?;
    named.retain(|(_, release)| release.release == wanted && product.is_none_or(|product| product == release.product));
    match named.len() {
        0 => Err(unknown()),
        1 => Ok(named.remove(0)),
        count => {
            let detail = format!("{count} published releases are named `{wanted}`: give the digest");
            Err(Refusal::new(Kind::PromotionRefused, detail))
        }
    }
}

/// A validly signed manifest of another product, or one from before a known hole, stays out.
fn check_pin(app: &App, group: &GroupName, release: &Release) -> Result<(), Refusal> {
    let Some(pin) = app.config.pins.get(group) else { return Ok(()) };
    if let Some(product) = &pin.product
        && *product != release.product
    {
        let detail = format!("{group} takes releases of `{product}`, this is one of `{}`", release.product);
        return Err(Refusal::new(Kind::PromotionRefused, detail));
    }
    if let Some(sequence_min) = pin.sequence_min
        && release.sequence < sequence_min
    {
        let detail = format!("{group} takes sequences from {sequence_min}, this is {}", release.sequence);
        return Err(Refusal::new(Kind::PromotionRefused, detail));
    }
    Ok(())
}

/// Back to an older release, or over to another product, only when that is said.
fn check_order(app: &App, record: &GroupRecord, release: &Release, wish: &Promote) -> Result<(), Refusal> {
    let Some(wanted) = record.accepted.first() else { return Ok(()) };
    let Some(wanted) = app.releases.release(wanted)? else { return Ok(()) };
    let reason = wish.reason.as_deref().unwrap_or("").trim();
    if wanted.product != release.product {
        // Their sequences have nothing to do with each other.
        if wish.force && !reason.is_empty() {
            return Ok(());
        }
        let detail = format!(
            "the group runs `{}`, this is a release of `{}`: that needs `force`, with a reason",
            wanted.product, release.product
        );
        return Err(Refusal::new(Kind::PromotionRefused, detail));
    }
    if release.sequence < wanted.sequence && (!wish.rollback || reason.is_empty()) {
        let detail =
            format!("older than `{}`, which is wanted now: a rollback needs to be said, with a reason", wanted.release);
        return Err(Refusal::new(Kind::PromotionRefused, detail));
    }
    Ok(())
}

fn text(wish: &Promote, digest: &Digest, release: &Release) -> String {
    let verb = match (wish.rollback, wish.force) {
        (true, _) => "rolled back to",
        (false, true) => "promoted, proven elsewhere or not,",
        (false, false) => "promoted",
    };
    format!("{verb} {} {} ({digest}){}", release.product, release.release, because(wish.reason.as_deref()))
}

fn because(reason: Option<&str>) -> String {
    reason.map(|reason| format!(": {reason}")).unwrap_or_default()
}

fn line(app: &App, group: &GroupName, operator: &str, kind: &'static str, text: &str) -> Entry {
    Entry {
        at: app.clock.now(),
        kind,
        group: Some(group.clone()),
        instance: None,
        actor: operator.into(),
        text: portcullis::text::visible(text),
    }
}

/// Instances that a refusal names.
const TOLD_MAX: usize = 5;
/// The wanted release and four former ones: more are not in service at once.
const ACCEPTED_MAX: usize = 5;
