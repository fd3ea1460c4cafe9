//! An operator's word on one waiting instance, or on a whole group: for one wait, for a time, with a reason, and audited.

use std::time::Duration;

use portcullis::{
    alert::AlertKey,
    api::{Acknowledge, Override, Pause, Retry, WORD_S_MAX, Withdraw},
    instance::{GroupName, InstanceId},
    policy::Mode,
    record::{
        AlertRecord, BreakerRecord, FreezeRecord, Key, OverrideRecord, PauseRecord, Record, WaitRecord, Warrant, Word,
    },
    text,
    timestamp::Timestamp,
};

use crate::{
    http::{
        App,
        problem::{Kind, Refusal, malformed},
    },
    records,
    stores::{Batch, Entry},
};

/// Records the word on the present wait of an instance.
pub(super) fn say(app: &App, id: &InstanceId, wish: &Override, operator: &str) -> Result<OverrideRecord, Refusal> {
    let (warrant, mut for_s) = (warrant(&wish.reason, operator)?, wish.for_s);
    let path = Key::Override(id.clone()).path();
    let before = records::read::<Record>(&*app.store, &path)?;
    let (word, verb) = match (wish.word, &before) {
        (Some(word), _) => (word, verb(word)),
        (None, Some((_, Record::Override(said)))) => {
            for_s = 0;
            (said.word, "no longer")
        }
        (None, _) => {
            return Err(Refusal::new(Kind::OverrideRefused, "nothing was said of it that could be taken back"));
        }
    };
    check_length(for_s, u64::from(wish.word.is_some()))?;
    let (group, wait) = present_wait(app, id)?;
    let (at, until) = span(app, for_s);
    let record = OverrideRecord { group: group.clone(), wait: wait.wait, word, warrant, at, until };
    let write = records::put(path, before.map(|(revision, _)| revision), &Record::Override(record.clone()));
    let text = match wish.word {
        Some(_) => format!("{verb} wait {} until {until}: {}", wait.wait, record.warrant.because),
        None => format!("{verb} {}: {}", self::verb(word), record.warrant.because),
    };
    let event = line("override", at, (&group, Some(id)), operator, &text);
    app.store.commit(Batch { writes: vec![write], events: vec![event] })?;
    Ok(record)
}

/// Pauses a group, or ends its pause.
pub(super) fn pause(app: &App, group: &GroupName, wish: &Pause, operator: &str) -> Result<PauseRecord, Refusal> {
    let warrant = warrant(&wish.reason, operator)?;
    check_length(wish.for_s, 0)?;
    let policy = app.gated(group)?;
    if policy.mode == Mode::Observe {
        let detail = format!("{group} only observes: it keeps nobody waiting, so that there is nothing to pause");
        return Err(Refusal::new(Kind::OverrideRefused, detail));
    }
    let path = Key::Pause(group.clone()).path();
    let before = records::read::<Record>(&*app.store, &path)?;
    let (at, until) = span(app, wish.for_s);
    let record = PauseRecord { warrant, at, until };
    let write = records::put(path, before.map(|(revision, _)| revision), &Record::Pause(record.clone()));
    let what = if wish.for_s == 0 { "pause ended".into() } else { format!("paused until {until}") };
    let event = line("pause", at, (group, None), operator, &format!("{what}: {}", record.warrant.because));
    app.store.commit(Batch { writes: vec![write], events: vec![event] })?;
    Ok(record)
}

/// Lets a group that stopped replacing replace one more, now.
pub(super) fn retry(app: &App, group: &GroupName, wish: &Retry, operator: &str) -> Result<BreakerRecord, Refusal> {
    let warrant = warrant(&wish.reason, operator)?;
    app.gated(group)?;
    let path = Key::Breaker(group.clone()).path();
    let before = match records::read::<Record>(&*app.store, &path)? {
        Some((revision, Record::Breaker(record))) if record.closed_at.is_none() => Some((revision, record)),
        _ => None,
    };
    let goes_on =
        || Refusal::new(Kind::OverrideRefused, format!("{group} replaces what fails: there is nothing to retry"));
    let (revision, before) = before.ok_or_else(goes_on)?;
    let at = app.clock.now();
    let record = BreakerRecord { at, until: at, ..before };
    let write = records::put(path, Some(revision), &Record::Breaker(record.clone()));
    let event = line("retry", at, (group, None), operator, &format!("one more is replaced: {}", warrant.because));
    app.store.commit(Batch { writes: vec![write], events: vec![event] })?;
    Ok(record)
}

/// Lets withdrawing go on in a group in which many fail for one cause: for those that fail now.
pub(super) fn withdraw(app: &App, group: &GroupName, wish: &Withdraw, operator: &str) -> Result<FreezeRecord, Refusal> {
    let warrant = warrant(&wish.reason, operator)?;
    app.gated(group)?;
    let path = Key::Freeze(group.clone()).path();
    let before = match records::read::<Record>(&*app.store, &path)? {
        Some((revision, Record::Freeze(record))) if record.over_at.is_none() => Some((revision, record)),
        _ => None,
    };
    let goes_on = || {
        Refusal::new(Kind::OverrideRefused, format!("in {group} many don't fail for one cause: nothing keeps it back"))
    };
    let (revision, before) = before.ok_or_else(goes_on)?;
    let at = app.clock.now();
    let text = format!("withdrawing goes on ({}): {}", before.cause, warrant.because);
    let record = FreezeRecord { over_at: Some(at), warrant: Some(warrant), ..before };
    let write = records::put(path, Some(revision), &Record::Freeze(record.clone()));
    let event = line("withdraw", at, (group, None), operator, &text);
    app.store.commit(Batch { writes: vec![write], events: vec![event] })?;
    Ok(record)
}

/// Puts on record who looks after an alert.
pub(super) fn acknowledge(
    app: &App,
    group: &GroupName,
    wish: &Acknowledge,
    operator: &str,
) -> Result<AlertRecord, Refusal> {
    let warrant = warrant(&wish.reason, operator)?;
    let key = AlertKey { group: group.clone(), code: wish.code.clone() };
    let path = Key::Alert(key).path();
    let before = match records::read::<Record>(&*app.store, &path)? {
        Some((revision, Record::Alert(record))) if record.over_at.is_none() => Some((revision, record)),
        _ => None,
    };
    let unknown =
        || Refusal::new(Kind::NotFound, format!("no alert `{}` of {group} was told", text::visible(&wish.code)));
    let (revision, before) = before.ok_or_else(unknown)?;
    let record = AlertRecord { acknowledged: Some(warrant), ..before };
    let write = records::put(path, Some(revision), &Record::Alert(record.clone()));
    let said = format!("{} acknowledged: {}", wish.code, wish.reason.trim());
    let event = line("acknowledged", app.clock.now(), (group, None), operator, &said);
    app.store.commit(Batch { writes: vec![write], events: vec![event] })?;
    Ok(record)
}

const fn verb(word: Word) -> &'static str {
    match word {
        Word::Admit => "admits",
        Word::Hold => "holds",
        Word::Reject => "rejects",
    }
}

pub(super) fn warrant(reason: &str, operator: &str) -> Result<Warrant, Refusal> {
    let because = reason.trim();
    if because.is_empty() || because.len() > REASON_BYTES_MAX {
        return Err(malformed(format!("`reason` must be there, with at most {REASON_BYTES_MAX} bytes")));
    }
    Ok(Warrant { by: operator.into(), because: because.into() })
}

fn check_length(for_s: u64, min: u64) -> Result<(), Refusal> {
    let fits = (min..=WORD_S_MAX).contains(&for_s);
    fits.then_some(()).ok_or_else(|| malformed(format!("`for_s` may be {min} to {WORD_S_MAX}: 4 hours at most")))
}

fn span(app: &App, for_s: u64) -> (Timestamp, Timestamp) {
    let at = app.clock.now();
    (at, at + Duration::from_secs(for_s))
}

/// The wait that a word can be about: of an instance that was seen to wait, and is not on its way out of it already.
fn present_wait(app: &App, id: &InstanceId) -> Result<(GroupName, WaitRecord), Refusal> {
    let snapshot = app.snapshot();
    let refused = |detail: String| Refusal::new(Kind::OverrideRefused, detail);
    let seen = snapshot.observed.instances.get(id);
    let seen = seen.filter(|seen| app.config.policy.groups.contains_key(&seen.group));
    let seen = seen.ok_or_else(|| Refusal::new(Kind::NotFound, format!("no gated group has `{id}`")))?;
    if !seen.state.is_waiting() {
        return Err(refused(format!("{id} is {}: only what waits at its hook can be overridden", seen.state)));
    }
    let record = |key: Key| records::read::<Record>(&*app.store, &key.path());
    let Some((_, Record::Wait(wait))) = record(Key::Wait(id.clone()))? else {
        return Err(refused(format!("the wait of {id} is not on record yet: try again in a moment")));
    };
    if let Some((_, Record::Rejection(rejection))) = record(Key::Rejection(id.clone()))?
        && rejection.wait == wait.wait
    {
        return Err(refused(format!("{id} was rejected at {}, which is final for this wait", rejection.at)));
    }
    let ruling = snapshot.decision.rulings.get(id);
    if wait.over || ruling.is_some_and(|ruling| ruling.continue_accepted) {
        return Err(refused(format!("{id} was let go already")));
    }
    Ok((seen.group.clone(), wait))
}

pub(super) fn line(
    kind: &'static str,
    at: Timestamp,
    (group, instance): (&GroupName, Option<&InstanceId>),
    operator: &str,
    text: &str,
) -> Entry {
    let (group, instance) = (Some(group.clone()), instance.cloned());
    Entry { at, kind, group, instance, actor: operator.into(), text: text::visible(text) }
}

/// A sentence or two.
const REASON_BYTES_MAX: usize = 1_000;
