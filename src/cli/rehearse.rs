//! `portcullis rehearse`: breaks a copy of a release in every way its checks should notice.

use std::{fs, path::PathBuf};

use anyhow::{Context as _, bail};
use portcullis::{
    facts::Facts,
    manifest::{Manifest, VerifiedManifest},
    rehearse::{Sampling, plan},
    signature::SigningKey,
    spec::Spec,
};
use zeroize::Zeroizing;

use super::{answer::Answer, clock, files, output, progress::Bar, release};
use agent::Agent;
use report::Report;
use scratch::Scratch;
use trees::Stage;

mod agent;
mod certificates;
mod checks;
mod report;
mod scratch;
mod trees;
mod undo;

/// Break a copy of a release in every way its checks should notice, and tell what they would miss
///
/// Copies the release's trees to a scratch folder (DIR itself is only read), breaks the copy in one way after another,
/// and runs the real agent each time. Commands and other checks that look at files run where the copy lies over the real
/// directories, in a mount namespace of their own. Exit code 0: everything would be noticed. 1: something would be
/// missed. 2: it could not be told, for example because the unbroken copy does not pass, or a check of it.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  portcullis rehearse --manifest manifest.json --trust release.key.pub --root staging
  portcullis rehearse --spec portcullis.toml --root staging --accept ignored,mode")]
pub(crate) struct Args {
    /// The signed manifest; without it one is built from the spec, for this rehearsal only
    #[arg(long, value_name = "FILE", requires = "trust", required_unless_present = "spec")]
    manifest: Option<PathBuf>,
    /// The release spec; with --manifest, it is only compared with it
    #[arg(long, value_name = "FILE")]
    spec: Option<PathBuf>,
    /// A public key to trust; may be given several times
    #[arg(long, value_name = "FILE")]
    trust: Vec<PathBuf>,
    /// How many different trusted keys must have signed
    #[arg(long, value_name = "N", default_value_t = 1)]
    threshold: usize,
    /// Where the release is: a staging directory, a mounted image, or /
    #[arg(long, value_name = "DIR")]
    root: PathBuf,
    /// How many things of each class (`*.php`, directories, the biggest …) are broken
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..), conflicts_with = "all")]
    sample: u16,
    /// Break every single thing
    #[arg(long)]
    all: bool,
    /// Which things of each class are taken
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Reasons for missing something that are known and do not count
    #[arg(long, value_name = "REASON", value_delimiter = ',', value_parser = ["ignored", "extras", "mode", "owner"])]
    accept: Vec<String>,
    /// What templates are rendered with: `--fact instance=i-1`; may be given several times
    #[arg(long, value_name = "NAME=VALUE")]
    fact: Vec<String>,
    /// Only the trees
    #[arg(long)]
    trees_only: bool,
    /// Where to put the copy; by default where temporary files go
    #[arg(long, value_name = "DIR")]
    scratch: Option<PathBuf>,
    /// The agent's program; by default the one beside this program, else the one in the PATH
    #[arg(long, value_name = "FILE")]
    agent: Option<PathBuf>,
    /// Print the result as JSON, with every single breakage
    #[arg(long)]
    json: bool,
}

/// Runs `rehearse`.
pub(crate) fn run(args: &Args) -> anyhow::Result<Answer> {
    let spec = args.spec.as_deref().map(files::read_spec).transpose()?;
    let scratch = Scratch::new(args.scratch.as_deref())?;
    let (file, agent) = signed(args, spec.as_ref(), &scratch)?;
    let trusted = release::verify::read_trusted(&agent.trust, agent.threshold)?;
    let manifest = VerifiedManifest::open(&files::read_envelope(&file)?, &trusted)
        .with_context(|| format!("failed to verify `{}`", files::shown(&file)))?
        .manifest;
    spec.filter(|_| args.manifest.is_some()).iter().for_each(|spec| compare(spec, &manifest));

    scratch.copy(&manifest, &args.root)?;
    scratch.render(&manifest, &facts(&args.fact)?)?;
    let sampling = Sampling { per_class: (!args.all).then_some(usize::from(args.sample)), seed: args.seed };
    let breakages = plan(&manifest, sampling).context("failed to plan")?;
    let stage = Stage { scratch: &scratch, manifest: &manifest, file: &file, agent: &agent };
    stage.must_pass("before anything is broken")?;
    let bar = Bar::new();
    let tried =
        stage.rehearse(&breakages, &|done| bar.tree(&format!("{done} of {} ways to break it", breakages.len())))?;
    let shown = if args.trees_only {
        vec![checks::Shown::NotRehearsed("only trees were asked for".into()); manifest.checks.len()]
    } else {
        checks::rehearse(&scratch, &manifest, &agent)?
    };
    // Else what was told above may be the trace of an earlier breakage.
    stage.must_pass("after everything was put back")?;
    drop(bar);
    let report =
        Report { manifest: &manifest, breakages: &breakages, tried: &tried, shown: &shown, accepted: &args.accept };
    if args.json {
        output::json(&report.json())?;
    } else {
        output::result(&report.text())?;
    }
    if let Some(unclear) = report.unclear() {
        if !args.json {
            bail!("{unclear}");
        }
        // On stdout it stands in the report: two documents in one could not be read.
        output::error(&unclear);
    }
    Ok(report.answer())
}

/// The manifest to rehearse with, and the agent that believes it.
fn signed(args: &Args, spec: Option<&Spec>, scratch: &Scratch) -> anyhow::Result<(PathBuf, Agent)> {
    let program = agent::find(args.agent.as_deref());
    if let Some(manifest) = &args.manifest {
        return Ok((
            manifest.clone(),
            Agent { program, trust: args.trust.clone(), threshold: args.threshold, facts: args.fact.clone() },
        ));
    }
    let spec = spec.context("neither a manifest nor a spec")?.clone();
    let (key, trust) = throwaway_key(scratch, "release.pub")?;
    let out = scratch.file("manifest.json");
    let (release, sequence) = ("rehearsal".into(), clock::unix_seconds());
    let order = release::build::Order { spec, release, sequence, root: Some(&args.root), key: Some(&key), out: &out };
    order.build()?;
    Ok((out, Agent { program, trust: vec![trust], threshold: 1, facts: args.fact.clone() }))
}

/// A key for this rehearsal only, and the file with its public half.
fn throwaway_key(scratch: &Scratch, name: &str) -> anyhow::Result<(SigningKey, PathBuf)> {
    let mut random = Zeroizing::new([0; 32]);
    getrandom::fill(&mut *random).context("failed to get random bytes")?;
    let (key, trust) = (SigningKey::generate(&random), scratch.file(name));
    fs::write(&trust, key.public().to_pem()).context("failed to write a key")?;
    Ok((key, trust))
}

fn facts(given: &[String]) -> anyhow::Result<Facts> {
    let mut facts = Facts::default();
    for fact in given {
        let (name, value) =
            fact.split_once('=').with_context(|| format!("failed to use `--fact {fact}`: not NAME=VALUE"))?;
        facts.insert(name, &value).with_context(|| format!("failed to use the fact `{name}`"))?;
    }
    Ok(facts)
}

/// What is rehearsed is the manifest; that the spec says something else is worth knowing.
fn compare(spec: &Spec, manifest: &Manifest) {
    let wanted = spec.clone().into_manifest(manifest.release.clone(), manifest.sequence);
    let same_trees = wanted.trees.len() == manifest.trees.len()
        && wanted.trees.iter().zip(&manifest.trees).all(|(one, other)| {
            (&one.name, &one.root, &one.ignore, one.attributes, one.extras)
                == (&other.name, &other.root, &other.ignore, other.attributes, other.extras)
        });
    if !same_trees || wanted.checks != manifest.checks {
        output::warning(&"the manifest was not built from this spec as it is now: the manifest is what is rehearsed");
    }
}
