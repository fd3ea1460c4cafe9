//! `portcullis events`: the audit, and what is added to it.

use portcullis::{
    api::Event,
    text::{escaped_json, visible},
};

use super::{
    answer::Answer,
    client::{self, Client, Said},
    output,
};

/// Show what was decided, done and refused
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  portcullis events --follow
  portcullis events --after 4711 --json

The controller: --controller, else PORTCULLIS_CONTROLLER, else `controller` in ~/.config/portcullis/config.toml or
/etc/portcullis/cli.toml. The token: PORTCULLIS_TOKEN.")]
pub(crate) struct Args {
    /// Go on with what comes, until interrupted
    #[arg(long)]
    follow: bool,
    /// Only what came after this sequence; else the last 100
    #[arg(long, value_name = "SEQUENCE")]
    after: Option<u64>,
    /// Print JSON, one event a line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    controller: client::Controller,
}

/// Runs `events`.
pub(crate) fn run(args: &Args) -> anyhow::Result<Answer> {
    let client = Client::new(&args.controller)?;
    let mut query = args.after.map(|after| format!("after={after}")).unwrap_or_default();
    let mut last = args.after.unwrap_or(0);
    loop {
        let events: Vec<Event> = match client.get(&["events"], &query)? {
            Said::Done(events) => events,
            Said::Refused(problem) => return Ok(client::refused(&problem)),
        };
        last = events.last().map_or(last, |event| event.sequence);
        let lines: Vec<_> = events.iter().map(|event| line(event, args.json)).collect::<Result<_, _>>()?;
        output::result(&lines.concat())?;
        let whole_page = events.len() >= PAGE;
        let more_to_come = args.follow || (args.after.is_some() && whole_page);
        if !more_to_come {
            return Ok(Answer::Yes);
        }
        query = format!("after={last}&limit={PAGE}");
        if args.follow {
            query.push_str("&wait_s=25");
        }
    }
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
const PAGE: usize = 100;
