//! HAProxy: servers that nobody launches, held in maintenance by one or several balancers and let in over their Runtime API.
//!
//! The Runtime API is the gate, and its word for held is *maintenance*. *Drained* is somebody else's wish, and stays as it is.
//! An instance is a server name in the group's backends; its agent goes by that name (`[identity] instance`), and joins with a
//! token of the group. Behind several balancers it is held when all of those that answer hold it, and serves when none does.
//!
//! Nothing here remembers: what a restart of HAProxy forgot is seen in the next description, and the decision asserts it again.

use std::collections::{BTreeMap, BTreeSet};

use portcullis::{
    instance::{GroupName, InstanceId, LifecycleState},
    observation::{Answer, Custody, GroupFacts, Hook, InstanceFacts},
    record::Way,
    text,
};
use servers::{AgentCheck, Listing, Place, Server};

use super::{Call, Facts, Finder, Found, Pending, Provider};
use crate::config::{Haproxy, Pool, Socket};

mod runtime;
mod servers;

/// Some balancers, alike.
#[derive(Debug, Clone)]
pub struct HaproxyProvider {
    haproxy: Haproxy,
}

/// What a balancer answered.
type Seen<'a> = (&'a Socket, Result<Listing, Answer>);

impl HaproxyProvider {
    /// Nothing is asked before it is described.
    pub const fn new(haproxy: Haproxy) -> Self {
        Self { haproxy }
    }

    async fn describe_all(&self, groups: &[GroupName]) -> Vec<(GroupName, Facts)> {
        let seen = self.look().await;
        let shared = self.shared(&seen);
        let described = groups.iter().map(|name| {
            let facts = match (self.haproxy.pools.get(name), shared.get(name)) {
                (None, _) => Ok(None),
                (Some(_), Some(because)) => Err(Answer::Refused { because: because.clone() }),
                (Some(pool), None) => facts(pool, &seen).map(Some),
            };
            (name.clone(), facts)
        });
        described.collect()
    }

    /// All balancers at the same time: one that hangs delays nobody.
    async fn look(&self) -> Vec<Seen<'_>> {
        let asked: Vec<_> = self.haproxy.sockets.iter().map(|socket| tokio::spawn(look(socket.clone()))).collect();
        let mut seen = Vec::new();
        for (socket, asked) in self.haproxy.sockets.iter().zip(asked) {
            seen.push((socket, asked.await.unwrap_or_else(|error| unknown(error.to_string()))));
        }
        seen
    }

    /// Groups that have a server name in common, and why that cannot be: an instance is in one group.
    fn shared(&self, seen: &[Seen<'_>]) -> BTreeMap<GroupName, String> {
        let mut owners: BTreeMap<&str, BTreeSet<&GroupName>> = BTreeMap::new();
        for (group, pool) in &self.haproxy.pools {
            for (_, name, _) in members(pool, seen) {
                owners.entry(name).or_default().insert(group);
            }
        }
        let mut shared = BTreeMap::new();
        for (name, groups) in owners.iter().filter(|(_, groups)| groups.len() > 1) {
            for group in groups {
                let because = format!(
                    "server `{}` is in more than one group: one group can have several `backends`",
                    text::visible(name)
                );
                shared.entry((*group).clone()).or_insert(because);
            }
        }
        shared
    }

    async fn everywhere(&self, group: &GroupName, instance: &InstanceId, wish: Wish) -> Answer {
        let Some(pool) = self.haproxy.pools.get(group) else {
            return Answer::Refused { because: "there is no such group".into() };
        };
        let at = |socket: &Socket| tokio::spawn(tell(socket.clone(), pool.clone(), instance.clone(), wish));
        let told: Vec<_> = self.haproxy.sockets.iter().map(at).collect();
        let mut answers = Vec::new();
        for told in told {
            answers.push(told.await.unwrap_or_else(|error| Answer::Unknown { because: error.to_string() }));
        }
        worst(answers)
    }
}

impl Provider for HaproxyProvider {
    /// What balancers say is of all groups at once.
    fn describe<'a>(&'a self, groups: &'a [GroupName], finder: Finder) -> Pending<'a, ()> {
        Box::pin(async move {
            for (group, facts) in self.describe_all(groups).await {
                // Nobody is left to hear it: that is as good.
                let _ = finder.send(Found::Group(group, facts)).await.is_ok();
            }
        })
    }

    fn perform(&self, call: Call) -> Pending<'_, Answer> {
        Box::pin(async move {
            match &call {
                Call::Admit(held) => self.everywhere(&held.group, &held.instance, Wish::LetIn).await,
                // Nothing times out here, and nothing can be ended: both are to be held.
                Call::KeepWaiting(held) | Call::GiveUp(held) => {
                    self.everywhere(&held.group, &held.instance, Wish::Hold).await
                }
                Call::Withdraw(leaves) if leaves.way == Way::Replace => {
                    Answer::Refused { because: "nothing is replaced behind HAProxy".into() }
                }
                Call::Withdraw(leaves) => self.everywhere(&leaves.group, &leaves.instance, Wish::Drain).await,
                Call::Return(comes) => self.everywhere(&comes.group, &comes.instance, Wish::Return).await,
                Call::Protect(_) => Answer::Refused { because: "nothing is scaled in behind HAProxy".into() },
            }
        })
    }
}

/// What a server is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wish {
    LetIn,
    Hold,
    /// No new sessions; those there are end by themselves.
    Drain,
    /// As it was before it was drained.
    Return,
}

async fn look(socket: Socket) -> Result<Listing, Answer> {
    let answer = runtime::ask(&socket, "show servers state").await?;
    servers::listing(&answer).or_else(|because| unknown(format!("of balancer {socket}: {}", text::visible(&because))))
}

/// Tells one balancer what it does not do already, in each backend that has the server.
async fn tell(socket: Socket, pool: Pool, instance: InstanceId, wish: Wish) -> Answer {
    let listing = match look(socket.clone()).await {
        Ok(listing) => listing,
        Err(answer) => return answer,
    };
    let mut answers = Vec::new();
    for backend in &pool.backends {
        let Some(server) = listing.get(&(backend.clone(), instance.0.clone())) else { continue };
        for command in commands(wish, *server, &format!("{backend}/{}", instance.0)) {
            answers.push(runtime::tell(&socket, &command).await);
        }
        if answers.is_empty() {
            answers.push(Answer::Accepted);
        }
    }
    if answers.is_empty() {
        return Answer::Refused { because: format!("{socket} has no server `{instance}`") };
    }
    worst(answers)
}

/// A check that does not run is switched on before the server is let in. An agent-check that says `ready` ends anybody's
/// maintenance: it has no say in what is held, and gets it back with the server.
fn commands(wish: Wish, server: Server, name: &str) -> Vec<String> {
    let when = |is_so: bool, command: &str| is_so.then(|| format!("{command} {name}"));
    match (wish, server.place) {
        (Wish::LetIn, Place::Held) | (Wish::Return, Place::Drained) => [
            when(server.check_is_off, "enable health"),
            when(server.agent == AgentCheck::Off, "enable agent"),
            Some(format!("set server {name} state ready")),
        ]
        .into_iter()
        .flatten()
        .collect(),
        (Wish::Hold, Place::In) => {
            [when(server.agent == AgentCheck::On, "disable agent"), Some(format!("set server {name} state maint"))]
                .into_iter()
                .flatten()
                .collect()
        }
        (Wish::Drain, Place::In) => {
            [when(server.agent == AgentCheck::On, "disable agent"), Some(format!("set server {name} state drain"))]
                .into_iter()
                .flatten()
                .collect()
        }
        (Wish::LetIn, Place::In | Place::Drained)
        | (Wish::Hold | Wish::Drain, Place::Held | Place::Drained)
        | (Wish::Return, Place::In | Place::Held) => Vec::new(),
    }
}

/// The servers of a pool, at every balancer that answered.
fn members<'a>(pool: &'a Pool, seen: &'a [Seen<'a>]) -> impl Iterator<Item = (&'a Socket, &'a str, Place)> + use<'a> {
    let listings = seen.iter().filter_map(|(socket, listing)| Some((*socket, listing.as_ref().ok()?)));
    listings.flat_map(|(socket, listing)| {
        let servers = listing.iter().filter(|((backend, _), _)| pool.backends.contains(backend));
        servers.map(move |((_, name), server)| (socket, name.as_str(), server.place))
    })
}

fn facts(pool: &Pool, seen: &[Seen<'_>]) -> Result<GroupFacts, Answer> {
    let mut places: BTreeMap<&str, Vec<Place>> = BTreeMap::new();
    for (_, name, place) in members(pool, seen) {
        places.entry(name).or_default().push(place);
    }
    let unseen = unseen(pool, seen);
    if places.is_empty() {
        let because = unseen.join("; ");
        let somebody_answered = seen.iter().any(|(_, listing)| listing.is_ok());
        return Err(if somebody_answered { Answer::Refused { because } } else { Answer::Unknown { because } });
    }
    let instances: Vec<InstanceFacts> = places.iter().map(|(name, places)| instance(name, places)).collect();
    let standing = instances.iter().filter(|instance| instance.state != LifecycleState::Standby).count();
    let desired = pool.wanted.unwrap_or_else(|| u32::try_from(standing).unwrap_or(u32::MAX));
    let (launch_hooks, custody) = (vec![hold(pool)], Custody::InPlace);
    Ok(GroupFacts { desired, launch_hooks, instances, custody, unseen, ..GroupFacts::default() })
}

/// Maintenance, in the words of the cloud: a hook of ours that never times out.
fn hold(pool: &Pool) -> Hook {
    let never = u64::MAX;
    Hook { name: pool.hook.clone(), heartbeat_timeout_s: never, global_timeout_s: never, abandons_by_default: true }
}

fn instance(name: &str, places: &[Place]) -> InstanceFacts {
    let state = match (places.contains(&Place::Held), places.contains(&Place::In)) {
        (true, false) => LifecycleState::PendingWait,
        (true, true) => LifecycleState::PendingProceed,
        (false, true) => LifecycleState::InService,
        (false, false) => LifecycleState::Standby,
    };
    InstanceFacts { instance: InstanceId::from(name), state, launch_template: None, protected: false, healthy: None }
}

/// What is missing: balancers without an answer, and servers that not all of them have.
fn unseen(pool: &Pool, seen: &[Seen<'_>]) -> Vec<String> {
    let listings = || seen.iter().filter_map(|(_, listing)| listing.as_ref().ok());
    let known: BTreeSet<_> = listings().flat_map(BTreeMap::keys).filter(|(of, _)| pool.backends.contains(of)).collect();
    let mut unseen = Vec::new();
    for (socket, listing) in seen {
        match listing {
            Err(answer) => unseen.push(because(answer)),
            Ok(listing) => {
                for backend in &pool.backends {
                    if !listing.keys().any(|(of, _)| of == backend) {
                        unseen.push(format!("of balancer {socket}: no backend `{backend}`, or no server in it"));
                    }
                }
                let missing = known.iter().filter(|server| !listing.contains_key(**server)).map(|(_, name)| name);
                let missing: Vec<_> = missing.map(|name| text::visible(name)).collect();
                if let Some(first) = missing.first() {
                    let others = missing.len() - 1;
                    unseen.push(format!("of balancer {socket}: no server `{first}` (and {others} others)"));
                }
            }
        }
    }
    unseen
}

fn because(answer: &Answer) -> String {
    match answer {
        Answer::Unknown { because } | Answer::Refused { because } => because.clone(),
        Answer::Accepted | Answer::Throttled | Answer::NoActiveAction => crate::act::in_words(answer),
    }
}

/// Not known beats refused, which beats done: only what every balancer did is done.
fn worst(answers: Vec<Answer>) -> Answer {
    let rank = |answer: &Answer| match answer {
        Answer::Accepted => 0,
        Answer::NoActiveAction | Answer::Throttled | Answer::Refused { .. } => 1,
        Answer::Unknown { .. } => 2,
    };
    answers.into_iter().max_by_key(rank).unwrap_or(Answer::Accepted)
}

fn unknown<T>(because: String) -> Result<T, Answer> {
    Err(Answer::Unknown { because })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(place: Place) -> Server {
        Server { place, check_is_off: false, agent: AgentCheck::Absent }
    }

    fn pool(backends: &[&str]) -> Pool {
        let backends = backends.iter().map(ToString::to_string).collect();
        Pool { backends, wanted: None, hook: "portcullis".into() }
    }

    fn listing(servers: &[(&str, &str, Place)]) -> Result<Listing, Answer> {
        Ok(servers.iter().map(|(backend, name, place)| (((*backend).into(), (*name).into()), server(*place))).collect())
    }

    #[test]
    fn what_is_told_to_whom() {
        let is_off = |place| Server { check_is_off: true, ..server(place) };
        let speaks = |agent, place| Server { agent, ..server(place) };
        for (wish, server, commands_wanted) in [
            (Wish::LetIn, server(Place::Held), "set server web/a state ready"),
            (Wish::LetIn, is_off(Place::Held), "enable health web/a, set server web/a state ready"),
            (Wish::LetIn, speaks(AgentCheck::Off, Place::Held), "enable agent web/a, set server web/a state ready"),
            (Wish::LetIn, speaks(AgentCheck::On, Place::Held), "set server web/a state ready"),
            (Wish::LetIn, is_off(Place::In), ""),
            (Wish::LetIn, server(Place::Drained), ""),
            (Wish::Hold, server(Place::In), "set server web/a state maint"),
            (Wish::Hold, speaks(AgentCheck::On, Place::In), "disable agent web/a, set server web/a state maint"),
            (Wish::Hold, speaks(AgentCheck::Off, Place::In), "set server web/a state maint"),
            (Wish::Hold, speaks(AgentCheck::On, Place::Held), ""),
            (Wish::Hold, server(Place::Drained), ""),
            (Wish::Drain, server(Place::In), "set server web/a state drain"),
            (Wish::Drain, speaks(AgentCheck::On, Place::In), "disable agent web/a, set server web/a state drain"),
            (Wish::Drain, server(Place::Held), ""),
            (Wish::Return, server(Place::Drained), "set server web/a state ready"),
            (Wish::Return, speaks(AgentCheck::Off, Place::Drained), "enable agent web/a, set server web/a state ready"),
            (Wish::Return, server(Place::Held), ""),
        ] {
            assert_eq!(commands(wish, server, "web/a").join(", "), commands_wanted, "{wish:?} {server:?}");
        }
    }

    #[test]
    fn one_server_at_several_balancers() {
        use Place::{Drained, Held, In};
        for (places, state) in [
            (&[Held][..], "Pending:Wait"),
            (&[In], "InService"),
            (&[Drained], "Standby"),
            (&[Held, Held], "Pending:Wait"),
            (&[In, In], "InService"),
            (&[Held, In], "Pending:Proceed"),
            (&[In, Held, In], "Pending:Proceed"),
            (&[Held, Drained], "Pending:Wait"),
            (&[In, Drained], "InService"),
        ] {
            assert_eq!(instance("a", places).state.as_str(), state, "{places:?}");
        }
    }

    #[test]
    fn what_is_missing_is_told() {
        let (a, b) = (Socket::Unix("/a".into()), Socket::Unix("/b".into()));
        let both = || listing(&[("web", "s1", Place::Held), ("web", "s2", Place::In), ("db", "s3", Place::In)]);
        let told =
            |seen: &[Seen<'_>]| facts(&pool(&["web"]), seen).map(|facts| (facts.desired, facts.unseen.join("; ")));
        let all = |unseen: &str| Ok((2, unseen.to_string()));
        assert_eq!(told(&[(&a, both()), (&b, both())]), all(""));
        assert_eq!(
            told(&[(&a, both()), (&b, unknown("of balancer /b: timed out".into()))]),
            all("of balancer /b: timed out")
        );
        let one = listing(&[("web", "s1", Place::Held)]);
        assert_eq!(told(&[(&a, both()), (&b, one)]), all("of balancer /b: no server `s2` (and 0 others)"));
        let none = || listing(&[("db", "s3", Place::In)]);
        let Err(Answer::Refused { because }) = told(&[(&a, none())]) else { panic!("it is not refused") };
        assert_eq!(because, "of balancer /a: no backend `web`, or no server in it");
        let Err(Answer::Unknown { .. }) = told(&[(&a, unknown(String::new()))]) else { panic!("it is known") };
        let mixed = facts(&pool(&["web"]), &[(&a, both()), (&b, listing(&[("web", "s1", Place::In)]))]).unwrap();
        let states: Vec<_> = mixed.instances.iter().map(|one| (one.instance.as_str(), one.state.as_str())).collect();
        assert_eq!(states, [("s1", "Pending:Proceed"), ("s2", "InService")]);
    }

    #[test]
    fn a_server_name_is_in_one_group() {
        let pools = [("web".into(), pool(&["web", "tls"])), ("db".into(), pool(&["db"]))].into();
        let socket = Socket::Unix("/a".into());
        let provider = HaproxyProvider::new(Haproxy { sockets: vec![socket.clone()], pools });
        let shared = |servers: &[(&str, &str, Place)]| {
            provider.shared(&[(&socket, listing(servers))]).into_keys().map(|name| name.0).collect::<Vec<_>>()
        };
        let [web, tls, db] = ["web", "tls", "db"].map(|backend| (backend, "s1", Place::Held));
        assert_eq!(shared(&[web, tls]), [""; 0]);
        assert_eq!(shared(&[web, tls, db]), ["db", "web"]);
    }

    #[test]
    fn only_what_all_did_is_done() {
        let (refused, unknown) =
            (Answer::Refused { because: String::new() }, Answer::Unknown { because: String::new() });
        assert_eq!(worst(vec![Answer::Accepted, Answer::Accepted]), Answer::Accepted);
        assert_eq!(worst(vec![Answer::Accepted, refused.clone(), Answer::Accepted]), refused);
        assert_eq!(worst(vec![refused, unknown.clone(), Answer::Accepted]), unknown);
    }
}
