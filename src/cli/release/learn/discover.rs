//! Which directories may be trees, from what web servers and services are configured with.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use portcullis::{
    learn::{Running, SeenCertificate},
    reveal::{self, Files, Revealed},
};

use super::instance::{is_directory, under};
use crate::cli::files;

/// What was found.
#[derive(Default)]
pub(super) struct Found {
    /// Absolute paths in the instance.
    pub(super) trees: Vec<PathBuf>,
    pub(super) certificates: Vec<SeenCertificate>,
    pub(super) servers: Vec<String>,
}

/// A web server: its name, its configuration, and the programs that are it.
struct Known {
    name: &'static str,
    folder: &'static str,
    config: &'static str,
    programs: &'static [&'static str],
    read: fn(&str, &Files) -> Revealed,
}

const KNOWN: [Known; 3] = [
    Known {
        name: "nginx",
        folder: "/etc/nginx",
        config: "/etc/nginx/nginx.conf",
        programs: &["nginx"],
        read: reveal::nginx,
    },
    Known {
        name: "apache",
        folder: "/etc/apache2",
        config: "/etc/apache2/apache2.conf",
        programs: &["apache2", "httpd"],
        read: |config, files| reveal::apache(config, files, &BTreeMap::new()),
    },
    Known {
        name: "haproxy",
        folder: "/etc/haproxy",
        config: "/etc/haproxy/haproxy.cfg",
        programs: &["haproxy"],
        read: |config, files| reveal::haproxy(&[config], files),
    },
];

/// Looks at the configuration of every web server: of those that run, if any does; else of all that are configured.
pub(super) fn discover(root: &Path, running: &[Running]) -> Found {
    let runs = |known: &&Known| {
        let program = |running: &Running| running.executable.rsplit('/').next().unwrap_or_default().to_owned();
        running.iter().any(|running| known.programs.contains(&program(running).as_str()))
    };
    let present: Vec<&Known> = KNOWN.iter().filter(|known| under(root, Path::new(known.config)).is_file()).collect();
    let any_runs = present.iter().any(&runs);
    let mut found = Found::default();
    for known in present.into_iter().filter(|known| !any_runs || runs(known)) {
        found.servers.push(known.name.into());
        found.add(root, Path::new(known.folder));
        let mut texts = Files::default();
        read_all(root, Path::new(known.folder), &mut texts, 0);
        let revealed = (known.read)(known.config, &texts);
        for path in revealed.files.iter().filter_map(|file| texts.text(file)).flat_map(document_roots) {
            found.add(root, &application(Path::new(&path)));
        }
        let certificates = revealed.certificates.into_iter();
        found.certificates.extend(certificates.map(|one| SeenCertificate {
            file: one.file,
            key: one.key,
            names: one.names,
        }));
    }
    found.working_directories(root, running);
    found
}

impl Found {
    /// What is there, absolute, and not within another.
    fn add(&mut self, root: &Path, path: &Path) {
        let known = self.trees.iter().any(|tree| path.starts_with(tree));
        if path.is_absolute() && path.components().count() > 2 && !known && is_directory(root, path) {
            self.trees.retain(|tree| !tree.starts_with(path));
            self.trees.push(path.to_path_buf());
        }
    }

    /// `WorkingDirectory` of the units that run.
    fn working_directories(&mut self, root: &Path, running: &[Running]) {
        for unit in running.iter().filter_map(|running| running.unit.as_deref()) {
            for folder in ["/etc/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system"] {
                let Ok(text) = files::read(&under(root, &Path::new(folder).join(unit)), TEXT_BYTES_MAX) else {
                    continue;
                };
                let text = String::from_utf8_lossy(&text).into_owned();
                let values = text.lines().filter_map(|line| line.trim().strip_prefix("WorkingDirectory="));
                values.for_each(|value| self.add(root, Path::new(value.trim_start_matches('-').trim())));
                break;
            }
        }
    }
}

/// The files of a configuration folder, links to files followed within the instance.
fn read_all(root: &Path, folder: &Path, texts: &mut Files, depth: usize) {
    let Ok(items) = fs::read_dir(under(root, folder)) else { return };
    for item in items.flatten().take(ITEMS_MAX) {
        let path = folder.join(item.file_name());
        let real = match item.path().canonicalize() {
            Ok(real) if real.starts_with(root) => real,
            // In an image an absolute link means a place in that image.
            _ => match fs::read_link(item.path()) {
                Ok(target) if target.is_absolute() => under(root, &target),
                _ => continue,
            },
        };
        if real.is_dir() && depth < DEPTH_MAX && !item.path().is_symlink() {
            read_all(root, &path, texts, depth + 1);
        } else if real.is_file()
            && let (Some(path), Ok(text)) = (path.to_str(), files::read(&real, TEXT_BYTES_MAX))
        {
            texts.insert(path, &String::from_utf8_lossy(&text));
        }
    }
}

/// `root /var/www/app;` and `DocumentRoot "/var/www/app"`: what is served.
fn document_roots(text: &str) -> impl Iterator<Item = String> {
    let value = |line: &str| {
        let mut words = line.split_whitespace();
        let directive = words.next()?.to_ascii_lowercase();
        let value = words.next()?.trim_matches('"');
        let is_path = value.starts_with('/') && !value.contains('$') && !value.contains("..");
        (matches!(directive.as_str(), "root" | "documentroot" | "alias") && is_path)
            .then(|| value.trim_end_matches('/').to_owned())
    };
    let code = text.lines().map(|line| line.split('#').next().unwrap_or_default());
    code.flat_map(|line| line.split(['{', '}', ';'])).filter_map(value).collect::<Vec<_>>().into_iter()
}

/// Of an application whose public part is served, the whole.
fn application(served: &Path) -> PathBuf {
    let is_public = served.file_name().is_some_and(|name| PUBLIC.iter().any(|public| name == *public));
    match served.parent() {
        Some(parent)
            if is_public
                && parent.components().count() > 2
                && !SHARED.iter().any(|shared| parent == Path::new(shared)) =>
        {
            parent.to_path_buf()
        }
        _ => served.to_path_buf(),
    }
}

const PUBLIC: [&str; 6] = ["public", "public_html", "web", "htdocs", "dist", "webroot"];

/// Folders of several applications.
const SHARED: [&str; 4] = ["/var/www", "/usr/share", "/usr/share/nginx", "/usr/local"];

/// Configuration that people write.
const TEXT_BYTES_MAX: usize = 1 << 20;
const ITEMS_MAX: usize = 10_000;
const DEPTH_MAX: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_served() {
        let text = "server {\n  root /var/www/app/public;\n  root $x;\n # root /no;\n DocumentRoot \"/srv/b/\"\n}\nserver { root /srv/c; }";
        assert_eq!(document_roots(text).collect::<Vec<_>>(), ["/var/www/app/public", "/srv/b", "/srv/c"]);
        for (served, whole) in [
            ("/var/www/app/public", "/var/www/app"),
            ("/var/www/html", "/var/www/html"),
            ("/var/www/public", "/var/www/public"),
            ("/usr/share/wordpress", "/usr/share/wordpress"),
        ] {
            assert_eq!(application(Path::new(served)), Path::new(whole));
        }
    }
}
