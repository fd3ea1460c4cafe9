//! Our launch hook: there, for launches, closed without us, and patient enough to outlast an outage of ours.

use alloc::{format, string::String, vec, vec::Vec};

use super::{Hook, Looked, Scope, Symptom, aws, word};
use crate::{duration::Span, text};

pub(super) fn look<'a>(scope: &Scope<'a>) -> Looked<'a> {
    let hooks = scope.facts.hooks.as_ref()?;
    let name = text::visible(&scope.policy.hook);
    let Some(ours) = hooks.iter().find(|hook| hook.name == scope.policy.hook) else {
        let what = format!("no hook named `{name}`: nothing is held");
        return Ok(vec![Symptom::mend(what, put(scope, &scope.policy.hook))]);
    };
    if !ours.launching {
        let what = format!("`{name}` holds terminations: launches pass unheld");
        let mend =
            format!("{}; and name it as `hook` of the group in controller.toml", put(scope, "portcullis-launch"));
        return Ok(vec![Symptom::mend(what, mend)]);
    }
    let others = hooks.iter().filter(|hook| hook.launching && hook.name != ours.name);
    Ok(timers(scope, ours).into_iter().chain(others.map(other)).collect())
}

fn timers(scope: &Scope<'_>, ours: &Hook) -> Vec<Symptom> {
    let (deadline_s, mend) = (scope.policy.admission_deadline.as_secs(), || put(scope, &ours.name));
    let mut symptoms = Vec::new();
    if !ours.abandons_by_default {
        let what = "its default result is CONTINUE: while the controller is away, the unproven get in";
        symptoms.push(Symptom::mend(what, mend()));
    }
    if ours.heartbeat_timeout_s < PATIENCE_S_MIN {
        let after = Span::from_s(ours.heartbeat_timeout_s);
        let what = format!("it waits {after}: an outage of the controller for longer abandons every launch");
        symptoms.push(Symptom::mend(what, mend()));
    }
    if ours.global_timeout_s < deadline_s {
        let (after, deadline) = (Span::from_s(ours.global_timeout_s), Span::from_s(deadline_s));
        let what = format!("the cloud ends a wait after {after}, before the admission deadline of {deadline}");
        symptoms.push(Symptom::mend(what, mend()));
    }
    symptoms
}

fn other(hook: &Hook) -> Symptom {
    let name = text::visible(&hook.name);
    Symptom::note(format!("launches also wait for `{name}`, which somebody else must complete"))
}

/// Making a hook and changing it are one call.
fn put(scope: &Scope<'_>, hook: &str) -> String {
    let rest = format!(
        "--lifecycle-hook-name {} --lifecycle-transition autoscaling:EC2_INSTANCE_LAUNCHING --heartbeat-timeout 3600 \
         --default-result ABANDON",
        word(hook)
    );
    aws("put-lifecycle-hook", scope.name, &rest)
}

/// Half the hour that we recommend: an outage that nobody has ended by then is a long one.
const PATIENCE_S_MIN: u64 = 30 * 60;

#[cfg(test)]
mod tests {
    use alloc::{vec, vec::Vec};

    use super::super::{Hook, Topic, fixtures::*};

    #[test]
    fn table() {
        let ours = || hook("portcullis");
        let rows: [(Vec<Hook>, &[&str]); 8] = [
            (vec![ours()], &[]),
            (vec![], &["mend hook: no hook named `portcullis`: nothing is held"]),
            (vec![hook("other")], &["mend hook: no hook named `portcullis`: nothing is held"]),
            (
                vec![Hook { launching: false, ..ours() }],
                &["mend hook: `portcullis` holds terminations: launches pass unheld"],
            ),
            (
                vec![Hook { abandons_by_default: false, ..ours() }],
                &["mend hook: its default result is CONTINUE: while the controller is away, the unproven get in"],
            ),
            (
                vec![Hook { heartbeat_timeout_s: 1_799, ..ours() }],
                &["mend hook: it waits 29m59s: an outage of the controller for longer abandons every launch"],
            ),
            (
                vec![Hook { global_timeout_s: 1_199, ..ours() }],
                &["mend hook: the cloud ends a wait after 19m59s, before the admission deadline of 20m"],
            ),
            (
                vec![ours(), hook("codedeploy"), Hook { launching: false, ..hook("drain") }],
                &["note hook: launches also wait for `codedeploy`, which somebody else must complete"],
            ),
        ];
        for (hooks, told) in rows {
            assert_eq!(found(&with(|group| group.hooks = Ok(hooks)), Some(Topic::Hook)), told);
        }
    }

    #[test]
    fn the_command_to_mend_it() {
        assert_eq!(
            mended_by(&with(|group| group.hooks = Ok(vec![])), Topic::Hook),
            "aws autoscaling put-lifecycle-hook --auto-scaling-group-name web --lifecycle-hook-name portcullis \
             --lifecycle-transition autoscaling:EC2_INSTANCE_LAUNCHING --heartbeat-timeout 3600 --default-result ABANDON"
        );
    }
}
