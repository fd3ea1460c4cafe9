//! Texts and templates: what the manifest keeps of a file, or renders it from, against what is there.

use std::{fs, os::unix::fs::PermissionsExt as _};

use portcullis::{
    manifest::Attributes,
    spec::Texts,
    tree::{self, NoProgress},
};
use serde_json::{Value, json};

use crate::fixture::{Fixture, Run, fixture};

/// The usual tree with `site.conf`, whose text is kept, and more; then, as on another machine, what `site.conf.tmpl` renders to.
fn kept(more: &[(&str, &str)]) -> Fixture {
    let mut fixture = fixture();
    fs::write(fixture.app("site.conf"), "listen 80;\nroot /srv;\n").unwrap();
    for (name, content) in more {
        fs::write(fixture.app(name), content).unwrap();
    }
    let texts = Texts { keep: true, secret: vec![], templates: vec!["*.tmpl".into()] };
    let root = fixture.app("");
    let tree = &mut fixture.manifest.trees[0];
    tree.attributes = Attributes { mode: true, owner: true };
    tree.entries = tree::read_with(tree, &texts, &root, &mut (1 << 20), &NoProgress).unwrap().entries;
    fixture.signed()
}

fn diffs(run: &Run) -> Vec<Value> {
    let differences = run.value()["outcomes"][0]["differences"].as_array().cloned().unwrap_or_default();
    differences.into_iter().map(|difference| difference["diff"].clone()).collect()
}

#[test]
fn a_changed_text_is_shown_as_a_diff() {
    let fixture = kept(&[]);
    assert_eq!(fixture.json().exit, 0);
    fs::write(fixture.app("site.conf"), "listen 80;\nroot /srv/\u{1b}[2Jold;\n\tx\u{202e};\n").unwrap();
    let run = fixture.json();
    let diff = "--- expected\n+++ actual\n@@ -1,2 +1,3 @@\n listen 80;\n-root /srv;\n+root /srv/\u{1b}[2Jold;\n\
                +\tx\u{202e};\n";
    assert_eq!((run.exit, diffs(&run)), (1, vec![json!(diff)]));
    assert!(!run.stdout.contains('\u{1b}'), "escaped in JSON");
    let text = fixture.run(&[]).stdout;
    let shown = "             -root /srv;\n             +root /srv/\\u{1b}[2Jold;\n             +\tx\\u{202e};\n";
    assert!(text.contains(shown), "{text}");
    // Of the same size: hashed, and then read once more.
    fs::write(fixture.app("site.conf"), "listen 81;\nroot /srv;\n").unwrap();
    let run = fixture.json();
    assert!(run.value()["outcomes"][0]["differences"][0]["actual"].as_str().unwrap().starts_with("sha256:"));
    assert_eq!(
        diffs(&run),
        [json!("--- expected\n+++ actual\n@@ -1,2 +1,2 @@\n-listen 80;\n+listen 81;\n root /srv;\n")]
    );
}

#[test]
fn what_is_there_may_be_no_text_or_a_secret() {
    let fixture = kept(&[]);
    let secret = "-----BEGIN PRIVATE KEY-----\nMIGHAgEA\n";
    for (content, shown) in [
        (secret.as_bytes(), json!("not shown: it looks like a private key")),
        (b"\xff\xfe", json!("not shown: it is not text")),
        (&[b'x'; (64 << 10) + 1], json!("not shown: it has more than 65536 bytes")),
    ] {
        fs::write(fixture.app("site.conf"), content).unwrap();
        let run = fixture.json();
        assert_eq!((run.exit, diffs(&run)), (1, vec![shown]));
        assert!(!run.stdout.contains("MIGHAgEA") && !fixture.run(&[]).stdout.contains("MIGHAgEA"));
    }
    // What has no text in the manifest has no diff.
    let bare = super::fixture::fixture();
    fs::write(bare.app("b"), "c").unwrap();
    assert_eq!(diffs(&bare.json()), [Value::Null]);
}

#[test]
fn diffs_are_bounded_and_differences_are_not_lost() {
    let files: Vec<_> = (0..60).map(|n| (format!("t{n:02}"), "old\n".repeat(100))).collect();
    let files: Vec<_> = files.iter().map(|(name, text)| (&**name, &**text)).collect();
    let fixture = kept(&files);
    for (name, _) in &files {
        fs::write(fixture.app(name), format!("{name}\n").repeat(5_000)).unwrap();
    }
    let run = fixture.json();
    assert_eq!((run.exit, run.differences().len()), (1, 60));
    let diffs: Vec<_> = diffs(&run).iter().filter_map(|diff| Some(diff.as_str()?.len())).collect();
    assert!(diffs.iter().all(|&bytes| bytes <= 4 << 10), "{diffs:?}");
    assert!((10..=17).contains(&diffs.len()), "some 64 KiB in all: {diffs:?}");
}

#[test]
fn a_template_is_rendered_with_this_instances_facts() {
    let fixture = kept(&[("vhost.tmpl", "server_name {{ hostname }};\nid {{ instance }};\n")]);
    fs::set_permissions(fixture.app("vhost.tmpl"), fs::Permissions::from_mode(0o644)).unwrap();
    let hostname = fs::read_to_string("/proc/sys/kernel/hostname").unwrap().trim().to_string();
    fs::write(fixture.app("vhost"), format!("server_name {hostname};\nid i-1;\n")).unwrap();
    let fact = |value: &str| fixture.run(&["--json", "--fact", &format!("instance={value}"), "--fact", "unused=x"]);
    let run = fact("i-1");
    assert_eq!(run.exit, 0, "{run:?}");
    assert_eq!(run.value()["facts"], json!({"hostname": hostname, "instance": "i-1"}), "those that are used");
    let run = fact("i-2");
    assert_eq!(run.exit, 1);
    let diff = format!("--- expected\n+++ actual\n@@ -1,2 +1,2 @@\n server_name {hostname};\n-id i-2;\n+id i-1;\n");
    assert_eq!(diffs(&run), [json!(diff)]);
    // What is given comes before what the machine says.
    let run = fixture.run(&["--json", "--fact", "instance=i-1", "--fact", "hostname=another"]);
    assert_eq!((run.exit, &run.value()["facts"]["hostname"]), (1, &json!("another")));
    // Mode and owner are those of the template.
    fs::set_permissions(fixture.app("vhost"), fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(fact("i-1").differences(), ["vhost mode 0644 0600"]);
    fs::remove_file(fixture.app("vhost")).unwrap();
    assert_eq!(fact("i-1").differences(), ["vhost missing file -"]);
}

/// Replacing values in the actual file instead would let this pass.
#[test]
fn a_placeholder_in_the_actual_file_does_not_pass() {
    let fixture = kept(&[("vhost.tmpl", "id {{ instance }};\n")]);
    fs::write(fixture.app("vhost"), "id {{ instance }};\n").unwrap();
    let run = fixture.run(&["--json", "--fact", "instance=i-1"]);
    assert_eq!(run.exit, 1);
    assert!(diffs(&run)[0].as_str().unwrap().ends_with("\n-id i-1;\n+id {{ instance }};\n"));
}

#[test]
fn an_unknown_fact_is_unknown_and_nothing_else_suffers() {
    let fixture = kept(&[("m.tmpl", "{{ zone }}"), ("z.tmpl", "{{ instance }}")]);
    fs::write(fixture.app("m"), "b").unwrap();
    fs::write(fixture.app("z"), "i-1").unwrap();
    let run = fixture.run(&["--json", "--fact", "instance=i-1"]);
    assert_eq!((run.exit, run.differences()), (2, vec!["m unreadable - the fact `zone` is not known here".into()]));
    assert_eq!(run.outcome(0), ("unknown".into(), "1 of 9 entries could not be told".into()));
    fs::write(fixture.app("z"), "i-2").unwrap();
    assert_eq!(fixture.run(&["--fact", "instance=i-1"]).exit, 1, "what is certain wins");
    assert_eq!(fixture.run(&["--fact", "instance=i-2", "--fact", "zone=b"]).exit, 0);
}

/// An image is checked for the instance that it will be: this machine's name and addresses are not its own.
#[test]
fn an_image_is_rendered_with_given_facts_only() {
    let fixture = kept(&[("vhost.tmpl", "{{ hostname }} {{ ipv4 }} {{ ipv6 }}")]);
    let image = fixture.at("image");
    let root = image.join(fixture.app("").strip_prefix("/").unwrap());
    fs::create_dir_all(root.parent().unwrap()).unwrap();
    fs::rename(fixture.app(""), &root).unwrap();
    fs::write(root.join("vhost"), "web-1 10.0.0.1 fd00::1").unwrap();
    let check = |more: &[&str]| fixture.run(&[&["--json", "--root", image.to_str().unwrap()], more].concat());
    let run = check(&[]);
    assert_eq!(run.differences(), ["vhost unreadable - the fact `hostname` is not known here"]);
    assert_eq!((run.exit, &run.value()["facts"]), (2, &Value::Null));
    let run = check(&["--fact", "hostname=web-1", "--fact", "ipv4=10.0.0.1", "--fact", "ipv6=fd00::1"]);
    assert_eq!(run.exit, 0, "{run:?}");
}

#[test]
fn facts_that_are_none() {
    let fixture = kept(&[]);
    for (facts, reason) in [
        (&["zone"][..], "`--fact zone`: not NAME=VALUE"),
        (&["Zone=b"], "`--fact Zone=b`: a fact's name has"),
        (&["zone="], "`--fact zone=`: a fact's value is"),
        (&["zone=a\nb"], "a fact's value is one line"),
        (&["zone=a", "zone=b"], "`--fact zone=b`: the fact is given twice"),
    ] {
        let arguments: Vec<_> = facts.iter().flat_map(|fact| ["--fact", *fact]).collect();
        let run = fixture.run(&arguments);
        assert_eq!((run.exit, run.stdout.as_str()), (2, ""), "{facts:?}");
        assert!(run.stderr.contains(reason), "{}", run.stderr);
    }
}
