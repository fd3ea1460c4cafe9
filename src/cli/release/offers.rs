//! What the configurations of web servers in the trees name and nobody looks at: certificates, files from outside, addresses.
//!
//! Offered on stderr as tables to be pasted into the spec, never put into the manifest: which of them matter, people know.
//! The configurations are read as text, in the trees and in what they include, below `--root` where there is one. The server is
//! not asked: that text is what `nginx -T` would print, and to ask it leaves log and pid files behind, where it runs at all.

use std::{collections::BTreeMap, path::Path};

use portcullis::{
    check::web_server::Server,
    manifest::{EntryKind, Manifest},
    reveal::{self, Files, Revealed},
};

mod disk;
mod tables;

use disk::Disk;

/// Says what could be checked besides. Whatever goes wrong here, the build has succeeded.
pub(super) fn tell(manifest: &Manifest, root: Option<&Path>) {
    let Ok(disk) = Disk::open(root.unwrap_or(Path::new("/"))) else { return };
    let listed = listed(manifest);
    for (server, config) in mains(manifest, &listed, &disk) {
        let mut revealed = read(server, &config, &disk);
        find_keys(&mut revealed, &disk);
        let tables = tables::tables(server, &config, &revealed, manifest, &listed);
        if !tables.is_empty() {
            let name = server.program().trim_end_matches("2ctl");
            eprintln!(
                "hint: the configuration of {name} in `{}` names what no check looks at; what matters of it may be added \
                 to the spec (`--no-suggestions` leaves this out):\n\n{tables}",
                portcullis::text::visible(&config)
            );
        }
    }
}

/// Every regular file of every tree, by absolute path.
type Listed = std::collections::BTreeSet<String>;

fn listed(manifest: &Manifest) -> Listed {
    let files = manifest.trees.iter().flat_map(|tree| tree.entries.iter().map(move |entry| (tree, entry)));
    let files = files.filter(|(_, entry)| !matches!(entry.kind, EntryKind::Directory));
    files.filter_map(|(tree, entry)| Some(reveal::resolve(&tree.root, str::from_utf8(&entry.path).ok()?))).collect()
}

/// The configurations that are in trees; and the usual ones beside a tree, which is then a part of them.
fn mains(manifest: &Manifest, listed: &Listed, disk: &Disk) -> Vec<(Server, String)> {
    let in_trees = listed.iter().filter_map(|path| {
        let name = path.rsplit('/').next()?;
        let found = USUAL.iter().find(|(_, usual)| usual.ends_with(&format!("/{name}")))?;
        Some((found.0, path.clone()))
    });
    let mut mains: Vec<_> = in_trees.take(MAINS_MAX).collect();
    for (server, usual) in USUAL {
        let directory = usual.rsplit_once('/').map_or("/", |(directory, _)| directory);
        let is_near = manifest.trees.iter().any(|tree| {
            tree.root == *directory || tree.root.strip_prefix(directory).is_some_and(|below| below.starts_with('/'))
        });
        if is_near && !listed.contains(*usual) && disk.text(usual).is_some() {
            mains.push((*server, (*usual).into()));
        }
    }
    mains
}

/// Reads a configuration and what it includes, round by round, until nothing is new.
fn read(server: Server, config: &str, disk: &Disk) -> Revealed {
    let mut files = Files::default();
    if let Some(text) = disk.text(config) {
        files.insert(config, &text);
    }
    let mut revealed = reveal_one(server, config, &files);
    for _ in 0..ROUNDS_MAX {
        let known = files.paths().count();
        let wanted = revealed.includes.iter().map(|include| include.pattern.clone());
        // What HAProxy names is not included, but has names in it.
        let referenced = revealed.references.iter().map(|reference| reference.file.clone());
        let wanted: Vec<_> = wanted.chain(referenced.filter(|_| server == Server::Haproxy)).collect();
        for path in wanted.iter().flat_map(|pattern| disk.matching(pattern)) {
            if files.text(&path).is_none()
                && let Some(text) = disk.text(&path)
            {
                files.insert(&path, &text);
            }
        }
        if files.paths().count() == known {
            break;
        }
        revealed = reveal_one(server, config, &files);
    }
    revealed
}

fn reveal_one(server: Server, config: &str, files: &Files) -> Revealed {
    match server {
        Server::Nginx => reveal::nginx(config, files),
        Server::Apache => reveal::apache(config, files, &BTreeMap::new()),
        Server::Haproxy => reveal::haproxy(&[config], files),
    }
}

/// Where no key is written it is in the certificate's file; for HAProxy, if it is not, in the one with `.key` behind its name.
fn find_keys(revealed: &mut Revealed, disk: &Disk) {
    for certificate in revealed.certificates.iter_mut().filter(|certificate| certificate.key.is_none()) {
        let beside = format!("{}.key", certificate.file);
        let has_key = |file: &&str| disk.text(file).is_some_and(|text| text.contains("PRIVATE KEY-----"));
        certificate.key = [certificate.file.as_str(), &beside].into_iter().find(has_key).map(Into::into);
    }
}

/// Where configurations usually are; the name alone tells one in a tree.
const USUAL: &[(Server, &str)] = &[
    (Server::Nginx, "/etc/nginx/nginx.conf"),
    (Server::Apache, "/etc/apache2/apache2.conf"),
    (Server::Apache, "/etc/httpd/conf/httpd.conf"),
    (Server::Haproxy, "/etc/haproxy/haproxy.cfg"),
];

/// Servers of one release.
const MAINS_MAX: usize = 20;

/// Files that include files: nobody goes deeper.
const ROUNDS_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fs, process::Command};

    use super::*;

    fn lines(command: &mut Command) -> Vec<String> {
        let output = command.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap().lines().map(Into::into).collect()
    }

    fn found(server: Server, config: &str) -> BTreeSet<String> {
        read(server, config, &Disk::open(Path::new("/")).unwrap()).files
    }

    /// What is read is what nginx says that it reads.
    #[test]
    fn as_nginx_itself_says() {
        let directory = tempfile::tempdir().unwrap();
        let config = directory.path().join("nginx.conf");
        let at = directory.path().display();
        let text = format!(
            "pid {at}/pid; error_log {at}/log; events {{}} http {{ access_log off; include /etc/nginx/mime.types; \
             include parts/*.conf; include /etc/nginx/sites-available/*; client_body_temp_path {at}/1; \
             proxy_temp_path {at}/2; fastcgi_temp_path {at}/3; uwsgi_temp_path {at}/4; scgi_temp_path {at}/5; }}"
        );
        fs::write(&config, text).unwrap();
        fs::create_dir(directory.path().join("parts")).unwrap();
        for (name, text) in [("a.conf", "include \"/etc/nginx/fastcgi_params\";"), (".b.conf", "#"), ("c.d", "#")] {
            fs::write(directory.path().join("parts").join(name), text).unwrap();
        }
        let config = config.to_str().unwrap();
        let said = lines(Command::new("/usr/sbin/nginx").args(["-T", "-c", config]));
        let said = said.iter().filter_map(|line| line.strip_prefix("# configuration file ")?.strip_suffix(':'));
        let said: BTreeSet<_> = said.map(String::from).collect();
        assert!(said.len() > 4, "{said:?}");
        assert_eq!(found(Server::Nginx, config), said);
    }

    #[test]
    fn as_apache_itself_says() {
        let config = "/etc/apache2/apache2.conf";
        let said = lines(Command::new("/usr/sbin/apache2ctl").args(["-f", config, "-t", "-D", "DUMP_INCLUDES"]));
        let said = said.iter().filter_map(|line| line.trim_start().strip_prefix('(')?.split_once(") "));
        let said: BTreeSet<_> = said.map(|(_, path)| path.to_string()).collect();
        assert!(said.len() > 20, "{said:?}");
        assert_eq!(found(Server::Apache, config), said);
    }
}
