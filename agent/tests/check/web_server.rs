//! `web_server`, with the real nginx, Apache and HAProxy, each with a configuration and a port of its own.

use std::{fs, os::unix::fs::symlink};

use portcullis::outcome::Status;
use rustix::process::Signal;

use self::site::{Kind, Site, fails, passes};
use crate::{fixture::is_root, ports::free_port};

mod site;

macro_rules! with_each_server {
    ($($scenario:ident,)*) => {
        $(mod $scenario {
            use super::Kind;

            #[test]
            fn nginx() {
                super::$scenario(Kind::Nginx);
            }

            #[test]
            fn apache() {
                super::$scenario(Kind::Apache);
            }

            #[test]
            fn haproxy() {
                super::$scenario(Kind::Haproxy);
            }
        })*
    };
}
with_each_server! {
    as_it_should_be,
    a_syntax_error,
    an_include_from_outside,
    an_include_that_no_tree_lists,
    a_link_to_the_outside,
    a_link_from_outside,
    changed_and_not_reloaded,
    a_reload_that_failed,
    touched,
    a_directory_in_the_place_of_another,
    what_comes_and_goes_is_no_change,
    not_running,
    another_one_runs,
}

fn as_it_should_be(kind: Kind) {
    let mut site = Site::new(kind);
    site.start();
    passes(&site.settled());
    // In a link of the tree, and what that leads to.
    fs::rename(site.part(), site.at("conf/real")).unwrap();
    symlink("../real", site.part()).unwrap();
    site.sign().tick().reload();
    passes(&site.settled());
}

fn a_syntax_error(kind: Kind) {
    let mut site = Site::new(kind);
    site.start();
    passes(&site.settled());
    site.append(kind.nonsense()).sign();
    let said = fails(&site.outcome(), "parses: expected a configuration that parses, actual exit 1: ");
    assert!(said.to_lowercase().contains("bogus"), "{said}");
    assert!(!said.contains("loaded"), "of what does not parse, nothing more is told: {said}");
}

fn an_include_from_outside(kind: Kind) {
    let mut site = Site::new(kind);
    let outside = site.at("outside");
    fs::write(&outside, kind.part_text()).unwrap();
    site.append(&kind.include(&outside)).sign().start();
    let outcome = site.settled();
    fails(
        &outcome,
        &format!("includes: expected every file in a tree, actual `{}`, outside every tree", outside.display()),
    );
}

fn an_include_that_no_tree_lists(kind: Kind) {
    let mut site = Site::new(kind);
    site.extras_allowed = true;
    let late = site.at("conf/late");
    site.append(&kind.include(&late)).sign();
    fs::write(&late, kind.part_text()).unwrap();
    site.start();
    let outcome = site.settled();
    fails(&outcome, &format!("actual `{}`, which tree `conf` does not list", late.display()));
}

fn a_link_to_the_outside(kind: Kind) {
    let mut site = Site::new(kind);
    let outside = site.at("outside");
    fs::rename(site.part(), &outside).unwrap();
    symlink(&outside, site.part()).unwrap();
    site.sign().start();
    let (outside, link) = (outside.display(), site.part());
    let expected = format!("actual `{outside}`, outside every tree (by the link `{}`)", link.display());
    fails(&site.settled(), &expected);
}

fn a_link_from_outside(kind: Kind) {
    let mut site = Site::new(kind);
    let link = site.at("link");
    symlink(site.part(), &link).unwrap();
    site.append(&kind.include(&link)).sign().start();
    fails(&site.settled(), &format!("actual link `{}`, outside every tree", link.display()));
}

fn changed_and_not_reloaded(kind: Kind) {
    let mut site = Site::new(kind);
    site.start();
    passes(&site.settled());
    site.tick().append("\n# changed\n").sign().tick();
    let said = fails(&site.outcome(), "loaded: expected a reload after `");
    assert!(said.contains(&format!("`{}` changed at ", site.config().display())), "{said}");
    site.reload();
    passes(&site.settled());
}

/// The configuration was broken when it was to be loaded; now it is right, but not what runs.
fn a_reload_that_failed(kind: Kind) {
    let mut site = Site::new(kind);
    site.start();
    passes(&site.settled());
    let good = fs::read_to_string(site.config()).unwrap();
    site.append(kind.nonsense()).sign().tick().reload();
    site.wait_for_refusal();
    fs::write(site.config(), format!("{good}\n# mended\n")).unwrap();
    site.sign();
    let said = fails(&site.outcome(), "loaded: expected ");
    // Apache does not survive it.
    let expected = if kind == Kind::Apache { "a running `" } else { "a reload after `" };
    assert!(said.contains(expected), "{said}");
}

/// The content is what the manifest says, but nobody can tell whether it was when it was loaded.
fn touched(kind: Kind) {
    let mut site = Site::new(kind);
    site.start();
    passes(&site.settled());
    site.tick();
    let content = fs::read(site.part()).unwrap();
    fs::write(site.part(), content).unwrap();
    fails(&site.outcome(), "loaded: expected a reload after `");
    site.tick().reload();
    passes(&site.settled());
}

/// All that is in it is older than the start, and only where it is is new.
fn a_directory_in_the_place_of_another(kind: Kind) {
    let mut site = Site::new(kind);
    let (conf, next, old) = (site.at("conf"), site.at("next"), site.at("old"));
    fs::create_dir_all(next.join("parts")).unwrap();
    fs::write(next.join("parts/a.conf"), kind.part_text()).unwrap();
    let config = fs::read_to_string(site.config()).unwrap();
    fs::write(next.join("main.conf"), config + "\n# another\n").unwrap();
    site.start();
    passes(&site.settled());
    site.tick();
    fs::rename(&conf, &old).unwrap();
    fs::rename(&next, &conf).unwrap();
    let said = fails(&site.sign().tick().outcome(), "loaded: expected a reload after `");
    assert!(said.contains(&format!("`{}` changed at ", conf.display())), "{said}");
    site.reload();
    passes(&site.settled());
}

/// Logs and the like beside the configuration: they change the directory, and nothing that is loaded.
fn what_comes_and_goes_is_no_change(kind: Kind) {
    let mut site = Site::new(kind);
    site.extras_allowed = true;
    site.sign().start();
    passes(&site.settled());
    fs::write(site.tick().at("conf/app.log"), "").unwrap();
    passes(&site.outcome());
    fs::remove_file(site.tick().at("conf/app.log")).unwrap();
    passes(&site.outcome());
}

fn not_running(kind: Kind) {
    let site = Site::new(kind);
    fails(&site.outcome(), "loaded: expected a running `");
    let mut site = Site::new(kind);
    site.start();
    passes(&site.settled());
    site.stop();
    fails(&site.outcome(), "loaded: expected a running `");
}

/// Of the same program, with another configuration: it is not taken for ours, neither for running nor for reloaded.
fn another_one_runs(kind: Kind) {
    let (mut site, mut other) = (Site::new(kind), Site::new(kind));
    other.start();
    passes(&other.settled());
    let said = fails(&site.outcome(), "loaded: expected a running `");
    assert!(said.contains(&other.config().display().to_string()), "{said}");
    site.start();
    passes(&site.settled());
    site.tick().append("\n# changed\n").sign().tick();
    other.reload();
    passes(&other.settled());
    fails(&site.outcome(), "loaded: expected a reload after `");
}

/// Its command line has it read what its configuration does not name.
#[test]
fn an_include_on_the_command_line() {
    for (kind, arguments) in [
        (Kind::Nginx, ["-g", "error_log stderr; include OUTSIDE;"]),
        (Kind::Apache, ["-c", "IncludeOptional OUTSIDE"]),
        (Kind::Haproxy, ["--", "OUTSIDE"]),
    ] {
        let mut site = Site::new(kind);
        let outside = site.at("outside");
        fs::write(&outside, "# outside\n").unwrap();
        let outside = outside.display().to_string();
        site.start_with(
            &arguments.map(|argument| argument.replace("OUTSIDE", &outside)).each_ref().map(String::as_str),
        );
        site.until("its start", |site| !site.children().is_empty());
        let said = fails(&site.outcome(), "loaded: expected ");
        assert!(said.contains(&outside), "{said}");
    }
}

/// What it was started with decides what it includes, and the question was another one.
#[test]
fn a_define_on_the_command_line() {
    let mut site = Site::new(Kind::Apache);
    fs::write(site.at("outside"), "# outside\n").unwrap();
    let outside = site.at("outside").display().to_string();
    site.append(&format!("<IfDefine Maintenance>\nInclude {outside}\n</IfDefine>\n")).sign();
    site.start_with(&["-D", "Maintenance"]);
    site.until("its start", |site| !site.children().is_empty());
    let outcome = site.outcome();
    let reason = outcome.reason.unwrap_or_default();
    assert!(outcome.status == Status::Unknown && reason.contains("`-D Maintenance`"), "{:?}: {reason}", outcome.status);
    site.stop();
    site.start_with(&["-D", "Unasked"]);
    passes(&site.settled());
}

/// A worker that died is replaced by one with the old configuration.
#[test]
fn a_young_worker_is_no_reload() {
    let mut site = Site::new(Kind::Nginx);
    site.start();
    passes(&site.settled());
    site.tick().append("\n# changed\n").sign().tick();
    let before = site.children();
    site.signal(before[0], Signal::KILL);
    site.until("another worker", |site| {
        let after = site.children();
        after.len() == before.len() && after != before
    });
    fails(&site.outcome(), "loaded: expected a reload after `");
}

/// What was included is gone: nothing that is left has changed.
#[test]
fn a_removed_site_is_a_change() {
    let mut site = Site::new(Kind::Nginx);
    fs::write(site.at("conf/parts/b.conf"), "# b\n").unwrap();
    site.sign().start();
    passes(&site.settled());
    site.tick();
    fs::remove_file(site.at("conf/parts/b.conf")).unwrap();
    site.sign().tick();
    let said = fails(&site.outcome(), "loaded: expected a reload after `");
    assert!(said.contains("conf/parts` changed"), "{said}");
}

/// Also where directories are a pattern, and where one of them is a link.
#[test]
fn a_removed_directory_of_sites_is_a_change() {
    let mut site = Site::new(Kind::Nginx);
    for name in ["a", "b"] {
        fs::create_dir_all(site.at("conf/sites").join(name)).unwrap();
        fs::write(site.at("conf/sites").join(name).join("site.conf"), "# site\n").unwrap();
    }
    symlink("sites", site.at("conf/link")).unwrap();
    let text = fs::read_to_string(site.config()).unwrap().replace("include parts/*.conf;", "include link/*/site.conf;");
    fs::write(site.config(), text).unwrap();
    site.sign().start();
    passes(&site.settled());
    site.tick();
    fs::remove_dir_all(site.at("conf/sites/b")).unwrap();
    let said = fails(&site.sign().tick().outcome(), "loaded: expected a reload after `");
    assert!(said.contains("conf/sites` changed"), "{said}");
}

/// Renewed on disk, while what is shown to the world is still the old one.
#[test]
fn a_renewed_certificate_must_be_loaded() {
    let mut site = Site::new(Kind::Nginx);
    let (certificate, key) = site.certificate();
    let server = format!(
        "server {{ listen 127.0.0.1:{} ssl; ssl_certificate {}; ssl_certificate_key {}; }}\n",
        free_port(),
        certificate.display(),
        key.display()
    );
    fs::write(site.part(), server).unwrap();
    site.sign().tick().start();
    let outcome = site.settled();
    passes(&outcome);
    let warned = format!(
        "`{}` ({}:1) is neither in a tree nor in a `certificate` check",
        certificate.display(),
        site.part().display()
    );
    assert!(outcome.warnings.contains(&warned), "{:?}", outcome.warnings);
    site.tick().certificate();
    let said = fails(&site.tick().outcome(), "loaded: expected a reload after `");
    assert!(said.contains("site.pem` changed") || said.contains("site.key` changed"), "{said}");
}

/// What is named besides: told where nobody looks at it; and it is a change where it is loaded.
#[test]
fn files_that_are_named() {
    let mut site = Site::new(Kind::Nginx);
    let (certificate, key) = site.certificate();
    let (users, params) = (site.at("users"), site.at("dh.pem"));
    fs::write(&users, "").unwrap();
    let made =
        std::process::Command::new("openssl").args(["dhparam", "-dsaparam", "-out"]).arg(&params).arg("2048").output();
    assert!(made.unwrap().status.success());
    let server = format!(
        "server {{\nlisten 127.0.0.1:{} ssl;\nssl_certificate {};\nssl_certificate_key {};\nssl_client_certificate {};\n\
         ssl_dhparam {};\nauth_basic realm;\nauth_basic_user_file {};\n\
         location /x {{\nauth_basic_user_file {}/$host;\n}}\n}}\n",
        free_port(),
        certificate.display(),
        key.display(),
        certificate.display(),
        params.display(),
        users.display(),
        site.at(".").display(),
    );
    fs::write(site.part(), server).unwrap();
    site.sign().start();
    let outcome = site.settled();
    passes(&outcome);
    let part = site.part().display().to_string();
    for warning in [
        format!("`{}`, outside every tree ({part}:6)", params.display()),
        format!("`{}`, outside every tree ({part}:8)", users.display()),
        format!(
            "{part}:10: auth_basic_user_file {}/$host: it depends on a variable, so that file cannot be judged",
            site.at(".").display()
        ),
    ] {
        assert!(outcome.warnings.contains(&warning), "{:?}\nexpected: {warning}", outcome.warnings);
    }
    assert!(
        outcome.warnings.iter().any(|warning| warning.contains("site.pem` (") && warning.contains(":3) is neither"))
    );
    // Users are looked up at each request; parameters are loaded.
    fs::write(&users, "a:b\n").unwrap();
    passes(&site.tick().outcome());
    fs::write(&params, fs::read(&params).unwrap()).unwrap();
    let said = fails(&site.tick().outcome(), "loaded: expected a reload after `");
    assert!(said.contains("dh.pem` changed"), "{said}");
}

/// Types, users and authorities of Apache and HAProxy.
#[test]
fn files_that_others_name() {
    let mut site = Site::new(Kind::Apache);
    let at = site.at("types");
    fs::write(&at, "text/html html\n").unwrap();
    site.append(&format!(
        "\nLoadModule mime_module /usr/lib/apache2/modules/mod_mime.so\nTypesConfig {}\n",
        at.display()
    ));
    site.sign().start();
    let outcome = site.settled();
    passes(&outcome);
    let warning = format!("`{}`, outside every tree ({}:", at.display(), site.config().display());
    assert!(outcome.warnings.iter().any(|found| found.starts_with(&warning)), "{:?}", outcome.warnings);

    // A program is a part of what runs.
    let map = site.at("map");
    fs::copy("/bin/cat", &map).unwrap();
    let text = "\nLoadModule rewrite_module /usr/lib/apache2/modules/mod_rewrite.so\nRewriteMap m \"prg:";
    site.append(&format!("{text}{}\"\n", map.display())).sign();
    fails(
        &site.outcome(),
        &format!("includes: expected every file in a tree, actual `{}`, outside every", map.display()),
    );

    let mut site = Site::new(Kind::Haproxy);
    let (certificate, _) = site.certificate();
    let backend =
        format!("\nbackend b\n  server s 127.0.0.1:1 ssl verify required ca-file {}\n", certificate.display());
    site.append(&backend).sign().start();
    let outcome = site.settled();
    passes(&outcome);
    let warning = format!("`{}` ({}:", certificate.display(), site.config().display());
    assert!(outcome.warnings.iter().any(|found| found.starts_with(&warning)), "{:?}", outcome.warnings);
    site.tick().certificate();
    fails(&site.tick().outcome(), "loaded: expected a reload after `");
}

/// As an unprivileged user nginx can read neither keys nor open its logs: that says nothing of the configuration, and how
/// to have it told is said.
#[test]
fn for_want_of_rights_it_is_unknown() {
    if !is_root("another user") {
        return;
    }
    let mut site = Site::new(Kind::Nginx);
    site.start();
    passes(&site.settled());
    site.as_nobody = true;
    let outcome = site.outcome();
    let reason = outcome.reason.unwrap();
    assert_eq!(outcome.status, Status::Unknown, "{reason}");
    let argv = format!("[\"nginx\",\"-T\",\"-c\",\"{}\"]", site.config().display());
    assert!(
        reason.contains("Permission denied") && reason.contains(&format!("add {argv} to `root_commands`")),
        "{reason}"
    );
    // What is wrong by itself is wrong for everybody.
    site.append(Kind::Nginx.nonsense()).sign();
    fails(&site.outcome(), "parses: expected a configuration that parses");
}

#[test]
fn not_before_every_tree_passes() {
    let site = Site::new(Kind::Nginx);
    fs::write(site.at("conf/extra"), "").unwrap();
    let outcome = site.outcome();
    assert_eq!(outcome.reason.as_deref(), Some("not run: tree `conf` did not pass"));
}
