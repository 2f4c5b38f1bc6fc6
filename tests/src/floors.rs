//! Which module may import which: a checker for the rules of ARCHITECTURE.md, "Floors".
//!
//! It reads paths, not meaning: every `crate::x`, every `super::…` that leaves its module, and every `pulsewire_…::` in the
//! text of a file, without comments and strings. A file may use only what its floor allows.

/// Modules of the server and their floors. Adapters share floor 3 and services floor 4: nothing on one floor imports
/// anything else on it.
pub const FLOORS: &[(&str, u8)] = &[
    ("ports", 2),
    ("storage", 3),
    ("bus", 3),
    ("channels", 3),
    ("config", 3),
    ("telemetry", 3),
    ("ingest", 4),
    ("alerting", 4),
    ("live", 4),
    ("outbox", 4),
    ("commands", 4),
    ("hub", 5),
    ("http", 5),
    ("app", 6),
    ("cli", 6),
    ("main", 6),
];

/// What only these may name: a word, and beginnings of paths below `platform/src`.
pub const ONLY: &[(&str, &[&str])] = &[
    // The wire: the device port; what encodes for viewers; close codes of live sockets and verifiers of secrets.
    (
        "pulsewire_proto",
        &["hub/", "live/encode.rs", "live/subscribe.rs", "live/viewer.rs", "http/live.rs", "http/devices.rs"],
    ),
    ("pulsewire_sim", &["cli.rs", "cli/"]),
    ("pulsewire_push_emulator", &["cli.rs", "cli/"]),
    ("pulsewire_dashboard", &["http/assets.rs"]),
    // The layout of sealed samples.
    ("pulsewire_engine", &["storage/"]),
    // Implementations, beside the files that define them.
    ("TelemetryStore", &["app.rs", "app/", "storage/"]),
    ("SqliteMeta", &["app.rs", "app/", "storage/"]),
    ("InProcessBus", &["app.rs", "bus/"]),
];

/// Below floor 3 nothing reads a clock, a random source, the environment, a file or a socket.
pub const IMPURE: &[&str] = &[
    "SystemTime",
    "Instant",
    "getrandom",
    "rand",
    "tokio",
    "rusqlite",
    "actix_web",
    "std::env",
    "std::fs",
    "std::net",
    "std::thread",
];

/// The floor of a file below `platform/src`; None for `lib.rs`, which only declares the modules.
pub fn floor(file: &str) -> Option<(&'static str, u8)> {
    let top = file.split('/').next().unwrap_or_default().trim_end_matches(".rs");
    FLOORS.iter().copied().find(|(name, _)| *name == top)
}

/// What is wrong with a file of the server; `file` is its path below `platform/src`.
pub fn violations(file: &str, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let code = code(text);
    let own = floor(file);
    if own.is_none() && file != "lib.rs" {
        found.push(format!("{file}: this module has no floor; give it one in tests/src/floors.rs"));
    }
    for module in imports(file, &code) {
        let (Some((name, floor)), Some((other, other_floor))) = (own, floor_of(&module)) else { continue };
        // Modules of the top floor are the wiring and may know each other.
        if other != name && (other_floor > floor || (other_floor == floor && floor < 6)) {
            found.push(format!("{file}: {name} (floor {floor}) imports {other} (floor {other_floor})"));
        }
    }
    for (word, places) in ONLY {
        if has_word(&code, word) && !places.iter().any(|place| file.starts_with(place)) {
            found.push(format!("{file}: only {} may name {word}", places.join(", ")));
        }
    }
    if own.is_some_and(|(_, floor)| floor < 3) {
        found.extend(impurities(file, text));
    }
    found
}

/// Words of [`IMPURE`] in a file below floor 3.
pub fn impurities(file: &str, text: &str) -> Vec<String> {
    let code = code(text);
    let named = IMPURE.iter().filter(|word| has_word(&code, word));
    named
        .map(|word| format!("{file}: names {word}; below floor 3 nothing reads a clock, chance or the system"))
        .collect()
}

/// Crates that a manifest's table may not have.
pub fn foreign_dependencies(manifest: &str, dependencies: &[String], allowed: &[&str]) -> Vec<String> {
    let foreign = dependencies.iter().filter(|name| !allowed.contains(&name.as_str()));
    foreign.map(|name| format!("{manifest}: depends on {name}; allowed are {}", allowed.join(", "))).collect()
}

fn floor_of(module: &str) -> Option<(&'static str, u8)> {
    FLOORS.iter().copied().find(|(name, _)| *name == module)
}

/// The text without comments and without what stands in string literals.
fn code(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for line in text.lines() {
        let (mut in_string, mut escaped) = (false, false);
        let mut chars = line.chars().peekable();
        while let Some(c) = chars.next() {
            if in_string {
                in_string = escaped || c != '"';
                escaped = c == '\\' && !escaped;
            } else if c == '"' {
                in_string = true;
                out.push(' ');
            } else if c == '/' && chars.peek() == Some(&'/') {
                break;
            } else {
                out.push(c);
            }
        }
        out.push('\n');
    }
    out
}

/// Top-level modules that a file names through `crate::` and `super::`.
fn imports(file: &str, code: &str) -> Vec<String> {
    // `hub/mod.rs` is the module hub, `hub/session.rs` is hub::session.
    let path = file.trim_end_matches(".rs").trim_end_matches("/mod");
    let depth = path.split('/').count();
    let mut found = Vec::new();
    for (at, _) in code.match_indices("crate::").filter(|(at, _)| starts_word(code, *at)) {
        found.extend(heads(&code[at + "crate::".len()..]));
    }
    let climb = "super::".repeat(depth);
    for (at, _) in code.match_indices(&climb).filter(|(at, _)| starts_path(code, *at)) {
        let rest = &code[at + climb.len()..];
        if !rest.starts_with("super::") {
            found.extend(heads(rest));
        }
    }
    found.sort();
    found.dedup();
    found
}

/// The first segment of a path, or of each path in a group.
fn heads(rest: &str) -> Vec<String> {
    let Some(group) = rest.trim_start().strip_prefix('{') else {
        return ident(rest).into_iter().collect();
    };
    let (mut depth, mut start, mut found) = (1, true, Vec::new());
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 1 => start = true,
            c if c.is_whitespace() => {}
            _ if start && depth == 1 => {
                found.extend(ident(&group[at..]));
                start = false;
            }
            _ => {}
        }
        if depth == 0 {
            break;
        }
    }
    found
}

fn ident(text: &str) -> Option<String> {
    let word: String = text.chars().take_while(|c| is_word(*c)).collect();
    (!word.is_empty()).then_some(word)
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn starts_word(code: &str, at: usize) -> bool {
    !code[..at].ends_with(is_word)
}

/// No path leads up to here.
fn starts_path(code: &str, at: usize) -> bool {
    starts_word(code, at) && !code[..at].ends_with("::")
}

fn has_word(code: &str, word: &str) -> bool {
    let mut all = code.match_indices(word);
    all.any(|(at, _)| starts_word(code, at) && !code[at + word.len()..].starts_with(is_word))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(file: &str, line: &str, expected: &[&str]) {
        let found = violations(file, line);
        assert_eq!(found.len(), expected.len(), "{file}: {line}: {found:?}");
        for (found, expected) in found.iter().zip(expected) {
            assert!(found.contains(expected), "{found:?} does not say {expected:?}");
        }
    }

    #[test]
    fn a_lower_floor_may_be_imported() {
        check("hub/session.rs", "use crate::ingest::{IngestReply, Mailbox};\nuse crate::telemetry::names;", &[]);
        check("ingest/lane.rs", "use crate::ports::Journal;\nuse super::mailbox::Mailbox;", &[]);
        check("app.rs", "use crate::http::HttpPort;\nuse crate::cli::Serve;", &[]);
        check("hub/session.rs", "use super::Shared;\nuse crate::hub::Registry;", &[]);
    }

    #[test]
    fn a_higher_floor_may_not() {
        check("storage/sqlite/meta.rs", "use crate::http::Problem;", &["storage (floor 3) imports http (floor 5)"]);
        check("ports/journal.rs", "fn f(x: &crate::ingest::Ingest) {}", &["ports (floor 2) imports ingest (floor 4)"]);
        check("http/mod.rs", "use crate::app::App;", &["http (floor 5) imports app (floor 6)"]);
    }

    #[test]
    fn neighbours_on_a_floor_may_not_meet() {
        check("ingest/mod.rs", "use crate::live::Viewer;", &["ingest (floor 4) imports live (floor 4)"]);
        check("storage/sqlite/mod.rs", "use crate::bus::in_process;", &["storage (floor 3) imports bus (floor 3)"]);
        check("http/live.rs", "use crate::hub::Registry;", &["http (floor 5) imports hub (floor 5)"]);
    }

    #[test]
    fn groups_are_read_item_by_item() {
        let line = "use crate::{\n    ports::{Journal, live},\n    hub::Hub,\n    telemetry::names,\n};";
        check("live/task.rs", line, &["live (floor 4) imports hub (floor 5)"]);
    }

    #[test]
    fn climbing_out_of_a_module_is_an_import_too() {
        check("ingest/mod.rs", "use super::live::Viewer;", &["ingest (floor 4) imports live"]);
        check("ingest/lane.rs", "use super::super::hub::Hub;", &["ingest (floor 4) imports hub"]);
        check("ingest/lane.rs", "use super::hub_like::Hub;", &[]);
    }

    #[test]
    fn some_names_belong_to_few_files() {
        check("ingest/lane.rs", "use pulsewire_proto::MetricSet;", &["only hub/"]);
        check("live/hub.rs", "fn f() -> pulsewire_proto::Value {}", &["may name pulsewire_proto"]);
        check("app.rs", "use pulsewire_sim::fleet;", &["only cli.rs, cli/ may name pulsewire_sim"]);
        check(
            "http/mod.rs",
            "let journal: TelemetryStore = open();",
            &["only app.rs, app/, storage/ may name TelemetryStore"],
        );
        check("cli/offline.rs", "use crate::storage::sqlite::SqliteMeta;", &["may name SqliteMeta"]);
        check("hub/session.rs", "let bus = InProcessBus::new(1);", &["may name InProcessBus"]);
    }

    #[test]
    fn comments_and_strings_do_not_count() {
        check("ingest/lane.rs", "// use crate::hub::Hub;\n/// See crate::http.\nlet s = \"crate::live\";", &[]);
        check("ingest/lane.rs", "let s = \"a \\\" b\"; use crate::hub::Hub; // why", &["imports hub"]);
    }

    #[test]
    fn ports_and_what_lies_below_read_no_clock() {
        check("ports/clock.rs", "use std::time::SystemTime;", &["names SystemTime"]);
        check("ports/bus.rs", "let t = Instant::now();", &["names Instant"]);
        check("ports/bus.rs", "struct InstantLike;\nuse std::time::Duration;", &[]);
        assert_eq!(impurities("core/src/sample.rs", "let x = rand::random();").len(), 1);
    }

    #[test]
    fn a_module_without_a_floor_is_noticed() {
        check("gateway/mod.rs", "", &["has no floor"]);
        check("lib.rs", "pub mod gateway;", &[]);
    }

    #[test]
    fn dependencies_outside_the_list_are_noticed() {
        let found = foreign_dependencies("core/Cargo.toml", &["thiserror".into(), "tokio".into()], &["thiserror"]);
        assert_eq!(found, ["core/Cargo.toml: depends on tokio; allowed are thiserror"]);
    }
}
