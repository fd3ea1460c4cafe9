//! Who it is, from an instance metadata service, version 2.

use std::{
    io::Write as _,
    net::{SocketAddr, TcpListener},
    thread,
};

use portcullis::api::Identity;

use super::{
    controller::{Controller, Request, reply},
    fixture::Machine,
};

/// Answers only who has asked for a session token first.
fn metadata_service() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let Some(request) = Request::read(&mut stream) else { continue };
            let has_token = request.headers.contains("x-aws-ec2-metadata-token: session\r\n");
            let wants_token = request.headers.contains("x-aws-ec2-metadata-token-ttl-seconds: 60\r\n");
            let answer = match (request.method.as_str(), request.path.as_str()) {
                ("PUT", "/latest/api/token") if wants_token => reply(200, b"session"),
                ("GET", _) if !has_token => reply(401, b""),
                ("GET", "/latest/meta-data/instance-id") => reply(200, b"i-imds"),
                ("GET", "/latest/dynamic/instance-identity/document") => reply(200, b"{\"instanceId\": \"i-imds\"}\n"),
                ("GET", "/latest/dynamic/instance-identity/rsa2048") => reply(200, b"MIAG\nCSqG"),
                _ => reply(404, b""),
            };
            let _ = stream.write_all(&answer);
        }
    });
    address
}

fn configured(machine: &Machine, controller: &Controller, imds: SocketAddr, allowed: bool) {
    machine.configured(&format!(
        "[controller]\nurl = \"http://{}\"\n[identity]\nsource = \"imds\"\nimds_url = \"http://{imds}\"\n\
         allow_unverified_identity = {allowed}\n",
        controller.address
    ));
}

#[test]
fn the_document_is_shown_byte_for_byte_and_its_weakness_told() {
    let (machine, controller) = (Machine::new(), Controller::start());
    controller.promotes(&machine.release("one", &[]));
    controller.says("admitted");
    let document = "{\"instanceId\": \"i-imds\"}\n".to_string();
    controller.script().evidence = Some(Identity::AwsIid { document, rsa2048: "MIAG\nCSqG".into() });
    configured(&machine, &controller, metadata_service(), true);
    let agent = machine.start();
    agent.until_ready();
    assert_eq!(controller.script().reports[0].instance.as_str(), "i-imds");
    assert!(agent.get("/readyz?verbose").1.contains("warning: `allow_unverified_identity` is set"));
    assert!(agent.get("/metrics").1.contains("portcullis_agent_warnings 1\n"));
    assert!(agent.log().contains("WARN `allow_unverified_identity` is set"));
    assert!(!agent.log().contains("MIAG") && !agent.log().contains("instanceId"));
}

#[test]
fn not_without_being_told_to() {
    let (machine, controller) = (Machine::new(), Controller::start());
    configured(&machine, &controller, "127.0.0.1:9".parse().unwrap(), false);
    let output = machine.fails_to_start();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8(output.stderr).unwrap().contains("identity.allow_unverified_identity"));
}

#[test]
fn a_service_that_is_not_there_yet_is_asked_again() {
    let (machine, controller) = (Machine::new(), Controller::start());
    configured(&machine, &controller, "127.0.0.1:9".parse().unwrap(), true);
    let agent = machine.start();
    agent.until_readyz_says("the metadata service at http://127.0.0.1:9/");
    assert!(agent.is_alive());
}
