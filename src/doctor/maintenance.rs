//! Whether the cloud launches before it terminates when it replaces instances by itself: instance refresh, maximum lifetime,
//! rebalancing. Where it terminates first, the proven one is gone before the gate is asked about the new one.

use alloc::{format, vec};

use super::{Looked, Scope, Symptom, aws};

pub(super) fn look<'a>(scope: &Scope<'a>) -> Looked<'a> {
    let Some(settings) = scope.facts.settings.as_ref()? else { return Ok(vec![]) };
    let first = match settings.healthy_percent_min {
        Some(100..) => return Ok(vec![]),
        Some(percent) => format!("its instance maintenance policy lets {percent} % be left"),
        None => "it has no instance maintenance policy".into(),
    };
    let what = format!("{first}: proven instances are terminated before new ones are proven, and no gate can help");
    let rest = "--instance-maintenance-policy MinHealthyPercentage=100,MaxHealthyPercentage=110";
    Ok(vec![Symptom::mend(what, aws("update-auto-scaling-group", scope.name, rest))])
}

#[cfg(test)]
mod tests {
    use super::super::{Topic, fixtures::*};

    #[test]
    fn table() {
        let rest = "proven instances are terminated before new ones are proven, and no gate can help";
        for (percent, first) in [
            (Some(100), None),
            (Some(99), Some("its instance maintenance policy lets 99 % be left")),
            (None, Some("it has no instance maintenance policy")),
        ] {
            let told = found(&set(|settings| settings.healthy_percent_min = percent), Some(Topic::Maintenance));
            let expected = first.map(|first| alloc::format!("mend maintenance: {first}: {rest}"));
            assert_eq!(told.first().cloned(), expected);
        }
    }
}
