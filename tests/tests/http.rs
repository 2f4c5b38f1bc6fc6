//! The HTTP API: roles, sign-ins, users, and the description of itself.

use pulsewire_tests::programs::repository;
use pulsewire_tests::server::ADMIN_PASSWORD;
use pulsewire_tests::{Api, Server, ServerOptions};
use serde_json::{Value, json};

/// What each role is answered for each call.
#[test]
fn roles_may_do_what_the_contract_says_and_no_more() {
    let server = Server::start();
    let admin = server.admin();
    let (viewer, operator) = (admin.create_user("vera", "viewer"), admin.create_user("otto", "operator"));
    admin.create_device("pump");
    let (pump, none) = ("/api/v1/devices/pump", Value::Null);
    // Method, path, body; statuses for a viewer, an operator and an admin, who comes last since calls take effect.
    let calls = [
        ("GET", "/api/v1/session", none.clone(), [200, 200, 200]),
        ("GET", "/api/v1/overview", none.clone(), [200, 200, 200]),
        ("GET", "/api/v1/devices", none.clone(), [200, 200, 200]),
        ("GET", pump, none.clone(), [200, 200, 200]),
        ("GET", "/api/v1/devices/pump/latest", none.clone(), [200, 200, 200]),
        ("GET", "/api/v1/history?device=pump&metric=temp", none.clone(), [404, 404, 404]),
        ("PATCH", pump, json!({"name": "Pump"}), [403, 200, 200]),
        ("PATCH", pump, json!({"tags": {"site": "north"}, "group": "pumps"}), [403, 200, 200]),
        ("PATCH", pump, json!({"enabled": true}), [403, 403, 200]),
        ("POST", "/api/v1/devices/pump/secret", json!({}), [403, 403, 200]),
        ("POST", "/api/v1/devices/pump/token", json!({}), [403, 403, 201]),
        ("POST", "/api/v1/devices", json!({"id": "new"}), [403, 403, 201]),
        ("DELETE", "/api/v1/devices/new", none.clone(), [403, 403, 204]),
        ("GET", "/api/v1/users", none.clone(), [403, 403, 200]),
        ("POST", "/api/v1/users", json!({"name": "new", "password": "a password", "role": "viewer"}), [403, 403, 201]),
        ("PATCH", "/api/v1/users/new", json!({"password": "another password"}), [403, 403, 200]),
        ("PATCH", "/api/v1/users/new", json!({"role": "operator"}), [403, 403, 200]),
        ("DELETE", "/api/v1/users/new", none, [403, 403, 204]),
    ];
    for (method, path, body, statuses) in calls {
        for (who, status) in [&viewer, &operator, admin].into_iter().zip(statuses) {
            let answer = match &body {
                Value::Null => who.send(method, path, None, b""),
                body => who.send(method, path, Some("application/json"), body.to_string().as_bytes()),
            };
            assert_eq!(answer.status, status, "{method} {path} {body}: {}", answer.text);
            if status == 403 {
                answer.expect_problem(403, "forbidden", "this needs the role");
            }
        }
    }
    // Everyone changes their own password and nothing else of themselves.
    viewer.patch("/api/v1/users/vera", &json!({"password": "my new password"})).expect(200);
    viewer.patch("/api/v1/users/vera", &json!({"role": "admin"})).expect_problem(403, "forbidden", "role");
    server.api().signed_in("vera", "my new password");
}

#[test]
fn the_last_admin_can_neither_leave_nor_step_down() {
    let server = Server::start();
    let admin = server.admin();
    admin.delete("/api/v1/users/admin").expect_problem(409, "last_admin", "admin");
    admin.patch("/api/v1/users/admin", &json!({"role": "viewer"})).expect_problem(409, "last_admin", "admin");
    let second = admin.create_user("second", "admin");
    assert_eq!(second.delete("/api/v1/users/admin").status, 204);
    admin.get("/api/v1/session").expect_problem(401, "signed_out", "sign in");
    second.delete("/api/v1/users/second").expect_problem(409, "last_admin", "second");
}

#[test]
fn wrong_passwords_and_unknown_users_are_told_the_same() {
    let server = Server::start();
    let ask = |user: &str, password: &str| {
        let answer = server.api().post("/api/v1/session", &json!({"user": user, "password": password}));
        answer.expect_problem(401, "bad_credentials", "not right")
    };
    assert_eq!(ask("admin", "a wrong password"), ask("nobody", ADMIN_PASSWORD));
    assert_eq!(ask("admin", ""), ask("not a name/at all", ""));
    assert!(!server.log().contains("a wrong password"));
}

#[test]
fn too_many_sign_ins_answer_429_with_retry_after() {
    let server = Server::with("http.sign_ins_per_minute", 2);
    let ask = || server.api().post("/api/v1/session", &json!({"user": "admin", "password": "guess"}));
    ask().expect(401);
    ask().expect(401);
    let answer = ask();
    answer.expect_problem(429, "rate_limited", "too many sign-in attempts");
    let wait: u64 = answer.header("retry-after").parse().expect("seconds");
    assert!((1..=60).contains(&wait), "{wait}");
    // The link is a sign-in too.
    server.api().post("/api/v1/session/link", &json!({"code": "guess"})).expect(429);
}

#[test]
fn a_sign_in_is_also_a_cookie_that_scripts_cannot_read() {
    let server = Server::start();
    let body = json!({"user": "admin", "password": ADMIN_PASSWORD});
    let answer = server.api().post("/api/v1/session", &body);
    let signed_in = answer.expect(200);
    assert_eq!(signed_in["user"], json!({"name": "admin", "role": "admin", "groups": null}));
    let cookie = answer.header("set-cookie");
    for part in ["pulsewire_session=", "HttpOnly", "SameSite=Strict", "Path=/", "Max-Age="] {
        assert!(cookie.contains(part), "{part} is not in {cookie}");
    }
    let value = cookie.split(';').next().expect("a value");
    let browser = server.api().with_header("cookie", value);
    let session = browser.get("/api/v1/session").expect(200);
    assert_eq!(session["user"]["name"], "admin");
    assert_eq!(session["server"]["demo"], false);

    // Writes must come from the server's own page.
    let path = "/api/v1/devices";
    browser.post(path, &json!({"id": "a"})).expect_problem(403, "wrong_origin", "Origin");
    let foreign = browser.with_header("origin", "http://evil.example");
    foreign.post(path, &json!({"id": "a"})).expect_problem(403, "wrong_origin", "evil.example");
    foreign.delete("/api/v1/session").expect(403);
    browser.with_header("origin", "null").post(path, &json!({"id": "a"})).expect(403);
    browser.with_header("origin", &server.url()).post(path, &json!({"id": "a"})).expect(201);
    browser.get(path).expect(200);
}

#[test]
fn signing_out_voids_the_token_at_once() {
    let server = Server::start();
    let ada = server.admin().create_user("ada", "viewer");
    let again = server.api().signed_in("ada", "password of ada");
    assert_eq!(ada.delete("/api/v1/session").status, 204);
    ada.get("/api/v1/session").expect_problem(401, "signed_out", "sign in");
    again.get("/api/v1/session").expect(200);
}

#[test]
fn a_new_password_or_role_ends_the_other_sign_ins() {
    let server = Server::start();
    let ada = server.admin().create_user("ada", "viewer");
    let phone = server.api().signed_in("ada", "password of ada");
    ada.patch("/api/v1/users/ada", &json!({"password": "a better password"})).expect(200);
    phone.get("/api/v1/session").expect(401);
    ada.get("/api/v1/session").expect(200);
    server.api().post("/api/v1/session", &json!({"user": "ada", "password": "password of ada"})).expect(401);
    server.admin().patch("/api/v1/users/ada", &json!({"role": "operator"})).expect(200);
    ada.get("/api/v1/session").expect(401);
    let ada = server.api().signed_in("ada", "a better password");
    assert_eq!(ada.get("/api/v1/session").expect(200)["user"]["role"], "operator");
}

#[test]
fn sign_ins_and_users_survive_a_restart() {
    let mut server = Server::start();
    let ada = server.admin().create_user("ada", "viewer");
    server.kill9();
    server.restart();
    assert_eq!(ada.get("/api/v1/session").expect(200)["user"]["name"], "ada");
    let names: Vec<_> = users(server.admin()).into_iter().map(|user| user["name"].clone()).collect();
    assert_eq!(names, ["ada", "admin"]);
}

fn users(api: &Api) -> Vec<Value> {
    let list = api.get("/api/v1/users").expect(200);
    assert_eq!(list["next"], Value::Null);
    list["items"].as_array().expect("items").clone()
}

#[test]
fn a_user_is_made_once() {
    let server = Server::start();
    let admin = server.admin();
    admin.create_user("ada", "viewer");
    let user = json!({"name": "ada", "password": "another password", "role": "viewer"});
    admin.post("/api/v1/users", &user).expect_problem(409, "exists", "ada");
    admin.delete("/api/v1/users/nobody").expect_problem(404, "not_found", "nobody");
    admin.patch("/api/v1/users/nobody", &json!({"role": "viewer"})).expect_problem(404, "not_found", "nobody");
    assert_eq!(users(admin).len(), 2);
}

#[test]
fn the_description_lists_every_route_of_the_contract() {
    let server = Server::start();
    let document = server.admin().get("/api/v1/openapi.json").expect(200);
    let base = document["servers"][0]["url"].as_str().expect("a server");
    let described = document["paths"].as_object().expect("paths");
    let contract = std::fs::read_to_string(repository().join("docs/http-api.md")).expect("the contract");
    let mut routes = 0;
    for line in contract.lines().filter(|line| line.starts_with("| `")) {
        let call = line.trim_start_matches("| `").split('`').next().unwrap_or_default();
        // Other tables begin with names of states.
        let Some((method, path)) = call.split_once(' ') else { continue };
        let path = path.split('?').next().unwrap_or_default();
        let Some(path) = path.strip_prefix(base) else { continue };
        routes += 1;
        let found = described.get(path).and_then(|path| path.get(method.to_lowercase()));
        assert!(found.is_some(), "{call} is not in /api/v1/openapi.json");
    }
    assert!(routes >= 42, "only {routes} routes were read from docs/http-api.md");
    // And the other way round.
    for (path, methods) in described {
        for method in methods.as_object().expect("methods").keys() {
            let call = format!("`{} {base}{path}", method.to_uppercase());
            assert!(contract.contains(&call), "{call} is not in docs/http-api.md");
        }
    }
}

#[test]
fn probes_answer_without_a_sign_in_and_every_answer_is_guarded() {
    let server = Server::start();
    let api = server.api();
    assert_eq!(api.get("/healthz").status, 200);
    assert_eq!(api.get("/readyz").expect(200), json!({"ready": true}));
    assert!(api.get("/metrics").text.contains("# HELP pulsewire_http_requests_total"));
    for path in ["/", "/healthz", "/api/v1/session", "/nothing"] {
        let answer = api.get(path);
        assert!(answer.header("content-security-policy").contains("default-src 'self'"), "{path}");
        assert_eq!(answer.header("x-content-type-options"), "nosniff", "{path}");
    }
    assert_eq!(api.get("/api/v1/session").header("cache-control"), "no-store");
    assert!(api.get("/").text.contains("<!doctype html"), "the dashboard is inside");
}

#[test]
fn the_page_may_load_tiles_from_the_configured_server_alone_and_is_told_of_it() {
    let images = |api: &Api, path: &str| {
        let policy = api.get(path).header("content-security-policy").to_owned();
        policy.split("; ").find(|part| part.starts_with("img-src")).map(str::to_owned).expect("img-src")
    };
    let server = Server::start();
    let admin = server.admin();
    assert_eq!(images(admin, "/"), "img-src 'self' data:");
    assert_eq!(admin.get("/api/v1/session").expect(200)["server"]["map_tiles"], Value::Null);

    let (url, attribution) = ("https://tile.example.org:8443/{z}/{x}/{y}.png?key=k", "© <b>contributors</b>");
    let options = ServerOptions::default().set("http.map_tiles_url", url);
    let server = options.set("http.map_tiles_attribution", attribution).set("http.map_tiles_zoom_max", 14).start();
    let admin = server.admin();
    for path in ["/", "/map", "/api/v1/session", "/nothing.js"] {
        assert_eq!(images(admin, path), "img-src 'self' data: https://tile.example.org:8443", "{path}");
    }
    assert_eq!(images(admin, "/sw.js"), "img-src 'self' https:", "the worker has a policy of its own");
    let told = json!({"url": url, "attribution": attribution, "zoom_max": 14});
    assert_eq!(admin.get("/api/v1/session").expect(200)["server"]["map_tiles"], told);
    server.api().get("/api/v1/session").expect_problem(401, "signed_out", "sign in");
}

#[test]
fn a_stopping_server_is_not_ready_and_finishes() {
    let mut server = Server::start();
    let listen: Value = {
        let text = std::fs::read_to_string(server.data_dir().join("listen.json")).expect("listen.json");
        serde_json::from_str(&text).expect("JSON")
    };
    assert_eq!(listen["http"], server.http.to_string());
    assert_eq!(listen["device"], server.device.to_string());
    assert!(server.terminate(), "exit status 0");
}
