//! Credentials that do not last, as a container gets them: the real SDK asks for new ones in time, and when there are none to be
//! had, that is told.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use anyhow::{Context as _, Result, ensure};
use portcullis::timestamp::Timestamp;
use portcullis_cloud::{Fault, Server, What};
use portcullis_drill::{
    clock::Stopwatch,
    gate::{Gate, Release, Setup},
    scene::{self, GROUP, Scratch},
    site::Site,
};
use portcullis_wire::programs;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

const PATIENCE: Duration = Duration::from_secs(60);
/// The SDK asks for new ones ten seconds before the old ones end.
const GOOD_FOR: Duration = Duration::from_secs(14);

/// Hands out `key-1`, `key-2`, …, each good for a moment.
struct Credentials {
    url: String,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    is_out_of_order: bool,
    /// When each that was handed out ends.
    ends: Vec<SystemTime>,
}

impl Credentials {
    async fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let (url, state) = (format!("http://{}/credentials", listener.local_addr()?), Arc::default());
        let shared = Arc::clone(&state);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                // Whoever hangs up is no concern of the next one.
                let _: Result<()> = answer(stream, &shared).await;
            }
        });
        Ok(Self { url, state })
    }

    fn is_out_of_order(&self, is_so: bool) {
        self.state.lock().expect("nobody panicked").is_out_of_order = is_so;
    }

    /// Keys whose time is over.
    fn ended(&self) -> Vec<String> {
        let (state, now) = (self.state.lock().expect("nobody panicked"), now());
        let ended = state.ends.iter().enumerate().filter(|(_, ends)| **ends <= now);
        ended.map(|(index, _)| format!("key-{}", index + 1)).collect()
    }
}

async fn answer(mut stream: TcpStream, state: &Mutex<State>) -> Result<()> {
    let mut head = [0; 4_096];
    let read = stream.read(&mut head).await?;
    ensure!(read > 0, "it hung up");
    let (status, body) = {
        let mut state = state.lock().expect("nobody panicked");
        if state.is_out_of_order {
            ("500 Internal Server Error", json!({ "code": "Unavailable", "message": "the role is gone" }))
        } else {
            let ends = now() + GOOD_FOR;
            state.ends.push(ends);
            let ends_ms = ends.duration_since(SystemTime::UNIX_EPOCH)?.as_millis();
            let key = format!("key-{}", state.ends.len());
            let expiration = Timestamp(u64::try_from(ends_ms)?).to_string();
            let secret = json!({ "AccessKeyId": key, "SecretAccessKey": "s", "Token": "t", "Expiration": expiration });
            ("200 OK", secret)
        }
    };
    let body = body.to_string();
    let head = format!("HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n", body.len());
    stream.write_all(format!("{head}connection: close\r\n\r\n{body}").as_bytes()).await?;
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "credentials end by the wall clock")]
fn now() -> SystemTime {
    SystemTime::now()
}

/// How many calls each key signed, and how many of them were refused.
fn signed(cloud: &Server) -> BTreeMap<String, (u32, u32)> {
    let mut counts = BTreeMap::<String, (u32, u32)>::new();
    for event in cloud.lock().events_of_all_time().expect("it remembers all of a test") {
        if let What::Called { signer: Some(signer), code, .. } = event.what {
            let count = counts.entry(signer).or_default();
            count.0 += 1;
            count.1 += u32::from(code.is_some());
        }
    }
    counts
}

async fn alerts(gate: &Gate) -> Result<Vec<Value>> {
    let status: Value = serde_json::from_str(&gate.cli(&["status", "--json"]).await?.stdout)?;
    let groups = status["groups"].as_array().context("groups")?;
    let group = groups.iter().find(|group| group["group"] == GROUP).context("the group")?;
    Ok(group["alerts"].as_array().cloned().unwrap_or_default())
}

#[tokio::test(flavor = "multi_thread")]
async fn it_goes_on_with_new_ones_and_says_when_there_are_none() -> Result<()> {
    let scratch = Scratch::make("credentials")?;
    let release = Release::build(programs(), &Site::write(scratch.join("staging"))?, &scratch.join("release"))?;
    let (cloud, source) = (scene::cloud().await?, Credentials::start().await?);
    let limits = "describe_every = \"500ms\"\nundescribed_after = \"3s\"\nbackoff_max = \"1s\"\n";
    let setup = Setup { limits, credentials: Some(source.url.clone()), ..Setup::default() };
    let gate = Gate::set_up(programs(), &release, &cloud.url(), &scratch.join("gate"), &setup).await?;
    // What has ended is refused, as AWS would.
    let mut refused = Vec::new();
    let mut until = async |what: &str, seen: &dyn Fn(&[Value]) -> bool| {
        let begun = Stopwatch::start();
        loop {
            for key in source.ended() {
                if !refused.contains(&key) {
                    cloud.lock().inject(Fault::Expire { access_key: key.clone() });
                    refused.push(key);
                }
            }
            let told = alerts(&gate).await?;
            if seen(&told) {
                return anyhow::Ok(());
            }
            ensure!(begun.elapsed() < PATIENCE, "{what}: not in time: {told:?}, {:?}", signed(&cloud));
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let third = |_: &[Value]| signed(&cloud).get("key-3").is_some_and(|(calls, _)| *calls > 3);
    until("it goes on with the third", &third).await?;
    let counts = signed(&cloud);
    assert!(["key-1", "key-2"].iter().all(|key| counts.get(*key).is_some_and(|(calls, _)| *calls > 3)), "{counts:?}");
    assert!(counts.values().all(|(_, refused)| *refused == 0), "none was used past its end: {counts:?}");

    source.is_out_of_order(true);
    let is_told = |alerts: &[Value]| {
        let text = |alert: &Value| alert["text"].as_str().unwrap_or_default().to_owned();
        alerts.iter().any(|alert| alert["code"] == "undescribed" && text(alert).contains("credentials"))
    };
    until("it says that there are none", &is_told).await?;
    source.is_out_of_order(false);
    until("it is over", &|alerts| alerts.iter().all(|alert| alert["code"] != "undescribed")).await
}
