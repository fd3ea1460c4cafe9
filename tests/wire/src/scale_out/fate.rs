//! What becomes of each instance: by the seed, before anything happens.

use super::random::Random;

/// How an instance is, and what happens to it on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Ready from the start.
    Whole,
    /// Its deploy ends so long after its agent was started.
    Late { after_ms: u64 },
    /// It loses a file so long after its first passing report was sent, and may get it back later.
    Relapses { after_ms: u64, heals_after_ms: Option<u64> },
    /// Its deploy halted half-way.
    Halted,
    /// It carries the files of another release.
    OtherRelease,
    /// Its files are there, its agent is not: nothing about it is proven.
    Mute,
    /// Its deploy halted half-way, and its agent says otherwise: for another wait, for another boot, on a challenge that was
    /// answered, in a sibling's words, in its own of an earlier wait, without a signature.
    Lies,
}

/// What is planned for one instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) fate: Fate,
    /// From launch to the start of its agent.
    pub(crate) boot_ms: u64,
}

impl Fate {
    /// Whether it is ready in the end, so that it must be let in.
    pub(crate) fn ends_ready(self) -> bool {
        match self {
            Self::Whole | Self::Late { .. } | Self::Relapses { heals_after_ms: Some(_), .. } => true,
            Self::Relapses { .. } | Self::Halted | Self::OtherRelease | Self::Mute | Self::Lies => false,
        }
    }
}

impl Plan {
    /// Of the instance that is launched as the `number`th. They start over `spread_ms`, as machines do.
    pub(crate) fn of(seed: u64, number: u32, spread_ms: u64) -> Self {
        let mut random = Random::new(seed.wrapping_mul(0x1_0000).wrapping_add(u64::from(number)));
        let fate = match random.between(0, 99) {
            0..60 => Fate::Whole,
            60..70 => Fate::Late { after_ms: random.between(500, 15_000) },
            70..80 => Fate::Relapses {
                after_ms: random.one_of(&[0, 0, 100, 500, 1_500]),
                heals_after_ms: random.percent(50).then_some(random.between(2_000, 10_000)),
            },
            80..85 => Fate::Halted,
            85..90 => Fate::OtherRelease,
            90..95 => Fate::Mute,
            _ => Fate::Lies,
        };
        Self { fate, boot_ms: random.between(0, spread_ms) }
    }

    /// Of one of those that the group has before it is scaled out.
    pub(crate) const fn good() -> Self {
        Self { fate: Fate::Whole, boot_ms: 0 }
    }

    /// Of one that gets new content: some have a pass of their former content to tell again.
    pub(crate) fn replaced(random: &mut Random) -> Self {
        Self { fate: random.one_of(&[Fate::Whole, Fate::Lies]), boot_ms: random.between(0, 2_000) }
    }
}
