//! `http.map_tiles_…`: where browsers get the tiles of the map.

use super::Reader;
use super::email::is_local;
use crate::config::MapTiles;

/// Browsers and tile servers take more; it is filled in for every tile.
const URL_BYTES_MAX: usize = 500;
/// It stands in a corner of the map.
const ATTRIBUTION_CHARS_MAX: usize = 200;
/// What is filled in: zoom, column and row.
const PLACEHOLDERS: [&str; 3] = ["{z}", "{x}", "{y}"];

/// Scheme, host and port of a template, or what is wrong with it.
fn origin(url: &str) -> Result<String, String> {
    if url.len() > URL_BYTES_MAX {
        return Err(format!("is longer than {URL_BYTES_MAX} bytes"));
    }
    let (scheme, rest) = match (url.strip_prefix("https://"), url.strip_prefix("http://")) {
        (Some(rest), _) => ("https", rest),
        (_, Some(rest)) => ("http", rest),
        _ => return Err("does not begin with https://".into()),
    };
    let is_part = |b: u8| b.is_ascii_alphanumeric() || b"-._~:/?@!$&'()*+,;=%{}".contains(&b);
    if !rest.bytes().all(is_part) {
        return Err("has a character that cannot be in an address, or a fragment".into());
    }
    let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let (host, port) = authority.split_once(':').map_or((authority, None), |(host, port)| (host, Some(port)));
    let is_label =
        |label: &str| !label.is_empty() && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
    if host.len() > 253 || !host.split('.').all(is_label) {
        // A Content-Security-Policy cannot name an IPv6 address, so no page could load its tiles.
        return Err("has no host that is a name or an IPv4 address".into());
    }
    // Whatever ends in a number is an address to a browser, or no host at all.
    let ends_in_digits = host.rsplit('.').next().is_some_and(|label| label.bytes().all(|b| b.is_ascii_digit()));
    if ends_in_digits && host.parse::<std::net::Ipv4Addr>().is_err() {
        return Err("has no host that is a name or an IPv4 address".into());
    }
    let is_port = |port: &str| port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|n| n > 0);
    if port.is_some_and(|port| !is_port(port)) {
        return Err("has no valid port".into());
    }
    if scheme == "http" && !is_local(host) {
        return Err("is without TLS to another machine".into());
    }
    if !PLACEHOLDERS.iter().all(|one| path.contains(one)) {
        return Err("does not have all of {z}, {x} and {y} in its path".into());
    }
    if PLACEHOLDERS.iter().fold(path.to_owned(), |path, one| path.replace(one, "")).contains(['{', '}']) {
        return Err("has braces around something else than z, x and y".into());
    }
    Ok(format!("{scheme}://{}", authority.to_ascii_lowercase()))
}

/// True if there is a user before the host, perhaps with a password.
fn has_user(url: &str) -> bool {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.split(['/', '?', '\\']).next().is_some_and(|authority| authority.contains('@'))
}

impl Reader {
    pub(super) fn map_tiles(&mut self) -> Option<MapTiles> {
        let (url, attribution) = (self.text("http.map_tiles_url"), self.text("http.map_tiles_attribution"));
        if attribution.chars().count() > ATTRIBUTION_CHARS_MAX || attribution.chars().any(char::is_control) {
            self.mistakes.push(format!(
                "http.map_tiles_attribution is {attribution:?}; at most {ATTRIBUTION_CHARS_MAX} characters in one line \
                 are wanted"
            ));
        }
        if url.is_empty() {
            return None;
        }
        if has_user(&url) {
            // Not repeated: it may carry a password, which every page would be told.
            self.mistakes.push("http.map_tiles_url carries a user; an address without one is wanted".into());
            return None;
        }
        match origin(&url) {
            Ok(origin) => {
                Some(MapTiles { url, origin, attribution, zoom_max: self.integer("http.map_tiles_zoom_max") })
            }
            Err(why) => {
                self.mistakes.push(format!(
                    "http.map_tiles_url is {url:?}, which {why}; an address like \
                     https://tile.example.org/{{z}}/{{x}}/{{y}}.png is wanted (http:// for this machine only)"
                ));
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::config::{Config, Overrides};

    fn read(url: &str, more: &str) -> Result<Option<String>, Vec<String>> {
        let file = format!("[http]\nmap_tiles_url = '{url}'\n{more}");
        let config = Config::read(&file, &Overrides::default()).map_err(|mistakes| mistakes.0)?;
        Ok(config.http.map_tiles.map(|tiles| tiles.origin))
    }

    #[test]
    fn tiles_come_over_tls_or_from_this_machine_and_from_one_origin() {
        for (url, origin) in [
            ("https://tile.example.org/{z}/{x}/{y}.png", "https://tile.example.org"),
            ("https://Tile.Example.org:8443/a/{z}/{y}/{x}@2x.jpg?key=a;b,c", "https://tile.example.org:8443"),
            ("https://tile.example.org?z={z}&x={x}&y={y}", "https://tile.example.org"),
            ("https://192.168.1.7/{z}/{x}/{y}", "https://192.168.1.7"),
            ("http://127.0.0.1:8090/{z}/{x}/{y}.png", "http://127.0.0.1:8090"),
            ("http://localhost/{z}/{x}/{y}.png", "http://localhost"),
        ] {
            assert_eq!(read(url, ""), Ok(Some(origin.to_owned())), "{url}");
        }
        assert_eq!(read("", "map_tiles_attribution = 'nobody'"), Ok(None));
    }

    #[test]
    fn what_is_no_template_of_tiles_is_a_mistake_that_says_what_is_wanted() {
        let long = format!("https://tile.example.org/{}/{{z}}/{{x}}/{{y}}", "a".repeat(500));
        for (url, word) in [
            ("tile.example.org/{z}/{x}/{y}", "https://"),
            ("ftp://tile.example.org/{z}/{x}/{y}", "https://"),
            ("http://tile.example.org/{z}/{x}/{y}", "without TLS"),
            ("http://localhost.example.org/{z}/{x}/{y}", "without TLS"),
            ("https:///{z}/{x}/{y}", "no host"),
            ("https://*.example.org/{z}/{x}/{y}", "no host"),
            ("https://999.1.1.1/{z}/{x}/{y}", "no host"),
            ("https://tile.example.1/{z}/{x}/{y}", "no host"),
            ("https://{s}.example.org/{z}/{x}/{y}", "no host"),
            ("https://a;script-src/{z}/{x}/{y}", "no host"),
            ("https://[::1]/{z}/{x}/{y}", "character"),
            ("https://tile.example.org:0/{z}/{x}/{y}", "port"),
            ("https://tile.example.org:+1/{z}/{x}/{y}", "port"),
            ("https://tile.example.org/{z}/{x}/{y} x", "character"),
            ("https://tile.example.org/{z}/{x}/{y}#a", "character"),
            ("https://tile.example.org\\a/{z}/{x}/{y}", "character"),
            ("https://tile.example.org/{z}/{x}.png", "{y}"),
            ("https://tile.example.org", "{y}"),
            ("https://tile.example.org/{z}/{x}/{y}{r}.png", "braces"),
            (&long, "500"),
        ] {
            let found = read(url, "").expect_err("a mistake");
            let says = |word: &str| found.first().is_some_and(|text| text.contains(word));
            assert!(
                found.len() == 1 && says("http.map_tiles_url") && says(word) && says("is wanted"),
                "{url}: {found:?}"
            );
        }
        let found = read("https://user:secret@tile.example.org/{z}/{x}/{y}", "").expect_err("a mistake");
        assert!(found.len() == 1 && found[0].contains("carries a user") && !found[0].contains("secret"), "{found:?}");
        let good = "https://tile.example.org/{z}/{x}/{y}";
        for more in
            [format!("map_tiles_attribution = '{}'", "©".repeat(201)), "map_tiles_attribution = \"a\\nb\"".into()]
        {
            let found = read(good, &more).expect_err("a mistake");
            assert!(found.len() == 1 && found[0].contains("map_tiles_attribution"), "{found:?}");
        }
        assert!(
            read(good, "map_tiles_zoom_max = 25").is_err()
                && read(good, &format!("map_tiles_attribution = '{}'", "©".repeat(200))).is_ok()
        );
    }
}
