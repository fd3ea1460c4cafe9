//! HAProxy's Runtime API: one command a connection, answered in full and closed. Success is an empty line, any text an error or
//! a notice.

use std::time::Duration;

use portcullis::{observation::Answer, text};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpStream, UnixStream},
    time::timeout,
};

use crate::config::Socket;

/// Asks one question; gives the answer without the empty line at its end.
pub(super) async fn ask(socket: &Socket, command: &str) -> Result<String, Answer> {
    let asked = timeout(TIME_MAX, connect_and_ask(socket, command)).await;
    let answered = asked.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()));
    answered.map_err(|error| Answer::Unknown { because: format!("of balancer {socket}: {error}") })
}

/// Tells it something to do.
pub(super) async fn tell(socket: &Socket, command: &str) -> Answer {
    match ask(socket, command).await {
        Ok(said) if said.is_empty() => Answer::Accepted,
        Ok(said) => Answer::Refused { because: format!("{socket} says to `{command}`: {}", text::visible(&said)) },
        Err(answer) => answer,
    }
}

async fn connect_and_ask(socket: &Socket, command: &str) -> std::io::Result<String> {
    match socket {
        Socket::Unix(path) => converse(UnixStream::connect(path).await?, command).await,
        Socket::Tcp(address) => converse(TcpStream::connect(address).await?, command).await,
    }
}

async fn converse(mut stream: impl AsyncRead + AsyncWrite + Unpin, command: &str) -> std::io::Result<String> {
    stream.write_all(format!("{command}\n").as_bytes()).await?;
    let mut answer = Vec::new();
    let read = stream.take(ANSWER_BYTES_MAX + 1).read_to_end(&mut answer).await?;
    let said = |because: &str| Err(std::io::Error::other(because));
    match String::from_utf8(answer) {
        // Not even the empty line: it went away, or is at its limit of connections.
        Ok(_) if read == 0 => said("closed without an answer"),
        Ok(_) if read as u64 > ANSWER_BYTES_MAX => said("the answer is too long"),
        Ok(answer) => Ok(answer.trim_end_matches(['\n', '\r', ' ']).into()),
        Err(_) => said("the answer is no text"),
    }
}

/// It answers in a tenth of a millisecond. One that hangs must not keep the description of the others until it is too old to act
/// on.
const TIME_MAX: Duration = Duration::from_secs(2);
/// A line of state is some 130 bytes: 60,000 servers.
const ANSWER_BYTES_MAX: u64 = 8 << 20;

#[cfg(test)]
mod tests {
    use tokio::{io::AsyncReadExt as _, net::UnixListener};

    use super::*;

    /// Answers one connection with these bytes; `None` hangs.
    async fn answered(bytes: Option<Vec<u8>>) -> (Answer, Result<String, Answer>) {
        let dir = tempfile::tempdir().unwrap();
        let socket = Socket::Unix(dir.path().join("admin.sock"));
        let listener = UnixListener::bind(dir.path().join("admin.sock")).unwrap();
        let serving = tokio::spawn(async move {
            let mut kept = Vec::new();
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let _ = stream.read(&mut [0; 1024]).await.unwrap();
                match &bytes {
                    Some(bytes) => drop(stream.write_all(bytes).await),
                    None => kept.push(stream),
                }
            }
        });
        let got = tokio::join!(tell(&socket, "command"), ask(&socket, "command"));
        serving.abort();
        got
    }

    #[tokio::test]
    async fn what_answers_mean() {
        for (bytes, told, asked) in [
            (Some("\n"), "accepted", Ok("")),
            (Some("1\n# a\nb\n\n"), "refused", Ok("1\n# a\nb")),
            (Some("No such server.\n\n"), "refused", Ok("No such server.")),
            (Some(""), "unknown", Err("closed without an answer")),
            (None, "unknown", Err("timed out")),
        ] {
            let (answer, said) = answered(bytes.map(Into::into)).await;
            let word = match answer {
                Answer::Accepted => "accepted",
                Answer::Refused { .. } => "refused",
                Answer::Unknown { .. } => "unknown",
                Answer::Throttled | Answer::NoActiveAction => "another",
            };
            assert_eq!(word, told, "{bytes:?}");
            match (said, asked) {
                (Ok(said), Ok(asked)) => assert_eq!(said, asked),
                (Err(Answer::Unknown { because }), Err(asked)) => assert!(because.ends_with(asked), "{because}"),
                (said, asked) => panic!("{said:?} is not {asked:?}"),
            }
        }
    }

    #[tokio::test]
    async fn an_answer_without_end_is_cut_off() {
        let flood = vec![b'x'; usize::try_from(ANSWER_BYTES_MAX).unwrap() + 10];
        let (_, said) = answered(Some(flood)).await;
        assert!(format!("{said:?}").contains("too long"));
        assert!(format!("{:?}", answered(Some(vec![0xff, b'\n'])).await.1).contains("no text"));
    }

    #[tokio::test]
    async fn nobody_is_there() {
        let socket = Socket::Unix("/nonexistent/admin.sock".into());
        let Err(Answer::Unknown { because }) = ask(&socket, "show info").await else { panic!("answered") };
        assert!(because.starts_with("of balancer /nonexistent/admin.sock: "), "{because}");
    }
}
