//! `pulsewire push-emulator` as a child process.

use crate::api::Api;
use crate::programs;
use crate::server::ServerOptions;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use tempfile::TempDir;

/// A running emulator; killed when dropped.
#[derive(Debug)]
pub struct PushEmulator {
    folder: TempDir,
    child: Child,
    page: Api,
}

/// What belongs to one person.
#[derive(Debug)]
pub struct Phone {
    /// Ids of the endpoints at the server: Web Push, APNs, FCM.
    pub endpoints: Vec<String>,
    /// Ids at the emulator, in the same order.
    pub targets: Vec<String>,
}

impl PushEmulator {
    /// Starts one on free ports.
    pub fn start() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut command = programs::command(programs::pulsewire());
        command.args(["push-emulator", "--listen", "127.0.0.1:0", "--page", "127.0.0.1:0", "--json", "--dir"]);
        command.arg(folder.path()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("the emulator starts");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("piped")).read_line(&mut line).expect("it says where it is");
        let announced: Value = serde_json::from_str(&line).expect("JSON");
        let page = Api::new(announced["page"].as_str().expect("a page").trim_end_matches('/'));
        Self { folder, child, page }
    }

    /// Options of a server that sends here, with a short grace.
    pub fn server(&self) -> ServerOptions {
        ServerOptions::default().variable("PULSEWIRE_CONFIG", self.config().display()).set("push.grace", "200ms")
    }

    /// The configuration that points a server here.
    pub fn config(&self) -> PathBuf {
        self.dir().join("pulsewire.toml")
    }

    /// The folder with its files.
    pub fn dir(&self) -> &Path {
        self.folder.path()
    }

    /// Its page.
    pub fn page(&self) -> &Api {
        &self.page
    }

    /// Gives a signed-in user a browser and two apps.
    pub fn equip(&self, user: &Api) -> Phone {
        let made = self.page.post("/api/subscriptions", &json!({ "label": "Browser" })).expect(201);
        let mut addresses = vec![(
            made["id"].clone(),
            json!({ "kind": "webpush", "url": made["endpoint"], "keys": made["keys"], "label": "Browser" }),
        )];
        for kind in ["apns", "fcm"] {
            let made = self.page.post("/api/apps", &json!({ "kind": kind, "label": kind })).expect(201);
            addresses.push((made["id"].clone(), json!({ "kind": kind, "token": made["token"], "label": kind })));
        }
        let text = |value: &Value| value.as_str().expect("an id").to_owned();
        let mut phone = Phone { endpoints: Vec::new(), targets: Vec::new() };
        for (target, address) in addresses {
            let endpoint = user.post("/api/v1/push/endpoints", &address).expect(201);
            phone.endpoints.push(text(&endpoint["id"]));
            phone.targets.push(text(&target));
        }
        phone
    }

    /// Plans a fault.
    pub fn fault(&self, fault: &Value) {
        self.page.post("/api/faults", fault).expect(204);
    }

    /// Everything that arrived, the oldest first.
    pub fn arrived(&self) -> Vec<Value> {
        self.page.get("/api/messages").expect(200)["items"].as_array().expect("items").clone()
    }
}

impl Drop for PushEmulator {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
