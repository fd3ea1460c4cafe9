//! The server inside a process, as the drills have it.

use std::time::Duration;

use portcullis_cloud::{
    CreateAutoScalingGroup, LaunchTemplate, Options, Server, ServerOptions, UpdateAutoScalingGroup, What,
};

#[tokio::test]
async fn an_embedder_is_told_of_a_launch_until_it_serves() {
    let server = Server::start(ServerOptions::local(Options::default())).await.unwrap();
    let mut changes = server.changes();
    let request = CreateAutoScalingGroup {
        name: "web".into(),
        settings: UpdateAutoScalingGroup {
            min: Some(1),
            max: Some(1),
            launch_template: Some(LaunchTemplate { name: Some("web".into()), ..Default::default() }),
            zones: vec!["eu-west-1a".into()],
            ..Default::default()
        },
        ..Default::default()
    };
    server.lock().create_auto_scaling_group(&request).unwrap();

    let (mut seen, mut told) = (0, Vec::new());
    let watch = async {
        while !told.contains(&"InService") {
            changes.changed().await.unwrap();
            let events = server.lock().events_since(seen);
            seen = events.next;
            told.extend(events.events.into_iter().filter_map(|event| match event.what {
                What::Launched { instance } => Some(instance.state.as_str()),
                What::StateChanged { to, .. } => Some(to.as_str()),
                _ => None,
            }));
        }
    };
    tokio::time::timeout(Duration::from_secs(20), watch).await.unwrap();
    assert_eq!(told, ["Pending", "InService"]);
}

#[tokio::test]
async fn a_dropped_server_lets_go_of_its_address() {
    let server = Server::start(ServerOptions::local(Options::default())).await.unwrap();
    let addr = server.addr;
    drop(server);
    let rebind = async {
        while tokio::net::TcpListener::bind(addr).await.is_err() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), rebind).await.unwrap();
}
