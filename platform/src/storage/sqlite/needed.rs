//! Whether a message is still needed, by its alerts and by what its user was told before. In all of this SQL `m` is the message.

/// True if the message has alerts and none of them, as `a`, is so. Alerts that are not in the store any more were over long ago.
/// Of a message that tells more alerts than are kept with it, nothing is known.
macro_rules! no_alert {
    ($so:literal) => {
        concat!(
            "(m.left_out = 0
              AND EXISTS (SELECT 1 FROM message_alert x JOIN alert a ON a.id = x.alert WHERE x.message = m.id)
              AND NOT EXISTS (SELECT 1 FROM message_alert x JOIN alert a ON a.id = x.alert WHERE x.message = m.id AND ",
            $so,
            "))"
        )
    };
}

/// True if the delivery `d` was taken, is being sent, or may have arrived.
macro_rules! itself {
    () => {
        "(d.state IN ('delivered', 'sending')
          OR EXISTS (SELECT 1 FROM delivery_event e WHERE e.delivery = d.id AND e.event = 'unclear'))"
    };
}

/// True if the delivery `d` was told together with others, or will be.
macro_rules! together {
    () => {
        "(d.state = 'digested' AND NOT EXISTS (SELECT 1 FROM delivery g WHERE g.message = d.digest AND g.endpoint = d.endpoint
                                               AND g.state IN ('dead', 'dropped', 'withdrawn')))"
    };
}

/// True if a message has a delivery that is so, of all or of one endpoint.
macro_rules! told {
    ($message:literal) => {
        told!($message, "", concat!("(", itself!(), " OR ", together!(), ")"))
    };
    ($message:literal, $there:literal, $how:expr) => {
        concat!("EXISTS (SELECT 1 FROM delivery d WHERE d.message = ", $message, ".id", $there, " AND ", $how, ")")
    };
}

/// True if, since the message, its user got an alarm `f` of alert `x` that is so.
macro_rules! newer_alarm {
    ($so:expr) => {
        concat!(
            "EXISTS (SELECT 1 FROM message_alert y CROSS JOIN message f ON f.id = y.message
                     WHERE y.alert = x.alert AND f.user = m.user AND f.kind = 'firing' AND f.seq > m.seq AND ",
            $so,
            ")"
        )
    };
}

/// The delivery `d` was taken, is being sent, or may have arrived.
pub(super) const ITSELF: &str = itself!();
/// All its alerts are over.
pub(super) const OVER: &str = no_alert!("a.resolved_us IS NULL");
/// All are over, or someone takes care.
pub(super) const CARED_FOR: &str = no_alert!("a.resolved_us IS NULL AND a.ack_us IS NULL");
/// The same, but who replays an alarm of an acknowledged alert wants it all the same.
pub(super) const CARED_FOR_SINCE: &str =
    no_alert!("a.resolved_us IS NULL AND (a.ack_us IS NULL OR a.ack_us < m.replayed_us)");

/// There is an alarm `f` of the same group, before the message, of one of its alerts, that is so; if not all of their alerts are
/// known, any alarm of the group.
macro_rules! alarm_before {
    ($so:expr) => {
        concat!(
            "(EXISTS (SELECT 1 FROM message_alert x CROSS JOIN message_alert y ON y.alert = x.alert
                      CROSS JOIN message f ON f.id = y.message
                      WHERE x.message = m.id AND f.grp = m.grp AND f.user = m.user AND f.kind = 'firing' AND f.seq < m.seq AND ",
            $so,
            ") OR EXISTS (SELECT 1 FROM message f WHERE f.grp = m.grp AND f.user = m.user AND f.kind = 'firing' AND f.seq < m.seq
                      AND (f.left_out > 0 OR m.left_out > 0) AND ",
            $so,
            "))"
        )
    };
}

/// The user was told of what is over now.
const TOLD: &str = alarm_before!(told!("f"));
/// The endpoint ?2 was told of it by a message that it shows.
pub(super) const SHOWN_THERE: &str = alarm_before!(told!("f", " AND d.endpoint = ?2", itself!()));
/// The endpoint ?2 was told of it together with others.
pub(super) const TOLD_TOGETHER_THERE: &str = alarm_before!(told!("f", " AND d.endpoint = ?2", together!()));

/// Messages that wait, with what decides about them.
pub(super) fn waiting_sql(filter: &str) -> String {
    format!(
        "SELECT m.id, m.user, m.kind, m.created_us, m.due_us, m.expires_us, m.event_us,
             {CARED_FOR} AS acknowledged, {OVER} AS resolved,
             CASE WHEN m.kind = 'resolved' THEN {TOLD} ELSE 0 END AS told,
             EXISTS (SELECT 1 FROM delivery d WHERE d.message = m.id AND d.state = 'queued') AS has_endpoint
         FROM message m WHERE m.state = 'waiting' AND {filter}"
    )
}

/// The oldest messages of user ?1 that are done go, above ?2 of them. An alarm that was on its way stays while one of its alerts
/// fires, or its end is not decided: whether the end is told depends on whether the alarm was. Of the alarms of an alert that is
/// told again and again, only the newest stays for that, and the newest that was told.
pub(super) const PRUNE: &str = concat!(
    "DELETE FROM message AS m WHERE user = ?1 AND state = 'done' AND seq <=
         (SELECT seq FROM message WHERE user = ?1 ORDER BY seq DESC LIMIT 1 OFFSET ?2)
     AND NOT (kind = 'firing' AND EXISTS (SELECT 1 FROM delivery d WHERE d.message = m.id) AND (
         EXISTS (SELECT 1 FROM message r WHERE r.grp = m.grp AND r.user = ?1 AND r.state = 'waiting')
         OR EXISTS (SELECT 1 FROM message_alert x JOIN alert a ON a.id = x.alert
                    WHERE x.message = m.id AND a.resolved_us IS NULL AND (NOT ",
    newer_alarm!("EXISTS (SELECT 1 FROM delivery d WHERE d.message = f.id)"),
    " OR (",
    told!("m"),
    " AND NOT ",
    newer_alarm!(told!("f")),
    ")))))"
);
