//! Tokens by which programs act for a user.

use pulsewire_proto::CloseCode;
use pulsewire_tests::viewer::Viewer;
use pulsewire_tests::{Api, Server};
use serde_json::{Value, json};

const TOKENS: &str = "/api/v1/tokens";

fn with_token(server: &Server, made: &Value) -> Api {
    let token = made["token"].as_str().expect("a token");
    assert!(token.starts_with("pwt_") && token.len() == 68, "{token}");
    server.api().with_header("authorization", &format!("Bearer {token}"))
}

#[test]
fn a_token_is_shown_once_and_may_do_no_more_than_it_and_its_user_may() {
    let mut server = Server::start();
    let otto = server.admin().create_user("otto", "operator");
    server.admin().create_device("pump");
    let made = otto.post(TOKENS, &json!({"label": "a script", "role": "operator", "expires": "30d"})).expect(201);
    let reader = otto.post(TOKENS, &json!({"label": "a screen"})).expect(201);
    assert_eq!(
        (&made["role"], &reader["role"], &reader["expires"]),
        (&json!("operator"), &json!("viewer"), &json!(null))
    );
    let (script, screen) = (with_token(&server, &made), with_token(&server, &reader));
    let change = json!({"name": "Pump"});
    script.patch("/api/v1/devices/pump", &change).expect(200);
    screen.get("/api/v1/devices/pump").expect(200);
    screen.patch("/api/v1/devices/pump", &change).expect_problem(403, "forbidden", "signed in as viewer");
    let session = screen.get("/api/v1/session").expect(200);
    assert_eq!((&session["user"]["name"], &session["expires"]), (&json!("otto"), &json!(null)));
    // It is a hash at rest, and lists do not show it.
    let list = otto.get(TOKENS).expect(200);
    let labels: Vec<_> = list["items"].as_array().expect("items").iter().map(|token| &token["label"]).collect();
    assert_eq!(labels, ["a screen", "a script"]);
    assert!(!list.to_string().contains("pwt_") && !server.log().contains("pwt_"));
    let secret = made["token"].as_str().expect("a token").as_bytes().to_vec();
    server.kill9();
    for file in ["meta.db", "meta.db-wal"] {
        let stored = std::fs::read(server.data_dir().join(file)).unwrap_or_default();
        assert!(!stored.windows(secret.len()).any(|window| window == secret), "{file}");
    }
    server.restart();
    let script = with_token(&server, &made);
    script.get("/api/v1/session").expect(200);
    // What its user may not do any more, it may not either, and it sees what its user sees.
    server.admin().patch("/api/v1/users/otto", &json!({"role": "viewer", "groups": ["north"]})).expect(200);
    script.patch("/api/v1/devices/pump", &change).expect_problem(403, "forbidden", "signed in as viewer");
    assert_eq!(script.get("/api/v1/devices").expect(200)["total"], 0);
}

#[test]
fn the_use_of_a_token_is_noted_to_the_minute() {
    let server = Server::start();
    let made = server.admin().post(TOKENS, &json!({"label": "x"})).expect(201);
    assert_eq!(made["last_used"], json!(null));
    with_token(&server, &made).get("/api/v1/session").expect(200);
    let used = pulsewire_tests::wait::until("its use", || {
        let list = server.admin().get(TOKENS).expect(200);
        list["items"][0]["last_used"].as_str().map(str::to_owned)
    });
    assert!(used.ends_with(":00Z"), "{used}");
}

#[test]
fn a_token_ends_by_itself_or_is_revoked_with_its_live_sockets() {
    let server = Server::with("live.heartbeat_interval", "300ms");
    let admin = server.admin();
    let made = admin.post(TOKENS, &json!({"label": "x", "role": "viewer"})).expect(201);
    let api = with_token(&server, &made);
    let mut viewer = Viewer::connect(server.http, made["token"].as_str().expect("a token"));
    let path = format!("{TOKENS}/{}", made["id"].as_str().expect("an id"));
    // Only its owner's.
    let vera = admin.create_user("vera", "viewer");
    vera.delete(&path).expect_problem(404, "not_found", "token");
    assert_eq!(admin.delete(&path).status, 204);
    api.get("/api/v1/session").expect_problem(401, "signed_out", "sign in");
    server.assert_closed(&viewer.expect_close(), CloseCode::Revoked, "sign in again");
    admin.delete(&path).expect_problem(404, "not_found", "token");
    admin.delete(&format!("{TOKENS}/nothing")).expect_problem(404, "not_found", "nothing");
    // They go with their user.
    let made = vera.post(TOKENS, &json!({"label": "x"})).expect(201);
    assert_eq!(admin.delete("/api/v1/users/vera").status, 204);
    with_token(&server, &made).get("/api/v1/session").expect(401);
}

#[test]
fn a_token_makes_no_tokens_and_what_is_asked_for_is_checked() {
    let server = Server::start();
    let vera = server.admin().create_user("vera", "viewer");
    let made = vera.post(TOKENS, &json!({"label": "x"})).expect(201);
    let api = with_token(&server, &made);
    api.post(TOKENS, &json!({"label": "y"})).expect_problem(403, "forbidden", "makes no tokens");
    api.delete("/api/v1/session").expect_problem(403, "forbidden", "/api/v1/tokens/");
    let change = json!({"password": "another password"});
    api.patch("/api/v1/users/vera", &change).expect_problem(403, "forbidden", "does not change");
    for (body, field) in [
        (json!({"label": ""}), "label"),
        (json!({"label": " x"}), "label"),
        (json!({"label": "x".repeat(81)}), "label"),
        (json!({"label": "x", "role": "operator"}), "role"),
        (json!({"label": "x", "role": "king"}), "role"),
        (json!({"label": "x", "expires": "soon"}), "expires"),
        (json!({"label": "x", "expires": "4000d"}), "expires"),
    ] {
        let problem = vera.post(TOKENS, &body).expect_problem(400, "invalid_field", "");
        assert_eq!(problem["errors"][0]["field"], field, "{body}");
    }
    for _ in 0..49 {
        vera.post(TOKENS, &json!({"label": "x"})).expect(201);
    }
    vera.post(TOKENS, &json!({"label": "x"})).expect_problem(429, "too_many_tokens", "50 tokens");
}
