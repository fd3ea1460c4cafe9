//! Portcullis watches itself: its certificates, and whether it would tell anybody of anything.

use std::{
    io::{Read as _, Write as _},
    net::TcpListener,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use portcullis::api::Status;
use rcgen::{CertificateParams, KeyPair, date_time_ymd};

use super::world::*;

fn certificate(path: &Path, key: &KeyPair, until: i32) {
    let mut params = CertificateParams::new(["localhost".into()]).unwrap();
    (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(until, 1, 1));
    std::fs::write(path, params.self_signed(key).unwrap().pem()).unwrap();
}

/// What it says of itself.
fn own(world: &World) -> Vec<(String, String)> {
    let status: Status = world.operator("GET", "/v1/status", b"").is(200).json();
    status.alerts.into_iter().map(|alert| (alert.code, alert.text)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn its_own_certificates_are_watched() {
    let dir = tempfile::tempdir().unwrap();
    let (cert, key_file) = (dir.path().join("cert.pem"), dir.path().join("key.pem"));
    let key = KeyPair::generate().unwrap();
    std::fs::write(&key_file, key.serialize_pem()).unwrap();
    certificate(&cert, &key, 2021);
    let world = World::with_tls(&cert, &key_file).await;
    let codes = |world: &World| own(world).into_iter().map(|(code, _)| code).collect::<Vec<_>>();
    // It has ended: both say so.
    world
        .until("it is told", |world| (codes(world) == ["certificate_aging", "certificate_expiring"]).then_some(()))
        .await;
    assert!(own(&world)[1].1.contains("agents: `"), "{:?}", own(&world));
    assert!(own(&world)[1].1.contains("ends at 2021-01-01T00:00:00Z"), "{:?}", own(&world));
    // The new one does not belong to the key.
    certificate(&cert, &KeyPair::generate().unwrap(), 2999);
    world
        .until("it cannot be used", |world| {
            own(world)
                .iter()
                .any(|(code, text)| code == "certificate_unusable" && text.contains("belong"))
                .then_some(())
        })
        .await;
    certificate(&cert, &key, 2999);
    world.until("all is well", |world| codes(world).is_empty().then_some(())).await;
    let metrics = world.metrics();
    assert!(metrics.contains("portcullis_tls_files_usable{listener=\"agents\"} 1"), "{metrics}");
    world.controller.stop().await;
}

/// A real listener that counts what comes.
fn listener() -> (String, Arc<AtomicU64>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let count = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&count);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, mut buffer) = (stream.unwrap(), [0; 1_024]);
            let _ = stream.read(&mut buffer);
            counted.fetch_add(1, Ordering::SeqCst);
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        }
    });
    (url, count)
}

#[tokio::test(flavor = "multi_thread")]
async fn pings_come_until_a_sink_takes_nothing_and_again_when_it_does() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let (url, count) = listener();
    let dir = tempfile::tempdir().unwrap();
    let (url_file, takes) = (dir.path().join("url"), dir.path().join("takes"));
    std::fs::write(&url_file, url).unwrap();
    // Takes alerts while there is a file; `web` has one at once: it enforces, and nothing is promoted.
    let world = World::with_tables(&format!(
        "backoff_max = \"1s\"\n[dead_man]\nurl_file = {url_file:?}\nevery = \"50ms\"\n[[alerts]]\nname = \"mail\"\n\
         command = [\"/usr/bin/test\", \"-e\", {takes:?}]\n"
    ))
    .await;
    let ok = |world: &World, ok: u8| world.metrics().contains(&format!("portcullis_alerter_ok {ok}\n")).then_some(());
    world.until("the sink takes nothing", |world| ok(world, 0)).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    let before = count.load(Ordering::SeqCst);
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert_eq!(count.load(Ordering::SeqCst), before, "no ping comes");
    std::fs::write(&takes, "").unwrap();
    world.until("it takes them", |world| ok(world, 1)).await;
    let before = count.load(Ordering::SeqCst);
    world.until("pings come", |_| (count.load(Ordering::SeqCst) > before + 3).then_some(())).await;
    world.controller.stop().await;
}
