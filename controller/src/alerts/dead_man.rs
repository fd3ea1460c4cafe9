//! The dead man's switch: a ping that comes for as long as somebody would be told. Whoever waits for it notices that it stops.
//!
//! A ping says: the loop decides, this process holds the lease, the audit can be written, and what was last told each sink was
//! taken. So it stops for whatever would make alerts stop, a broken sink too: a sink that fails is an alert of its own
//! (`deaf`), but one that may have nobody left to be told to. A sink that breaks while there is nothing to tell is noticed with
//! the first alert that it does not take: then the ping stops, and that alert is waited for elsewhere.
//!
//! The same is a metric, for those who have a Prometheus elsewhere: `portcullis_alerter_last_ok_timestamp_seconds`.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use portcullis::{observation::Answer, text};
use tokio::{process, sync::watch};

use super::webhook;
use crate::{
    act::in_words, audit::Audit, clock::Clock, config::DeadMan as Wanted, config::SinkKind, metrics::Metrics,
    reconcile::Snapshot,
};

/// What was last told each sink, and how it was answered.
#[derive(Debug, Default)]
pub struct Heard {
    refusals: Mutex<BTreeMap<String, Option<String>>>,
}

impl Heard {
    /// Notes an answer of a sink.
    pub(crate) fn answered(&self, sink: &str, answer: &Answer) {
        let refusal = (*answer != Answer::Accepted).then(|| in_words(answer));
        self.refusals.lock().unwrap_or_else(PoisonError::into_inner).insert(sink.into(), refusal);
    }

    fn deaf(&self) -> Option<String> {
        let refusals = self.refusals.lock().unwrap_or_else(PoisonError::into_inner);
        let mut deaf = refusals.iter().filter_map(|(sink, refusal)| Some((sink, refusal.as_ref()?)));
        deaf.next().map(|(sink, refusal)| format!("`{sink}` did not take the last alert ({refusal})"))
    }
}

/// What the switch looks at.
pub(crate) struct Parts {
    pub(crate) snapshots: watch::Receiver<Arc<Snapshot>>,
    pub(crate) heard: Arc<Heard>,
    pub(crate) audit: Audit,
    pub(crate) clock: Clock,
    pub(crate) metrics: Arc<Metrics>,
}

/// The switch.
pub(crate) struct DeadMan {
    parts: Parts,
    ping: Option<Ping>,
    every: Duration,
    /// The last turn that was seen, and when it was new.
    turn: (u64, Instant),
    turn_age_max: Duration,
    well: bool,
}

enum Ping {
    Url(webhook::Webhook),
    Command(Vec<String>),
}

impl DeadMan {
    /// Sets it up; without a place to ping it keeps the metric.
    ///
    /// # Errors
    /// With what is wrong with that place.
    pub(crate) fn new(wanted: &Wanted, parts: Parts) -> Result<Self, String> {
        let ping = match &wanted.to {
            Some(SinkKind::Webhook(url)) => Some(Ping::Url(webhook::Webhook::new(url)?)),
            Some(SinkKind::Command(argv)) => Some(Ping::Command(argv.clone())),
            None => None,
        };
        let turn = (0, Clock::monotonic());
        Ok(Self { parts, ping, every: wanted.every, turn, turn_age_max: TURN_AGE_MAX, well: true })
    }

    /// Pings until `stop` says so.
    pub(crate) async fn run(mut self, mut stop: watch::Receiver<bool>) {
        let mut beat = tokio::time::interval(self.every.min(LOOK_EVERY));
        beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        let mut pinged_at: Option<Instant> = None;
        let stopped = async move { drop(stop.wait_for(|stop| *stop).await) };
        let beating = async {
            loop {
                beat.tick().await;
                let now = Clock::monotonic();
                if self.looks(now) && pinged_at.is_none_or(|at| now.saturating_duration_since(at) >= self.every) {
                    pinged_at = Some(now);
                    self.ping().await;
                }
            }
        };
        crate::http::serve::first(Box::pin(stopped), Box::pin(beating)).await;
    }

    /// Whether all is well; that it no longer is, or is again, is logged.
    fn looks(&mut self, now: Instant) -> bool {
        let trouble = self.trouble(now);
        match &trouble {
            Some(because) if self.well => {
                tracing::error!(%because, "alerts would not be told: no pings until they would");
            }
            None if !self.well => tracing::info!("alerts would be told again"),
            Some(_) | None => {}
        }
        self.well = trouble.is_none();
        self.parts.metrics.alerter_is(self.well, self.parts.clock.now());
        self.well
    }

    fn trouble(&mut self, now: Instant) -> Option<String> {
        let snapshot = Arc::clone(&self.parts.snapshots.borrow());
        if snapshot.turn != self.turn.0 {
            self.turn = (snapshot.turn, now);
        }
        let age = now.saturating_duration_since(self.turn.1);
        let leads = snapshot.observed.lease.is_some_and(|(_, until)| self.parts.clock.now() < until);
        if snapshot.turn == 0 {
            Some("nothing was decided yet".into())
        } else if age > self.turn_age_max {
            Some(format!("nothing was decided for {} s", age.as_secs()))
        } else if !leads {
            Some("another controller holds the lease".into())
        } else if self.parts.audit.fails() {
            Some("the store cannot be written".into())
        } else {
            self.parts.heard.deaf()
        }
    }

    async fn ping(&self) {
        let answer = match &self.ping {
            None => return,
            Some(Ping::Url(url)) => url.get().await,
            Some(Ping::Command(argv)) => run(argv).await,
        };
        match answer {
            Answer::Accepted => self.parts.metrics.pinged(self.parts.clock.now()),
            other => tracing::warn!(answer = in_words(&other), "the dead man's switch could not be pinged"),
        }
    }
}

async fn run(argv: &[String]) -> Answer {
    let unknown = |because: &str| Answer::Unknown { because: text::visible(because) };
    let mut command = process::Command::new(&argv[0]);
    let null = std::process::Stdio::null;
    command.args(&argv[1..]).stdin(null()).stdout(null()).stderr(null()).kill_on_drop(true);
    match tokio::time::timeout(COMMAND_TIMEOUT, command.status()).await {
        Ok(Ok(status)) if status.success() => Answer::Accepted,
        Ok(Ok(status)) => unknown(&format!("it ends with {status}")),
        Ok(Err(error)) => unknown(&format!("`{}`: {error}", argv[0])),
        Err(_) => unknown("it takes too long"),
    }
}

/// Often enough for the metric, whatever the time between pings.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// Three of the longest turns of a loop that has nothing to do.
const TURN_AGE_MAX: Duration = Duration::from_secs(15);
const COMMAND_TIMEOUT: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use std::{
        io::{Read as _, Write as _},
        net::TcpListener,
        sync::atomic::{AtomicU64, Ordering},
    };

    use portcullis::{observed::Observed, timestamp::Timestamp};

    use super::*;
    use crate::stores::memory::MemoryStore;

    /// A real listener that counts what comes.
    fn listener() -> (String, Arc<AtomicU64>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/ping/s3cr3t", listener.local_addr().unwrap());
        let count = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&count);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (mut stream, mut buffer) = (stream.unwrap(), [0; 1_024]);
                let length = stream.read(&mut buffer).unwrap();
                assert!(buffer[..length].starts_with(b"GET /ping/s3cr3t HTTP/1.1\r\n"));
                counted.fetch_add(1, Ordering::SeqCst);
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            }
        });
        (url, count)
    }

    async fn until(what: &str, so: impl Fn() -> bool) {
        let deadline = Clock::monotonic() + Duration::from_secs(30);
        while !so() {
            assert!(Clock::monotonic() < deadline, "never: {what}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    fn snapshot(turn: u64, leads: bool) -> Arc<Snapshot> {
        let lease = leads.then_some((1, Timestamp(u64::MAX)));
        Arc::new(Snapshot { turn, observed: Observed { lease, ..Observed::default() }, ..Snapshot::default() })
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn it_pings_while_somebody_would_be_told_and_no_longer() {
        let (url, count) = listener();
        let (metrics, heard) = (Arc::new(Metrics::new()), Arc::new(Heard::default()));
        let (audit, _) = Audit::start(Arc::new(MemoryStore::new()), Arc::clone(&metrics));
        let (shows, snapshots) = watch::channel(snapshot(0, false));
        let clock = Clock::system();
        let parts = Parts { snapshots, heard: Arc::clone(&heard), audit, clock, metrics: Arc::clone(&metrics) };
        let wanted = Wanted { to: Some(SinkKind::Webhook(url)), every: Duration::from_millis(20) };
        let mut switch = DeadMan::new(&wanted, parts).unwrap();
        switch.turn_age_max = Duration::from_secs(1);
        let (_stop, stopped) = watch::channel(false);
        let running = tokio::spawn(switch.run(stopped));

        // The loop turns, or hangs, or does not lead.
        let (turns, leads) = (Arc::new(AtomicU64::new(1)), Arc::new(AtomicU64::new(1)));
        let (turning, leading) = (Arc::clone(&turns), Arc::clone(&leads));
        let looping = tokio::spawn(async move {
            let mut turn = 0;
            loop {
                turn += turning.load(Ordering::SeqCst);
                shows.send_replace(snapshot(turn, leading.load(Ordering::SeqCst) == 1));
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        });
        let well = || metrics.alerter_ok.get() == 1;
        let pings = async |what: &str| {
            let before = count.load(Ordering::SeqCst);
            until(what, || count.load(Ordering::SeqCst) > before + 3).await;
        };
        let stops = async |what: &str| {
            until(what, || !well()).await;
            // One may have been on its way; after it none comes, in the time of twenty.
            tokio::time::sleep(Duration::from_millis(100)).await;
            let before = count.load(Ordering::SeqCst);
            tokio::time::sleep(Duration::from_millis(400)).await;
            assert_eq!(count.load(Ordering::SeqCst), before, "{what}");
        };
        pings("all is well").await;
        turns.store(0, Ordering::SeqCst);
        stops("the loop hangs").await;
        turns.store(1, Ordering::SeqCst);
        pings("it turns again").await;
        heard.answered("pager", &Answer::Throttled);
        stops("a sink takes nothing").await;
        heard.answered("mail", &Answer::Accepted);
        stops("another does").await;
        heard.answered("pager", &Answer::Accepted);
        pings("it takes alerts again").await;
        leads.store(0, Ordering::SeqCst);
        stops("another leads").await;
        looping.abort();
        running.abort();
    }

    #[tokio::test]
    async fn a_command_says_by_its_status_whether_it_pinged() {
        let of = async |script: &str| run(&["/bin/sh".into(), "-c".into(), script.into()]).await;
        assert_eq!(of("exit 0").await, Answer::Accepted);
        assert_eq!(in_words(&of("exit 7").await), "unknown: it ends with exit status: 7");
        assert!(in_words(&run(&["/nonexistent".into()]).await).starts_with("unknown: `/nonexistent`: No such file"));
    }
}
