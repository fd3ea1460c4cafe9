//! The group's own settings let the unproven in: no hook of ours, one that lets instances through by default, or no release. In a
//! group that is detached, all of that is meant.

use alloc::{collections::BTreeSet, format, string::String};

use super::Scope;
use crate::{alert::Alert, policy::Mode, text, timestamp::Timestamp};

pub(super) fn rule(scope: &Scope<'_>, _: &mut BTreeSet<Timestamp>) -> Option<Alert> {
    let because = because(scope)?;
    Some(Alert::Unguarded { because })
}

fn because(scope: &Scope<'_>) -> Option<String> {
    let group = scope.group.filter(|group| group.asked_at.is_some() && scope.detached().is_none())?;
    let Some(facts) = &group.facts else {
        return Some("the cloud has no such group".into());
    };
    let hook = facts.launch_hooks.iter().find(|hook| hook.name == scope.policy.hook);
    match hook {
        None => Some(format!("no launch hook named `{}`: nothing is held", text::visible(&scope.policy.hook))),
        Some(hook) if !hook.abandons_by_default => {
            Some("its hook's default result is CONTINUE: without a controller the unproven get in".into())
        }
        Some(_) if scope.policy.mode == Mode::Enforce && scope.gated.accepted.is_empty() => {
            Some("it enforces, and no release is promoted: nothing can be admitted".into())
        }
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::{super::fixtures::*, testing::check};

    #[test]
    fn table() {
        let through = || {
            let mut scene = waiting();
            scene.facts().launch_hooks[0].abandons_by_default = false;
            scene
        };
        let unknown = || {
            let mut scene = waiting();
            scene.observed.groups.get_mut(&web()).expect("it is there").facts = None;
            scene
        };
        let through_told = "its hook's default result is CONTINUE: without a controller the unproven get in";
        check(
            "unguarded",
            &[
                (waiting(), 100, "-"),
                (waiting().hooks(&["other"]), 100, "no launch hook named `portcullis`: nothing is held"),
                (through(), 100, through_told),
                (waiting().accepting(&[]), 100, "it enforces, and no release is promoted: nothing can be admitted"),
                (waiting().accepting(&[]).observing(), 100, "-"),
                (unknown(), 100, "the cloud has no such group"),
                (through().detached(50, None), 100, "-"),
                (through().detached(50, Some(99)), 100, through_told),
            ],
        );
    }
}
