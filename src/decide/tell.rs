//! Telling: every alert goes to every sink, again until somebody acknowledges it, and once more when it is over.
//!
//! What was told is on record, one for each alert, with the moment at which each sink took it. It is written after a sink took
//! an alert and not before, so that a crash between the two tells it twice, never not at all. A sink that does not take it is
//! tried again by itself (`retry`), whatever the others do; and that it does not is an alert too (`alerts::deaf`), which the
//! others are told.
//!
//! Planted bugs (tests/simulation): `recorded_is_told`, `end_untold`.

use alloc::{collections::BTreeSet, string::String, vec::Vec};

use crate::{
    action::{Action, AttemptKey, Told},
    alert::{Alert, AlertKey},
    attempt::Attempts,
    instance::GroupName,
    observed::Observed,
    policy::Policy,
    record::{AlertRecord, Key, Record},
    timestamp::Timestamp,
};

type Firing = alloc::collections::BTreeMap<AlertKey, Alert>;

/// Who is to be told what now, and what should be on record of it.
pub(super) fn due(
    firing: &Firing,
    observed: &Observed,
    policy: &Policy,
    now: Timestamp,
    wakes: &mut BTreeSet<Timestamp>,
) -> Vec<Action> {
    if policy.sinks.is_empty() {
        return Vec::new();
    }
    let first = Key::Alert(AlertKey { group: GroupName(String::new()), code: String::new() });
    let on_record = observed.records.range(first..).take_while(|(key, _)| matches!(key, Key::Alert(_)));
    let open = on_record.filter_map(|(_, (_, record))| match record {
        Record::Alert(record) if !record.is_over => Some(&record.key),
        _ => None,
    });
    let keys: BTreeSet<&AlertKey> = firing.keys().chain(open).collect();
    let mut wishes = Vec::new();
    for key in keys {
        of_one(key, firing.get(key), observed, policy, now, wakes, &mut wishes);
    }
    wishes
}

fn of_one(
    key: &AlertKey,
    alert: Option<&Alert>,
    observed: &Observed,
    policy: &Policy,
    now: Timestamp,
    wakes: &mut BTreeSet<Timestamp>,
    wishes: &mut Vec<Action>,
) {
    let record_key = Key::Alert(key.clone());
    let (revision, record) = match observed.records.get(&record_key) {
        Some((revision, Record::Alert(record))) => (Some(*revision), Some(record)),
        Some((revision, _)) => (Some(*revision), None),
        None => (None, None),
    };
    let mut kept = match (record.filter(|record| !record.is_over), alert) {
        (Some(record), _) => record.clone(),
        (None, Some(alert)) => AlertRecord::begun(key.clone(), alert.clone(), now),
        (None, None) => return,
    };
    if alert.is_some() && kept.over_at.is_some() {
        // The news that it fires again must not be overtaken by the news that it was over.
        let over = |sink: &String| AttemptKey::Tell(key.clone(), sink.clone(), kept.since, Told::IsOver);
        let mut over = policy.sinks.iter().filter_map(|sink| observed.attempts.get(&over(sink)));
        if over.any(|attempts| !is_due(attempts.settled_at(&policy.limits), now, wakes)) {
            return;
        }
        // Some were told that it was over, and some may have been: for all of them it begins anew.
        kept = AlertRecord::begun(key.clone(), kept.alert, now);
    }
    let is_new = record.is_none_or(|record| record.is_over || record.since != kept.since);
    let mut changed = is_new;
    let mut all_know = true;
    for sink in &policy.sinks {
        let attempts = |told| observed.attempts.get(&AttemptKey::Tell(key.clone(), sink.clone(), kept.since, told));
        let accepted_at = |told| attempts(told).and_then(|attempts| attempts.accepted_at);
        if let Some(at) = accepted_at(Told::Fires).filter(|at| kept.told.get(sink) < Some(at)) {
            kept.told.insert(sink.clone(), at);
            changed = true;
        }
        changed |= accepted_at(Told::IsOver).is_some() && kept.told_over.insert(sink.clone());
        let (told, wish) = match alert {
            Some(_) => (Told::Fires, fires_untold(&kept, sink, policy, now, wakes)),
            // Who is not known to have been told may have been: a crash loses the knowledge, not the message.
            None => (Told::IsOver, kept.over_at.is_some() && !kept.told_over.contains(sink)),
        };
        all_know &= !wish;
        // The news that it is over must not overtake the news that it fires; nor the other way round, when it fires anew.
        let settled_at = match alert {
            None => attempts(Told::Fires).map(|it| it.settled_at(&policy.limits)),
            Some(_) => last_ends(key, sink, observed).map(|it| it.settled_at(&policy.limits)).max(),
        };
        if wish && !is_new && settled_at.is_none_or(|at| is_due(at, now, wakes)) {
            let alert = alert.unwrap_or(&kept.alert).clone();
            wishes.push(Action::Tell { key: key.clone(), sink: sink.clone(), told, alert, since: kept.since });
        }
    }
    if alert.is_none() {
        let given_up_at = kept.over_at.map(|over_at| over_at + policy.limits.alert_repeat_every);
        changed |= end(&mut kept, all_know || given_up_at.is_some_and(|at| is_due(at, now, wakes)), now);
    }
    if changed {
        wishes.push(Action::Record { key: record_key, revision, record: Record::Alert(kept) });
    }
}

/// Attempts at telling a sink that it was over, of whatever time that it fired.
fn last_ends<'a>(key: &'a AlertKey, sink: &'a str, observed: &'a Observed) -> impl Iterator<Item = &'a Attempts> {
    let first = AttemptKey::Tell(key.clone(), sink.into(), Timestamp(0), Told::Fires);
    let of_sink = move |of: &AttemptKey| matches!(of, AttemptKey::Tell(of, to, ..) if of == key && to == sink);
    let all = observed.attempts.range(first..).take_while(move |(of, _)| of_sink(of));
    all.filter(|(of, _)| matches!(of, AttemptKey::Tell(.., Told::IsOver))).map(|(_, attempts)| attempts)
}

/// It is over: first that goes on record, then everybody is told, then the record is closed; in the end also when one sink takes
/// nothing.
fn end(kept: &mut AlertRecord, all_know: bool, now: Timestamp) -> bool {
    if kept.over_at.is_none() {
        kept.over_at = Some(now);
        return true;
    }
    kept.is_over = all_know;
    all_know
}

/// Never yet, or not for a long time and nobody looks after it.
fn fires_untold(
    kept: &AlertRecord,
    sink: &str,
    policy: &Policy,
    now: Timestamp,
    wakes: &mut BTreeSet<Timestamp>,
) -> bool {
    let Some(told_at) = kept.told.get(sink) else { return true };
    kept.acknowledged.is_none() && is_due(*told_at + policy.limits.alert_repeat_every, now, wakes)
}

fn is_due(at: Timestamp, now: Timestamp, wakes: &mut BTreeSet<Timestamp>) -> bool {
    if now < at {
        wakes.insert(at);
    }
    now >= at
}

impl AlertRecord {
    fn begun(key: AlertKey, alert: Alert, since: Timestamp) -> Self {
        let (told, told_over) = Default::default();
        Self { key, alert, since, told, told_over, acknowledged: None, over_at: None, is_over: false }
    }
}

#[cfg(test)]
mod tests {
    use alloc::{
        format,
        string::{String, ToString as _},
        vec,
        vec::Vec,
    };

    use super::*;
    use crate::{
        decide::{decide, fixtures::*},
        observation::Answer,
    };

    fn key() -> AlertKey {
        AlertKey { group: web(), code: "disputed".into() }
    }

    /// An alert fires, and two sinks want to know.
    fn firing() -> Scene {
        let mut scene = waiting().disputed();
        scene.policy.sinks = vec!["mail".into(), "pager".into()];
        scene
    }

    /// It was seen first at that time.
    fn begun(scene: Scene, seconds: u64, change: impl FnOnce(&mut AlertRecord)) -> Scene {
        let decision = decide(&scene.observed, &scene.policy, at(seconds));
        let alert = decision.alerts.get(&key()).cloned();
        let alert = alert.unwrap_or(Alert::Unguarded { because: "it was so".into() });
        let mut record = AlertRecord::begun(key(), alert, at(seconds));
        change(&mut record);
        scene.stored(Key::Alert(key()), Record::Alert(record))
    }

    /// That an earlier time was over.
    fn ended_before(sink: &str) -> AttemptKey {
        AttemptKey::Tell(key(), sink.into(), at(100), Told::IsOver)
    }

    fn over(mut scene: Scene) -> Scene {
        scene.observed.records.remove(&Key::Dispute(i1()));
        scene
    }

    fn tried(scene: Scene, sink: &str, seconds: u64, answer: Option<Answer>) -> Scene {
        let told = if scene.observed.records.contains_key(&Key::Dispute(i1())) { Told::Fires } else { Told::IsOver };
        scene.tried(AttemptKey::Tell(key(), sink.into(), at(100), told), seconds, answer)
    }

    /// What is done about it.
    fn done(scene: &Scene, now: u64) -> Vec<String> {
        let decision = decide(&scene.observed, &scene.policy, at(now));
        let about = decision.actions.iter().filter_map(|action| match action {
            Action::Tell { key: of, sink, told: Told::Fires, .. } if *of == key() => Some(format!("tell {sink}")),
            Action::Tell { key: of, sink, told: Told::IsOver, .. } if *of == key() => {
                Some(format!("tell {sink} it is over"))
            }
            Action::Record { record: Record::Alert(record), .. } if record.key == key() => {
                let told: Vec<_> = record.told.iter().map(|(sink, at)| format!(" {sink} {}", seconds(*at))).collect();
                let know: Vec<_> = record.told_over.iter().map(|sink| format!(" {sink} knows")).collect();
                let over =
                    record.over_at.map(|at| format!(" over {}{}", seconds(at), know.concat())).unwrap_or_default();
                let closed = if record.is_over { " closed" } else { "" };
                Some(format!("record {}{}{over}{closed}", seconds(record.since), told.concat()))
            }
            _ => None,
        });
        about.collect()
    }

    #[test]
    fn everybody_is_told_until_somebody_acknowledges() {
        let told = |mail: u64, pager: u64| {
            move |record: &mut AlertRecord| {
                record.told = [("mail".to_string(), at(mail)), ("pager".to_string(), at(pager))].into();
            }
        };
        let rows = [
            ("it goes on record", firing(), 100, vec!["record 100"]),
            ("then it is told", begun(firing(), 100, |_| {}), 101, vec!["tell mail", "tell pager"]),
            (
                "under way",
                tried(tried(begun(firing(), 100, |_| {}), "mail", 101, None), "pager", 101, None),
                102,
                vec![],
            ),
            (
                "one took it",
                tried(
                    tried(begun(firing(), 100, |_| {}), "mail", 101, Some(Answer::Accepted)),
                    "pager",
                    101,
                    Some(unknown()),
                ),
                102,
                vec!["record 100 mail 101", "tell pager"],
            ),
            ("both did", begun(firing(), 100, told(101, 102)), 1_900, vec![]),
            ("again", begun(firing(), 100, told(101, 102)), 1_901, vec!["tell mail"]),
            ("again", begun(firing(), 100, told(101, 102)), 1_902, vec!["tell mail", "tell pager"]),
            (
                "acknowledged",
                begun(firing(), 100, |record| {
                    told(101, 102)(record);
                    record.acknowledged = Some(warrant());
                }),
                9_000,
                vec![],
            ),
            (
                "nobody to tell",
                {
                    let mut scene = begun(firing(), 100, |_| {});
                    scene.policy.sinks.clear();
                    scene
                },
                101,
                vec![],
            ),
        ];
        for (what, scene, now, expected) in rows {
            assert_eq!(done(&scene, now), expected, "{what}");
        }
        let wakes =
            |seconds| decide(&begun(firing(), 100, told(101, 102)).observed, &firing().policy, at(seconds)).wake_at;
        assert!(wakes(1_895) <= Some(at(1_901)));
    }

    #[test]
    fn its_end_is_told_to_those_who_know_of_it() {
        let ended = |change: fn(&mut AlertRecord)| over(begun(firing(), 100, change));
        let mail_knows: fn(&mut AlertRecord) = |record| {
            record.told.insert("mail".into(), at(101));
        };
        let is_over: fn(&mut AlertRecord) = |record| {
            record.told.insert("mail".into(), at(101));
            record.over_at = Some(at(200));
        };
        let rows = [
            ("it goes on record", ended(mail_knows), 200, vec!["record 100 mail 101 over 200"]),
            (
                "then all who may know are told",
                ended(is_over),
                201,
                vec!["tell mail it is over", "tell pager it is over"],
            ),
            (
                "one takes it",
                tried(ended(is_over), "mail", 201, Some(Answer::Accepted)),
                202,
                vec!["record 100 mail 101 over 200 mail knows", "tell pager it is over"],
            ),
            (
                "both do",
                tried(tried(ended(is_over), "mail", 201, Some(Answer::Accepted)), "pager", 203, Some(Answer::Accepted)),
                204,
                vec!["record 100 mail 101 over 200 mail knows pager knows closed"],
            ),
            (
                "one never does",
                ended(is_over),
                2_000,
                vec!["record 100 mail 101 over 200 closed", "tell mail it is over", "tell pager it is over"],
            ),
            (
                "it fires anew, and the last end is still on its way to one",
                begun(firing(), 300, |_| ()).tried(ended_before("mail"), 299, None),
                301,
                vec!["tell pager"],
            ),
            (
                "it has arrived, or was lost",
                begun(firing(), 300, |_| ()).tried(ended_before("mail"), 299, None),
                329,
                vec!["tell mail", "tell pager"],
            ),
            ("it is closed", ended(|record| record.is_over = true), 201, vec![]),
            ("it fires again before that", begun(firing(), 100, is_over), 201, vec!["record 201"]),
            (
                "but not while some are being told that it is over",
                {
                    let told = AttemptKey::Tell(key(), "mail".into(), at(100), Told::IsOver);
                    begun(firing(), 100, is_over).tried(told, 201, None)
                },
                230,
                vec![],
            ),
            ("it fires anew", begun(firing(), 100, |record| record.is_over = true), 300, vec!["record 300"]),
        ];
        for (what, scene, now, expected) in rows {
            assert_eq!(done(&scene, now), expected, "{what}");
        }
    }
}
