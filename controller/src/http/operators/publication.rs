//! Publishing a signed manifest, and listing what is published.

use std::collections::BTreeMap;

use portcullis::{
    api::ReleaseSummary,
    digest::Digest,
    instance::GroupName,
    manifest::VerifiedManifest,
    record::{Key, Record},
};

use crate::{
    http::{
        App,
        problem::{Kind, Refusal},
    },
    reconcile::Snapshot,
    records::{self, Release},
    stores::{Batch, Entry, Write},
};

/// Takes an envelope that keeps every rule and is signed by enough trusted keys; kept exactly as it came. The same
/// manifest again changes nothing.
pub(super) fn publish(app: &App, envelope: &[u8], operator: &str) -> Result<ReleaseSummary, Refusal> {
    let verified = VerifiedManifest::open(envelope, &app.config.trust)
        .map_err(|error| Refusal::new(Kind::InvalidManifest, error))?;
    let (digest, manifest) = (verified.digest, verified.manifest);
    if let Some(known) = app.releases.release(&digest)? {
        return Ok(summary(digest, known, &Groups::default()));
    }
    let now = app.clock.now();
    let release = Release {
        product: manifest.product,
        release: manifest.release,
        sequence: manifest.sequence,
        published_at: now,
        published_by: operator.into(),
    };
    let writes = vec![
        Write::put(records::manifest_path(&digest), None, envelope.to_vec()),
        records::put(records::release_path(&digest), None, &release),
    ];
    let text = format!(
        "{} {} published, {digest}, signed by {}",
        release.product,
        release.release,
        verified.signers.join(", ")
    );
    let event = Entry { at: now, kind: "published", group: None, instance: None, actor: operator.into(), text };
    app.store.commit(Batch { writes, events: vec![event] })?;
    Ok(summary(digest, release, &Groups::default()))
}

/// All that is published, newest sequence first.
pub(super) fn list(app: &App, snapshot: &Snapshot) -> Result<Vec<ReleaseSummary>, Refusal> {
    let groups = Groups::of(snapshot);
    let mut all: Vec<_> =
        app.releases.all()?.into_iter().map(|(digest, release)| summary(digest, release, &groups)).collect();
    all.sort_by(|a, b| (b.sequence, &b.manifest).cmp(&(a.sequence, &a.manifest)));
    Ok(all)
}

/// Which groups want and accept what.
#[derive(Default)]
struct Groups {
    wanted_by: BTreeMap<Digest, Vec<GroupName>>,
    accepted_by: BTreeMap<Digest, Vec<GroupName>>,
}

impl Groups {
    fn of(snapshot: &Snapshot) -> Self {
        let mut groups = Self::default();
        for (key, (_, record)) in &snapshot.observed.records {
            if let (Key::Group(name), Record::Group(record)) = (key, record) {
                for (index, digest) in record.accepted.iter().enumerate() {
                    let by = if index == 0 { &mut groups.wanted_by } else { &mut groups.accepted_by };
                    by.entry(*digest).or_default().push(name.clone());
                }
            }
        }
        groups
    }
}

fn summary(manifest: Digest, release: Release, groups: &Groups) -> ReleaseSummary {
    let Release { product, release, sequence, published_at, published_by } = release;
    let wanted_by = groups.wanted_by.get(&manifest).cloned().unwrap_or_default();
    let accepted_by = groups.accepted_by.get(&manifest).cloned().unwrap_or_default();
    ReleaseSummary { manifest, product, release, sequence, published_at, published_by, wanted_by, accepted_by }
}
