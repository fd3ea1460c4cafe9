//! What a change must show to stay: every guard holds, and the controller can still be reached or a person says so.

use portcullis::outcome::Outcome;

use super::guards;

/// What is known a while after the command has ended well.
#[derive(Debug)]
pub(super) struct Shown<'a> {
    /// One look at all guards; empty when the manifest has none.
    pub(super) guards: &'a [Outcome],
    /// Whether a configured controller answered; what was in the way if not.
    pub(super) controller: Option<Result<(), String>>,
    /// Nothing but a person's word counts.
    pub(super) needs_person: bool,
    /// Without a controller, guards that hold are enough.
    pub(super) guards_are_enough: bool,
}

/// Whether it stays.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// By whom it is confirmed.
    Stays(&'static str),
    /// What is still wanting; only a person can say it where `Person` is among it.
    Wanting(Vec<String>),
}

impl Shown<'_> {
    pub(super) fn answer(&self) -> Answer {
        let failing: Vec<_> = self.guards.iter().filter(|guard| !guards::hold(std::slice::from_ref(guard))).collect();
        if !failing.is_empty() {
            return Answer::Wanting(failing.into_iter().map(guards::line).collect());
        }
        match &self.controller {
            _ if self.needs_person => Answer::Wanting(vec![A_PERSON.into()]),
            Some(Ok(())) => Answer::Stays("the controller, which was reached"),
            Some(Err(because)) => Answer::Wanting(vec![because.clone(), A_PERSON.into()]),
            None if self.guards_are_enough && !self.guards.is_empty() => Answer::Stays("the guards, which hold"),
            None => Answer::Wanting(vec![A_PERSON.into()]),
        }
    }
}

pub(super) const A_PERSON: &str = "a person has to confirm it";

#[cfg(test)]
mod tests {
    use portcullis::outcome::Status;

    use super::*;

    #[test]
    fn table() {
        let outcome = |status| Outcome::new("nginx", "tcp", status, Some("why".into()));
        let (pass, fail, unknown) = (outcome(Status::Pass), outcome(Status::Fail), outcome(Status::Unknown));
        let (reached, lost) = (Some(Ok(())), Some(Err("gone".to_string())));
        let wanting = |lines: &[&str]| Answer::Wanting(lines.iter().map(ToString::to_string).collect());
        let person = || wanting(&[A_PERSON]);
        let controller = || Answer::Stays("the controller, which was reached");
        let failed = || wanting(&["guard `nginx`: fail: why"]);
        for (row, (guards, controller, needs_person, guards_are_enough, answer)) in [
            (vec![], None, false, false, person()),
            (vec![], None, false, true, person()),
            (vec![pass.clone()], None, false, false, person()),
            (vec![pass.clone()], None, false, true, Answer::Stays("the guards, which hold")),
            (vec![pass.clone()], None, true, true, person()),
            (vec![], reached.clone(), false, false, controller()),
            (vec![pass.clone()], reached.clone(), false, false, controller()),
            (vec![pass.clone()], reached.clone(), true, false, person()),
            (vec![pass.clone()], lost.clone(), false, false, wanting(&["gone", A_PERSON])),
            (vec![pass.clone()], lost, false, true, wanting(&["gone", A_PERSON])),
            (vec![pass.clone(), fail.clone()], reached.clone(), false, false, failed()),
            (vec![fail], None, false, true, failed()),
            (vec![pass, unknown], reached, false, true, wanting(&["guard `nginx`: unknown: why"])),
        ]
        .into_iter()
        .enumerate()
        {
            let shown = Shown { guards: &guards, controller, needs_person, guards_are_enough };
            assert_eq!(shown.answer(), answer, "row {row}");
        }
    }
}
