//! A group behind a balancer: it holds and lets in whom it is told to, at once and as often as it is told, and forgets all of it
//! when it restarts. Nothing times out, and nothing ends; in the end, somebody mends what is broken.

use portcullis::{
    action::Held,
    instance::{GroupName, InstanceId, LifecycleState},
    observation::Answer,
};

use super::{CHAOS, Event, World};
use crate::cloud::IN_PLACE;

impl World {
    pub(super) fn is_in_place(&self, group: &GroupName) -> bool {
        self.cloud.groups[group].in_place
    }

    pub(super) fn plan_restarts(&mut self, group: &GroupName) {
        for _ in 0..self.random.between(1, 4) {
            let at = self.random.between(10_000, CHAOS + 20_000);
            let forgets_to_hold = self.random.percent(40);
            self.after(at, Event::BalancerRestarts(group.clone(), forgets_to_hold));
        }
    }

    /// All its servers are as its configuration has them: in maintenance, or not.
    pub(super) fn balancer_restarts(&mut self, group: &GroupName, forgets_to_hold: bool) {
        self.figures.restarts += 1;
        let now = self.now;
        let state = if forgets_to_hold { LifecycleState::InService } else { LifecycleState::PendingWait };
        for machine in self.cloud.instances.values_mut().filter(|machine| machine.group == *group) {
            let is_there = machine.is(&LifecycleState::InService) || machine.is(&LifecycleState::PendingWait);
            if is_there && !machine.is(&state) {
                machine.becomes(Some(state.clone()), now);
            }
        }
    }

    pub(super) fn lets_in(&mut self, held: &Held) -> Answer {
        let now = self.now;
        let Some(machine) = self.cloud.instances.get(&held.instance) else { return Answer::NoActiveAction };
        self.figures.admitted += 1;
        self.invariants.let_in(held, machine, &self.store, now);
        self.turns_to(&held.instance, &LifecycleState::PendingWait, &LifecycleState::InService);
        Answer::Accepted
    }

    pub(super) fn holds(&mut self, held: &Held) -> Answer {
        self.figures.held_again += 1;
        self.turns_to(&held.instance, &LifecycleState::InService, &LifecycleState::PendingWait);
        Answer::Accepted
    }

    fn turns_to(&mut self, id: &InstanceId, from: &LifecycleState, to: &LifecycleState) {
        let now = self.now;
        let machine = self.cloud.instances.get_mut(id).filter(|machine| machine.is(from));
        machine.into_iter().for_each(|machine| machine.becomes(Some(to.clone()), now));
    }

    /// A deploy to all of them, and a reboot.
    pub(super) fn is_mended(&mut self) {
        let broken = self.cloud.instances.iter().filter(|(_, machine)| machine.group.as_str() == IN_PLACE);
        let broken: Vec<_> = broken.map(|(id, machine)| (id.clone(), machine.group.clone())).collect();
        for (id, group) in broken {
            let mut agent = self.new_agent(&group);
            let boot = agent.boot;
            if let Some(machine) = self.cloud.instances.get_mut(&id) {
                agent.spoke_at = machine.agent.spoke_at;
                let former = std::mem::replace(&mut machine.agent, agent);
                machine.agent.follows(former, self.now);
            }
            self.after(1_000, Event::Speaks(id, boot));
        }
    }
}
