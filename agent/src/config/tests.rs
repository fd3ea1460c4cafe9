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
    assert!(matches!(read(ALONE).unwrap().source, Source::File(path) if path.ends_with("manifest.json")));
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
        (no_token.clone(), "allow_unverified_identity"),
        (format!("{imds}\nimds_url = \"http://metadata.example\""), "imds_url"),
        ("trust = [\"release.key.pub\"]".into(), "controller"),
    ] {
        let error = read(&text).unwrap_err().to_string();
        assert!(error.contains(named), "{named}: {error}");
    }
    read(&imds).unwrap();
    read(&format!("{no_token}\nallow_unverified_identity = true")).unwrap();
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
