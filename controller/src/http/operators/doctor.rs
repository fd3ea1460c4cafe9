//! `GET /v1/doctor`: gathers the facts; what they mean is the core's.

use std::{collections::BTreeMap, sync::Arc};

use portcullis::{
    api::Examination,
    check::certificate::margin::Validity,
    doctor::{self, Facts},
};
use rustls::pki_types::{CertificateDer, pem::PemObject as _};
use x509_parser::parse_x509_certificate;

use crate::{
    config::{Listener, Tls},
    http::{App, blocking, problem::Refusal},
};

/// One at a time: it costs the calls that the loop needs.
pub(super) async fn examine(app: &Arc<App>) -> Result<Examination, Refusal> {
    let _turn = app.examining.lock().await;
    let policy = &app.config.policy;
    let groups: Vec<_> = policy.groups.iter().map(|(name, group)| (name.clone(), group.hook.clone())).collect();
    let cloud = app.provider.examine(&groups, &app.clock).await;
    let certificates = blocking(app, |app| Ok(certificates(app))).await?;
    let facts = Facts { at: app.clock.now(), cloud, certificates };
    Ok(Examination { examined_at: facts.at, findings: doctor::examine(&facts, policy) })
}

fn certificates(app: &App) -> BTreeMap<String, Result<Validity, String>> {
    let listeners = [("agents", &app.config.agents), ("operators", &app.config.operators)];
    let with_tls = |(name, listener): (&str, &Listener)| Some((name.to_owned(), validity(listener.tls.as_ref()?)));
    listeners.into_iter().filter_map(with_tls).collect()
}

/// Of the server's own certificate, the first in the file.
fn validity(tls: &Tls) -> Result<Validity, String> {
    let pem = std::fs::read(&tls.cert).map_err(|error| format!("`{}`: {error}", tls.cert.display()))?;
    let first = CertificateDer::pem_slice_iter(&pem).next();
    let first = first.and_then(Result::ok).ok_or_else(|| format!("`{}` has no certificate", tls.cert.display()))?;
    let (_, parsed) = parse_x509_certificate(&first).map_err(|error| error.to_string())?;
    let validity = parsed.validity();
    Ok(Validity { from_s: validity.not_before.timestamp(), until_s: validity.not_after.timestamp() })
}
