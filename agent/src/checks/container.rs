//! `container`: asks the engine for the container and, where a digest is wanted, for its image, over the engine's socket.
//!
//! The requests are of the Docker Engine API without a version in the path, which Docker answers in the newest it has, and
//! Podman in the same words.

use std::{io, os::unix::net::UnixStream, path::Path};

use portcullis::{check::container::Container, text};
use reqwest::{Client, Method, Request};
use serde::de::DeserializeOwned;

use super::{Finding, Task, fetch::fetch};
use crate::{
    clock,
    transport::{self, Authorities},
};

mod judge;

use judge::{Image, Inspected, judge};

/// Asks once.
pub(super) fn run(wanted: &Container, task: &Task<'_>) -> Finding {
    match look(wanted, task) {
        Ok(()) => Finding::pass(),
        Err(finding) => finding,
    }
}

fn look(wanted: &Container, task: &Task<'_>) -> Result<(), Finding> {
    let engine = Engine::of(wanted, task)?;
    let container: Inspected = engine
        .get(&format!("containers/{}/json", wanted.name))?
        .ok_or_else(|| Finding::fail("container", format!("`{}`", wanted.name), "there is none of that name"))?;
    judge(wanted, &container, clock::now())?;
    let Some(digest) = &wanted.image_digest else { return Ok(()) };
    // The id is what the engine said: it must not lead anywhere else.
    let id = container.image.strip_prefix("sha256:").unwrap_or(&container.image);
    if id.is_empty() || !id.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return Err(Finding::unknown(format!("the engine names no image: `{}`", text::visible(&container.image))));
    }
    let image: Option<Image> =
        if container.has_digest(digest) { None } else { engine.get(&format!("images/{id}/json"))? };
    judge::image(digest, &container, image.as_ref())
}

struct Engine<'a> {
    client: Client,
    task: &'a Task<'a>,
    path: &'a str,
}

impl<'a> Engine<'a> {
    fn of(wanted: &'a Container, task: &'a Task<'_>) -> Result<Self, Finding> {
        let path = match &wanted.socket {
            Some(path) => path,
            None => *SOCKETS.iter().find(|path| Path::new(path).exists()).ok_or_else(|| {
                Finding::unknown(format!("no engine here: neither {} is there", SOCKETS.join(" nor ")))
            })?,
        };
        let path: &'a str = path;
        // Says plainly what is the matter with the socket, which the client would not.
        UnixStream::connect(path).map_err(|error| unreachable(path, &error))?;
        let client = transport::builder(Authorities::None, task.left()).unix_socket(path).build();
        let client = client
            .map_err(|error| Finding::unknown(format!("no HTTP client: {}", transport::TransportError::from(error))))?;
        Ok(Self { client, task, path })
    }

    /// `None` when there is nothing of that name.
    fn get<T: DeserializeOwned>(&self, path: &str) -> Result<Option<T>, Finding> {
        let nonsense = |why: String| Finding::unknown(format!("`{}`: {why}", self.path));
        let url = format!("http://engine/{path}").parse().map_err(|error| nonsense(format!("{error}")))?;
        let answer = fetch(&self.client, Request::new(Method::GET, url), Some(ANSWER_BYTES_MAX), self.task);
        // That it cannot be asked says nothing of the container.
        let answer = answer.map_err(|finding| nonsense(finding.reason.unwrap_or_default()))?;
        match answer.status {
            200 => serde_json::from_slice(&answer.body)
                .map(Some)
                .map_err(|error| nonsense(text::visible(&error.to_string()))),
            404 => Ok(None),
            status => {
                let said = text::escape(&answer.body[..answer.body.len().min(SHOWN_MAX)]);
                Err(nonsense(format!("the engine answers {status}: {said}")))
            }
        }
    }
}

fn unreachable(path: &str, error: &io::Error) -> Finding {
    let hint = match error.kind() {
        io::ErrorKind::PermissionDenied => "; the agent must be root or of the socket's group",
        io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound => "; is the engine running?",
        _ => "",
    };
    Finding::unknown(format!("`{}`: {error}{hint}", text::visible(path)))
}

/// Docker's, then Podman's.
const SOCKETS: [&str; 2] = ["/var/run/docker.sock", "/run/podman/podman.sock"];

/// What an engine says of a container has some 10 KiB; its health log a few times 4 KiB more.
const ANSWER_BYTES_MAX: usize = 1 << 20;
const SHOWN_MAX: usize = 200;
