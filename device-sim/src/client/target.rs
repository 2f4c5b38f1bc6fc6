use std::{fmt, str::FromStr};

use crate::SimError;

/// Where a server takes devices.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// Raw frames over TCP: `host:port`.
    Tcp(String),
    /// A WebSocket: `ws://host:port/device`.
    WebSocket {
        /// `host:port`.
        address: String,
        /// The whole URL.
        url: String,
    },
}

impl FromStr for Target {
    type Err = SimError;

    fn from_str(text: &str) -> Result<Target, SimError> {
        let invalid = |allowed: &str| SimError::Invalid {
            name: "--connect",
            value: text.to_owned(),
            allowed: format!("{allowed}, for example 127.0.0.1:7410 or ws://127.0.0.1:7410/device"),
        };
        let Some((scheme, rest)) = text.split_once("://") else {
            check_address(text).ok_or_else(|| invalid("a host and a port"))?;
            return Ok(Target::Tcp(text.to_owned()));
        };
        if scheme != "ws" {
            return Err(invalid("raw TCP or ws:// (TLS is for later)"));
        }
        let address = rest.split('/').next().unwrap_or("");
        check_address(address).ok_or_else(|| invalid("a host and a port"))?;
        let path = &rest[address.len()..];
        let path = if path.is_empty() || path == "/" { "/device" } else { path };
        Ok(Target::WebSocket { address: address.to_owned(), url: format!("ws://{address}{path}") })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::Tcp(address) => f.write_str(address),
            Target::WebSocket { url, .. } => f.write_str(url),
        }
    }
}

fn check_address(address: &str) -> Option<()> {
    let (host, port) = address.rsplit_once(':')?;
    let port: u16 = port.parse().ok()?;
    (!host.is_empty() && port != 0).then_some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_websocket_urls_are_told_apart() {
        assert_eq!("[::1]:7410".parse::<Target>().expect("an address"), Target::Tcp("[::1]:7410".into()));
        let url = Target::WebSocket { address: "h:1".into(), url: "ws://h:1/device".into() };
        assert_eq!("ws://h:1".parse::<Target>().expect("a URL"), url);
        for bad in ["", "h", "h:0", "h:x", ":7410", "http://h:1/", "wss://h:1/device", "ws://h/device"] {
            let error = bad.parse::<Target>().expect_err(bad).to_string();
            assert!(error.contains("--connect") && error.contains("7410"), "{error}");
        }
    }
}
