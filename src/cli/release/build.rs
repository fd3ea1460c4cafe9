//! `portcullis release build`: from the spec and the real files to a manifest.

use std::{
    env,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, anyhow};
use portcullis::{
    digest::Digest,
    glob::Ignore,
    json::INTEGER_MAX,
    manifest::{Extras, Manifest, PAYLOAD_TYPE, Tree},
    signature::Envelope,
    spec::{SPEC_BYTES_MAX, Spec},
    tree,
};

use super::summary::{self, Summary};
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

  [[check]]
  name = \"nginx parses\"
  command = [\"nginx\", \"-t\"]")]
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
}

/// Runs `release build`.
pub(crate) fn run(args: &Args) -> anyhow::Result<Answer> {
    // The cheap things that can be wrong come before the long walk.
    let key = args.key.as_deref().map(files::read_signing_key).transpose()?;
    let spec = read_spec(&args.spec)?;
    spec.warnings.iter().for_each(output::warning);
    let mut manifest = spec.into_manifest(args.release.clone(), sequence(args.sequence)?);
    read_trees(&mut manifest, args.root.as_deref(), &args.out)?;

    let payload = manifest.to_payload();
    Manifest::parse(&payload).context("failed to build a manifest that keeps the rules")?;
    let digest = Digest::of(&payload);
    let mut envelope = Envelope::unsigned(PAYLOAD_TYPE, payload);
    if let Some(key) = &key {
        envelope.sign(key);
    }
    files::replace(&args.out, &envelope.to_json())?;

    if args.json {
        output::json(&Summary::of(&manifest, &digest))?;
    } else {
        let signer = key.map_or_else(|| "nobody yet".into(), |key| key.public().key_id());
        let (identity, content) = (summary::identity(&manifest, &digest), summary::content(&manifest));
        output::result(&format!("{identity}{content}signed    by {signer}\n"))?;
    }
    Ok(Answer::Yes)
}

fn read_spec(path: &Path) -> anyhow::Result<Spec> {
    let bytes = files::read(path, SPEC_BYTES_MAX)?;
    let context = || format!("failed to use `{}`", files::shown(path));
    let text = str::from_utf8(&bytes).with_context(context)?;
    Spec::parse(text).or_else(|error| {
        let hint = error.hint();
        Err(error).with_context(context).hint(hint)
    })
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

fn read_trees(manifest: &mut Manifest, root: Option<&Path>, out: &Path) -> anyhow::Result<()> {
    let bar = Bar::new();
    for tree in &mut manifest.trees {
        bar.tree(&tree.name);
        let directory = under(root, tree)?;
        is_outside(out, tree, &directory)?;
        let name = portcullis::text::visible(&tree.name);
        tree.entries = tree::read(tree, &directory, &bar).or_else(|error| {
            let hint = error.hint;
            Err(error)
                .with_context(|| format!("failed to read tree `{name}` in `{}`", files::shown(&directory)))
                .hint(hint)
        })?;
    }
    Ok(())
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
