//! `portcullis release learn`: from good instances to a proposed spec.

use std::{
    ffi::OsString,
    fs,
    io::Write as _,
    os::unix::ffi::OsStringExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, anyhow, bail};
use portcullis::learn::{Observation, Proposal, TemplateFile, observation, propose};

use super::super::{
    answer::{Answer, Hint as _},
    files, output,
};

mod discover;
mod instance;
mod system;
mod walk;

/// Propose a spec from one good instance, better from two
///
/// Looks at trees, and at what listens and runs. What differs between two instances is ignored where it is known to be data, rendered
/// from a template where facts explain it, and asked about in a comment otherwise. With --save, what was seen of this
/// instance is written to a file, to be compared with that of another. Nothing that looks like a secret is kept.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example, on each of two instances, then anywhere:
  portcullis release learn --tree /var/www/app --tree /etc/nginx --facts instance=i-1 --save web-1.json
  portcullis release learn web-1.json web-2.json --templates-dir staging --out portcullis.toml

Two images in one go; one instance, to look at:
  portcullis release learn --root /mnt/a --root /mnt/b
  portcullis release learn --tree /var/www/app")]
pub(crate) struct Args {
    /// What --save wrote, of each instance
    #[arg(value_name = "FILE", conflicts_with_all = ["root", "tree", "facts", "save"])]
    observations: Vec<PathBuf>,
    /// Look at an instance's files below DIR: a mounted image; may be given several times [default: /]
    #[arg(long, value_name = "DIR")]
    root: Vec<PathBuf>,
    /// A directory that is to be a tree; without it, those that web servers and services are configured with
    #[arg(long, value_name = "PATH")]
    tree: Vec<PathBuf>,
    /// What is particular to this instance: `instance=i-1,zone=a`; with several roots, once for each, in their order
    #[arg(long, value_name = "NAME=VALUE,…")]
    facts: Vec<String>,
    /// Write what was seen to FILE, and propose nothing yet
    #[arg(long, value_name = "FILE", conflicts_with_all = ["out", "templates_dir"])]
    save: Option<PathBuf>,
    /// Write the spec to FILE, which must not exist, instead of printing it
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Write templates below DIR: where the release is built from
    #[arg(long, value_name = "DIR")]
    templates_dir: Option<PathBuf>,
}

/// Runs `release learn`.
pub(crate) fn run(args: &Args) -> anyhow::Result<Answer> {
    let observations = if args.observations.is_empty() { look(args)? } else { read(&args.observations)? };
    if observations.len() > observation::INSTANCES_MAX {
        bail!("failed to compare {} instances: {} at most", observations.len(), observation::INSTANCES_MAX);
    }
    if let Some(path) = &args.save {
        let [observation] = &observations[..] else {
            bail!("failed to save: what is saved is one instance, not several")
        };
        let json = serde_json::to_vec(observation).context("failed to write JSON")?;
        write_new(path, &json)?;
        return Ok(Answer::Yes);
    }
    if observations.iter().all(|observation| observation.trees.is_empty()) {
        let error = anyhow!("found no directory that may be a tree");
        return Err(error).hint(Some("name one with `--tree PATH`"));
    }
    let Proposal { spec, templates, questions, twice } = propose(&observations);
    write_templates(&templates, args.templates_dir.as_deref())?;
    match &args.out {
        Some(path) => write_new(path, spec.as_bytes())?,
        None => output::result(&spec)?,
    }
    if let Some((first, second)) = twice {
        let name = |index| {
            files::shown(args.observations.get(index).or(args.root.get(index)).map_or(Path::new("/"), PathBuf::as_path))
        };
        output::warning(&format_args!(
            "`{}` and `{}` seem to be the same instance: what differs between instances shows only when two are compared",
            name(first),
            name(second)
        ));
    }
    if questions > 0 {
        output::warning(&format_args!("{questions} things are left for you to decide: see `decide` in the comments"));
    }
    Ok(Answer::Yes)
}

fn read(paths: &[PathBuf]) -> anyhow::Result<Vec<Observation>> {
    let one = |path: &PathBuf| {
        let bytes = files::read(path, observation::LIMITS.bytes_max)?;
        Observation::parse(&bytes).with_context(|| format!("failed to use `{}`", files::shown(path)))
    };
    paths.iter().map(one).collect()
}

fn look(args: &Args) -> anyhow::Result<Vec<Observation>> {
    let roots = if args.root.is_empty() { vec![PathBuf::from("/")] } else { args.root.clone() };
    if args.facts.len() > roots.len() {
        bail!("failed to use `--facts`: it is given {} times, for {} instances", args.facts.len(), roots.len());
    }
    let facts = args.facts.iter().map(Some).chain(std::iter::repeat(None));
    roots
        .iter()
        .zip(facts)
        .map(|(root, facts)| instance::observe(root, &args.tree, facts.map(String::as_str)))
        .collect()
}

fn write_templates(templates: &[TemplateFile], folder: Option<&Path>) -> anyhow::Result<()> {
    for TemplateFile { renders, text } in templates {
        let mut name = renders.clone();
        name.extend(b".tmpl");
        let name = PathBuf::from(OsString::from_vec(name));
        let Some(folder) = folder else {
            output::warning(&format_args!(
                "a template for `{}` was found: `--templates-dir DIR` writes it",
                files::shown(&name)
            ));
            continue;
        };
        let relative = name.strip_prefix("/").unwrap_or(&name);
        if relative.components().any(|part| !matches!(part, std::path::Component::Normal(_))) {
            bail!("failed to write `{}`: its path has `..` in it", files::shown(&name));
        }
        let path = folder.join(relative);
        let parent = path.parent().unwrap_or(folder);
        fs::create_dir_all(parent).with_context(|| format!("failed to create `{}`", files::shown(parent)))?;
        write_new(&path, text.as_bytes())?;
    }
    Ok(())
}

/// What people have made of an earlier proposal is not written over.
fn write_new(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let mut file = files::create(path, 0o644).hint(Some("choose another name, or move the old file away"))?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all());
    written.with_context(|| format!("failed to write `{}`", files::shown(path))).inspect_err(|_| {
        // What this process created; the error is what is told.
        let _ = fs::remove_file(path);
    })
}
