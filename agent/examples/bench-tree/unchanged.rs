//! Nothing has changed: a round of a real agent beside a bare walk; and what both agent and round weigh.

use super::{
    Options,
    corpus::Corpus,
    measure::{Figure, Table, measured},
    peers,
    serving::Serving,
};

const FLOOR: &str = "floor: bare walk with lstat";
const OURS: &str = "a round, nothing changed";

pub(super) fn run(options: &Options, corpus: &Corpus) -> anyhow::Result<()> {
    corpus.settled()?;
    let serving = Serving::start(corpus, 1, "")?;
    let (mut last, peak_full) = serving.next(None)?;
    let first = last.took_ms;
    // The second is the first that has something to believe.
    (last, _) = serving.next(Some(&last))?;
    let (mut table, mut peak_walk) = (Table::default(), 0);
    for round in 0..=options.rounds {
        let walk = measured(peers::bare("walk", &corpus.directory)?, &[])?;
        let before = serving.cpu_s()?.1;
        let peak;
        (last, peak) = serving.next(Some(&last))?;
        peak_walk = peak_walk.max(peak);
        let figure =
            Figure { wall_s: f64::from(u32::try_from(last.took_ms)?) / 1e3, cpu_s: serving.cpu_s()?.1 - before };
        if round > 0 || options.rounds == 0 {
            table.add(FLOOR, walk);
            table.add(OURS, figure);
        }
    }
    table.print(&corpus.title("Unchanged"), FLOOR);
    let mib = |kib: u64| f64::from(u32::try_from(kib).unwrap_or(u32::MAX)) / 1024.0;
    println!("\nthe first round, all read, waiting for admission: {first} ms");
    println!("agent, idle, {} files admitted: {:.1} MiB", corpus.files, mib(serving.rss_kib()));
    println!(
        "checking process at its peak: {:.1} MiB when all is read, {:.1} MiB unchanged",
        mib(peak_full),
        mib(peak_walk)
    );
    Ok(())
}
