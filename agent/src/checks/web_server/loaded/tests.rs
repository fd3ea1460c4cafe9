use super::*;

fn process(pid: u32, parent: u32, title: &str, start_ticks: u64) -> Process {
    Process { pid, parent, title: title.into(), start_ticks, is_replaced: false }
}

/// Which of some starts, far apart from each other, it is.
fn ticks(loaded: Result<Loaded, Verdict>) -> Option<u64> {
    let at = loaded.ok()?.at;
    [100, 200, 300, 400].into_iter().find(|ticks| at.compare(Moment::of_ticks(*ticks)) == Order::TooClose)
}

#[test]
fn of_nginx_the_oldest_that_stays() {
    let all = [
        process(1, 0, "nginx: master process nginx", 100),
        process(2, 1, "nginx: worker process is shutting down", 100),
        process(3, 1, "nginx: worker process", 400),
        process(4, 1, "nginx: worker process", 300),
        process(5, 1, "nginx: cache manager process", 400),
        process(6, 9, "nginx: worker process", 200),
    ];
    let mut warnings = Vec::new();
    assert_eq!(ticks(nginx(&[&all[0]], &all, None, &mut warnings)), Some(300));
    assert!(warnings.is_empty());
    assert!(matches!(nginx(&[&all[0]], &all[..2], None, &mut warnings), Err(Verdict::Fail { .. })));
    let file = tempfile::NamedTempFile::new().unwrap();
    for (pid, warned) in [("1\n", 0), ("4\n", 1)] {
        fs::write(file.path(), pid).unwrap();
        let mut warnings = Vec::new();
        assert_eq!(ticks(nginx(&[&all[0]], &all, Some(file.path()), &mut warnings)), Some(300));
        assert_eq!(warnings.len(), warned, "{warnings:?}");
    }
}

/// The worker before it may still serve its last connections.
#[test]
fn of_haproxy_the_newest() {
    let all = [process(1, 0, "haproxy -W -f /c", 100), process(2, 1, "haproxy", 200), process(3, 1, "haproxy", 300)];
    assert_eq!(ticks(haproxy(&[&all[0]], &all)), Some(300));
    assert!(matches!(haproxy(&[&all[0]], &all[..1]), Err(Verdict::Fail { .. })));
    let alone = process(1, 0, "haproxy -f /c", 200);
    assert_eq!(ticks(haproxy(&[&alone], std::slice::from_ref(&alone))), Some(200));
}

#[test]
fn of_apache_its_pid_file() {
    let parent = process(7, 1, "apache2", 100);
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), "7\n").unwrap();
    assert!(apache(&[&parent], Some(file.path())).is_ok_and(|loaded| loaded.by_file));
    for (text, why) in [("8\n", "names process 8, which is not it"), ("", "names no process")] {
        fs::write(file.path(), text).unwrap();
        let Err(Verdict::Unknown(reason)) = apache(&[&parent], Some(file.path())) else { panic!("{text}") };
        assert!(reason.contains(why), "{reason}");
    }
    assert!(matches!(apache(&[&parent], None), Err(Verdict::Unknown(_))));
}

#[test]
fn before_and_after() {
    let verdict = |loaded, changed| {
        let loaded = Loaded { at: Moment::of_ticks(loaded), by_file: false };
        compare(loaded, Moment::of_ticks(changed), Path::new("/c"))
    };
    assert_eq!(verdict(300, 200), Verdict::Pass);
    assert!(matches!(verdict(200, 300), Verdict::Fail { .. }));
    let Verdict::Unknown(reason) = verdict(200, 200) else { panic!() };
    assert!(reason.contains("the same moment"), "{reason}");
    let Verdict::Unknown(reason) = verdict(200, u64::MAX) else { panic!() };
    assert!(reason.contains("changed in the future"), "{reason}");
}

#[test]
fn a_program_that_was_replaced() {
    let new = process(1, 0, "nginx", 100);
    let old = Process { is_replaced: true, ..new.clone() };
    assert_eq!(replaced(&[&new], "/p"), None);
    assert!(replaced(&[&new, &old], "/p").is_some_and(|warning| warning.starts_with("`/p` was replaced since")));
}
