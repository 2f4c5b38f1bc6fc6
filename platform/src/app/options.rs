//! The parts of the configuration as the services take them.

use crate::alerting::{AlertingOptions, BacktestOptions};
use crate::commands::CommandsOptions;
use crate::config::Config;
use crate::hub::HubOptions;
use crate::ingest::IngestOptions;
use crate::live::LiveOptions;
use crate::live::fanout::FanoutLimits;
use crate::outbox::OutboxOptions;
use pulsewire_core::alert::EngineLimits;
use pulsewire_core::notice::NoticePolicy;
use std::time::Duration;

pub(super) fn ingest_options(config: &Config) -> IngestOptions {
    IngestOptions {
        queue_reports: config.ingest.queue_reports,
        queue_bytes: config.ingest.queue_bytes,
        series_max: config.ingest.series_max,
        series_per_device_max: config.ingest.series_per_device_max,
        streams_per_device_max: config.ingest.streams_per_device_max,
        time_ahead_max_us: micros(config.ingest.time_ahead_max),
    }
}

pub(super) fn alerting_options(config: &Config) -> AlertingOptions {
    let alerting = &config.alerting;
    AlertingOptions {
        rules_max: alerting.rules_max,
        limits: EngineLimits {
            gap_max_us: micros(alerting.gap_max),
            lateness_max_us: micros(alerting.lateness_max),
            ahead_max_us: micros(alerting.ahead_max),
            alerts_per_rule_max: alerting.alerts_per_rule_max,
            group_silence_share: f64::from(alerting.group_silence_percent) / 100.0,
            group_silence_window_us: micros(alerting.group_silence_window),
        },
        policy: NoticePolicy {
            grace_us: micros(config.push.grace),
            ttl_us: [config.push.ttl_info, config.push.ttl_warning, config.push.ttl_critical].map(micros),
        },
        history_alerts: alerting.history_alerts,
        rule_versions_max: alerting.rule_versions_max,
        notifications_max: alerting.notifications_max,
    }
}

pub(super) fn backtest_options(config: &Config) -> BacktestOptions {
    BacktestOptions {
        backtests_max: config.alerting.backtests_max,
        samples_max: config.alerting.backtest_samples_max,
        limits: alerting_options(config).limits,
    }
}

pub(super) fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

pub(super) fn commands_options(config: &Config) -> CommandsOptions {
    let commands = &config.commands;
    CommandsOptions {
        lease: commands.lease,
        attempts_max: commands.attempts_max,
        queued_per_device_max: commands.queued_per_device_max,
        history_per_device: commands.history_per_device,
        queue_requests: commands.queue_requests,
    }
}

pub(super) fn live_options(config: &Config) -> LiveOptions {
    let live = &config.live;
    LiveOptions {
        viewers_max: live.viewers_max,
        viewers_per_user_max: live.viewers_per_user_max,
        viewers_per_address_max: live.viewers_per_address_max,
        heartbeat_interval: live.heartbeat_interval,
        interval_min: live.interval_min,
        subscriptions_max: live.subscriptions_max,
        subscriptions_per_user_max: live.subscriptions_per_user_max,
        subscribe_wait: live.subscribe_wait,
        resume_records_max: live.resume_records_max,
        resumes_max: live.resumes_max,
        events_kept_max: live.events_kept_max,
        history_samples_max: live.history_samples_max,
        slow_reader_timeout: live.slow_reader_timeout,
        snapshot_reuse: live.snapshot_reuse,
        stale_after: config.device.stale_after,
        fanout: FanoutLimits {
            series_max: live.series_max,
            inputs_max: live.across_inputs_max,
            views_max: live.views_max,
            view_series_max: live.view_series_max,
            view_linger_us: micros(live.view_linger).unsigned_abs(),
            idle_series_max: live.idle_series_max,
            pending_samples_max: live.pending_samples_max,
            ring_frames: live.ring_frames,
            ring_bytes_max: live.ring_bytes_max,
            rings_bytes_max: live.rings_bytes_max,
            slow_interval_us: micros(live.slow_interval_max).unsigned_abs(),
            across_stale_us: micros(live.across_stale_after),
        },
    }
}

pub(super) fn outbox_options(config: &Config) -> OutboxOptions {
    let push = &config.push;
    OutboxOptions {
        workers: push.workers,
        per_origin_max: push.per_origin_max,
        per_origin_rate: push.per_origin_rate,
        bulk_queue_max: push.bulk_queue_max,
        lease: push.lease,
        attempts_max: push.attempts_max,
        history_per_user: push.history_per_user,
        endpoints_per_user_max: push.endpoints_per_user_max,
        endpoint_idle_max: push.endpoint_idle_max,
    }
}

pub(super) fn hub_options(config: &Config) -> HubOptions {
    let device = &config.device;
    HubOptions {
        connections_max: device.connections_max,
        connections_per_address_max: device.connections_per_address_max,
        login_timeout: device.login_timeout,
        write_timeout: device.write_timeout,
        heartbeat_interval: device.heartbeat_interval,
        frame_bytes_max: device.frame_bytes_max,
        window_frames: device.window_frames,
        window_bytes: device.window_bytes,
        allow_plaintext: device.allow_plaintext,
        tls: device.tls.clone(),
        binding_certificate: device.binding_certificate.clone(),
    }
}
