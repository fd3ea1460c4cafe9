//! Health checks of the balancer that ask the agent and not the application: an agent that is stopped, updated or broken then
//! takes its instance out of traffic, on the whole fleet at a time; and the group may replace it.

use alloc::{format, vec::Vec};

use super::{Looked, Probe, Scope, Symptom};
use crate::text;

pub(super) fn look<'a>(scope: &Scope<'a>) -> Looked<'a> {
    let probes = scope.facts.probes.as_ref()?;
    let settings = scope.facts.settings.as_ref()?;
    let replaces = settings.as_ref().is_some_and(|settings| settings.replaces_by_target_health);
    Ok(probes.iter().filter_map(|probe| symptom(probe, replaces)).collect::<Vec<_>>())
}

fn symptom(probe: &Probe, replaces: bool) -> Option<Symptom> {
    let (name, path) = (text::visible(&probe.target_group), probe.path.as_deref().unwrap_or_default());
    let consequence = if replaces { "takes it out of traffic, and it is replaced" } else { "takes it out of traffic" };
    if probe.port == AGENT_PORT {
        let what = format!("target group {name} asks the agent: stopping an agent {consequence}");
        let mend = "let it ask the application; the gate holds new instances at their hook, not here";
        return Some(Symptom::mend(what, mend));
    }
    let asks_readyz = path.split('?').next() == Some("/readyz");
    asks_readyz.then(|| {
        let what = format!("target group {name} asks for /readyz on port {}", text::visible(&probe.port));
        Symptom::note(format!("{what}: if the agent listens there, stopping an agent {consequence}"))
    })
}

/// Where an agent listens unless told otherwise.
const AGENT_PORT: &str = "7410";

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::super::{Topic, fixtures::*};

    #[test]
    fn table() {
        for (port, path, told) in [
            ("traffic-port", "/health", None),
            ("7411", "/livez", None),
            (
                "7410",
                "/readyz",
                Some("mend probe: target group web asks the agent: stopping an agent takes it out of traffic"),
            ),
            (
                "7410",
                "/livez",
                Some("mend probe: target group web asks the agent: stopping an agent takes it out of traffic"),
            ),
            (
                "8080",
                "/readyz?verbose",
                Some(
                    "note probe: target group web asks for /readyz on port 8080: if the agent listens there, stopping an \
                     agent takes it out of traffic",
                ),
            ),
        ] {
            let facts = with(|group| group.probes = Ok(vec![probe(port, path)]));
            assert_eq!(
                found(&facts, Some(Topic::Probe)).first().map(alloc::string::String::as_str),
                told,
                "{port} {path}"
            );
        }
        let mut facts = set(|settings| settings.replaces_by_target_health = true);
        let group = facts.cloud.as_mut().and_then(|cloud| cloud.groups.get_mut(&"web".into())).expect("it is there");
        group.probes = Ok(vec![probe("7410", "/readyz")]);
        assert!(found(&facts, Some(Topic::Probe))[0].ends_with("takes it out of traffic, and it is replaced"));
    }
}
