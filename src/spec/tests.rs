//! Specs that are taken, and those that are not.

use alloc::string::ToString as _;

use super::*;
use crate::manifest::{CheckKind, Extras, Scope};

const EXAMPLE: &str = r#"
[[tree]]
name   = "app"
root   = "/var/www/app"
extras = "refuse"
ignore = ["storage/logs/**", "*.pid"]

[[tree]]
name  = "nginx"
root  = "/etc/nginx"
attributes = ["mode", "owner"]
text  = true

[[check]]
name = "nginx parses"
command = ["nginx", "-t"]
timeout = "10s"
"#;

#[test]
fn the_example_and_its_defaults() {
    let spec = Spec::parse(EXAMPLE).unwrap();
    assert_eq!(spec.product, "default");
    assert_eq!(spec.trees.len(), 2);
    assert_eq!((spec.trees[0].extras, spec.trees[0].root_link), (Extras::Refuse, false));
    assert!(!spec.trees[0].attributes.mode && spec.trees[1].attributes.mode && spec.trees[1].attributes.owner);
    let [check] = &spec.checks[..] else { panic!("one check") };
    assert_eq!((check.timeout_ms, check.scope), (10_000, Scope::Both));
    assert_eq!(
        check.kind,
        CheckKind::Command(crate::check::Command { argv: alloc::vec!["nginx".into(), "-t".into()] })
    );
    assert!(!spec.texts[0].keep && spec.texts[1].keep);
    assert!(spec.warnings.is_empty());
}

#[test]
fn a_key_of_every_kind() {
    let text = r#"
        product = "shop"
        [[tree]]
        name = "a"
        root = "/a"
        root_link = true
        extras = "allow"
        [[check]]
        name = "b"
        command = ["true"]
        scope = "launch"
    "#;
    let spec = Spec::parse(text).unwrap();
    assert_eq!((&*spec.product, spec.trees[0].root_link, spec.trees[0].extras), ("shop", true, Extras::Allow));
    assert_eq!((spec.checks[0].scope, spec.checks[0].timeout_ms), (Scope::Launch, crate::check::TIMEOUT_MS));
}

#[test]
fn refused() {
    let tree = "[[tree]]\nname = \"a\"\nroot = \"/a\"\n";
    let check = "[[check]]\nname = \"b\"\n";
    for (text, reason) in [
        (String::new(), "neither a tree nor a check"),
        ("produkt = \"a\"".into(), "unknown field `produkt`"),
        ("[[tree]]\nroot = \"/a\"".into(), "missing field `name`"),
        (alloc::format!("{tree}ignored = []"), "line 4, column 1: unknown field `ignored`"),
        (alloc::format!("{tree}extras = \"maybe\""), "unknown variant `maybe`"),
        (alloc::format!("{tree}attributes = [\"acl\"]"), "unknown variant `acl`"),
        (alloc::format!("{tree}templates = [\"[\"]"), "tree `a`: `templates`: pattern `[`: its `[` is not closed"),
        (alloc::format!("{tree}restore = true"), "tree `a`: `restore` needs `text = true`"),
        (alloc::format!("{check}command = [\"a\"]\ntcp = {{ connect = \"a:1\" }}"), "both a `command` and a `tcp`"),
        (alloc::format!("{check}tcp = {{ connect = \"a\" }}"), "`tcp` `connect` is `a`, not `host:port`"),
        (alloc::format!("{check}tcp = {{ connect = \"a:1\" }}\nafter = [\"b\"]"), "`after` names `b`"),
        (alloc::format!("{check}tcp = {{ connect = \"a:1\" }}\nwithin = \"2h\""), "`within` is 2h"),
        (alloc::format!("{tree}ignore = [\"[\"]"), "tree `a`: `ignore`: pattern `[`: its `[` is not closed"),
        (alloc::format!("{tree}{tree}"), "the name is used twice"),
        ("[[tree]]\nname = \"a\"\nroot = \"a\"".into(), "is not absolute and plain"),
        (alloc::format!("{tree}[[tree]]\nname = \"b\"\nroot = \"/a/b\""), "tree `b`: its root is inside"),
        (check.into(), "check `b`: it has no kind"),
        (alloc::format!("{check}url = \"http://a\""), "unknown field `url`"),
        (alloc::format!("{check}command = \"nginx -t\""), "invalid type"),
        (alloc::format!("{check}command = []"), "`argv` is empty"),
        (alloc::format!("{check}command = [\"a\"]\ntimeout = \"10\""), "`10` is not a duration"),
        (alloc::format!("{check}command = [\"a\"]\ntimeout = 10"), "invalid type"),
        (alloc::format!("{check}command = [\"a\"]\ntimeout = \"0s\""), "`timeout_ms` is 0"),
        (alloc::format!("{check}command = [\"a\"]\ntimeout = \"2h\""), "`timeout_ms` is 7200000"),
        (alloc::format!("{check}command = [\"a\"]\nscope = \"never\""), "unknown variant `never`"),
        (" ".repeat(SPEC_BYTES_MAX + 1), "1048577 bytes"),
    ] {
        let error = Spec::parse(&text).unwrap_err().to_string();
        assert!(error.contains(reason), "{error}\nexpected: {reason}");
    }
}
