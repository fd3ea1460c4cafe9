//! Simple scaling stands still while any instance waits at a hook: a held instance keeps the group from growing.

use alloc::{format, vec};

use super::{Looked, Scope, Symptom};
use crate::text;

pub(super) fn look<'a>(scope: &Scope<'a>) -> Looked<'a> {
    let simple = scope.facts.simple_scaling.as_ref()?;
    if simple.is_empty() {
        return Ok(vec![]);
    }
    let names = text::visible(&simple.join(", "));
    let what = format!("simple scaling ({names}) does nothing while an instance is held");
    Ok(vec![Symptom::mend(what, "make it step scaling or target tracking")])
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::super::{Topic, fixtures::*};

    #[test]
    fn table() {
        let facts = with(|group| group.simple_scaling = Ok(vec!["up".into(), "down".into()]));
        let told = ["mend scaling: simple scaling (up, down) does nothing while an instance is held"];
        assert_eq!(found(&facts, Some(Topic::Scaling)), told);
        assert!(found(&good(), Some(Topic::Scaling)).is_empty());
    }
}
