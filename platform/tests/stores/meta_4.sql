-- Made by version 4, whole, without rows.
CREATE TABLE store (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT;
CREATE TABLE device (
    device INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    tags TEXT NOT NULL,
    grp TEXT,
    enabled INTEGER NOT NULL,
    created_us INTEGER NOT NULL,
    last_seen_us INTEGER,
    firmware TEXT,
    stored_key BLOB NOT NULL,
    server_key BLOB NOT NULL,
    previous_stored_key BLOB,
    previous_server_key BLOB,
    previous_until_us INTEGER,
    token_hash BLOB
) STRICT;
CREATE TABLE user (
    name TEXT PRIMARY KEY,
    role TEXT NOT NULL,
    password_hash TEXT NOT NULL,
    created_us INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE session (
    token_hash BLOB PRIMARY KEY,
    user TEXT NOT NULL REFERENCES user (name) ON DELETE CASCADE,
    expires_us INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE secret (name TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE cursor (name TEXT PRIMARY KEY, epoch INTEGER NOT NULL, position INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE alert_step (
    alert BLOB NOT NULL REFERENCES alert (id) ON DELETE CASCADE,
    step INTEGER NOT NULL,
    time_us INTEGER NOT NULL,
    kind TEXT NOT NULL,
    user TEXT,
    text TEXT NOT NULL,
    PRIMARY KEY (alert, step)
) STRICT, WITHOUT ROWID;
CREATE TABLE endpoint (
    id BLOB PRIMARY KEY,
    user TEXT NOT NULL,
    kind TEXT NOT NULL,
    label TEXT NOT NULL,
    address TEXT NOT NULL,
    address_hash BLOB NOT NULL UNIQUE,
    provider TEXT NOT NULL,
    created_us INTEGER NOT NULL,
    registered_us INTEGER NOT NULL,
    removed_us INTEGER,
    removed_reason TEXT,
    last_delivered_us INTEGER
, preferences TEXT NOT NULL DEFAULT '{}', muted INTEGER NOT NULL DEFAULT 0, confirmed INTEGER NOT NULL DEFAULT 1, opened INTEGER NOT NULL DEFAULT 0, dismissed INTEGER NOT NULL DEFAULT 0) STRICT, WITHOUT ROWID;
CREATE TABLE message (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id BLOB NOT NULL UNIQUE,
    user TEXT NOT NULL,
    kind TEXT NOT NULL,
    alert BLOB,
    severity INTEGER NOT NULL,
    title TEXT NOT NULL,
    body TEXT NOT NULL,
    url TEXT NOT NULL,
    tag TEXT NOT NULL,
    created_us INTEGER NOT NULL,
    event_us INTEGER NOT NULL,
    due_us INTEGER NOT NULL,
    expires_us INTEGER NOT NULL,
    state TEXT NOT NULL,
    reason TEXT NOT NULL,
    reason_text TEXT NOT NULL,
    replayed_us INTEGER
, grp BLOB, cause TEXT NOT NULL DEFAULT '', left_out INTEGER NOT NULL DEFAULT 0, announcement BLOB, image TEXT, passed_us INTEGER, opened_us INTEGER, dismissed_us INTEGER) STRICT;
CREATE TABLE alert_changed (alert BLOB PRIMARY KEY) STRICT, WITHOUT ROWID;
CREATE TABLE delivery (
    id BLOB PRIMARY KEY,
    message BLOB NOT NULL REFERENCES message (id) ON DELETE CASCADE,
    endpoint BLOB NOT NULL,
    kind TEXT NOT NULL,
    label TEXT NOT NULL,
    state TEXT NOT NULL,
    attempts INTEGER NOT NULL,
    next_us INTEGER NOT NULL,
    lease_us INTEGER,
    reason TEXT NOT NULL,
    provider_id TEXT,
    provider TEXT NOT NULL,
    priority INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    expires_us INTEGER NOT NULL
, held TEXT, announcement BLOB, digest BLOB) STRICT, WITHOUT ROWID;
CREATE TABLE delivery_event (
    delivery BLOB NOT NULL REFERENCES delivery (id) ON DELETE CASCADE,
    step INTEGER NOT NULL,
    time_us INTEGER NOT NULL,
    event TEXT NOT NULL,
    status INTEGER,
    text TEXT NOT NULL,
    PRIMARY KEY (delivery, step)
) STRICT, WITHOUT ROWID;
CREATE TABLE command (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id BLOB NOT NULL UNIQUE,
    device INTEGER NOT NULL REFERENCES device (device) ON DELETE CASCADE,
    device_id TEXT NOT NULL,
    name TEXT NOT NULL,
    arguments TEXT NOT NULL,
    state INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    percent INTEGER,
    code TEXT NOT NULL,
    text TEXT NOT NULL,
    result TEXT NOT NULL,
    cancel_requested INTEGER NOT NULL,
    answered INTEGER NOT NULL,
    supersede_key TEXT,
    created_by TEXT NOT NULL,
    created_us INTEGER NOT NULL,
    changed_us INTEGER NOT NULL,
    since_us INTEGER NOT NULL,
    deadline_us INTEGER NOT NULL,
    timeout_us INTEGER NOT NULL,
    revision INTEGER NOT NULL
) STRICT;
CREATE TABLE command_step (
    command INTEGER NOT NULL REFERENCES command (seq) ON DELETE CASCADE,
    step INTEGER NOT NULL,
    time_us INTEGER NOT NULL,
    state INTEGER NOT NULL,
    text TEXT NOT NULL,
    PRIMARY KEY (command, step)
) STRICT, WITHOUT ROWID;
CREATE TABLE command_set (
    device INTEGER PRIMARY KEY REFERENCES device (device) ON DELETE CASCADE,
    declared TEXT NOT NULL
) STRICT;
CREATE TABLE rule (
    id TEXT PRIMARY KEY,
    -- A `RuleDocument` as JSON.
    document TEXT NOT NULL,
    version INTEGER NOT NULL,
    created_us INTEGER NOT NULL,
    updated_us INTEGER NOT NULL,
    updated_by TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE rule_version (
    rule TEXT NOT NULL,
    version INTEGER NOT NULL,
    change TEXT NOT NULL,
    time_us INTEGER NOT NULL,
    user TEXT NOT NULL,
    document TEXT NOT NULL,
    PRIMARY KEY (rule, version)
) STRICT, WITHOUT ROWID;
CREATE TABLE alert_state (device INTEGER PRIMARY KEY, state BLOB NOT NULL) STRICT;
CREATE TABLE "alert" (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id BLOB NOT NULL UNIQUE,
    revision INTEGER NOT NULL,
    rule TEXT NOT NULL,
    rule_name TEXT NOT NULL,
    kind TEXT NOT NULL,
    device INTEGER,
    device_id TEXT NOT NULL,
    device_name TEXT NOT NULL,
    grp TEXT,
    metric TEXT NOT NULL,
    unit TEXT NOT NULL,
    severity INTEGER NOT NULL,
    severity_max INTEGER NOT NULL,
    condition TEXT NOT NULL,
    comparison INTEGER,
    threshold REAL,
    clear REAL,
    hold_us INTEGER NOT NULL,
    value REAL,
    text TEXT NOT NULL,
    runbook TEXT NOT NULL,
    labels TEXT NOT NULL,
    started_us INTEGER NOT NULL,
    fired_us INTEGER NOT NULL,
    resolved_us INTEGER,
    resolved_reason TEXT,
    reopened INTEGER NOT NULL,
    stale INTEGER NOT NULL,
    recovering INTEGER NOT NULL,
    flapping INTEGER NOT NULL,
    parent BLOB,
    members INTEGER NOT NULL,
    ack_user TEXT,
    ack_us INTEGER,
    assigned TEXT,
    snooze_user TEXT,
    snooze_until_us INTEGER,
    snooze_reason TEXT
) STRICT;
CREATE TABLE silence (
    id BLOB PRIMARY KEY,
    kind TEXT NOT NULL,
    -- JSON: the matchers as people write them.
    matchers TEXT NOT NULL,
    starts_us INTEGER NOT NULL,
    ends_us INTEGER NOT NULL,
    reason TEXT NOT NULL,
    created_by TEXT NOT NULL,
    created_us INTEGER NOT NULL,
    updated_us INTEGER NOT NULL,
    ended_early_us INTEGER,
    -- When it really is over.
    over_us INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE notify_group (key TEXT PRIMARY KEY, state BLOB NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE told (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id BLOB NOT NULL UNIQUE,
    time_us INTEGER NOT NULL,
    key TEXT NOT NULL,
    grp BLOB NOT NULL,
    reason TEXT NOT NULL,
    delayed INTEGER NOT NULL,
    about BLOB,
    -- JSON: the rest of the decision.
    decision TEXT NOT NULL,
    messages INTEGER NOT NULL
) STRICT;
CREATE TABLE told_alert (
    alert BLOB NOT NULL,
    told INTEGER NOT NULL REFERENCES told (seq) ON DELETE CASCADE,
    PRIMARY KEY (alert, told)
) STRICT, WITHOUT ROWID;
CREATE TABLE message_alert (
    message BLOB NOT NULL REFERENCES message (id) ON DELETE CASCADE,
    -- The worst first.
    place INTEGER NOT NULL,
    alert BLOB NOT NULL,
    PRIMARY KEY (message, place)
) STRICT, WITHOUT ROWID;
CREATE TABLE preference (
    user TEXT PRIMARY KEY,
    document TEXT NOT NULL,
    updated_us INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE confirmation (
    endpoint BLOB PRIMARY KEY REFERENCES endpoint (id) ON DELETE CASCADE,
    code_hash BLOB NOT NULL,
    expires_us INTEGER NOT NULL,
    tries INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE announcement (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id BLOB NOT NULL UNIQUE,
    title TEXT NOT NULL,
    body TEXT NOT NULL,
    url TEXT NOT NULL,
    image TEXT,
    severity INTEGER NOT NULL,
    -- JSON: as the API has it.
    recipients TEXT NOT NULL,
    grp TEXT,
    created_us INTEGER NOT NULL,
    created_by TEXT NOT NULL,
    not_before_us INTEGER NOT NULL,
    expires_us INTEGER NOT NULL,
    state TEXT NOT NULL,
    taken TEXT,
    -- All people were taken.
    expanded INTEGER NOT NULL DEFAULT 0,
    people INTEGER NOT NULL DEFAULT 0,
    endpoints INTEGER NOT NULL DEFAULT 0,
    delivered INTEGER NOT NULL DEFAULT 0,
    failed INTEGER NOT NULL DEFAULT 0,
    withdrawn INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX session_user ON session (user, expires_us);
CREATE INDEX endpoint_user ON endpoint (user);
CREATE INDEX endpoint_removed ON endpoint (removed_us) WHERE removed_us IS NOT NULL;
CREATE INDEX message_user ON message (user, seq);
CREATE INDEX message_waiting ON message (severity, due_us) WHERE state = 'waiting';
CREATE INDEX delivery_message ON delivery (message);
CREATE INDEX delivery_endpoint ON delivery (endpoint, state);
CREATE INDEX delivery_queued ON delivery (next_us) WHERE state = 'queued';
CREATE INDEX delivery_lane ON delivery (provider, priority, next_us, seq) WHERE state = 'queued';
CREATE INDEX delivery_expires ON delivery (expires_us) WHERE state = 'queued';
CREATE INDEX delivery_sending ON delivery (lease_us) WHERE state = 'sending';
CREATE INDEX command_device ON command (device, seq);
CREATE INDEX command_open ON command (seq) WHERE state < 4;
CREATE INDEX command_finished ON command (device, seq, state, answered, attempt, deadline_us, changed_us) WHERE state >= 4;
CREATE INDEX command_given_up ON command (device, seq)
    WHERE state >= 4 AND answered = 0 AND attempt > 0 AND (state = 9 OR cancel_requested = 1);
CREATE INDEX rule_version_deleted ON rule_version (time_us, rule) WHERE change = 'deleted';
CREATE INDEX silence_over ON silence (over_us);
CREATE INDEX told_alert_told ON told_alert (told);
CREATE INDEX message_group ON message (grp, user) WHERE grp IS NOT NULL;
CREATE INDEX message_alert_alert ON message_alert (alert, message);
CREATE INDEX alert_open ON alert (severity, seq) WHERE resolved_us IS NULL;
CREATE INDEX alert_resolved ON alert (seq) WHERE resolved_us IS NOT NULL;
CREATE INDEX alert_device ON alert (device_id, seq);
CREATE INDEX alert_rule ON alert (rule, seq);
CREATE INDEX alert_group ON alert (grp, seq) WHERE grp IS NOT NULL;
CREATE INDEX announcement_state ON announcement (state, not_before_us);
CREATE INDEX message_passed ON message (user, passed_us) WHERE passed_us IS NOT NULL;
CREATE INDEX delivery_held ON delivery (next_us) WHERE held IS NOT NULL AND held <> 'paused';
CREATE INDEX delivery_announcement ON delivery (announcement, state) WHERE announcement IS NOT NULL;
CREATE INDEX delivery_bulk ON delivery (announcement) WHERE announcement IS NOT NULL AND state = 'queued' AND held IS NULL;
CREATE TRIGGER announcement_progress AFTER UPDATE OF state ON delivery
WHEN NEW.announcement IS NOT NULL AND OLD.state IS NOT NEW.state BEGIN
    UPDATE announcement SET
        delivered = delivered + (NEW.state = 'delivered') - (OLD.state = 'delivered'),
        failed = failed + (NEW.state IN ('dead', 'dropped')) - (OLD.state IN ('dead', 'dropped')),
        withdrawn = withdrawn + (NEW.state IN ('withdrawn', 'digested')) - (OLD.state IN ('withdrawn', 'digested'))
    WHERE id = NEW.announcement;
END;
CREATE TRIGGER announcement_deleted AFTER DELETE ON delivery
WHEN OLD.announcement IS NOT NULL AND OLD.state IN ('queued', 'sending') BEGIN
    UPDATE announcement SET withdrawn = withdrawn + 1 WHERE id = OLD.announcement;
END;
PRAGMA user_version = 4;
