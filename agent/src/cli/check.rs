//! `check`: is this machine, or this mounted image, exactly as the signed manifest wants it?

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, fs,
    io::{self, BufWriter, IsTerminal as _, Read as _, Write},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use portcullis::{
    digest::Digest,
    facts::Facts,
    manifest::{Manifest, VerifiedManifest},
    outcome::{Outcome, Status, overall},
    signature::{EnvelopeLimits, PublicKey, TrustedKeys},
};
use portcullis_agent::{
    checks::{Checks, Options},
    clock,
    config::Config,
    manifests::verified_by,
};

use super::{
    check_output, junit,
    problem::{Form, Problem, UNTOLD},
};

/// Exit status 0: all passed. 1: something failed. 2: it could not be told.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  portcullis-agent check --manifest manifest.json --trust release.key.pub
  portcullis-agent check --manifest manifest.json --trust release.key.pub --root /mnt/image --trees-only --json

Exit codes: 0 all passed, 1 something failed, 2 it could not be told. With --json, exit 2 prints an object with `error` and no `outcomes`,
with --junit one test case that is an error, unless checks were run.")]
pub(crate) struct Args {
    /// The signed manifest
    #[arg(long, value_name = "FILE")]
    manifest: PathBuf,
    /// A public key to believe (PEM); give it again for another
    #[arg(long, value_name = "FILE", required = true)]
    trust: Vec<PathBuf>,
    /// How many of these keys must have signed
    #[arg(long, value_name = "N", default_value_t = 1)]
    threshold: usize,
    /// Put every path of the manifest under this directory: a mounted image
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
    /// Check trees, and nothing else
    #[arg(long)]
    trees_only: bool,
    /// Run commands as this agent.toml says (`checks.user`, `checks.root_commands`), and take its `[facts]`
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// What templates are rendered with: `--fact instance=i-1`. Given ones come before this machine's `hostname`, `ipv4` and
    /// `ipv6`; with `--root` there are no others
    #[arg(long, value_name = "NAME=VALUE")]
    fact: Vec<String>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    /// Print the outcomes as JUnit's XML, for CI servers
    #[arg(long, conflicts_with = "json")]
    junit: bool,
    /// Print all differences that are listed, not only the first of each check
    #[arg(long)]
    all: bool,
}

/// Runs the checks once and tells what came of them.
pub(crate) fn run(args: &Args) -> ExitCode {
    let report = match report(args) {
        Ok(report) => report,
        Err(problem) => return problem.tell(Form::of(args.json, args.junit)),
    };
    match print(args, &report) {
        // Whoever stopped reading has seen enough.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            eprintln!("error: failed to print: {error}");
            ExitCode::from(UNTOLD)
        }
        _ => ExitCode::from(match report.status() {
            Status::Pass => 0,
            Status::Fail => 1,
            Status::Unknown => UNTOLD,
        }),
    }
}

/// All that there is to tell.
pub(super) struct Report {
    pub(super) release: String,
    pub(super) digest: Digest,
    pub(super) trees_only: bool,
    /// What templates were rendered with.
    pub(super) facts: BTreeMap<String, String>,
    pub(super) outcomes: Vec<Outcome>,
    pub(super) took_ms: u64,
}

impl Report {
    pub(super) fn status(&self) -> Status {
        overall(&self.outcomes)
    }
}

fn report(args: &Args) -> Result<Report, Problem> {
    let started = clock::monotonic();
    let verified = verified(args)?;
    if args.root.is_some() && !args.trees_only && !verified.manifest.checks.is_empty() {
        let text =
            format!("the manifest has {} other than trees, which `--root` cannot run", counted(&verified.manifest));
        return Err(Problem { text, hint: Some("with `--trees-only` the trees alone are checked") });
    }
    if let Some(root) = args.root.as_ref().filter(|root| !root.is_dir()) {
        return Err(Problem { text: format!("`{}` is not a directory", root.display()), hint: None });
    }
    let mut options = configured(args)?;
    given(&mut options.facts, &args.fact)?;
    let manifest = Arc::new(verified.manifest);
    let checks = Checks::new(options);
    let facts = checks.facts(&manifest);
    let mut outcomes = checks.run_all(&manifest, &facts);
    checks.settle(&manifest, &mut outcomes);
    let release = manifest.release.clone();
    let took_ms = clock::ms_since(started);
    let (digest, facts) = (verified.digest, facts.into_values());
    Ok(Report { release, digest, trees_only: args.trees_only, facts, outcomes, took_ms })
}

/// As the agent would run them, but once and at full speed: nothing is remembered, nothing held back.
fn configured(args: &Args) -> Result<Options, Problem> {
    let config = args.config.as_deref().map(Config::read).transpose();
    let checks = config?.map(|config| config.checks).unwrap_or_default();
    let root = args.root.clone().or(checks.root);
    Ok(Options { root, trees_only: args.trees_only, cache: None, calm: false, read_bytes_per_s: None, ..checks })
}

/// What is given here comes before what the configuration says.
fn given(facts: &mut Facts, written: &[String]) -> Result<(), Problem> {
    let mut known = BTreeSet::new();
    for fact in written {
        let wrong = |because: &str| Problem { text: format!("`--fact {fact}`: {because}"), hint: None };
        let (name, value) = fact.split_once('=').ok_or_else(|| wrong("not NAME=VALUE"))?;
        if !known.insert(name) {
            return Err(wrong("the fact is given twice"));
        }
        facts.insert(name, &value).map_err(|error| wrong(&error.to_string()))?;
    }
    Ok(())
}

fn counted(manifest: &Manifest) -> String {
    match manifest.checks.len() {
        1 => "1 check".into(),
        checks => format!("{checks} checks"),
    }
}

fn verified(args: &Args) -> Result<VerifiedManifest, Problem> {
    let key = |path: &PathBuf| {
        let pem = read(path, KEY_BYTES_MAX)?;
        let pem = String::from_utf8_lossy(&pem);
        PublicKey::from_pem(&pem).map_err(|error| problem("key", path, &error))
    };
    let keys = args.trust.iter().map(key).collect::<Result<_, _>>()?;
    let trusted =
        TrustedKeys::new(keys, args.threshold).map_err(|error| Problem { text: error.to_string(), hint: None })?;
    let envelope = read(&args.manifest, ENVELOPE_BYTES_MAX)?;
    verified_by(&envelope, &trusted).map_err(|error| problem("manifest", &args.manifest, &error))
}

/// All of a file that has at most `max` bytes.
fn read(path: &Path, max: u64) -> Result<Vec<u8>, Problem> {
    let mut bytes = Vec::new();
    let read = fs::File::open(path).and_then(|file| file.take(max + 1).read_to_end(&mut bytes));
    match read {
        Ok(_) if bytes.len() as u64 > max => Err(Problem {
            text: format!("failed to read `{}`: it has more than {max} bytes", path.display()),
            hint: None,
        }),
        Ok(_) => Ok(bytes),
        Err(error) => Err(Problem { text: format!("failed to read `{}`: {error}", path.display()), hint: None }),
    }
}

fn problem(what: &str, path: &Path, error: &dyn fmt::Display) -> Problem {
    Problem { text: format!("failed to accept {what} `{}`: {error}", path.display()), hint: None }
}

fn print(args: &Args, report: &Report) -> io::Result<()> {
    let stdout = io::stdout();
    let colour = stdout.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let mut out = BufWriter::new(stdout.lock());
    if args.json {
        check_output::json(&mut out, report)?;
    } else if args.junit {
        junit::junit(&mut out, report)?;
    } else {
        check_output::text(&mut out, report, args.all, colour)?;
    }
    out.flush()
}

/// A PEM key is some 120 bytes.
const KEY_BYTES_MAX: u64 = 64 * 1024;

const ENVELOPE_BYTES_MAX: u64 = EnvelopeLimits::MANIFEST.bytes_max as u64;
