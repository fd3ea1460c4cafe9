//! The cloud does not say what there is: nothing can be admitted, and nobody would notice.

use alloc::{collections::BTreeSet, string::ToString as _};

use super::Scope;
use crate::{action::AttemptKey, alert::Alert, observation::Answer, timestamp::Timestamp};

pub(super) fn rule(scope: &Scope<'_>, wakes: &mut BTreeSet<Timestamp>) -> Option<Alert> {
    nothing(scope, wakes).or_else(|| a_part(scope, wakes))
}

/// The rest of it is gated as ever; what the part lets in is not seen.
fn a_part(scope: &Scope<'_>, wakes: &mut BTreeSet<Timestamp>) -> Option<Alert> {
    let group = scope.group?;
    let since = group.unseen_since?;
    let because = group.facts.as_ref()?.unseen.join("; ");
    scope.has_come(since + scope.limits.undescribed_after, wakes).then_some(Alert::Undescribed { since, because })
}

fn nothing(scope: &Scope<'_>, wakes: &mut BTreeSet<Timestamp>) -> Option<Alert> {
    let listening_since = scope.observed.listening_since?;
    let asked_at = scope.group.and_then(|group| group.asked_at).unwrap_or_default();
    let since = asked_at.max(listening_since);
    if !scope.has_come(since + scope.limits.undescribed_after, wakes) {
        return None;
    }
    let attempts = scope.observed.attempts.get(&AttemptKey::Describe(scope.name.clone()));
    let answer = attempts.and_then(|attempts| attempts.answered.as_ref()).map(|(answer, _)| answer);
    let because = match answer {
        None => "no answer".to_string(),
        Some(Answer::Refused { because } | Answer::Unknown { because }) => because.clone(),
        Some(Answer::Throttled) => "it wants fewer calls".to_string(),
        Some(Answer::Accepted | Answer::NoActiveAction) => "no whole answer".to_string(),
    };
    Some(Alert::Undescribed { since, because })
}

#[cfg(test)]
mod tests {
    use super::super::{
        super::fixtures::*,
        testing::{check, wakes},
    };
    use crate::{action::AttemptKey, observation::Answer};

    #[test]
    fn of_a_part() {
        let mut scene = waiting().described(300);
        scene.facts().unseen = alloc::vec!["of balancer b: refused".into()];
        scene.observed.groups.get_mut(&web()).expect("it is there").unseen_since = Some(at(10));
        let told = "nothing is known of it since 2024-10-04T00:00:10.000Z: of balancer b: refused";
        check("undescribed", &[(scene.clone(), 309, "-"), (scene.clone(), 310, told)]);
        wakes(&scene.described(305), 309, 310, "undescribed");
    }

    #[test]
    fn table() {
        let described = || waiting().described(10);
        let describe = || AttemptKey::Describe(web());
        let told = |because: &str| alloc::format!("nothing is known of it since 2024-10-04T00:00:10.000Z: {because}");
        let rows = [
            (described(), 309, "-".into()),
            (described(), 310, told("no answer")),
            (described().tried(describe(), 300, Some(refused())), 310, told("not authorised")),
            (described().tried(describe(), 300, Some(Answer::Throttled)), 310, told("it wants fewer calls")),
            (described().listening_since(Some(at(100))), 399, "-".into()),
            (described().listening_since(None), 900, "-".into()),
        ];
        check("undescribed", &rows.each_ref().map(|(scene, now, told)| (scene.clone(), *now, told.as_str())));
        wakes(&described().tried(describe(), 309, None), 309, 310, "undescribed");
    }
}
