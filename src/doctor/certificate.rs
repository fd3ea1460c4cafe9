//! The controller's own certificates, by the margins of every other: with an expired one no agent reports, and nothing is
//! admitted.

use alloc::{format, string::String, vec::Vec};

use super::{Facts, Symptom};
use crate::{
    check::certificate::margin::{Margins, Standing, Validity, about, date},
    text,
};

pub(super) fn look(facts: &Facts) -> Vec<Symptom> {
    let now_s = i64::try_from(facts.at.0 / 1_000).unwrap_or(i64::MAX);
    facts.certificates.iter().filter_map(|(listener, read)| symptom(listener, read.as_ref(), now_s)).collect()
}

fn symptom(listener: &str, read: Result<&Validity, &String>, now_s: i64) -> Option<Symptom> {
    let validity = match read {
        Ok(validity) => validity,
        Err(because) => return Some(Symptom::unclear(format!("[{listener}.tls]: {}", text::visible(because)))),
    };
    let what = match validity.standing(Margins::default(), now_s) {
        Standing::Good => return None,
        Standing::Never => "is never valid".into(),
        Standing::NotYet => format!("is not valid before {}", date(validity.from_s)),
        Standing::Expired => format!("expired at {}", date(validity.until_s)),
        Standing::Short { left, .. } | Standing::Soon { left } => {
            format!("expires in {}, at {}", about(left), date(validity.until_s))
        }
    };
    let mend = "renew it in its file: it is read again without a restart";
    Some(Symptom::mend(format!("the certificate of [{listener}.tls] {what}"), mend))
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString as _;

    use super::super::{Topic, fixtures::*};
    use crate::{check::certificate::margin::Validity, timestamp::Timestamp};

    #[test]
    fn table() {
        for (day, told) in [
            (1_000, None),
            (1_071, Some("mend certificate: the certificate of [agents.tls] expires in 29d, at 1973-01-05T00:00:00Z")),
            (1_101, Some("mend certificate: the certificate of [agents.tls] expired at 1973-01-05T00:00:00Z")),
            (899, Some("mend certificate: the certificate of [agents.tls] is not valid before 1972-06-19T00:00:00Z")),
        ] {
            let mut facts = good();
            facts.at = Timestamp(day * 86_400_000);
            assert_eq!(found(&facts, Some(Topic::Certificate)).first().map(alloc::string::String::as_str), told);
        }
        let mut facts = good();
        facts.certificates.insert("agents".into(), Err("no PEM".to_string()));
        assert_eq!(found(&facts, Some(Topic::Certificate)), ["unclear certificate: [agents.tls]: no PEM"]);
        let never = Validity { from_s: 2, until_s: 1 };
        facts.certificates.insert("agents".into(), Ok(never));
        assert_eq!(
            found(&facts, Some(Topic::Certificate)),
            ["mend certificate: the certificate of [agents.tls] is never valid"]
        );
    }
}
