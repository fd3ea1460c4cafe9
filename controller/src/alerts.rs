//! Sinks: where alerts are told. A sink makes one attempt and says what came of it; repeating is the decision's business.

use std::{collections::BTreeMap, sync::Arc};

use portcullis::{
    action::Told,
    alert::{Alert, AlertKey, Severity},
    instance::GroupName,
    observation::Answer,
    timestamp::Timestamp,
};
use serde::Serialize;

use crate::{
    config::{Config, SinkKind},
    providers::Pending,
};

mod command;
pub mod dead_man;
mod webhook;

/// Where alerts are told.
pub trait Sink: Send + Sync {
    /// Tells it once.
    fn tell<'a>(&'a self, message: &'a Message) -> Pending<'a, Answer>;
}

/// All of them, by name.
pub type Sinks = BTreeMap<String, Arc<dyn Sink>>;

/// What a sink is given, as JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Message {
    /// `fires` (again every half hour, until acknowledged) or `is_over`.
    pub told: Told,
    /// Names the alert together with `group`: the same for as long as it is one alert.
    pub code: String,
    /// Which group.
    pub group: GroupName,
    /// `critical` or `warning`.
    pub severity: Severity,
    /// When it began.
    pub since: Timestamp,
    /// For people.
    pub text: String,
    /// The alert's parts, for machines.
    pub alert: Alert,
}

impl Message {
    /// Of an alert as it is told.
    pub fn new(key: &AlertKey, told: Told, alert: &Alert, since: Timestamp) -> Self {
        let (code, group) = (key.code.clone(), key.group.clone());
        let text = match told {
            Told::Fires => format!("{group}: {alert}"),
            Told::IsOver => format!("{group}: over: {alert}"),
        };
        Self { told, code, group, severity: alert.severity(), since, text, alert: alert.clone() }
    }
}

/// Whether everything that is told or pinged can be set up.
///
/// # Errors
/// With the first that cannot.
pub fn check(config: &Config) -> Result<(), String> {
    let dead_man = config.dead_man.to.iter().map(|kind| ("dead_man", kind));
    for (name, kind) in config.sinks.iter().map(|(name, kind)| (name.as_str(), kind)).chain(dead_man) {
        open(kind).map_err(|because| format!("alerts `{name}`: {because}"))?;
    }
    Ok(())
}

/// Sets up a sink.
///
/// # Errors
/// With what is wrong with it.
pub fn open(kind: &SinkKind) -> Result<Arc<dyn Sink>, String> {
    Ok(match kind {
        SinkKind::Webhook(url) => Arc::new(webhook::Webhook::new(url)?),
        SinkKind::Command(argv) => Arc::new(command::Command::new(argv)),
    })
}
