//! Windows and order, with services that come, go and hang.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener},
    process::Command,
    thread,
    time::Duration,
};

use crate::{
    fixture::{Running, fixture},
    ports::free_port,
};

/// Listens there after a while, for a while, again and again if `times` says so.
fn comes(port: u16, after_ms: u64, for_ms: u64, times: usize) -> thread::JoinHandle<()> {
    thread::spawn(move || {
        for _ in 0..times {
            thread::sleep(Duration::from_millis(after_ms));
            let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
            thread::sleep(Duration::from_millis(for_ms));
            drop(listener);
        }
    })
}

fn listen(port: u16, window: &str) -> String {
    format!("listen = {{ address = \"127.0.0.1:{port}\" }}\n{window}")
}

#[test]
fn true_in_time() {
    let port = free_port();
    let fixture = fixture().with_check(&listen(port, "within = \"20s\""));
    let service = comes(port, 2_000, 20_000, 1);
    let run = fixture.json();
    assert_eq!(run.outcome(1), ("pass".into(), String::new()));
    let took_ms = run.value()["took_ms"].as_u64().unwrap();
    assert!((1_500..15_000).contains(&took_ms), "{took_ms} ms");
    drop(service);
}

#[test]
fn never_true() {
    let run = fixture().with_check(&listen(free_port(), "within = \"2s\"")).json();
    assert_eq!((run.exit, run.outcome(1).0.as_str()), (1, "fail"));
    assert!(run.outcome(1).1.ends_with("actual nothing listens on that port"), "{run:?}");
    assert!(run.value()["took_ms"].as_u64().unwrap() >= 2_000);
}

#[test]
fn true_for_long_enough() {
    let _service = Running::of(Command::new("sleep").arg("1000"));
    let sleep = "process = { executable = \"/bin/sleep\", arguments_contain = \"sleep 1000\" }\nfor = \"3s\"";
    let run = fixture().with_check(sleep).json();
    assert_eq!(run.outcome(1).0, "pass", "{run:?}");
    assert!(run.value()["took_ms"].as_u64().unwrap() >= 3_000);
}

/// Up for half of the time, down for the other: one look in two finds it.
#[test]
fn a_crash_loop_never_settles() {
    let port = free_port();
    let _service = comes(port, 600, 900, 20);
    let run = fixture().with_check(&listen(port, "within = \"6s\"\nfor = \"4s\"")).json();
    assert_ne!((run.exit, run.outcome(1).0.as_str()), (0, "pass"), "{run:?}");
}

/// What comes after something that did not pass is not run; what comes after that neither.
#[test]
fn one_after_the_other() {
    let (listener, closed) = (TcpListener::bind("127.0.0.1:0").unwrap(), free_port());
    let open = listener.local_addr().unwrap().port();
    let after = |name: &str, after: &str| {
        format!("[[check]]\nname = \"{name}\"\ntcp = {{ connect = \"127.0.0.1:{open}\" }}\nafter = [{after}]\n")
    };
    let spec = [
        format!("[[check]]\nname = \"down\"\ntcp = {{ connect = \"127.0.0.1:{closed}\" }}\n"),
        after("waits", "\"down\""),
        after("waits longer", "\"waits\""),
        format!("[[check]]\nname = \"up\"\ntcp = {{ connect = \"127.0.0.1:{open}\" }}\n"),
        after("follows", "\"up\""),
    ];
    let run = fixture().with_spec(&spec.concat()).json();
    assert_eq!(run.outcome(1).0, "fail");
    assert_eq!(run.outcome(2), ("unknown".into(), "not run: `down` did not pass".into()));
    assert_eq!(run.outcome(3), ("unknown".into(), "not run: `waits` did not pass".into()));
    assert_eq!((run.outcome(4).0.as_str(), run.outcome(5).0.as_str()), ("pass", "pass"));
}

/// One that accepts and says nothing, one that says a little now and then, and one that never accepts: each is unknown at its own
/// deadline, and nobody waits for them longer than that.
#[test]
fn what_hangs_delays_nothing_else() {
    let silent = hangs(false);
    let slow = hangs(true);
    let open = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut spec = format!(
        "[[check]]\nname = \"silent\"\nhttp = {{ url = \"http://{silent}/\" }}\ntimeout = \"2s\"\n\
         [[check]]\nname = \"slow\"\nhttp = {{ url = \"http://{slow}/\", body_contains = \"b\" }}\ntimeout = \"2s\"\n\
         [[check]]\nname = \"mute\"\ntcp = {{ connect = \"{silent}\", expect = \"220\" }}\ntimeout = \"2s\"\n"
    );
    for number in 0..20 {
        let address = open.local_addr().unwrap();
        spec.push_str(&format!(
            "[[check]]\nname = \"good {number}\"\ntcp = {{ connect = \"{address}\" }}\ntimeout = \"2s\"\n"
        ));
    }
    let run = fixture().with_spec(&spec).json();
    for (index, words) in
        [(1, "no whole answer within 2000 ms"), (2, "no whole answer within 2000 ms"), (3, "nothing within 2000 ms")]
    {
        let (status, reason) = run.outcome(index);
        assert!(status == "unknown" && reason.contains(words), "{index}: {status}: {reason}");
    }
    for index in 4..24 {
        assert_eq!(run.outcome(index).0, "pass");
        let took_ms = run.value()["outcomes"][index]["took_ms"].as_u64().unwrap();
        assert!(took_ms < 1_500, "{took_ms} ms");
    }
    assert!(run.value()["took_ms"].as_u64().unwrap() < 6_000, "they hang at the same time");
}

/// Accepts everything; says nothing, or one byte of a body now and then.
fn hangs(drips: bool) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        let mut kept = Vec::new();
        for mut stream in listener.incoming().flatten() {
            if drips {
                thread::spawn(move || {
                    let _ = stream.read(&mut [0; 4_096]);
                    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n");
                    while stream.write_all(b"a").is_ok() {
                        thread::sleep(Duration::from_millis(100));
                    }
                });
            } else {
                kept.push(stream);
            }
        }
    });
    address
}
