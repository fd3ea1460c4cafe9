//! Clients that do everything wrong at once, each from an address of its own, and one that does everything right.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
    task::JoinSet,
};

use super::world::*;

/// From an address of its own: all of 127.0.0.0/8 is this machine.
async fn connect(to: &str, client: u8) -> Option<TcpStream> {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(([127, 0, 0, client], 0).into()).unwrap();
    socket.connect(to.parse().unwrap()).await.ok()
}

/// Opens more connections than it may, and keeps them.
async fn hoards(to: String) {
    let mut kept = Vec::new();
    loop {
        kept.extend(connect(&to, 2).await);
        tokio::time::sleep(Duration::from_millis(2)).await;
        if kept.len() > 300 {
            kept.drain(..100);
        }
    }
}

/// Sends a head, a byte at a time, and never ends it.
async fn dribbles(to: String) {
    loop {
        let Some(mut stream) = connect(&to, 3).await else { continue };
        let mut head = b"POST /v1/report HTTP/1.1\r\nHost: x\r\nX: ".to_vec();
        head.extend([b'x'; 2_000]);
        for byte in head {
            if stream.write_all(&[byte]).await.is_err() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// Sends bodies that are larger than any may be.
async fn swells(to: String) {
    let junk = vec![b'x'; 64 << 10];
    loop {
        let Some(mut stream) = connect(&to, 4).await else { continue };
        let head = b"POST /v1/report HTTP/1.1\r\nHost: x\r\nContent-Length: 4294967296\r\n\r\n";
        let _ = stream.write_all(head).await;
        while stream.write_all(&junk).await.is_ok() {}
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Announces a body, and does not send it.
async fn withholds(to: String) {
    let Some(mut stream) = connect(&to, 5).await else { return };
    let _ = stream.write_all(b"POST /v1/report HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{").await;
    let _ = stream.read(&mut [0; 1]).await;
}

/// Asks without end.
async fn floods(to: String) {
    loop {
        let Some(mut stream) = connect(&to, 6).await else { continue };
        let mut answer = [0; 4_096];
        while stream.write_all(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n").await.is_ok() {
            if !matches!(stream.read(&mut answer).await, Ok(1..)) {
                break;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_everything_wrong_keeps_nobody_else_from_being_served() {
    let world = World::with_agents("connections_max = 100\nrequests_per_minute_max = 2000").await;
    let manifest = world.publish("1", 11);
    world.promote("1");
    world.waiting("i-1").await;
    let good = Agent::new("i-1", 1).enrolled(&world);
    let to = world.controller.agents.strip_prefix("http://").unwrap().to_string();
    let mut abuse = JoinSet::new();
    abuse.spawn(hoards(to.clone()));
    abuse.spawn(swells(to.clone()));
    abuse.spawn(floods(to.clone()));
    (0..20).for_each(|_| drop(abuse.spawn(dribbles(to.clone()))));
    // More than all the bodies that are taken in at once.
    (0..90).for_each(|_| drop(abuse.spawn(withholds(to.clone()))));
    let limits = [(2, "connections"), (3, "headers"), (4, "body_size"), (6, "requests")];
    let named = |client: u8, limit: &str| format!("client=\"127.0.0.{client}\",limit=\"{limit}\"}}");
    let mut served = 0;
    world
        .until("all of them are named", |world| {
            // Each of these must be answered as it should be.
            let challenged = good.challenge(world);
            good.report(world, &good.passing(&challenged, manifest)).is(200);
            served += 1;
            let page = world.metrics();
            assert!(!page.contains("client=\"127.0.0.1\""), "the good one is named: {page}");
            limits.iter().all(|(client, limit)| page.contains(&named(*client, limit))).then_some(())
        })
        .await;
    assert!(served > 20, "{served}");
    assert_eq!(world.cloud.state("i-1"), "InService");
    abuse.shutdown().await;
    world.controller.stop().await;
}
