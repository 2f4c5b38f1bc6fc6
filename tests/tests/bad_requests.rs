//! HTTP requests that are refused: each with a problem document that says what is allowed, and counted.

use pulsewire_tests::{Answer, Api, Server, Viewer};
use serde_json::json;

const DEVICES: &str = "/api/v1/devices";
const JSON: Option<&str> = Some("application/json");

/// Sends a request as admin and checks what it is answered, that it is counted, and that the server goes on.
fn check(send: impl FnOnce(&Api) -> Answer, status: u16, code: &str, fragment: &str) -> serde_json::Value {
    let server = Server::start();
    let problem = send(server.admin()).expect_problem(status, code, fragment);
    assert_counted(&server, code);
    problem
}

fn assert_counted(server: &Server, code: &str) {
    server.expect_metric(&format!("pulsewire_http_problems_total{{code=\"{code}\"}}"), 1.0);
    server.assert_serves();
}

#[test]
fn malformed_json_is_refused() {
    check(|api| api.send("POST", DEVICES, JSON, b"{\"id\": "), 400, "malformed_json", "not JSON");
}

#[test]
fn an_unknown_field_is_refused_and_named() {
    let body = json!({"id": "pump", "colour": "red"});
    check(|api| api.post(DEVICES, &body), 400, "unknown_field", "colour");
}

#[test]
fn a_missing_field_is_refused_and_named() {
    check(|api| api.post(DEVICES, &json!({"name": "Pump"})), 400, "missing_field", "id");
}

#[test]
fn an_unknown_query_parameter_is_refused_and_named() {
    check(|api| api.get("/api/v1/devices?colour=red"), 400, "unknown_field", "colour");
}

#[test]
fn a_field_of_another_type_is_refused() {
    check(|api| api.post(DEVICES, &json!({"id": 7})), 400, "invalid_field", "string");
}

#[test]
fn a_device_id_outside_the_alphabet_is_refused_and_named() {
    let problem = check(|api| api.post(DEVICES, &json!({"id": "pump 7"})), 400, "invalid_field", "pump 7");
    assert_eq!(problem["errors"][0]["field"], "id");
}

#[test]
fn a_huge_page_is_refused_with_the_limit() {
    let problem = check(|api| api.get("/api/v1/devices?limit=501"), 400, "invalid_field", "1 to 500 is allowed");
    assert_eq!(problem["errors"][0]["field"], "limit");
}

#[test]
fn a_page_larger_than_any_number_is_refused() {
    check(|api| api.get("/api/v1/devices?limit=99999999999999999999"), 400, "invalid_field", "query");
}

#[test]
fn an_invalid_cursor_is_refused() {
    check(|api| api.get("/api/v1/devices?cursor=%00"), 400, "invalid_field", "`next` of an earlier answer");
}

#[test]
fn a_body_above_the_limit_is_refused_with_the_limit() {
    let body = format!("{{\"id\": \"{}\"}}", "x".repeat(2 << 20));
    check(|api| api.send("POST", DEVICES, JSON, body.as_bytes()), 413, "body_too_large", "1048576 bytes");
}

#[test]
fn a_wrong_content_type_is_refused_with_the_right_one() {
    let send = |api: &Api| api.send("POST", DEVICES, Some("text/plain"), b"{\"id\": \"pump\"}");
    check(send, 415, "wrong_content_type", "Content-Type: application/json");
}

#[test]
fn a_device_that_exists_is_not_made_twice() {
    let send = |api: &Api| {
        api.create_device("pump");
        api.post(DEVICES, &json!({"id": "pump"}))
    };
    check(send, 409, "exists", "pump");
}

#[test]
fn a_device_that_does_not_exist_is_not_found() {
    check(|api| api.get("/api/v1/devices/nobody"), 404, "not_found", "nobody");
}

#[test]
fn a_path_of_any_bytes_is_not_found() {
    check(|api| api.get("/api/v1/devices/%FF%00%2e%2e"), 404, "not_found", "device");
}

#[test]
fn a_route_that_does_not_exist_points_to_the_description() {
    check(|api| api.get("/api/v2/devices"), 404, "no_such_route", "/api/v1/openapi.json");
    check(|api| api.get("/api/v1/nothing"), 404, "no_such_route", "/api/v1/openapi.json");
}

#[test]
fn history_refuses_what_is_no_time_step_or_aggregate() {
    let server = Server::start();
    server.assert_serves();
    let base = "/api/v1/history?device=probe-0&metric=temp";
    for (query, fragment) in [
        ("&from=yesterday", "2026-11-21T09:00:00Z"),
        ("&from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z", "from must be before to"),
        ("&step=5", "10s, 5m, 1h or 1d"),
        ("&step=0s", "10s, 5m, 1h or 1d"),
        ("&step=10s&agg=median", "avg"),
        ("&agg=avg", "agg needs a step"),
        ("&limit=10001", "1 to 10000"),
        ("&cursor=soon", "cursor"),
    ] {
        server.admin().get(&format!("{base}{query}")).expect_problem(400, "invalid_field", fragment);
    }
    server.admin().get("/api/v1/history?device=probe-0&metric=nothing").expect_problem(404, "not_found", "nothing");
    server.assert_serves();
}

#[test]
fn without_a_sign_in_nothing_is_told() {
    let server = Server::start();
    let paths = ["/api/v1/session", DEVICES, "/api/v1/users", "/api/v1/overview", "/api/v1/devices/x/latest"];
    for path in paths {
        let answer = server.api().get(path);
        answer.expect_problem(401, "signed_out", "sign in first");
        assert_eq!(answer.header("www-authenticate"), "Bearer");
    }
    server.expect_metric("pulsewire_http_problems_total{code=\"signed_out\"}", paths.len() as f64);
    server.assert_serves();
}

#[test]
fn a_made_up_token_is_refused() {
    let server = Server::start();
    let made_up = server.api().with_header("authorization", "Bearer pws_0123");
    made_up.get(DEVICES).expect_problem(401, "signed_out", "sign in first");
    assert_counted(&server, "signed_out");
}

#[test]
fn another_kind_of_authorization_is_refused_with_the_right_one() {
    let server = Server::start();
    let basic = server.api().with_header("authorization", "Basic YWRtaW46YWRtaW4=");
    basic.get(DEVICES).expect_problem(400, "wrong_authorization", "Bearer TOKEN");
    assert_counted(&server, "wrong_authorization");
}

#[test]
fn live_without_a_sign_in_answers_401() {
    let server = Server::start();
    let (status, text) = Viewer::try_connect(server.http, &[]).err().expect("refused");
    assert_eq!(status, 401, "{text}");
    assert!(text.contains("sign in first"), "{text}");
    assert_counted(&server, "signed_out");
}

#[test]
fn live_with_a_cookie_from_a_foreign_page_answers_403() {
    let server = Server::start();
    let cookie = format!("pulsewire_session={}", server.admin().token());
    let foreign = [("cookie", cookie.as_str()), ("origin", "http://evil.example")];
    let (status, text) = Viewer::try_connect(server.http, &foreign).err().expect("refused");
    assert_eq!(status, 403, "{text}");
    assert!(text.contains("evil.example"), "{text}");
    assert_counted(&server, "wrong_origin");
    // The server's own page may.
    let own = [("cookie", cookie.as_str()), ("origin", &server.url())];
    Viewer::try_connect(server.http, &own).expect("the own page may");
}

#[test]
fn a_password_that_is_too_short_is_refused_with_the_range() {
    let user = json!({"name": "ada", "password": "short", "role": "viewer"});
    check(|api| api.post("/api/v1/users", &user), 400, "invalid_field", "10");
}

#[test]
fn a_role_that_does_not_exist_is_refused_with_those_that_do() {
    let user = json!({"name": "ada", "password": "long enough", "role": "owner"});
    check(|api| api.post("/api/v1/users", &user), 400, "invalid_field", "viewer, operator or admin");
}
