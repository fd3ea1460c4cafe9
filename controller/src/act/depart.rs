//! The last look before an instance is taken out of traffic, or brought back: what was decided must still hold, by what the store
//! says now and by the newest description.

use portcullis::{digest::Digest, policy::OnDrift, record::WithdrawalRecord};

use super::{Actor, Answer, Call, Departure, Evidence, Key, LifecycleState, Record, Stage, StoreError, records};

impl Actor {
    pub(super) async fn depart(&self, call: Call, still: Result<(), String>) -> Answer {
        match still {
            Ok(()) => self.call(call).await,
            Err(because) => Answer::Refused { because: format!("not sent: {because}") },
        }
    }

    /// It is on record, its last word is that it fails (or it never proved itself, and came past the gate), nothing forbids to withdraw from its group, and it serves.
    pub(super) fn still_fails(&self, departure: &Departure) -> Result<(), String> {
        let policy = self.parts.policy.groups.get(&departure.group).ok_or("the group is no longer gated")?;
        policy.withdraws().then_some(()).ok_or("nothing is withdrawn from its group")?;
        let record = self.is_on_record(departure, Stage::Out)?;
        self.is_not_paused(&departure.group)?;
        if self.is_detached(&departure.group).map_err(unreadable)? {
            return Err("its group is detached".into());
        }
        let frozen = self.read(&Key::Freeze(departure.group.clone()))?;
        if matches!(frozen, Some(Record::Freeze(freeze)) if freeze.over_at.is_none()) {
            return Err("many fail for one cause".into());
        }
        if record.bypassed {
            (policy.on_bypass != OnDrift::Observe).then_some(()).ok_or("a bypass is only told in its group")?;
            self.is_unproven(departure)?;
        } else {
            self.last_word(departure)?.is_drifted().then_some(()).ok_or("it no longer fails")?;
        }
        self.is_still(&departure.instance, |state| *state == LifecycleState::InService)
    }

    /// It is on record, it stands by (or is back at some of several balancers), and its present boot has just proven a release that its group accepts.
    pub(super) fn still_well(&self, departure: &Departure) -> Result<(), String> {
        self.is_on_record(departure, Stage::Back)?;
        let evidence = self.last_word(departure)?;
        let accepted = self.accepted(departure)?;
        let age_max = self.parts.policy.limits.report_age_max;
        let checks = [
            (evidence.is_well(), "the last report is not ready"),
            (self.parts.clock.now().since(evidence.received_at) <= age_max, "the last report is too old"),
            (accepted.contains(&evidence.manifest), "the release is no longer accepted"),
            (self.present_boot(&evidence).map_err(unreadable)?, "the instance has booted since"),
        ];
        checks.iter().find(|(holds, _)| !holds).map_or(Ok(()), |(_, because)| Err((*because).to_string()))?;
        let in_place = self.is_in_place(&departure.group);
        let back_somewhere = |state: &LifecycleState| in_place && *state == LifecycleState::InService;
        self.is_still(&departure.instance, |state| *state == LifecycleState::Standby || back_somewhere(state))
    }

    /// It has not shown yet that it is as a release wants it that its group accepts; silence counts.
    fn is_unproven(&self, departure: &Departure) -> Result<(), String> {
        self.is_undisputed(departure)?;
        let last = self.evidence(departure)?;
        let accepted = self.accepted(departure)?;
        let is_proven = last.is_some_and(|evidence| evidence.is_well() && accepted.contains(&evidence.manifest));
        (!is_proven).then_some(()).ok_or_else(|| "it has proven itself".into())
    }

    fn is_on_record(&self, departure: &Departure, stage: Stage) -> Result<WithdrawalRecord, String> {
        match self.read(&Key::Withdrawal(departure.instance.clone()))? {
            Some(Record::Withdrawal(record))
                if record.stage == stage
                    && record.changed_at == departure.decided_at
                    && record.group == departure.group =>
            {
                Ok(record)
            }
            _ => Err("it is no longer on record".into()),
        }
    }

    /// What its agent said last; nothing, while somebody else claims to speak for it.
    fn last_word(&self, departure: &Departure) -> Result<Evidence, String> {
        self.is_undisputed(departure)?;
        self.evidence(departure)?.ok_or_else(|| "no report is on record".into())
    }

    fn is_undisputed(&self, departure: &Departure) -> Result<(), String> {
        let disputed = self.read(&Key::Dispute(departure.instance.clone()))?.is_some();
        (!disputed).then_some(()).ok_or_else(|| "two keys claim to be this instance".into())
    }

    fn evidence(&self, departure: &Departure) -> Result<Option<Evidence>, String> {
        let path = records::evidence_path(&departure.instance);
        let evidence = records::read(&*self.parts.store, &path).map_err(unreadable)?;
        Ok(evidence.map(|(_, evidence)| evidence))
    }

    fn accepted(&self, departure: &Departure) -> Result<Vec<Digest>, String> {
        match self.read(&Key::Group(departure.group.clone()))? {
            Some(Record::Group(group)) => Ok(group.accepted),
            _ => Ok(Vec::new()),
        }
    }

    fn read(&self, key: &Key) -> Result<Option<Record>, String> {
        let found = records::read(&*self.parts.store, &key.path()).map_err(unreadable)?;
        Ok(found.map(|(_, record)| record))
    }
}

#[expect(clippy::needless_pass_by_value, reason = "what map_err gives")]
fn unreadable(error: StoreError) -> String {
    error.to_string()
}
