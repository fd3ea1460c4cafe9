//! Why: the one source for the text of logs, metrics, API, command line and dashboard.

use alloc::{
    boxed::Box,
    collections::BTreeSet,
    format,
    string::{String, ToString as _},
    vec,
    vec::Vec,
};
use core::fmt;

use serde::{Deserialize, Serialize};

use crate::{digest::Digest, outcome::Status, record::Warrant, report::Cause, text, timestamp::Timestamp};

/// Why an instance has its verdict. Every "no" is one of these.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "code", rename_all = "snake_case")]
pub enum Reason {
    // --- admitted
    /// A fresh, passing, authentic report for an accepted release.
    Proven {
        /// Which one.
        manifest: Digest,
        /// Whether a newer one is wanted.
        behind: bool,
    },
    /// The group only observes: this is what would have been done.
    ObservedOnly {
        /// Why it would have been held.
        otherwise: Box<Reason>,
    },
    /// The group only observes, and no release is promoted.
    Ungated,
    /// It serves, and no admission of it is on record.
    Bypassed,
    /// An operator let it in without proof.
    OperatorAdmits {
        /// Who, and why.
        warrant: Warrant,
    },

    // --- held
    /// Two keys claim to be this instance: neither is believed.
    IdentityDisputed {
        /// Since when.
        at: Timestamp,
    },
    /// An operator holds it.
    OperatorHolds {
        /// Who, and why.
        warrant: Warrant,
        /// Until when.
        until: Timestamp,
    },
    /// An operator paused its group: it is neither admitted nor given up.
    Paused {
        /// Who, and why.
        warrant: Warrant,
        /// Until when.
        until: Timestamp,
    },
    /// No release is promoted for the group.
    NoRelease,
    /// The instance waits, and its wait is not on record yet.
    WaitNotRecorded,
    /// No report of this wait has come.
    NoReport {
        /// When the wait began.
        since: Timestamp,
    },
    /// The last report is too old to admit on.
    StaleReport {
        /// When it came.
        received_at: Timestamp,
    },
    /// The last report is of an earlier wait, or of another boot than the one that is bound.
    OutdatedReport,
    /// The last report is for a manifest that the group does not accept.
    WrongRelease {
        /// The one it proved.
        manifest: Digest,
    },
    /// At least one check failed.
    ChecksFailing {
        /// Which, and how.
        causes: Vec<Cause>,
    },
    /// No check failed, but not all could be told.
    ChecksUnknown {
        /// Which.
        causes: Vec<Cause>,
    },
    /// Ready; its admission is not on record yet.
    AdmissionNotRecorded,
    /// Ready; the group must be described once more before CONTINUE.
    AwaitingDescription,
    /// Admitted, but held by hooks that are not ours.
    OtherHooks {
        /// Their names.
        hooks: Vec<String>,
    },
    /// It gets traffic though it is held: somebody else, or a restart, let it in. It is being held again.
    Slipped,
    /// A record that bears on it cannot be read, and may say that it is not to be let in.
    #[serde(rename = "unreadable_record")]
    Unreadable {
        /// Which.
        record: String,
    },
    /// The group has no launch hook of ours to complete.
    NoHook {
        /// The name it should have.
        wanted: String,
        /// The launch hooks that hold it instead.
        others: Vec<String>,
    },
    /// Past its deadline, but the controller has just come (back) and must first hear its agents.
    Listening {
        /// Until when.
        until: Timestamp,
    },
    /// Past its deadline; abandoning is paced for the group.
    AbandonPaced {
        /// When the next may be abandoned.
        until: Timestamp,
        /// Why it is held.
        last: Box<Reason>,
    },

    /// Past its deadline; launches of its group keep failing for the same cause, so that nothing is replaced for a while.
    BreakerOpen {
        /// What they have in common.
        cause: String,
        /// When one more may be replaced.
        until: Timestamp,
        /// Why it is held.
        last: Box<Reason>,
    },
    /// Past its deadline; its rejection is not on record yet.
    RejectionNotRecorded {
        /// Why it is held.
        last: Box<Reason>,
    },
    /// The cloud refuses what is to be done next.
    Refused {
        /// The cloud's words.
        because: String,
        /// What was to be done, and why.
        wanted: Box<Reason>,
    },

    // --- rejected
    /// An operator gives it up.
    OperatorRejects {
        /// Who, and why.
        warrant: Warrant,
    },
    /// It was not ready by its deadline.
    DeadlinePassed {
        /// When that was.
        deadline: Timestamp,
        /// Why it was held until then.
        last: Box<Reason>,
    },

    /// It fails, was launched from another template than its group launches from now, and makes room for one of that.
    Outdated {
        /// What its group launches from.
        present: String,
        /// Why it is held.
        last: Box<Reason>,
    },

    // --- drifted, or bypassed the gate and not proven
    /// It serves and fails; and something forbids to withdraw it.
    WithdrawalHeldBack {
        /// What.
        restraint: Restraint,
        /// What is wrong with it.
        because: String,
    },
    /// It serves and fails; its withdrawal is not on record yet.
    WithdrawalNotRecorded {
        /// What is wrong with it.
        because: String,
    },
    /// It is being taken out of traffic.
    Withdrawing {
        /// What is wrong with it.
        because: String,
    },

    // --- withdrawn
    /// It was taken out of traffic.
    Withdrawn {
        /// When that was decided.
        since: Timestamp,
        /// What was wrong with it then.
        because: String,
    },
    /// It is well again, and is being brought back.
    Returning {
        /// When it was withdrawn.
        since: Timestamp,
    },
}

/// What forbids to withdraw an instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "by", rename_all = "snake_case")]
pub enum Restraint {
    /// It drifted a moment ago: it may heal by itself, and others may turn out to fail for the same cause.
    Settling {
        /// Until when it is looked at.
        until: Timestamp,
    },
    /// Many fail for one cause: that is one failure, and an operator decides.
    CommonCause {
        /// What they have in common.
        cause: String,
    },
    /// An operator paused its group.
    Paused {
        /// Until when.
        until: Timestamp,
    },
    /// Enough do not serve already.
    Unavailable {
        /// How many do not, or will not.
        unavailable: usize,
        /// How many may not.
        unavailable_max: usize,
    },
    /// Too few of the others are proven.
    TooFewProven {
        /// How many are.
        proven: usize,
        /// How many must be.
        ready_min: usize,
    },
}

impl fmt::Display for Restraint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Settling { until } => write!(f, "looked at until {until}"),
            Self::CommonCause { cause } => write!(f, "many fail for one cause ({})", text::visible(cause)),
            Self::Paused { until } => write!(f, "its group is paused until {until}"),
            Self::Unavailable { unavailable, unavailable_max } => {
                write!(f, "{unavailable} would not serve, {unavailable_max} may not")
            }
            Self::TooFewProven { proven, ready_min } => {
                write!(f, "{proven} others are proven, {ready_min} must be")
            }
        }
    }
}

impl Reason {
    /// The stable word for metrics and machines.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Proven { .. } => "proven",
            Self::ObservedOnly { .. } => "observed_only",
            Self::Ungated => "ungated",
            Self::Bypassed => "bypassed",
            Self::OperatorAdmits { .. } => "operator_admits",
            Self::OperatorHolds { .. } => "operator_holds",
            Self::Paused { .. } => "paused",
            Self::OperatorRejects { .. } => "operator_rejects",
            Self::IdentityDisputed { .. } => "identity_disputed",
            Self::NoRelease => "no_release",
            Self::WaitNotRecorded => "wait_not_recorded",
            Self::NoReport { .. } => "no_report",
            Self::StaleReport { .. } => "stale_report",
            Self::OutdatedReport => "outdated_report",
            Self::WrongRelease { .. } => "wrong_release",
            Self::ChecksFailing { .. } => "checks_failing",
            Self::ChecksUnknown { .. } => "checks_unknown",
            Self::AdmissionNotRecorded => "admission_not_recorded",
            Self::AwaitingDescription => "awaiting_description",
            Self::OtherHooks { .. } => "other_hooks",
            Self::Slipped => "slipped",
            Self::Unreadable { .. } => "unreadable_record",
            Self::NoHook { .. } => "no_hook",
            Self::Listening { .. } => "listening",
            Self::AbandonPaced { .. } => "abandon_paced",
            Self::BreakerOpen { .. } => "breaker_open",
            Self::RejectionNotRecorded { .. } => "rejection_not_recorded",
            Self::Refused { .. } => "refused",
            Self::DeadlinePassed { .. } => "deadline_passed",
            Self::Outdated { .. } => "outdated",
            Self::WithdrawalHeldBack { .. } => "withdrawal_held_back",
            Self::WithdrawalNotRecorded { .. } => "withdrawal_not_recorded",
            Self::Withdrawing { .. } => "withdrawing",
            Self::Withdrawn { .. } => "withdrawn",
            Self::Returning { .. } => "returning",
        }
    }
}

impl Reason {
    /// What a failure has in common with others, whatever the instance: `app: missing` for a check, else the
    /// [`code`](Self::code).
    pub fn causes(&self) -> Vec<String> {
        match self {
            Self::ChecksFailing { causes } => keys(causes, Status::Fail),
            Self::ChecksUnknown { causes } => keys(causes, Status::Unknown),
            Self::AbandonPaced { last, .. }
            | Self::BreakerOpen { last, .. }
            | Self::RejectionNotRecorded { last }
            | Self::DeadlinePassed { last, .. } => last.causes(),
            Self::Refused { wanted, .. } => wanted.causes(),
            // It says nothing of what is launched now.
            Self::Outdated { .. } => vec![],
            other => vec![other.code().into()],
        }
    }
}

impl Reason {
    /// As [`causes`](Self::causes), with an example, for people.
    pub fn told(&self) -> Vec<String> {
        match self {
            Self::ChecksFailing { causes } | Self::ChecksUnknown { causes } => causes.iter().map(Cause::told).collect(),
            Self::AbandonPaced { last, .. }
            | Self::BreakerOpen { last, .. }
            | Self::RejectionNotRecorded { last }
            | Self::Outdated { last, .. }
            | Self::DeadlinePassed { last, .. } => last.told(),
            Self::Refused { wanted, .. } => wanted.told(),
            other => other.causes(),
        }
    }
}

fn keys(causes: &[Cause], status: Status) -> Vec<String> {
    let of_status = causes.iter().filter(|cause| cause.status == status);
    let keys: BTreeSet<_> = of_status.map(Cause::key).collect();
    keys.into_iter().collect()
}

impl Cause {
    /// The check and its problem, without what is different on every instance.
    pub fn key(&self) -> String {
        let problem = self.problem.map_or_else(|| self.status.to_string(), |problem| problem.to_string());
        format!("{}: {problem}", text::visible(&self.check))
    }

    /// The same, with the first path.
    fn told(&self) -> String {
        let example = self.examples.first().map(|path| format!(": {path}")).unwrap_or_default();
        self.key() + &example
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Proven { manifest, behind: false } => write!(f, "proven for {manifest}"),
            Self::Proven { manifest, behind: true } => write!(f, "proven for {manifest}; a newer release is wanted"),
            Self::ObservedOnly { otherwise } => write!(f, "the group only observes; would have been held: {otherwise}"),
            Self::Ungated => f.write_str("the group only observes, and no release is promoted for it"),
            Self::Bypassed => f.write_str("in service without having passed the gate"),
            Self::IdentityDisputed { at } => {
                write!(f, "since {at} two keys claim to be this instance: neither is believed")
            }
            Self::OperatorAdmits { warrant } => write!(f, "admitted without proof by {warrant}"),
            Self::OperatorHolds { warrant, until } => write!(f, "held until {until} by {warrant}"),
            Self::Paused { warrant, until } => write!(f, "its group is paused until {until} by {warrant}"),
            Self::OperatorRejects { warrant } => write!(f, "given up by {warrant}"),
            Self::NoRelease => f.write_str("no release is promoted for its group"),
            Self::WaitNotRecorded => f.write_str("its wait is being recorded"),
            Self::NoReport { since } => write!(f, "no report since {since}"),
            Self::StaleReport { received_at } => write!(f, "the last report is of {received_at}, too old to admit on"),
            Self::OutdatedReport => f.write_str("the last report is of an earlier wait or boot"),
            Self::WrongRelease { manifest } => write!(f, "it carries {manifest}, which its group does not accept"),
            Self::ChecksFailing { causes } | Self::ChecksUnknown { causes } => list(f, causes),
            Self::AdmissionNotRecorded => f.write_str("ready; its admission is being recorded"),
            Self::AwaitingDescription => f.write_str("ready; the group is being described once more"),
            Self::OtherHooks { hooks } => {
                write!(f, "admitted; still held by other launch hooks: {}", text::visible(&hooks.join(", ")))
            }
            Self::Slipped => f.write_str("it gets traffic though it is held; it is being held again"),
            Self::Unreadable { record } => {
                write!(f, "the record `{}` cannot be read, and it may say no", text::visible(record))
            }
            Self::NoHook { wanted, others } => {
                write!(f, "the group has no launch hook named `{}`", text::visible(wanted))?;
                write!(f, ", so that nothing can be done for it; it is held by: {}", text::visible(&others.join(", ")))
            }
            Self::Listening { until } => write!(f, "past its deadline; agents are listened to until {until} first"),
            Self::AbandonPaced { until, last } => write!(f, "{}abandoned not before {until}; {last}", due(last)),
            Self::BreakerOpen { cause, until, last } => {
                write!(f, "{}kept for a look, since launches of its group keep failing ({cause}); ", due(last))?;
                write!(f, "the next is replaced at {until}; {last}")
            }
            Self::RejectionNotRecorded { last } => {
                write!(f, "{}its rejection is being recorded; {last}", due(last))
            }
            Self::Refused { because, wanted } => write!(f, "the cloud refuses: {}; {wanted}", text::visible(because)),
            Self::DeadlinePassed { deadline, last } => write!(f, "not ready by {deadline}; {last}"),
            Self::Outdated { present, last } => {
                write!(
                    f,
                    "its group launches from `{}` by now, and not from what it came from; {last}",
                    text::visible(present)
                )
            }
            Self::WithdrawalHeldBack { restraint, because } => {
                write!(f, "it fails, and is not withdrawn: {restraint}; {because}")
            }
            Self::WithdrawalNotRecorded { because } => {
                write!(f, "it fails; its withdrawal is being recorded; {because}")
            }
            Self::Withdrawing { because } => write!(f, "it fails; being taken out of traffic; {because}"),
            Self::Withdrawn { since, because } => write!(f, "out of traffic since {since}; {because}"),
            Self::Returning { since } => {
                write!(f, "out of traffic since {since}; well again, and being brought back")
            }
        }
    }
}

/// Only what gives way to a newer template is given up before its deadline.
const fn due(last: &Reason) -> &'static str {
    match last {
        Reason::Outdated { .. } => "",
        _ => "past its deadline; ",
    }
}

impl fmt::Display for Warrant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", text::visible(&self.by), text::visible(&self.because))
    }
}

fn list(f: &mut fmt::Formatter<'_>, causes: &[Cause]) -> fmt::Result {
    for (index, cause) in causes.iter().enumerate() {
        if index > 0 {
            f.write_str("; ")?;
        }
        write!(f, "{cause}")?;
    }
    Ok(())
}

impl fmt::Display for Cause {
    /// `app: missing: index.php, lib/a.php and 3 more`, or the agent's own words where no path is to blame.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", text::visible(&self.check))?;
        let Some(problem) = self.problem else {
            return write!(f, "{}: {}", self.status, self.detail.as_deref().unwrap_or("no reason given"));
        };
        write!(f, "{problem}: {}", self.examples.join(", "))?;
        match self.count.saturating_sub(self.examples.len() as u64) {
            0 => Ok(()),
            all if self.examples.is_empty() => write!(f, "{all}, none of them listed"),
            more => write!(f, " and {more} more"),
        }
    }
}
