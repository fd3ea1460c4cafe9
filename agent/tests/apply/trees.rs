//! What is put back: everything, as it was; and nothing else.

use std::{
    fs,
    io::Write as _,
    os::unix::fs::{MetadataExt as _, symlink},
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
};

use crate::fixture::Machine;

fn sh(script: &str) {
    assert!(Command::new("sh").args(["-ec", script]).status().unwrap().success(), "{script}");
}

/// Applies a script in the trees' directory that nobody confirms; all must be as before.
#[track_caller]
fn undone(machine: &Machine, script: &str) -> String {
    let before = machine.picture();
    let script = format!("set -e; cd {}; {script}; exit 1", machine.path("").display());
    let ran = machine.apply(&[], &script);
    assert_eq!(machine.picture(), before, "{script}: {ran:?}");
    assert_eq!(ran.exit, Some(1), "{ran:?}");
    ran.said
}

#[test]
fn whatever_was_done() {
    let mut machine = Machine::new();
    sh(&format!(
        "cd {}; mkdir -p www/a/b; echo deep >www/a/b/c; echo odd >\"www/a/$(printf 'x\\377\\n')\"; chmod 2750 www/a; chown 33:33 www/a/b/c; \
         touch -d '2001-02-03 04:05:06.789' www/a/b/c www/a/b; ln -s /nowhere www/dangling; chmod 4755 etc/nginx/part-2; \
         rm www/a/x*",
        machine.path("").display()
    ));
    sh(&format!("cd {}; echo odd >\"www/$(printf 'x\\377')\" ", machine.path("").display()));
    // A name that is no UTF-8 is no business of the fixture's manifest.
    machine.manifest.trees.iter_mut().for_each(|tree| tree.ignore.clone_from(&vec!["*.log".into(), "cache/".into()]));
    machine.sign_as_it_is();
    for script in [
        "true",
        "rm -r www/a",
        "rm -rf www/* etc/nginx/conf.d etc/nginx/link",
        "echo more >>etc/nginx/nginx.conf",
        // The same size and the same times.
        "t=$(stat -c %y etc/nginx/part-1); echo 'PART 1' >etc/nginx/part-1; touch -d \"$t\" etc/nginx/part-1",
        "mkdir -p etc/nginx/new/dir; echo x >etc/nginx/new/dir/file; ln -s / etc/nginx/new/root; mkfifo etc/nginx/new/fifo",
        "chmod 777 www/a; chmod 600 www/a/b/c; chmod 0755 etc/nginx/part-2",
        "chown -R 65534:65534 www etc/nginx",
        "touch www/a/b/c; touch -h www/dangling",
        "rm etc/nginx/link; ln -s nginx.conf etc/nginx/link",
        "ln -sfn /etc www/dangling; chown -h 33:33 www/dangling",
        "rm etc/nginx/link; mkdir etc/nginx/link; echo x >etc/nginx/link/file",
        "rm etc/nginx/part-0; ln -s part-1 etc/nginx/part-0",
        "rm etc/nginx/part-0; mkdir -p etc/nginx/part-0/a/b",
        "rm -r www/a; echo file >www/a",
        "rm -r www/a; mkfifo www/a",
        "mv www/a www/z; mv etc/nginx/part-1 etc/nginx/part-9",
        "cat etc/nginx/part-1 >etc/nginx/tmp; mv etc/nginx/tmp etc/nginx/part-1",
        "echo file >etc/nginx/.portcullis-put-back",
        "mkdir etc/nginx/.portcullis-put-back; rm etc/nginx/part-1",
        "rm -r www",
        "rm -r www; echo file >www; rm etc/nginx/part-2",
        "mv www www.portcullis-elsewhere; ln -s www.portcullis-elsewhere www",
    ] {
        undone(&machine, script);
        sh(&format!("cd {}; rm -rf www.portcullis-aside www.portcullis-elsewhere", machine.path("").display()));
    }
}

#[test]
fn extended_attributes() {
    let machine = Machine::new();
    let file = machine.path("etc/nginx/part-1");
    let capability = || {
        let mut value = [0; 64];
        rustix::fs::getxattr(&file, c"security.capability", &mut value).ok().map(|length| value[..length].to_vec())
    };
    sh(&format!("setcap cap_net_bind_service=ep {}", file.display()));
    let before = capability();
    assert!(before.is_some());
    undone(&machine, "echo other >etc/nginx/part-1");
    assert_eq!(capability(), before);
    let said = undone(&machine, "setcap -r etc/nginx/part-1; touch -d 2001-02-03 etc/nginx/part-2");
    assert_eq!(capability(), before);
    assert!(said.contains("nginx: part-1: extended attributes put back"), "{said}");
    assert!(said.contains("nginx: part-2: times put back"), "{said}");
    rustix::fs::removexattr(&file, c"security.capability").unwrap();
    undone(&machine, "setcap cap_net_bind_service=ep etc/nginx/part-1");
    assert_eq!(capability(), None);
}

#[test]
fn what_is_ignored_is_untouched() {
    let machine = Machine::new();
    fs::create_dir(machine.path("www/cache")).unwrap();
    fs::write(machine.path("www/cache/one"), "1").unwrap();
    fs::write(machine.path("www/a.log"), "line\n").unwrap();
    let script = "echo line >>www/a.log; echo 2 >www/cache/one; echo new >www/cache/two; mkdir www/kept; \
                  echo x >www/kept/b.log; echo gone >www/kept/file";
    let ran = machine.apply(&[], &format!("cd {}; {script}; exit 1", machine.path("").display()));
    ran.is(1, "site: kept/file: removed");
    let stays = "site: kept: stays, though it was not there: `kept/b.log` in it is ignored";
    assert_eq!(ran.said.matches(stays).count(), 1, "{ran:?}");
    assert!(fs::read_to_string(machine.change().join("log")).unwrap().contains(stays));
    assert_eq!(machine.text("www/a.log"), "line\nline\n");
    assert_eq!((machine.text("www/cache/one"), machine.text("www/cache/two")), ("2\n".into(), "new\n".into()));
    // A directory that came with something ignored in it keeps that, and nothing else.
    assert_eq!(machine.text("www/kept/b.log"), "x\n");
    assert!(!machine.path("www/kept/file").exists());
}

/// More than is kept of what goes: it goes, and that is said.
#[test]
fn what_is_lost_is_told() {
    let machine = Machine::new();
    let lost = "what was there is lost: no more than 64 MiB are kept";
    let said = undone(&machine, "truncate -s 65M www/large; truncate -s 65M etc/nginx/part-1; echo x >www/small");
    assert!(said.contains(&format!("site: large: {lost}")), "{said}");
    assert!(said.contains(&format!("nginx: part-1: {lost}")), "{said}");
    assert_eq!(said.matches(lost).count(), 2, "{said}");
    assert!(machine.change().join("replaced/tree site/small").exists());
}

/// Where a link led is kept as well: it may be all that tells which release was there.
#[test]
fn where_a_link_led_is_kept() {
    let machine = Machine::new();
    undone(&machine, "ln -sfn part-2 etc/nginx/link");
    let kept = machine.change().join("replaced/tree nginx/link");
    assert_eq!(fs::read_link(kept).unwrap().to_str(), Some("part-2"));
}

/// Nobody can put a socket back; that is told, and keeps nothing open: the next change may begin.
#[test]
fn what_nobody_can_make_is_told_and_settled() {
    let machine = Machine::new();
    for (script, told) in [
        ("rm www/php.sock", "site: php.sock: was a socket, FIFO or device, and is gone"),
        ("rm www/pipe; echo x >www/pipe", "site: pipe: was a socket, FIFO or device, and is something else now"),
    ] {
        let _socket = std::os::unix::net::UnixListener::bind(machine.path("www/php.sock"));
        sh(&format!("rm -f {0}; mkfifo {0}", machine.path("www/pipe").display()));
        let ran = machine.apply(&[], &format!("cd {}; {script}; exit 1", machine.path("").display()));
        ran.is(1, told);
        assert!(machine.is_at("undone"), "{ran:?}");
    }
    machine.apply(&["--guards-are-enough"], "true").is(0, "confirmed by");
}

/// The command plants links where directories were: nothing behind them is touched.
#[test]
fn links_lead_nowhere() {
    let machine = Machine::new();
    let outside = machine.path("outside");
    fs::create_dir_all(outside.join("conf.d")).unwrap();
    fs::write(outside.join("conf.d/site.conf"), "theirs").unwrap();
    fs::write(outside.join("part-1"), "theirs").unwrap();
    fs::write(outside.join("index.html"), "theirs").unwrap();
    let picture = || {
        let script =
            format!("cd {}; find . -printf '%p %y %m %U %T@ %s\\n' | sort; cat conf.d/* part-1", outside.display());
        Command::new("sh").args(["-c", &script]).output().unwrap().stdout
    };
    let before = picture();
    undone(&machine, "rm -r etc/nginx/conf.d; ln -s ../../outside/conf.d etc/nginx/conf.d");
    undone(&machine, &format!("rm etc/nginx/part-1; ln -s {}/part-1 etc/nginx/part-1", outside.display()));
    undone(&machine, "ln -s ../../outside etc/nginx/added");
    undone(&machine, "ln -s ../../outside/part-1 etc/nginx/.portcullis-put-back; rm etc/nginx/part-1");
    undone(&machine, "rm -r www; ln -s outside www");
    fs::remove_file(machine.path("www.portcullis-aside")).unwrap();
    assert_eq!(picture(), before);
    // The same file by another name: its content, its mode and its times are not ours to change.
    let inode = fs::metadata(outside.join("part-1")).unwrap().ino();
    undone(&machine, "ln -f outside/part-1 etc/nginx/part-1; cat outside/part-1");
    fs::copy(machine.path("etc/nginx/part-2"), outside.join("same")).unwrap();
    sh(&format!("chmod 600 {}", outside.join("same").display()));
    undone(&machine, "ln -f outside/same etc/nginx/part-2");
    assert_eq!(fs::metadata(outside.join("same")).unwrap().mode() & 0o777, 0o600);
    fs::remove_file(outside.join("same")).unwrap();
    assert_eq!(
        (fs::metadata(outside.join("part-1")).unwrap().ino(), fs::read_to_string(outside.join("part-1")).unwrap()),
        (inode, "theirs".into())
    );
}

/// A step above the root became a link: it is told, not followed, and put back once it is what it was.
#[test]
fn a_link_above_the_root_is_not_followed() {
    let machine = Machine::new();
    let before = machine.picture();
    let etc = machine.path("etc");
    let script =
        format!("rm {0}/nginx/part-1; mv {0} {0}.old; mkdir {0}.other; ln -s {0}.other {0}; exit 1", etc.display());
    machine.apply(&[], &script).is(2, "is not wholly undone: nginx: .: ");
    assert_eq!(fs::read_dir(machine.path("etc.other")).unwrap().count(), 0);
    machine.apply(&[], "true").is(2, "another change");
    sh(&format!("rm {0}; mv {0}.old {0}", etc.display()));
    machine.run("undo", &["--pending"]).is(0, "part-1: back");
    assert_eq!(machine.picture(), before);
}

/// What is mounted below is not ours, whoever mounted it.
#[test]
fn a_mount_is_told() {
    let machine = Machine::new();
    symlink("part-2", machine.path("etc/nginx/second")).unwrap();
    let mut unshare = Command::new("unshare");
    let script = "mkdir $1/new && mount -t tmpfs none $1/new && echo x >$1/new/file && shift && \"$@\"";
    unshare.args(["-m", "sh", "-c", script, "sh"]).arg(machine.path("www"));
    let apply = machine.agent("apply", &["--", "true"]);
    unshare.arg(apply.get_program()).args(apply.get_args());
    crate::fixture::Ran::of(&mut unshare).is(2, "tree `site`: `new`: something is mounted there");
    assert!(machine.journal().is_none(), "nothing is left of it");
}

/// What took the place of a root has no free name to go to: it stays, and so does what has that name.
#[test]
fn a_root_cannot_be_moved_aside_twice() {
    let machine = Machine::new();
    fs::write(machine.path("www.portcullis-aside"), "of before").unwrap();
    let script = format!("cd {}; rm -r www; echo now >www; exit 1", machine.path("").display());
    machine.apply(&[], &script).is(2, "there is no free name to move it to");
    assert_eq!((machine.text("www"), machine.text("www.portcullis-aside")), ("now\n".into(), "of before".into()));
    assert!(machine.is_at("undoing"));
}

/// What was remembered is no longer whole: it takes the place of nothing.
#[test]
fn a_copy_that_lost_bytes() {
    let machine = Machine::new();
    let script = format!("for f in {0}/*/copies/*; do : >$f; done", machine.path("state/apply").display());
    let ran = machine.apply(&[], &format!("{script}; {} exit 1", machine.say("two")));
    ran.is(2, "is not wholly undone: nginx: conf.d/site.conf: unexpected end of file");
    assert_eq!(machine.text("etc/nginx/conf.d/site.conf"), machine.site("two"));
    assert_eq!(machine.text("etc/nginx/part-1"), "part 1\n", "nobody had touched it");
}

/// It is written to without a pause, and never the same at the beginning and the end of a copy.
#[test]
fn what_changes_while_it_is_remembered() {
    let machine = Machine::new();
    let large = machine.path("www/large");
    sh(&format!("head -c 64M /dev/zero >{}", large.display()));
    let over = AtomicBool::new(false);
    let writing = || {
        let mut file = fs::File::options().append(true).open(&large).unwrap();
        while !over.load(Ordering::Relaxed) {
            file.write_all(b"x").unwrap();
        }
    };
    std::thread::scope(|scope| {
        // So many that one of them gets its turn during each copy, however busy the machine is.
        for _ in 0..8 {
            scope.spawn(writing);
        }
        let ran = machine.apply(&["--guards-are-enough"], "true");
        over.store(true, Ordering::Relaxed);
        ran.is(2, "tree `site`: `large`: changed while it was remembered");
    });
    assert!(machine.journal().is_none(), "nothing is left of it");
}
