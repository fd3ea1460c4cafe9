use std::{path::Path, time::Duration};

use portcullis::{
    policy::{Mode, OnDrift, SurvivorsGuard},
    signature::SigningKey,
};

use super::*;

const WHOLE: &str = r#"
audience = "gate.example"
store = "store.redb"
[agents]
listen = "127.0.0.1:0"
[operators]
tokens = [{ name = "ana", sha256 = "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae" }]
[trust]
keys = ["release.key.pub"]
[groups.web]
mode = "enforce"
admission_deadline = "10m"
sequence_min = 5
[limits]
describe_every = "2s"
"#;

fn read(text: &str) -> Result<Config, String> {
    let dir = tempfile::tempdir().unwrap();
    let key = SigningKey::generate(&[1; 32]).public().to_pem();
    std::fs::write(dir.path().join("release.key.pub"), key).unwrap();
    std::fs::write(dir.path().join("short"), "hunter2\n").unwrap();
    std::fs::write(dir.path().join("controller.toml"), text).unwrap();
    Config::read(&dir.path().join("controller.toml")).map_err(|error| error.to_string())
}

#[test]
fn what_is_not_written_has_its_default() {
    let config = read(WHOLE).unwrap();
    let web = &config.policy.groups[&GroupName::from("web")];
    assert_eq!((web.mode, web.hook.as_str()), (Mode::Enforce, "portcullis"));
    assert_eq!(
        (web.admission_deadline, web.abandon_interval_min),
        (Duration::from_secs(600), Duration::from_secs(300))
    );
    assert_eq!((web.survivors_guard, web.ready_min(10)), (SurvivorsGuard::WhileImpaired, 5));
    assert_eq!(config.policy.limits.describe_every, Duration::from_secs(2));
    assert_eq!(config.policy.limits.report_age_max, Duration::from_secs(30));
    assert_eq!(config.operators.listen.to_string(), "127.0.0.1:7421");
    assert_eq!(config.pins[&GroupName::from("web")].sequence_min, Some(5));
    assert!(!config.allow_unverified_identity);
}

#[test]
fn refusals_name_file_and_key() {
    for (from, to, named) in [
        ("audience = \"gate.example\"", "audience = \" \"", "audience"),
        ("store =", "stoer =", "stoer"),
        ("127.0.0.1:0", "0.0.0.0:7420", "agents.listen"),
        ("sha256 =", "nonsense =", "nonsense"),
        ("sha256 = \"2c26", "sha256 = \"zz26", "operators.tokens"),
        ("sha256 = \"2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae\"", "file = \"short\"", "ana"),
        ("release.key.pub", "absent.pub", "absent.pub"),
        ("[\"release.key.pub\"]", "[\"release.key.pub\"]\nthreshold = 2", "trust"),
        (
            "listen = \"127.0.0.1:0\"",
            "listen = \"127.0.0.1:0\"\nrequests_per_minute_max = 0",
            "agents.requests_per_minute_max",
        ),
        ("mode = \"enforce\"", "mode = \"perhaps\"", "mode"),
        ("\"10m\"", "\"0s\"", "groups.web"),
        ("sequence_min = 5", "on_drift = \"deregister\"", "groups.web.on_drift"),
        ("sequence_min = 5", "on_drift = \"eject\"", "on_drift"),
        ("sequence_min = 5", "on_bypass = \"deregister\"", "on_bypass"),
        ("sequence_min = 5", "unavailable_max_percent = 101", "unavailable_max_percent"),
        ("sequence_min = 5", "common_cause_min = 1", "groups.web"),
        ("sequence_min = 5", "common_cause_percent = 101", "groups.web"),
        ("sequence_min = 5", "common_cause_window = \"0s\"", "groups.web"),
        ("mode = \"enforce\"", "survivors_guard = \"perhaps\"", "survivors_guard"),
        ("mode = \"enforce\"", "ready_min = 0", "ready_min"),
        ("\"2s\"", "\"0s\"", "limits.describe_every"),
        ("\"2s\"", "\"2\"", "describe_every"),
    ] {
        assert!(WHOLE.contains(from), "{from}");
        let error = read(&WHOLE.replace(from, to)).expect_err(to);
        assert!(error.contains(named), "{to}: {error}");
        assert!(error.contains("/controller.toml`: ") || error.contains("/absent.pub`: "), "which file: {error}");
    }
}

const BALANCED: &str = "[[haproxy]]\nsocket = \"/run/haproxy/admin.sock\"\n[[haproxy]]\nsocket = \"127.0.0.1:9999\"\n";

/// The same behind two balancers.
fn balanced(group: &str) -> String {
    WHOLE
        .replace("[groups.web]\n", &format!("{BALANCED}[groups.web]\n{group}"))
        .replace("describe_every = \"2s\"\n", "")
}

#[test]
fn balancers_instead_of_a_cloud() {
    let config = read(&balanced("")).unwrap();
    let Holder::Haproxy(haproxy) = &config.holder else { panic!("{:?}", config.holder) };
    let sockets: Vec<_> = haproxy.sockets.iter().map(ToString::to_string).collect();
    assert_eq!(sockets, ["/run/haproxy/admin.sock", "127.0.0.1:9999"]);
    assert_eq!(haproxy.pools[&"web".into()].backends, ["web"]);
    assert_eq!(config.policy.limits.describe_every, Duration::from_secs(1));
    let told = read(
        &balanced("backends = [\"http\", \"https\"]\nwanted = 3\n")
            .replace("[limits]", "[limits]\ndescribe_every = \"9s\""),
    );
    let config = told.unwrap();
    let Holder::Haproxy(haproxy) = &config.holder else { panic!("{:?}", config.holder) };
    assert_eq!((haproxy.pools[&"web".into()].backends.len(), haproxy.pools[&"web".into()].wanted), (2, Some(3)));
    assert_eq!(config.policy.limits.describe_every, Duration::from_secs(9));
}

#[test]
fn what_balancers_do_not_have_is_refused() {
    for (text, named) in [
        (balanced("hook = \"ours\"\n"), "groups.web.hook`: is of launches"),
        (balanced("breaker_failures = 3\n"), "groups.web.breaker_failures`: is of launches"),
        (balanced("abandon_interval_min = \"5m\"\n"), "groups.web.abandon_interval_min`: is of launches"),
        (balanced("on_bypass = \"replace\"\n"), "groups.web.on_bypass`: is of launches"),
        (balanced("backends = []\n"), "groups.web.backends`: must name"),
        (balanced("backends = [\"a b\"]\n"), "groups.web.backends`: must name"),
        (balanced("backends = [\"a\"]\n[groups.db]\nbackends = [\"b\", \"a\"]\n"), "`a` is there twice"),
        (balanced("").replace("127.0.0.1:9999", "10.0.0.5:9999"), "`haproxy.socket`: 10.0.0.5:9999 is not a loopback"),
        (balanced("").replace("127.0.0.1:9999", "admin"), "`haproxy.socket`: must be a path"),
        (balanced("").replace("127.0.0.1:9999", "/run/haproxy/admin.sock"), "admin.sock is there twice"),
        (balanced("").replace("[trust]", "[aws]\nregion = \"x\"\n[trust]"), "`aws`: one controller has either"),
        (WHOLE.replace("[groups.web]\n", "[groups.web]\nbackends = [\"a\"]\n"), "groups.web.backends`: is of servers"),
        (WHOLE.replace("[groups.web]\n", "[groups.web]\nwanted = 3\n"), "groups.web.wanted`: is of servers"),
    ] {
        let error = read(&text).expect_err(named);
        assert!(error.contains(named), "{named}: {error}");
    }
}

#[test]
fn urls_of_the_cloud_lead_somewhere() {
    let of = |key: &str, url: &str| read(&WHOLE.replace("[trust]", &format!("[aws]\n{key} = \"{url}\"\n[trust]")));
    for key in ["endpoint_url", "lifecycle_queue_url"] {
        for url in ["https://autoscaling.eu-west-1.amazonaws.com", "http://127.0.0.1:4580", "https://[::1]:1/a/b"] {
            of(key, url).unwrap_or_else(|error| panic!("{url}: {error}"));
        }
        for url in
            ["", "nonsense", "127.0.0.1:4580", "localhost:4580", "ftp://a", "https://", "http://a:b", "unix:/run/a"]
        {
            let error = of(key, url).expect_err(url);
            assert!(error.contains(&format!("/controller.toml`: `aws.{key}`: must be a URL")), "{url}: {error}");
        }
    }
}

#[test]
fn what_is_done_about_drift() {
    let of = |lines: &str| {
        let config = read(&WHOLE.replace("sequence_min = 5", lines)).unwrap();
        config.policy.groups[&GroupName::from("web")].clone()
    };
    assert_eq!((of("").on_drift, of("").ready_min(10), of("").unavailable_max(10)), (OnDrift::Observe, 5, 1));
    let group = of(
        "on_drift = \"replace\"\nready_min = 8\nunavailable_max_percent = 20\nwithdraw_after = \"1s\"\nreturn_after = \"2s\"",
    );
    assert_eq!((group.on_drift, group.ready_min(10), group.unavailable_max(10)), (OnDrift::Replace, 8, 2));
    assert_eq!((group.withdraw_after, group.return_after), (Duration::from_secs(1), Duration::from_secs(2)));
    assert_eq!((of("").on_bypass, of("on_bypass = \"standby\"").on_bypass), (OnDrift::Observe, OnDrift::Standby));
    assert!(of("").abandon_outdated && !of("abandon_outdated = false").abandon_outdated);
    let group = of("common_cause_min = 3\ncommon_cause_percent = 30\ncommon_cause_window = \"1m\"");
    assert_eq!((group.common_cause_min, group.common_cause_percent), (3, 30));
    assert_eq!(group.common_cause_window, Duration::from_secs(60));
}

#[test]
fn the_example_that_is_shipped_has_only_keys_that_exist() {
    let text =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/controller.toml")).unwrap();
    let written: Written = toml::from_str(&text).unwrap();
    assert!(!written.groups.is_empty());
}

#[test]
fn what_to_do_about_a_mistake_is_told() {
    let told = |text: &str| {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("controller.toml");
        std::fs::write(&path, text).unwrap();
        let error = Config::read(&path).unwrap_err();
        (error.to_string(), error.hint().unwrap_or_default())
    };
    let (error, hint) = told("audience = \"gate\"\nsurprise = 1\n");
    assert!(error.contains("at line 2, column 1\n") && error.contains("\n2 | surprise = 1\n"), "{error}");
    assert!(hint.contains("`portcullis-controller check-config`"), "{hint}");
}
