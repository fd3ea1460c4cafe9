//! Without a controller.

use std::fs;

use super::fixture::{Machine, PAGE};

#[test]
fn ready_is_what_passed_last() {
    let machine = Machine::new();
    let agent = machine.configured("[checks]\nmanifest = \"manifest.json\"\n").start();
    agent.until_readyz_says("no_manifest\n`");
    fs::write(machine.path("manifest.json"), machine.release("one", &[]).envelope).unwrap();
    agent.until_ready();
    fs::write(machine.path("site/extra"), "").unwrap();
    agent.until_readyz_says("checks_failing\n");
    assert_eq!(agent.get("/readyz").0, 503);
    fs::remove_file(machine.path("site/extra")).unwrap();
    agent.until_ready();
    fs::write(machine.path("manifest.json"), PAGE).unwrap();
    agent.until_readyz_says("not a manifest to believe");
    assert_eq!(agent.get("/readyz"), (503, "no_manifest\n".into()));
    assert!(!machine.path("state").exists(), "it needs no key");
}
