//! Running programs, and what they cost.

use std::{
    collections::BTreeMap,
    fs,
    process::{Command, Stdio},
};

use portcullis_agent::clock;

/// What one run took.
#[derive(Clone, Copy, Default)]
pub(super) struct Figure {
    pub(super) wall_s: f64,
    pub(super) cpu_s: f64,
}

/// Figures by name, in the order in which names came.
#[derive(Default)]
pub(super) struct Table {
    names: Vec<&'static str>,
    figures: BTreeMap<&'static str, Vec<Figure>>,
}

impl Table {
    pub(super) fn add(&mut self, name: &'static str, figure: Figure) {
        if !self.names.contains(&name) {
            self.names.push(name);
        }
        self.figures.entry(name).or_default().push(figure);
    }

    /// Medians, and their ratios to those of `floor`.
    pub(super) fn print(&self, title: &str, floor: &str) {
        println!("\n{title}\n\n{:<34} {:>9} {:>9} {:>11} {:>11}", "", "wall s", "CPU s", "wall/floor", "CPU/floor");
        let least = self.median(floor);
        for name in &self.names {
            let Figure { wall_s, cpu_s } = self.median(name);
            let ratios = (wall_s / least.wall_s, cpu_s / least.cpu_s);
            println!("{name:<34} {wall_s:>9.3} {cpu_s:>9.2} {:>10.2}× {:>10.2}×", ratios.0, ratios.1);
        }
    }

    pub(super) fn median(&self, name: &str) -> Figure {
        let figures = self.figures.get(name).map_or(&[][..], Vec::as_slice);
        let middle = |value: fn(&Figure) -> f64| {
            let mut values: Vec<_> = figures.iter().map(value).collect();
            values.sort_by(f64::total_cmp);
            values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
        };
        Figure { wall_s: middle(|figure| figure.wall_s), cpu_s: middle(|figure| figure.cpu_s) }
    }
}

/// Runs a command to its end. Exit status 0, or `accepted`.
pub(super) fn measured(mut command: Command, accepted: &[i32]) -> anyhow::Result<Figure> {
    let (cpu, start) = (children_cpu_s()?, clock::monotonic());
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status()?;
    let wall_s = start.elapsed().as_secs_f64();
    let fine = status.code().is_some_and(|code| code == 0 || accepted.contains(&code));
    anyhow::ensure!(fine, "{command:?}: {status}");
    Ok(Figure { wall_s, cpu_s: children_cpu_s()? - cpu })
}

/// Of all children that have been waited for.
fn children_cpu_s() -> anyhow::Result<f64> {
    cpu_s(std::process::id(), &[16, 17])
}

/// Seconds in fields of `/proc/PID/stat`: 14 and 15 are the process's own, 16 and 17 those of its children.
pub(super) fn cpu_s(pid: u32, fields: &[usize]) -> anyhow::Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let (_, rest) = stat.rsplit_once(')').ok_or_else(|| anyhow::anyhow!("no stat"))?;
    let values: Vec<_> = rest.split_ascii_whitespace().collect();
    let tick = |field: &usize| values.get(field - 3).and_then(|text| text.parse::<f64>().ok());
    let ticks: Option<f64> = fields.iter().map(tick).sum();
    Ok(ticks.ok_or_else(|| anyhow::anyhow!("no such field"))? / 100.0)
}

/// A line of `/proc/PID/status`, in KiB.
pub(super) fn memory_kib(pid: u32, line: &str) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status.lines().find(|text| text.starts_with(line))?.split_whitespace().nth(1)?.parse().ok()
}
