//! Records of the store cannot be read: a newer controller wrote them, or they are damaged. What they bear on stays as it is, which
//! nobody would notice.

use alloc::collections::BTreeSet;

use super::Scope;
use crate::{alert::Alert, record::Key, timestamp::Timestamp};

pub(super) fn rule(scope: &Scope<'_>, _: &mut BTreeSet<Timestamp>) -> Option<Alert> {
    let unreadable = &scope.observed.unreadable;
    (!unreadable.is_empty()).then(|| Alert::Unreadable { records: unreadable.keys().map(Key::path).collect() })
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString as _;

    use crate::{
        alert::AlertKey,
        decide::{decide, fixtures::*},
        instance::GroupName,
        observation::Observation,
        record::Key,
    };

    #[test]
    fn all_of_them_at_once() {
        let mut scene = waiting();
        let key = || AlertKey { group: GroupName::controller(), code: "unreadable".into() };
        let told = |scene: &Scene| decide(&scene.observed, &scene.policy, at(100)).alerts.get(&key()).cloned();
        assert_eq!(told(&scene), None);
        for key in [Key::Override(i1()), Key::Pause(web())] {
            scene.observed.fold(Observation::Unreadable { key, revision: 9 }, at(100));
        }
        let alert = told(&scene).expect("it is told");
        assert_eq!(alert.to_string(), "2 records of the store cannot be read: pause/web, override/i-1");
    }
}
