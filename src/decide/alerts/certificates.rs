//! The controller's own certificates: one that ends keeps every agent out, and with it every launch (incident I2).
//!
//! They are watched like those of an instance, by the same margins. `aging` goes on firing while `expiring` does: whoever
//! acknowledged the first is told anew when it becomes urgent.

use alloc::{collections::BTreeSet, vec::Vec};

use super::Scope;
use crate::{
    alert::Alert,
    check::certificate::margin::{Margins, Standing, Validity},
    observation::OwnCertificate,
    timestamp::Timestamp,
};

/// A month is left, or a third of a short life.
pub(super) fn aging(scope: &Scope<'_>, wakes: &mut BTreeSet<Timestamp>) -> Option<Alert> {
    let certificates = standing(scope, wakes, |standing| standing != Standing::Good);
    (!certificates.is_empty()).then_some(Alert::CertificateAging { certificates })
}

/// A week is left, or a tenth; or nothing.
pub(super) fn expiring(scope: &Scope<'_>, wakes: &mut BTreeSet<Timestamp>) -> Option<Alert> {
    let urgent = |standing| !matches!(standing, Standing::Good | Standing::Soon { .. });
    let certificates = standing(scope, wakes, urgent);
    (!certificates.is_empty()).then_some(Alert::CertificateExpiring { certificates })
}

/// What is in the files cannot be shown: what was there before still is, as long as this process runs.
pub(super) fn unusable(scope: &Scope<'_>, _: &mut BTreeSet<Timestamp>) -> Option<Alert> {
    let all = scope.observed.certificates.values();
    let certificates: Vec<_> = all.filter(|certificate| certificate.unusable.is_some()).cloned().collect();
    (!certificates.is_empty()).then_some(Alert::CertificateUnusable { certificates })
}

fn standing(
    scope: &Scope<'_>,
    wakes: &mut BTreeSet<Timestamp>,
    tells: impl Fn(Standing) -> bool,
) -> Vec<OwnCertificate> {
    let mut told = Vec::new();
    for certificate in scope.observed.certificates.values() {
        let validity = Validity { from_s: certificate.from_s, until_s: certificate.until_s };
        for turn_s in validity.turns_s(Margins::default()) {
            let turn = Timestamp(u64::try_from(turn_s).unwrap_or(0).saturating_mul(1_000));
            scope.has_come(turn, wakes);
        }
        let now_s = i64::try_from(scope.now.0 / 1_000).unwrap_or(i64::MAX);
        if tells(validity.standing(Margins::default(), now_s)) {
            told.push(certificate.clone());
        }
    }
    told
}

#[cfg(test)]
mod tests {
    use alloc::{format, string::ToString as _};

    use super::super::{
        super::fixtures::*,
        testing::{check, wakes},
    };
    use crate::{check::certificate::margin::date, observation::OwnCertificate};

    const DAY: u64 = 86_400;

    /// Shown by the agents' listener: for so many days, from second 0 of the scene.
    fn shows(days: u64) -> (Scene, i64) {
        let from_s = (at(0).0 / 1_000) as i64;
        let until_s = from_s + (days * DAY) as i64;
        let (unusable, rewritten_at) = (None, None);
        let path = "/etc/tls.crt".to_string();
        let certificate = OwnCertificate { listener: "agents".into(), path, from_s, until_s, unusable, rewritten_at };
        let mut scene = waiting();
        scene.observed.certificates.insert("agents".into(), certificate);
        (scene, until_s)
    }

    fn with(mut scene: Scene, change: impl FnOnce(&mut OwnCertificate)) -> Scene {
        change(scene.observed.certificates.get_mut("agents").expect("there is one"));
        scene
    }

    #[test]
    fn as_its_end_comes_nearer() {
        let (year, ends) = shows(365);
        let (short, ends_short) = shows(10);
        let ends = format!("agents: `/etc/tls.crt` ends at {}", date(ends));
        let ends_short = format!("agents: `/etc/tls.crt` ends at {}", date(ends_short));
        let again = with(year.clone(), |one| one.rewritten_at = Some(at(340 * DAY)));
        let ends_again = format!("{ends}; the file was written at {}, with the same certificate in it", at(340 * DAY));
        let aging = [
            (year.clone(), 0, "-"),
            (year.clone(), 335 * DAY, "-"),
            (year.clone(), 335 * DAY + 1, &ends),
            (again, 341 * DAY, &ends_again),
            (year.clone(), 366 * DAY, &ends),
            (short.clone(), 6 * DAY, "-"),
            (short.clone(), 7 * DAY, &ends_short), // less than a third of ten days
        ];
        check("certificate_aging", &aging);
        let expiring = [
            (year.clone(), 358 * DAY, "-"),
            (year.clone(), 358 * DAY + 1, &*ends),
            (year.clone(), 366 * DAY, &ends),
            (short.clone(), 9 * DAY, "-"),
            (short.clone(), 9 * DAY + 1, &ends_short),
            (with(year.clone(), |one| one.from_s += 10), 9, &ends), // not yet valid
        ];
        check("certificate_expiring", &expiring);
        wakes(&year, 335 * DAY - 1, 335 * DAY + 1, "certificate_aging");
        wakes(&year, 358 * DAY - 1, 358 * DAY + 1, "certificate_expiring");
    }

    #[test]
    fn what_cannot_be_shown() {
        let (scene, _) = shows(365);
        let broken = with(scene.clone(), |one| one.unusable = Some("cannot use `/etc/tls.key`: no such file".into()));
        let told = "agents: cannot use `/etc/tls.key`: no such file; what was read before is still shown";
        check("certificate_unusable", &[(scene, 9, "-"), (broken, 9, told)]);
    }
}
