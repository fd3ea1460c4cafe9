//! `process`: a program runs, from the very file that is on disk, and has done so for a while.
//!
//! ```toml
//! [[check]]
//! name = "nginx runs"
//! process = { executable = "/usr/sbin/nginx", up_for = "10s" }
//!
//! [[check]]
//! name = "orders worker is this release"
//! process = { executable = "/usr/bin/python3", arguments_contain = "/srv/orders/worker.py", newer_than = ["/srv/orders/worker.py"] }
//! ```

use alloc::{format, string::String, vec::Vec};

use serde::{Deserialize, Serialize};

use super::{
    Wanted,
    fields::{ELEMENTS_MAX, absolute, if_there, is_one, is_true, not_empty, one, one_word, yes},
};
use crate::{duration::Span, json};

/// A program that runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Process {
    /// The file that is run, absolute; a symlink is followed. Of a script it is the interpreter.
    pub executable: String,
    /// Count only what runs as this user: a name in `/etc/passwd`, or a number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Count only what has this in its command line, the arguments joined by single spaces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arguments_contain: Option<String>,
    /// So many must run; 1 unless given.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub count_min: u64,
    /// No more may run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count_max: Option<u64>,
    /// Of those that must run, each must have run for so long: what crashes in a loop never has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub up_for: Option<Span>,
    /// Whether they must run the file that is on disk now, and libraries that are; true unless given.
    #[serde(default = "yes", skip_serializing_if = "is_true")]
    pub fresh: bool,
    /// Each must have been started after these were last changed: what a script or its configuration was read from.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "json::at_most::<_, _, ELEMENTS_MAX>")]
    pub newer_than: Vec<String>,
}

impl Wanted for Process {
    const NAME: &'static str = "process";

    fn validate(&self) -> Result<(), String> {
        absolute("executable", &self.executable)?;
        if_there("user", self.user.as_ref(), one_word)?;
        if_there("arguments_contain", self.arguments_contain.as_ref(), not_empty)?;
        self.newer_than.iter().try_for_each(|path| absolute("newer_than", path))?;
        match self.count_max {
            Some(max) if max < self.count_min => {
                let min = self.count_min;
                Err(format!("`count_max` is {max}, less than `count_min`, which is {min} (1 unless given)"))
            }
            None if self.count_min == 0 => Err("`count_min` is 0 without a `count_max`: nothing would be checked".into()),
            _ => Ok(()),
        }
    }

    fn summary(&self) -> String {
        crate::text::visible(&match &self.arguments_contain {
            Some(arguments) => format!("{} … {arguments}", self.executable),
            None => self.executable.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table() {
        let executable = r#""executable":"/usr/sbin/nginx""#;
        for (more, fault) in [
            ("", None),
            (r#","count_min":0,"count_max":0"#, None),
            (r#","user":"www-data","up_for":"10s","fresh":false,"newer_than":["/srv/a"]"#, None),
            (r#","count_min":0"#, Some("nothing would be checked")),
            (r#","count_max":0"#, Some("`count_max` is 0, less than `count_min`")),
            (r#","user":"a b""#, Some("which is no name")),
            (r#","arguments_contain":"""#, Some("`arguments_contain` is empty")),
            (r#","newer_than":["a"]"#, Some("`newer_than` `a` is not absolute")),
        ] {
            let json = format!("{{{executable}{more}}}");
            let process: Process = json::parse(json.as_bytes(), &json::Limits::MANIFEST).unwrap();
            let error = process.validate().err();
            assert_eq!(error.is_some(), fault.is_some(), "{json}: {error:?}");
            assert!(fault.is_none_or(|fault| error.unwrap().contains(fault)), "{json}");
            assert_eq!(serde_json::to_string(&process).unwrap(), json);
        }
    }
}
