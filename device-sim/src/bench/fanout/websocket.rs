//! As much of RFC 6455 as a load generator needs: each side whole messages in one frame.

/// Above it a message is refused: the largest payload of SPEC §11 with its header, and room.
const MESSAGE_BYTES_MAX: usize = 2 * 1024 * 1024;
/// Any will do where no proxy stands between.
const MASK: [u8; 4] = [0x5A, 0xC3, 0x96, 0x0F];
const KEY: &str = "cHVsc2V3aXJlIGJlbmNoLg==";
/// Longest head of an HTTP request or answer.
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// What a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Binary = 2,
    Close = 8,
    Ping = 9,
    Pong = 10,
}

/// Asks for an upgrade.
pub(super) fn request(path: &str, host: &str, token: &str, out: &mut Vec<u8>) {
    let bearer = if token.is_empty() { String::new() } else { format!("Authorization: Bearer {token}\r\n") };
    let text = format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: {KEY}\r\n{bearer}\r\n"
    );
    out.extend_from_slice(text.as_bytes());
}

/// Grants one.
pub(super) fn upgrade(key: &str, out: &mut Vec<u8>) {
    let accept = tokio_tungstenite::tungstenite::handshake::derive_accept_key(key.as_bytes());
    let text = format!(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
    );
    out.extend_from_slice(text.as_bytes());
}

/// The head of a request or answer with what follows it, once it is whole.
pub(super) fn head(input: &[u8]) -> Result<Option<(&str, &[u8])>, String> {
    let Some(end) = input.windows(4).position(|four| four == b"\r\n\r\n") else {
        return if input.len() > HEAD_BYTES_MAX { Err("a head without end".into()) } else { Ok(None) };
    };
    let text = std::str::from_utf8(&input[..end]).map_err(|error| error.to_string())?;
    Ok(Some((text, &input[end + 4..])))
}

/// The value of a header.
pub(super) fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        key.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

/// Whether this head upgrades; the status line if not.
pub(super) fn upgraded(head: &str) -> Result<(), String> {
    let line = head.lines().next().unwrap_or_default();
    let accept = tokio_tungstenite::tungstenite::handshake::derive_accept_key(KEY.as_bytes());
    if line.split(' ').nth(1) != Some("101") {
        return Err(format!("answered {line:?} instead of an upgrade"));
    }
    if header(head, "sec-websocket-accept") != Some(accept.as_str()) {
        return Err("the upgrade does not answer this request".into());
    }
    Ok(())
}

/// A message, as a client says it.
pub(super) fn masked(kind: Kind, payload: &[u8], out: &mut Vec<u8>) {
    put_head(kind, payload.len(), 0x80, out);
    out.extend_from_slice(&MASK);
    out.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
}

/// A message, as a server says it.
pub(super) fn plain(kind: Kind, payload: &[u8], out: &mut Vec<u8>) {
    put_head(kind, payload.len(), 0, out);
    out.extend_from_slice(payload);
}

fn put_head(kind: Kind, length: usize, mask: u8, out: &mut Vec<u8>) {
    out.push(0x80 | kind as u8);
    if length < 126 {
        out.push(mask | length as u8);
    } else if let Ok(short) = u16::try_from(length) {
        out.push(mask | 126);
        out.extend_from_slice(&short.to_be_bytes());
    } else {
        out.push(mask | 127);
        out.extend_from_slice(&(length as u64).to_be_bytes());
    }
}

/// A message's kind and payload, and what follows it.
type Split<'a> = (Kind, &'a [u8], &'a [u8]);

/// The first message of what a server says.
pub(super) fn split(input: &[u8]) -> Result<Option<Split<'_>>, String> {
    let Some((kind, masked, length, rest)) = read_head(input)? else { return Ok(None) };
    if masked {
        return Err("a server does not mask".into());
    }
    Ok(rest.split_at_checked(length).map(|(payload, rest)| (kind, payload, rest)))
}

/// The first message of what a client says, unmasked into `payload`, and what follows it.
pub(super) fn split_masked<'a>(input: &'a [u8], payload: &mut Vec<u8>) -> Result<Option<(Kind, &'a [u8])>, String> {
    let Some((kind, masked, length, rest)) = read_head(input)? else { return Ok(None) };
    if !masked {
        return Err("a client masks".into());
    }
    let Some((mask, rest)) = rest.split_first_chunk::<4>() else { return Ok(None) };
    let Some((bytes, rest)) = rest.split_at_checked(length) else { return Ok(None) };
    payload.clear();
    payload.extend(bytes.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    Ok(Some((kind, rest)))
}

type Head<'a> = (Kind, bool, usize, &'a [u8]);

fn read_head(input: &[u8]) -> Result<Option<Head<'_>>, String> {
    let Some(([first, second], rest)) = input.split_first_chunk::<2>() else { return Ok(None) };
    let kind = match first {
        0x82 => Kind::Binary,
        0x88 => Kind::Close,
        0x89 => Kind::Ping,
        0x8A => Kind::Pong,
        other => return Err(format!("a WebSocket frame that begins with {other:#04x}")),
    };
    let (length, rest) = match second & 0x7F {
        126 => match rest.split_first_chunk::<2>() {
            Some((length, rest)) => (u64::from(u16::from_be_bytes(*length)), rest),
            None => return Ok(None),
        },
        127 => match rest.split_first_chunk::<8>() {
            Some((length, rest)) => (u64::from_be_bytes(*length), rest),
            None => return Ok(None),
        },
        length => (u64::from(length), rest),
    };
    match usize::try_from(length) {
        Ok(length) if length <= MESSAGE_BYTES_MAX => Ok(Some((kind, second & 0x80 != 0, length, rest))),
        _ => Err(format!("a WebSocket message of {length} bytes")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_of_every_length_come_back_whole_and_only_when_whole() {
        for length in [0, 1, 125, 126, 65_535, 65_536, 200_000] {
            let payload: Vec<u8> = (0..length).map(|n| n as u8).collect();
            let mut out = Vec::new();
            plain(Kind::Binary, &payload, &mut out);
            assert_eq!(split(&out[..out.len() - 1]), Ok(None), "{length}");
            let whole = out.len();
            out.push(7);
            assert_eq!(split(&out), Ok(Some((Kind::Binary, &payload[..], &out[whole..]))));
            let (mut said, mut back) = (Vec::new(), Vec::new());
            masked(Kind::Ping, &payload, &mut said);
            assert_eq!(split_masked(&said, &mut back), Ok(Some((Kind::Ping, &[][..]))));
            assert_eq!(back, payload);
            assert!(split(&said).is_err() && split_masked(&out, &mut back).is_err());
        }
    }

    #[test]
    fn an_upgrade_is_asked_for_and_granted() {
        let mut asked = Vec::new();
        request("/live", "h:1", "secret", &mut asked);
        let (text, rest) = head(&asked).expect("sound").expect("whole");
        assert!(text.starts_with("GET /live HTTP/1.1\r\n") && rest.is_empty());
        assert_eq!(header(text, "authorization"), Some("Bearer secret"));
        let mut granted = Vec::new();
        upgrade(header(text, "Sec-WebSocket-Key").expect("a key"), &mut granted);
        let (text, _) = head(&granted).expect("sound").expect("whole");
        assert_eq!(upgraded(text), Ok(()));
        assert!(upgraded("HTTP/1.1 429 Too Many Requests").expect_err("refused").contains("429"));
        assert_eq!(head(b"HTTP/1.1 101"), Ok(None));
    }

    #[test]
    fn what_is_no_message_is_refused() {
        assert!(split(&[0x81, 0]).is_err(), "text");
        assert!(split(&[0x02, 0]).is_err(), "a part");
        assert!(split(&[0x82, 127, 0xFF, 0, 0, 0, 0, 0, 0, 0]).is_err(), "too large");
    }
}
