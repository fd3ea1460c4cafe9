//! `portcullis release build`: from the spec and the real files to a manifest.

use std::{
    env,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, anyhow};
use indicatif::HumanBytes;
use portcullis::{
    digest::Digest,
    glob::Ignore,
    json::INTEGER_MAX,
    manifest::{EntryKind, Extras, Manifest, PAYLOAD_TYPE, Tree},
    signature::{Envelope, SigningKey},
    spec::{Spec, Texts},
    tree::{self, Contents, Withheld},
};
use serde::Serialize;

use super::{
    offers,
    summary::{self, Summary},
};
use crate::cli::{
    answer::{Answer, Hint as _},
    clock, files, output,
    progress::Bar,
};

/// Build a release's manifest from a spec and the files it names
///
/// Reads every tree of the spec, and writes a manifest with the digest of every file and with all checks. Without --key
/// nobody has signed it yet: see `release sign`. The same files, spec, release and sequence give the same bytes.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  portcullis release build --spec portcullis.toml --release 2026.11.20-1 \\
      --root staging --out manifest.json --key release.key

The spec, in TOML:
  product = \"shop\"

  [[tree]]
  name = \"app\"
  root = \"/var/www/app\"
  ignore = [\"storage/logs/**\", \"*.pid\"]

  [[tree]]
  name = \"nginx\"
  root = \"/etc/nginx\"
  attributes = [\"mode\", \"owner\"]    # compared besides content
  text = true                       # keep the text of small files: a mismatch shows a diff
  secret = [\"conf.d/upstream*\"]     # never keep the text of these
  templates = [\"conf.d/*.tmpl\"]     # a.conf.tmpl is what a.conf is rendered from
  restore = true                    # undo edits that break a guard

  [[check]]
  name = \"nginx parses\"
  command = [\"nginx\", \"-t\"]

Texts: files of at most 64 KiB of UTF-8. Private keys, lists of passwords and the like are recognised by name and content, and
withheld; what else is secret, mark it so. All texts together have at most 16 MiB.

Templates: `{{ hostname }}` stands for a fact of the instance that checks: instance, hostname, ipv4, ipv6, and what [facts]
of its agent.toml names. A literal `{{` is written `{{{{`. Names end with .tmpl, .template, .tpl or .in. The rendered file has
the mode and owner of the template's, which may be ignored.")]
pub(crate) struct Args {
    /// The release spec
    #[arg(long, value_name = "FILE")]
    spec: PathBuf,
    /// What to call the release
    #[arg(long, value_name = "NAME")]
    release: String,
    /// Put the root of every tree under DIR: a staging directory, a mounted image
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
    /// Where to write the manifest; replaced whole if it is there
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Sign it with this private key
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// A number that grows from build to build [default: SOURCE_DATE_EPOCH if set, else Unix seconds]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(..=INTEGER_MAX))]
    sequence: Option<u64>,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
    /// Don't say, on stderr, what web servers' configurations in the trees name and no check looks at
    #[arg(long)]
    no_suggestions: bool,
}

/// Runs `release build`.
pub(crate) fn run(args: &Args) -> anyhow::Result<Answer> {
    // The cheap things that can be wrong come before the long walk.
    let key = args.key.as_deref().map(files::read_signing_key).transpose()?;
    let spec = files::read_spec(&args.spec)?;
    spec.warnings.iter().for_each(output::warning);
    let (release, sequence) = (args.release.clone(), sequence(args.sequence)?);
    let order = Order { spec, release, sequence, root: args.root.as_deref(), key: key.as_ref(), out: &args.out };
    let Built { manifest, digest, withheld } = order.build()?;

    if args.json {
        output::json(&Told { manifest: Summary::of(&manifest, &digest), withheld: &withheld })?;
    } else {
        let signer = key.map_or_else(|| "nobody yet".into(), |key| key.public().key_id());
        let (identity, content) = (summary::identity(&manifest, &digest), summary::content(&manifest));
        output::result(&format!("{identity}{content}signed    by {signer}\n"))?;
    }
    if !args.no_suggestions {
        offers::tell(&manifest, args.root.as_deref());
    }
    Ok(Answer::Yes)
}

/// A manifest to be built.
pub(crate) struct Order<'a> {
    pub(crate) spec: Spec,
    pub(crate) release: String,
    pub(crate) sequence: u64,
    /// What the roots of trees are put under.
    pub(crate) root: Option<&'a Path>,
    pub(crate) key: Option<&'a SigningKey>,
    /// Where to write it.
    pub(crate) out: &'a Path,
}

/// A manifest that was built and written.
pub(crate) struct Built {
    manifest: Manifest,
    digest: Digest,
    withheld: Vec<WithheldFile>,
}

impl Order<'_> {
    /// Reads the trees, and writes the envelope.
    pub(crate) fn build(self) -> anyhow::Result<Built> {
        let texts = self.spec.texts.clone();
        let mut manifest = self.spec.into_manifest(self.release, self.sequence);
        let withheld = read_trees(&mut manifest, &texts, self.root, self.out)?;
        let payload = manifest.to_payload();
        Manifest::parse(&payload).context("failed to build a manifest that keeps the rules")?;
        let digest = Digest::of(&payload);
        let mut envelope = Envelope::unsigned(PAYLOAD_TYPE, payload);
        if let Some(key) = self.key {
            envelope.sign(key);
        }
        files::replace(self.out, &envelope.to_json())?;
        Ok(Built { manifest, digest, withheld })
    }
}

/// As asked for, else for builds that can be repeated (reproducible-builds.org), else now.
fn sequence(asked: Option<u64>) -> anyhow::Result<u64> {
    if let Some(sequence) = asked {
        return Ok(sequence);
    }
    let epoch = env::var_os("SOURCE_DATE_EPOCH").filter(|epoch| !epoch.is_empty());
    let Some(epoch) = epoch else { return Ok(clock::unix_seconds()) };
    let seconds = epoch.to_str().and_then(|text| text.parse().ok()).filter(|&seconds| seconds <= INTEGER_MAX);
    seconds.context("failed to use SOURCE_DATE_EPOCH: it is not a number of seconds")
}

/// What is told of a build, for machines.
#[derive(Serialize)]
struct Told<'a> {
    #[serde(flatten)]
    manifest: Summary<'a>,
    /// All of it: warnings name the first of each tree.
    withheld: &'a [WithheldFile],
}

/// A file whose text is not kept.
#[derive(Serialize)]
struct WithheldFile {
    tree: String,
    path: String,
    because: &'static str,
}

/// Fills the trees; gives what was withheld of them.
fn read_trees(
    manifest: &mut Manifest,
    texts: &[Texts],
    root: Option<&Path>,
    out: &Path,
) -> anyhow::Result<Vec<WithheldFile>> {
    let bar = Bar::new();
    let (mut budget, mut withheld) = (TEXTS_BYTES_MAX, Vec::new());
    for (tree, texts) in manifest.trees.iter_mut().zip(texts) {
        bar.tree(&tree.name);
        let directory = under(root, tree)?;
        is_outside(out, tree, &directory)?;
        let name = portcullis::text::visible(&tree.name);
        let contents = tree::read_with(tree, texts, &directory, &mut budget, &bar).or_else(|error| {
            let hint = error.hint;
            Err(error)
                .with_context(|| format!("failed to read tree `{name}` in `{}`", files::shown(&directory)))
                .hint(hint)
        })?;
        warn_of(&name, texts, &contents);
        tree.entries = contents.entries;
        let of_this = |Withheld { path, because }| WithheldFile { tree: tree.name.clone(), path, because };
        withheld.extend(contents.withheld.into_iter().map(of_this));
    }
    Ok(withheld)
}

/// What one may have expected to be kept, and is not.
fn warn_of(tree: &str, texts: &Texts, contents: &Contents) {
    for Withheld { path, because } in contents.withheld.iter().take(WITHHELD_SHOWN) {
        output::warning(&format_args!("tree `{tree}`: the text of `{path}` is not kept: {because}"));
    }
    let more = contents.withheld.len().saturating_sub(WITHHELD_SHOWN);
    if more > 0 {
        output::warning(&format_args!("tree `{tree}`: nor are the texts of {more} more files: `--json` names all"));
    }
    if contents.over > 0 {
        let (files, max) = (contents.over, HumanBytes(TEXTS_BYTES_MAX as u64));
        output::warning(&format_args!(
            "tree `{tree}`: the texts of {files} files are not kept: all together would have more than {max}"
        ));
    }
    if !texts.templates.is_empty() && contents.entries.iter().all(|entry| entry.kind.template().is_none()) {
        output::warning(&format_args!("tree `{tree}`: no file matches `templates`"));
    }
    for pattern in texts.secret.iter().filter(|pattern| matches_nothing(pattern, contents)) {
        let pattern = portcullis::text::visible(pattern);
        output::warning(&format_args!("tree `{tree}`: no file matches `{pattern}` of `secret`"));
    }
}

/// Whether a pattern of `secret` says nothing of what is there: a slip of the pen leaves a secret readable. What it leads to
/// with `!` was matched by another.
fn matches_nothing(pattern: &String, contents: &Contents) -> bool {
    let matches = |ignore: &Ignore| {
        contents.entries.iter().any(|entry| ignore.hides(&entry.path, matches!(entry.kind, EntryKind::Directory)))
    };
    !pattern.starts_with('!') && Ignore::new(std::slice::from_ref(pattern)).is_ok_and(|ignore| !matches(&ignore))
}

/// A manifest inside a tree that it describes could never pass: it would have to hold its own digest.
fn is_outside(out: &Path, tree: &Tree, directory: &Path) -> anyhow::Result<()> {
    let folder = out.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let (Ok(folder), Ok(directory), Some(name)) = (folder.canonicalize(), directory.canonicalize(), out.file_name())
    else {
        return Ok(());
    };
    let file = folder.join(name);
    let Ok(inside) = file.strip_prefix(&directory) else { return Ok(()) };
    let ignore = Ignore::new(&tree.ignore)?;
    if tree.extras == Extras::Allow && !file.exists() || ignore.hides(inside.as_os_str().as_encoded_bytes(), false) {
        return Ok(());
    }
    let error = anyhow!("`{}` is inside tree `{}`", files::shown(out), portcullis::text::visible(&tree.name));
    Err(error).hint(Some("write the manifest somewhere else, or ignore it in the tree"))
}

/// Where the root of a tree is: absolute, so that a plain `join` would forget the directory.
fn under(root: Option<&Path>, tree: &Tree) -> anyhow::Result<PathBuf> {
    let Some(root) = root else { return Ok(PathBuf::from(&tree.root)) };
    let path = root.join(tree.root.trim_start_matches('/'));
    // An absolute link in a staged image means a place in that image; here it would lead to this machine's own files.
    let followed = if tree.root_link { Some(&*path) } else { path.parent().filter(|_| tree.root != "/") };
    let real = followed.and_then(|followed| followed.canonicalize().ok());
    if real.zip(root.canonicalize().ok()).is_some_and(|(real, root)| !real.starts_with(root)) {
        let error = anyhow!("`{}` leads out of `{}` by a link", files::shown(&path), files::shown(root));
        return Err(error).hint(Some("name the real directory as the tree's root, or stage it without the link"));
    }
    Ok(path)
}

/// All texts of a manifest together. Its payload has at most 48 MiB, a million entries of 100 bytes take most of that, and a
/// character of a text may take six bytes there. A server's whole `/etc` has two.
const TEXTS_BYTES_MAX: usize = 16 << 20;
/// Of one tree.
const WITHHELD_SHOWN: usize = 20;
