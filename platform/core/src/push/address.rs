//! Whether an address given for messages can be one.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Longest URL of a browser's subscription.
pub const URL_BYTES_MAX: usize = 2048;
/// Hex digits of an APNs device token.
pub const APNS_TOKEN_CHARS: std::ops::RangeInclusive<usize> = 64..=200;
/// Longest registration token of FCM.
pub const FCM_TOKEN_CHARS_MAX: usize = 4096;

/// Why an address is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// It is not one. The text never repeats the address.
    #[error("{0}")]
    Malformed(&'static str),
    /// It leads into a network that is not the internet.
    #[error("the URL's host is a private, local or reserved address; push services have public ones")]
    Private,
}

/// Whether an address is one of the public internet's, that is: none of the ranges that IANA has set aside for private,
/// local, shared, documentation, benchmark, multicast and other special use.
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => is_public_v4(v4),
        IpAddr::V6(v6) => is_public_v6(v6),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let special = address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_broadcast()
        || address.is_documentation()
        || address.is_multicast();
    let shared = a == 100 && (64..128).contains(&b);
    let benchmark = a == 198 && (b == 18 || b == 19);
    let protocol = (a, b, c) == (192, 0, 0) || (a, b, c) == (192, 88, 99);
    !(special || shared || benchmark || protocol || a == 0 || a >= 240)
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    if let Some(v4) = address.to_ipv4_mapped() {
        return is_public_v4(v4);
    }
    let s = address.segments();
    // NAT64 and 6to4 carry an IPv4 address; what that is decides.
    let v4 = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        is_public_v4(Ipv4Addr::new(a, b, c, d))
    };
    match s {
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => v4(high, low),
        [0x2002, high, low, ..] => v4(high, low),
        // Documentation, benchmarks, ORCHID, Teredo.
        [0x2001, 0xdb8, ..] | [0x3fff, 0..=0x0fff, ..] | [0x2001, 0..=0x01ff, ..] => false,
        // All that is handed out to the public begins with 001.
        [first, ..] => first & 0xe000 == 0x2000,
    }
}

/// Checks the URL of a browser's subscription as far as it can be without asking anyone, and answers its origin in the form
/// `https://host` or `https://host:port`. Names are looked up and judged at each connection.
///
/// # Errors
/// [`AddressError`].
pub fn webpush_url(url: &str, allow_private: bool) -> Result<String, AddressError> {
    let wrong = |what| Err(AddressError::Malformed(what));
    if url.len() > URL_BYTES_MAX {
        return wrong("the URL is longer than 2048 bytes");
    }
    if !url.bytes().all(|b| b.is_ascii_graphic()) {
        return wrong("the URL must be of printable ASCII characters without spaces");
    }
    let Some(rest) = url.strip_prefix("https://") else { return wrong("the URL must begin with https://") };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if authority.contains(['@', '\\']) {
        return wrong("the URL must not carry a user name");
    }
    if rest.contains('#') {
        return wrong("the URL must not carry a fragment");
    }
    let (host, port) = match authority.strip_prefix('[') {
        Some(v6) => match v6.split_once(']') {
            Some((host, "")) => (host, None),
            Some((host, port)) if port.starts_with(':') => (host, Some(&port[1..])),
            _ => return wrong("the URL's host is not valid"),
        },
        None => authority.split_once(':').map_or((authority, None), |(host, port)| (host, Some(port))),
    };
    let port = match port.map(str::parse::<u16>) {
        None => 443,
        Some(Ok(port)) => port,
        Some(Err(_)) => return wrong("the URL's port is not a number from 1 to 65535"),
    };
    // Below 1024 are the ports of other services, which must not be reached through here.
    if port != 443 && (port < 1024 && !allow_private || port == 0) {
        return wrong("the URL's port must be 443, or 1024 and above");
    }
    let is_v6 = authority.starts_with('[');
    let literal = if is_v6 { host.parse().map(IpAddr::V6).ok() } else { host.parse().map(IpAddr::V4).ok() };
    match literal {
        Some(address) if !allow_private && !is_public(address) => return Err(AddressError::Private),
        Some(_) => {}
        None if is_v6 => return wrong("the URL's host is not valid"),
        None => check_name(host, allow_private)?,
    }
    // As RFC 6454 writes origins, and everyone a host: without the usual port, and without the root's point.
    let host = if is_v6 { format!("[{host}]") } else { host.strip_suffix('.').unwrap_or(host).to_owned() };
    let port = if port == 443 { String::new() } else { format!(":{port}") };
    Ok(format!("https://{}{port}", host.to_ascii_lowercase()))
}

/// The host of such an origin: its ports are one provider, so that nobody gets more room by naming several.
pub fn host_of(origin: &str) -> &str {
    let authority = origin.strip_prefix("https://").unwrap_or(origin);
    match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => host,
        _ => authority,
    }
}

fn check_name(host: &str, allow_private: bool) -> Result<(), AddressError> {
    let label = |l: &str| {
        (1..=63).contains(&l.len()) && l.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
    };
    let name = host.strip_suffix('.').unwrap_or(host);
    if name.len() > 253 || !name.split('.').all(label) {
        return Err(AddressError::Malformed("the URL's host is not valid"));
    }
    // `127.1` or `2130706433` are addresses to some resolvers; no public name ends in digits.
    let last = name.rsplit('.').next().unwrap_or_default();
    if last.bytes().all(|b| b.is_ascii_digit()) || last.get(..2).is_some_and(|x| x.eq_ignore_ascii_case("0x")) {
        return Err(AddressError::Malformed("the URL's host is not valid"));
    }
    let local = ["localhost", "local", "internal", "lan", "home", "corp"];
    if !allow_private && (!name.contains('.') || local.iter().any(|end| last.eq_ignore_ascii_case(end))) {
        return Err(AddressError::Private);
    }
    Ok(())
}

/// Checks an APNs device token; answers it in small letters, as the provider compares it.
///
/// # Errors
/// [`AddressError`].
pub fn apns_token(token: &str) -> Result<String, AddressError> {
    if !APNS_TOKEN_CHARS.contains(&token.len()) || !token.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(AddressError::Malformed("an APNs device token is 64 to 200 hex digits"));
    }
    Ok(token.to_ascii_lowercase())
}

/// Checks a registration token of FCM.
///
/// # Errors
/// [`AddressError`].
pub fn fcm_token(token: &str) -> Result<String, AddressError> {
    if !(1..=FCM_TOKEN_CHARS_MAX).contains(&token.len()) || !token.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(AddressError::Malformed("an FCM registration token is 1 to 4096 printable characters"));
    }
    Ok(token.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn special_addresses_are_not_public() {
        for special in [
            "0.0.0.0",
            "10.1.2.3",
            "100.64.0.1",
            "127.0.0.1",
            "169.254.169.254",
            "172.16.0.1",
            "192.0.0.1",
            "192.0.2.1",
            "192.168.1.1",
            "198.18.0.1",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::10.0.0.1",
            "64:ff9b::a00:1",
            "2002:7f00:1::",
            "fc00::1",
            "fd12::1",
            "fe80::1",
            "ff02::1",
            "2001:db8::1",
            "2001::1",
            "100::1",
        ] {
            assert!(!is_public(special.parse().expect("an address")), "{special}");
        }
        for public in ["8.8.8.8", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"]
        {
            assert!(is_public(public.parse().expect("an address")), "{public}");
        }
    }

    #[test]
    fn a_subscription_is_at_a_public_https_address() {
        let origin = |url| webpush_url(url, false);
        assert_eq!(origin("https://Push.Example.com/a?b=c"), Ok("https://push.example.com".into()));
        assert_eq!(origin("https://push.example.com:8443/a"), Ok("https://push.example.com:8443".into()));
        assert_eq!(origin("https://push.example.com.:443/a"), Ok("https://push.example.com".into()));
        assert_eq!(origin("https://[2606:4700::1111]:443/a"), Ok("https://[2606:4700::1111]".into()));
        for (origin, host) in [
            ("https://a.b", "a.b"),
            ("https://a.b:8443", "a.b"),
            ("https://[::1]", "[::1]"),
            ("https://[::1]:8443", "[::1]"),
        ] {
            assert_eq!(host_of(origin), host);
        }
        for private in [
            "https://127.0.0.1/x",
            "https://[::1]/x",
            "https://169.254.169.254/latest/meta-data",
            "https://localhost/x",
            "https://router/x",
            "https://db.internal/x",
            "https://[::ffff:10.0.0.1]:8443/x",
        ] {
            assert_eq!(origin(private), Err(AddressError::Private), "{private}");
        }
        for wrong in [
            "http://push.example.com/",
            "ftp://x",
            "https://",
            "https://a@b.c/",
            "https://a b/",
            "https://x.y:22/",
            "https://x.y:0/",
            "https://x.y:99999/",
            "https://127.1/",
            "https://2130706433/",
            "https://0x7f000001/",
            "https://x.y/#f",
            "https://[::1/",
            "https://a..b/",
        ] {
            assert!(matches!(origin(wrong), Err(AddressError::Malformed(_))), "{wrong}");
        }
        assert_eq!(webpush_url("https://127.0.0.1:7443/p/1", true), Ok("https://127.0.0.1:7443".into()));
        assert!(origin(&format!("https://x.y/{}", "a".repeat(2048))).is_err());
    }

    #[test]
    fn tokens_have_their_form() {
        assert_eq!(apns_token(&"AB".repeat(32)), Ok("ab".repeat(32)));
        for wrong in ["", "ab", &"xy".repeat(32), &"ab".repeat(101)] {
            assert!(apns_token(wrong).is_err());
        }
        assert!(fcm_token("abc:def-_").is_ok());
        for wrong in ["", "a b", &"x".repeat(4097)] {
            assert!(fcm_token(wrong).is_err());
        }
    }
}
