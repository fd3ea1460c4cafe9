//! The kinds of check: one file each, and one line in the list below.
//!
//! A kind is a variant of [`CheckKind`], a table of that name in spec and manifest, and its rules, which are in its file
//! here; what runs it is the agent's business (`agent/src/checks/`, again one file and one line). The table is the same as
//! written and as signed: `certificate = { file = "…" }` is `"certificate":{"file":"…"}`. Only `command` is older than
//! that: a bare list of arguments in the spec, `argv` in the manifest.

use alloc::{string::String, vec::Vec};

use crate::manifest::Scope;

pub use command::Command;

pub mod command;
pub mod fields;
pub mod window;

/// What a kind of check wants to be so.
pub trait Wanted {
    /// Its word in specs, manifests and outcomes.
    const NAME: &'static str;

    /// How long one attempt may take unless the spec says otherwise.
    const TIMEOUT_MS: u64 = TIMEOUT_MS;

    /// Whether its fields mean anything, and the same everywhere. The error follows the table's name: “`tcp` …”.
    fn validate(&self) -> Result<(), String>;

    /// When it counts unless the spec says otherwise: at launch only for what lies outside the instance (DESIGN.md §6).
    fn scope(&self) -> Scope {
        Scope::Both
    }

    /// What is checked, in a few words for people: `/etc/ssl/site.pem`, `127.0.0.1:80`.
    fn summary(&self) -> String;

    /// The command that it runs, if it does: what is signed is seen, and what may run as root is listed just so.
    fn runs(&self) -> Option<Vec<String>> {
        None
    }
}

/// How long an attempt may take (DESIGN.md §6).
pub const TIMEOUT_MS: u64 = 10_000;

/// Calls a macro with every kind that has a table: its module here, its type. This is the one list; each file that needs all
/// kinds gets them from here.
macro_rules! with_tables {
    ($then:ident) => {
        $then! {
            certificate: Certificate,
            container: Container,
            http: Http,
            listen: Listen,
            process: Process,
            tcp: Tcp,
            unit: Unit,
            web_server: WebServer,
        }
    };
}
pub(crate) use with_tables;

macro_rules! kinds {
    ($($module:ident: $Kind:ident,)*) => {
        $(pub mod $module;)*

        /// What is to be verified; one variant a kind, one file a kind.
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub enum CheckKind {
            /// A command that must exit with 0.
            Command(Command),
            $(
                #[doc = concat!("See [`mod@", stringify!($module), "`].")]
                $Kind($module::$Kind),
            )*
        }

        impl CheckKind {
            /// The word for it in manifests and outcomes.
            pub const fn name(&self) -> &'static str {
                match self {
                    Self::Command(_) => Command::NAME,
                    $(Self::$Kind(_) => $module::$Kind::NAME,)*
                }
            }

            /// How long one attempt may take unless the spec says otherwise.
            pub const fn timeout_ms(&self) -> u64 {
                match self {
                    Self::Command(_) => Command::TIMEOUT_MS,
                    $(Self::$Kind(_) => $module::$Kind::TIMEOUT_MS,)*
                }
            }

            fn wanted(&self) -> &dyn WantedDyn {
                match self {
                    Self::Command(wanted) => wanted,
                    $(Self::$Kind(wanted) => wanted,)*
                }
            }
        }
    };
}
with_tables!(kinds);

impl CheckKind {
    /// Whether its fields mean anything.
    ///
    /// # Errors
    /// A fragment that follows the name of the table.
    pub fn validate(&self) -> Result<(), String> {
        self.wanted().validate()
    }

    /// When it counts unless the spec says otherwise.
    pub fn scope(&self) -> Scope {
        self.wanted().scope()
    }

    /// What is checked, for people.
    pub fn summary(&self) -> String {
        self.wanted().summary()
    }

    /// The command that it runs, if it does.
    pub fn runs(&self) -> Option<Vec<String>> {
        self.wanted().runs()
    }
}

/// [`Wanted`] without its constants, so that all kinds are one type.
trait WantedDyn {
    fn validate(&self) -> Result<(), String>;
    fn scope(&self) -> Scope;
    fn summary(&self) -> String;
    fn runs(&self) -> Option<Vec<String>>;
}

impl<T: Wanted> WantedDyn for T {
    fn validate(&self) -> Result<(), String> {
        Wanted::validate(self)
    }

    fn scope(&self) -> Scope {
        Wanted::scope(self)
    }

    fn summary(&self) -> String {
        Wanted::summary(self)
    }

    fn runs(&self) -> Option<Vec<String>> {
        Wanted::runs(self)
    }
}

#[cfg(test)]
mod tests {
    use alloc::format;

    use crate::spec::Spec;

    #[test]
    fn what_is_checked_in_a_few_words() {
        for (table, summary) in [
            ("container = { name = \"shop\" }", "shop"),
            ("process = { executable = \"/usr/sbin/nginx\" }", "/usr/sbin/nginx"),
            ("tcp = { connect = \"127.0.0.1:80\" }", "127.0.0.1:80"),
            ("unit = { unit = \"nginx.service\" }", "nginx.service"),
        ] {
            let spec = Spec::parse(&format!("[[check]]\nname = \"a\"\n{table}\n")).unwrap();
            assert_eq!((spec.checks[0].kind.summary().as_str(), spec.checks[0].kind.runs()), (summary, None));
        }
    }
}
