//! One look of the process that puts edits back (`__restore`), started by hand: what keeps it from doing so.

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, symlink},
    process::{Command, Stdio},
    time::{Duration, SystemTime},
};

use portcullis::{digest::Digest, manifest::Extras};

use crate::fixture::{AGENT, Agent, Machine, eventually};

const SITE: &str = "etc/nginx/conf.d/site.conf";

/// One whose nginx tree is restored; signed, with this changed.
fn restored(change: impl Fn(&mut portcullis::manifest::Tree)) -> Machine {
    let mut machine = Machine::new();
    machine.manifest.trees[0].restore = true;
    change(&mut machine.manifest.trees[0]);
    machine.sign_as_it_is();
    machine
}

fn broken(machine: &Machine) {
    fs::write(machine.path(SITE), "no such directive;").unwrap();
}

fn is_broken(machine: &Machine) -> bool {
    machine.text(SITE) == "no such directive;"
}

fn looking(machine: &Machine, digest: Digest) -> Command {
    let mut command = Command::new(AGENT);
    command.arg("__restore").args([machine.path("agent.toml"), machine.path("manifest.json")]).arg(digest.to_string());
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// Looks, to the end; what it says.
fn look(machine: &Machine) -> String {
    let mut looking = looking(machine, Digest::of(&machine.manifest.to_payload()));
    assert!(looking.status().unwrap().success());
    log(machine)
}

fn log(machine: &Machine) -> String {
    fs::read_to_string(machine.path("state/restored/log")).unwrap_or_default()
}

#[test]
fn only_by_the_manifest_that_was_checked_by() {
    let machine = restored(|_| ());
    broken(&machine);
    assert!(looking(&machine, Digest::of(b"another")).status().unwrap().success());
    assert!(is_broken(&machine) && log(&machine).contains("not looked into: "), "{}", log(&machine));
}

#[test]
fn not_by_a_configuration_that_others_can_write() {
    let machine = restored(|_| ());
    broken(&machine);
    fs::set_permissions(machine.path("agent.toml"), fs::Permissions::from_mode(0o666)).unwrap();
    assert!(looking(&machine, Digest::of(&machine.manifest.to_payload())).status().unwrap().success());
    assert!(is_broken(&machine), "{}", log(&machine));
}

/// The next look is not made: what is there may be what the other manifest wants.
#[test]
fn not_once_there_is_another_manifest() {
    let mut machine = restored(|_| ());
    // Nothing is wrong yet, so that it goes on looking.
    fs::write(machine.path("etc/nginx/part-1"), "edited").unwrap();
    let now = || SystemTime::UNIX_EPOCH.elapsed().unwrap();
    let began = now();
    let mut looking = Agent(looking(&machine, Digest::of(&machine.manifest.to_payload())).spawn().unwrap());
    eventually("it looks", || machine.path("state/restored/lock").exists().then_some(()));
    machine.manifest.sequence = 2;
    machine.sign_as_it_is();
    eventually("it ends", || looking.0.try_wait().unwrap());
    assert!(now() - began < Duration::from_secs(6), "looks take eight seconds: {:?}", now() - began);
}

#[test]
fn not_while_a_change_is_tried() {
    let machine = restored(|_| ());
    let _applying = machine.applying(&["--confirm-within", "1h"], "true");
    machine.until_exited();
    broken(&machine);
    assert_eq!(look(&machine), "");
    assert!(is_broken(&machine));
}

#[test]
fn not_through_a_link_in_the_place_of_the_root() {
    let machine = restored(|_| ());
    broken(&machine);
    fs::rename(machine.path("etc/nginx"), machine.path("elsewhere")).unwrap();
    symlink("../elsewhere", machine.path("etc/nginx")).unwrap();
    assert!(look(&machine).contains("nginx: its root is a link"), "{}", log(&machine));
    assert!(is_broken(&machine));
}

#[test]
fn what_may_be_there_stays() {
    let machine = restored(|tree| tree.extras = Extras::Allow);
    broken(&machine);
    fs::write(machine.path("etc/nginx/added"), "").unwrap();
    look(&machine);
    assert!(!is_broken(&machine) && machine.path("etc/nginx/added").exists(), "{}", log(&machine));
}

/// Nothing that somebody typed is lost: what is too large to be kept is left as it is.
#[test]
fn what_cannot_be_kept_is_left() {
    let machine = restored(|_| ());
    broken(&machine);
    fs::File::create(machine.path("etc/nginx/part-1")).unwrap().set_len(65 << 20).unwrap();
    let said = look(&machine);
    assert!(
        said.contains("nginx: part-1: left as it is, as it cannot be kept: no more than 64 MiB are kept"),
        "{said}"
    );
    assert!(!is_broken(&machine));
    assert_eq!(fs::metadata(machine.path("etc/nginx/part-1")).unwrap().len(), 65 << 20);
}

/// Where the manifest says nothing of it: as its directory, and readable.
#[test]
fn what_comes_back_is_its_directorys() {
    let machine = restored(|_| ());
    let (gone, directory) = (machine.path("etc/nginx/part-1"), machine.path("etc/nginx"));
    chown(directory, Some(33), Some(34)).unwrap();
    fs::remove_file(&gone).unwrap();
    broken(&machine);
    look(&machine);
    let there = fs::metadata(gone).unwrap();
    assert_eq!((there.mode() & 0o7777, there.uid(), there.gid()), (0o644, 33, 34));
}

/// Three times in this boot; what was in another is long ago.
#[test]
fn the_history_is_of_this_boot() {
    let machine = restored(|_| ());
    fs::create_dir_all(machine.path("state/restored")).unwrap();
    for directory in ["state", "state/restored"] {
        fs::set_permissions(machine.path(directory), fs::Permissions::from_mode(0o700)).unwrap();
    }
    let uptime = fs::read_to_string("/proc/uptime").unwrap();
    let now_ms = uptime.split('.').next().unwrap().parse::<u64>().unwrap() * 1_000;
    for (boot, stays) in [("boot-1", true), ("boot-0", false)] {
        broken(&machine);
        let history = format!("{{\"boot_id\":\"{boot}\",\"at_ms\":[{now_ms},{now_ms},{now_ms}]}}");
        fs::write(machine.path("state/restored/history.json"), history).unwrap();
        look(&machine);
        assert_eq!(is_broken(&machine), stays, "{boot}: {}", log(&machine));
    }
}

/// What was kept is kept for the last fifty edits.
#[test]
fn edits_of_long_ago_are_forgotten() {
    let machine = restored(|_| ());
    for n in 0..55 {
        fs::create_dir_all(machine.path(&format!("state/restored/2020-01-01T0000{n:02}Z"))).unwrap();
    }
    for directory in ["state", "state/restored"] {
        fs::set_permissions(machine.path(directory), fs::Permissions::from_mode(0o700)).unwrap();
    }
    broken(&machine);
    look(&machine);
    let kept = fs::read_dir(machine.path("state/restored")).unwrap().flatten().filter(|item| item.path().is_dir());
    assert_eq!(kept.count(), 50);
    assert!(!machine.path("state/restored/2020-01-01T000005Z").exists());
}
