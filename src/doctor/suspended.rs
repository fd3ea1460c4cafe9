//! Suspended processes: two of them make admitting useless, the others are somebody's decision.

use alloc::{format, vec, vec::Vec};

use super::{Looked, Scope, Symptom, aws, word};
use crate::text;

pub(super) fn look<'a>(scope: &Scope<'a>) -> Looked<'a> {
    let Some(settings) = scope.facts.settings.as_ref()? else { return Ok(vec![]) };
    let symptom = |process: &alloc::string::String| {
        let what = match process.as_str() {
            "Launch" => "nothing is launched, and nothing that fails is replaced",
            "AddToLoadBalancer" => "what is admitted gets no traffic, and will get none when it is resumed",
            other => return Symptom::note(format!("{} is suspended", text::visible(other))),
        };
        let resume = aws("resume-processes", scope.name, &format!("--scaling-processes {}", word(process)));
        Symptom::mend(format!("{process} is suspended: {what}"), resume)
    };
    Ok(settings.suspended.iter().map(symptom).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::super::{Topic, fixtures::*};

    #[test]
    fn table() {
        let facts = set(|settings| {
            settings.suspended = vec!["AZRebalance".into(), "AddToLoadBalancer".into(), "Launch".into()];
        });
        assert_eq!(
            found(&facts, Some(Topic::Suspended)),
            [
                "note suspended: AZRebalance is suspended",
                "mend suspended: AddToLoadBalancer is suspended: what is admitted gets no traffic, and will get none when \
                 it is resumed",
                "mend suspended: Launch is suspended: nothing is launched, and nothing that fails is replaced",
            ]
        );
        assert_eq!(
            mended_by(&facts, Topic::Suspended),
            "aws autoscaling resume-processes --auto-scaling-group-name web --scaling-processes AddToLoadBalancer"
        );
    }
}
