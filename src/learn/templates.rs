//! A template that explains why the same file differs from instance to instance.

use alloc::{
    collections::BTreeMap,
    string::{String, ToString as _},
    vec::Vec,
};

use crate::facts::{Facts, Template};

/// The template that renders to each of `texts` with the facts of its instance; `None` when facts do not explain every byte
/// that differs. The first instance leads: what follows a fact's value there must be what follows it everywhere.
pub(super) fn explain(texts: &[&str], facts: &[&BTreeMap<String, String>]) -> Option<String> {
    let names = telling(facts);
    let mut rest: Vec<&str> = texts.to_vec();
    let mut template = String::new();
    while rest.iter().any(|text| !text.is_empty()) {
        let place = names
            .iter()
            .find(|name| facts.iter().zip(&rest).all(|(facts, text)| text.starts_with(facts[**name].as_str())));
        if let Some(name) = place {
            template.push_str("{{ ");
            template.push_str(name);
            template.push_str(" }}");
            for (text, facts) in rest.iter_mut().zip(facts) {
                *text = &text[facts[*name].len()..];
            }
            continue;
        }
        if rest.iter().all(|text| text.starts_with("{{")) {
            template.push_str("{{{{");
            rest.iter_mut().for_each(|text| *text = &text[2..]);
            continue;
        }
        let next = rest[0].chars().next()?;
        if !rest.iter().all(|text| text.starts_with(next)) {
            return None;
        }
        template.push(next);
        rest.iter_mut().for_each(|text| *text = &text[next.len_utf8()..]);
    }
    renders(&template, texts, facts).then_some(template)
}

/// Facts that every instance has and that tell all of them apart from the first, longest value first: a host's whole name comes
/// before its beginning.
fn telling<'a>(facts: &[&'a BTreeMap<String, String>]) -> Vec<&'a str> {
    let Some((first, others)) = facts.split_first() else { return Vec::new() };
    let tells = |(name, value): &(&String, &String)| {
        value.len() >= VALUE_BYTES_MIN
            && others.iter().all(|other| other.get(*name).is_some_and(|theirs| theirs != *value))
    };
    let mut names: Vec<(&String, &String)> = first.iter().filter(tells).collect();
    names.sort_by_key(|(name, value)| (core::cmp::Reverse(value.len()), (*name).clone()));
    names.into_iter().map(|(name, _)| name.as_str()).collect()
}

/// What is proposed is tried: it must give back every text, byte by byte.
fn renders(template: &str, texts: &[&str], facts: &[&BTreeMap<String, String>]) -> bool {
    let Ok(template) = Template::parse(template) else { return false };
    texts.iter().zip(facts).all(|(text, facts)| {
        let mut known = Facts::default();
        let all = facts.iter().try_for_each(|(name, value)| known.insert(name, &value.to_string()));
        all.is_ok() && template.render(&known).as_deref() == Ok(*text)
    })
}

/// A value as short as `1` is found in places that have nothing to do with it.
const VALUE_BYTES_MIN: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(instance: &str, address: &str) -> BTreeMap<String, String> {
        [
            ("instance", instance),
            ("address", address),
            ("region", "eu-west-1"),
            ("hostname", &alloc::format!("{instance}.internal")),
        ]
        .map(|(name, value)| (name.into(), value.into()))
        .into()
    }

    #[test]
    fn table() {
        let (one, two) = (facts("i-0a1", "10.0.0.1"), facts("i-0b22", "10.0.0.12"));
        for (a, b, template) in [
            ("id i-0a1;\n", "id i-0b22;\n", Some("id {{ instance }};\n")),
            ("n i-0a1.internal", "n i-0b22.internal", Some("n {{ hostname }}")),
            ("listen 10.0.0.1:80", "listen 10.0.0.12:80", Some("listen {{ address }}:80")),
            ("i-0a1 {{ x }} i-0a1", "i-0b22 {{ x }} i-0b22", Some("{{ instance }} {{{{ x }} {{ instance }}")),
            ("r eu-west-1 i-0a1", "r eu-west-1 i-0b22", Some("r eu-west-1 {{ instance }}")),
            ("id i-0a1 x", "id i-0b22 y", None),
            ("id i-0a1", "id i-0b22 and more", None),
            ("id i-0b22", "id i-0a1", None),
            ("{i-0a1", "{i-0b22", None),
        ] {
            assert_eq!(explain(&[a, b], &[&one, &two]).as_deref(), template, "{a}");
        }
        let odd = |mut facts: BTreeMap<String, String>| {
            facts.insert("zone 2".into(), "x".into());
            facts
        };
        assert_eq!(explain(&["id i-0a1", "id i-0b22"], &[&odd(one.clone()), &odd(two.clone())]), None);
        let three = facts("i-0c", "10.0.0.3");
        let texts = ["i-0a1 ", "i-0b22 ", "i-0c "];
        assert_eq!(explain(&texts, &[&one, &two, &three]).as_deref(), Some("{{ instance }} "));
    }
}
