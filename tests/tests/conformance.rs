//! A client written from the specification alone, in another language, agrees with the server.

use pulsewire_tests::Server;
use pulsewire_tests::programs::{self, repository};
use pulsewire_tests::server::ADMIN_PASSWORD;

#[test]
fn a_client_written_from_the_specification_alone_agrees_with_the_server() {
    let server = Server::start();
    let script = repository().join("tests/python/conformance.py");
    let mut python = programs::command("python3".into());
    python.arg(script).args(["--http", &server.url(), "--device", &server.device.to_string()]);
    python.env("PULSEWIRE_PASSWORD", ADMIN_PASSWORD).env("PYTHONDONTWRITEBYTECODE", "1");
    let output = programs::run(&mut python);
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{stderr}\n{stdout}");
    let summary: serde_json::Value = serde_json::from_str(&stdout).expect("a JSON summary");
    assert_eq!(summary["failed"], 0, "{summary}");
    assert!(summary["passed"].as_u64() >= Some(30), "{summary}");
    print!("{stderr}");
}
