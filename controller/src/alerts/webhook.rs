//! A webhook: `POST` of the message as JSON. The URL is often the only secret there is, so that it is never shown.

use std::{error::Error as _, time::Duration};

use portcullis::{observation::Answer, text};
use reqwest::{Client, StatusCode, Url, header, redirect};

use super::{Message, Sink};
use crate::providers::Pending;

pub(super) struct Webhook {
    client: Client,
    url: Url,
}

impl Webhook {
    pub(super) fn new(url: &str) -> Result<Self, String> {
        let url: Url = url.trim().parse().map_err(|error| format!("it is no URL: {error}"))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err("only http and https are spoken".into());
        }
        // An answer that another part of the program was first is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder()
            .redirect(redirect::Policy::none())
            .connect_timeout(TIMEOUT)
            .timeout(TIMEOUT)
            .build()
            .map_err(|error| error.without_url().to_string())?;
        Ok(Self { client, url })
    }
}

impl Webhook {
    /// A request without a body: for pings.
    pub(super) async fn get(&self) -> Answer {
        understood(self.client.get(self.url.clone()).send().await)
    }
}

fn understood(answered: reqwest::Result<reqwest::Response>) -> Answer {
    match answered {
        Ok(response) => meaning(response.status()),
        Err(error) => Answer::Unknown { because: text::visible(&in_words(error)) },
    }
}

/// With what caused it, or nobody knows whether it was the name, the certificate or the other side.
fn in_words(error: reqwest::Error) -> String {
    let error = error.without_url();
    let (mut words, mut cause) = (error.to_string(), error.source());
    while let Some(of) = cause {
        words += &format!(": {of}");
        cause = of.source();
    }
    words
}

impl Sink for Webhook {
    fn tell<'a>(&'a self, message: &'a Message) -> Pending<'a, Answer> {
        Box::pin(async move {
            let body = serde_json::to_vec(message).expect("a message has string keys only");
            let request =
                self.client.post(self.url.clone()).header(header::CONTENT_TYPE, "application/json").body(body);
            understood(request.send().await)
        })
    }
}

fn meaning(status: StatusCode) -> Answer {
    let because = format!("it answers {status}");
    match status {
        _ if status.is_success() => Answer::Accepted,
        StatusCode::TOO_MANY_REQUESTS => Answer::Throttled,
        _ if status.is_client_error() || status.is_redirection() => Answer::Refused { because },
        _ => Answer::Unknown { because },
    }
}

/// An alert that takes longer is sent again.
const TIMEOUT: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use std::{
        io::{Read as _, Write as _},
        net::TcpListener,
    };

    use portcullis::{action::Told, alert::Alert, timestamp::Timestamp};

    use super::*;

    fn message() -> Message {
        let key = portcullis::alert::AlertKey { group: "web".into(), code: "unguarded".into() };
        Message::new(&key, Told::Fires, &Alert::Unguarded { because: "no hook".into() }, Timestamp(0))
    }

    /// What a real listener got, and what was made of its answer.
    async fn told(answer: &'static str) -> (String, Answer) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/secret", listener.local_addr().unwrap());
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut got = Vec::new();
            let mut buffer = [0; 4_096];
            while !String::from_utf8_lossy(&got).ends_with('}') {
                let length = stream.read(&mut buffer).unwrap();
                got.extend_from_slice(&buffer[..length]);
            }
            stream.write_all(answer.as_bytes()).unwrap();
            String::from_utf8(got).unwrap()
        });
        let answer = Webhook::new(&url).unwrap().tell(&message()).await;
        (server.join().unwrap(), answer)
    }

    #[tokio::test]
    async fn what_is_sent_and_what_answers_mean() {
        let (got, answer) = told("HTTP/1.1 204 No Content\r\n\r\n").await;
        assert_eq!(answer, Answer::Accepted);
        assert!(got.starts_with("POST /secret HTTP/1.1\r\n"), "{got}");
        let body: serde_json::Value = serde_json::from_str(got.split_once("\r\n\r\n").unwrap().1).unwrap();
        assert_eq!(body["text"], "web: no hook");
        assert_eq!(
            (&body["told"], &body["severity"], &body["code"]),
            (&"fires".into(), &"warning".into(), &"unguarded".into())
        );
        for (answer, meaning) in [
            ("HTTP/1.1 429 Slow Down\r\nContent-Length: 0\r\n\r\n", "throttled"),
            ("HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n", "refused: it answers 403 Forbidden"),
            (
                "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n",
                "refused: it answers 302 Found",
            ),
            ("HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n", "unknown: it answers 500 Internal Server Error"),
        ] {
            assert_eq!(crate::act::in_words(&told(answer).await.1), meaning);
        }
    }

    #[tokio::test]
    async fn the_url_is_not_shown() {
        let refused = Webhook::new("http://127.0.0.1:1/hooks/s3cr3t").unwrap().tell(&message()).await;
        let Answer::Unknown { because } = refused else { panic!("{refused:?}") };
        assert!(!because.contains("s3cr3t") && because.contains("Connection refused"), "{because}");
        assert!(Webhook::new("ftp://somewhere/s3cr3t").is_err_and(|error| !error.contains("s3cr3t")));
    }
}
