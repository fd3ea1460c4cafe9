//! Where manifests come from, and as whom their controller is spoken with.

use std::{
    net::{IpAddr, Ipv6Addr},
    path::Path,
};

use portcullis::instance::InstanceId;
use reqwest::Url;

use super::{
    ConfigError, Controller, Evidence, Identity, Instance, Source,
    fragments::{self, Fragments},
    named, refused,
};

/// Either a controller or a manifest file: with both, nobody could say which of them makes the instance ready.
pub(super) fn source(written: &Fragments, dir: &Path) -> Result<Source, ConfigError> {
    match (&written.controller, &written.checks.manifest) {
        (Some(_), None) if written.drift.without_controller.is_some() => {
            Err(refused("drift.without_controller", "there is a `[controller]`, which decides: leave it out"))
        }
        (Some(controller), None) => Ok(Source::Controller(Box::new(Controller {
            url: controller_url(&controller.url)?,
            ca: controller.ca.as_ref().map(|ca| dir.join(ca)),
            identity: identity(written, controller.join_token_file.as_deref(), dir)?,
        }))),
        (None, Some(manifest)) => {
            Ok(Source::File(dir.join(manifest), written.drift.without_controller.unwrap_or_default()))
        }
        (Some(_), Some(_)) => {
            Err(refused("checks.manifest", "with a `[controller]`, manifests come from there: leave it out"))
        }
        (None, None) => Err(refused("controller", "needed, or else a `manifest` in `[checks]` to run without one")),
    }
}

pub(super) fn controller_url(text: &str) -> Result<Url, ConfigError> {
    const KEY: &str = "controller.url";
    let mut url = Url::parse(text).map_err(|error| refused(KEY, error.to_string()))?;
    match url.scheme() {
        "https" => {}
        "http" if is_loopback(&url) => {}
        "http" => {
            return Err(refused(KEY, "`http` only for a loopback host: reports and tokens travel here, use `https`"));
        }
        other => return Err(refused(KEY, format!("`{other}` is not `https`"))),
    }
    if !url.username().is_empty() || url.password().is_some() || url.query().is_some() || url.fragment().is_some() {
        return Err(refused(KEY, "only scheme, host, port and path"));
    }
    if !url.path().ends_with('/') {
        let path = format!("{}/", url.path());
        url.set_path(&path);
    }
    Ok(url)
}

fn is_loopback(url: &Url) -> bool {
    host_ip(url).map_or_else(|| url.host_str() == Some("localhost"), |ip| ip.is_loopback())
}

fn host_ip(url: &Url) -> Option<IpAddr> {
    url.host_str()?.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

fn identity(written: &Fragments, token_file: Option<&Path>, dir: &Path) -> Result<Identity, ConfigError> {
    let fragment = written.identity.as_ref().ok_or_else(|| refused("identity", "needed with a `[controller]`"))?;
    let token = token_file.map(|file| Evidence::JoinToken(dir.join(file)));
    let evidence = match (fragment.source, token) {
        (_, Some(token)) => token,
        (fragments::IdentitySource::Imds, None) if fragment.allow_unverified_identity => Evidence::UnverifiedDocument,
        (fragments::IdentitySource::Imds, None) => {
            let because = "the signature of identity documents is not verified yet: give a `controller.join_token_file`, \
                           or say `true` and know that whoever reads the document can speak as this instance";
            return Err(refused("identity.allow_unverified_identity", because));
        }
        (fragments::IdentitySource::Static, None) => {
            return Err(refused("controller.join_token_file", "needed with a static identity"));
        }
    };
    let instance = match (fragment.source, &fragment.instance) {
        (fragments::IdentitySource::Static, Some(id)) => {
            Instance::Static(InstanceId(named("identity.instance", id.clone())?))
        }
        (fragments::IdentitySource::Static, None) => {
            return Err(refused("identity.instance", "needed with a static identity"));
        }
        (fragments::IdentitySource::Imds, None) => Instance::Imds,
        (fragments::IdentitySource::Imds, Some(_)) => {
            return Err(refused("identity.instance", "comes from the metadata service: leave it out"));
        }
    };
    Ok(Identity { instance, evidence, imds_url: imds_url(&fragment.imds_url)? })
}

/// Never a host beyond this machine and its link: what is asked for there is taken for the truth.
fn imds_url(text: &str) -> Result<Url, ConfigError> {
    const KEY: &str = "identity.imds_url";
    let url = Url::parse(text).map_err(|error| refused(KEY, error.to_string()))?;
    let near = match host_ip(&url) {
        Some(IpAddr::V4(ip)) => ip.is_link_local() || ip.is_loopback(),
        Some(IpAddr::V6(ip)) => ip.is_unicast_link_local() || ip.is_loopback() || ip == IMDS_V6,
        None => false,
    };
    if url.scheme() != "http" || !near {
        return Err(refused(KEY, "only `http` to a link-local or loopback address, or to `[fd00:ec2::254]`"));
    }
    Ok(url)
}

/// The metadata service's address on IPv6, a unique local one.
const IMDS_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);
