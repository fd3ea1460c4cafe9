//! Apache httpd: `-D DUMP_INCLUDES` lists the files that it reads, `-D DUMP_RUN_CFG` where it writes its process id.

use std::{collections::BTreeSet, fs, os::unix::ffi::OsStrExt as _, path::Path};

use portcullis::{
    check::web_server::WebServer,
    reveal::{self, Files},
};

use super::{Reads, cover::shown};

pub(super) fn reads(wanted: &WebServer, output: &[u8]) -> Result<Reads, String> {
    let output = String::from_utf8_lossy(output);
    let paths = included(&output);
    if paths.is_empty() {
        return Err("Apache did not list its configuration".into());
    }
    no_line_breaks(&paths)?;
    let mut texts = Files::default();
    let mut reads = Reads::default();
    for path in paths {
        let text = super::haproxy::text(Path::new(path)).map_err(|error| format!("`{path}`: {error}"))?;
        texts.insert(path, &text);
        reads.files.push(path.into());
    }
    reads.pid_file = quoted(&output, "PidFile: ").map(Into::into);
    let defines = quoted(&output, "ServerRoot: ").map(|root| ("SERVER_ROOT".to_string(), root.to_string()));
    reads.undefined = undefined(&output, texts.paths().filter_map(|path| texts.text(path)));
    reads.reveal(&reveal::apache(&wanted.config, &texts, &defines.into_iter().collect()));
    Ok(reads)
}

/// `  (*) /etc/apache2/apache2.conf`, `    (146) /etc/apache2/ports.conf`, each once.
fn included(output: &str) -> BTreeSet<&str> {
    let lines = output.lines().skip_while(|line| *line != "Included configuration files:").skip(1);
    lines
        .map_while(|line| line.strip_prefix("  ")?.trim_start_matches(' ').strip_prefix('(')?.split_once(") "))
        .map(|(_, path)| path)
        .collect()
}

/// The names of `<IfDefine NAME>` and `<IfDefine !NAME>` that it had not, by its own list of those that it has.
fn undefined<'a>(output: &str, texts: impl Iterator<Item = &'a str>) -> BTreeSet<String> {
    let defined: BTreeSet<_> = output.lines().filter_map(|line| line.strip_prefix("Define: ")).collect();
    let condition = |line: &str| {
        let (statement, name) = line.trim_start().split_once([' ', '\t'])?;
        let name = name.trim().trim_end_matches('>').trim_matches([' ', '\t', '"', '!']);
        statement.eq_ignore_ascii_case("<IfDefine").then(|| name.to_string())
    };
    texts.flat_map(str::lines).filter_map(condition).filter(|name| !defined.contains(name.as_str())).collect()
}

/// A name with a line break would show as the name of another file. It would lie beside that.
fn no_line_breaks(paths: &BTreeSet<&str>) -> Result<(), String> {
    let directories: BTreeSet<_> = paths.iter().filter_map(|path| Path::new(path).parent()).collect();
    for directory in directories {
        let entries = fs::read_dir(directory).map_err(|error| format!("`{}`: {error}", shown(directory)))?;
        for entry in entries.take(DIRECTORY_ENTRIES_MAX).flatten() {
            if entry.file_name().as_bytes().contains(&b'\n') {
                return Err(format!("`{}` has a line break in its name", shown(&entry.path())));
            }
        }
    }
    Ok(())
}

fn quoted<'a>(output: &'a str, label: &str) -> Option<&'a str> {
    let value = output.lines().find_map(|line| line.strip_prefix(label))?;
    value.strip_prefix('"')?.strip_suffix('"').filter(|value| value.starts_with('/'))
}

/// Of a directory of configuration.
const DIRECTORY_ENTRIES_MAX: usize = 100_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists() {
        let output = "AH00558: something\nIncluded configuration files:\n  (*) /e/apache2.conf\n    (146) /e/a b.conf\n    \
                      (146) /e/a b.conf\nServerRoot: \"/e\"\nPidFile: \"/run/a.pid\"\nDefine: X\n";
        assert_eq!(included(output).into_iter().collect::<Vec<_>>(), ["/e/a b.conf", "/e/apache2.conf"]);
        assert_eq!(quoted(output, "PidFile: "), Some("/run/a.pid"));
        assert!(included("Syntax OK\n").is_empty());
    }

    #[test]
    fn conditions() {
        let output = "Define: DUMP_RUN_CFG\nDefine: Here\n";
        let texts = ["<IfDefine Here>\n</IfDefine>\n  <ifdefine !\"Gone\" >\n", "IfDefine No\n<IfDefine\tAway>"];
        let found = undefined(output, texts.into_iter());
        assert_eq!(found.into_iter().collect::<Vec<_>>(), ["Away", "Gone"]);
    }

    #[test]
    fn a_line_break_is_seen() {
        let directory = tempfile::tempdir().unwrap();
        let covered = directory.path().join("a.conf");
        fs::write(&covered, "").unwrap();
        let paths = BTreeSet::from([covered.to_str().unwrap()]);
        assert_eq!(no_line_breaks(&paths), Ok(()));
        fs::write(directory.path().join("a.conf\nServerRoot: "), "").unwrap();
        assert!(no_line_breaks(&paths).is_err());
    }
}
