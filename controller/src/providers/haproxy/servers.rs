//! `show servers state`, as one balancer answers it: which server of which backend is held.
//!
//! Its `srv_admin_state` is a mask, and not zero does not mean held: a server that is `disabled` in the configuration keeps bit 4
//! for good, also when it serves. Bit 1 is maintenance by anybody's word or by the configuration, and that alone is the gate's.

use std::collections::BTreeMap;

/// The servers of one balancer, by backend and name.
pub(super) type Listing = BTreeMap<(String, String), Server>;

/// One server, as one balancer sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Server {
    pub(super) place: Place,
    /// It has a health check, which does not run: let in, it would count as healthy whatever happens. So do added servers begin.
    pub(super) check_is_off: bool,
    pub(super) agent: AgentCheck,
}

/// Whether a server gets requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// In maintenance.
    Held,
    /// Drained, by somebody who is not the gate.
    Drained,
    /// Let in; whether it gets any is for its health check to say.
    In,
}

/// Another voice on whether a server may serve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AgentCheck {
    Absent,
    Off,
    On,
}

/// Reads the answer; what it is not, is told.
pub(super) fn listing(answer: &str) -> Result<Listing, String> {
    let mut lines = answer.lines();
    let (version, header) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
    let Some(header) = header.strip_prefix("# ").filter(|_| version == "1") else {
        return Err(format!("no list of servers: {}", answer.lines().next().unwrap_or_default()));
    };
    let columns = Columns::of(header).ok_or("a list of servers without the columns that matter")?;
    lines.filter(|line| !line.trim().is_empty()).map(|line| columns.server(line)).collect()
}

/// Where in a line things are.
struct Columns {
    backend: usize,
    name: usize,
    operation: usize,
    admin: usize,
    check: usize,
    agent: usize,
}

impl Columns {
    fn of(header: &str) -> Option<Self> {
        let names: Vec<&str> = header.split_whitespace().collect();
        let at = |name: &str| names.iter().position(|column| *column == name);
        Some(Self {
            backend: at("be_name")?,
            name: at("srv_name")?,
            operation: at("srv_op_state")?,
            admin: at("srv_admin_state")?,
            check: at("srv_check_state")?,
            agent: at("srv_agent_state")?,
        })
    }

    fn server(&self, line: &str) -> Result<((String, String), Server), String> {
        let values: Vec<&str> = line.split_whitespace().collect();
        let text = |at: usize| values.get(at).copied().ok_or_else(|| format!("a server without a value: {line}"));
        let number = |at: usize| text(at)?.parse::<u32>().map_err(|_| format!("a server with no number: {line}"));
        let (check, agent) = (number(self.check)?, number(self.agent)?);
        let server = Server {
            place: place(number(self.operation)?, number(self.admin)?),
            check_is_off: check & CONFIGURED != 0 && check & ENABLED == 0,
            agent: match (agent & CONFIGURED != 0, agent & ENABLED != 0) {
                (false, _) => AgentCheck::Absent,
                (true, false) => AgentCheck::Off,
                (true, true) => AgentCheck::On,
            },
        };
        Ok(((text(self.backend)?.into(), text(self.name)?.into()), server))
    }
}

/// What runs gets requests, whatever the mask says. What follows another server into its maintenance (bit 2), or has no address
/// (bit 32), is held by nobody: it serves as soon as that is over.
const fn place(operation: u32, admin: u32) -> Place {
    if admin & FORCED_MAINTENANCE != 0 && operation == STOPPED {
        return Place::Held;
    }
    if admin & (FORCED_DRAIN | INHERITED_DRAIN) != 0 {
        return Place::Drained;
    }
    Place::In
}

// HAProxy's `include/haproxy/server-t.h` and `check-t.h`, 2.4 to 3.2.
const STOPPED: u32 = 0;
const FORCED_MAINTENANCE: u32 = 0x01;
const FORCED_DRAIN: u32 = 0x08;
const INHERITED_DRAIN: u32 = 0x10;
const CONFIGURED: u32 = 0x02;
const ENABLED: u32 = 0x04;

#[cfg(test)]
mod tests {
    use super::*;

    /// Masks as HAProxy 2.6 gave them.
    #[test]
    fn who_is_held() {
        for (what, operation, admin, expected) in [
            ("disabled in the configuration", 0, 5, Place::Held),
            ("the same, made ready", 2, 4, Place::In),
            ("the same, made ready and down", 0, 4, Place::In),
            ("the same, drained", 2, 12, Place::Drained),
            ("drained and down", 0, 12, Place::Drained),
            ("added", 0, 1, Place::Held),
            ("never disabled", 2, 0, Place::In),
            ("never disabled, and down", 0, 0, Place::In),
            ("starting slowly", 1, 4, Place::In),
            ("follows another", 0, 2, Place::In),
            ("without an address", 0, 32, Place::In),
            ("held and without an address", 0, 33, Place::Held),
            ("held and its backend drained", 0, 17, Place::Held),
            ("runs all the same", 2, 1, Place::In),
        ] {
            assert_eq!(place(operation, admin), expected, "{what}");
        }
    }

    const HEADER: &str = "1\n# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight srv_iweight srv_time_since_last_change srv_check_status srv_check_result srv_check_health srv_check_state srv_agent_state bk_f_forced_id srv_f_forced_id srv_fqdn srv_port srvrecord srv_use_ssl srv_check_port srv_check_addr srv_agent_addr srv_agent_port";

    fn one(check: u32, agent: u32) -> Server {
        let row = format!("3 web 1 a 127.0.0.1 0 5 1 1 268 15 3 0 {check} {agent} 0 0 - 18081 - 0 0 - - 0");
        let servers = listing(&format!("{HEADER}\n{row}\n")).unwrap();
        servers[&("web".into(), "a".into())]
    }

    #[test]
    fn checks() {
        for (state, off) in [(0, false), (6, false), (7, false), (14, false), (2, true), (10, true)] {
            assert_eq!(one(state, 0).check_is_off, off, "{state}");
        }
        for (state, agent) in
            [(0, AgentCheck::Absent), (18, AgentCheck::Off), (22, AgentCheck::On), (23, AgentCheck::On)]
        {
            assert_eq!(one(14, state).agent, agent, "{state}");
        }
    }

    #[test]
    fn what_is_no_list_is_refused() {
        assert!(listing(HEADER).unwrap().is_empty());
        let short = format!("{HEADER}\n3 web 1 a 127.0.0.1 0 5\n");
        let words = format!("{HEADER}\n{}\n", "3 web 1 a ".to_string() + &"x ".repeat(21));
        for (answer, because) in [
            ("", "no list of servers"),
            ("Can't find backend.", "no list of servers: Can't find backend."),
            ("2\n# be_name", "no list of servers: 2"),
            ("1\n# be_name srv_name", "without the columns"),
            (&short, "without a value"),
            (&words, "no number"),
        ] {
            let told = listing(answer).unwrap_err();
            assert!(told.contains(because), "{told}");
        }
    }
}
