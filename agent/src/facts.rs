//! What this instance knows of itself, for templates (PROTOCOL.md §2, “Facts”).
//!
//! | fact | what |
//! |---|---|
//! | `instance` | the id that the agent enrols with; without a controller, what it is given |
//! | `hostname` | the kernel's, as it is: with or without a domain |
//! | `ipv4`, `ipv6` | the address that traffic for the rest of the world leaves from, by the kernel's routes; unknown without a default route |
//! | any other | what `[facts]` of `agent.toml` or `--fact` says |
//!
//! What is given wins over what the machine says. When it is a mounted image that is checked, the machine says nothing: its
//! name and addresses are not those of the instance that the image will be.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use portcullis::{facts::Facts, manifest::Manifest};

/// The facts that the templates of `manifest` need, as far as they are known: asked anew for each check, since names and
/// addresses change. `of_machine`: whether it is this machine that is checked.
pub(crate) fn gather(manifest: &Manifest, given: &Facts, of_machine: bool) -> Facts {
    let mut facts = Facts::default();
    for name in manifest.facts() {
        let said = || if of_machine { machine(name) } else { None };
        if let Some(value) = given.value(name).map(ToOwned::to_owned).or_else(said)
            && let Err(error) = facts.insert(name, &value)
        {
            tracing::warn!("the fact `{name}` is not used: {error}");
        }
    }
    facts
}

fn machine(name: &str) -> Option<String> {
    match name {
        "hostname" => hostname(),
        "ipv4" => address(Ipv4Addr::UNSPECIFIED.into(), ELSEWHERE_V4.into()),
        "ipv6" => address(Ipv6Addr::UNSPECIFIED.into(), ELSEWHERE_V6.into()),
        _ => None,
    }
}

fn hostname() -> Option<String> {
    let uname = rustix::system::uname();
    uname.nodename().to_str().ok().filter(|name| !name.is_empty() && *name != "(none)").map(Into::into)
}

/// Connecting a datagram socket sends nothing: it only asks the kernel for a route, and for the address that goes with it.
fn address(any: IpAddr, elsewhere: IpAddr) -> Option<String> {
    let socket = UdpSocket::bind(SocketAddr::new(any, 0)).ok()?;
    socket.connect(SocketAddr::new(elsewhere, PORT)).ok()?;
    let address = socket.local_addr().ok()?.ip();
    is_usable(address).then(|| address.to_string())
}

/// By others than this machine and its own link.
fn is_usable(address: IpAddr) -> bool {
    let is_local = match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    };
    !(is_local || address.is_unspecified() || address.is_loopback())
}

/// For documentation (RFC 5737, RFC 3849): nobody's, so that only a default route leads there.
const ELSEWHERE_V4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const ELSEWHERE_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
/// `discard`.
const PORT: u16 = 9;

#[cfg(test)]
mod tests {
    use portcullis::{
        facts::Template,
        manifest::{Entry, EntryKind, Tree},
    };

    use super::*;

    fn manifest(template: &str) -> Manifest {
        let kind = EntryKind::Template { template: Template::parse(template).unwrap() };
        let entry = Entry { path: b"a".to_vec(), kind, mode: None, owner: None };
        let tree = Tree { entries: vec![entry], ..Tree::new("app", "/app") };
        let (product, release) = ("shop".into(), "1".into());
        Manifest { product, release, sequence: 1, trees: vec![tree], checks: vec![] }
    }

    fn given(facts: &[(&str, &str)]) -> Facts {
        let mut given = Facts::default();
        facts.iter().for_each(|(name, value)| given.insert(name, value).unwrap());
        given
    }

    #[test]
    fn only_what_is_needed_and_what_is_given_wins() {
        let manifest = manifest("{{ instance }} {{ hostname }} {{ zone }} {{ absent }}");
        let own = hostname().unwrap();
        let given = given(&[("zone", "b"), ("other", "x"), ("instance", "i-1")]);
        let facts = gather(&manifest, &given, true).into_values();
        let told: Vec<_> = facts.iter().map(|(name, value)| (&**name, &**value)).collect();
        assert_eq!(told, [("hostname", &*own), ("instance", "i-1"), ("zone", "b")]);
    }

    #[test]
    fn an_image_has_nothing_of_this_machine() {
        let manifest = manifest("{{ hostname }} {{ ipv4 }} {{ ipv6 }} {{ zone }}");
        let given = given(&[("zone", "b"), ("ipv4", "10.0.0.7")]);
        let facts = gather(&manifest, &given, false).into_values();
        assert_eq!(
            facts.into_iter().collect::<Vec<_>>(),
            [("ipv4".into(), "10.0.0.7".into()), ("zone".into(), "b".into())]
        );
    }

    #[test]
    fn addresses_that_others_can_use() {
        for (address, usable) in [
            ("10.1.2.3", true),
            ("192.168.0.1", true),
            ("2a01::1", true),
            ("fd00::1", true),
            ("127.0.0.1", false),
            ("::1", false),
            ("0.0.0.0", false),
            ("::", false),
            ("169.254.1.1", false),
            ("fe80::1", false),
        ] {
            assert_eq!(is_usable(address.parse().unwrap()), usable, "{address}");
        }
    }
}
