//! `POST /v1/report`: takes an agent's outcomes as evidence, when every rule of PROTOCOL.md §3 holds; readiness is
//! recomputed from the controller's own copy of the manifest.

use portcullis::{
    api::Answer,
    challenge::Challenge,
    digest::Digest,
    instance::{LifecycleState, WaitId},
    policy::Mode,
    report::{self, Cause, Evidence, PAYLOAD_TYPE, Readiness, Report},
    verdict::Verdict,
};

use super::{Place, Signed, check_audience, enrol::check_scope, issue, open};
use crate::{
    http::{
        App,
        problem::{Kind, Refusal},
    },
    reconcile::Snapshot,
    records::{self, Binding},
    stores::{Batch, StoreError},
};

/// A report that was taken, or had been taken before.
pub(super) struct Accepted {
    binding_id: String,
    binding: Binding,
    report: Digest,
    ready: bool,
    /// The commit that the answer must know of; `None` for a resend.
    revision: Option<u64>,
}

/// Takes a report, or nothing changes.
pub(super) fn accept(app: &App, bytes: &[u8]) -> Result<Accepted, Refusal> {
    let signed: Signed<Report> = open(app, bytes, PAYLOAD_TYPE, |report: &Report| &report.binding)?;
    let instance = signed.binding.instance.clone();
    take(app, signed).map_err(|refusal| refusal.of(&instance))
}

fn take(app: &App, signed: Signed<Report>) -> Result<Accepted, Refusal> {
    let Signed { message: report, binding_id, revision, mut binding, digest } = signed;
    check_audience(app, &report.audience)?;
    check_speaker(&report, &binding)?;
    if binding.last_report == Some(digest) {
        return Ok(Accepted { binding_id, binding, report: digest, ready: false, revision: None });
    }
    let challenge = answered_challenge(app, &report, &binding_id, &binding)?;
    let place = Place::of(app, &app.snapshot(), &report.instance);
    check_place(&report, &binding, &place)?;
    let (readiness, drift) = judge(app, &report, &place)?;
    let ready = readiness == Readiness::Ready;
    binding.n = challenge.n;
    binding.last_report = Some(digest);
    let evidence = Evidence {
        instance: report.instance,
        group: report.group,
        boot: report.boot_id,
        wait: report.wait,
        manifest: report.manifest,
        challenged_at: challenge.issued,
        received_at: app.clock.now(),
        readiness,
        drift,
        diffs: report::diffs(&report.outcomes),
    };
    let revision = Some(keep(app, &binding_id, revision, &binding, &evidence)?);
    app.metrics.reports.inc();
    Ok(Accepted { binding_id, binding, report: digest, ready, revision })
}

fn check_speaker(report: &Report, binding: &Binding) -> Result<(), Refusal> {
    if report.instance != binding.instance {
        return Err(Refusal::new(Kind::WrongInstance, format!("the binding is of {}", binding.instance)));
    }
    if report.boot_id != binding.boot {
        return Err(Refusal::new(Kind::WrongBoot, "enrol again to announce the boot"));
    }
    Ok(())
}

/// The challenge, if it was given to this binding and boot, for this wait, and has not been answered.
fn answered_challenge(app: &App, report: &Report, id: &str, binding: &Binding) -> Result<Challenge, Refusal> {
    let stale = |detail: &str| Refusal::new(Kind::StaleChallenge, format!("{detail}: ask for a new one"));
    let keys = std::slice::from_ref(&app.mac);
    let challenge =
        Challenge::open(&report.challenge, keys, app.clock.now()).map_err(|error| stale(&error.to_string()))?;
    let given_to = (challenge.audience.as_str(), challenge.binding.as_str(), &challenge.boot);
    if given_to != (app.config.audience.as_str(), id, &binding.boot) {
        return Err(stale("the challenge was given to somebody else"));
    }
    if Some(challenge.n) != binding.n.checked_add(1) {
        return Err(stale("the challenge, or a later one, has been answered"));
    }
    if challenge.wait != report.wait {
        return Err(Refusal::new(Kind::WrongWait, format!("the challenge is for wait {}", challenge.wait)));
    }
    Ok(challenge)
}

fn check_place(report: &Report, binding: &Binding, place: &Place) -> Result<(), Refusal> {
    check_scope(binding.group.as_ref(), place)?;
    match &place.group {
        None => return Err(Refusal::new(Kind::NotDescribed, "ask for a challenge again in a few seconds")),
        Some(group) if *group != report.group => {
            return Err(Refusal::new(Kind::WrongGroup, format!("the instance is in {group}: ask for a new challenge")));
        }
        Some(_) => {}
    }
    if !place.takes(report.wait) {
        let now = place.open_wait();
        let detail = match now {
            WaitId(0) => "the instance no longer waits: ask for a new challenge".into(),
            now => format!("the instance is in wait {now}: ask for a new challenge"),
        };
        return Err(Refusal::new(Kind::WrongWait, detail));
    }
    Ok(())
}

/// Readiness from the controller's own copy. A group that only observes takes reports for every published release, so that
/// it can tell what it would have held.
fn judge(app: &App, report: &Report, place: &Place) -> Result<(Readiness, Vec<Cause>), Refusal> {
    if place.mode == Mode::Enforce && !place.accepted.contains(&report.manifest) {
        let wanted =
            place.accepted.first().map_or_else(|| "none is promoted".into(), |wanted| format!("{wanted} is wanted"));
        let detail = format!("{} is not accepted by {}: {wanted}", report.manifest, report.group);
        return Err(Refusal::new(Kind::NotAccepted, detail));
    }
    let manifest = app.releases.manifest(&report.manifest)?;
    let manifest =
        manifest.ok_or_else(|| Refusal::new(Kind::NotPublished, format!("{} is not published", report.manifest)))?;
    report::judge_facts(&manifest, report)
        .and_then(|()| report::judge(&manifest, &report.outcomes))
        .map(|readiness| (readiness, report::drift(&manifest, &report.outcomes)))
        .map_err(|error| Refusal::new(Kind::NotAReport, error))
}

/// Counter and evidence, together or not at all.
fn keep(app: &App, id: &str, revision: u64, binding: &Binding, evidence: &Evidence) -> Result<u64, Refusal> {
    let path = records::evidence_path(&evidence.instance);
    let before = app.store.get(&path)?.map(|found| found.revision);
    let counter = records::put(records::binding_path(id), Some(revision), binding);
    let writes = vec![counter, records::put(path, before, evidence)];
    app.store.commit(Batch { writes, events: Vec::new() }).map_err(|error| match error {
        StoreError::Conflict { .. } => {
            Refusal::new(Kind::StaleChallenge, "another report came first: ask for a new one")
        }
        StoreError::Failed(_) => error.into(),
    })
}

/// The answer, once the loop has decided on the report. A resend gets the answer of the first time.
pub(super) async fn answer(app: &App, accepted: Accepted) -> Answer {
    let Accepted { binding_id, binding, report, ready, revision } = accepted;
    if revision.is_none()
        && let Some(answer) = app.last_answer(&binding_id, report)
    {
        return answer;
    }
    let snapshot = app.decided(revision.unwrap_or(0)).await;
    let place = Place::of(app, &snapshot, &binding.instance);
    let (verdict, reason) = told(&snapshot, &binding);
    let answer = Answer {
        verdict,
        reason,
        wanted: place.accepted.first().copied(),
        next_challenge: issue(app, &binding_id, &binding, &place),
        poll_after_s: poll_after_s(app, &snapshot, &binding, verdict, ready),
    };
    app.keep_answer(binding_id, report, answer.clone());
    answer
}

/// The verdict as the agent may act on it: `admitted` only once the cloud has taken our CONTINUE, or the instance serves.
fn told(snapshot: &Snapshot, binding: &Binding) -> (Verdict, String) {
    let Some(ruling) = snapshot.decision.rulings.get(&binding.instance) else {
        return (Verdict::Held, "the controller has not ruled on this instance yet".into());
    };
    let waiting = state(snapshot, binding).is_none_or(LifecycleState::is_waiting);
    if ruling.verdict == Verdict::Admitted && waiting && !ruling.continue_accepted {
        return (Verdict::Held, format!("{}; being let into service", ruling.reason));
    }
    (ruling.verdict, ruling.reason.to_string())
}

fn poll_after_s(app: &App, snapshot: &Snapshot, binding: &Binding, verdict: Verdict, ready: bool) -> u64 {
    match (state(snapshot, binding), verdict) {
        (Some(LifecycleState::InService), Verdict::Admitted) if is_seen(app, snapshot, binding) => POLL_SERVING_S,
        (_, Verdict::Held) if ready => POLL_READY_S,
        _ => POLL_WAITING_S,
    }
}

/// Whether the cloud was surely asked for it since it booted: else it may wait again, and has to prove itself soon.
fn is_seen(app: &App, snapshot: &Snapshot, binding: &Binding) -> bool {
    let instance = snapshot.observed.instances.get(&binding.instance);
    let sure_at = binding.boot_at + app.config.policy.limits.propagation_max;
    instance.is_some_and(|instance| binding.epoch == 1 || instance.described_at >= sure_at)
}

fn state<'a>(snapshot: &'a Snapshot, binding: &Binding) -> Option<&'a LifecycleState> {
    snapshot.observed.instances.get(&binding.instance).map(|instance| &instance.state)
}

/// DESIGN.md §6: every 60 s while serving.
const POLL_SERVING_S: u64 = 60;
/// DESIGN.md §6: every 5 s while waiting.
const POLL_WAITING_S: u64 = 5;
/// Ready and not let in yet: describing and CONTINUE take a second or two, and the agent should hear of it soon.
const POLL_READY_S: u64 = 2;
