//! `GET /v1/doctor`: gathers the facts; what they mean is the core's.

use std::{collections::BTreeMap, sync::Arc};

use portcullis::{
    api::Examination,
    check::certificate::margin::Validity,
    doctor::{self, Facts},
    observation::OwnCertificate,
};

use crate::http::{App, problem::Refusal};

/// One at a time: it costs the calls that the loop needs.
pub(super) async fn examine(app: &Arc<App>) -> Result<Examination, Refusal> {
    let _turn = app.examining.lock().await;
    let policy = &app.config.policy;
    let groups: Vec<_> = policy.groups.iter().map(|(name, group)| (name.clone(), group.hook.clone())).collect();
    let cloud = app.provider.examine(&groups, &app.clock).await;
    let facts = Facts { at: app.clock.now(), cloud, certificates: certificates(app) };
    Ok(Examination { examined_at: facts.at, findings: doctor::examine(&facts, policy) })
}

/// What the listeners show, as the loop was last told.
fn certificates(app: &App) -> BTreeMap<String, Result<Validity, String>> {
    let snapshot = app.snapshot();
    let shown = snapshot.observed.certificates.values();
    let validity = |shown: &OwnCertificate| match &shown.unusable {
        Some(because) => Err(format!("`{}`: {because}", shown.path)),
        None => Ok(Validity { from_s: shown.from_s, until_s: shown.until_s }),
    };
    shown.map(|shown| (shown.listener.clone(), validity(shown))).collect()
}
