//! Templates and facts, as the service has them.

use std::fs;

use portcullis::{
    facts::Template,
    manifest::{Entry, EntryKind, Manifest, Tree},
    outcome::Status,
};

use super::{
    controller::Controller,
    fixture::{Machine, Release},
};

/// A release with `site/id`, rendered from `template`, and nothing else.
fn release(machine: &Machine, template: &str) -> Release {
    fs::remove_file(machine.path("site/index.html")).unwrap();
    let kind = EntryKind::Template { template: Template::parse(template).unwrap() };
    let entry = Entry { path: b"id".to_vec(), kind, mode: None, owner: None };
    let tree = Tree { entries: vec![entry], ..Tree::new("site", machine.path("site").to_str().unwrap()) };
    let (product, release) = ("shop".into(), "templated".into());
    machine.signed(&Manifest { product, release, sequence: 1, trees: vec![tree], checks: vec![] })
}

/// The instance is who the agent enrols as; what templates used travels with the report, and nothing else does.
#[test]
fn what_was_rendered_with_is_reported() {
    let (machine, controller) = (Machine::new(), Controller::start());
    let release = release(&machine, "id={{ instance }} port={{ port }}\n");
    controller.promotes(&release);
    controller.says("admitted");
    fs::write(machine.path("site/id"), "id=i-2 port=8080\n").unwrap();
    let facts = "[facts]\nport = 8080\nunused = \"x\"\n";
    let machine = machine.configured_with(controller.address, facts);
    let agent = machine.start();
    agent.until_readyz_says("content: id");
    assert_eq!(controller.script().reports.last().unwrap().outcomes[0].status, Status::Fail);
    let diff = agent.get("/v1/report").1;
    assert!(diff.contains("-id=i-1 port=8080\\n+id=i-2 port=8080\\n"), "{diff}");
    fs::write(machine.path("site/id"), "id=i-1 port=8080\n").unwrap();
    agent.until_ready();
    let script = controller.script();
    let report = script.reports.last().unwrap();
    let facts: Vec<_> = report.facts.iter().map(|(name, value)| (&**name, &**value)).collect();
    assert_eq!(facts, [("instance", "i-1"), ("port", "8080")]);
    assert_eq!((report.outcomes[0].status, report.manifest), (Status::Pass, release.digest));
    drop(script);
    assert!(agent.get("/v1/report").1.contains("\"facts\":{\"instance\":\"i-1\",\"port\":\"8080\"}"));
}

/// Without a controller nobody says who the instance is but the configuration; without that, nothing can be told.
#[test]
fn alone_the_configuration_says_who_it_is() {
    let machine = Machine::new();
    let release = release(&machine, "{{ instance }}");
    fs::write(machine.path("manifest.json"), release.envelope).unwrap();
    fs::write(machine.path("site/id"), "web-1").unwrap();
    let checks = "[checks]\nmanifest = \"manifest.json\"\n";
    let agent = machine.configured(checks).start();
    agent.until_readyz_says("checks_unknown\n");
    assert!(agent.get("/v1/report").1.contains("the fact `instance` is not known here"));
    drop(agent);
    let agent = machine.configured(&format!("[facts]\ninstance = \"web-1\"\n{checks}")).start();
    agent.until_ready();
}
