//! `portcullis status`: what is held, and why.

use portcullis::{
    api::{AlertStatus, GroupStatus, InstanceStatus, ProtectedBy, Status},
    instance::{GroupName, LifecycleState},
    text::visible,
};

use super::{
    answer::Answer,
    client::{self, Client, Said},
    output,
};

/// Show every gated group and its instances: what is held, and why
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  portcullis status --group web

What its words mean is in deploy/reasons.md.

Exit codes: 0 it could be told, 1 there is no such group, 2 it could not be told.")]
pub(crate) struct Args {
    /// Only this group
    #[arg(long)]
    group: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    controller: client::Controller,
}

/// Runs `status`.
pub(crate) fn run(args: &Args) -> anyhow::Result<Answer> {
    let mut status: Status = match Client::new(&args.controller)?.get(&["status"], "")? {
        Said::Done(status) => status,
        Said::Refused(problem) => return Ok(client::refused(&problem)),
    };
    if let Some(only) = &args.group {
        status.groups.retain(|group| group.group.as_str() == only);
        if status.groups.is_empty() {
            output::failure(&anyhow::anyhow!("`{}` is not a gated group", visible(only)));
            return Ok(Answer::No);
        }
    }
    if args.json {
        output::json(&status)?;
    } else {
        let own = alerts(&status.alerts);
        let own = if own.is_empty() { own } else { format!("{}:\n{own}", GroupName::controller()) };
        output::result(&(own + &status.groups.iter().map(group).collect::<String>()))?;
    }
    Ok(Answer::Yes)
}

fn group(group: &GroupStatus) -> String {
    let release = group.release.as_deref().map_or_else(|| "no release promoted".into(), visible);
    let desired = group.desired.map(|desired| format!(", {desired} desired")).unwrap_or_default();
    let mut text = format!("{}: {}, {release}{desired}\n", group.group, group.mode);
    for warning in &group.warnings {
        text.push_str(&format!("  warning: {}\n", visible(warning)));
    }
    text.push_str(&alerts(&group.alerts));
    for one in &group.instances {
        text.push_str(&instance(one));
    }
    text
}

fn alerts(alerts: &[AlertStatus]) -> String {
    let line = |alert: &AlertStatus| {
        let whose =
            alert.acknowledged.as_ref().map(|warrant| format!(" (acknowledged by {warrant})")).unwrap_or_default();
        format!("  alert {}: {}{whose}\n", visible(&alert.code), visible(&alert.text))
    };
    alerts.iter().map(line).collect()
}

fn instance(one: &InstanceStatus) -> String {
    let verdict = one.verdict.map_or_else(|| "-".into(), |verdict| verdict.to_string());
    let deadline = one.deadline.map(|deadline| format!(" (until {deadline})")).unwrap_or_default();
    let protected = match one.protected_by {
        Some(ProtectedBy::SurvivorsGuard) => "; protected from scale-in",
        Some(ProtectedBy::SomebodyElse) => "; protected from scale-in by somebody else",
        None => "",
    };
    let (id, state) = (one.instance.to_string(), one.state.to_string());
    let sick = one.state == LifecycleState::InService && !one.in_service;
    let sick = if sick { "unhealthy behind its load balancer; " } else { "" };
    format!("  {id:<19}  {state:<15}  {verdict:<9}  {sick}{}{deadline}{protected}\n", visible(&one.because))
}
