//! `portcullis explain INSTANCE`: why it has its verdict, and what to do.

use portcullis::{
    api::{InstanceStatus, ProtectedBy},
    reason::{Reason, Restraint},
    report::{Cause, Readiness, TextDiff},
    text::{visible, visible_line},
    verdict::Verdict,
};

use super::{
    answer::Answer,
    client::{self, Client, Said, refusal},
    output,
};

/// Explain why an instance is held or not, and what to do about it
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  portcullis explain i-070616f2f40d6824e

What its words mean is in deploy/reasons.md.

Exit codes: 0 admitted, 1 held, rejected or withdrawn, 2 it could not be told.")]
pub(crate) struct Args {
    /// The instance's id
    instance: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    controller: client::Controller,
}

/// Runs `explain`.
pub(crate) fn run(args: &Args) -> anyhow::Result<Answer> {
    let status: InstanceStatus = match Client::new(&args.controller)?.get(&["instances", &args.instance], "")? {
        Said::Done(status) => status,
        Said::Refused(problem) => anyhow::bail!("{}", refusal(&problem)),
    };
    if args.json {
        output::json(&status)?;
    } else {
        output::result(&text(&status))?;
    }
    Ok(match status.verdict {
        Some(Verdict::Admitted) => Answer::Yes,
        Some(Verdict::Held | Verdict::Rejected | Verdict::Withdrawn) => Answer::No,
        None => Answer::Unclear,
    })
}

fn text(status: &InstanceStatus) -> String {
    let verdict = status.verdict.map_or_else(|| "not ruled on".into(), |verdict| verdict.to_string());
    let mut lines = vec![
        format!("{} in {}: {verdict}", status.instance, status.group),
        format!("because   {}", visible(&status.because)),
        format!("state     {}", status.state),
    ];
    if let Some(deadline) = status.deadline {
        lines.push(format!("deadline  {deadline}"));
    }
    if status.continue_accepted {
        lines.push("cloud     has taken our CONTINUE for this wait".into());
    }
    match status.protected_by {
        Some(ProtectedBy::SurvivorsGuard) => lines.push("cloud     protects it from scale-in, at our word".into()),
        Some(ProtectedBy::SomebodyElse) => {
            lines.push("cloud     protects it from scale-in, at somebody else's word".into());
        }
        None => {}
    }
    if let Some(evidence) = &status.evidence {
        lines.push(format!("report    of {}, for {}", evidence.received_at, evidence.manifest));
        if let Readiness::NotReady { causes } = &evidence.readiness {
            lines.extend(causes.iter().flat_map(cause));
        }
        lines.extend(evidence.diffs.iter().flat_map(diff));
    }
    if let Some(hint) = status.reason.as_ref().and_then(hint) {
        lines.push(format!("hint: {hint}"));
    }
    lines.join("\n") + "\n"
}

/// A cause, and each path that is known of it on a line of its own.
fn cause(cause: &Cause) -> Vec<String> {
    let problem = cause.problem.map(|problem| format!(" {problem}")).unwrap_or_default();
    let detail = cause.detail.as_deref().map(|detail| format!(": {}", visible(detail))).unwrap_or_default();
    let mut lines = vec![format!("  {} {}{problem}{detail}", visible(&cause.check), cause.status)];
    lines.extend(cause.examples.iter().map(|path| format!("    {}", visible(path))));
    let more = cause.count.saturating_sub(cause.examples.len() as u64);
    if more > 0 {
        lines.push(format!("    and {more} more"));
    }
    lines
}

/// How a text differs: the controller has escaped it, line by line.
fn diff(kept: &TextDiff) -> Vec<String> {
    let head = format!("  {}: {}", visible(&kept.tree), visible(&kept.path));
    let lines = kept.diff.lines().map(|line| format!("    {}", visible_line(line)));
    core::iter::once(head).chain(lines).collect()
}

/// What one can do about a reason; nothing where waiting is all there is to do.
fn hint(reason: &Reason) -> Option<&'static str> {
    match reason {
        Reason::ObservedOnly { otherwise } => hint(otherwise),
        Reason::AbandonPaced { last, .. } | Reason::DeadlinePassed { last, .. } => hint(last),
        Reason::Bypassed => Some("it was attached or launched without the hook: replace it, or verify it by hand"),
        Reason::NoRelease | Reason::Ungated => Some("publish and promote a release: `portcullis release promote`"),
        Reason::NoReport { .. } | Reason::StaleReport { .. } => {
            Some("look at the agent on the instance: does it run, and does it reach the controller?")
        }
        Reason::WrongRelease { .. } => {
            Some("promote that release for the group, or launch from an image with the wanted one")
        }
        Reason::ChecksFailing { .. } => {
            Some("the image or its deployment is not what the release says: fix it and replace")
        }
        Reason::WithdrawalHeldBack { restraint: Restraint::CommonCause { .. }, .. } => {
            Some("mend what they have in common; `portcullis withdraw GROUP` lets it go on all the same")
        }
        Reason::WithdrawalHeldBack { .. } | Reason::Withdrawn { .. } => {
            Some("mend what is wrong with it, and it comes back by itself; or replace it")
        }
        Reason::ChecksUnknown { .. } => Some("the agent could not tell: look at its log on the instance"),
        Reason::OtherHooks { .. } => Some("whoever owns the other hook must complete it"),
        Reason::NoHook { .. } => {
            Some("create the launch hook on the group, or name the right one in the configuration")
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use portcullis::{digest::Digest, instance::LifecycleState, outcome, report::Evidence, timestamp::Timestamp};

    use super::*;

    fn held(reason: Reason, causes: Vec<Cause>) -> InstanceStatus {
        let evidence = Evidence {
            instance: "i-1".into(),
            group: "web".into(),
            boot: "boot".into(),
            wait: portcullis::instance::WaitId(1),
            manifest: Digest::of(b"m"),
            challenged_at: Timestamp(0),
            received_at: Timestamp(0),
            drift: vec![],
            diffs: vec![TextDiff { tree: "app".into(), path: "a.conf".into(), diff: "-x\n+\ty\u{1b}".into() }],
            readiness: Readiness::NotReady { causes },
        };
        InstanceStatus {
            instance: "i-1".into(),
            group: "web".into(),
            state: LifecycleState::PendingWait,
            verdict: Some(Verdict::Held),
            because: reason.to_string(),
            reason: Some(reason),
            deadline: Some(Timestamp(1_000)),
            protected_by: None,
            continue_accepted: false,
            in_service: false,
            wait: None,
            evidence: Some(evidence),
        }
    }

    #[test]
    fn a_missing_file_is_named_and_cannot_move_the_cursor() {
        let cause = Cause {
            check: "app".into(),
            status: outcome::Status::Fail,
            problem: Some(outcome::Problem::Missing),
            count: 3,
            examples: vec!["index.php".into(), "a\u{1b}[2J".into()],
            detail: Some("3 of 9 entries differ".into()),
        };
        let text = text(&held(Reason::ChecksFailing { causes: vec![cause.clone()] }, vec![cause]));
        let expected = "  app fail missing: 3 of 9 entries differ\n    index.php\n    a\\u{1b}[2J\n    and 1 more\n";
        assert!(text.starts_with("i-1 in web: held\nbecause   app: missing: index.php, "), "{text}");
        assert!(text.contains(expected), "{text}");
        assert!(text.contains("  app: a.conf\n    -x\n    +\ty\\u{1b}\nhint: "), "{text}");
        assert!(text.contains("deadline  1970-01-01T00:00:01.000Z\n"), "{text}");
        assert!(!text.contains('\u{1b}'), "{text}");
    }

    #[test]
    fn what_would_have_been_held_gets_the_same_hint() {
        let otherwise = Box::new(Reason::NoReport { since: Timestamp(0) });
        let inner = hint(&otherwise);
        assert!(inner.is_some());
        assert_eq!(hint(&Reason::ObservedOnly { otherwise }), inner);
        assert_eq!(hint(&Reason::AdmissionNotRecorded), None);
    }
}
