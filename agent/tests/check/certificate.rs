//! Certificates in files: what is right passes, and each broken twin is told for what it is.

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    process::Command,
    thread,
    time::Instant,
};

use portcullis::{check::certificate::Certificate as Wanted, duration::Span};
use rcgen::{DistinguishedName, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519};

use crate::{
    certificate_maker::{authority, chain, in_file, now, server},
    fixture::{AGENT, Fixture, Run, copy_of_agent, fixture, is_root},
};

/// Runs one check.
fn outcome(fixture: Fixture, wanted: Wanted) -> (String, String) {
    fixture.with_certificate(wanted).signed().json().outcome(1)
}

/// One check of a file with that content must pass, or fail and say so.
#[track_caller]
fn judged(content: impl AsRef<[u8]>, change: impl FnOnce(&Fixture, &mut Wanted), told: &str) {
    let fixture = fixture();
    let mut wanted = in_file(fixture.file("site.pem", content));
    change(&fixture, &mut wanted);
    let (status, reason) = outcome(fixture, wanted);
    let expected = if told.is_empty() { "pass" } else { "fail" };
    assert!(status == expected && reason.contains(told), "{told:?} is not {status}: {reason}");
}

#[test]
fn the_whole_of_it() {
    let chain = chain(server(&["shop.example", "*.shop.example", "10.0.0.1"]));
    let other = authority("Other").self_signed();
    let fixture = fixture();
    let wanted = Wanted {
        key: Some(fixture.file("site.key", &chain.server.key)),
        names: Some(["shop.example", "www.shop.example", "*.shop.example", "10.0.0.1"].map(Into::into).to_vec()),
        roots: Some(fixture.file("ca.pem", &chain.root.pem)),
        ..in_file(fixture.file("site.pem", chain.pem()))
    };
    let broken = |change: &dyn Fn(&mut Wanted)| {
        let mut wanted = wanted.clone();
        change(&mut wanted);
        wanted
    };
    let file = |name: &str, content: &str| fixture.file(name, content);
    let (wrong_key, wrong_ca) = (file("other.key", &other.key), file("other.pem", &other.pem));
    let (alone, backwards) =
        (file("alone.pem", &chain.server.pem), file("back.pem", &(chain.middle.pem.clone() + &chain.server.pem)));
    let expired = server(&["shop.example"]).years(2024, 2025).signed_by(&chain.middle);
    let expired = file("expired.pem", &(expired.pem + &chain.middle.pem));
    let client = server(&["shop.example"])
        .with(|params| params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth]);
    let client = file("client.pem", &(client.signed_by(&chain.middle).pem + &chain.middle.pem));
    let twins: Vec<(Wanted, &str)> = vec![
        (broken(&|wanted| wanted.key = Some(wrong_key.clone())), "do not belong together"),
        (broken(&|wanted| wanted.names = Some(vec!["a.www.shop.example".into()])), "covers one label, not 2"),
        (
            broken(&|wanted| wanted.names = Some(vec!["10.0.0.2".into()])),
            "is not for `10.0.0.2`: it is for shop.example",
        ),
        (
            broken(&|wanted| wanted.roots = Some(wrong_ca.clone())),
            "was issued by CN=Root, which is neither in the chain nor a root",
        ),
        (broken(&|wanted| wanted.roots = Some("system".into())), "nor a root that is believed"),
        (broken(&|wanted| wanted.file = Some(alone.clone())), "was issued by CN=Middle, which is neither"),
        (
            broken(&|wanted| wanted.file = Some(backwards.clone())),
            "is out of order: its issuer, certificate 1, must come after it",
        ),
        (
            Wanted { key: None, names: None, ..broken(&|wanted| wanted.file = Some(expired.clone())) },
            "certificate 1 (CN=shop.example) has expired: expected until 2025-01-01T00:00:00Z",
        ),
        (
            Wanted { key: None, names: None, ..broken(&|wanted| wanted.file = Some(client.clone())) },
            "is not for servers (extended key usage)",
        ),
    ];
    let mut all = fixture.with_certificate(wanted.clone());
    for (twin, _) in &twins {
        all = all.with_certificate(twin.clone());
    }
    let run = all.signed().json();
    assert_eq!(run.outcome(1), ("pass".into(), String::new()), "{run:?}");
    for (index, (_, told)) in twins.iter().enumerate() {
        let (status, reason) = run.outcome(index + 2);
        assert!(status == "fail" && reason.contains(told), "{told:?} is not {status}: {reason}");
    }
}

#[test]
fn keys_of_every_kind() {
    let fixture = fixture();
    let directory = fixture.at("");
    let openssl = |arguments: &str| {
        let output = Command::new("openssl").args(arguments.split(' ')).current_dir(&directory).output().unwrap();
        assert!(output.status.success(), "{arguments}: {}", String::from_utf8_lossy(&output.stderr));
    };
    for (name, kind) in [
        ("rsa", "rsa:2048"),
        ("p256", "ec -pkeyopt ec_paramgen_curve:P-256"),
        ("p384", "ec -pkeyopt ec_paramgen_curve:P-384"),
        ("ed", "ed25519"),
    ] {
        openssl(&format!(
            "req -x509 -newkey {kind} -nodes -days 90 -subj /CN={name} -keyout {name}.pk8 -out {name}.pem"
        ));
    }
    openssl("rsa -in rsa.pk8 -traditional -out rsa.trad");
    openssl("ec -in p256.pk8 -out p256.trad");
    openssl("ec -in p384.pk8 -out p384.trad");
    openssl("pkey -in rsa.pk8 -outform DER -out rsa.der");
    openssl("rsa -in rsa.pk8 -aes256 -passout pass:x -traditional -out rsa.enc");
    openssl("pkcs8 -topk8 -in p256.pk8 -passout pass:x -out p256.enc");
    let combined =
        fs::read_to_string(directory.join("ed.pk8")).unwrap() + &fs::read_to_string(directory.join("ed.pem")).unwrap();
    fs::write(directory.join("combined.pem"), combined).unwrap();
    fs::write(directory.join("broken.key"), "-----BEGIN PRIVATE KEY-----\nU0VDUkVU!\n-----END PRIVATE KEY-----\n")
        .unwrap();
    fs::write(directory.join("torn.key"), "-----BEGIN PRIVATE KEY-----SECRET\nU0VDUkVU\n").unwrap();
    let path = |name: &str| directory.join(name).to_str().unwrap().to_string();
    let table = [
        ("rsa.pem", "rsa.pk8", "pass", ""),
        ("rsa.pem", "rsa.trad", "pass", ""),
        ("rsa.pem", "rsa.der", "pass", ""),
        ("p256.pem", "p256.pk8", "pass", ""),
        ("p256.pem", "p256.trad", "pass", ""),
        ("p384.pem", "p384.pk8", "pass", ""),
        ("p384.pem", "p384.trad", "pass", ""),
        ("ed.pem", "ed.pk8", "pass", ""),
        ("combined.pem", "combined.pem", "pass", ""),
        ("rsa.pem", "p256.pk8", "fail", "do not belong together"),
        ("ed.pem", "p384.trad", "fail", "do not belong together"),
        ("rsa.pem", "rsa.enc", "unknown", "is encrypted"),
        ("p256.pem", "p256.enc", "unknown", "is encrypted"),
        ("ed.pem", "broken.key", "fail", "is ill-formed"),
        ("ed.pem", "torn.key", "fail", "is ill-formed"),
        ("ed.pem", "rsa.pem", "fail", "holds no private key"),
        ("ed.pem", "nowhere", "fail", "is missing"),
    ];
    let mut fixture = fixture;
    for (certificate, key, ..) in table {
        fixture = fixture.with_certificate(Wanted { key: Some(path(key)), ..in_file(path(certificate)) });
    }
    let run = fixture.signed().json();
    for (index, (certificate, key, expected, told)) in table.into_iter().enumerate() {
        let (status, reason) = run.outcome(index + 1);
        assert!(status == expected && reason.contains(told), "{certificate} {key}: {status} {reason}");
    }
    assert!(!run.stdout.contains("SECRET") && !run.stdout.contains("U0VDUkVU"), "{run:?}");
}

#[test]
fn margins() {
    for (hours, valid_for, warn_for, expected, told) in [
        (24 * 31, None, None, "pass", ""),
        (24 * 29, None, None, "pass", "warning"),
        (24 * 6 + 12, None, None, "fail", "expires soon: expected 7d left, actual 6d1"),
        (24 * 6, Some(5), None, "pass", "warning"),
        (24 * 40, None, Some(60), "pass", "warning"),
        (-1, Some(0), None, "fail", "has expired"),
    ] {
        let fixture = fixture();
        let made = server(&["shop.example"]).hours_left(hours).self_signed();
        let wanted = Wanted {
            valid_for: valid_for.map(Span::from_days),
            warn_for: warn_for.map(Span::from_days),
            ..in_file(fixture.file("site.pem", made.pem))
        };
        let run = fixture.with_certificate(wanted).signed().json();
        let (status, reason) = run.outcome(1);
        let warned = run.value()["outcomes"][1]["warnings"][0].as_str().map(ToString::to_string);
        assert_eq!(status, expected, "{hours}: {reason}");
        match told {
            "warning" => {
                assert!(warned.unwrap().starts_with("certificate 1 (CN=shop.example) expires soon: "), "{hours}");
            }
            _ => assert!(reason.contains(told) && warned.is_none(), "{hours}: {reason}"),
        }
    }
}

#[test]
fn every_certificate_of_a_chain_is_looked_at() {
    let root = authority("Root").self_signed();
    let middle = authority("Old").years(2024, 2025).signed_by(&root);
    let leaf = server(&["a.example"]).signed_by(&middle);
    judged(leaf.pem.clone() + &middle.pem, |_, _| {}, "certificate 2 (CN=Old) has expired");
    let root_too = chain(server(&["a.example"]));
    let whole = root_too.pem() + &root_too.root.pem;
    judged(&whole, |_, _| {}, "");
    let run = {
        let fixture = fixture();
        let wanted = in_file(fixture.file("site.pem", &whole));
        fixture.with_certificate(wanted).signed().json()
    };
    assert_eq!(
        run.value()["outcomes"][1]["warnings"][0].as_str().unwrap(),
        "certificate 3 (CN=Root) is a root: clients have it or do not believe it, so it need not be there"
    );
}

#[test]
fn order() {
    let one = chain(server(&["a.example"]));
    let other = chain(server(&["b.example"]));
    let (leaf, middle, root) = (&one.server.pem, &one.middle.pem, &one.root.pem);
    for (content, told) in [
        (format!("{leaf}{middle}"), ""),
        (
            format!("{leaf}{root}{middle}"),
            "certificate 2 (CN=Root) is out of order: after certificate 1 comes its issuer, certificate 3",
        ),
        (
            format!("{middle}{leaf}"),
            "certificate 2 (CN=a.example) is out of order: its issuer, certificate 1, must come after it",
        ),
        (format!("{leaf}{middle}{middle}"), "certificate 3 (CN=Middle) is the same as certificate 2"),
        (format!("{leaf}{leaf}{middle}"), "certificate 2 (CN=a.example) is the same as certificate 1"),
        (format!("{leaf}{}", other.middle.pem), "bears the name of the issuer of certificate 1, and did not sign it"),
        (format!("{leaf}{}", other.server.pem), "is unrelated: the issuer of certificate 1 is CN=Middle"),
    ] {
        judged(content, |_, _| {}, told);
    }
}

#[test]
fn trust() {
    for algorithm in [&PKCS_ED25519, &PKCS_ECDSA_P256_SHA256, &PKCS_ECDSA_P384_SHA384] {
        let root = authority("Root").of(algorithm).self_signed();
        let leaf = server(&["a.example"]).of(algorithm).signed_by(&root);
        judged(&leaf.pem, |at, wanted| wanted.roots = Some(at.file("ca.pem", &root.pem)), "");
    }
    let alone = server(&["a.example"]).self_signed();
    judged(&alone.pem, |at, wanted| wanted.roots = Some(at.file("ca.pem", &alone.pem)), "");
    let other = authority("Other").self_signed();
    judged(
        &alone.pem,
        |at, wanted| wanted.roots = Some(at.file("ca.pem", &other.pem)),
        "is self-signed, and not among those",
    );
    let old = authority("Old").years(2020, 2025).self_signed();
    let leaf = server(&["a.example"]).signed_by(&old);
    judged(&leaf.pem, |at, wanted| wanted.roots = Some(at.file("ca.pem", &old.pem)), "the root (CN=Old) has expired");
    // What the dates come to does not hide that nobody believes it.
    let expired = server(&["a.example"]).years(2024, 2025).signed_by(&other);
    judged(&expired.pem, |at, wanted| wanted.roots = Some(at.file("ca.pem", &other.pem)), "has expired");
    judged(
        &expired.pem,
        |at, wanted| wanted.roots = Some(at.file("ca.pem", &alone.pem)),
        "was issued by CN=Other, which is neither",
    );
    let reason = {
        let fixture = fixture();
        let roots = Some(fixture.file("ca.pem", &other.pem));
        let wanted = Wanted { roots, ..in_file(fixture.file("site.pem", &expired.pem)) };
        outcome(fixture, wanted).1
    };
    assert!(!reason.contains(';'), "{reason}");
    let torn = &old.pem[..old.pem.len() / 2];
    judged(&leaf.pem, |at, wanted| wanted.roots = Some(at.file("ca.pem", torn)), "the roots in /");
    judged(&leaf.pem, |at, wanted| wanted.roots = Some(at.file("ca.pem", "")), "is empty");
}

/// A root that was renewed with its key stands beside the old one for a while: whoever looks for one that is good finds it.
#[test]
fn a_renewed_root_beside_the_old_one() {
    let root = authority("Root").self_signed();
    let leaf = server(&["a.example"]).signed_by(&root).pem;
    let old = root.renewed(2020, 2025);
    for (roots, told) in [
        (format!("{old}{}", root.pem), ""),
        (format!("{}{old}", root.pem), ""),
        (old, "the root (CN=Root) has expired: 2025-01-01T00:00:00Z"),
    ] {
        judged(&leaf, |at, wanted| wanted.roots = Some(at.file("ca.pem", roots)), told);
    }
}

/// Well-formed, and clients refuse them all the same.
#[test]
fn too_weak() {
    let fixture = fixture();
    let openssl = |arguments: &str| {
        let mut openssl = Command::new("openssl");
        openssl.args(arguments.split(' ')).current_dir(fixture.at(""));
        assert!(openssl.output().unwrap().status.success(), "{arguments}");
    };
    openssl(
        "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 90 -subj /CN=Root -keyout ca.key -out ca.pem",
    );
    for (name, bits, digest) in
        [("512", 512, "sha256"), ("1024", 1_024, "sha256"), ("2048", 2_048, "sha256"), ("sha1", 2_048, "sha1")]
    {
        openssl(&format!("genrsa -out {name}.key {bits}"));
        openssl(&format!("req -new -key {name}.key -subj /CN={name} -out {name}.csr"));
        let signed = format!("x509 -req -in {name}.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 90");
        openssl(&format!("{signed} -{digest} -out {name}.pem"));
    }
    // A root's own signature says nothing to whoever believes it.
    openssl("req -x509 -key ca.key -sha1 -days 90 -subj /CN=Root -out root-sha1.pem");
    for (name, told) in [
        ("512", "certificate 1 (CN=512) has an RSA key of 512 bits, which clients refuse: it must have 2048"),
        ("1024", "certificate 1 (CN=1024) has an RSA key of 1024 bits"),
        ("2048", ""),
        ("sha1", "certificate 1 (CN=sha1) is signed with SHA-1, which clients refuse"),
        ("root-sha1", ""),
    ] {
        let content = fs::read(fixture.at(&format!("{name}.pem"))).unwrap();
        judged(content, |_, _| {}, told);
    }
}

#[test]
fn names_by_common_name_only() {
    let bare = server(&[]).with(|params| params.distinguished_name.push(rcgen::DnType::CommonName, "shop.example"));
    let names = |_: &Fixture, wanted: &mut Wanted| wanted.names = Some(vec!["shop.example".into()]);
    judged(bare.self_signed().pem, names, "it is the common name only");
}

#[test]
fn things_that_are_no_files() {
    let fixture = fixture();
    let at = |name: &str| fixture.at(name);
    fs::create_dir(at("directory")).unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, at("fifo"), rustix::fs::FileType::Fifo, 0o644.into(), 0).unwrap();
    symlink("live/site.pem", at("dangling")).unwrap();
    symlink("dangling", at("twice")).unwrap();
    symlink("loop", at("loop")).unwrap();
    let good = server(&["a.example"]).self_signed();
    fs::write(at("good"), &good.pem).unwrap();
    fs::write(at("der"), &good.der).unwrap();
    fs::write(at("empty"), "").unwrap();
    fs::write(at("huge"), vec![b'\n'; (16 << 20) + 1]).unwrap();
    symlink("good", at("link")).unwrap();
    let table = [
        ("good", "pass", ""),
        ("link", "pass", ""),
        ("der", "pass", ""),
        ("directory", "fail", "directory is a directory, not a file"),
        ("fifo", "fail", "fifo is a FIFO, not a file"),
        ("dangling", "fail", "/live/site.pem, which is missing"),
        ("twice", "fail", "/live/site.pem, which is missing"),
        ("loop", "fail", "loop is a link that leads back to itself"),
        ("none", "fail", "none is missing"),
        ("good/below", "fail", "is missing"),
        ("empty", "fail", "empty is empty"),
        ("huge", "fail", "huge has more than 16 MiB"),
        ("device", "fail", "/dev/zero is a device, not a file"),
    ];
    let paths = table.map(|(name, ..)| if name == "device" { "/dev/zero".into() } else { at(name) });
    let mut fixture = fixture;
    for path in paths {
        fixture = fixture.with_certificate(in_file(path));
    }
    let started = started();
    let run = fixture.signed().json();
    assert!(started.elapsed().as_secs() < 10, "something waited");
    for (index, (name, expected, told)) in table.into_iter().enumerate() {
        let (status, reason) = run.outcome(index + 1);
        assert!(status == expected && reason.contains(told), "{name}: {status} {reason}");
    }
}

#[test]
fn what_may_not_be_read_could_not_be_told() {
    if !is_root("another user") {
        return;
    }
    let fixture = fixture();
    let (agent, made) = (fixture.at("agent"), server(&["a.example"]).self_signed());
    copy_of_agent(&agent);
    let secret = fixture.file("secret.key", &made.key);
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
    let site = fixture.file("site.pem", &made.pem);
    let keyed = Wanted { key: Some(secret.clone()), ..in_file(&site) };
    let fixture =
        fixture.with_certificate(in_file(&secret)).with_certificate(keyed).with_certificate(in_file(&site)).signed();
    let mut command = Command::new("setpriv");
    command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]).arg(agent);
    let run = Run::of(command.args(fixture.arguments()).arg("--json"));
    let told = format!("{secret} cannot be read: Permission denied (os error 13)");
    for index in [1, 2] {
        assert_eq!(run.outcome(index), ("unknown".into(), told.clone()), "{run:?}");
    }
    assert_eq!(run.outcome(3).0, "pass", "{run:?}");
}

/// The bad one is in the middle, and all others are judged: one of them has expired.
#[test]
fn ten_thousand_in_one_file() {
    let (good, old) = (server(&["a.example"]).self_signed(), server(&["old.example"]).years(2020, 2021).self_signed());
    let bad = good.pem.replacen("MI", "!!", 1);
    let file = format!("{}{bad}{}{}{}", good.pem.repeat(5_000), good.pem.repeat(4_000), old.pem, good.pem.repeat(998));
    let fixture = fixture();
    let wanted = Wanted { collection: true, ..in_file(fixture.file("all.pem", file)) };
    let started = started();
    let (status, reason) = outcome(fixture, wanted);
    let took = started.elapsed();
    assert_eq!(status, "fail");
    assert!(reason.starts_with("certificate 5001 (at byte "), "{reason}");
    assert!(reason.contains("is not base64: `!` at byte "), "{reason}");
    assert!(reason.contains("; certificate 9002 (CN=old.example) has expired: "), "{reason}");
    assert_eq!(reason.matches("; ").count(), 1, "{reason}");
    assert!(took.as_secs() < 8, "{took:?}");
}

/// The largest files there may be, of what takes the most time or memory: each on its own, in 128 MiB.
#[test]
fn the_worst_of_sixteen_mebibytes() {
    let fill = |unit: &[u8]| unit.repeat((16 << 20) / unit.len());
    let names: Vec<(u8, &[u8])> = vec![(0x82, b""); 250_000];
    let tiny = server(&[]).with(|params| params.distinguished_name = DistinguishedName::new()).self_signed();
    let cases = [
        (fill(b"-----BEGIN CERTIFICATE-----\n"), false, "has no `-----END"),
        (fill(&[0x30, 0]), false, "after 100000 certificates nothing more was read"),
        (fill(&tiny.der), false, "certificates are no chain"),
        (fill(tiny.pem.as_bytes()), true, ""),
        (server(&[]).alternative(&names).self_signed().der, false, "has a subjectAltName 1 that is empty"),
    ];
    thread::scope(|scope| {
        for (content, collection, told) in cases {
            scope.spawn(move || in_128_mebibytes(content, collection, told));
        }
    });
}

fn in_128_mebibytes(content: Vec<u8>, collection: bool, told: &str) {
    let fixture = fixture();
    let wanted = Wanted { collection, ..in_file(fixture.file("worst", content)) };
    let mut fixture = fixture.with_certificate(wanted);
    // It is not optimised, and not alone: what grows with the square of the file takes hours.
    fixture.manifest.checks[0].timeout_ms = 60_000;
    let fixture = fixture.signed();
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -d 131072; exec \"$@\"", "sh", AGENT]).args(fixture.arguments()).arg("--json");
    let run = Run::of(&mut command);
    let (status, reason) = run.outcome(1);
    assert!(
        status == if told.is_empty() { "pass" } else { "fail" } && reason.contains(told),
        "{told:?}: {status} {reason}"
    );
}

/// As a chain it is a mess, and that is told in few words and little time too.
#[test]
fn ten_thousand_that_are_no_chain() {
    let good = server(&["a.example"]).self_signed();
    let fixture = fixture();
    let wanted = in_file(fixture.file("all.pem", good.pem.repeat(10_000)));
    let (status, reason) = outcome(fixture, wanted);
    assert_eq!(status, "fail");
    assert!(
        reason.starts_with(
            "10000 certificates are no chain, and their order was not looked at: if they are a collection"
        ),
        "{reason}"
    );
    assert!(!reason.contains(" more"), "of those that were not looked at, nobody knows how many: {reason}");
}

#[test]
fn the_clock_is_not_believed() {
    let mut fixture = fixture();
    let now = now().as_secs();
    let wanted = in_file(fixture.file("site.pem", server(&["a.example"]).self_signed().pem));
    fixture = fixture.with_certificate(wanted);
    for (sequence, status) in [(now, "pass"), (now + 86_400, "unknown")] {
        fixture.manifest.sequence = sequence;
        fixture = fixture.signed();
        let run: Run = fixture.json();
        assert_eq!(run.outcome(1).0, status, "{run:?}");
        if status == "unknown" {
            assert!(run.outcome(1).1.starts_with("clock: it says "), "{run:?}");
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "a test that measures")]
pub(crate) fn started() -> Instant {
    Instant::now()
}
