//! The recipe for the schema's version, `deploy/checks/postgres-schema`, against a real PostgreSQL.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path, process::Command};

use tempfile::TempDir;

use crate::fixture::{Fixture, fixture, is_root};

const RECIPE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/checks/postgres-schema");

/// A cluster of its own that listens on a socket in its directory only, and knows the user that commands run as.
struct Postgres {
    directory: TempDir,
}

impl Postgres {
    fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o777)).unwrap();
        let postgres = Self { directory };
        let data = postgres.at("data");
        postgres.tool(
            "initdb",
            &["--pgdata", &data, "--auth=peer", "--no-sync", "--no-locale", "--encoding=UTF8", "--username=nobody"],
        );
        let options = format!("-c listen_addresses= -c unix_socket_directories={} -c fsync=off", postgres.at(""));
        postgres.tool(
            "pg_ctl",
            &["--pgdata", &data, "--wait", "--log", &postgres.at("log"), "--options", &options, "start"],
        );
        let service = format!("[portcullis]\nhost={}\ndbname=postgres\nuser=nobody\n", postgres.at(""));
        fs::write(postgres.at("pg_service.conf"), service).unwrap();
        postgres
    }

    fn at(&self, name: &str) -> String {
        self.directory.path().join(name).display().to_string()
    }

    /// As the user whom commands run as: PostgreSQL refuses to be run by root.
    fn tool(&self, name: &str, arguments: &[&str]) {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(program(name)).args(arguments);
        let output = command.current_dir(self.directory.path()).output().unwrap();
        assert!(output.status.success(), "{name}: {output:?}");
    }

    fn sql(&self, sql: &str) {
        self.tool(
            "psql",
            &["--host", &self.at(""), "--dbname=postgres", "--quiet", "--set=ON_ERROR_STOP=1", "--command", sql],
        );
    }

    fn stop(&self) {
        self.tool("pg_ctl", &["--pgdata", &self.at("data"), "--mode=immediate", "--wait", "stop"]);
    }

    /// Status and reason of the recipe. A copy of it in the directory would not be run: others could change that.
    fn schema(&self, wanted: &str) -> (String, String) {
        checked(&format!(
            "\"/usr/bin/env\", \"PGSERVICEFILE={}\", \"sh\", \"{}\", {wanted}",
            self.at("pg_service.conf"),
            self.at("recipe")
        ))
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let mut stop = Command::new("setpriv");
        stop.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(program("pg_ctl"));
        let _ = stop.args(["--pgdata", &self.at("data"), "--mode=immediate", "--wait", "stop"]).output();
    }
}

/// Debian keeps the server's programs of each version apart.
fn program(name: &str) -> String {
    let versions = fs::read_dir("/usr/lib/postgresql").unwrap().flatten();
    let mut paths = versions.map(|version| version.path().join("bin").join(name)).filter(|path| path.exists());
    paths.next().map_or_else(|| name.into(), |path| path.display().to_string())
}

fn checked(argv: &str) -> (String, String) {
    let spec = format!("[[check]]\nname = \"schema\"\ncommand = [{argv}]\nscope = \"launch\"\n");
    let fixture: Fixture = fixture().with_spec(&spec);
    fixture.json().outcome(1)
}

#[test]
fn of_a_real_database() {
    if !is_root("another user") {
        return;
    }
    let postgres = Postgres::start();
    fs::copy(RECIPE, postgres.at("recipe")).unwrap();
    let failed = |words: &str| ("fail".to_string(), format!("expected exit 0, actual exit {words}"));
    let (status, reason) = postgres.schema("\"42\"");
    assert!(status == "fail" && reason.contains("expected schema 42, actual: the query failed"), "{status}: {reason}");
    assert!(reason.contains("relation \"schema_migrations\" does not exist"), "{reason}");

    postgres.sql("CREATE TABLE schema_migrations (version bigint PRIMARY KEY)");
    assert_eq!(postgres.schema("\"42\""), failed("1: expected schema 42, actual none"));
    postgres.sql("INSERT INTO schema_migrations VALUES (41)");
    assert_eq!(postgres.schema("\"42\""), failed("1: expected schema 42, actual 41"));
    postgres.sql("INSERT INTO schema_migrations VALUES (42)");
    assert_eq!(postgres.schema("\"42\""), ("pass".into(), String::new()));
    // The database was migrated for a release that came later.
    postgres.sql("INSERT INTO schema_migrations VALUES (43)");
    assert_eq!(postgres.schema("\"42\""), failed("1: expected schema 42, actual 43"));

    // golang-migrate marks what it did not get through.
    postgres.sql("ALTER TABLE schema_migrations ADD dirty boolean NOT NULL DEFAULT false");
    assert_eq!(postgres.schema("\"43\"").0, "pass");
    postgres.sql("UPDATE schema_migrations SET dirty = true WHERE version = 43");
    assert_eq!(postgres.schema("\"43\""), failed("1: expected schema 43, actual 43, dirty"));

    // A query of one's own; one that would change something is refused by the server.
    assert_eq!(postgres.schema("\"3\", \"SELECT count(*) FROM schema_migrations\"").0, "pass");
    let (status, reason) = postgres.schema("\"\", \"DELETE FROM schema_migrations\"");
    assert!(status == "fail" && reason.contains("usage: postgres-schema"), "{reason}");
    let (status, reason) = postgres.schema("\"x\", \"DELETE FROM schema_migrations\"");
    assert!(status == "fail" && reason.contains("in a read-only transaction"), "{reason}");

    postgres.stop();
    let (status, reason) = postgres.schema("\"42\"");
    assert!(status == "fail" && reason.starts_with("expected exit 0, actual exit 2: "), "{status}: {reason}");
    assert!(reason.contains("the database could not be asked"), "{reason}");
}

#[test]
fn the_recipe_is_what_a_shell_takes() {
    assert_eq!(fs::metadata(RECIPE).unwrap().permissions().mode() & 0o777, 0o755);
    assert!(Path::new(RECIPE).exists() && Command::new("sh").args(["-n", RECIPE]).status().unwrap().success());
}
