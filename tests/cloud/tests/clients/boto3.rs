//! boto3 on the real clock: the calls the command line test leaves out, paging, errors by code, and a lost answer.

use crate::program::{Program, text};

#[test]
fn boto3_drives_a_whole_life() {
    let cloud = Program::start(&["--boot-ms=20", "--proceed-ms=20", "--drain-ms=20"]);
    let output = cloud.python(include_str!("life.py"));
    assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
}
