//! Descriptions: what the cloud says. A newer question has the truer answer; absence is a fact in a complete answer only.

use alloc::{collections::BTreeSet, vec::Vec};

use super::{Instance, Observed};
use crate::{
    action::AttemptKey,
    instance::{GroupName, InstanceId, LifecycleState},
    observation::{Answer, Description, GroupFacts, InstanceFacts},
    timestamp::Timestamp,
};

impl Observed {
    /// A part tells of its instances only; a complete description also of the group, and of what is not in it.
    pub(super) fn described(&mut self, description: Description) {
        let Description { group, asked_at, complete, facts } = description;
        let known = self.groups.entry(group.clone()).or_default();
        if complete && known.asked_at.is_some_and(|before| before >= asked_at) {
            return;
        }
        let listed = facts.as_ref().map_or(&[][..], |facts| &facts.instances);
        for facts in listed {
            self.place(&group, facts, asked_at);
        }
        if complete {
            self.forget_absent(&group, asked_at, listed);
            self.described_whole(group, asked_at, facts);
        }
    }

    fn described_whole(&mut self, group: GroupName, asked_at: Timestamp, facts: Option<GroupFacts>) {
        if let Some(attempts) = self.attempts.get_mut(&AttemptKey::Describe(group.clone()))
            && asked_at >= attempts.last_sent
        {
            attempts.answered(Answer::Accepted, asked_at);
        }
        let serving = self.instances.values().filter(|instance| instance.group == group && instance.serves()).count();
        let is_short = facts.as_ref().is_some_and(|facts| serving < facts.desired as usize);
        let known = self.groups.entry(group).or_default();
        known.asked_at = Some(asked_at);
        known.short_since = is_short.then(|| known.short_since.unwrap_or(asked_at));
        let is_unseen = facts.as_ref().is_some_and(|facts| !facts.unseen.is_empty());
        known.unseen_since = is_unseen.then(|| known.unseen_since.unwrap_or(asked_at));
        let template = |facts: &Option<GroupFacts>| facts.as_ref().and_then(|facts| facts.launch_template.clone());
        if template(&known.facts) != template(&facts) || known.template_since.is_none() {
            known.template_since = Some(asked_at);
        }
        known.facts = facts;
    }

    fn place(&mut self, group: &GroupName, facts: &InstanceFacts, asked_at: Timestamp) {
        let Some(known) = self.instances.get_mut(&facts.instance) else {
            let early = self.early.remove(&facts.instance);
            let placed = Instance {
                group: group.clone(),
                state: facts.state.clone(),
                protected: facts.protected,
                described_at: asked_at,
                healthy: facts.healthy,
                serving_since: (facts.state == LifecycleState::InService).then_some(asked_at),
                evidence: None,
                passing_since: None,
                well_since: None,
                drifting_since: None,
            };
            let placed = self.instances.entry(facts.instance.clone()).or_insert(placed);
            early.into_iter().for_each(|evidence| placed.heard(evidence));
            return;
        };
        if known.described_at < asked_at {
            // A balancer that could not be asked has not changed its mind.
            let before = known.healthy.filter(|_| facts.state == known.state);
            known.healthy = facts.healthy.or(before);
            known.group = group.clone();
            known.state = facts.state.clone();
            known.protected = facts.protected;
            known.described_at = asked_at;
            let serves = known.state == LifecycleState::InService;
            known.serving_since = serves.then(|| known.serving_since.unwrap_or(asked_at));
        }
    }

    /// Forgets what should be listed and is not. What was described or heard since the question is newer than its answer.
    fn forget_absent(&mut self, group: &GroupName, asked_at: Timestamp, listed: &[InstanceFacts]) {
        let listed: BTreeSet<&InstanceId> = listed.iter().map(|facts| &facts.instance).collect();
        let mut gone = Vec::new();
        self.instances.retain(|id, instance| {
            let absent = instance.group == *group && instance.described_at < asked_at && !listed.contains(id);
            if absent {
                gone.push(id.clone());
            }
            !absent
        });
        self.early.retain(|_, evidence| evidence.group != *group || evidence.received_at >= asked_at);
        for id in gone {
            self.forget_attempts(&id);
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::{string::ToString, vec::Vec};

    use super::*;
    use crate::{
        attempt::Attempts,
        instance::WaitId,
        observation::Observation,
        record::Key,
        report::{Evidence, Readiness},
    };

    fn description(group: &str, asked_at: u64, instances: &[(&str, &str)]) -> Description {
        let listed = instances.iter().map(|(id, state)| InstanceFacts {
            instance: (*id).into(),
            state: LifecycleState::from((*state).to_string()),
            launch_template: None,
            protected: false,
            healthy: None,
        });
        let facts = GroupFacts { desired: 1, instances: listed.collect::<Vec<_>>(), ..GroupFacts::default() };
        Description { group: group.into(), asked_at: Timestamp(asked_at), complete: true, facts: Some(facts) }
    }

    fn part(group: &str, asked_at: u64, instances: &[(&str, &str)]) -> Description {
        Description { complete: false, ..description(group, asked_at, instances) }
    }

    fn folded(descriptions: &[Description]) -> Observed {
        let mut observed = Observed::default();
        for description in descriptions {
            observed.fold(Observation::Described(description.clone()), Timestamp(1_000));
        }
        observed
    }

    fn seen(observed: &Observed) -> Vec<(&str, &str, u64)> {
        let instances = observed.instances.iter();
        instances.map(|(id, seen)| (id.as_str(), seen.state.as_str(), seen.described_at.0)).collect()
    }

    #[test]
    fn since_when_it_launches_from_what_it_does() {
        let from = |asked_at, template: Option<&str>| {
            let mut seen = description("web", asked_at, &[]);
            seen.facts.iter_mut().for_each(|facts| facts.launch_template = template.map(Into::into));
            seen
        };
        let since = |seen: &[Description]| folded(seen).groups[&"web".into()].template_since.map(|at| at.0);
        assert_eq!(since(&[from(10, Some("t:1"))]), Some(10));
        assert_eq!(since(&[from(10, Some("t:1")), from(20, Some("t:1"))]), Some(10));
        assert_eq!(since(&[from(10, Some("t:1")), from(20, Some("t:2")), from(30, Some("t:2"))]), Some(20));
        assert_eq!(since(&[from(10, Some("t:1")), from(20, None), from(30, Some("t:1"))]), Some(30));
    }

    #[test]
    fn since_when_too_few_serve() {
        let short = |seen: &[Description]| folded(seen).groups[&"web".into()].short_since.map(|at| at.0);
        let (waits, serves) = ([("a", "Pending:Wait")], [("a", "InService")]);
        let at = |asked_at, serves: bool| {
            description("web", asked_at, if serves { &[("a", "InService")] } else { &[("a", "Pending:Wait")] })
        };
        assert_eq!(short(&[description("web", 10, &waits)]), Some(10));
        assert_eq!(short(&[description("web", 10, &serves)]), None);
        assert_eq!(short(&[at(10, false), at(20, false)]), Some(10));
        assert_eq!(short(&[at(10, false), at(20, true), at(30, false)]), Some(30));
        assert_eq!(short(&[at(10, false), part("web", 20, &serves)]), Some(10));
        let nobody = Description { facts: None, ..description("web", 30, &[]) };
        assert_eq!(short(&[at(10, false), nobody]), None);

        let part_of = |asked_at| {
            let mut seen = at(asked_at, true);
            seen.facts.as_mut().expect("it has them").unseen.push("of balancer b".to_string());
            seen
        };
        let unseen = |seen: &[Description]| folded(seen).groups[&"web".into()].unseen_since.map(|at| at.0);
        assert_eq!(unseen(&[part_of(10), part_of(20)]), Some(10));
        assert_eq!(unseen(&[part_of(10), at(20, true), part_of(30)]), Some(30));
        assert_eq!(unseen(&[part_of(10), at(20, true)]), None);

        let since = |seen: &[Description]| folded(seen).instances[&"a".into()].serving_since.map(|at| at.0);
        assert_eq!(since(&[at(10, false)]), None);
        assert_eq!(since(&[at(10, true), at(20, true)]), Some(10));
        assert_eq!(since(&[at(10, true), at(20, false), at(30, true)]), Some(30));
        assert_eq!(since(&[at(10, false), part("web", 20, &serves)]), Some(20));
    }

    #[test]
    fn table() {
        let waits = description("web", 10, &[("a", "Pending:Wait"), ("b", "InService")]);
        let serves = description("web", 20, &[("a", "InService")]);
        let (old, new) = ([("a", "Pending:Wait", 10), ("b", "InService", 10)], [("a", "InService", 20)]);
        assert_eq!(seen(&folded(core::slice::from_ref(&waits))), old);
        assert_eq!(seen(&folded(&[waits.clone(), serves.clone()])), new);
        assert_eq!(seen(&folded(&[serves.clone(), waits.clone()])), new); // an older answer never overrules
        assert_eq!(folded(&[serves.clone(), serves.clone()]), folded(core::slice::from_ref(&serves)));

        let same_time = description("web", 20, &[("c", "Pending")]);
        assert_eq!(seen(&folded(&[serves.clone(), same_time])), new);

        let piece = part("web", 30, &[("b", "Pending")]);
        let observed = folded(&[serves.clone(), piece]); // absence in a part is no fact
        assert_eq!(seen(&observed), [("a", "InService", 20), ("b", "Pending", 30)]);
        assert_eq!(observed.groups[&"web".into()].asked_at, Some(Timestamp(20)));

        let again = part("web", 30, &[("b", "InService")]);
        let observed = folded(&[part("web", 30, &[("b", "Pending")]), again]); // of the same moment, the first counts
        assert_eq!(seen(&observed), [("b", "Pending", 30)]);

        let older_than_the_part = description("web", 25, &[("a", "Standby")]);
        let observed = folded(&[part("web", 30, &[("b", "Pending")]), older_than_the_part]);
        assert_eq!(seen(&observed), [("a", "Standby", 25), ("b", "Pending", 30)]);
        let exactly_as_old = description("web", 30, &[]);
        assert_eq!(seen(&folded(&[part("web", 30, &[("b", "Pending")]), exactly_as_old])), [("b", "Pending", 30)]);

        let no_group = Description { facts: None, ..description("web", 40, &[]) };
        let observed = folded(&[serves, description("db", 1, &[("d", "InService")]), no_group]);
        assert_eq!(seen(&observed), [("d", "InService", 1)]);
        assert_eq!(observed.groups[&"web".into()].facts, None);
    }

    #[test]
    fn what_a_balancer_said_counts_until_it_says_something_else() {
        let mut observed = Observed::default();
        for (asked_at, state, healthy, serves, short_since) in [
            (10, "InService", None, true, None),
            (20, "InService", Some(false), false, Some(20)),
            (30, "InService", None, false, Some(20)),
            (40, "InService", Some(true), true, None),
            (50, "InService", Some(false), false, Some(50)),
            (60, "Standby", None, false, Some(50)),
            (70, "InService", None, true, None),
        ] {
            let mut description = description("web", asked_at, &[("a", state)]);
            description.facts.iter_mut().for_each(|facts| facts.instances[0].healthy = healthy);
            observed.fold(Observation::Described(description), Timestamp(asked_at + 1));
            assert_eq!(observed.instances[&"a".into()].serves(), serves, "at {asked_at}");
            assert_eq!(observed.groups[&"web".into()].short_since, short_since.map(Timestamp), "at {asked_at}");
        }
    }

    #[test]
    fn an_instance_may_change_its_group() {
        let observed = folded(&[
            description("web", 10, &[("a", "InService")]),
            description("db", 20, &[("a", "InService")]),
            description("web", 30, &[]),
        ]);
        assert_eq!(observed.instances[&"a".into()].group, "db".into());
    }

    #[test]
    fn what_is_gone_is_forgotten_with_its_attempts() {
        let mut observed = folded(&[description("web", 10, &[("a", "Pending:Wait"), ("b", "InService")])]);
        let keys = |id: &str| {
            [
                AttemptKey::Admit(id.into(), WaitId(1)),
                AttemptKey::KeepWaiting(id.into(), WaitId(1)),
                AttemptKey::GiveUp(id.into(), WaitId(1)),
                AttemptKey::Record(Key::Wait(id.into())),
            ]
        };
        for key in [keys("a"), keys("b")].concat() {
            observed.attempts.insert(key, Attempts::first(Timestamp(5)));
        }
        observed.fold(Observation::Described(description("web", 20, &[("b", "InService")])), Timestamp(21));
        assert_eq!(observed.attempts.into_keys().collect::<BTreeSet<_>>(), BTreeSet::from(keys("b")));
    }

    #[test]
    fn a_report_may_be_quicker_than_the_first_description() {
        let evidence = |received_at| Evidence {
            instance: "a".into(),
            group: "web".into(),
            boot: "boot".into(),
            wait: WaitId(1),
            manifest: crate::digest::Digest::of(b"m"),
            challenged_at: Timestamp(5),
            received_at: Timestamp(received_at),
            drift: Vec::new(),
            diffs: Default::default(),
            readiness: Readiness::Ready,
        };
        let mut observed = Observed::default();
        observed.fold(Observation::Reported(evidence(20)), Timestamp(20));
        observed.fold(Observation::Described(description("web", 20, &[])), Timestamp(21));
        assert_eq!(observed.early.len(), 1); // came after the question: its answer says nothing
        let mut placed = observed.clone();
        placed.fold(Observation::Described(description("web", 21, &[("a", "Pending:Wait")])), Timestamp(22));
        assert_eq!(placed.instances[&"a".into()].evidence, Some(evidence(20)));
        assert_eq!(placed.instances[&"a".into()].passing_since, Some(Timestamp(20)));
        assert!(placed.early.is_empty());
        observed.fold(Observation::Described(description("db", 21, &[])), Timestamp(22));
        assert_eq!(observed.early.len(), 1);
        observed.fold(Observation::Described(description("web", 21, &[])), Timestamp(22));
        assert!(observed.early.is_empty());
    }

    #[test]
    fn a_complete_description_answers_the_attempt_that_asked_for_it() {
        for (asked_at, answered) in [(9, false), (10, true)] {
            let mut observed = Observed::default();
            let key = AttemptKey::Describe("web".into());
            observed.attempts.insert(key.clone(), Attempts::first(Timestamp(10)));
            observed.fold(Observation::Described(part("web", asked_at, &[])), Timestamp(21));
            assert!(!observed.attempts[&key].was_accepted());
            observed.fold(Observation::Described(description("web", asked_at, &[])), Timestamp(21));
            assert_eq!(observed.attempts[&key].was_accepted(), answered);
        }
    }
}
