//! A fix comes with a new launch template: those that wait were launched from the old one. In some worlds, with chance from a source of its own.

use portcullis::instance::GroupName;

use super::{CHAOS, Event, World};
use crate::random::Random;

impl World {
    pub(super) fn plan_templates(&mut self, seed: u64) {
        let mut chance = Random::new(seed.rotate_left(32) ^ 0x7e);
        let groups: Vec<_> = self.cloud.groups.iter().filter(|(_, group)| !group.in_place).collect();
        let groups: Vec<GroupName> = groups.into_iter().map(|(name, _)| name.clone()).collect();
        for group in groups {
            for _ in 0..chance.one_of(&[0, 0, 1, 2]) {
                let at = chance.between(20_000, CHAOS - 20_000);
                self.after(at, Event::NewTemplate(group.clone()));
            }
        }
    }

    pub(super) fn new_template(&mut self, group: &GroupName) {
        self.cloud.groups.get_mut(group).into_iter().for_each(|group| group.template += 1);
    }
}
