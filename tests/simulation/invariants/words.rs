//! What must hold of what operators say: it is done as long as it counts, and no longer.

use super::*;

impl Invariants {
    pub(crate) fn said(&mut self, id: &InstanceId, said: &OverrideRecord) {
        let words = self.words.entry(id.clone()).or_default();
        words.last_mut().into_iter().for_each(|(_, ends)| *ends = said.at.0);
        words.push((said.clone(), u64::MAX));
    }

    pub(crate) fn detached(&mut self, group: &GroupName, begins: bool, now: u64) {
        let times = self.detached.entry(group.clone()).or_default();
        if begins {
            times.push((now, u64::MAX));
        } else if let Some((_, until)) = times.last_mut() {
            *until = now;
        }
    }

    /// Whether a group is detached, or somebody who leads may still take it for that.
    pub(super) fn may_be_detached(&self, group: &GroupName, now: u64) -> bool {
        let mut times = self.detached.get(group).into_iter().flatten();
        times.any(|(since, until)| *since <= now && now <= until.saturating_add(PROMOTION_AGE_MAX))
    }

    /// Whether everybody who leads knows that it is.
    pub(super) fn is_surely_detached(&self, group: &GroupName, now: u64) -> bool {
        let mut times = self.detached.get(group).into_iter().flatten();
        times.any(|(since, until)| since + PROMOTION_AGE_MAX < now && now < *until)
    }

    /// Whether an admission is on an operator's word.
    #[expect(clippy::unused_self, reason = "a question to the invariants")]
    pub(crate) fn is_warranted(&self, held: &Held, store: &Store) -> bool {
        matches!(store.get(&Key::Admission(held.instance.clone())), Some((_, Record::Admission(record))) if record.warrant.is_some())
    }

    /// 1: the one exception to proof: an operator's word on this wait, while it is in effect.
    pub(super) fn admitted_on_a_word(&mut self, held: &Held, warrant: &Warrant, began_at: u64, now: u64) {
        let id = &held.instance;
        if warrant.because == LEAVING {
            let detached = self.may_be_detached(&held.group, now);
            return self
                .must(detached, || format!("1: {id} was admitted as detached, and its group is not, or no longer"));
        }
        let known = |ends: u64| ends.saturating_add(PROMOTION_AGE_MAX) >= now;
        let words = self.words.get(id).into_iter().flatten();
        let mut words = words.filter(|(said, ends)| said.word == Word::Admit && said.wait == held.wait && known(*ends));
        let said = words.find(|(said, _)| now <= said.until.0 + CALL && said.at.0 >= began_at);
        self.must(said.is_some(), || format!("1: {id} was admitted on a word that is not, or no longer, in effect"));
    }

    /// Whether an operator lets it in, or somebody who leads may still take it for that.
    pub(super) fn may_be_let_in(&self, held: &Held, now: u64) -> bool {
        let mut words = self.words.get(&held.instance).into_iter().flatten();
        words.any(|(said, ends)| {
            let known = ends.saturating_add(PROMOTION_AGE_MAX) >= now;
            said.word == Word::Admit && said.wait == held.wait && known
        })
    }

    /// What an operator holds, or a pause, is not let in: once it can be known.
    pub(super) fn is_not_held(&mut self, held: &Held, store: &Store, now: u64) {
        let id = &held.instance;
        let said = word_on(held, store).filter(|said| said.wait == held.wait && now + SKEW_MAX < said.until.0);
        let is_held = said.is_some_and(|said| said.word == Word::Hold && said.at.0 + PROMOTION_AGE_MAX < now);
        self.must(!is_held, || format!("{id} was admitted while an operator held it"));
        let paused = match store.get(&Key::Pause(held.group.clone())) {
            Some((_, Record::Pause(pause))) => pause.at.0 + PROMOTION_AGE_MAX < now && now + SKEW_MAX < pause.until.0,
            _ => false,
        };
        // Whether a word that has another in its place by now was in effect then is looked at elsewhere.
        let said_so = self.may_be_let_in(held, now) || self.is_warranted(held, store);
        let excepted = said_so || self.may_be_detached(&held.group, now) || !self.enforces(&held.group);
        self.must(!paused || excepted, || format!("{id} was admitted while its group was paused"));
    }
}

pub(super) fn word_on<'a>(held: &Held, store: &'a Store) -> Option<&'a OverrideRecord> {
    match store.get(&Key::Override(held.instance.clone())) {
        Some((_, Record::Override(said))) => Some(said),
        _ => None,
    }
}
