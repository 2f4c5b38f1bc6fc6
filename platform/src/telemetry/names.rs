//! Every metric of the server. Names end in a unit or in `_total`; labels are few and never ids.

macro_rules! names {
    ($($(#[doc = $doc:literal])+ $name:ident = $text:literal ($kind:ident);)+) => {
        $($(#[doc = $doc])+ pub const $name: &str = $text;)+

        /// Gives the recorder each metric's description, from the comments of this list.
        pub fn describe() {
            $(metrics::$kind!($text, concat!($($doc),+).trim());)+
        }

        /// The metric names, for the documentation test.
        pub const ALL: &[&str] = &[$($text),+];
    };
}

names! {
    /// Device connections accepted.
    CONNECTIONS = "pulsewire_device_connections_total" (describe_counter);
    /// WebSocket upgrades refused on the device port: wrong path, wrong subprotocol, or a browser's Origin.
    UPGRADES_REFUSED = "pulsewire_device_upgrades_refused_total" (describe_counter);
    /// Device sessions now logged in.
    SESSIONS = "pulsewire_device_sessions" (describe_gauge);
    /// Device sessions and viewer sockets closed by the server, by close code name.
    CLOSED = "pulsewire_closed_total" (describe_counter);
    /// Frames received from devices.
    FRAMES = "pulsewire_device_frames_total" (describe_counter);
    /// Frames of unknown type, skipped.
    FRAMES_UNKNOWN = "pulsewire_frames_unknown_total" (describe_counter);
    /// Reports stored.
    REPORTS_STORED = "pulsewire_reports_stored_total" (describe_counter);
    /// Reports that came again and were not stored twice.
    REPORTS_DUPLICATE = "pulsewire_reports_duplicate_total" (describe_counter);
    /// Reports that devices declared as lost.
    REPORTS_SKIPPED = "pulsewire_reports_skipped_total" (describe_counter);
    /// Values that arrived: stored, duplicate, rejected and dropped ones together.
    SAMPLES_RECEIVED = "pulsewire_samples_received_total" (describe_counter);
    /// Values of reports that came again; they are stored once.
    SAMPLES_DUPLICATE = "pulsewire_samples_duplicate_total" (describe_counter);
    /// Stored live values that were older than the newest of their device when they came.
    SAMPLES_LATE = "pulsewire_samples_late_total" (describe_counter);
    /// Values stored.
    SAMPLES_STORED = "pulsewire_samples_stored_total" (describe_counter);
    /// Stored values that replaced one of the same time.
    SAMPLES_REPLACED = "pulsewire_samples_replaced_total" (describe_counter);
    /// Values not stored and never to be, by reason.
    SAMPLES_REJECTED = "pulsewire_samples_rejected_total" (describe_counter);
    /// Values neither stored nor acknowledged, by reason; their device sends them again.
    SAMPLES_DROPPED = "pulsewire_samples_dropped_total" (describe_counter);
    /// Time from handing a batch to the journal until it is synced.
    COMMIT_SECONDS = "pulsewire_journal_commit_seconds" (describe_histogram);
    /// Batches of which nothing was stored.
    COMMITS_FAILED = "pulsewire_journal_commits_failed_total" (describe_counter);
    /// Bytes of journal records.
    STORE_JOURNAL_BYTES = "pulsewire_store_journal_bytes" (describe_gauge);
    /// Bytes of memory for samples that are not sealed into chunks yet.
    STORE_HEADS_BYTES = "pulsewire_store_heads_bytes" (describe_gauge);
    /// Bytes that the telemetry takes on disk.
    STORE_DISK_BYTES = "pulsewire_store_disk_bytes" (describe_gauge);
    /// Chunks written.
    STORE_CHUNKS = "pulsewire_store_chunks_total" (describe_counter);
    /// Samples sealed into chunks.
    STORE_SEALED = "pulsewire_store_sealed_samples_total" (describe_counter);
    /// Damaged chunks and journal records found since the start; at most 100 are counted.
    STORE_DAMAGED = "pulsewire_store_damaged_total" (describe_counter);
    /// 1 while samples cannot be sealed, for example because the disk is full.
    STORE_FAILING = "pulsewire_store_failing" (describe_gauge);
    /// Viewer sockets now open.
    VIEWERS = "pulsewire_live_viewers" (describe_gauge);
    /// Samples sent to viewers.
    LIVE_SAMPLES = "pulsewire_live_samples_total" (describe_counter);
    /// Samples that a viewer was too slow for; it was told of the gap.
    LIVE_DROPPED = "pulsewire_live_samples_dropped_total" (describe_counter);
    /// Frames made by ticks of views, each once for all who share the view.
    LIVE_FRAMES_ENCODED = "pulsewire_live_frames_encoded_total" (describe_counter);
    /// Frames sent to viewers.
    LIVE_FRAMES_SENT = "pulsewire_live_frames_sent_total" (describe_counter);
    /// Bytes sent to viewers.
    LIVE_BYTES = "pulsewire_live_sent_bytes_total" (describe_counter);
    /// Snapshots made for viewers that subscribe, each once for all who come about then.
    LIVE_SNAPSHOTS = "pulsewire_live_snapshots_encoded_total" (describe_counter);
    /// Frames made for viewers that were behind, with the newest of what they missed.
    LIVE_CATCH_UPS = "pulsewire_live_catch_ups_encoded_total" (describe_counter);
    /// Times that a viewer was told that changes of alerts, commands or presence are missing.
    LIVE_EVENTS_LOST = "pulsewire_live_events_lost_total" (describe_counter);
    /// Different subscriptions that are served; equal ones count once.
    LIVE_VIEWS = "pulsewire_live_views_open" (describe_gauge);
    /// Series whose newest sample is kept for viewers.
    LIVE_SERIES = "pulsewire_live_series_open" (describe_gauge);
    /// Changes of commands that were stored, by the state that they led to.
    COMMANDS = "pulsewire_commands_total" (describe_counter);
    /// Commands that are not finished.
    COMMANDS_OPEN = "pulsewire_commands_open" (describe_gauge);
    /// Messages of devices about commands that they were not sent, or too late to matter.
    COMMANDS_IGNORED = "pulsewire_command_messages_ignored_total" (describe_counter);
    /// Time from a command's storing until its device has it.
    COMMAND_DELIVERY_SECONDS = "pulsewire_command_delivery_seconds" (describe_histogram);
    /// HTTP requests by status class.
    HTTP_REQUESTS = "pulsewire_http_requests_total" (describe_counter);
    /// HTTP requests refused, by problem code.
    HTTP_PROBLEMS = "pulsewire_http_problems_total" (describe_counter);
    /// Samples that a rule judged.
    ALERTING_SAMPLES = "pulsewire_alerting_samples_total" (describe_counter);
    /// Samples too late to be judged.
    ALERTING_LATE = "pulsewire_alerting_late_samples_total" (describe_counter);
    /// Journal records that no rule judged, because they were not kept or are damaged.
    ALERTING_LOST = "pulsewire_alerting_lost_records_total" (describe_counter);
    /// Alerts that fire now.
    ALERTS_OPEN = "pulsewire_alerts_open" (describe_gauge);
    /// Changes of alerts, by kind: fired, acknowledged, unacknowledged, resolved.
    ALERT_CHANGES = "pulsewire_alert_changes_total" (describe_counter);
    /// Answers of push providers, by channel and what follows from them.
    PUSH_VERDICTS = "pulsewire_push_verdicts_total" (describe_counter);
    /// Messages that were not pushed, by reason.
    PUSH_SUPPRESSED = "pulsewire_push_suppressed_total" (describe_counter);
    /// Time that push providers take to answer.
    PUSH_SECONDS = "pulsewire_push_request_seconds" (describe_histogram);
    /// Endpoints removed because their provider said that they are gone.
    PUSH_ENDPOINTS_REMOVED = "pulsewire_push_endpoints_removed_total" (describe_counter);
}
