//! Bytes over TCP or WebSocket, and frames in them.

use crate::wait::DEADLINE;
use pulsewire_proto::{CloseCode, FrameReader, Message, MessageType};
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::{HeaderName, HeaderValue, StatusCode};
use tokio_tungstenite::tungstenite::{self, Error, Message as WsMessage, WebSocket};

/// Which of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// Frames directly.
    Tcp,
    /// Frames in binary messages.
    WebSocket,
}

enum Socket {
    Tcp(TcpStream),
    WebSocket(Box<WebSocket<TcpStream>>),
}

/// A frame as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame(pub Vec<u8>);

impl Frame {
    /// Its number, known or not.
    pub fn message_type(&self) -> u8 {
        self.0[3]
    }

    /// The payload.
    pub fn payload(&self) -> &[u8] {
        &self.0[8..]
    }

    /// Decoded; the server sends only what this version knows.
    pub fn message(&self) -> Message<'_> {
        let decoded = Message::decode(self.message_type(), self.payload());
        decoded.expect("well formed").unwrap_or_else(|| panic!("type {:#x} is unknown", self.message_type()))
    }
}

/// What comes from the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Incoming {
    /// A frame.
    Frame(Frame),
    /// The end; on a WebSocket with its close code.
    End(Option<u16>),
    /// The connection was torn down without an end, which may have taken unread bytes with it.
    Broken(String),
}

/// A connection that sends any bytes and reads frames.
pub struct Wire {
    socket: Socket,
    reader: FrameReader,
    unread: Vec<u8>,
    at: usize,
}

impl Wire {
    /// Connects to the device port.
    pub fn connect(address: SocketAddr, transport: Transport) -> Self {
        match transport {
            Transport::Tcp => Self::new(Socket::Tcp(tcp(address))),
            Transport::WebSocket => Self::upgrade(address, "/device", &[("sec-websocket-protocol", "pulsewire.v1")])
                .unwrap_or_else(|(status, text)| panic!("the upgrade was refused with {status}: {text}")),
        }
    }

    /// Connects over TCP if somebody listens.
    pub fn try_connect(address: SocketAddr) -> Option<Self> {
        let stream = TcpStream::connect_timeout(&address, DEADLINE).ok()?;
        Some(Self::new(Socket::Tcp(blocking(stream))))
    }

    /// Asks for a WebSocket; a refusal is its status and body.
    pub fn upgrade(address: SocketAddr, path: &str, headers: &[(&str, &str)]) -> Result<Self, (StatusCode, String)> {
        Self::upgrade_on(tcp(address), address, path, headers)
    }

    /// The same with a small receive buffer, so that what is not read soon waits at the server.
    pub fn upgrade_narrow(address: SocketAddr, path: &str, headers: &[(&str, &str)]) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().expect("a runtime");
        let stream = runtime.block_on(async {
            let socket = tokio::net::TcpSocket::new_v4()?;
            socket.set_recv_buffer_size(4096)?;
            socket.connect(address).await?.into_std()
        });
        let stream = blocking(stream.expect("it connects"));
        Self::upgrade_on(stream, address, path, headers).unwrap_or_else(|refused| panic!("refused: {refused:?}"))
    }

    fn upgrade_on(
        stream: TcpStream,
        address: SocketAddr,
        path: &str,
        headers: &[(&str, &str)],
    ) -> Result<Self, (StatusCode, String)> {
        let mut request = format!("ws://{address}{path}").into_client_request().expect("a request");
        for (name, value) in headers {
            let name = HeaderName::from_bytes(name.as_bytes()).expect("a name");
            request.headers_mut().insert(name, HeaderValue::from_str(value).expect("a value"));
        }
        match tungstenite::client(request, stream) {
            Ok((socket, _)) => Ok(Self::new(Socket::WebSocket(Box::new(socket)))),
            Err(tungstenite::HandshakeError::Failure(Error::Http(answer))) => {
                let body = answer.body().as_deref().map(|b| String::from_utf8_lossy(b).into_owned());
                Err((answer.status(), body.unwrap_or_default()))
            }
            Err(error) => panic!("the upgrade failed: {error}"),
        }
    }

    fn new(socket: Socket) -> Self {
        Self { socket, reader: FrameReader::new(u32::MAX), unread: Vec::new(), at: 0 }
    }

    /// Sends bytes, as one binary message on a WebSocket. What cannot be sent since the server has closed is dropped:
    /// what it said before is still to be read.
    pub fn send(&mut self, bytes: &[u8]) {
        // An error here means that the server has closed; the test reads why.
        let _ = self.try_send(bytes);
    }

    /// Sends bytes; false if the connection has ended.
    pub fn try_send(&mut self, bytes: &[u8]) -> bool {
        match &mut self.socket {
            Socket::Tcp(stream) => stream.write_all(bytes).is_ok(),
            Socket::WebSocket(socket) => socket.send(WsMessage::binary(bytes.to_vec())).is_ok(),
        }
    }

    /// Sends a message of the protocol.
    pub fn send_message(&mut self, message: &Message<'_>) {
        let mut bytes = Vec::new();
        message.encode(&mut bytes);
        self.send(&bytes);
    }

    /// Sends a text message.
    pub fn send_text(&mut self, text: &str) {
        let Socket::WebSocket(socket) = &mut self.socket else { panic!("text travels on a WebSocket") };
        socket.send(WsMessage::text(text.to_owned())).expect("it is open");
    }

    /// No more is sent; reading goes on.
    pub fn finish_sending(&self) {
        let _ = self.stream().shutdown(Shutdown::Write);
    }

    /// The TCP connection underneath.
    pub fn stream(&self) -> &TcpStream {
        match &self.socket {
            Socket::Tcp(stream) => stream,
            Socket::WebSocket(socket) => socket.get_ref(),
        }
    }

    /// The next frame or the end. Fails if nothing comes in time.
    pub fn receive(&mut self) -> Incoming {
        loop {
            let mut rest = &self.unread[self.at..];
            let found = self.reader.next_frame(&mut rest).expect("the server sends frames");
            let found = found.map(|frame| frame.bytes().to_vec());
            self.at = self.unread.len() - rest.len();
            if let Some(frame) = found {
                return Incoming::Frame(Frame(frame));
            }
            self.at = 0;
            match self.read() {
                Ok(bytes) => self.unread = bytes,
                Err(end) => return end,
            }
        }
    }

    /// Some bytes, or the end.
    fn read(&mut self) -> Result<Vec<u8>, Incoming> {
        match &mut self.socket {
            Socket::Tcp(stream) => {
                let mut bytes = vec![0; 64 << 10];
                match stream.read(&mut bytes) {
                    Ok(0) => Err(Incoming::End(None)),
                    Ok(n) => Ok(bytes[..n].to_vec()),
                    Err(error) if is_timeout(&error) => panic!("nothing came within {DEADLINE:?}"),
                    Err(error) => Err(Incoming::Broken(error.to_string())),
                }
            }
            Socket::WebSocket(socket) => loop {
                match socket.read() {
                    Ok(WsMessage::Binary(bytes)) => return Ok(bytes.to_vec()),
                    Ok(WsMessage::Close(frame)) => return Err(Incoming::End(frame.map(|frame| frame.code.into()))),
                    Ok(WsMessage::Text(text)) => panic!("the server sent text: {text}"),
                    Ok(_) => {}
                    Err(Error::Io(error)) if is_timeout(&error) => panic!("nothing came within {DEADLINE:?}"),
                    Err(Error::ConnectionClosed | Error::AlreadyClosed) => return Err(Incoming::End(None)),
                    Err(error) => return Err(Incoming::Broken(error.to_string())),
                }
            },
        }
    }

    /// The next frame; fails at the end of the connection.
    pub fn frame(&mut self) -> Frame {
        match self.receive() {
            Incoming::Frame(frame) => frame,
            other => panic!("{other:?} where a frame was awaited"),
        }
    }

    /// The next frame; None if the connection ends or breaks.
    pub fn next_frame(&mut self) -> Option<Frame> {
        match self.receive() {
            Incoming::Frame(frame) => Some(frame),
            Incoming::End(_) | Incoming::Broken(_) => None,
        }
    }

    /// Reads on to the CLOSE and checks that it is the last frame, with the same code in the WebSocket's close message.
    pub fn expect_close(&mut self) -> pulsewire_proto::frame::Close {
        let close = loop {
            if let Message::Close(close) = self.frame().message() {
                break close;
            }
        };
        let end = self.receive();
        match (&self.socket, &end) {
            (Socket::Tcp(_), Incoming::End(None)) => {}
            (Socket::WebSocket(_), Incoming::End(code)) => assert_eq!(*code, Some(close.code), "code of the WebSocket"),
            (_, other) => panic!("{other:?} came after CLOSE {}", close.code),
        }
        close
    }
}

fn tcp(address: SocketAddr) -> TcpStream {
    blocking(TcpStream::connect_timeout(&address, DEADLINE).unwrap_or_else(|e| panic!("{address}: {e}")))
}

fn blocking(stream: TcpStream) -> TcpStream {
    stream.set_nonblocking(false).expect("blocking");
    stream.set_read_timeout(Some(DEADLINE)).expect("a time-out");
    stream.set_write_timeout(Some(DEADLINE)).expect("a time-out");
    stream.set_nodelay(true).expect("no delay");
    stream
}

fn is_timeout(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut)
}

/// A header with any fields.
pub fn header(magic: [u8; 2], version: u8, message_type: u8, length: u32) -> Vec<u8> {
    let mut bytes = vec![magic[0], magic[1], version, message_type];
    bytes.extend_from_slice(&length.to_be_bytes());
    bytes
}

/// A frame of a type with a payload of any bytes.
pub fn raw_frame(message_type: MessageType, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    pulsewire_proto::encode_frame(message_type, payload, &mut bytes);
    bytes
}

/// A frame.
pub fn frame_of(message: &Message<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    message.encode(&mut bytes);
    bytes
}

/// What a close code is called in the metrics.
pub fn closed_metric(code: CloseCode) -> String {
    format!("pulsewire_closed_total{{code=\"{}\"}}", code.name())
}
