//! A command: the message as JSON on its standard input; status 0 means that it took it.

use std::{process::Stdio, time::Duration};

use portcullis::{observation::Answer, text};
use tokio::{io::AsyncWriteExt as _, process};

use super::{Message, Sink};
use crate::providers::Pending;

pub(super) struct Command {
    argv: Vec<String>,
}

impl Command {
    pub(super) fn new(argv: &[String]) -> Self {
        Self { argv: argv.to_vec() }
    }

    async fn run(&self, message: &Message) -> std::io::Result<Answer> {
        let body = serde_json::to_vec(message).expect("a message has string keys only");
        let mut command = process::Command::new(&self.argv[0]);
        command.args(&self.argv[1..]).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.kill_on_drop(true).spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            // Whoever does not read it may take it all the same: its status says.
            let _ = stdin.write_all(&body).await;
        }
        let status = child.wait().await?;
        Ok(if status.success() { Answer::Accepted } else { unknown(&format!("it ends with {status}")) })
    }
}

impl Sink for Command {
    fn tell<'a>(&'a self, message: &'a Message) -> Pending<'a, Answer> {
        Box::pin(async move {
            match tokio::time::timeout(TIMEOUT, self.run(message)).await {
                Ok(Ok(answer)) => answer,
                Ok(Err(error)) => unknown(&format!("`{}`: {error}", self.argv[0])),
                Err(_) => unknown("it takes too long"),
            }
        })
    }
}

fn unknown(because: &str) -> Answer {
    Answer::Unknown { because: text::visible(because) }
}

/// Then it is killed, and the alert told again.
const TIMEOUT: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use portcullis::{action::Told, alert::Alert, timestamp::Timestamp};

    use super::*;

    #[tokio::test]
    async fn its_status_says_whether_it_took_it() {
        let dir = tempfile::tempdir().unwrap();
        let key = portcullis::alert::AlertKey { group: "web".into(), code: "unguarded".into() };
        let message = Message::new(&key, Told::IsOver, &Alert::Unguarded { because: "no hook".into() }, Timestamp(0));
        let path = dir.path().join("got");
        for (script, meaning) in [
            (format!("cat >{}", path.display()), "accepted"),
            ("exit 3".into(), "unknown: it ends with exit status: 3"),
            ("exec <&-; exit 0".into(), "accepted"),
        ] {
            let sink = Command::new(&["sh".into(), "-c".into(), script]);
            assert_eq!(crate::act::in_words(&sink.tell(&message).await), meaning);
        }
        let got: serde_json::Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        assert_eq!((&got["told"], &got["text"]), (&"is_over".into(), &"web: over: no hook".into()));
        let missing = Command::new(&["/nonexistent".into()]).tell(&message).await;
        assert!(crate::act::in_words(&missing).starts_with("unknown: `/nonexistent`: No such file"), "{missing:?}");
    }
}
