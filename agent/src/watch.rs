//! Watching trees, so that whoever checks them looks at once when something happens there, and not only when it is time to.
//!
//! Level, not edge: what is heard here is evidence of nothing. It says that another look is worth its while; what the look
//! finds is the truth, and the looks that come from time to time anyway find what no event told of:
//! - a write through a shared mapping is told when the file is closed, if ever;
//! - nothing is told of what happens to a network's file system elsewhere, or of a file that is reached by another mount;
//! - a mount put over a directory is not told;
//! - a write by another name of the same file (a hard link) is told to the directory of that name only.
//!
//! One inotify watch a directory, none on what the tree ignores, never through a link or into a mount; and one on each
//! directory above a root, for the day on which that is put in its place. When directories come, go or move, or when the
//! kernel dropped events, all is walked again: simple, and without a gap, since the walk comes before the look.
//! A watch that is not whole is none: then nothing is watched, and it is said why.
//!
//! Where something happened is known as well, as long as no directories came or went, no events were lost, and the places are
//! few ([`touched`](Watch::touched)): for a glance before the look.

use std::{
    fmt,
    future::pending,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use portcullis::{glob::Ignore, manifest::Tree};
use rustix::{fs::inotify, io::Errno};
use tokio::{
    io::{Interest, unix::AsyncFd},
    task::{JoinHandle, spawn_blocking},
    time::{sleep, timeout},
};

use places::{Effect, Places};
use walk::Blind;

pub(crate) use places::Directories;

mod places;
mod walk;

/// Watches what it is told to; nothing at first.
#[derive(Debug)]
pub(crate) struct Watch {
    targets: Arc<[Target]>,
    eye: Option<Arc<Eye>>,
    places: Places,
    sight: Sight,
    /// A walk that was begun: one after the other.
    walking: Option<Walking>,
    /// Something happened since the last [`refresh`](Self::refresh).
    stirred: bool,
    /// Directories came or went, or events were lost: what is watched is no longer what should be.
    outdated: bool,
    /// Where something happened since the last [`refresh`](Self::refresh) or [`touched`](Self::touched); `None` for more places
    /// than are worth listing.
    touched: Option<Directories>,
    overflows: u64,
}

/// A tree to watch, or a file.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    root: PathBuf,
    is_file: bool,
    /// Whether the root itself may be a link.
    root_link: bool,
    /// As written: what decides whether it is the same tree.
    patterns: Vec<String>,
    ignore: Ignore,
}

/// How much is seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Sight {
    /// All of the trees: so many directories.
    Whole { directories: usize },
    /// Nothing.
    None { because: String },
}

impl fmt::Display for Sight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole { directories: 1 } => f.write_str("watching 1 directory"),
            Self::Whole { directories } => write!(f, "watching {directories} directories"),
            Self::None { because } => write!(f, "not watching: {because}"),
        }
    }
}

type Eye = AsyncFd<OwnedFd>;

#[derive(Debug)]
struct Walking {
    targets: Arc<[Target]>,
    walk: JoinHandle<Result<Places, Blind>>,
}

impl Target {
    /// A tree of this machine, or of the image at `image`.
    pub(crate) fn new(tree: &Tree, image: Option<&Path>) -> Self {
        let root = match image {
            Some(image) => image.join(tree.root.trim_start_matches('/')),
            None => PathBuf::from(&tree.root),
        };
        // A manifest with patterns that are none was refused.
        let ignore = Ignore::new(&tree.ignore).unwrap_or_default();
        Self { root, is_file: false, root_link: tree.root_link, patterns: tree.ignore.clone(), ignore }
    }

    /// Whatever is there by that name, now or later.
    pub(crate) fn file(path: &Path) -> Self {
        let (patterns, ignore) = (Vec::new(), Ignore::default());
        let root = std::path::absolute(path).unwrap_or_else(|_| path.into());
        Self { root, is_file: true, root_link: false, patterns, ignore }
    }

    fn same(&self, other: &Self) -> bool {
        (&self.root, self.is_file, self.root_link, &self.patterns)
            == (&other.root, other.is_file, other.root_link, &other.patterns)
    }
}

impl Watch {
    pub(crate) fn new() -> Self {
        Self {
            targets: Arc::default(),
            eye: None,
            places: Places::default(),
            sight: Sight::None { because: "nothing is known that could be watched".into() },
            walking: None,
            stirred: false,
            outdated: false,
            touched: Some(Directories::new()),
            overflows: 0,
        }
    }

    /// Watches these trees from now on, and no others. Where that is what it does already, or where they cannot be walked
    /// for now, it takes no time.
    pub(crate) async fn over(&mut self, targets: Vec<Target>) {
        let same = targets.len() == self.targets.len() && targets.iter().zip(&*self.targets).all(|(a, b)| a.same(b));
        if !same {
            self.targets = targets.into();
            // Of others; and whoever changes what is watched looks at all of it.
            self.touched = Some(Directories::new());
        }
        if !same || self.eye.is_none() {
            self.walk().await;
        }
    }

    /// Waits until something happened that may matter. Whoever stops waiting loses nothing.
    pub(crate) async fn stirred(&mut self) {
        while !self.stirred {
            let Some(eye) = self.eye.clone() else { return pending().await };
            match eye.ready(Interest::READABLE).await {
                Ok(mut ready) => {
                    if self.hear(&eye) {
                        ready.clear_ready();
                    }
                }
                Err(error) => self.lost(&Blind::new("the runtime", &error)),
            }
            if !self.stirred {
                // A log that is written to all day, and ignored, must not keep us busy.
                sleep(BATCH_PAUSE).await;
            }
        }
    }

    /// What happened up to now is known: [`stirred`](Self::stirred) waits for something new. What is watched stays as it is
    /// until it is [refreshed](Self::refresh).
    pub(crate) fn forget(&mut self) {
        self.drain();
        self.stirred = false;
    }

    /// Whether all that happens is heard, and where.
    pub(crate) const fn is_whole(&self) -> bool {
        matches!(self.sight, Sight::Whole { .. }) && !self.outdated
    }

    /// The directories in which something happened up to now, told once. `None` where that is nowhere, in too many, or where
    /// nobody can say: then it takes a look.
    pub(crate) fn touched(&mut self) -> Option<Directories> {
        self.forget();
        let touched = self.touched.replace(Directories::new());
        touched.filter(|touched| self.is_whole() && !touched.is_empty())
    }

    /// To be called right before a look: what happened up to now will be seen by it, and whatever happens from now on will be
    /// told.
    pub(crate) async fn refresh(&mut self) {
        self.drain();
        if self.outdated {
            self.walk().await;
        }
        (self.stirred, self.touched) = (self.outdated, Some(Directories::new()));
        self.drain();
    }

    pub(crate) const fn sight(&self) -> &Sight {
        &self.sight
    }

    /// How often the kernel dropped events.
    pub(crate) const fn overflows(&self) -> u64 {
        self.overflows
    }

    fn drain(&mut self) {
        let Some(eye) = self.eye.clone() else { return };
        // As many as the kernel queues, and no end of those that come meanwhile.
        for _ in 0..DRAIN_READS_MAX {
            if self.hear(&eye) {
                return;
            }
        }
    }

    /// Takes in one buffer of events; whether there are no more for now.
    fn hear(&mut self, eye: &Eye) -> bool {
        let mut buffer = [std::mem::MaybeUninit::uninit(); EVENTS_BYTES];
        let mut reader = inotify::Reader::new(eye.get_ref(), &mut buffer);
        loop {
            match reader.next() {
                Ok(event) => match self.places.effect(&event, &self.targets) {
                    Effect::Nothing => {}
                    Effect::Content(touched) => {
                        self.stirred = true;
                        self.touch(touched);
                    }
                    Effect::Directories => (self.stirred, self.outdated) = (true, true),
                    Effect::Lost => {
                        self.overflows += 1;
                        (self.stirred, self.outdated) = (true, true);
                    }
                },
                Err(Errno::AGAIN) => return true,
                Err(Errno::INTR) => {}
                Err(error) => {
                    self.lost(&Blind::new("events", &error.into()));
                    return true;
                }
            }
            if reader.is_buffer_empty() {
                return false;
            }
        }
    }

    fn touch(&mut self, touched: Directories) {
        if let Some(known) = &mut self.touched {
            known.extend(touched);
        }
        self.touched = self.touched.take().filter(|known| known.len() <= TOUCHED_MAX);
    }

    /// Brings what is watched up to date. A walk that hangs is waited for next time.
    async fn walk(&mut self) {
        loop {
            let targets = Arc::clone(&self.targets);
            let Some(walking) = self.walking_now() else { return };
            let for_these = Arc::ptr_eq(&walking.targets, &targets);
            let Ok(walked) = timeout(WALK_PATIENCE, &mut walking.walk).await else {
                self.sight = Sight::None { because: "the directories are still being walked".into() };
                (self.stirred, self.outdated) = (true, true);
                return;
            };
            self.walking = None;
            match walked {
                Ok(Ok(places)) => self.adopt(places),
                Ok(Err(blind)) => self.lost(&blind),
                Err(_) => self.lost(&Blind::from("a defect of ours: the walk panicked")),
            }
            if for_these {
                return;
            }
        }
    }

    fn walking_now(&mut self) -> Option<&mut Walking> {
        if self.walking.is_none() {
            let eye = match self.opened() {
                Ok(eye) => eye,
                Err(blind) => {
                    self.lost(&blind);
                    return None;
                }
            };
            // What happens from here on makes it outdated again.
            self.outdated = false;
            let targets = Arc::clone(&self.targets);
            let walk = spawn_blocking(move || walk::walk(eye.get_ref(), &targets, DIRECTORIES_MAX));
            self.walking = Some(Walking { targets: Arc::clone(&self.targets), walk });
        }
        self.walking.as_mut()
    }

    fn opened(&mut self) -> Result<Arc<Eye>, Blind> {
        if let Some(eye) = &self.eye {
            return Ok(Arc::clone(eye));
        }
        let flags = inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK;
        let descriptor = inotify::init(flags).map_err(Blind::opening)?;
        #[expect(
            deprecated,
            reason = "what took its place is unsafe, for descriptors that others may close: this one is ours"
        )]
        let eye = AsyncFd::try_with_interest(descriptor, Interest::READABLE);
        let eye = Arc::new(eye.map_err(|error| Blind::new("the runtime", &error.into()))?);
        self.eye = Some(Arc::clone(&eye));
        Ok(eye)
    }

    fn adopt(&mut self, places: Places) {
        let former = std::mem::replace(&mut self.places, places);
        if let Some(eye) = &self.eye {
            for watch in former.watches().filter(|watch| !self.places.has(*watch)) {
                // Gone already, most likely.
                let _ = inotify::remove_watch(eye.get_ref(), watch);
            }
        }
        self.sight = Sight::Whole { directories: self.places.directories() };
    }

    /// Everything is let go: others may need the watches that we cannot use.
    fn lost(&mut self, blind: &Blind) {
        self.places = Places::default();
        (self.eye, self.walking) = (None, None);
        (self.stirred, self.outdated) = (false, false);
        self.touched = Some(Directories::new());
        self.sight = Sight::None { because: blind.to_string() };
    }
}

/// Between two readings of events that are nobody's business.
const BATCH_PAUSE: Duration = Duration::from_millis(20);

/// Some hundred events.
const EVENTS_BYTES: usize = 16 << 10;

/// The kernel queues 16,384 events (`fs.inotify.max_queued_events`), each of 16 bytes and a name.
const DRAIN_READS_MAX: usize = 256;

/// A walk of 5,000 directories takes a tenth of a second. One that takes longer goes on, but nobody waits for it.
const WALK_PATIENCE: Duration = Duration::from_secs(2);

/// To look into each costs some system calls for each file in it, and those above it as many: this is still a small part of what
/// a look takes. Whoever writes to more of them deploys.
const TOUCHED_MAX: usize = 64;

/// Each takes some hundred bytes and its path here, and a kilobyte of the kernel's.
const DIRECTORIES_MAX: usize = 100_000;

#[cfg(test)]
mod tests;
