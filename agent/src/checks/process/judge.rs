//! From the processes that were seen to a finding.

use portcullis::{check::process::Process, duration::Span};

use crate::checks::{Finding, uptime};

/// A process that runs the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Running {
    pub(super) pid: u32,
    pub(super) up: Span,
    /// Why what it runs is not what is on disk.
    pub(super) stale: Option<String>,
}

/// All that one look showed.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) running: Vec<Running>,
    /// So many run the file as another user.
    pub(super) of_others: usize,
    /// So many run it with other arguments.
    pub(super) of_other_arguments: usize,
    /// One that runs another file of that name, for people.
    pub(super) namesake: Option<String>,
    /// Nothing ever runs the file itself: its interpreter does.
    pub(super) is_script: bool,
    /// So many would not tell what they run.
    pub(super) unreadable: usize,
    /// Processes of other users are not even listed.
    pub(super) others_hidden: bool,
}

/// What is seen decides; what could not be seen makes it unknown only where it could change that.
pub(super) fn judge(wanted: &Process, seen: &Seen) -> Finding {
    let count = seen.running.len() as u64;
    let counted = Finding::fail("processes", counts(wanted), told(seen));
    if wanted.count_max.is_some_and(|max| count > max) {
        return counted;
    }
    if let Some((running, why)) = seen.running.iter().find_map(|one| Some((one, one.stale.as_ref()?))) {
        let more = seen.running.iter().filter(|one| one.stale.is_some()).count() - 1;
        let more = if more > 0 { format!(" (and {more} more are stale)") } else { String::new() };
        let what = format!("process {}", running.pid);
        let actual = format!("{why}{more}; restart it");
        return Finding::fail(&what, "what is on disk", actual);
    }
    let up_for = wanted.up_for.unwrap_or(Span::from_ms(0));
    let settled = seen.running.iter().filter(|one| one.up >= up_for).count() as u64;
    let unseen = seen.unreadable > 0 || seen.others_hidden;
    match (count < wanted.count_min, settled < wanted.count_min) {
        (true, _) if unseen => Finding::unknown(format!("{}; {}", told(seen), hidden(seen))),
        (true, _) => counted,
        (false, true) => young(wanted, seen, up_for),
        // One more than may run could be among those.
        (false, false) if unseen && wanted.count_max.is_some() => Finding::unknown(hidden(seen)),
        (false, false) => Finding::pass(),
    }
}

fn young(wanted: &Process, seen: &Seen, up_for: Span) -> Finding {
    let mut ups: Vec<Span> = seen.running.iter().map(|one| one.up).filter(|up| *up < up_for).collect();
    ups.sort_unstable();
    let oldest = ups.last().copied().unwrap_or(up_for);
    let expected = format!("{} for {up_for} on end", counts(wanted));
    Finding::fail("processes", expected, format!("one was started {} ago", uptime::rounded(oldest)))
}

fn counts(wanted: &Process) -> String {
    match (wanted.count_min, wanted.count_max) {
        (0, Some(0)) => "none".into(),
        (min, Some(max)) if min == max => min.to_string(),
        (min, Some(max)) => format!("{min} to {max}"),
        (min, None) => format!("at least {min}"),
    }
}

/// How many there are, and which condition kept others from being counted.
fn told(seen: &Seen) -> String {
    let count = if seen.running.is_empty() { "none".into() } else { seen.running.len().to_string() };
    let kept = |count: usize, why: &str| (count > 0).then(|| format!("{count} {why}"));
    let misses = [kept(seen.of_others, "as another user"), kept(seen.of_other_arguments, "with other arguments")];
    let namesake = seen.namesake.clone().filter(|_| seen.running.is_empty());
    let script = "it is a script: `executable` is its interpreter, `arguments_contain` the script".to_string();
    let script = seen.is_script.then_some(script);
    [Some(count)].into_iter().chain(misses).chain([namesake, script]).flatten().collect::<Vec<_>>().join("; ")
}

fn hidden(seen: &Seen) -> String {
    let hint = "the agent may not look at them (it needs root and CAP_SYS_PTRACE)";
    match seen.unreadable {
        0 => format!("processes of other users are hidden: {hint}"),
        count => format!("{count} processes would not tell what they run: {hint}"),
    }
}

#[cfg(test)]
mod tests {
    use portcullis::outcome::Status;

    use super::*;

    fn wanted(min: u64, max: Option<u64>, up_for_s: u64) -> Process {
        Process {
            executable: "/bin/a".into(),
            user: None,
            arguments_contain: None,
            count_min: min,
            count_max: max,
            up_for: Some(Span::from_s(up_for_s)),
            fresh: true,
            newer_than: Vec::new(),
        }
    }

    fn up(seconds: &[u64]) -> Seen {
        let one = |&seconds| Running { pid: 7, up: Span::from_s(seconds), stale: None };
        Seen { running: seconds.iter().map(one).collect(), ..Seen::default() }
    }

    fn check(wanted: &Process, seen: &Seen, status: Status, words: &str) {
        let finding = judge(wanted, seen);
        let reason = finding.reason.unwrap_or_default();
        assert_eq!(finding.status, status, "{reason}");
        assert!(reason.contains(words), "{reason}\nexpected: {words}");
    }

    #[test]
    fn table() {
        use Status::{Fail, Pass, Unknown};
        let (stale, blind, hidepid, others) = (
            Seen {
                running: vec![Running {
                    stale: Some("runs a file that was replaced".into()),
                    ..up(&[99]).running[0].clone()
                }],
                ..up(&[])
            },
            |seconds: &[u64]| Seen { unreadable: 3, ..up(seconds) },
            Seen { others_hidden: true, ..up(&[]) },
            Seen { of_others: 2, ..up(&[]) },
        );
        check(&wanted(1, None, 0), &up(&[0]), Pass, "");
        check(&wanted(1, None, 0), &up(&[]), Fail, "processes: expected at least 1, actual none");
        check(&wanted(2, Some(2), 0), &up(&[1, 2, 3]), Fail, "expected 2, actual 3");
        check(&wanted(0, Some(0), 0), &up(&[]), Pass, "");
        check(&wanted(0, Some(0), 0), &up(&[1]), Fail, "expected none, actual 1");
        check(&wanted(0, Some(0), 0), &hidepid, Unknown, "CAP_SYS_PTRACE");
        // Workers come and go; one that stays is enough.
        check(&wanted(1, None, 10), &up(&[2, 11]), Pass, "");
        check(
            &wanted(1, None, 10),
            &up(&[2, 9]),
            Fail,
            "expected at least 1 for 10s on end, actual one was started 9s ago",
        );
        check(
            &wanted(1, None, 0),
            &stale,
            Fail,
            "process 7: expected what is on disk, actual runs a file that was replaced",
        );
        // What cannot be seen matters only where it could change the answer.
        check(&wanted(1, None, 0), &blind(&[5]), Pass, "");
        check(&wanted(1, Some(3), 0), &blind(&[5]), Unknown, "3 processes would not tell");
        check(&wanted(1, None, 0), &blind(&[]), Unknown, "3 processes would not tell");
        check(&wanted(1, None, 0), &hidepid, Unknown, "hidden");
        check(&wanted(1, None, 0), &others, Fail, "actual none; 2 as another user");
        let script = Seen { is_script: true, ..up(&[]) };
        check(&wanted(1, None, 0), &script, Fail, "actual none; it is a script: `executable` is its interpreter");
        let near =
            |seconds: &[u64]| Seen { of_other_arguments: 1, namesake: Some("process 9 runs".into()), ..up(seconds) };
        check(&wanted(1, None, 0), &near(&[]), Fail, "actual none; 1 with other arguments; process 9 runs");
        check(&wanted(2, None, 0), &near(&[1]), Fail, "expected at least 2, actual 1; 1 with other arguments");
    }
}
