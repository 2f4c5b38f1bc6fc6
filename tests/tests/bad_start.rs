//! Starts that cannot work: exit status other than 0, one readable reason on standard error, and no panic.

use pulsewire_tests::{Server, ServerOptions};
use std::path::Path;
use std::process::Output;

const FREE: &str = "127.0.0.1:0";

/// `pulsewire serve` with these settings; it must end by itself with a reason that says all fragments.
fn check(options: ServerOptions, data: &Path, http: &str, device: &str, fragments: &[&str]) {
    let data = data.to_str().expect("a path of text");
    let arguments = ["serve", "--json", "--data-dir", data, "--http-listen", http, "--device-listen", device];
    check_output(&options.run_to_end(&arguments), fragments);
}

fn check_output(output: &Output, fragments: &[&str]) {
    let reason = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "it started: {}", String::from_utf8_lossy(&output.stdout));
    assert_eq!(output.status.code(), Some(1), "{reason}");
    for fragment in fragments {
        assert!(reason.contains(fragment), "{fragment:?} is not said in: {reason}");
    }
    assert!(!reason.contains("panicked"), "{reason}");
    assert!(output.stdout.is_empty(), "results only on standard output");
}

#[test]
fn an_http_port_in_use_names_address_and_remedy() {
    let server = Server::start();
    let other = tempfile::tempdir().expect("a folder");
    let taken = server.http.to_string();
    let fragments = ["http address", &taken, "in use", "--http-listen"];
    check(Server::options(), &other.path().join("data"), &taken, FREE, &fragments);
    server.assert_serves();
}

#[test]
fn a_device_port_in_use_names_address_and_remedy() {
    let server = Server::start();
    let other = tempfile::tempdir().expect("a folder");
    let taken = server.device.to_string();
    let fragments = ["device address", &taken, "in use", "--device-listen"];
    check(Server::options(), &other.path().join("data"), FREE, &taken, &fragments);
    server.assert_serves();
}

#[test]
fn a_data_folder_in_use_is_not_shared() {
    let server = Server::start();
    let fragments = ["in use by another Pulsewire process", "--data-dir"];
    check(Server::options(), server.data_dir(), FREE, FREE, &fragments);
    server.assert_serves();
}

#[test]
fn a_data_folder_that_is_not_writable_names_path_and_remedy() {
    // Below a regular file: root could write anywhere else.
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("file");
    std::fs::write(&file, "in the way").expect("a file");
    let data = file.join("data");
    let path = data.to_string_lossy().into_owned();
    check(Server::options(), &data, FREE, FREE, &["not writable", &path, "--data-dir"]);
}

#[test]
fn a_data_folder_of_a_newer_version_is_left_alone() {
    for name in ["journal.db", "meta.db"] {
        let folder = tempfile::tempdir().expect("a folder");
        let data = folder.path().join("data");
        let mut server = Server::options().data_dir(&data).start();
        server.assert_serves();
        assert!(server.terminate());
        let file = data.join(name);
        let version = |file: &Path| -> i64 {
            let store = rusqlite::Connection::open(file).expect("a store");
            store.pragma_query_value(None, "user_version", |row| row.get(0)).expect("a version")
        };
        let newer = version(&file) + 1;
        let store = rusqlite::Connection::open(&file).expect("a store");
        store.pragma_update(None, "user_version", newer).expect("set");
        drop(store);
        check(Server::options(), &data, FREE, FREE, &[name, "newer version of Pulsewire", &newer.to_string()]);
        assert_eq!(version(&file), newer, "it was not changed");

        // Nothing was lost by the attempt.
        rusqlite::Connection::open(&file)
            .expect("a store")
            .pragma_update(None, "user_version", newer - 1)
            .expect("set");
        server.restart();
        assert_eq!(server.admin().history("probe-0", "temp").len(), 1);
    }
}

#[test]
fn a_file_that_is_no_store_is_left_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    std::fs::create_dir(&data).expect("a folder");
    let text = "this is a letter, not a database. ".repeat(100);
    std::fs::write(data.join("meta.db"), &text).expect("a file");
    check(Server::options(), &data, FREE, FREE, &["meta.db", "not a Pulsewire store"]);
    assert_eq!(std::fs::read_to_string(data.join("meta.db")).expect("text"), text);
}

#[test]
fn every_mistake_of_the_configuration_is_told_at_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("pulsewire.toml");
    std::fs::write(&file, "[device]\nlogin_timeout = \"1ms\"\nwindow = 5\n[live]\nviewers_max = \"many\"\n")
        .expect("a file");
    let file = file.to_str().expect("text");
    let options = Server::options().set("http.workers", 0);
    let output = options.run_to_end(&["serve", "--config", file]);
    let fragments = [
        "device.login_timeout",
        "from 100ms to",
        "unknown key device.window",
        "live.viewers_max",
        "http.workers",
        "a whole number from 1 to 64",
    ];
    check_output(&output, &fragments);
}

#[test]
fn an_unknown_variable_is_a_mistake_and_not_ignored() {
    let output = Server::options().set("device.login_time", "1s").run_to_end(&["check-config"]);
    check_output(&output, &["PULSEWIRE_DEVICE_LOGIN_TIME"]);
}

#[test]
fn a_configuration_file_that_is_not_there_is_named() {
    let output = Server::options().run_to_end(&["serve", "--config", "nowhere.toml"]);
    check_output(&output, &["nowhere.toml", "cannot be read"]);
}

#[test]
fn a_certificate_without_its_key_is_a_mistake() {
    let output = Server::options().set("device.tls_cert_file", "cert.pem").run_to_end(&["check-config"]);
    check_output(&output, &["device.tls_key_file"]);
}

#[test]
fn an_admin_password_that_is_too_short_is_refused_at_the_first_start() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    let options = Server::options().variable("PULSEWIRE_ADMIN_PASSWORD", "short");
    check(options, &data, FREE, FREE, &["PULSEWIRE_ADMIN_PASSWORD"]);
}
