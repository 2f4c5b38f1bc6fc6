//! The live socket: `/live`, SPEC §9.
//!
//! Messages come in through the library. What goes out is a response body that hands over whole WebSocket messages when the
//! connection has room for them, so that nothing is queued for a viewer that does not read.

use super::State;
use super::access::{Identity, identify};
use super::problem::Problem;
use crate::live::{Outbox, Step, TooManyViewers, Viewer, ViewerClose};
use crate::telemetry::names;
use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::{HttpRequest, HttpResponse, web};
use actix_ws::{Item, Message, MessageStream};
use bytes::Bytes;
use pulsewire_proto::CloseCode;
use std::cell::RefCell;
use std::convert::Infallible;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

/// Most bytes of one message, split or not: a frame of any size that is allowed, or many small ones.
const MESSAGE_BYTES_MAX: usize = pulsewire_proto::limits::VIEWER_FRAME_BYTES_MAX as usize + 4096;
/// How often a reader waits for room before it looks at the clock again.
const ROOM_INTERVAL: Duration = Duration::from_millis(10);
/// How often the socket looks whether the server stops.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// Opens the live socket for a signed-in user. Browsers must come from the server's own origin.
pub async fn connect(
    request: HttpRequest,
    body: web::Payload,
    state: web::Data<State>,
) -> Result<HttpResponse, actix_web::Error> {
    let identity = identify(&request, true).await?;
    let address = request.peer_addr().map(|peer| peer.ip().to_canonical());
    let user = &identity.session.user;
    let viewer = state.live.connect(&user.name, address, user.scope.clone());
    let viewer = viewer.map_err(|full| match full {
        TooManyViewers::InAll => Problem::unavailable(full.to_string()),
        TooManyViewers::OfUser | TooManyViewers::OfAddress => Problem::too_many(full.to_string(), 10),
    })?;
    // The library's session is not used: its channel and its encoder cost as much as the sending.
    let (response, _, messages) = actix_ws::handle(&request, body)?;
    let outbox = viewer.outbox();
    let response = response.map_body(|_, library| BoxBody::new(Frames { outbox, _library: library }));
    let socket = Socket { state, identity, viewer, checked: Instant::now(), parts: Vec::new() };
    actix_web::rt::spawn(socket.run(messages.max_frame_size(MESSAGE_BYTES_MAX)));
    Ok(response)
}

/// What goes out.
struct Frames {
    outbox: Rc<RefCell<Outbox>>,
    // While it lives the library takes the connection for open.
    _library: BoxBody,
}

impl MessageBody for Frames {
    type Error = Infallible;

    fn size(&self) -> BodySize {
        BodySize::Stream
    }

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, Infallible>>> {
        let mut outbox = self.outbox.borrow_mut();
        // Before it is looked at, so that nothing that comes meanwhile is slept through.
        outbox.signal().register(context.waker());
        match outbox.next(Instant::now()) {
            Step::Piece(bytes) => Poll::Ready(Some(Ok(bytes))),
            Step::Idle => Poll::Pending,
            Step::End => Poll::Ready(None),
        }
    }
}

fn too_large() -> ViewerClose {
    let limit = pulsewire_proto::limits::VIEWER_FRAME_BYTES_MAX;
    let text = format!("a message above the limit: a viewer's payload has at most {limit} bytes");
    ViewerClose::new(CloseCode::FrameTooLarge, text)
}

fn text_message() -> End {
    let text = "text messages are not spoken here: send frames in binary messages";
    End::Close(ViewerClose::new(CloseCode::TextMessage, text))
}

/// A message that the library did not take.
fn unreadable(error: &actix_ws::ProtocolError) -> ViewerClose {
    match error {
        actix_ws::ProtocolError::Overflow => too_large(),
        other => ViewerClose::new(CloseCode::Malformed, format!("the message cannot be read: {other}")),
    }
}

struct Socket {
    state: web::Data<State>,
    identity: Identity,
    viewer: Viewer,
    // When the sign-in was last found to be good.
    checked: Instant,
    // What came of a message that is split.
    parts: Vec<u8>,
}

/// Why the loop ends.
enum End {
    /// Tell the viewer.
    Close(ViewerClose),
    /// There is nobody to tell.
    Gone,
}

impl Socket {
    async fn run(mut self, messages: MessageStream) {
        let end = self.serve(messages).await;
        let outbox = self.viewer.outbox();
        // Place and subscriptions are free whether or not the viewer takes its CLOSE.
        drop(self);
        let End::Close(close) = end else {
            outbox.borrow_mut().abandon();
            return;
        };
        metrics::counter!(names::CLOSED, "code" => close.code.name()).increment(1);
        // One that does not read does not learn it, unless it reads on before the system ends the connection: see `HttpPort`.
        let mut out = outbox.borrow_mut();
        out.put(close.frame());
        out.raw(close_message(&close));
        out.close();
    }

    async fn serve(&mut self, mut messages: MessageStream) -> End {
        self.viewer.outbox().borrow().signal().wake();
        let mut look = Instant::now() + LOOK_INTERVAL;
        loop {
            let deadline = self.viewer.next_deadline().min(look).into();
            let step = tokio::select! {
                message = messages.recv() => match message {
                    Some(Ok(message)) => self.on_message(message).await,
                    Some(Err(error)) => Err(End::Close(unreadable(&error))),
                    None => Err(End::Gone),
                },
                () = tokio::time::sleep_until(deadline) => self.on_time().await,
            };
            if let Err(end) = step {
                return end;
            }
            // Also for one who never stops talking, so that its sleep never ends.
            if Instant::now() >= look {
                if let Err(end) = self.on_time().await {
                    return end;
                }
                look = Instant::now() + LOOK_INTERVAL;
            }
        }
    }

    async fn on_message(&mut self, message: Message) -> Result<(), End> {
        match message {
            Message::Binary(bytes) => self.on_binary(&bytes).await,
            Message::Continuation(part) => self.on_part(part).await,
            Message::Ping(bytes) => {
                self.room().await?;
                let outbox = self.viewer.outbox();
                let mut out = outbox.borrow_mut();
                out.raw(control_message(0xA, &bytes));
                out.signal().wake();
                Ok(())
            }
            Message::Text(_) => Err(text_message()),
            Message::Close(_) => Err(End::Close(ViewerClose::new(CloseCode::Normal, "as the viewer asked"))),
            Message::Pong(_) | Message::Nop => Ok(()),
        }
    }

    async fn on_binary(&mut self, mut rest: &[u8]) -> Result<(), End> {
        while !rest.is_empty() {
            self.room().await?;
            self.viewer.on_message(&mut rest, Instant::now()).await.map_err(End::Close)?;
        }
        Ok(())
    }

    /// Waits until not too many answers wait.
    async fn room(&mut self) -> Result<(), End> {
        while !self.viewer.outbox().borrow().has_room() {
            tokio::time::sleep(ROOM_INTERVAL).await;
            self.on_time().await?;
        }
        Ok(())
    }

    /// A part of a message that came split (RFC 6455 §5.4); the library has checked their order. Its own way of joining
    /// them does not tell a message that is too large from a broken connection.
    async fn on_part(&mut self, part: Item) -> Result<(), End> {
        let (bytes, last) = match part {
            Item::FirstText(_) => return Err(text_message()),
            Item::FirstBinary(bytes) | Item::Continue(bytes) => (bytes, false),
            Item::Last(bytes) => (bytes, true),
        };
        if self.parts.len() + bytes.len() > MESSAGE_BYTES_MAX {
            return Err(End::Close(too_large()));
        }
        self.parts.extend_from_slice(&bytes);
        if !last {
            return Ok(());
        }
        let whole = std::mem::take(&mut self.parts);
        self.on_binary(&whole).await
    }

    async fn on_time(&mut self) -> Result<(), End> {
        if self.state.stopping.load(Ordering::Acquire) {
            let text = "the server stops; reconnect in a moment";
            return Err(End::Close(ViewerClose::new(CloseCode::GoingAway, text)));
        }
        self.check_sign_in().await?;
        self.viewer.on_time(Instant::now()).map_err(End::Close)
    }

    /// Once per heartbeat interval: is the sign-in still good?
    async fn check_sign_in(&mut self) -> Result<(), End> {
        if self.checked.elapsed() < self.state.live.options().heartbeat_interval {
            return Ok(());
        }
        self.checked = Instant::now();
        let now_us = self.state.clock.now_us();
        match self.state.users.session(self.identity.session.token_hash, now_us).await {
            Ok(Some(now)) if now.user.has_rights_of(&self.identity.session.user) => Ok(()),
            Ok(Some(_)) => {
                let text = "what you may do or see has changed; sign in again";
                Err(End::Close(ViewerClose::new(CloseCode::Revoked, text)))
            }
            Ok(None) => {
                let text = "the sign-in has ended; sign in again";
                Err(End::Close(ViewerClose::new(CloseCode::Revoked, text)))
            }
            Err(error) => {
                // A store that cannot be read is no reason to turn viewers away; the next check tells.
                tracing::warn!(%error, "a live sign-in could not be checked");
                Ok(())
            }
        }
    }
}

/// A control message of the WebSocket (RFC 6455 §5.5): at most 125 bytes.
fn control_message(opcode: u8, payload: &[u8]) -> Bytes {
    let payload = payload.get(..125).unwrap_or(payload);
    let mut message = vec![0x80 | opcode, u8::try_from(payload.len()).unwrap_or(125)];
    message.extend_from_slice(payload);
    message.into()
}

/// The WebSocket's own end.
fn close_message(close: &ViewerClose) -> Bytes {
    let mut payload = close.code.as_u16().to_be_bytes().to_vec();
    payload.extend_from_slice(pulsewire_proto::frame::clip_text(&close.text, 123).as_bytes());
    control_message(0x8, &payload)
}
