//! From what the engine says of a container to a finding.

use portcullis::{
    check::container::{Container, SETTLED},
    duration::Span,
    text,
    timestamp::Timestamp,
};
use serde::Deserialize;

use crate::checks::{Finding, uptime};

/// `GET /containers/{id}/json`, as far as it matters here.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Inspected {
    /// The id of the image.
    pub(super) image: String,
    #[serde(default)]
    restart_count: u64,
    state: State,
    config: Config,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct State {
    status: String,
    running: bool,
    #[serde(default)]
    paused: bool,
    #[serde(default)]
    restarting: bool,
    #[serde(default, rename = "OOMKilled")]
    oom_killed: bool,
    #[serde(default)]
    exit_code: i64,
    #[serde(default)]
    started_at: String,
    #[serde(default)]
    health: Option<Health>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Health {
    #[serde(default)]
    status: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Config {
    /// The name that it was started from.
    #[serde(default)]
    image: String,
}

/// `GET /images/{id}/json`, as far as it matters here.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Image {
    /// `repository@sha256:…`: of the manifests under which it was pulled or pushed.
    #[serde(default)]
    repo_digests: Option<Vec<String>>,
}

impl Inspected {
    /// Whether its image's id is that digest.
    pub(super) fn has_digest(&self, digest: &str) -> bool {
        // Podman's older versions leave the prefix out.
        digest == self.image || digest.strip_prefix("sha256:") == Some(&self.image)
    }
}

/// Everything but the image's digest.
pub(super) fn judge(wanted: &Container, there: &Inspected, now: Timestamp) -> Result<(), Finding> {
    runs(&there.state)?;
    let restarts = there.restart_count;
    uptime::restarts(restarts, wanted.restarts_max)?;
    let settled = (restarts > 0).then_some(SETTLED);
    if let Some(up_for) = wanted.up_for.or(settled) {
        has_been_up(up_for, &there.state.started_at, restarts, now)?;
    }
    if let Some(image) = wanted.image.as_ref().filter(|image| **image != there.config.image) {
        return Err(Finding::fail("image", text::visible(image), text::visible(&there.config.image)));
    }
    is_healthy(wanted.healthy, there.state.health.as_ref())
}

fn runs(state: &State) -> Result<(), Finding> {
    let actual = match (state.running, state.restarting, state.paused) {
        (_, true, _) => format!("restarting, after exit {}", state.exit_code),
        (_, _, true) => "paused".into(),
        (true, false, false) => return Ok(()),
        (false, false, false) => {
            let killed = if state.oom_killed { ", out of memory" } else { "" };
            let status = text::visible(&state.status);
            if status == "exited" {
                format!("{status} with {}{killed}", state.exit_code)
            } else {
                format!("{status}{killed}")
            }
        }
    };
    Err(Finding::fail("state", "running", actual))
}

fn has_been_up(up_for: Span, started_at: &str, restarts: u64, now: Timestamp) -> Result<(), Finding> {
    let shown = || text::visible(started_at);
    let started = Timestamp::parse_rfc3339(started_at).ok_or_else(|| {
        Finding::unknown(format!("the engine says it was started at `{}`, which is no time", shown()))
    })?;
    if started > now + FUTURE_MAX {
        return Err(Finding::unknown(format!("clock: it was started at {}, and now it is {now}", shown())));
    }
    let up = Span::from_ms(u64::try_from(now.since(started).as_millis()).unwrap_or(u64::MAX));
    uptime::settled("running for", up_for, up, restarts)
}

/// Docker says `none` of a container without a health check, or nothing; Podman an empty word.
fn is_healthy(wanted: Option<bool>, health: Option<&Health>) -> Result<(), Finding> {
    let status = health.map_or("", |health| health.status.as_str());
    match (wanted, status) {
        (Some(false), _) | (None, "" | "none") | (_, "healthy") => Ok(()),
        (Some(true), "" | "none") => Err(Finding::fail("health", "healthy", "it has no health check")),
        (_, other) => Err(Finding::fail("health", "healthy", text::visible(other))),
    }
}

/// The digest of the configuration or of the manifest: people name either.
pub(super) fn image(digest: &str, there: &Inspected, image: Option<&Image>) -> Result<(), Finding> {
    let of_manifests = image.and_then(|image| image.repo_digests.as_deref()).unwrap_or_default();
    let digests = of_manifests.iter().filter_map(|named| Some(named.rsplit_once('@')?.1));
    if there.has_digest(digest) || digests.clone().any(|known| known == digest) {
        return Ok(());
    }
    let more = match digests.clone().count().saturating_sub(DIGESTS_SHOWN) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let known: Vec<&str> = digests.take(DIGESTS_SHOWN).chain([there.image.as_str()]).collect();
    let from = text::visible(&there.config.image);
    Err(Finding::fail("image", digest, format!("{}{more} ({from})", text::visible(&known.join(", ")))))
}

/// Engine and agent read the same clock; it may be set between.
const FUTURE_MAX: std::time::Duration = std::time::Duration::from_secs(5);
const DIGESTS_SHOWN: usize = 3;

#[cfg(test)]
mod tests {
    use portcullis::{
        json::{self, Limits},
        outcome::Status,
    };

    use super::*;

    const STARTED: &str = "2026-11-20T12:00:00.123456789+02:00";
    /// 60 s after that.
    const NOW: Timestamp = Timestamp(1_795_168_860_123);

    fn there(state: &str, restarts: u64) -> Inspected {
        let json = format!(
            r#"{{"Id":"x","Image":"sha256:aa","RestartCount":{restarts},"Config":{{"Image":"shop/orders:1"}},
                "State":{{"Status":"running","Running":true,"StartedAt":"{STARTED}"{state}}}}}"#
        );
        serde_json::from_str(&json).unwrap()
    }

    fn check(wanted: &str, there: &Inspected, status: Status, words: &str) {
        let json = format!(r#"{{"name":"orders"{wanted}}}"#);
        let wanted: Container = json::parse(json.as_bytes(), &Limits::MANIFEST).unwrap();
        let finding = judge(&wanted, there, NOW).err().unwrap_or_else(Finding::pass);
        let reason = finding.reason.unwrap_or_default();
        assert_eq!(finding.status, status, "{reason}");
        assert!(reason.contains(words), "{reason}\nexpected: {words}");
    }

    #[test]
    fn table() {
        use Status::{Fail, Pass, Unknown};
        let state = |change: fn(&mut State)| {
            let mut there = there("", 0);
            change(&mut there.state);
            there
        };
        check("", &there("", 0), Pass, "");
        let exited = state(|s| (s.running, s.status, s.exit_code) = (false, "exited".into(), 137));
        check("", &exited, Fail, "state: expected running, actual exited with 137");
        check("", &state(|s| (s.running, s.status) = (false, "created".into())), Fail, "actual created");
        check("", &state(|s| s.paused = true), Fail, "actual paused");
        check("", &state(|s| (s.restarting, s.exit_code) = (true, 1)), Fail, "actual restarting, after exit 1");
        check(r#","up_for":"60s""#, &there("", 0), Pass, "");
        check(r#","up_for":"61s""#, &there("", 0), Fail, "running for: expected 1m1s on end, actual 1m");
        check(r#","restarts_max":2"#, &there("", 3), Fail, "restarts: expected at most 2, actual 3");
        check(r#","restarts_max":3"#, &there("", 3), Pass, "");
        // What was restarted must have settled, wanted or not.
        let young = state(|s| s.started_at = "2026-11-20T10:00:55Z".into());
        check("", &young, Pass, "");
        check(
            "",
            &Inspected { restart_count: 1, ..young },
            Fail,
            "expected 10s on end, actual 5.1s".replace("5.1s", "5s").as_str(),
        );
        check(r#","up_for":"1s""#, &state(|s| s.started_at = "2026-11-20T10:02:00Z".into()), Unknown, "clock");
        check(r#","up_for":"1s""#, &state(|s| s.started_at = "soon".into()), Unknown, "no time");
        check(r#","image":"shop/orders:1""#, &there("", 0), Pass, "");
        check(
            r#","image":"shop/orders:2""#,
            &there("", 0),
            Fail,
            "image: expected shop/orders:2, actual shop/orders:1",
        );
    }

    #[test]
    fn health() {
        use Status::{Fail, Pass};
        for (wanted, state, status) in [
            ("", "", Pass),
            ("", r#","Health":null"#, Pass),
            ("", r#","Health":{"Status":"none"}"#, Pass),
            ("", r#","Health":{"Status":"healthy"}"#, Pass),
            ("", r#","Health":{"Status":"starting"}"#, Fail),
            ("", r#","Health":{"Status":"unhealthy"}"#, Fail),
            (r#","healthy":true"#, "", Fail),
            (r#","healthy":true"#, r#","Health":{"Status":""}"#, Fail),
            (r#","healthy":true"#, r#","Health":{"Status":"healthy"}"#, Pass),
            (r#","healthy":false"#, r#","Health":{"Status":"unhealthy"}"#, Pass),
        ] {
            check(wanted, &there(state, 0), status, "");
        }
    }

    #[test]
    fn digests() {
        let there = there("", 0);
        let known: Image =
            serde_json::from_str(r#"{"RepoDigests":["shop/orders@sha256:bb","mirror/orders@sha256:cc"]}"#).unwrap();
        for (digest, image_known, is_it) in [
            ("sha256:aa", None, true),
            ("sha256:bb", Some(&known), true),
            ("sha256:cc", Some(&known), true),
            ("sha256:bb", None, false),
            ("sha256:dd", Some(&known), false),
        ] {
            assert_eq!(image(digest, &there, image_known).is_ok(), is_it, "{digest}");
        }
        let reason = image("sha256:dd", &there, Some(&known)).unwrap_err().reason.unwrap();
        assert_eq!(reason, "image: expected sha256:dd, actual sha256:bb, sha256:cc, sha256:aa (shop/orders:1)");
        assert!(serde_json::from_str::<Image>(r#"{"RepoDigests":null}"#).is_ok());
    }
}
