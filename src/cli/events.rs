//! `portcullis events`: the audit, and what is added to it.

use portcullis::{
    api::Event,
    text::{escaped_json, visible},
    timestamp::Timestamp,
};

use super::{
    answer::Answer,
    client::{self, Client, Said},
    clock, output,
};

/// Show what was decided, done and refused
///
/// Every change of a verdict with its reason, every call and its answer, every operator's act with name and reason.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  portcullis events --follow
  portcullis events --since 24h
  portcullis events --since 2026-11-20T00:00:00Z --json >audit.jsonl
  portcullis events --after 4711 --json

An export goes on where the last one ended with `--after` and the last `sequence` of it. Sequences have no gaps; the controller
keeps `audit_lines_max` lines, and what it no longer has is told on stderr.")]
pub(crate) struct Args {
    /// Go on with what comes, until interrupted
    #[arg(long)]
    follow: bool,
    /// Only what came after this sequence; 0 for all that is kept. Else the last 100
    #[arg(long, value_name = "SEQUENCE")]
    after: Option<u64>,
    /// Only what is no older: a time such as 2026-11-20T00:00:00Z, or so long ago: 30m, 24h, 7d
    #[arg(long, value_name = "TIME", value_parser = clock::since)]
    since: Option<Timestamp>,
    /// Print JSON, one event a line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    controller: client::Controller,
}

/// Runs `events`.
pub(crate) fn run(args: &Args) -> anyhow::Result<Answer> {
    let client = Client::new(&args.controller)?;
    let mut after = args.after;
    let mut waits = false;
    loop {
        let events: Vec<Event> = match client.get(&["events"], &query(args.since, after, waits))? {
            Said::Done(events) => events,
            Said::Refused(problem) => return Ok(client::refused(&problem)),
        };
        if let (None, Some(after), Some(first)) = (args.since, after, events.first())
            && first.sequence > after + 1
        {
            output::warning(&format!("lines {} to {} are no longer kept", after + 1, first.sequence - 1));
        }
        let lines: Vec<_> = events.iter().map(|event| line(event, args.json)).collect::<Result<_, _>>()?;
        output::result(&lines.concat())?;
        let all = events.len() < PAGE && (after.is_some() || args.since.is_some());
        let newest_only = args.after.is_none() && args.since.is_none();
        if !args.follow && (all || newest_only) {
            return Ok(Answer::Yes);
        }
        after = events.last().map(|event| event.sequence).or(after).or((!newest_only).then_some(0));
        // What is there comes first, and at once.
        waits = args.follow && (all || newest_only);
    }
}

fn query(since: Option<Timestamp>, after: Option<u64>, waits: bool) -> String {
    let since = since.map(|since| format!("since={since}"));
    let after = after.map(|after| format!("after={after}"));
    let limit = (since.is_some() || after.is_some()).then(|| format!("limit={PAGE}"));
    let wait = waits.then(|| "wait_s=25".into());
    [since, after, limit, wait].into_iter().flatten().collect::<Vec<_>>().join("&")
}

fn line(event: &Event, json: bool) -> anyhow::Result<String> {
    if json {
        return Ok(escaped_json(&serde_json::to_string(event)?) + "\n");
    }
    let subject = match (&event.group, &event.instance) {
        (Some(group), Some(instance)) => format!(" {group}/{instance}"),
        (Some(group), None) => format!(" {group}"),
        (None, Some(instance)) => format!(" {instance}"),
        (None, None) => String::new(),
    };
    let (at, kind, actor) = (event.at, visible(&event.kind), visible(&event.actor));
    Ok(format!("{at} {kind}{subject} ({actor}) {}\n", visible(&event.text)))
}

/// Events asked for at once.
const PAGE: usize = 1_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for() {
        let at = Some(Timestamp(1_763_640_000_000));
        for (since, after, waits, expected) in [
            (None, None, false, ""),
            (None, None, true, "wait_s=25"),
            (None, Some(0), false, "after=0&limit=1000"),
            (at, None, false, "since=2025-11-20T12:00:00.000Z&limit=1000"),
            (at, Some(7), true, "since=2025-11-20T12:00:00.000Z&after=7&limit=1000&wait_s=25"),
        ] {
            assert_eq!(query(since, after, waits), expected);
        }
    }
}
