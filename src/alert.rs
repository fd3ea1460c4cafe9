//! What somebody should look at, now: the full set of it is part of every decision, and telling it is an action like any other.

use alloc::{collections::BTreeMap, string::String, vec::Vec};
use core::fmt;

use serde::{Deserialize, Serialize};

use crate::{
    check::certificate::margin,
    instance::{GroupName, InstanceId},
    observation::OwnCertificate,
    record::Warrant,
    text,
    timestamp::Timestamp,
};

/// What an alert is known by: as long as it fires, it is one alert.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct AlertKey {
    /// The group it is about.
    pub group: GroupName,
    /// See [`Alert::code`].
    pub code: String,
}

/// How soon somebody should look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Tomorrow will do.
    Warning,
    /// At night, too.
    Critical,
}

/// What is the matter with a group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "code", rename_all = "snake_case")]
pub enum Alert {
    /// Fewer instances serve than are wanted, for too long.
    Stalled {
        /// How many are wanted.
        desired: u32,
        /// How many serve.
        serving: u32,
        /// Since when there are too few.
        since: Timestamp,
        /// Why the others do not serve.
        held: Tally,
        /// What the cloud says of its own attempts, newest first.
        activities: Vec<String>,
    },
    /// Launches keep failing for one cause, so that nothing is replaced.
    BreakerOpen {
        /// What they have in common.
        cause: String,
        /// Since when.
        since: Timestamp,
    },
    /// Instances serve that never passed the gate.
    Bypassed {
        /// Which.
        instances: Tally,
    },
    /// Serving instances are no longer as their release wants them.
    Drifted {
        /// How, and on how many.
        causes: Tally,
    },
    /// Agents of serving instances say nothing: nobody knows what these serve.
    Silent {
        /// Which.
        instances: Tally,
    },
    /// Two keys claim to be one instance.
    Disputed {
        /// Which.
        instances: Tally,
    },
    /// The cloud does not say what there is.
    Undescribed {
        /// Since when nothing is known.
        since: Timestamp,
        /// Its words.
        because: String,
    },
    /// An instance refresh waits for instances that the survivors guard protects.
    RefreshWaits {
        /// For how many.
        protected: usize,
        /// Since when they are protected.
        since: Timestamp,
        /// What the cloud says of it.
        said: String,
    },
    /// Survivors cannot be protected from scale-in.
    Unprotected {
        /// The cloud's words.
        because: String,
    },
    /// Somewhere alerts are not taken.
    Deaf {
        /// The sinks, by their names.
        sinks: Vec<String>,
    },
    /// Many serving instances fail for one cause: none is withdrawn for it.
    CommonCause {
        /// What they have in common.
        cause: String,
        /// How many of those that serve have it now.
        count: usize,
        /// Since when none is withdrawn.
        since: Timestamp,
    },
    /// A certificate of the controller's own will end.
    CertificateAging {
        /// Which.
        certificates: Vec<OwnCertificate>,
    },
    /// A certificate of the controller's own ends soon, or has ended: no agent will be heard.
    CertificateExpiring {
        /// Which.
        certificates: Vec<OwnCertificate>,
    },
    /// What is in the controller's files for TLS cannot be used.
    CertificateUnusable {
        /// Which.
        certificates: Vec<OwnCertificate>,
    },
    /// Records of the store cannot be read: what they bear on stays as it is.
    Unreadable {
        /// Which.
        records: Vec<String>,
    },
    /// Nothing is held, or the unproven get in without us.
    Unguarded {
        /// What is wrong with the group's hook.
        because: String,
    },
    /// An operator wants to do without the gate: all that waits is let in.
    Detached {
        /// Who, and why.
        warrant: Warrant,
        /// Since when.
        since: Timestamp,
        /// How many still wait at the hook.
        waiting: usize,
    },
}

impl Alert {
    /// The stable word for metrics and machines.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Stalled { .. } => "stalled",
            Self::BreakerOpen { .. } => "breaker_open",
            Self::Bypassed { .. } => "bypassed",
            Self::Drifted { .. } => "drifted",
            Self::Silent { .. } => "silent",
            Self::Disputed { .. } => "disputed",
            Self::Undescribed { .. } => "undescribed",
            Self::RefreshWaits { .. } => "refresh_waits",
            Self::Unprotected { .. } => "unprotected",
            Self::Deaf { .. } => "deaf",
            Self::CommonCause { .. } => "common_cause",
            Self::CertificateAging { .. } => "certificate_aging",
            Self::CertificateExpiring { .. } => "certificate_expiring",
            Self::CertificateUnusable { .. } => "certificate_unusable",
            Self::Unreadable { .. } => "unreadable",
            Self::Unguarded { .. } => "unguarded",
            Self::Detached { .. } => "detached",
        }
    }

    /// How soon somebody should look.
    pub const fn severity(&self) -> Severity {
        match self {
            Self::Stalled { .. }
            | Self::BreakerOpen { .. }
            | Self::Disputed { .. }
            | Self::Undescribed { .. }
            | Self::CommonCause { .. } => Severity::Critical,
            Self::CertificateExpiring { .. } | Self::CertificateUnusable { .. } => Severity::Critical,
            Self::Unreadable { .. } => Severity::Critical,
            Self::CertificateAging { .. } => Severity::Warning,
            Self::Bypassed { .. }
            | Self::Drifted { .. }
            | Self::Silent { .. }
            | Self::RefreshWaits { .. }
            | Self::Unprotected { .. }
            | Self::Deaf { .. }
            | Self::Unguarded { .. }
            | Self::Detached { .. } => Severity::Warning,
        }
    }
}

impl fmt::Display for Alert {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stalled { desired, serving, since, held, activities } => {
                write!(f, "{serving} of {desired} instances serve since {since}")?;
                match held.count() {
                    0 => f.write_str("; none is held")?,
                    1 => write!(f, "; 1 instance held: {held}")?,
                    count => write!(f, "; {count} instances held: {held}")?,
                }
                activities.iter().try_for_each(|said| write!(f, "; the cloud says: {}", text::visible(said)))
            }
            Self::BreakerOpen { cause, since } => {
                write!(f, "launches keep failing since {since}, and none is replaced: {}", text::visible(cause))
            }
            Self::Unreadable { records } => {
                let (count, shown) = (records.len(), &records[..records.len().min(RECORDS_SHOWN)]);
                write!(f, "{count} records of the store cannot be read: {}", text::visible(&shown.join(", ")))
            }
            Self::Bypassed { instances } => write!(f, "in service without having passed the gate: {instances}"),
            Self::Drifted { causes } => write!(f, "no longer as the release wants it: {causes}"),
            Self::Silent { instances } => write!(f, "serving, and no report comes: {instances}"),
            Self::Disputed { instances } => write!(f, "two keys claim to be one instance: {instances}"),
            Self::Undescribed { since, because } => {
                write!(f, "nothing is known of it since {since}: {}", text::visible(because))
            }
            Self::RefreshWaits { protected, since, said } => {
                write!(
                    f,
                    "an instance refresh ({}) waits for {protected} instances, protected since {since}",
                    text::visible(said)
                )?;
                f.write_str(" until new ones are proven, and fails after an hour")
            }
            Self::Unprotected { because } => {
                write!(f, "those that serve cannot be protected from scale-in: {}", text::visible(because))
            }
            Self::Deaf { sinks } => write!(f, "alerts are not taken by: {}", text::visible(&sinks.join(", "))),
            Self::CommonCause { cause, count, since } => {
                let cause = text::visible(cause);
                write!(f, "{count} that serve fail for one cause, and none is withdrawn since {since}: {cause}")
            }
            Self::CertificateAging { certificates } | Self::CertificateExpiring { certificates } => {
                each(f, certificates, |f, one| {
                    let (path, until) = (text::visible(&one.path), margin::date(one.until_s));
                    write!(f, "{}: `{path}` ends at {until}", one.listener)?;
                    one.rewritten_at.map_or(Ok(()), |at| {
                        write!(f, "; the file was written at {at}, with the same certificate in it")
                    })
                })
            }
            Self::CertificateUnusable { certificates } => each(f, certificates, |f, one| {
                let because = text::visible(one.unusable.as_deref().unwrap_or_default());
                write!(f, "{}: {because}; what was read before is still shown", one.listener)
            }),
            Self::Unguarded { because } => f.write_str(because),
            Self::Detached { warrant, since, waiting } => {
                write!(f, "detached since {since} by {warrant}: the unproven get in; ")?;
                match waiting {
                    0 => f.write_str("none waits at the hook any more"),
                    1 => f.write_str("1 still waits at the hook: do not delete it"),
                    more => write!(f, "{more} still wait at the hook: do not delete it"),
                }
            }
        }
    }
}

fn each<T>(
    f: &mut fmt::Formatter<'_>,
    all: &[T],
    one: impl Fn(&mut fmt::Formatter<'_>, &T) -> fmt::Result,
) -> fmt::Result {
    all.iter().enumerate().try_for_each(|(index, it)| {
        f.write_str(if index > 0 { "; " } else { "" })?;
        one(f, it)
    })
}

/// Instances grouped by what is the matter with them: the cause that most have comes first.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Tally {
    /// By cause.
    pub causes: Vec<Counted>,
}

/// One cause, and who has it. An instance with several causes is counted under each.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counted {
    /// What is the matter.
    pub cause: String,
    /// On how many.
    pub count: usize,
    /// The first three of them.
    pub instances: Vec<InstanceId>,
}

impl Tally {
    /// Of instances, each with its causes.
    pub fn of(instances: impl IntoIterator<Item = (InstanceId, Vec<String>)>) -> Self {
        let mut by_cause: BTreeMap<String, Vec<InstanceId>> = BTreeMap::new();
        for (id, mut causes) in instances {
            causes.sort();
            causes.dedup();
            causes.into_iter().for_each(|cause| by_cause.entry(cause).or_default().push(id.clone()));
        }
        let counted = |(cause, instances): (String, Vec<InstanceId>)| Counted {
            cause,
            count: instances.len(),
            instances: instances.into_iter().take(NAMED_MAX).collect(),
        };
        let mut causes: Vec<_> = by_cause.into_iter().map(counted).collect();
        causes.sort_by_key(|counted| core::cmp::Reverse(counted.count));
        Self { causes }
    }

    /// Whether there is nothing to tell.
    pub fn is_empty(&self) -> bool {
        self.causes.is_empty()
    }

    /// On how many instances the commonest cause is.
    pub fn count(&self) -> usize {
        self.causes.first().map_or(0, |first| first.count)
    }
}

impl fmt::Display for Tally {
    /// `app: missing: index.php on 7 (i-1, i-2, i-3 and 4 more); certificate: fail on 1 (i-4)`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, counted) in self.causes.iter().take(CAUSES_MAX).enumerate() {
            let separator = if index > 0 { "; " } else { "" };
            write!(f, "{separator}{} on {} (", text::visible(&counted.cause), counted.count)?;
            for (index, instance) in counted.instances.iter().enumerate() {
                write!(f, "{}{instance}", if index > 0 { ", " } else { "" })?;
            }
            match counted.count - counted.instances.len() {
                0 => f.write_str(")")?,
                more => write!(f, " and {more} more)")?,
            }
        }
        match self.causes.len().saturating_sub(CAUSES_MAX) {
            0 => Ok(()),
            more => write!(f, "; and {more} more causes"),
        }
    }
}

/// Enough to look at one, and to see whether they are neighbours.
const NAMED_MAX: usize = 3;
/// What fits on the screen of a telephone.
const CAUSES_MAX: usize = 5;

/// Enough to see what they have in common.
const RECORDS_SHOWN: usize = 10;

#[cfg(test)]
mod tests {
    use alloc::{format, string::ToString as _, vec};

    use super::*;

    #[test]
    fn the_commonest_cause_comes_first() {
        let seven = (1..=7).map(|n| (InstanceId(format!("i-{n}")), vec!["app: missing: index.php".into()]));
        let with_another = seven.map(|(id, mut causes): (_, Vec<String>)| {
            if id.as_str() == "i-4" {
                causes.insert(0, "certificate: fail".into());
                causes.push("certificate: fail".into());
            }
            (id, causes)
        });
        let held = Tally::of(with_another);
        let since = Timestamp(1_800_000_000_000);
        let alert =
            Alert::Stalled { desired: 9, serving: 2, since, held, activities: vec!["no \u{1b}capacity".into()] };
        assert_eq!(
            alert.to_string(),
            "2 of 9 instances serve since 2027-01-15T08:00:00.000Z; 7 instances held: app: missing: index.php on 7 (i-1, i-2, i-3 \
             and 4 more); certificate: fail on 1 (i-4); the cloud says: no \\u{1b}capacity"
        );
        let many = Tally::of((0..7).map(|n| ("i-1".into(), vec![format!("cause {n}")])));
        assert!(many.to_string().ends_with("cause 4 on 1 (i-1); and 2 more causes"), "{many}");
    }
}
