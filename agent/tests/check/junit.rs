//! `--junit`: XML that a parser takes, whatever the checks say.

use std::{fs, process::Command};

use crate::fixture::fixture;

/// Prints what a reader makes of it, and stops at what is not well-formed, or not as JUnit has it.
const READ: &str = r#"
import sys, xml.etree.ElementTree as tree
suites = tree.parse(sys.argv[1]).getroot()
assert suites.tag == "testsuites" and len(suites) == 1
suite = suites[0]
cases = suite.findall("testcase")
assert suite.attrib["tests"] == suites.attrib["tests"] == str(len(cases))
assert suite.attrib["failures"] == str(len(suite.findall("testcase/failure")))
assert suite.attrib["errors"] == str(len(suite.findall("testcase/error")))
assert set(suite.attrib) == {"name", "tests", "failures", "errors", "skipped", "time"}
print(suite.attrib["name"])
for case in cases:
    assert set(case.attrib) == {"classname", "name", "time"} and float(case.attrib["time"]) >= 0
    print(case.attrib["classname"], case.attrib["name"], [(it.tag, it.attrib["type"], it.attrib["message"], it.text) for it in case])
"#;

#[test]
fn a_parser_takes_it() {
    let fixture = fixture()
        .with_script("printf 'a & b\\n<c> \"d\" \\033[31m \\000 ]]>\\377'; exit 3", 10_000)
        .with_command(&["/no/such/program"], 10_000)
        .with_command(&["true"], 10_000);
    fs::write(fixture.app("b"), "changed").unwrap();
    fs::write(fixture.app("<&\u{1}\u{fffe}"), "").unwrap();
    let run = fixture.run(&["--junit"]);
    assert_eq!(run.exit, 1, "{run:?}");
    // Commands are not run unless the trees pass.
    let told = read(&run.stdout);
    let lines: Vec<&str> = told.lines().collect();
    assert_eq!(lines[0], "portcullis 2026.11.20-1");
    assert!(lines[1].starts_with("portcullis.tree app [('failure', 'fail', '"), "{told}");
    assert!(
        lines[1].contains("b: content expected size 1 actual size 7")
            && lines[1].contains("<&\\\\u{1}\\\\u{fffe}: extra"),
        "{told}"
    );
    assert!(
        lines[2].starts_with("portcullis.command command 0 [('error', 'unknown', 'not run: tree `app` did not pass'"),
        "{told}"
    );

    fs::write(fixture.app("b"), "b").unwrap();
    fs::remove_file(fixture.app("<&\u{1}\u{fffe}")).unwrap();
    let told = read(&fixture.run(&["--junit"]).stdout);
    let lines: Vec<&str> = told.lines().collect();
    assert_eq!((lines[1], lines.len()), ("portcullis.tree app []", 5), "{told}");
    assert!(
        lines[2].contains("('failure', 'fail', 'expected exit 0, actual exit 3: a & b\\\\u{a}<c> \"d\" \\\\u{1b}[31m"),
        "{told}"
    );
    assert!(lines[3].contains("('error', 'unknown', 'not run: "), "{told}");
    assert_eq!(lines[4], "portcullis.command command 2 []");
}

fn read(xml: &str) -> String {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("junit.xml");
    fs::write(&path, xml).unwrap();
    let output = Command::new("python3").args(["-c", READ]).arg(path).output().unwrap();
    assert!(output.status.success(), "{}\n{xml}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// A reader of nothing but stdout must not take it for a suite in which nothing failed.
#[test]
fn what_could_not_be_checked_is_an_error() {
    let fixture = fixture();
    for (arguments, message) in [
        (&["--junit", "--root", "/no/such/root", "--trees-only"][..], "`/no/such/root` is not a directory"),
        (&["--junit", "--no-such-option"], "unexpected argument '--no-such-option' found"),
    ] {
        let run = fixture.run(arguments);
        assert_eq!(run.exit, 2, "{run:?}");
        let told = read(&run.stdout);
        assert!(told.starts_with("portcullis\nportcullis.check checks [('error', 'unknown', "), "{told}");
        assert!(told.contains(message) && run.stderr.contains(message), "{told}");
    }
}

#[test]
fn json_or_junit() {
    let run = fixture().run(&["--junit", "--json"]);
    assert!(run.exit == 2 && run.value()["error"].as_str().unwrap().contains("cannot be used with"), "{run:?}");
    assert!(run.stderr.contains("cannot be used with"), "{run:?}");
}
