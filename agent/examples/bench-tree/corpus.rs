//! Trees to be checked, with a signed manifest and the lists that other tools want.

use std::{
    fs::{self, File},
    io::{BufWriter, Write as _},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use portcullis::{
    manifest::{EntryKind, Manifest, PAYLOAD_TYPE, Tree},
    signature::{Envelope, SigningKey},
    tree::{self, NoProgress},
};

/// A tree, and what describes it.
pub(super) struct Corpus {
    pub(super) directory: PathBuf,
    pub(super) files: usize,
    pub(super) size: usize,
}

impl Corpus {
    /// Made once, and kept in the build directory.
    pub(super) fn of(files: usize, size: usize) -> anyhow::Result<Self> {
        let directory = release_dir()?.with_file_name("bench-tree").join(format!("{files}x{size}"));
        let corpus = Self { directory, files, size };
        if !corpus.at("manifest.json").exists() {
            eprintln!("writing {files} files of {size} bytes to {}", corpus.directory.display());
            corpus.write()?;
            sign(&corpus.at("tree"), &corpus.directory)?;
        }
        Ok(corpus)
    }

    pub(super) fn at(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    pub(super) fn title(&self, what: &str) -> String {
        let size = match self.size {
            size if size >= 1 << 20 => format!("{} MiB", size >> 20),
            size if size >= 1 << 10 => format!("{} KiB", size >> 10),
            size => format!("{size} bytes"),
        };
        format!("{what}: {} files of {size}", self.files)
    }

    /// Until none of it is fresh: a file that has just been written is read each time.
    pub(super) fn settled(&self) -> anyhow::Result<()> {
        let age = SystemTime::UNIX_EPOCH.elapsed()?;
        let made = fs::metadata(self.at("list"))?.modified()?.duration_since(SystemTime::UNIX_EPOCH)?;
        let wanted = Duration::from_millis(tree::FRESH_MS + 1_000);
        if let Some(left) = wanted.checked_sub(age.saturating_sub(made)) {
            eprintln!("waiting {} s, until the files are no longer fresh", left.as_secs());
            std::thread::sleep(left);
        }
        Ok(())
    }

    /// Some 21 files a directory, as in a tree of PHP packages.
    fn write(&self) -> anyhow::Result<()> {
        let mut block = vec![0; self.size.min(BLOCK)];
        for file in 0..self.files {
            let parent = self.at(&format!("tree/{}/{}", file / 2_100, file / 21));
            if file % 21 == 0 {
                fs::create_dir_all(&parent)?;
            }
            let mut out = File::create(parent.join(format!("file{file}.php")))?;
            let mut left = self.size;
            while left > 0 {
                fill(&mut block, (file + left) as u64);
                let part = left.min(block.len());
                out.write_all(&block[..part])?;
                left -= part;
            }
        }
        Ok(())
    }
}

fn fill(block: &mut [u8], seed: u64) {
    for (index, chunk) in block.chunks_mut(8).enumerate() {
        let word = (seed + 1).wrapping_mul(index as u64 + 0x9e37_79b9_7f4a_7c15).to_le_bytes();
        chunk.copy_from_slice(&word[..chunk.len()]);
    }
}

/// Writes `manifest.json`, `key.pub` and `list` (as for `sha256sum -c`) of `root` to `to`.
pub(super) fn sign(root: &Path, to: &Path) -> anyhow::Result<()> {
    let mut tree = Tree::new("bench", &root.to_string_lossy());
    tree.entries = tree::read(&tree, root, &NoProgress)?;
    let mut list = BufWriter::new(File::create(to.join("list"))?);
    for entry in &tree.entries {
        if let EntryKind::File { sha256, .. } = &entry.kind {
            writeln!(list, "{}  {}", sha256.to_hex(), String::from_utf8_lossy(&entry.path))?;
        }
    }
    list.flush()?;
    let manifest =
        Manifest { product: "bench".into(), release: "1".into(), sequence: 1, trees: vec![tree], checks: vec![] };
    let key = SigningKey::generate(&[1; 32]);
    let mut envelope = Envelope::unsigned(PAYLOAD_TYPE, manifest.to_payload());
    envelope.sign(&key);
    fs::write(to.join("key.pub"), key.public().to_pem())?;
    Ok(fs::write(to.join("manifest.json"), envelope.to_json())?)
}

/// Where cargo puts release programs.
pub(super) fn release_dir() -> anyhow::Result<PathBuf> {
    let example = std::env::current_exe()?;
    let dir = example.ancestors().nth(2).ok_or_else(|| anyhow::anyhow!("not where cargo puts examples"))?;
    Ok(dir.into())
}

/// The real agent.
pub(super) fn agent() -> anyhow::Result<PathBuf> {
    let agent = release_dir()?.join("portcullis-agent");
    anyhow::ensure!(agent.exists(), "build it first: cargo build --release -p portcullis-agent");
    Ok(agent)
}

const BLOCK: usize = 1 << 20;
