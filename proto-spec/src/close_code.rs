//! Close codes. SPEC §10.

use core::fmt;

macro_rules! close_codes {
    ($($(#[$doc:meta])* $variant:ident = $code:literal, $name:literal, $reconnect:literal;)+) => {
        /// Why a session ended. SPEC §10.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[repr(u16)]
        #[non_exhaustive]
        pub enum CloseCode {
            $($(#[$doc])* $variant = $code,)+
        }

        impl CloseCode {
            /// Every code, ascending.
            pub const ALL: &'static [CloseCode] = &[$(CloseCode::$variant,)+];

            /// The code with this number; `None` if this version does not know it.
            pub const fn from_u16(code: u16) -> Option<CloseCode> {
                match code { $($code => Some(CloseCode::$variant),)+ _ => None }
            }

            /// The name in SPEC §10, for logs and metrics.
            pub const fn name(self) -> &'static str {
                match self { $(CloseCode::$variant => $name,)+ }
            }

            /// Whether trying again can help, as the table of SPEC §10 says. A sender may know better in a single case.
            pub const fn reconnect(self) -> bool {
                match self { $(CloseCode::$variant => $reconnect,)+ }
            }
        }
    };
}

close_codes! {
    /// The sender is done.
    Normal = 1000, "normal", false;
    /// The server stops or restarts.
    GoingAway = 1001, "going_away", true;
    /// A WebSocket text message.
    TextMessage = 1003, "text_message", false;
    /// Login was not complete in time.
    LoginTimeout = 4001, "login_timeout", true;
    /// A message before login.
    LoginFirst = 4002, "login_first", false;
    /// Device id or secret is not accepted.
    BadCredentials = 4003, "bad_credentials", false;
    /// No common protocol version.
    UnsupportedVersion = 4004, "unsupported_version", false;
    /// Not this protocol.
    BadMagic = 4005, "bad_magic", false;
    /// A payload above the limit.
    FrameTooLarge = 4006, "frame_too_large", false;
    /// A payload that breaks its layout, or a message out of place.
    Malformed = 4007, "malformed", false;
    /// No sign of life in time.
    HeartbeatMissed = 4008, "heartbeat_missed", true;
    /// A newer session of the same device took over.
    Superseded = 4009, "superseded", false;
    /// A report names a set that was not declared.
    UnknownMetricSet = 4010, "unknown_metric_set", true;
    /// A report leaves sequences out.
    SequenceGap = 4011, "sequence_gap", true;
    /// One sequence with two contents.
    Clone = 4012, "clone", false;
    /// More in flight than the window allows.
    WindowExceeded = 4013, "window_exceeded", true;
    /// Limit of connections per address or in all.
    TooManyConnections = 4014, "too_many_connections", true;
    /// A stream that was not opened by this device.
    UnknownStream = 4015, "unknown_stream", true;
    /// This login needs TLS.
    PlaintextRefused = 4016, "plaintext_refused", false;
    /// Device disabled or deleted, secret replaced, or sign-in ended.
    Revoked = 4017, "revoked", false;
    /// Nothing unacknowledged was stored.
    StorageUnavailable = 4018, "storage_unavailable", true;
    /// A defect of the server.
    Internal = 4019, "internal", true;
    /// The viewer took nothing for too long.
    SlowReader = 4020, "slow_reader", true;
    /// Streams or metric sets above the limit.
    TooManyDeclared = 4021, "too_many_declared", false;
}

impl CloseCode {
    /// The number on the wire.
    pub const fn as_u16(self) -> u16 {
        self as u16
    }

    /// Whether to try again after a CLOSE with this number and `reconnect` field: an unknown code below 4000 is final,
    /// everything else goes by the field. SPEC §10.
    pub const fn reconnect_after(code: u16, field: bool) -> bool {
        match CloseCode::from_u16(code) {
            None if code < 4000 => false,
            _ => field,
        }
    }
}

impl fmt::Display for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.as_u16(), self.name())
    }
}
