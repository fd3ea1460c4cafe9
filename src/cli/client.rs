//! How the operator's commands speak with the controller: where it is, who asks, and what a refusal means.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, bail};
use portcullis::{api::Problem, text::visible};
use reqwest::{Method, Response, Url, header, redirect};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{
    answer::{Answer, Hint as _},
    output,
};

/// Where the controller is.
#[derive(Debug, clap::Args)]
pub(crate) struct Controller {
    /// The controller's URL; else from the configuration file
    ///
    /// That is ~/.config/portcullis/config.toml, or else /etc/portcullis/cli.toml, with `controller` and `token_file`. The token may
    /// also come from PORTCULLIS_TOKEN.
    #[arg(long, value_name = "URL", env = "PORTCULLIS_CONTROLLER")]
    controller: Option<String>,
}

/// What is said of a group, and why.
#[derive(Debug, clap::Args)]
pub(crate) struct OnGroup {
    /// The group
    pub(crate) group: String,
    /// Why: for the audit, and for whoever is paged next
    #[arg(long)]
    pub(crate) reason: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    controller: Controller,
}

impl OnGroup {
    /// Says it, and prints what came of it: see [`change`].
    pub(crate) fn change<R>(
        &self,
        verb: &str,
        wish: &impl Serialize,
        told: impl FnOnce(&R) -> String,
    ) -> anyhow::Result<Answer>
    where
        R: Serialize + DeserializeOwned,
    {
        change(&self.controller, &["groups", &self.group, verb], wish, self.json, told)
    }
}

/// Asks for a change, and prints what came of it: the record as JSON, or what is told of it.
pub(crate) fn change<R>(
    controller: &Controller,
    path: &[&str],
    wish: &impl Serialize,
    json: bool,
    told: impl FnOnce(&R) -> String,
) -> anyhow::Result<Answer>
where
    R: Serialize + DeserializeOwned,
{
    match Client::new(controller)?.post::<R>(path, serde_json::to_vec(wish)?)? {
        Said::Done(record) if json => output::json(&record)?,
        Said::Done(record) => output::result(&told(&record))?,
        Said::Refused(problem) => return Ok(refused(&problem)),
    }
    Ok(Answer::Yes)
}

/// What is in `~/.config/portcullis/config.toml`, or else in `/etc/portcullis/cli.toml`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    /// The controller's URL.
    controller: Option<String>,
    /// A file with the token, for those who don't set `PORTCULLIS_TOKEN`.
    token_file: Option<String>,
    /// A PEM file with the authority that signed the controller's certificate, if the system doesn't know it.
    ca: Option<String>,
}

/// What the controller said.
#[derive(Debug)]
pub(crate) enum Said<T> {
    /// This.
    Done(T),
    /// No, and why.
    Refused(Problem),
}

/// A connection to the controller.
pub(crate) struct Client {
    runtime: tokio::runtime::Runtime,
    http: reqwest::Client,
    base: Url,
    token: String,
}

impl Client {
    /// Finds the controller and the token. Nothing is sent yet.
    pub(crate) fn new(given: &Controller) -> anyhow::Result<Self> {
        let config = Config::read()?;
        let url =
            given.controller.clone().or(config.controller.clone()).context("no controller is known").hint(Some(
                "give --controller URL, set PORTCULLIS_CONTROLLER, or write `controller = \"https://…\"` to \
             ~/.config/portcullis/config.toml",
            ))?;
        let base = base(&url)?;
        // An answer that another part of the program was first is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut http = reqwest::Client::builder()
            .no_proxy()
            .redirect(redirect::Policy::none())
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(TIMEOUT);
        if let Some(path) = &config.ca {
            let pem = super::files::read(Path::new(path), CA_BYTES_MAX)?;
            http = http.add_root_certificate(reqwest::Certificate::from_pem(&pem).context("`ca` is no certificate")?);
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("failed to start")?;
        let http = http.build().context("failed to set up TLS")?;
        Ok(Self { runtime, http, base, token: config.token()? })
    }

    /// Reads something.
    pub(crate) fn get<T: DeserializeOwned>(&self, path: &[&str], query: &str) -> anyhow::Result<Said<T>> {
        self.runtime.block_on(self.send(Method::GET, path, query, None))
    }

    /// Changes something.
    pub(crate) fn post<T: DeserializeOwned>(&self, path: &[&str], body: Vec<u8>) -> anyhow::Result<Said<T>> {
        self.runtime.block_on(self.send(Method::POST, path, "", Some(body)))
    }

    async fn send<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &[&str],
        query: &str,
        body: Option<Vec<u8>>,
    ) -> anyhow::Result<Said<T>> {
        let mut url = self.base.clone();
        // `base` has checked that it has a path.
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().push("v1").extend(path);
        }
        url.set_query((!query.is_empty()).then_some(query));
        let mut request = self.http.request(method, url).bearer_auth(&self.token);
        if let Some(body) = body {
            request = request.header(header::CONTENT_TYPE, "application/json").body(body);
        }
        let response = request.send().await.context("failed to reach the controller")?;
        understand(response).await
    }
}

/// Reads an answer, up to a limit; what is neither an answer nor a problem is an error.
async fn understand<T: DeserializeOwned>(mut response: Response) -> anyhow::Result<Said<T>> {
    let status = response.status();
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await.context("failed to read the controller's answer")? {
        if bytes.len() + chunk.len() > ANSWER_BYTES_MAX {
            bail!("the controller's answer has more than {ANSWER_BYTES_MAX} bytes");
        }
        bytes.extend_from_slice(&chunk);
    }
    if status.is_success() {
        return Ok(Said::Done(serde_json::from_slice(&bytes).context("the controller's answer cannot be read")?));
    }
    let Ok(problem) = serde_json::from_slice::<Problem>(&bytes) else {
        bail!("the controller answered {status}");
    };
    if status.is_server_error() || matches!(status.as_u16(), 401 | 429) {
        let hint = (status.as_u16() == 401).then_some("set PORTCULLIS_TOKEN to a token that the controller knows");
        return Err(anyhow::anyhow!("{}", refusal(&problem))).hint(hint);
    }
    Ok(Said::Refused(problem))
}

/// A problem in words.
pub(crate) fn refusal(problem: &Problem) -> String {
    format!("{}: {}", visible(&problem.title), visible(&problem.detail))
}

/// Tells of a refusal: the answer is no.
pub(crate) fn refused(problem: &Problem) -> Answer {
    output::failure(&anyhow::anyhow!("{}", refusal(problem)));
    Answer::No
}

/// A bearer token must not travel in the clear.
fn base(url: &str) -> anyhow::Result<Url> {
    let parsed = Url::parse(url).with_context(|| format!("`{}` is no URL", visible(url)))?;
    let host = parsed.host_str().unwrap_or("").trim_matches(['[', ']']);
    let loopback = host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
    match parsed.scheme() {
        "https" => Ok(parsed),
        "http" if loopback => Ok(parsed),
        "http" => bail!("`{}`: http is for loopback only, use https", visible(url)),
        _ => bail!("`{}` is no http or https URL", visible(url)),
    }
}

impl Config {
    /// The first file that is there; none is fine.
    fn read() -> anyhow::Result<Self> {
        let home = std::env::var_os("XDG_CONFIG_HOME")
            .map(PathBuf::from)
            .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".config")));
        let personal = home.map(|home| home.join("portcullis/config.toml"));
        for path in personal.into_iter().chain([PathBuf::from("/etc/portcullis/cli.toml")]) {
            let shown = super::files::shown(&path);
            match fs::read_to_string(&path) {
                Ok(text) => return toml::from_str(&text).with_context(|| format!("failed to read `{shown}`")),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(error).with_context(|| format!("failed to read `{shown}`")),
            }
        }
        Ok(Self::default())
    }

    fn token(&self) -> anyhow::Result<String> {
        if let Ok(token) = std::env::var("PORTCULLIS_TOKEN") {
            return Ok(token.trim().into());
        }
        let file = self.token_file.as_ref().context("no token is known").hint(Some("set PORTCULLIS_TOKEN"))?;
        let token = super::files::read(Path::new(file), TOKEN_BYTES_MAX)?;
        Ok(String::from_utf8(token).context("the token is not text")?.trim().into())
    }
}

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Publishing a large manifest takes the longest; following events asks for 25 s.
const TIMEOUT: Duration = Duration::from_secs(60);
const ANSWER_BYTES_MAX: usize = 256 << 20;
const CA_BYTES_MAX: usize = 1 << 20;
const TOKEN_BYTES_MAX: usize = 4 << 10;

#[cfg(test)]
mod tests {
    #[test]
    fn a_token_never_travels_in_the_clear() {
        for (url, taken) in [
            ("https://gate.example", true),
            ("https://10.0.0.1:7421/behind/a/proxy", true),
            ("http://127.0.0.1:7421", true),
            ("http://[::1]:7421", true),
            ("http://localhost:7421", true),
            ("http://gate.example", false),
            ("http://10.0.0.1", false),
            ("http://127.0.0.1.example", false),
            ("ftp://127.0.0.1", false),
            ("gate.example", false),
        ] {
            assert_eq!(super::base(url).is_ok(), taken, "{url}");
        }
    }
}
