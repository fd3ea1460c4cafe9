use portcullis::signature::SigningKey;

use super::*;

const GATED: &str = r#"
    trust = ["release.key.pub"]
    [controller]
    url = "https://portcullis.internal:7420"
    join_token_file = "token"
    [identity]
    source = "static"
    instance = "i-1"
"#;

const ALONE: &str = "trust = [\"release.key.pub\"]\n[checks]\nmanifest = \"manifest.json\"\n";

fn read(text: &str) -> Result<Config, ConfigError> {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("release.key.pub"), SigningKey::generate(&[1; 32]).public().to_pem()).unwrap();
    std::fs::write(dir.path().join("agent.toml"), text).unwrap();
    Config::read(&dir.path().join("agent.toml"))
}

#[test]
fn defaults() {
    let config = read(GATED).unwrap();
    assert_eq!(config.listen, SocketAddr::from(([0, 0, 0, 0], 7410)));
    assert_eq!(config.intervals, Intervals { waiting: Duration::from_secs(5), serving: Duration::from_secs(60) });
    assert!(!config.public_details);
    assert!(
        matches!(config.source, Source::Controller(controller) if controller.url.as_str() == "https://portcullis.internal:7420/")
    );
    assert!(
        matches!(read(ALONE).unwrap().source, Source::File(path, WithoutController::Observe) if path.ends_with("manifest.json"))
    );
}

#[test]
fn what_is_remembered_and_how_fast_is_read() {
    let config = read(ALONE).unwrap();
    assert_eq!((config.rehash_after, config.checks.read_bytes_per_s), (Some(Duration::from_secs(3_600)), None));
    assert_eq!(config.checks.tree_timeout, checks::TREE_TIMEOUT);
    assert_eq!(read(&format!("{ALONE}cache = false")).unwrap().rehash_after, None);
    let capped = read(&format!("{ALONE}read_mib_per_s = 25")).unwrap().checks;
    assert_eq!((capped.read_bytes_per_s, capped.tree_timeout), (Some(25 << 20), checks::CAPPED_TREE_TIMEOUT));
}

#[test]
fn the_example_is_valid() {
    let example = include_str!("../../../deploy/agent.toml");
    read(&example.replace("/etc/portcullis/release.key.pub", "release.key.pub")).unwrap();
}

#[test]
fn refusals() {
    let imds = GATED.replace("\"static\"", "\"imds\"").replace("instance = \"i-1\"", "");
    let no_token = imds.replace("join_token_file = \"token\"", "");
    for (text, named) in [
        (GATED.replace("https://", "http://"), "loopback"),
        (GATED.replace("https://", "ftp://"), "`ftp` is not `https`"),
        (GATED.replace("https://", "https://u:p@"), "only scheme"),
        (GATED.replace("instance = \"i-1\"", ""), "identity.instance"),
        (GATED.replace("i-1", "i 1"), "white space"),
        (GATED.replace("join_token_file = \"token\"", ""), "join_token_file"),
        (GATED.replace("source", "sauce"), "unknown field `sauce`"),
        (format!("{GATED}\n[checks]\nmanifest = \"m\""), "checks.manifest"),
        (format!("threshold = 2\n{GATED}"), "threshold 2"),
        (GATED.replace("[\"release.key.pub\"]", "[]"), "trust"),
        (GATED.replace("release.key.pub", "other.pub"), "other.pub"),
        (format!("{GATED}\n[intervals]\nwaiting_s = 0"), "waiting_s"),
        (format!("{GATED}\n[drift]\nwithout_controller = \"unready\""), "drift.without_controller"),
        (format!("{ALONE}\n[drift]\nwithout_controller = \"panic\""), "unknown variant `panic`"),
        (format!("{ALONE}rehash_after_s = 0"), "rehash_after_s"),
        (format!("{ALONE}read_mib_per_s = 0"), "read_mib_per_s"),
        (no_token.clone(), "allow_unverified_identity"),
        (format!("{imds}\nimds_url = \"http://metadata.example\""), "imds_url"),
        ("trust = [\"release.key.pub\"]".into(), "controller"),
        (format!("{GATED}\n[facts]\ninstance = \"i-2\""), "`facts`: `instance`: with a `[controller]`"),
        (format!("{GATED}\n[facts]\nZone = \"b\""), "`facts`: `Zone`: a fact's name has lower-case letters"),
        (format!("{GATED}\n[facts]\nzone = \"\""), "`facts`: `zone`: a fact's value is one line"),
        (format!("{GATED}\n[facts]\nzone = \"a\\nb\""), "`facts`: `zone`: a fact's value is one line"),
        (format!("{GATED}\n[facts]\nshare = 0.5"), "`facts`: `share`: it is of type float"),
        (format!("{GATED}\n[facts]\nzones = [\"a\"]"), "`facts`: `zones`: it is of type array"),
    ] {
        let error = read(&text).unwrap_err().to_string();
        assert!(error.contains(named), "{named}: {error}");
        assert!(error.contains("/agent.toml`: ") || error.contains("/other.pub`: "), "which file: {error}");
    }
    read(&imds).unwrap();
    read(&format!("{no_token}\nallow_unverified_identity = true")).unwrap();
}

#[test]
fn facts_are_words_numbers_and_truths() {
    let facts = "[facts]\ninstance = \"web-1\"\nzone = \"eu west\"\nport = -8080\ncanary = true\n";
    let facts = read(&format!("{ALONE}{facts}")).unwrap().checks.facts.into_values();
    let told: Vec<_> = facts.iter().map(|(name, value)| (&**name, &**value)).collect();
    assert_eq!(told, [("canary", "true"), ("instance", "web-1"), ("port", "-8080"), ("zone", "eu west")]);
}

#[test]
fn plain_http_reaches_loopback_only() {
    for (url, allowed) in [
        ("http://127.0.0.1:1", true),
        ("http://[::1]:1", true),
        ("http://localhost:1", true),
        ("http://10.0.0.1:1", false),
        ("http://localhost.example:1", false),
        ("https://10.0.0.1:1", true),
    ] {
        assert_eq!(source::controller_url(url).is_ok(), allowed, "{url}");
    }
}
