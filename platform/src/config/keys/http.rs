//! The keys of the top level and of `[http]`.

use crate::config::key::{DAY, Key, Kind, MIB, MINUTE, key};

pub(super) const HTTP: &[Key] = &[
    key("", "data_dir", Kind::Path, "pulsewire-data", "Data folder. Made if missing; one server at a time."),
    key("", "name", Kind::Text, "Pulsewire", "Name of this server, shown in the dashboard."),
    key(
        "http",
        "listen",
        Kind::Address,
        "127.0.0.1:8080",
        "Where people and services connect. Port 0 picks a free one.",
    ),
    key(
        "http",
        "public_url",
        Kind::Text,
        "",
        "How browsers reach the dashboard, when a proxy stands before it (`https://example.org`). Writes and live sockets from browsers must come from this origin or from the address asked for. With https, cookies are marked Secure.",
    ),
    key("http", "workers", Kind::Integer(1, 64), "2", "Threads that serve HTTP."),
    key("http", "body_bytes_max", Kind::Bytes(1024, 64 * MIB), "1MiB", "Largest request body; above it 413."),
    key(
        "http",
        "import_bytes_max",
        Kind::Bytes(1024, 1 << 50),
        "1GiB",
        "Largest file of one import, which is read as a stream; above it 413. A file whose size is announced is then refused as a whole; of another, part of what came before the limit may be stored, and the answer says up to which line.",
    ),
    key(
        "http",
        "connections_max",
        Kind::Integer(1, 1_000_000),
        "10000",
        "Most open HTTP connections per thread; further ones wait.",
    ),
    key("http", "session_ttl", Kind::Duration(MINUTE, 365 * DAY), "168h", "How long a sign-in is good."),
    key(
        "http",
        "sessions_per_user_max",
        Kind::Integer(1, 10_000),
        "50",
        "Most sign-ins of one user; the one that ends first is dropped.",
    ),
    key(
        "http",
        "sign_ins_per_minute",
        Kind::Integer(1, 10_000),
        "30",
        "Most sign-ins and changes of passwords per address (IPv6: per /64) and minute; above it 429 with Retry-After.",
    ),
    key(
        "http",
        "map_tiles_url",
        Kind::Text,
        "",
        "Tiles for the map of the dashboard: `https://tile.example.org/{z}/{x}/{y}.png` (Web Mercator, 256 pixels). With none the map asks nobody but this server. Else browsers ask that one, which then sees what area each of them looks at; everyone who is signed in can read the address, and a key in it. `http://` for this machine only.",
    ),
    key(
        "http",
        "map_tiles_attribution",
        Kind::Text,
        "",
        "Shown as text in the map's corner, such as `© OpenStreetMap contributors`; at most 200 characters.",
    ),
    key(
        "http",
        "map_tiles_zoom_max",
        Kind::Integer(0, 24),
        "19",
        "Deepest zoom that the tile server has; where the map goes deeper (it ends at 18), these tiles are drawn larger.",
    ),
];
