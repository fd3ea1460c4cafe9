//! Every file is read: beside the bare loop and the peers, in turns.

use std::fs;

use super::{
    Options,
    corpus::Corpus,
    measure::{Table, measured},
    peers::{self, PEERS},
};

pub(super) const FLOOR: &str = "floor: bare loop";
pub(super) const OURS: &str = "portcullis-agent check";

pub(super) fn run(options: &Options, what: &str, corpus: &Corpus) -> anyhow::Result<()> {
    let mut there = Vec::new();
    for peer in PEERS.iter().filter(|_| options.peers()) {
        if peer.prepared(corpus)? {
            there.push(peer);
        }
    }
    let mut table = Table::default();
    // The first round warms up.
    for round in 0..=options.rounds {
        let ours = [(FLOOR, peers::bare("bare", &corpus.directory)?), (OURS, peers::ours(&corpus.directory)?)];
        let ours = ours.map(|(name, command)| (name, command, &[][..]));
        // Each peer a few times only: the slow ones take minutes.
        let theirs = there.iter().filter(|_| round <= PEER_ROUNDS);
        let theirs = theirs.map(|peer| (peer.name, peer.command(corpus), peer.accepted));
        for (name, command, accepted) in ours.into_iter().chain(theirs) {
            if options.cold {
                rustix::fs::sync();
                fs::write("/proc/sys/vm/drop_caches", "3")?;
            }
            let figure = measured(command, accepted)?;
            if round > 0 || options.rounds == 0 {
                table.add(name, figure);
            }
        }
    }
    let cache = if options.cold { "cold" } else { "warm" };
    table.print(&format!("{}, {cache} cache", corpus.title(what)), FLOOR);
    Ok(())
}

const PEER_ROUNDS: usize = 3;
