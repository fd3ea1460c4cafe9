//! What a server says when it does not take its configuration, and what it warns of when it does.

use portcullis::check::web_server::WebServer;

use super::Verdict;
use crate::checks::command::Answer;

/// The configuration does not parse; or nobody can tell, since the server may not read what it needs to.
pub(super) fn refused(wanted: &WebServer, answer: &Answer) -> Verdict {
    let text = String::from_utf8_lossy(&answer.output);
    let said = shortened(&text);
    let signs: &[&str] = if answer.is_unprivileged { &[DENIED, UNSEEN].concat() } else { DENIED };
    if text.lines().filter(|line| is_error(line)).all(|line| is_about_rights(line, signs)) {
        let argv = serde_json::Value::from(wanted.command());
        let hint = if answer.is_unprivileged {
            format!("add {argv} to `root_commands` in agent.toml")
        } else {
            "the agent needs CAP_DAC_OVERRIDE and CAP_CHOWN for what the server opens".into()
        };
        return Verdict::Unknown(format!(
            "without the server's own rights it came to no answer: {said} (hint: {hint})"
        ));
    }
    Verdict::Fail { expected: "a configuration that parses".into(), actual: format!("exit {}: {said}", answer.code) }
}

/// nginx says which lines are errors, and tells at the end that there were some. Apache lists what it has read so far, and
/// its script asks for more open files than a command may have.
fn is_error(line: &str) -> bool {
    let aside = ["[warn]", "[notice]", "[alert] could not open error log", "[NOTICE]", "[WARNING]"];
    let script = ["ulimit", "Action '", "The Apache error log may have more", "Included configuration files:"];
    let end = ["test failed", "syntax is ok", "Fatal errors found"];
    let line = line.trim();
    let is_listed = line.starts_with('(') && line.contains(") /");
    !line.is_empty() && !is_listed && ![&aside[..], &script, &end].concat().iter().any(|other| line.contains(other))
}

fn is_about_rights(line: &str, signs: &[&str]) -> bool {
    // The statement that an error is about follows it, or goes before.
    let context = ["Error(s) found in configuration file", "Syntax error on line", "Error(s) found"];
    signs.iter().chain(&context).any(|sign| line.contains(sign))
}

/// What says that rights are missing, whoever asks.
const DENIED: &[&str] = &["ermission denied", "peration not permitted"];

/// What cannot be read looks, to some, as if it were not there.
const UNSEEN: &[&str] = &["does not exist or is empty", "unable to stat"];

/// Lines in which it warns of something, but for what it says only because it is not root.
pub(super) fn warnings(answer: &Answer) -> Vec<String> {
    if answer.code != 0 {
        return Vec::new();
    }
    // nginx prints its files after what it has to say of them.
    let text = String::from_utf8_lossy(&answer.output[..answer.output.len().min(SAID_BYTES_MAX)]);
    let said = text.lines().take_while(|line| !line.starts_with(super::nginx::HEADER));
    let warns = |line: &&str| ["[warn]", "[WARNING]", ":warn]"].iter().any(|sign| line.contains(sign));
    let said = said.filter(warns).filter(|line| !line.contains("the \"user\" directive makes sense only"));
    said.map(without_time).map(portcullis::text::visible).collect()
}

/// A warning is the same warning a second later.
fn without_time(line: &str) -> &str {
    line.find("[warn]").or_else(|| line.find("[WARNING]")).map_or(line, |at| &line[at..])
}

fn shortened(text: &str) -> String {
    let lines: Vec<_> = text.lines().map(str::trim).filter(|line| is_error(line)).take(LINES_MAX).collect();
    let said = lines.join(" | ");
    portcullis::text::visible(&said[..said.floor_char_boundary(REASON_BYTES_MAX)])
}

/// A warning comes early.
const SAID_BYTES_MAX: usize = 64 << 10;

/// An error is told in the first few lines.
const LINES_MAX: usize = 6;

const REASON_BYTES_MAX: usize = 1_500;

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(output: &str, is_unprivileged: bool) -> Verdict {
        let wanted = toml::from_str("server = 'nginx'\nconfig = '/etc/nginx/nginx.conf'").unwrap();
        refused(&wanted, &Answer { code: 1, output: output.into(), is_unprivileged })
    }

    #[test]
    fn want_of_rights_is_no_error() {
        let ok = "nginx: the configuration file /e syntax is ok\n";
        let end = "nginx: configuration file /e test failed\n";
        let log = "nginx: [alert] could not open error log file: open() \"/l\" failed (13: Permission denied)\n";
        let denied = "2026/11/21 09:00:49 [emerg] 1#1: open() \"/run/nginx.pid\" failed (13: Permission denied)\n";
        let missing = "SSLCertificateFile: file '/etc/ssl/private/a' does not exist or is empty\n";
        let wrong = "nginx: [emerg] unknown directive \"bogus\" in /e:1\n";
        for (output, unprivileged, is_unknown) in [
            (format!("{log}{ok}{denied}{end}"), true, true),
            (format!("{ok}{denied}{end}"), false, true),
            (format!("{ok}{missing}{end}"), true, true),
            (format!("{ok}{missing}{end}"), false, false),
            (format!("{log}{wrong}{end}"), true, false),
            (format!("{log}{wrong}{end}"), false, false),
        ] {
            let verdict = verdict(&output, unprivileged);
            assert_eq!(matches!(verdict, Verdict::Unknown(_)), is_unknown, "{verdict:?}");
        }
        let Verdict::Unknown(reason) = verdict(&format!("{ok}{denied}{end}"), true) else { panic!() };
        assert!(
            reason.ends_with(
                "(13: Permission denied) \
                 (hint: add [\"nginx\",\"-T\",\"-c\",\"/etc/nginx/nginx.conf\"] to `root_commands` in agent.toml)"
            ),
            "{reason}"
        );
    }

    #[test]
    fn warnings_come_from_no_file() {
        let output = "2026/11/21 09:00:49 [warn] 1#1: conflicting server name \"a\" on 0.0.0.0:80, ignored\n\
                      # configuration file /e:\n# [warn] no\n";
        let answer = Answer { code: 0, output: output.into(), is_unprivileged: false };
        assert_eq!(warnings(&answer), ["[warn] 1#1: conflicting server name \"a\" on 0.0.0.0:80, ignored"]);
    }
}
