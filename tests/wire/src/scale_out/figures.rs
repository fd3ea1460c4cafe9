//! What a run, or many, came to.

use std::{collections::BTreeMap, fmt};

/// Of a run, or of many together.
#[derive(Debug, Clone, Default)]
pub struct Figures {
    /// Instances there were.
    pub instances: u32,
    /// CONTINUEs that the cloud took, one a wait, during the scale-out.
    pub admitted: u32,
    /// Of these, those that should not have been.
    pub wrongly: u32,
    /// Given up, not ready in time.
    pub abandoned: u32,
    /// Not in service in the end.
    pub held: u32,
    /// Passed, failed then, and were not let in on the pass.
    pub caught: u32,
    /// Lies told.
    pub lies: u32,
    /// For each that was let in on a fresh report and had lost a file since: how long before.
    pub relapsed_ms: Vec<u64>,
    /// From the answer to the first passing report until the cloud took CONTINUE.
    pub latencies_ms: Vec<u64>,
    /// The longest of them, and the calls that it took.
    pub slowest: Option<(u64, String)>,
    /// Let in before any answer reached the agent: the controller was killed in between.
    pub unanswered: u32,
    /// How often the controller was killed at a random moment, and right after the cloud took a CONTINUE.
    pub kills: (u32, u32),
    /// How often each call came, and how often with an error.
    pub calls: BTreeMap<String, (u32, u32)>,
}

impl Figures {
    /// Both together.
    pub fn and(mut self, other: Self) -> Self {
        self.instances += other.instances;
        self.admitted += other.admitted;
        self.wrongly += other.wrongly;
        self.abandoned += other.abandoned;
        self.held += other.held;
        self.caught += other.caught;
        self.lies += other.lies;
        self.unanswered += other.unanswered;
        self.kills = (self.kills.0 + other.kills.0, self.kills.1 + other.kills.1);
        self.slowest = self.slowest.max(other.slowest);
        self.relapsed_ms.extend(other.relapsed_ms);
        self.latencies_ms.extend(other.latencies_ms);
        for (action, (all, refused)) in other.calls {
            let sum = self.calls.entry(action).or_default();
            *sum = (sum.0 + all, sum.1 + refused);
        }
        self
    }

    fn each(&self, calls: u32) -> f64 {
        f64::from(calls) / f64::from(self.admitted.max(1))
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { instances, admitted, wrongly, abandoned, held, caught, lies, .. } = self;
        writeln!(f, "{instances} instances; the controller killed {} times at random", self.kills.0)?;
        writeln!(f, "  and {} times right after the cloud took a CONTINUE", self.kills.1)?;
        writeln!(
            f,
            "  admitted {admitted}, wrongly {wrongly}; {abandoned} given up; {held} not in service in the end"
        )?;
        writeln!(f, "  {caught} had passed, failed again in time, and were held; {lies} lies told")?;
        let longest_ms = self.relapsed_ms.iter().max().copied().unwrap_or_default();
        writeln!(
            f,
            "  {} had lost a file since their last report, for at most {:.1} s (30 s may pass)",
            self.relapsed_ms.len(),
            seconds(longest_ms)
        )?;
        let mut sorted = self.latencies_ms.clone();
        sorted.sort_unstable();
        let at = |percent: usize| {
            seconds(sorted.get((sorted.len() * percent).saturating_sub(1) / 100).copied().unwrap_or(0))
        };
        writeln!(
            f,
            "  from passing report to CONTINUE: p50 {:.2} s, p99 {:.2} s, longest {:.2} s ({} measured, {} before any answer)",
            at(50),
            at(99),
            at(100),
            sorted.len(),
            self.unanswered
        )?;
        if let Some((_, calls)) = &self.slowest {
            writeln!(f, "    the longest: {calls}")?;
        }
        let all = self.calls.values().map(|(all, _)| all).sum();
        write!(f, "  API calls per instance admitted: {:.2}", self.each(all))?;
        for (action, (all, refused)) in &self.calls {
            write!(f, "\n    {action:<32} {all:>6} ({:.2} each), {refused} refused", self.each(*all))?;
        }
        Ok(())
    }
}

fn seconds(ms: u64) -> f64 {
    std::time::Duration::from_millis(ms).as_secs_f64()
}
