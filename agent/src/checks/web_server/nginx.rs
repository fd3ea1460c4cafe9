//! nginx: `-T` prints every file that it reads, one after the other, as it stands.

use std::{fs, io, io::Read as _, path::Path};

use portcullis::{
    check::web_server::WebServer,
    reveal::{self, Files},
    text,
};

use super::Reads;

/// What nginx writes before the path of each file.
pub(super) const HEADER: &str = "# configuration file ";

pub(super) fn reads(wanted: &WebServer, output: &[u8]) -> Result<Reads, String> {
    let files = dump(output, &wanted.config, read)?;
    let mut texts = Files::default();
    let mut reads = Reads::default();
    for (path, content) in files {
        texts.insert(path, &String::from_utf8_lossy(content));
        reads.files.push(path.into());
    }
    let revealed = reveal::nginx(&wanted.config, &texts);
    reads.pid_file = revealed.pid_file.as_ref().map(Into::into);
    reads.reveal(&revealed);
    Ok(reads)
}

/// Takes the output apart. A file may hold lines that look like the header of another, and a name may hold a line break:
/// so each file's content must be what can be read there, and right behind it the next header, or the end.
fn dump<'a>(
    output: &'a [u8],
    config: &str,
    read: impl Fn(&Path) -> io::Result<Vec<u8>>,
) -> Result<Vec<(&'a str, &'a [u8])>, String> {
    let first = format!("{HEADER}{config}:\n");
    let mut rest = starting_with(output, first.as_bytes()).ok_or("nginx did not print its configuration")?;
    let mut files = Vec::new();
    while !rest.is_empty() {
        let (path, behind) =
            header(rest).ok_or("what nginx printed cannot be told apart: is there a line break in a name?")?;
        let name = || text::visible(path);
        let content = read(Path::new(path)).map_err(|error| format!("`{}`: {error}", name()))?;
        let behind = behind.strip_prefix(&*content).and_then(|behind| behind.strip_prefix(b"\n"));
        rest = behind.ok_or_else(|| format!("`{}` is not what nginx printed: it changed meanwhile", name()))?;
        files.push((path, &output[output.len() - rest.len() - 1 - content.len()..output.len() - rest.len() - 1]));
    }
    Ok(files)
}

/// From where `what` stands at the beginning of a line for the first time.
fn starting_with<'a>(output: &'a [u8], what: &[u8]) -> Option<&'a [u8]> {
    let mut rest = output;
    while !rest.starts_with(what) {
        rest = &rest[1 + rest.iter().position(|&byte| byte == b'\n')?..];
    }
    Some(rest)
}

fn header(output: &[u8]) -> Option<(&str, &[u8])> {
    let rest = output.strip_prefix(HEADER.as_bytes())?;
    let (path, behind) = rest.split_at(rest.iter().position(|&byte| byte == b'\n')?);
    let path = str::from_utf8(path.strip_suffix(b":")?).ok()?;
    Some((path, &behind[1..]))
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let file = fs::File::open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    let mut content = Vec::new();
    file.take(super::OUTPUT_BYTES_MAX as u64).read_to_end(&mut content)?;
    Ok(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The names, where each file has its content on disk.
    fn names(output: &str, disk: &[(&str, &str)]) -> Result<Vec<String>, String> {
        let read = |path: &Path| {
            let found = disk.iter().find(|(name, _)| Path::new(name) == path);
            found.map(|(_, content)| content.as_bytes().to_vec()).ok_or_else(|| io::Error::other("absent"))
        };
        dump(output.as_bytes(), "/e/n.conf", read).map(|files| files.iter().map(|(path, _)| path.to_string()).collect())
    }

    fn printed(files: &[(&str, &str)]) -> String {
        let one = |(path, content): &(&str, &str)| format!("{HEADER}{path}:\n{content}\n");
        "nginx: configuration file /e/n.conf test is successful\n".to_string()
            + &files.iter().map(one).collect::<String>()
    }

    #[test]
    fn taken_apart() {
        for disk in [
            &[("/e/n.conf", "a;\n")][..],
            &[("/e/n.conf", "a;"), ("/e/b", "")],
            &[("/e/n.conf", ""), ("/e/b", "\n\n")],
            // Lines that look like headers are content.
            &[("/e/n.conf", "# configuration file /x:\n# configuration file /e/n.conf:\n"), ("/e/b", "b")],
        ] {
            let expected: Vec<_> = disk.iter().map(|(path, _)| path.to_string()).collect();
            assert_eq!(names(&printed(disk), disk), Ok(expected));
        }
    }

    #[test]
    fn nothing_is_hidden() {
        let disk = [("/e/n.conf", "a\n"), ("/e/b", "b"), ("/evil", "x")];
        // Another file's name with a line break, so that it looks like one that is covered.
        let split = printed(&[("/e/n.conf", "a\n"), ("/e/b:\n/../../evil", "x")]);
        assert!(names(&split, &disk).is_err());
        let split = printed(&[("/e/n.conf", "a\n"), ("/e/b\n", "b")]);
        assert!(names(&split, &disk).is_err());
        // Changed between the two.
        assert!(names(&printed(&[("/e/n.conf", "a b\n")]), &disk).unwrap_err().contains("changed meanwhile"));
        assert!(names(&printed(&[("/e/n.conf", "a\n"), ("/gone", "b")]), &disk).unwrap_err().contains("absent"));
        assert!(names("", &disk).unwrap_err().contains("did not print"));
    }
}
