//! `pulsewire rules apply`, `diff` and `export`: files and a server's rules, over its API.

use super::files::{self, RuleInFile};
use anyhow::{Context, anyhow, bail};
use clap::Args;
use pulsewire_core::alert::{Authorship, ClearDocument, NotifyDocument, Rule, RuleDocument, ScopeDocument};
use pulsewire_core::ids::{MetricName, RuleId, UserName};
use pulsewire_core::notify::GroupPolicy;
use pulsewire_core::span;
use pulsewire_sim::ApiOptions;
use pulsewire_sim::api::{ApiClient, path_segment};
use serde::Serialize;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Rules that are asked for at once.
const PAGE: usize = 200;
/// The fields of a rule's document but `id`, without the shorthands; what is not given of these is put back to its default.
const FIELDS: [&str; 17] = [
    "name",
    "enabled",
    "scope",
    "levels",
    "for",
    "count",
    "keep_firing_for",
    "mode",
    "staleness",
    "lateness",
    "no_data",
    "flapping",
    "schedule",
    "reopen_window",
    "labels",
    "message",
    "runbook",
];
/// Those of `notify` that a document may be without.
const NOTIFY: [&str; 2] = ["ack_timeout", "escalation"];

/// Where the server is.
#[derive(Args)]
struct Server {
    /// Where the server is.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8080")]
    api: String,
    /// Who signs in; to apply needs the role operator.
    #[arg(long, value_name = "NAME", default_value = "admin")]
    user: String,
    /// Environment variable that holds the password.
    #[arg(long, value_name = "NAME", default_value = "PULSEWIRE_ADMIN_PASSWORD")]
    password_env: String,
}

#[derive(Args)]
pub(super) struct Apply {
    /// YAML files with rules; each rule needs an id.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    #[command(flatten)]
    server: Server,
    /// Ask the server whether it would take them, and change nothing.
    #[arg(long)]
    dry_run: bool,
    /// Delete the server's rules that are in none of the files.
    #[arg(long)]
    prune: bool,
    /// Take rules over metrics that no device has yet.
    #[arg(long)]
    allow_unknown_metric: bool,
}

#[derive(Args)]
pub(super) struct Diff {
    /// YAML files with rules; each rule needs an id.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    #[command(flatten)]
    server: Server,
    /// Exit status 1 if the server's rules are others than the files'.
    #[arg(long)]
    exit_code: bool,
}

#[derive(Args)]
pub(super) struct Export {
    /// Where to; standard output if it is not given.
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    #[command(flatten)]
    server: Server,
}

/// A rule's document with every field, as JSON; two rules are the same if these are.
type Whole = Map<String, Value>;

/// What is to be done with one rule.
enum Step<'a> {
    Create(&'a RuleInFile, Whole),
    Change(&'a RuleInFile, Whole, Whole),
    Keep,
}

impl Server {
    /// Signs in, acts, and signs out.
    fn with<R>(&self, act: impl FnOnce(&ApiClient) -> anyhow::Result<R>) -> anyhow::Result<R> {
        let password = std::env::var(&self.password_env).with_context(|| {
            format!("the environment variable {} must hold the password (--password-env)", self.password_env)
        })?;
        let options = ApiOptions { url: self.api.clone(), user: self.user.clone(), password };
        let client = ApiClient::sign_in(&options)?;
        let result = act(&client);
        // Nobody else has the token; if this fails it ends by itself.
        let _ = client.sign_out();
        result
    }
}

/// Every rule of a server, by id.
fn stored(client: &ApiClient) -> anyhow::Result<BTreeMap<String, RuleDocument>> {
    let mut rules = BTreeMap::new();
    let mut cursor = None::<String>;
    loop {
        let from = cursor.as_deref().map(|cursor| format!("&cursor={}", path_segment(cursor))).unwrap_or_default();
        let page = client.get(&format!("/api/v1/rules?limit={PAGE}{from}"))?;
        for rule in page["items"].as_array().into_iter().flatten() {
            let document = document_of(rule)?;
            rules.insert(document.id.clone().unwrap_or_default(), document);
        }
        match page["next"].as_str() {
            Some(next) => cursor = Some(next.to_owned()),
            None => return Ok(rules),
        }
    }
}

/// The document in what the API says of a rule.
fn document_of(answer: &Value) -> anyhow::Result<RuleDocument> {
    let known = |name: &&String| FIELDS.contains(&name.as_str()) || ["id", "notify"].contains(&name.as_str());
    let fields = answer.as_object().into_iter().flatten().filter(|(name, _)| known(name));
    let mut fields: Map<String, Value> = fields.map(|(name, value)| (name.clone(), value.clone())).collect();
    for level in fields.get_mut("levels").and_then(Value::as_array_mut).into_iter().flatten() {
        if let Some(level) = level.as_object_mut() {
            level.retain(|name, _| ["severity", "when", "clear"].contains(&name.as_str()));
        }
    }
    let id = fields.get("id").and_then(Value::as_str).unwrap_or_default().to_owned();
    serde_json::from_value(Value::Object(fields)).map_err(|error| {
        anyhow!("rule {id:?} of the server is not what this program knows; is it of another version? {error}")
    })
}

/// A document with all its defaults.
fn whole(document: &RuleDocument) -> anyhow::Result<Whole> {
    match serde_json::to_value(RuleDocument::from(&rule_of(document)?))? {
        Value::Object(fields) => Ok(fields),
        _ => bail!("a rule is an object"),
    }
}

/// True if the server asks whether the devices fit a rule that was changed.
fn must_fit(old: &Whole, new: &Whole) -> bool {
    let same = |field: &str| old.get(field) == new.get(field);
    new["enabled"] == true && !(same("enabled") && same("levels") && same("scope"))
}

fn metrics(whole: &Whole) -> anyhow::Result<Vec<MetricName>> {
    Ok(rule_of(&serde_json::from_value(Value::Object(whole.clone()))?)?.metrics())
}

fn rule_of(document: &RuleDocument) -> anyhow::Result<Rule> {
    let id = RuleId::parse(document.id.as_deref().unwrap_or_default())?;
    let by = Authorship { id, version: 1, created_us: 0, updated_us: 0, updated_by: UserName::parse("file")? };
    Ok(document.rule(by)?)
}

/// The rules of files, checked, each with an id.
fn read(paths: &[PathBuf]) -> anyhow::Result<Vec<RuleInFile>> {
    let mut rules = Vec::new();
    for path in paths {
        rules.extend(RuleInFile::read(path)?);
    }
    if let Some(nameless) = rules.iter().find(|rule| rule.document.id.is_none()) {
        bail!(
            "{}: rule {:?}: id: it has none; without one it would be made anew each time",
            nameless.place,
            nameless.title()
        );
    }
    files::checked(&rules)?;
    Ok(rules)
}

/// What there is to do, and the ids that only the server has.
fn compare<'a>(
    rules: &'a [RuleInFile],
    stored: &BTreeMap<String, RuleDocument>,
) -> anyhow::Result<(Vec<Step<'a>>, Vec<String>)> {
    let mut steps = Vec::new();
    for rule in rules {
        let new = whole(&rule.document)?;
        steps.push(match stored.get(rule.title()) {
            None => Step::Create(rule, new),
            Some(old) => match whole(old)? {
                old if old == new => Step::Keep,
                old => Step::Change(rule, old, new),
            },
        });
    }
    let only = stored.keys().filter(|id| !rules.iter().any(|rule| rule.title() == *id));
    Ok((steps, only.cloned().collect()))
}

fn print(steps: &[Step<'_>]) {
    for step in steps {
        match step {
            Step::Keep => {}
            Step::Create(rule, new) => {
                println!("+ {}", rule.title());
                for (path, value) in leaves(new) {
                    println!("    {path}: {value}");
                }
            }
            Step::Change(rule, old, new) => {
                println!("~ {}", rule.title());
                let (old, new) = (leaves(old), leaves(new));
                let mut paths: Vec<&String> = old.keys().chain(new.keys()).collect();
                paths.sort();
                paths.dedup();
                for path in paths {
                    match (old.get(path), new.get(path)) {
                        (Some(old), Some(new)) if old != new => println!("    {path}: {old} → {new}"),
                        (Some(old), None) => println!("    {path}: {old} → none"),
                        (None, Some(new)) => println!("    {path}: none → {new}"),
                        _ => {}
                    }
                }
            }
        }
    }
}

/// The values of a document by their place, such as `levels[0].when`.
fn leaves(whole: &Whole) -> BTreeMap<String, String> {
    fn add(path: String, value: &Value, found: &mut BTreeMap<String, String>) {
        let join = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
        match value {
            Value::Object(fields) => fields.iter().for_each(|(name, value)| add(join(name), value, found)),
            Value::Array(items) if items.iter().any(Value::is_object) => {
                items.iter().enumerate().for_each(|(at, value)| add(format!("{path}[{at}]"), value, found));
            }
            Value::String(text) => drop(found.insert(path, text.clone())),
            other => drop(found.insert(path, other.to_string())),
        }
    }
    let mut found = BTreeMap::new();
    for (name, value) in whole.iter().filter(|(name, _)| *name != "id") {
        add(name.clone(), value, &mut found);
    }
    found
}

/// A merge patch that makes one of the other, whatever was done to it meanwhile: the whole document, with null for what it has not.
fn patch_of(old: &Whole, new: &Whole) -> Value {
    let mut patch = new.clone();
    patch.remove("id");
    for field in FIELDS {
        patch.entry(field).or_insert(Value::Null);
    }
    for (field, known) in [("labels", &[][..]), ("no_data", &["severity"]), ("notify", &NOTIFY)] {
        let Some(parts) = patch.get_mut(field).and_then(Value::as_object_mut) else { continue };
        let before = old.get(field).and_then(Value::as_object).into_iter().flatten().map(|(name, _)| name.as_str());
        for name in before.chain(known.iter().copied()) {
            parts.entry(name).or_insert(Value::Null);
        }
    }
    // An empty map is no patch of one that is not.
    if patch["labels"].is_null() {
        let names = old.get("labels").and_then(Value::as_object).into_iter().flatten();
        patch.insert("labels".into(), names.map(|(name, _)| (name.clone(), Value::Null)).collect::<Map<_, _>>().into());
    }
    Value::Object(patch)
}

impl Apply {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let rules = read(&self.files)?;
        self.server.with(|client| self.apply(client, &rules))
    }

    fn apply(&self, client: &ApiClient, rules: &[RuleInFile]) -> anyhow::Result<()> {
        let (steps, only) = compare(rules, &stored(client)?)?;
        let allow = |mut body: Value| {
            body["allow_unknown_metric"] = self.allow_unknown_metric.into();
            body
        };
        let refused = |rule: &RuleInFile, error| anyhow!("{}: rule {:?}: {error}", rule.place, rule.title());
        // Nothing is changed if the server would refuse one of them.
        for step in &steps {
            let (rule, new, allow) = match step {
                Step::Create(rule, new) => (rule, new, self.allow_unknown_metric),
                Step::Change(rule, old, new) if must_fit(old, new) => {
                    let as_unknown_as_it_was = old["enabled"] == true && metrics(old)? == metrics(new)?;
                    (rule, new, self.allow_unknown_metric || as_unknown_as_it_was)
                }
                Step::Change(..) | Step::Keep => continue,
            };
            let mut body = Value::Object(new.clone());
            body["allow_unknown_metric"] = allow.into();
            client.post("/api/v1/rules/check", &body).map_err(|error| refused(rule, error))?;
        }
        print(&steps);
        let pruned = if self.prune { &only[..] } else { &[] };
        pruned.iter().for_each(|id| println!("- {id}"));
        let [mut created, mut changed, mut kept] = [0, 0, 0];
        for step in &steps {
            match step {
                Step::Keep => kept += 1,
                Step::Create(rule, new) => {
                    created += 1;
                    if !self.dry_run {
                        let body = allow(Value::Object(new.clone()));
                        client.post("/api/v1/rules", &body).map_err(|error| refused(rule, error))?;
                    }
                }
                Step::Change(rule, old, new) => {
                    changed += 1;
                    if !self.dry_run {
                        let path = format!("/api/v1/rules/{}", path_segment(rule.title()));
                        client.patch(&path, &allow(patch_of(old, new))).map_err(|error| refused(rule, error))?;
                    }
                }
            }
        }
        for id in pruned.iter().filter(|_| !self.dry_run) {
            client.delete(&format!("/api/v1/rules/{}", path_segment(id))).with_context(|| format!("rule {id:?}"))?;
        }
        let would = if self.dry_run { "dry run, nothing was done: " } else { "" };
        println!("{would}{created} created, {changed} changed, {} deleted, {kept} unchanged", pruned.len());
        if !self.prune && !only.is_empty() {
            eprintln!("the server also has {} (--prune deletes what is in no file)", only.join(", "));
        }
        Ok(())
    }
}

impl Diff {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let rules = read(&self.files)?;
        let stored = self.server.with(stored)?;
        let (steps, only) = compare(&rules, &stored)?;
        print(&steps);
        only.iter().for_each(|id| println!("- {id}"));
        let different = steps.iter().filter(|step| !matches!(step, Step::Keep)).count() + only.len();
        if different == 0 {
            println!("no differences in {} rules", rules.len());
        } else if self.exit_code {
            bail!("{different} rules are others on the server than in the files");
        }
        Ok(())
    }
}

#[derive(Serialize)]
struct RulesFile {
    rules: Vec<RuleDocument>,
}

impl Export {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let rules: Vec<RuleDocument> = self.server.with(stored)?.into_values().map(short).collect();
        let count = rules.len();
        let text = serde_saphyr::to_string(&RulesFile { rules })?;
        match &self.file {
            None => print!("{text}"),
            Some(file) => {
                std::fs::write(file, text).with_context(|| format!("{} cannot be written", file.display()))?;
                eprintln!("{count} rules are in {}", file.display());
            }
        }
        Ok(())
    }
}

/// A document without what is a default anyway, and with one level as people write it.
fn short(document: RuleDocument) -> RuleDocument {
    let mut short = document;
    if let Some([level]) = short.levels.as_deref() {
        short.when = Some(level.when.clone());
        short.clear = level.clear.clone().map(ClearDocument::Expression);
        short.severity = Some(level.severity.clone());
        short.levels = None;
    }
    fn drop_if<T: PartialEq>(field: &mut Option<T>, default: &T) {
        if field.as_ref() == Some(default) {
            *field = None;
        }
    }
    drop_if(&mut short.enabled, &true);
    for field in [&mut short.hold, &mut short.keep_firing_for, &mut short.lateness, &mut short.reopen_window] {
        drop_if(field, &"0s".to_owned());
    }
    drop_if(&mut short.mode, &"sampled".to_owned());
    drop_if(&mut short.flapping, &true);
    drop_if(&mut short.scope, &ScopeDocument { all: Some(true), ..ScopeDocument::default() });
    if let Some(notify) = &mut short.notify {
        drop_if(&mut notify.group_by, &vec!["rule".to_owned()]);
        let policy = GroupPolicy::default();
        drop_if(&mut notify.wait, &span::text(policy.wait_us));
        drop_if(&mut notify.interval, &span::text(policy.interval_us));
        drop_if(&mut notify.repeat, &span::text(policy.repeat_us));
        drop_if(&mut notify.resolved, &policy.send_resolved);
        drop_if(&mut notify.resolved_when_quiet, &policy.resolved_when_quiet);
        drop_if(&mut notify.stale, &policy.tell_stale);
        drop_if(&mut notify.to, &policy.to.texts());
    }
    drop_if(&mut short.notify, &NotifyDocument::default());
    short
}
