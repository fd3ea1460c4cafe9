//! Which manifest to check, and where it comes from: the state directory, the controller, a file. Wherever it was, it is
//! verified against the keys in the image, and its digest must be the one that was asked for.
//!
//! Here only its outline is kept in memory; the manifest itself stays on disk, and is opened and verified again by the process
//! that checks by it ([`checking`](crate::checking)).

use std::{
    fs::{self, File},
    io::{self, Write as _},
    os::fd::AsRawFd as _,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::Duration,
};

use portcullis::{
    digest::Digest,
    manifest::{Manifest, OpenError, VerifiedManifest},
    signature::{Envelope, EnvelopeLimits, TrustedKeys},
    text,
};
use rustix::fs::MemfdFlags;
use tokio::sync::mpsc;

use crate::{
    checking::{Answer, Job, Process, Request},
    config::Pin,
    controller::{Controller, ControllerError},
    state::{self, State},
};

/// A manifest that was verified and that this image takes.
#[derive(Debug, Clone)]
pub(crate) struct Release {
    pub(crate) digest: Digest,
    /// All of it but the entries of its trees.
    pub(crate) outline: Arc<Manifest>,
    kept: Arc<Kept>,
}

/// Where an envelope is, and as what it was verified.
#[derive(Debug)]
struct Kept {
    file: PathBuf,
    /// While it looks like this it is the one that was verified.
    seal: Option<Seal>,
    /// Where no disk would take it.
    _memory: Option<File>,
}

/// How a file looks while it is left alone.
pub(crate) type Seal = [u64; 5];

impl Release {
    /// The envelope.
    pub(crate) fn file(&self) -> &Path {
        &self.kept.file
    }

    /// Whether the file has been left alone since it was verified. What this misses (a change within one tick of the clock)
    /// is found by whoever opens it: it is verified each time.
    pub(crate) fn is_there(&self) -> bool {
        self.kept.seal.is_some() && seal(&self.kept.file) == self.kept.seal
    }
}

/// How it looks now; `None` where it is gone.
pub(crate) fn seal(file: &Path) -> Option<Seal> {
    use std::os::unix::fs::MetadataExt as _;
    let metadata = fs::metadata(file).ok()?;
    let changed = metadata.ctime().cast_unsigned();
    Some([metadata.dev(), metadata.ino(), metadata.size(), changed, metadata.ctime_nsec().cast_unsigned()])
}

/// What the image says about manifests.
#[derive(Debug, Clone)]
pub(crate) struct Rules {
    pub(crate) trust: TrustedKeys,
    pub(crate) pin: Pin,
}

/// Manifests by digest; the outlines of at most [`CANDIDATES_MAX`] stay in memory.
#[derive(Debug)]
pub(crate) struct Manifests {
    rules: Arc<Rules>,
    state: Arc<State>,
    program: PathBuf,
    known: Vec<Release>,
}

/// There is no manifest to check by.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ManifestError {
    #[error(transparent)]
    Controller(#[from] ControllerError),
    #[error("`{path}`: {because}")]
    Unreadable { path: String, because: String },
    #[error("not a manifest to believe: {0}")]
    Refused(String),
    #[error("no place to keep it: {0}")]
    NoPlace(#[from] io::Error),
    #[error("verifying it was broken off")]
    BrokenOff,
}

impl Manifests {
    pub(crate) fn new(rules: Arc<Rules>, state: Arc<State>, program: PathBuf) -> Self {
        Self { rules, state, program, known: Vec::new() }
    }

    /// The manifest of that digest, from the nearest place that has it.
    pub(crate) async fn release(&mut self, digest: Digest, controller: &Controller) -> Result<Release, ManifestError> {
        if let Some(release) = self.cached(digest).await {
            return Ok(release);
        }
        let release = match self.fetched(digest, controller).await {
            // A disk that takes nothing more must not keep an instance from being proven.
            Err(ManifestError::NoPlace(error)) => {
                tracing::warn!("the manifest is not kept on disk: {error}");
                self.fetched_to_memory(digest, controller).await?
            }
            fetched => fetched?,
        };
        tracing::info!("verified release `{}`, manifest {digest}", text::visible(&release.outline.release));
        self.remember(release.clone());
        Ok(release)
    }

    /// The manifest of that digest, if the state directory has it.
    pub(crate) async fn cached(&mut self, digest: Digest) -> Option<Release> {
        self.known.retain(Release::is_there);
        if let Some(release) = self.known.iter().find(|release| release.digest == digest) {
            return Some(release.clone());
        }
        let file = self.state.manifest(digest);
        let release = verified(file, None, Some(digest), Arc::clone(&self.rules), self.program.clone()).await.ok()?;
        self.remember(release.clone());
        Some(release)
    }

    /// To a draft, which is given its name when all holds.
    async fn fetched(&self, digest: Digest, controller: &Controller) -> Result<Release, ManifestError> {
        let state = Arc::clone(&self.state);
        let (draft, file) = on_thread(move || state.draft()).await??;
        download(digest, controller, file).await?;
        let release = verified(draft, None, Some(digest), Arc::clone(&self.rules), self.program.clone()).await?;
        let state = Arc::clone(&self.state);
        let keep = move || state.keep_manifest(digest).map(|file| Kept { seal: seal(&file), file, _memory: None });
        Ok(Release { kept: Arc::new(on_thread(keep).await??), ..release })
    }

    async fn fetched_to_memory(&self, digest: Digest, controller: &Controller) -> Result<Release, ManifestError> {
        let memory = rustix::fs::memfd_create(c"manifest", MemfdFlags::CLOEXEC).map_err(io::Error::from)?;
        let memory = File::from(memory);
        download(digest, controller, memory.try_clone()?).await?;
        let file = format!("/proc/{}/fd/{}", std::process::id(), memory.as_raw_fd());
        verified(file.into(), Some(memory), Some(digest), Arc::clone(&self.rules), self.program.clone()).await
    }

    fn remember(&mut self, release: Release) {
        self.known.insert(0, release);
        self.known.truncate(CANDIDATES_MAX);
    }
}

async fn on_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, ManifestError> {
    tokio::task::spawn_blocking(work).await.map_err(|_| ManifestError::BrokenOff)
}

/// Writes what the controller has under that name, chunk by chunk, beside the thread that answers probes: a disk may hang.
async fn download(digest: Digest, controller: &Controller, mut file: File) -> Result<(), ManifestError> {
    let (sender, mut chunks) = mpsc::channel::<Vec<u8>>(CHUNKS_MAX);
    let writing = tokio::task::spawn_blocking(move || -> io::Result<()> {
        while let Some(chunk) = chunks.blocking_recv() {
            file.write_all(&chunk)?;
        }
        file.sync_all()
    });
    let fetched = controller.manifest(digest, sender).await;
    let written = writing.await.map_err(|_| ManifestError::BrokenOff)?;
    // A disk that is full ends the download as well.
    written?;
    Ok(fetched?)
}

/// The manifest in a file, for an agent without a controller: `last` again, if the file has been left alone.
pub(crate) async fn from_file(
    path: &Path,
    last: Option<Release>,
    rules: Arc<Rules>,
    program: PathBuf,
) -> Result<Release, ManifestError> {
    match last.filter(Release::is_there) {
        Some(release) => Ok(release),
        None => verified(path.into(), None, None, rules, program).await,
    }
}

/// What `release` was verified from, in a file of ours; verified again there.
pub(crate) async fn copy(
    release: &Release,
    copy: PathBuf,
    rules: Arc<Rules>,
    program: PathBuf,
) -> Result<Release, ManifestError> {
    let (from, to) = (release.file().to_path_buf(), copy.clone());
    let copying = move || {
        state::make_private(to.parent().unwrap_or(Path::new("."))).map_err(io::Error::other)?;
        state::copy(&from, &to, EnvelopeLimits::MANIFEST.bytes_max as u64)
    };
    on_thread(copying).await??;
    verified(copy, None, Some(release.digest), rules, program).await
}

/// By a process of its own: it takes many times the manifest's size.
async fn verified(
    file: PathBuf,
    memory: Option<File>,
    asked: Option<Digest>,
    rules: Arc<Rules>,
    program: PathBuf,
) -> Result<Release, ManifestError> {
    let verify = move || {
        let unreadable = |error: &dyn ToString| ManifestError::Unreadable {
            path: text::escape(file.as_os_str().as_encoded_bytes()),
            because: error.to_string(),
        };
        fs::metadata(&file).map_err(|error| unreadable(&error))?;
        // Before it is read: should it change meanwhile, it is not there any more.
        let seal = seal(&file);
        let request = Request { file: file.clone(), digest: asked, rules: (&*rules).into(), job: Job::Outline };
        match Process::new(program).ask(request, VERIFYING_MAX) {
            Ok(Answer::Outline { digest, outline }) => {
                let outline = Manifest::parse_outline(outline.as_bytes());
                let outline = Arc::new(outline.map_err(|error| ManifestError::Refused(error.to_string()))?);
                Ok(Release { digest, outline, kept: Arc::new(Kept { file, seal, _memory: memory }) })
            }
            Ok(Answer::Refused { because }) => Err(ManifestError::Refused(because)),
            Ok(Answer::Checked { .. }) => Err(ManifestError::BrokenOff),
            Err(because) => Err(unreadable(&because)),
        }
    };
    on_thread(verify).await?
}

/// Why a manifest cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotOurs {
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error("it is of product `{}`, and this image is of `{}`", text::visible(actual), text::visible(pinned))]
    Product { pinned: String, actual: String },
    #[error("it has sequence {actual}, and this image takes none before {pinned}")]
    Sequence { pinned: u64, actual: u64 },
}

/// Opens an envelope: by the rules of PROTOCOL.md §1, then by those of the image.
pub(crate) fn open(envelope: &[u8], asked: Option<Digest>, rules: &Rules) -> Result<(Digest, Manifest), NotOurs> {
    let VerifiedManifest { manifest, digest, .. } = verified_by(envelope, &rules.trust)?;
    if let Some(expected) = asked.filter(|asked| *asked != digest) {
        return Err(OpenError::Digest { expected, actual: digest }.into());
    }
    if let Some(pinned) = rules.pin.product.as_ref().filter(|pinned| **pinned != manifest.product) {
        return Err(NotOurs::Product { pinned: pinned.clone(), actual: manifest.product });
    }
    if let Some(pinned) = rules.pin.sequence_min.filter(|pinned| *pinned > manifest.sequence) {
        return Err(NotOurs::Sequence { pinned, actual: manifest.sequence });
    }
    Ok((digest, manifest))
}

/// Opens an envelope of which the payload is known by its digest, since it was verified before: a third of the work is to do so.
pub(crate) fn open_known(envelope: &[u8], digest: Digest) -> Result<Manifest, NotOurs> {
    let envelope = Envelope::parse(envelope, &EnvelopeLimits::MANIFEST).map_err(OpenError::from)?;
    Ok(Manifest::parse_known(&envelope.payload, digest)?)
}

/// Opens an envelope by the rules of PROTOCOL.md §1, on two threads where there are two to be had.
pub fn verified_by(envelope: &[u8], trusted: &TrustedKeys) -> Result<VerifiedManifest, OpenError> {
    VerifiedManifest::open_beside(envelope, trusted, |verify, read| {
        thread::scope(|scope| {
            if thread::Builder::new().name("verify".into()).spawn_scoped(scope, verify).is_ok() {
                read();
            }
        });
    })
}

/// Which of the accepted manifests to check, in this order, until one passes: the one that the image claims to carry if it
/// is accepted, else the newest first.
pub(crate) fn candidates(hint: Option<Digest>, accepted: &[Digest]) -> Vec<Digest> {
    match hint.filter(|hint| accepted.contains(hint)) {
        Some(hint) => vec![hint],
        None => accepted.iter().copied().take(CANDIDATES_MAX).collect(),
    }
}

/// What the image claims to carry. No such file, or something else in it: no hint, which is all it ever was.
pub(crate) fn hint(file: Option<&PathBuf>) -> Option<Digest> {
    let bytes = state::read_capped(file?, HINT_BYTES_MAX).ok()?;
    str::from_utf8(&bytes).ok()?.trim().parse().ok()
}

/// The wanted release, the former, and one more: checking each costs a walk of every tree.
pub(crate) const CANDIDATES_MAX: usize = 3;
const HINT_BYTES_MAX: usize = 1 << 10;
/// 64 MiB from a disk that is busy.
const VERIFYING_MAX: Duration = Duration::from_secs(120);
/// On their way from the network to the disk; each is some kilobytes.
const CHUNKS_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hint_goes_first_if_it_is_accepted() {
        let digest = |n: u8| Digest::of(&[n]);
        let accepted = [digest(4), digest(3), digest(2), digest(1)];
        assert_eq!(candidates(Some(digest(2)), &accepted), [digest(2)]);
        assert_eq!(candidates(Some(digest(9)), &accepted), accepted[..3]);
        assert_eq!(candidates(None, &accepted), accepted[..3]);
        assert_eq!(candidates(Some(digest(1)), &[]), []);
    }

    #[test]
    fn a_hint_is_a_digest_or_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("release");
        assert_eq!(hint(Some(&file)), None);
        for (text, expected) in [(format!("{}\n", Digest::of(b"")), Some(Digest::of(b""))), ("latest".into(), None)] {
            fs::write(&file, text).unwrap();
            assert_eq!(hint(Some(&file)), expected);
        }
    }
}
