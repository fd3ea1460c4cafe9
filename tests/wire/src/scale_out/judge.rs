//! Looks from outside only: the cloud's own log, what agents said and when they were answered, and what was true of the files.
//! It asks the controller nothing.

use std::collections::{BTreeMap, BTreeSet};

use portcullis_cloud::{Event, What};

use super::{figures::Figures, machines::Life, road::Heard};

/// One wait of one instance at the gate's hook.
#[derive(Debug, Default)]
struct Wait {
    began_ms: u64,
    /// Every CONTINUE that came, and the error's code when it was refused.
    asked: Vec<(u64, Option<&'static str>)>,
    /// Every one that the cloud took.
    taken_ms: Vec<u64>,
    is_in_service: bool,
    abandoned_ms: Option<u64>,
}

/// What came of it, and every promise that was broken. Whoever is `known` has had its time.
pub(crate) fn judge(
    events: &[Event],
    lives: &BTreeMap<String, Life>,
    known: &BTreeSet<String>,
    began_after: u64,
) -> (Figures, Vec<String>) {
    let mut figures = Figures { calls: calls(events, began_after), ..Figures::default() };
    let began_ms = events.iter().find(|event| event.sequence >= began_after).map_or(0, |event| event.at_ms);
    let (all, mut broken) = (waits(events), Vec::new());
    for (id, life) in lives {
        let waits = all.get(id).map(Vec::as_slice).unwrap_or_default();
        let mut says = |what: String| broken.push(format!("{id} ({:?}): {what}", life.fate));
        for (before, wait) in waits.iter().enumerate() {
            // Whoever was there before is judged like all others, but is not counted.
            let counted = if wait.began_ms > began_ms { &mut figures } else { &mut Figures::default() };
            let slowest = counted.slowest.clone();
            of_wait(wait, life, counted, &mut says);
            if counted.slowest != slowest
                && let Some((_, story)) = &mut counted.slowest
            {
                *story = format!("{id} ({:?}, waits before: {before}): {story}", life.fate);
            }
        }
        let is_served = waits.last().is_some_and(|wait| wait.is_in_service);
        if life.fate.ends_ready() && known.contains(id) && !life.is_gone && !is_served {
            says("ready, and not in service in the end".into());
        }
        if waits.len() > 1 + life.replaced as usize {
            says(format!("{} waits, its content was replaced {} times", waits.len(), life.replaced));
        }
        figures.held += u32::from(!is_served);
        figures.instances += 1;
        figures.lies += count(life.heard.iter().filter(|heard| heard.is_lie));
    }
    (figures, broken)
}

fn of_wait(wait: &Wait, life: &Life, figures: &mut Figures, says: &mut impl FnMut(String)) {
    if wait.taken_ms.len() > 1 {
        says(format!("{} accepted CONTINUEs in one wait", wait.taken_ms.len()));
    }
    if wait.is_in_service && wait.taken_ms.is_empty() {
        says("in service without a CONTINUE".into());
    }
    let said: Vec<&Heard> =
        life.heard.iter().filter(|heard| !heard.is_lie && heard.challenged_ms >= wait.began_ms).collect();
    let taken_ms = wait.taken_ms.first().copied();
    let said: Vec<&Heard> = match taken_ms.or(wait.abandoned_ms) {
        Some(end_ms) => said.into_iter().filter(|heard| heard.sent_ms <= end_ms).collect(),
        None => said,
    };
    let pass = said.iter().rposition(|heard| heard.passes);
    let fails = said[pass.map_or(0, |pass| pass + 1)..].iter().filter_map(|heard| heard.taken_ms);
    let (Some(end_ms), Some(pass)) = (taken_ms, pass) else {
        if taken_ms.is_some() {
            figures.wrongly += 1;
            says("let in, and nothing passed in this wait".into());
        }
        figures.caught += u32::from(pass.is_some() && fails.count() > 0);
        figures.abandoned += u32::from(wait.abandoned_ms.is_some());
        if let (Some(at_ms), Some(last)) = (wait.abandoned_ms, said.last().filter(|last| last.passes))
            && last.taken_ms.is_some_and(|proven_ms| proven_ms + SLACK_MS < at_ms)
        {
            says(format!("given up {} ms after it was proven", at_ms - last.sent_ms));
        }
        return;
    };
    figures.admitted += 1;
    let wrong = wrong(life, said[pass], fails.min(), end_ms);
    figures.wrongly += u32::from(wrong.is_some());
    wrong.into_iter().for_each(&mut *says);
    if let Some(unready_ms) = unready_for(life, end_ms) {
        figures.relapsed_ms.push(unready_ms);
    }
    let streak = said[..pass].iter().rposition(|heard| !heard.passes).map_or(0, |fail| fail + 1);
    figures.caught += u32::from(said[..streak].iter().any(|heard| heard.passes));
    match said[streak..=pass].iter().find_map(|heard| heard.taken_ms) {
        Some(answered_ms) if answered_ms <= end_ms => {
            figures.latencies_ms.push(end_ms - answered_ms);
            figures.slowest = figures.slowest.take().max(Some((end_ms - answered_ms, story(wait, answered_ms))));
        }
        _ => figures.unanswered += 1,
    }
}

/// What the cloud was asked for one that took long, by seconds since its passing report was answered.
fn story(wait: &Wait, answered_ms: u64) -> String {
    let asked = wait.asked.iter().map(|(at_ms, code)| {
        format!("{:.1} s {}", at_ms.saturating_sub(answered_ms) as f64 / 1_000.0, code.unwrap_or("taken"))
    });
    format!("CONTINUE asked for after {}", asked.collect::<Vec<_>>().join(", "))
}

/// Why it must not have been let in at `end_ms`, on that passing report.
fn wrong(life: &Life, pass: &Heard, failed_ms: Option<u64>, end_ms: u64) -> Option<String> {
    if !was_whole_between(life, pass.challenged_ms, pass.sent_ms) {
        return Some("let in on a report that passed, and its files were never whole while it was made".into());
    }
    if end_ms > pass.sent_ms + REPORT_AGE_MAX_MS + SLACK_MS {
        return Some(format!("let in on a report that is {} ms old", end_ms - pass.sent_ms));
    }
    let failed_ms = failed_ms.filter(|failed_ms| failed_ms + SLACK_MS < end_ms)?;
    Some(format!("let in {} ms after the controller had taken a report that fails", end_ms - failed_ms))
}

/// How long its files had not been whole at that time, if they were not.
fn unready_for(life: &Life, at_ms: u64) -> Option<u64> {
    let (since_ms, whole) = life.truth.iter().rfind(|(since_ms, _)| *since_ms <= at_ms)?;
    (!whole).then_some(at_ms - since_ms)
}

fn is_whole_at(life: &Life, at_ms: u64) -> bool {
    life.truth.iter().rfind(|(since_ms, _)| *since_ms <= at_ms).is_some_and(|(_, whole)| *whole)
}

fn was_whole_between(life: &Life, from_ms: u64, to_ms: u64) -> bool {
    let within = life.truth.iter().any(|(at_ms, whole)| *whole && (from_ms..=to_ms).contains(at_ms));
    within || is_whole_at(life, from_ms)
}

fn waits(events: &[Event]) -> BTreeMap<String, Vec<Wait>> {
    let mut all: BTreeMap<String, Vec<Wait>> = BTreeMap::new();
    for event in events {
        let at_ms = event.at_ms;
        match &event.what {
            What::StateChanged { instance, to, .. } if to.as_str() == "Pending:Wait" => {
                all.entry(instance.clone()).or_default().push(Wait { began_ms: at_ms, ..Wait::default() });
            }
            What::StateChanged { instance, to, .. } if to.as_str() == "InService" => {
                let waits = all.entry(instance.clone()).or_default();
                if waits.is_empty() {
                    waits.push(Wait::default());
                }
                waits.iter_mut().next_back().into_iter().for_each(|wait| wait.is_in_service = true);
            }
            What::ActionEnded { instance, result: "ABANDON", .. } => {
                let wait = all.get_mut(instance).and_then(|waits| waits.last_mut());
                wait.into_iter().for_each(|wait| wait.abandoned_ms = Some(at_ms));
            }
            What::Called { instances, code, result: Some(result), .. } if result == "CONTINUE" => {
                let Some(wait) = all.get_mut(&instances.concat()).and_then(|waits| waits.last_mut()) else { continue };
                wait.asked.push((at_ms, *code));
                wait.taken_ms.extend(code.is_none().then_some(at_ms));
            }
            _ => {}
        }
    }
    all
}

/// How often each call came, and how often with an error.
fn calls(events: &[Event], began_after: u64) -> BTreeMap<String, (u32, u32)> {
    let mut calls: BTreeMap<String, (u32, u32)> = BTreeMap::new();
    for event in events.iter().filter(|event| event.sequence > began_after) {
        if let What::Called { action, code, .. } = &event.what {
            let (all, refused) = calls.entry(action.clone()).or_default();
            *all += 1;
            *refused += u32::from(code.is_some());
        }
    }
    calls
}

fn count<T>(all: impl Iterator<Item = T>) -> u32 {
    u32::try_from(all.count()).unwrap_or(u32::MAX)
}

/// DESIGN.md §6: a report is fresh for so long.
const REPORT_AGE_MAX_MS: u64 = 30_000;

/// A call that is on its way when a report comes, on a machine that has a lot to do.
const SLACK_MS: u64 = 2_000;
