//! `portcullis-agent check` beside a bare loop of the same work, and beside `sha256sum -c`, on the same tree, in turns:
//!
//! ```text
//! cargo build --release -p portcullis-agent
//! cargo run --release -p portcullis-agent --example bench-tree -- [--files 100000] [--size 10240] [--rounds 5] [--cold]
//! ```
//!
//! Each is a program of its own, so that starting and reading the list count. The bare loop walks, opens, reads, hashes and
//! compares, two threads beside the walk: no signature, no ignores, no guard against symlinks, mounts or change. With
//! `--cold` (root only) the page cache is dropped before each.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, BufWriter, Write as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use portcullis::{
    manifest::{Attributes, EntryKind, Extras, Manifest, PAYLOAD_TYPE, Tree},
    signature::{Envelope, SigningKey},
    tree::{self, NoProgress},
};
use portcullis_agent::clock;

mod bare;

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [word, list, root] = arguments.as_slice()
        && word == "bare"
    {
        return bare::run(Path::new(list), Path::new(root));
    }
    let number = |name: &str, default: usize| -> anyhow::Result<usize> {
        let at = arguments.iter().position(|argument| argument == name);
        Ok(at.and_then(|at| arguments.get(at + 1)).map_or(Ok(default), |text| text.parse())?)
    };
    let (files, size, rounds) = (number("--files", 100_000)?, number("--size", 10_240)?, number("--rounds", 5)?);
    let is_cold = arguments.iter().any(|argument| argument == "--cold");
    let bench = Bench::made(files, size)?;
    let mut figures = BTreeMap::<&str, Vec<Figure>>::new();
    for round in 0..=rounds {
        for (name, command) in bench.commands()? {
            if is_cold {
                rustix::fs::sync();
                fs::write("/proc/sys/vm/drop_caches", "3")?;
            }
            let figure = measured(command)?;
            // The first round warms up.
            if round > 0 {
                figures.entry(name).or_default().push(figure);
            }
        }
    }
    println!(
        "{files} files of {size} bytes, {} cache, {rounds} rounds, medians",
        if is_cold { "cold" } else { "warm" }
    );
    let floor = median(&figures["bare loop"]);
    for (name, figures) in &figures {
        let Figure { wall_s, cpu_s } = median(figures);
        let ratio = wall_s / floor.wall_s;
        println!("{name:<24} wall {wall_s:6.3} s   CPU {cpu_s:5.2} s   {ratio:5.2} × the bare loop's wall time");
    }
    Ok(())
}

struct Bench {
    directory: PathBuf,
    agent: PathBuf,
}

impl Bench {
    fn made(files: usize, size: usize) -> anyhow::Result<Self> {
        let example = std::env::current_exe()?;
        let release = example.ancestors().nth(2).ok_or_else(|| anyhow::anyhow!("not where cargo puts examples"))?;
        let directory = release.with_file_name("bench-tree").join(format!("{files}x{size}"));
        let bench = Self { directory, agent: release.join("portcullis-agent") };
        anyhow::ensure!(bench.agent.exists(), "build it first: cargo build --release -p portcullis-agent");
        if !bench.directory.join("manifest.json").exists() {
            bench.make(files, size)?;
        }
        Ok(bench)
    }

    /// Some 21 files a directory, as in a tree of PHP packages.
    fn make(&self, files: usize, size: usize) -> anyhow::Result<()> {
        let mut content = vec![0; size];
        for file in 0..files {
            let parent = self.directory.join(format!("tree/{}/{}", file / 2_100, file / 21));
            if file % 21 == 0 {
                fs::create_dir_all(&parent)?;
            }
            for (index, chunk) in content.chunks_mut(8).enumerate() {
                let word = (file as u64 + 1).wrapping_mul(index as u64 + 0x9e37_79b9_7f4a_7c15).to_le_bytes();
                chunk.copy_from_slice(&word[..chunk.len()]);
            }
            fs::write(parent.join(format!("file{file}.php")), &content)?;
        }
        self.sign()
    }

    fn sign(&self) -> anyhow::Result<()> {
        let root = self.directory.join("tree");
        let mut tree = Tree {
            name: "bench".into(),
            root: root.to_string_lossy().into(),
            root_link: false,
            extras: Extras::Refuse,
            ignore: vec![],
            attributes: Attributes::default(),
            entries: vec![],
        };
        tree.entries = tree::read(&tree, &root, &NoProgress)?;
        let mut list = BufWriter::new(fs::File::create(self.directory.join("list"))?);
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
        fs::write(self.directory.join("key.pub"), key.public().to_pem())?;
        Ok(fs::write(self.directory.join("manifest.json"), envelope.to_json())?)
    }

    fn commands(&self) -> io::Result<Vec<(&'static str, Command)>> {
        let at = |name: &str| self.directory.join(name);
        let mut agent = Command::new(&self.agent);
        agent.args(["check", "--manifest"]).arg(at("manifest.json")).arg("--trust").arg(at("key.pub"));
        let mut bare = Command::new(std::env::current_exe()?);
        bare.arg("bare").arg(at("list")).arg(at("tree"));
        let mut sha256sum = Command::new("sha256sum");
        sha256sum.args(["-c", "--quiet"]).arg(at("list")).current_dir(at("tree"));
        Ok(vec![("portcullis-agent check", agent), ("bare loop", bare), ("sha256sum -c", sha256sum)])
    }
}

#[derive(Clone, Copy)]
struct Figure {
    wall_s: f64,
    cpu_s: f64,
}

fn measured(mut command: Command) -> anyhow::Result<Figure> {
    let (cpu, start) = (children_cpu_s()?, clock::monotonic());
    let status = command.stdout(Stdio::null()).status()?;
    let wall_s = start.elapsed().as_secs_f64();
    anyhow::ensure!(status.success(), "{command:?}: {status}");
    Ok(Figure { wall_s, cpu_s: children_cpu_s()? - cpu })
}

/// Of all children that have been waited for: fields 16 and 17 of `/proc/self/stat`, in hundredths of a second.
fn children_cpu_s() -> anyhow::Result<f64> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    let (_, fields) = stat.rsplit_once(')').ok_or_else(|| anyhow::anyhow!("no stat"))?;
    let ticks = fields.split_ascii_whitespace().skip(13).take(2).map(str::parse::<f64>);
    Ok(ticks.sum::<Result<f64, _>>()? / 100.0)
}

fn median(figures: &[Figure]) -> Figure {
    let middle = |value: fn(&Figure) -> f64| {
        let mut values: Vec<_> = figures.iter().map(value).collect();
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    Figure { wall_s: middle(|figure| figure.wall_s), cpu_s: middle(|figure| figure.cpu_s) }
}
