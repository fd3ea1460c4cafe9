//! A form's parameters, with the Query protocol's lists (`Name.member.1`) and structures (`Name.Field`).

use std::collections::BTreeMap;

use crate::error::ApiError;

/// The parameters of a call, or of one structure in it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Params(BTreeMap<String, String>);

/// What the service's model says about a text parameter.
pub(crate) struct Text {
    /// The fewest characters.
    pub(crate) min: usize,
    /// The most characters.
    pub(crate) max: usize,
    /// The characters that are allowed, and the pattern as it is printed.
    pub(crate) pattern: Option<Pattern>,
}

/// Whether a character is allowed, and the pattern as AWS prints it.
type Pattern = (fn(char) -> bool, &'static str);

impl Params {
    /// Reads an urlencoded form.
    pub(crate) fn parse(form: &[u8]) -> Result<Self, ApiError> {
        let pairs: BTreeMap<String, String> = form_urlencoded::parse(form)
            .take(PARAMETERS_MAX + 1)
            .map(|(k, v)| (k.into_owned(), v.into_owned()))
            .collect();
        if pairs.len() > PARAMETERS_MAX {
            return Err(ApiError::sender("MalformedInput", "too many parameters"));
        }
        Ok(Self(pairs))
    }

    /// A parameter's text as it came.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// A parameter that must be there.
    pub(crate) fn required(&self, name: &str) -> Result<&str, ApiError> {
        self.text(name).ok_or_else(|| {
            let mut chars = name.chars();
            let first = chars.next().map(|first| first.to_ascii_lowercase()).into_iter();
            let member: String = first.chain(chars).collect();
            ApiError::validation(format!(
                "1 validation error detected: Value null at '{member}' failed to satisfy constraint: Member must not \
                 be null"
            ))
        })
    }

    /// A text within the model's limits, if it is there.
    pub(crate) fn limited(&self, name: &str, limits: &Text) -> Result<Option<&str>, ApiError> {
        self.text(name).map(|value| limits.check(name, value).map(|()| value)).transpose()
    }

    /// A text within the model's limits that must be there.
    pub(crate) fn required_limited(&self, name: &str, limits: &Text) -> Result<String, ApiError> {
        let value = self.required(name)?;
        limits.check(name, value)?;
        Ok(value.to_owned())
    }

    /// The name of the group that the call is about.
    pub(crate) fn group(&self) -> Result<String, ApiError> {
        self.required_limited("AutoScalingGroupName", &Text::NAME)
    }

    /// A whole number, if it is there.
    pub(crate) fn integer(&self, name: &str) -> Result<Option<i64>, ApiError> {
        self.text(name).map(|value| value.parse().map_err(|_| malformed(name, value, "an integer"))).transpose()
    }

    /// A whole number from 0, if it is there.
    pub(crate) fn count(&self, name: &str) -> Result<Option<u32>, ApiError> {
        self.integer(name)?.map(|value| integer_in(name, value, 0, i64::from(i32::MAX))).transpose()
    }

    /// `true` or `false`, if it is there.
    pub(crate) fn boolean(&self, name: &str) -> Result<Option<bool>, ApiError> {
        self.text(name)
            .map(|value| match value {
                "true" => Ok(true),
                "false" => Ok(false),
                _ => Err(malformed(name, value, "a boolean")),
            })
            .transpose()
    }

    /// A list of texts, in its order; empty when it is not there.
    pub(crate) fn list(&self, name: &str) -> Vec<&str> {
        let mut members: Vec<(u32, &str)> =
            self.members(name).filter(|(_, rest, _)| rest.is_empty()).map(|(n, _, v)| (n, v)).collect();
        members.sort_unstable();
        members.into_iter().map(|(_, value)| value).collect()
    }

    /// The same, owned.
    pub(crate) fn texts(&self, name: &str) -> Vec<String> {
        self.list(name).into_iter().map(str::to_owned).collect()
    }

    /// A list of structures, in its order.
    pub(crate) fn structures(&self, name: &str) -> Vec<Self> {
        let mut found: BTreeMap<u32, Self> = BTreeMap::new();
        for (index, rest, value) in self.members(name) {
            if let Some(field) = rest.strip_prefix('.') {
                found.entry(index).or_default().0.insert(field.to_owned(), value.to_owned());
            }
        }
        found.into_values().collect()
    }

    /// A structure's fields; `None` when there are none.
    pub(crate) fn structure(&self, name: &str) -> Option<Self> {
        let prefix = format!("{name}.");
        let fields =
            self.0.iter().filter_map(|(key, value)| Some((key.strip_prefix(&prefix)?.to_owned(), value.clone())));
        let fields: BTreeMap<String, String> = fields.collect();
        (!fields.is_empty()).then_some(Self(fields))
    }

    /// The index, the rest of the key, and the value of each `name.member.INDEX…`.
    fn members(&self, name: &str) -> impl Iterator<Item = (u32, &str, &str)> {
        let prefix = format!("{name}.member.");
        self.0.iter().filter_map(move |(key, value)| {
            let rest = key.strip_prefix(&prefix)?;
            let end = rest.find('.').unwrap_or(rest.len());
            Some((rest[..end].parse().ok()?, &rest[end..], value.as_str()))
        })
    }
}

impl Text {
    /// `XmlStringMaxLen255`: names of groups and most other things.
    pub(crate) const NAME: Self = Self { min: 1, max: 255, pattern: None };
    /// `XmlStringMaxLen19`: instance ids.
    pub(crate) const INSTANCE: Self = Self { min: 1, max: 19, pattern: None };
    /// `LifecycleActionToken`.
    pub(crate) const TOKEN: Self = Self { min: 36, max: 36, pattern: None };
    /// `AsciiStringMaxLen255`: names of hooks.
    pub(crate) const HOOK: Self = Self { min: 1, max: 255, pattern: Some((is_hook_char, "[A-Za-z0-9\\-_\\/]+")) };
    /// `LaunchTemplateName`.
    pub(crate) const TEMPLATE: Self =
        Self { min: 3, max: 128, pattern: Some((is_template_char, "[a-zA-Z0-9\\(\\)\\.\\-/_]+")) };
    /// `AnyPrintableAsciiStringMaxLen4000`.
    pub(crate) const METADATA: Self =
        Self { min: 1, max: 4_000, pattern: Some((is_printable, "[\\u0009\\u000A\\u000D\\u0020-\\u007e]+")) };

    /// Refuses what the model refuses.
    pub(crate) fn check(&self, name: &str, value: &str) -> Result<(), ApiError> {
        let length = value.chars().count();
        if length < self.min {
            let text = format!("Member must have length greater than or equal to {}", self.min);
            return Err(ApiError::constraint(value, name, &text));
        }
        if length > self.max {
            let text = format!("Member must have length less than or equal to {}", self.max);
            return Err(ApiError::constraint(value, name, &text));
        }
        match self.pattern {
            Some((allowed, pattern)) if !value.chars().all(allowed) => {
                let text = format!("Member must satisfy regular expression pattern: {pattern}");
                Err(ApiError::constraint(value, name, &text))
            }
            _ => Ok(()),
        }
    }
}

/// A number within limits.
pub(crate) fn integer_in(name: &str, value: i64, min: u32, max: i64) -> Result<u32, ApiError> {
    if value < i64::from(min) {
        let text = format!("Member must have value greater than or equal to {min}");
        return Err(ApiError::constraint(value, name, &text));
    }
    u32::try_from(value).ok().filter(|_| value <= max).ok_or_else(|| {
        ApiError::constraint(value, name, &format!("Member must have value less than or equal to {max}"))
    })
}

fn malformed(name: &str, value: &str, wanted: &str) -> ApiError {
    ApiError::sender("MalformedInput", format!("{name} must be {wanted}, not '{value}'"))
}

fn is_hook_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || "-_/".contains(c)
}

fn is_template_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || "().-/_".contains(c)
}

fn is_printable(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | ' '..='~')
}

/// Parameters in one call; the largest real one names a few hundred.
const PARAMETERS_MAX: usize = 5_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_keep_their_order_beyond_nine() {
        let form: String = (1..=11).map(|n| format!("Ids.member.{n}=i{n}&")).collect();
        let params = Params::parse(form.as_bytes()).unwrap();
        assert_eq!(params.list("Ids")[8..], ["i9", "i10", "i11"]);
    }

    #[test]
    fn structures_are_cut_out() {
        let params = Params::parse(b"L.member.1.Name=a&L.member.2.Name=b&T.Version=3").unwrap();
        let names: Vec<_> = params.structures("L").iter().map(|s| s.text("Name").unwrap().to_owned()).collect();
        assert_eq!(names, ["a", "b"]);
        assert_eq!(params.structure("T").unwrap().text("Version"), Some("3"));
    }
}
