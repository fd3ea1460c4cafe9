//! What a master was started with besides its configuration. It stands in no tree, and the server's program, when it is asked
//! what it reads, is asked without it.

use portcullis::{check::web_server::Server, text};

use super::{Process, Reads, Verdict, instance::values};

/// What makes it read more than was looked at, or may.
pub(super) fn verdict(server: Server, masters: &[&Process], reads: &Reads) -> Option<Verdict> {
    masters.iter().find_map(|master| match server {
        Server::Nginx => included(master, &["-g"]),
        Server::Apache => included(master, &["-c", "-C"]).or_else(|| defined(master, reads)),
        // All that it takes is one more configuration.
        Server::Haproxy => None,
    })
}

/// By a statement on its command line.
fn included(master: &Process, options: &[&str]) -> Option<Verdict> {
    let bare = |word: &'static str, of: &str| of.eq_ignore_ascii_case(word);
    let words = master.title.split(|c: char| c.is_whitespace() || c == ';').map(|word| {
        options.iter().find_map(|option| word.strip_prefix(option).filter(|rest| !rest.is_empty())).unwrap_or(word)
    });
    let mut words = words.skip_while(|word| !bare("include", word) && !bare("IncludeOptional", word));
    let (statement, file) = (words.next()?, words.next().unwrap_or_default());
    let is_asked = |option: &&str| master.title.split_whitespace().any(|word| word.starts_with(*option));
    options.iter().any(is_asked).then(|| Verdict::Fail {
        expected: "nothing but its configuration".into(),
        actual: text::visible(&format!("process {}, started with `{statement} {file}` besides", master.pid)),
    })
}

/// By a name that the configuration asks for.
fn defined(master: &Process, reads: &Reads) -> Option<Verdict> {
    let arguments: Vec<_> = master.title.split_whitespace().collect();
    let name = values(&arguments, "-D").into_iter().find(|name| reads.undefined.contains(*name))?;
    let name = text::visible(name);
    Some(Verdict::Unknown(format!(
        "process {} was started with `-D {name}`, and what it includes was asked for without (hint: say `-D {name}` in \
         APACHE_ARGUMENTS of /etc/apache2/envvars)",
        master.pid
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table() {
        let reads = Reads { undefined: ["Maintenance".to_string()].into(), ..Reads::default() };
        for (server, title, told) in [
            (Server::Nginx, "nginx: master process nginx -c /e/n.conf -g daemon on; master_process on;", ""),
            (Server::Nginx, "nginx: master process nginx -g daemon off;include /x;", "`include /x`"),
            (Server::Nginx, "nginx: master process nginx -ginclude /x; -c /e", "`include /x`"),
            (Server::Nginx, "nginx: master process nginx -c /e/include", ""),
            (Server::Apache, "apache2 -d /e -k start", ""),
            (Server::Apache, "apache2 -DFOREGROUND -f /e/include", ""),
            (Server::Apache, "apache2 -C IncludeOptional /x/*.conf -f /e", "`IncludeOptional /x/*.conf`"),
            (Server::Apache, "apache2 -D Maintenance", "`-D Maintenance`"),
            (Server::Apache, "apache2 -DMaintenance", "`-D Maintenance`"),
            (Server::Haproxy, "haproxy -W -f /e", ""),
        ] {
            let master = Process { pid: 7, parent: 1, title: title.into(), start_ticks: 0, is_replaced: false };
            let said = match verdict(server, &[&master], &reads) {
                Some(Verdict::Fail { actual, .. }) => actual,
                Some(Verdict::Unknown(reason)) => reason,
                Some(Verdict::Pass) | None => String::new(),
            };
            assert!(said.contains(told) && said.is_empty() == told.is_empty(), "{title}: {said}");
        }
    }
}
