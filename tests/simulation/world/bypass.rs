//! Machines that came past the gate: attached while they serve, or there before it. Some worlds have them; what happens in all others is
//! left as it is, since chance is drawn from a source of its own.

use portcullis::{
    instance::{GroupName, InstanceId, LifecycleState},
    policy::{OnDrift, Policy},
};

use super::{CHAOS, Event, World, release};
use crate::{
    agent::{Agent, Kind},
    cloud::{IN_PLACE, Machine},
    random::Random,
};

/// When one is attached after all was healed, and until when it is looked at: its deadline, and the time until everybody knows.
const CALM: (u64, u64) = (CHAOS + 40_000, CHAOS + 260_000);
const KINDS: [Kind; 5] = [Kind::Silent, Kind::Silent, Kind::Failing, Kind::Unknowing, Kind::Good];

/// Who comes past the gate of which group.
pub(super) struct Bypass {
    group: GroupName,
    chance: Random,
}

/// Of every fourth seed, one group.
pub(super) fn bypass(seed: u64, policy: &mut Policy) -> Option<Bypass> {
    let mut chance = Random::new(!seed);
    if !chance.percent(25) {
        return None;
    }
    let (group, of_group) = policy.groups.iter_mut().find(|(name, _)| name.as_str() != IN_PLACE)?;
    of_group.on_bypass = chance.one_of(&[OnDrift::Standby, OnDrift::Standby, OnDrift::Replace]);
    Some(Bypass { group: group.clone(), chance })
}

impl World {
    pub(super) fn plan_bypass(&mut self, bypass: Bypass) {
        let Bypass { group, mut chance } = bypass;
        for _ in 0..chance.between(0, 1) {
            self.attaches(&group, Kind::Silent, true);
        }
        for _ in 0..chance.between(0, 2) {
            let (at, kind) = (chance.between(5_000, CHAOS), chance.one_of(&KINDS));
            self.after(at, Event::Attached(group.clone(), kind));
        }
        self.after(CALM.0, Event::Attached(group, chance.one_of(&KINDS)));
        self.busy_until = CALM.1;
    }

    /// In service at once, with nobody in the way; the group wants one more.
    pub(super) fn attaches(&mut self, group: &GroupName, kind: Kind, before_the_gate: bool) {
        self.launched += 1;
        self.boots += 1;
        let id: InstanceId = (*format!("i-{}", self.launched)).into();
        let boot = self.boots;
        let agent = Agent::new(kind, release(3), boot, self.now, &mut self.random);
        let mut machine = Machine::new(group.clone(), agent, self.now);
        machine.becomes(Some(LifecycleState::InService), self.now);
        (machine.attached, machine.before_the_gate) = (true, before_the_gate);
        self.cloud.instances.insert(id.clone(), machine);
        let of_group = self.cloud.groups.get_mut(group);
        of_group.into_iter().for_each(|group| (group.desired, group.usually) = (group.desired + 1, group.usually + 1));
        self.figures.attached += 1;
        self.after(1_000, Event::Speaks(id, boot));
    }
}
