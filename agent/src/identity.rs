//! Who this instance is, and what shows it: the configuration and a join token, or the instance metadata service.

use std::{io, os::unix::fs::MetadataExt as _, path::Path, time::Duration};

use portcullis::{api, instance::InstanceId, text};
use reqwest::{Client, Method, Url};
use zeroize::Zeroizing;

use crate::{
    config::{self, Evidence, Instance},
    state,
    transport::{self, Authorities, TransportError},
};

/// As whom the agent speaks.
#[derive(Debug)]
pub(crate) struct Identity {
    settings: config::Identity,
    client: Client,
}

/// It cannot be told who this instance is, or shown.
#[derive(Debug, thiserror::Error)]
pub(crate) enum IdentityError {
    #[error("the join token in `{path}`: {source}")]
    Token { path: String, source: io::Error },
    #[error("the join token in `{path}` is empty")]
    NoToken { path: String },
    #[error("the metadata service at {url}: {source}")]
    Transport { url: String, source: TransportError },
    #[error("the metadata service answers {status} to `{path}`")]
    Status { path: &'static str, status: u16 },
    #[error("the metadata service's `{path}` is not what it should be")]
    Nonsense { path: &'static str },
}

impl Identity {
    pub(crate) fn new(settings: config::Identity) -> Result<Self, reqwest::Error> {
        Ok(Self { settings, client: transport::client(Authorities::None, TOTAL_TIMEOUT)? })
    }

    /// Who. Asked for anew whenever it is needed: it costs little, and an answer of an earlier try may be of another time.
    pub(crate) async fn instance(&self) -> Result<InstanceId, IdentityError> {
        match &self.settings.instance {
            Instance::Static(id) => Ok(id.clone()),
            Instance::Imds => {
                let token = self.imds_token().await?;
                let id = self.imds(ID_PATH, &token).await?;
                let is_id =
                    !id.is_empty() && id.len() <= ID_BYTES_MAX && id.bytes().all(|byte| byte.is_ascii_graphic());
                if is_id { Ok(InstanceId(id.to_string())) } else { Err(IdentityError::Nonsense { path: ID_PATH }) }
            }
        }
    }

    /// What shows it. Read anew each time: tokens are replaced, documents change at stop and start.
    pub(crate) async fn evidence(&self) -> Result<api::Identity, IdentityError> {
        match &self.settings.evidence {
            Evidence::JoinToken(path) => Ok(api::Identity::JoinToken(join_token(path)?.to_string())),
            Evidence::UnverifiedDocument => {
                let token = self.imds_token().await?;
                let document = self.imds(DOCUMENT_PATH, &token).await?.to_string();
                let rsa2048 = self.imds(SIGNATURE_PATH, &token).await?.to_string();
                Ok(api::Identity::AwsIid { document, rsa2048 })
            }
        }
    }

    /// Version 2 only: a session token that a forwarded request could not have asked for.
    async fn imds_token(&self) -> Result<Zeroizing<String>, IdentityError> {
        self.ask(Method::PUT, TOKEN_PATH, (TTL_HEADER, TOKEN_TTL_S)).await
    }

    async fn imds(&self, path: &'static str, token: &str) -> Result<Zeroizing<String>, IdentityError> {
        self.ask(Method::GET, path, (TOKEN_HEADER, token)).await
    }

    async fn ask(
        &self,
        method: Method,
        path: &'static str,
        (header, value): (&str, &str),
    ) -> Result<Zeroizing<String>, IdentityError> {
        let base = &self.settings.imds_url;
        let broken = |source| IdentityError::Transport { url: text::visible(base.as_str()), source };
        let url = base.join(path).unwrap_or_else(|_| Url::clone(base));
        let response = self.client.request(method, url).header(header, value).send().await;
        let response = response.map_err(|error| broken(error.into()))?;
        if !response.status().is_success() {
            return Err(IdentityError::Status { path, status: response.status().as_u16() });
        }
        let body = transport::body(response, BODY_BYTES_MAX).await.map_err(broken)?;
        String::from_utf8(body).map(Zeroizing::new).map_err(|_| IdentityError::Nonsense { path })
    }
}

fn join_token(path: &Path) -> Result<Zeroizing<String>, IdentityError> {
    let shown = || path.display().to_string();
    let unreadable = |source| IdentityError::Token { path: shown(), source };
    let bytes = Zeroizing::new(state::read_capped(path, BODY_BYTES_MAX).map_err(unreadable)?);
    if std::fs::metadata(path).is_ok_and(|metadata| metadata.mode() & 0o007 != 0) {
        tracing::warn!("the join token in `{}` can be read by every user of this machine", path.display());
    }
    let token = str::from_utf8(&bytes).unwrap_or_default().trim();
    if token.is_empty() {
        return Err(IdentityError::NoToken { path: shown() });
    }
    Ok(Zeroizing::new(token.to_string()))
}

const TOKEN_PATH: &str = "/latest/api/token";
const ID_PATH: &str = "/latest/meta-data/instance-id";
const DOCUMENT_PATH: &str = "/latest/dynamic/instance-identity/document";
const SIGNATURE_PATH: &str = "/latest/dynamic/instance-identity/rsa2048";
const TTL_HEADER: &str = "x-aws-ec2-metadata-token-ttl-seconds";
const TOKEN_HEADER: &str = "x-aws-ec2-metadata-token";
/// Long enough for the three questions that follow.
const TOKEN_TTL_S: &str = "60";
/// The service is on the machine's own link.
const TOTAL_TIMEOUT: Duration = Duration::from_secs(5);
/// Documents have about 500 bytes, signatures about 2,000.
const BODY_BYTES_MAX: usize = 16 << 10;
const ID_BYTES_MAX: usize = 255;
