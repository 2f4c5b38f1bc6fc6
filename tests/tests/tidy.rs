//! What reviewers would otherwise have to see: floors, documentation in step with the code, sizes, stray paths.
//!
//! `UPDATE_DOCS=1 cargo test -p pulsewire-tests --test tidy` rewrites the tables of docs/configuration.md and
//! docs/metrics.md.

use pulsewire::config::{KEYS, Kind};
use pulsewire::telemetry::names;
use pulsewire_tests::floors;
use pulsewire_tests::programs::repository;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// Files below a folder of the repository, as paths from its root; build results and packages are left out.
fn files(below: &str) -> Vec<(String, PathBuf)> {
    let root = repository();
    let (mut folders, mut found) = (vec![root.join(below)], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display())) {
            let path = entry.expect("an entry").path();
            let name = path.file_name().expect("a name").to_string_lossy().into_owned();
            if path.is_symlink() || name.starts_with('.') && name != ".ci" {
                continue;
            }
            if !path.is_dir() {
                let from_root = path.strip_prefix(&root).expect("below the root");
                found.push((from_root.to_string_lossy().into_owned(), path));
            } else if !name.starts_with("target") && !["node_modules", "dist", "pulsewire-data"].contains(&&*name) {
                folders.push(path);
            }
        }
    }
    found.sort();
    assert!(!found.is_empty(), "{below} is empty");
    found
}

fn sources(below: &str) -> Vec<(String, String)> {
    let all = files(below).into_iter().filter(|(name, _)| name.ends_with(".rs"));
    all.map(|(name, path)| (name, read(&path))).collect()
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn assert_none(what: &str, found: &[String]) {
    assert!(found.is_empty(), "{what}:\n  {}", found.join("\n  "));
}

/// Names in a table of a manifest, under every target.
fn dependencies(manifest: &str, table: &str) -> Vec<String> {
    let parsed: toml::Table = read(&repository().join(manifest)).parse().expect("a manifest");
    let mut names = Vec::new();
    let mut add = |value: Option<&toml::Value>| {
        names.extend(value.and_then(toml::Value::as_table).into_iter().flat_map(|t| t.keys().cloned()));
    };
    add(parsed.get(table));
    for target in parsed.get("target").and_then(toml::Value::as_table).into_iter().flat_map(|t| t.values()) {
        add(target.get(table));
    }
    names
}

#[test]
fn a_floor_imports_only_lower_floors() {
    let sources = sources("platform/src");
    assert!(sources.len() > 40, "only {} files were read", sources.len());
    let wrong: Vec<_> = sources
        .iter()
        .flat_map(|(file, text)| floors::violations(file.trim_start_matches("platform/src/"), text))
        .collect();
    assert_none("the floors of ARCHITECTURE.md are broken", &wrong);
}

#[test]
fn protocol_and_core_stay_pure() {
    let mut wrong = Vec::new();
    for below in ["proto-spec/src", "platform/core/src", "platform/chunk/src"] {
        wrong.extend(sources(below).iter().flat_map(|(file, text)| floors::impurities(file, text)));
    }
    for (manifest, allowed) in [
        ("proto-spec/Cargo.toml", &["hmac", "sha2", "subtle", "wincode"][..]),
        ("platform/core/Cargo.toml", &["foldhash", "jiff", "serde", "sha2", "thiserror", "wincode"]),
        ("platform/chunk/Cargo.toml", &["pco", "thiserror", "xxhash-rust"]),
    ] {
        wrong.extend(floors::foreign_dependencies(manifest, &dependencies(manifest, "dependencies"), allowed));
    }
    assert_none("floors 0 and 1 are pure", &wrong);
    assert!(read(&repository().join("proto-spec/src/lib.rs")).contains("#![no_std]"));
}

#[test]
fn crates_know_only_the_crates_they_may() {
    let mut wrong = Vec::new();
    for (manifest, allowed) in [
        ("proto-spec/Cargo.toml", &[][..]),
        ("platform/core/Cargo.toml", &[]),
        ("platform/chunk/Cargo.toml", &[]),
        ("platform/engine/Cargo.toml", &["pulsewire-chunk", "pulsewire-core"]),
        ("dashboard/Cargo.toml", &[]),
        ("device-sim/Cargo.toml", &["pulsewire-proto"]),
        ("push-emulator/Cargo.toml", &[]),
        (
            "platform/Cargo.toml",
            &[
                "pulsewire-core",
                "pulsewire-dashboard",
                "pulsewire-engine",
                "pulsewire-proto",
                "pulsewire-push-emulator",
                "pulsewire-sim",
            ],
        ),
        ("tests/Cargo.toml", &["pulsewire-proto"]),
    ] {
        let ours: Vec<_> =
            dependencies(manifest, "dependencies").into_iter().filter(|name| name.starts_with("pulsewire")).collect();
        wrong.extend(floors::foreign_dependencies(manifest, &ours, allowed));
    }
    assert_none("crates", &wrong);
}

#[test]
fn versions_stand_once_in_the_workspace() {
    let mut wrong = Vec::new();
    for manifest in [
        "proto-spec",
        "platform",
        "platform/core",
        "platform/chunk",
        "platform/engine",
        "push-emulator",
        "device-sim",
        "dashboard",
        "tests",
    ] {
        let text = read(&repository().join(manifest).join("Cargo.toml"));
        let parsed: toml::Table = text.parse().expect("a manifest");
        for table in ["dependencies", "dev-dependencies", "build-dependencies"] {
            for (name, value) in parsed.get(table).and_then(toml::Value::as_table).into_iter().flatten() {
                if value.get("workspace").and_then(toml::Value::as_bool) != Some(true) {
                    wrong.push(format!("{manifest}/Cargo.toml: {name} does not take its version from the workspace"));
                }
            }
        }
    }
    assert_none("manifests", &wrong);
}

#[test]
fn every_module_is_documented() {
    let documented = |path: &Path| path.exists() && read(path).starts_with("//!");
    let mut wrong = Vec::new();
    for below in [
        "proto-spec/src",
        "platform/src",
        "platform/core/src",
        "platform/chunk/src",
        "platform/engine/src",
        "device-sim/src",
        "dashboard/src",
        "tests/src",
    ] {
        for (name, path) in files(below).iter().filter(|(name, _)| name.ends_with(".rs")) {
            // Its own first line, or that of the module that it is a part of.
            let folder = path.parent().expect("a folder");
            let parents = [folder.join("mod.rs"), folder.join("lib.rs"), folder.with_extension("rs")];
            if !documented(path) && !parents.iter().any(|parent| documented(parent)) {
                wrong.push(name.clone());
            }
        }
    }
    assert_none("neither the file nor its parent module begins with a `//!` doc", &wrong);
}

#[test]
fn no_source_file_is_longer_than_600_lines() {
    let mut wrong = Vec::new();
    for below in ["proto-spec", "platform", "device-sim", "dashboard", "tests"] {
        for (name, path) in files(below) {
            let source = [".rs", ".py", ".ts", ".svelte", ".c", ".h"].iter().any(|end| name.ends_with(end));
            if source && !name.contains("/tests/") {
                let lines = read(&path).lines().count();
                if lines > 600 {
                    wrong.push(format!("{name}: {lines} lines; find the second noun in it"));
                }
            }
        }
    }
    assert_none("long files", &wrong);
}

#[test]
fn nothing_names_a_place_on_someones_machine() {
    // Put together here, so that this file does not find itself.
    let places = ["home", "root", "Users", "work"].map(|folder| format!("/{folder}/"));
    let mut wrong = Vec::new();
    for (name, path) in files(".") {
        // Locks and pictures are made by tools.
        let made = name.ends_with("lock") || name.ends_with("lock.json");
        let Ok(text) = std::fs::read_to_string(&path) else { continue };
        let lines = text.lines().enumerate().filter(|_| !made);
        for (number, line) in lines.filter(|(_, line)| places.iter().any(|place| names_place(line, place))) {
            wrong.push(format!("{name}:{}: {}", number + 1, line.trim()));
        }
    }
    assert_none("paths of a developer's machine", &wrong);
}

/// A path that begins with the place; not one that goes through a folder of that name.
fn names_place(line: &str, place: &str) -> bool {
    let mut all = line.match_indices(place);
    all.any(|(at, _)| !line[..at].ends_with(|c: char| c.is_alphanumeric() || "._-}$/".contains(c)))
}

#[test]
fn a_place_is_told_from_a_folder_of_that_name() {
    // Again put together.
    let place = format!("/{}/", "home");
    let at = |line: &str| names_place(&line.replace("PLACE", &place), &place);
    assert!(at("open(\"PLACEada/x\")") && at("cd PLACEx"));
    assert!(!at("srcPLACEindex.ts") && !at("https://x.examplePLACEa"));
}

#[test]
fn the_documents_that_every_reader_looks_for_are_there() {
    for name in ["README.md", "CHANGELOG.md", "ARCHITECTURE.md", "proto-spec/SPEC.md", "docs/http-api.md"] {
        assert!(read(&repository().join(name)).lines().count() > 5, "{name} says next to nothing");
    }
}

#[test]
fn links_between_documents_lead_somewhere() {
    let mut wrong = Vec::new();
    for (name, path) in files(".").into_iter().filter(|(name, _)| name.ends_with(".md")) {
        let text = read(&path);
        for (at, _) in text.match_indices("](") {
            let target = text[at + 2..].split([')', ' ']).next().unwrap_or_default();
            let file = target.split('#').next().unwrap_or_default();
            let outside = target.contains("://") || target.starts_with("mailto:") || file.is_empty();
            if !outside && !path.parent().expect("a folder").join(file).exists() {
                wrong.push(format!("{name}: {target}"));
            }
        }
    }
    assert_none("links that lead nowhere", &wrong);
}

/// Checks a table between `<!-- begin NAME -->` and `<!-- end NAME -->` in a document, or writes it there.
fn assert_table(document: &str, name: &str, table: &str) {
    let path = repository().join(document);
    let text = read(&path);
    let (begin, end) = (format!("<!-- begin {name} -->\n"), format!("<!-- end {name} -->"));
    let start = text.find(&begin).unwrap_or_else(|| panic!("{document} has no {}", begin.trim())) + begin.len();
    let stop = text.find(&end).unwrap_or_else(|| panic!("{document} has no {end}"));
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, format!("{}{table}{}", &text[..start], &text[stop..])).expect("written");
        return;
    }
    for (found, wanted) in text[start..stop].lines().zip(table.lines()) {
        assert_eq!(found, wanted, "{document} is not in step; UPDATE_DOCS=1 rewrites its table");
    }
    assert_eq!(&text[start..stop], table, "{document} is not in step; UPDATE_DOCS=1 rewrites its table");
}

fn takes(kind: Kind) -> String {
    let time = |ms: i64| match ms {
        ms if ms > 0 && ms % 86_400_000 == 0 => format!("{}h", ms / 3_600_000),
        ms if ms > 0 && ms % 3_600_000 == 0 => format!("{}h", ms / 3_600_000),
        ms if ms > 0 && ms % 60_000 == 0 => format!("{}m", ms / 60_000),
        ms if ms > 0 && ms % 1000 == 0 => format!("{}s", ms / 1000),
        ms => format!("{ms}ms"),
    };
    let size = |bytes: i64| match bytes {
        b if b % (1 << 30) == 0 => format!("{}GiB", b >> 30),
        b if b % (1 << 20) == 0 => format!("{}MiB", b >> 20),
        b if b % (1 << 10) == 0 => format!("{}KiB", b >> 10),
        b => format!("{b}"),
    };
    match kind {
        Kind::Integer(min, max) => format!("{min} – {max}"),
        Kind::Duration(min, max) => format!("time, {} – {}", time(min), time(max)),
        Kind::Bytes(min, max) => format!("size, {} – {}", size(min), size(max)),
        Kind::Bool => "true, false".into(),
        Kind::Address => "address:port".into(),
        Kind::Path => "path".into(),
        Kind::Word(words) => words.join(", "),
        Kind::Text => "text".into(),
    }
}

#[test]
fn every_configuration_key_is_documented_with_its_default() {
    let mut table = String::new();
    let mut section = None;
    for key in KEYS {
        if section != Some(key.section) {
            section = Some(key.section);
            let title = if key.section.is_empty() { "Top level".to_owned() } else { format!("`[{}]`", key.section) };
            let _ = write!(table, "\n### {title}\n\n| key | takes | default | meaning |\n|---|---|---|---|\n");
        }
        let default = if key.default.is_empty() { "none".to_owned() } else { format!("`{}`", key.default) };
        let _ = writeln!(table, "| `{}` | {} | {default} | {} |", key.name, takes(key.kind), key.meaning);
    }
    table.push('\n');
    assert_table("docs/configuration.md", "keys", &table);
}

#[test]
fn every_metric_is_documented_with_its_kind_and_labels() {
    let list = read(&repository().join("platform/src/telemetry/names.rs"));
    let code: String = sources("platform/src").into_iter().map(|(_, text)| text).collect();
    let mut table = String::from("\n| metric | kind | labels | meaning |\n|---|---|---|---|\n");
    for name in names::ALL {
        assert!(
            ["_total", "_seconds", "_bytes", "_sessions", "_viewers", "_open", "_failing"]
                .iter()
                .any(|end| name.ends_with(end)),
            "{name} ends neither in a unit nor in _total"
        );
        let at = list.find(&format!("\"{name}\"")).unwrap_or_else(|| panic!("{name} is not in names.rs"));
        let before = &list[..at];
        let constant = before.trim_end_matches(" = ").rsplit(' ').next().unwrap_or_default();
        let meaning: Vec<_> = before.lines().rev().skip(1).map_while(|line| line.trim().strip_prefix("/// ")).collect();
        let meaning: Vec<_> = meaning.into_iter().rev().collect();
        let kind = list[at..].split("describe_").nth(1).and_then(|rest| rest.split(')').next()).unwrap_or_default();
        let labels: BTreeSet<&str> = code
            .match_indices(&format!("names::{constant}, \""))
            .filter_map(|(at, found)| code[at + found.len() - 1..].split(';').next())
            .flat_map(|arguments| {
                let mut before_arrows: Vec<_> = arguments.split("\" =>").collect();
                before_arrows.pop();
                before_arrows.into_iter().filter_map(|text| text.rsplit('"').next())
            })
            .collect();
        let labels: Vec<_> = labels.into_iter().map(|label| format!("`{label}`")).collect();
        let _ = writeln!(table, "| `{name}` | {kind} | {} | {} |", labels.join(", "), meaning.join(" "));
    }
    table.push('\n');
    assert_table("docs/metrics.md", "metrics", &table);
}

#[test]
fn every_close_code_of_the_specification_is_known_and_the_other_way_round() {
    let spec = read(&repository().join("proto-spec/SPEC.md"));
    let table = spec.split("## 10 Close codes").nth(1).and_then(|rest| rest.split("## 11").next()).expect("section 10");
    let rows: Vec<_> = table.lines().filter(|line| line.starts_with("| 1") || line.starts_with("| 4")).collect();
    let row = |code: &pulsewire_proto::CloseCode| {
        let reconnect = if code.reconnect() { "yes" } else { "no" };
        format!("| {} | {} | {reconnect} |", code.as_u16(), code.name())
    };
    let known: Vec<_> = pulsewire_proto::CloseCode::ALL.iter().map(row).collect();
    assert_eq!(rows.len(), known.len());
    for (row, known) in rows.iter().zip(known) {
        assert!(row.starts_with(&known), "{row} in SPEC.md, {known} in the code");
    }
}
