//! `POST /v1/enrol`: binds an instance to a key that its agent made. Once; idempotent for the same key.
//!
//! A second key for a bound instance is an incident: the first may have been the thief. It is refused, told and counted, and
//! put on record: the core then holds the instance for as long as it waits.

use portcullis::{
    api::{ENROL_PAYLOAD_TYPE, Enrol, Enrolled, Identity},
    digest::Digest,
    instance::{GroupName, InstanceId},
    json,
    record::{DisputeRecord, Key, Record},
    signature::{Envelope, EnvelopeLimits, PublicKey},
    timestamp::Timestamp,
};

use super::{Place, accepted, check_audience, issue, verify};
use crate::{
    http::{
        App,
        problem::{Kind, Refusal, malformed},
    },
    records::{self, Binding, JoinToken},
    stores::{Batch, Entry, Write},
};

/// Handles an enrolment. Somebody else writing at the same time makes it look again, a few times.
pub(super) fn enrol(app: &App, bytes: &[u8]) -> Result<Enrolled, Refusal> {
    let envelope = Envelope::parse(bytes, &EnvelopeLimits::MESSAGE).map_err(malformed)?;
    let message: Enrol = json::parse(&envelope.payload, &json::Limits::MESSAGE).map_err(malformed)?;
    let key = PublicKey::from_pem(&message.public_key).map_err(malformed)?;
    verify(envelope, ENROL_PAYLOAD_TYPE, key)?;
    check_audience(app, &message.audience)?;
    check_name("instance", message.instance.as_str())?;
    check_name("boot_id", message.boot_id.as_str())?;
    for _ in 0..TRIES_MAX {
        match bind(app, &message, &key) {
            Err(refusal) if refusal.kind == Kind::Conflict => {}
            done => return done.map_err(|refusal| refusal.of(&message.instance)),
        }
    }
    Err(Refusal::new(Kind::Conflict, "others enrol at the same time: try again").of(&message.instance))
}

fn bind(app: &App, message: &Enrol, key: &PublicKey) -> Result<Enrolled, Refusal> {
    let key_id = key.key_id();
    let Some((_, id)) = records::read::<String>(&*app.store, &records::bound_path(&message.instance))? else {
        return bind_anew(app, message, key, &key_id);
    };
    let (revision, mut binding) = super::binding(app, &id)?;
    let bound = PublicKey::from_pem(&binding.public_key).map_err(|error| crate::http::problem::unavailable(&error))?;
    if bound.key_id() != key_id {
        // Only with an identity of its own is it worth an alarm: anybody can make a key.
        let group = identify(app, message)?.group;
        check_scope(group.as_ref(), &Place::of(app, &app.snapshot(), &message.instance))?;
        // It may be gone, or not described yet: then the group of whoever came first counts.
        check_same(group.as_ref(), binding.group.as_ref())?;
        dispute(app, message)?;
        return Err(Refusal::new(
            Kind::InstanceBound,
            "another key enrolled this instance before: one of them is not it",
        ));
    }
    if binding.boot != message.boot_id {
        binding.boot = message.boot_id.clone();
        (binding.epoch, binding.boot_at) = (binding.epoch + 1, app.clock.now());
        let text = format!("boot {} announced", binding.boot);
        let write = records::put(records::binding_path(&id), Some(revision), &binding);
        app.store
            .commit(Batch { writes: vec![write], events: vec![line(app, message, binding.group.clone(), text)] })?;
        // It may wait again: its root volume was replaced, or it comes from a warm pool.
        look_for(app, binding.group.clone());
    }
    Ok(welcome(app, &id, &binding))
}

fn bind_anew(app: &App, message: &Enrol, key: &PublicKey, key_id: &str) -> Result<Enrolled, Refusal> {
    let Identified { group, mut writes, by } = identify(app, message)?;
    if app.store.get(&records::key_path(key_id))?.is_some() {
        let detail =
            "another instance enrolled with this key: keys are made on the instance, never baked into an image";
        return Err(Refusal::new(Kind::KeyBound, detail));
    }
    let place = Place::of(app, &app.snapshot(), &message.instance);
    check_scope(group.as_ref(), &place)?;
    let id = binding_id(app, &message.instance, key_id);
    let binding = Binding {
        instance: message.instance.clone(),
        group: group.clone(),
        public_key: key.to_pem(),
        boot: message.boot_id.clone(),
        epoch: 1,
        n: 0,
        last_report: None,
        enrolled_at: app.clock.now(),
        boot_at: Timestamp(0),
    };
    writes.push(records::put(records::binding_path(&id), None, &binding));
    writes.push(records::put(records::bound_path(&message.instance), None, &id));
    writes.push(records::put(records::key_path(key_id), None, &id));
    let event = line(app, message, group.clone(), format!("enrolled by {by}, key {key_id}"));
    app.store.commit(Batch { writes, events: vec![event] })?;
    look_for(app, group);
    Ok(welcome(app, &id, &binding))
}

/// Has its group described soon; all groups, where nobody has said which is its own.
fn look_for(app: &App, group: Option<GroupName>) {
    let groups = group.map_or_else(|| app.config.policy.groups.keys().cloned().collect(), |group| vec![group]);
    groups.into_iter().for_each(|group| app.notices.notice(group));
}

/// Puts on record that two keys claim to be one instance; once is enough.
fn dispute(app: &App, message: &Enrol) -> Result<(), Refusal> {
    let path = Key::Dispute(message.instance.clone()).path();
    if app.store.get(&path)?.is_none() {
        let record = Record::Dispute(DisputeRecord { at: app.clock.now() });
        app.store.commit(Batch { writes: vec![records::put(path, None, &record)], events: Vec::new() })?;
    }
    Ok(())
}

/// Whom an identity speaks for, and what its use must write.
struct Identified {
    group: Option<GroupName>,
    writes: Vec<Write>,
    by: &'static str,
}

fn identify(app: &App, message: &Enrol) -> Result<Identified, Refusal> {
    match &message.evidence {
        Identity::JoinToken(token) => consume(app, token),
        Identity::AwsIid { document, .. } => unverified(app, document, &message.instance),
    }
}

/// One use of a join token: written together with the key, or not at all.
fn consume(app: &App, token: &str) -> Result<Identified, Refusal> {
    let path = records::token_path(token);
    let refused = |detail: &str| Refusal::new(Kind::IdentityRefused, detail);
    let found = records::read::<JoinToken>(&*app.store, &path)?;
    let (revision, mut record) = found.ok_or_else(|| refused("no such join token"))?;
    if app.clock.now() >= record.expires {
        return Err(refused("the join token has expired: make a new one"));
    }
    record.uses_left = record.uses_left.checked_sub(1).ok_or_else(|| refused("the join token is used up"))?;
    let writes = vec![records::put(path, Some(revision), &record)];
    Ok(Identified { group: Some(record.group), writes, by: "join token" })
}

/// An identity document whose signature nobody verified: only where the configuration says that this is wanted.
fn unverified(app: &App, document: &str, instance: &InstanceId) -> Result<Identified, Refusal> {
    #[derive(serde::Deserialize)]
    struct Document {
        #[serde(rename = "instanceId")]
        instance: InstanceId,
    }
    let refused = |detail: &str| Refusal::new(Kind::IdentityRefused, detail);
    if !app.config.allow_unverified_identity {
        return Err(refused("identity documents are not taken here: enrol with a join token"));
    }
    let document: Document = serde_json::from_str(document).map_err(|_| refused("not an identity document"))?;
    if document.instance != *instance {
        return Err(refused("the identity document is of another instance"));
    }
    app.metrics.unverified_identities.inc();
    Ok(Identified { group: None, writes: Vec::new(), by: "unverified identity document" })
}

/// A token of one group binds no instance of another.
pub(super) fn check_scope(token: Option<&GroupName>, place: &Place) -> Result<(), Refusal> {
    match (token, &place.group) {
        (Some(token), Some(group)) if token != group => {
            Err(Refusal::new(Kind::WrongGroup, format!("the join token is for {token}, the instance is in {group}")))
        }
        _ => Ok(()),
    }
}

/// A token of one group casts no doubt on an instance that enrolled with a token of another.
fn check_same(token: Option<&GroupName>, bound: Option<&GroupName>) -> Result<(), Refusal> {
    match (token, bound) {
        (Some(token), Some(bound)) if token != bound => {
            Err(Refusal::new(Kind::WrongGroup, format!("the join token is for {token}, the instance is in {bound}")))
        }
        _ => Ok(()),
    }
}

/// Names become keys of the store and labels: letters, digits and `-_.:` only, and not too many.
fn check_name(field: &str, name: &str) -> Result<(), Refusal> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte);
    if (1..=NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(plain) {
        return Ok(());
    }
    Err(malformed(format!("`{field}` must be 1 to {NAME_BYTES_MAX} letters, digits or `-_.:`")))
}

/// The same key of the same instance has the same binding, whoever computes it.
fn binding_id(app: &App, instance: &InstanceId, key_id: &str) -> String {
    let named = format!("binding v1\n{}\n{}\n{key_id}", app.config.audience, instance.as_str());
    Digest::of(named.as_bytes()).to_hex()[..32].into()
}

fn welcome(app: &App, id: &str, binding: &Binding) -> Enrolled {
    let snapshot = app.snapshot();
    let place = Place::of(app, &snapshot, &binding.instance);
    let group = place.group.as_ref().or(binding.group.as_ref());
    let wanted = group.and_then(|group| accepted(&snapshot, group).first().copied());
    Enrolled { binding: id.into(), challenge: issue(app, id, binding, &place), wanted }
}

fn line(app: &App, message: &Enrol, group: Option<GroupName>, text: String) -> Entry {
    let instance = Some(message.instance.clone());
    Entry { at: app.clock.now(), kind: "enrolled", group, instance, actor: super::AGENT.into(), text }
}

const NAME_BYTES_MAX: usize = 128;
const TRIES_MAX: usize = 5;
