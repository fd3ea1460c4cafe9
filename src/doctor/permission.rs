//! What the controller may do: every question that was asked here, and a rehearsal of what it does to instances.

use alloc::{format, vec, vec::Vec};

use super::{Facts, Looked, Scope, Symptom, Trouble};
use crate::text;

pub(super) fn look<'a>(scope: &Scope<'a>) -> Looked<'a> {
    let group = scope.facts;
    let asked = [
        group.settings.as_ref().err(),
        group.hooks.as_ref().err(),
        group.simple_scaling.as_ref().err(),
        group.probes.as_ref().err(),
    ];
    let rehearsed = group.rehearsed.iter().map(|rehearsed| rehearsed.as_ref().err());
    let mut troubles: Vec<&Trouble> = Vec::new();
    for trouble in asked.into_iter().chain(rehearsed).flatten() {
        // A cloud that does not answer at all is told once.
        if !troubles.contains(&trouble) {
            troubles.push(trouble);
        }
    }
    Ok(troubles.into_iter().map(symptom).collect::<Vec<_>>())
}

fn symptom(trouble: &Trouble) -> Symptom {
    let (call, because) = (text::visible(&trouble.call), text::visible(&trouble.because));
    if trouble.denied {
        let mend = "give the controller's role deploy/iam-policy.json, and the group the tag `portcullis = gated`";
        return Symptom::mend(format!("{call} is denied: {because}"), mend);
    }
    Symptom::unclear(format!("{call} was not answered: {because}"))
}

/// What nobody can see from here, and must know.
pub(super) fn of_instances(facts: &Facts) -> Vec<Symptom> {
    if facts.cloud.is_none() {
        return vec![Symptom::note("there is no cloud to ask")];
    }
    vec![Symptom::note(
        "what the role of an instance may do cannot be seen from here: with autoscaling:CompleteLifecycleAction an \
         instance would pass itself",
    )]
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::super::{Topic, Trouble, fixtures::*};

    #[test]
    fn table() {
        let denied = || Trouble { denied: true, because: "403 AccessDenied".into(), ..trouble("autoscaling:X") };
        let told = |facts| {
            let mut lines = found(&facts, Some(Topic::Permission));
            lines.retain(|line| !line.starts_with("note"));
            lines
        };
        assert_eq!(
            told(with(|group| group.rehearsed = vec![Ok(()), Err(denied())])),
            ["mend permission: autoscaling:X is denied: 403 AccessDenied"]
        );
        assert_eq!(
            told(with(|group| {
                group.hooks = Err(trouble("autoscaling:DescribeLifecycleHooks"));
                group.probes = Err(denied());
            })),
            [
                "unclear permission: autoscaling:DescribeLifecycleHooks was not answered: no answer in time",
                "mend permission: autoscaling:X is denied: 403 AccessDenied",
            ]
        );
        assert!(told(good()).is_empty());
        assert!(found(&good(), Some(Topic::Permission))[0].contains("would pass itself"));
    }
}
