//! The live socket: `/live`, SPEC §9.

use super::State;
use super::access::{Identity, identify};
use super::problem::Problem;
use crate::live::{TooManyViewers, Viewer, ViewerClose};
use crate::telemetry::names;
use actix_web::{HttpRequest, HttpResponse, web};
use actix_ws::{CloseCode as WebSocketCode, CloseReason, Item, Message, MessageStream, Session};
use pulsewire_proto::CloseCode;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// Most bytes of one message, split or not: a frame of any size that is allowed, or many small ones.
const MESSAGE_BYTES_MAX: usize = pulsewire_proto::limits::VIEWER_FRAME_BYTES_MAX as usize + 4096;

/// Opens the live socket for a signed-in user. Browsers must come from the server's own origin.
pub async fn connect(
    request: HttpRequest,
    body: web::Payload,
    state: web::Data<State>,
) -> Result<HttpResponse, actix_web::Error> {
    let identity = identify(&request, true).await?;
    let user = &identity.session.user;
    let viewer = state.live.connect(&user.name, user.scope.clone()).map_err(|full| match full {
        TooManyViewers::InAll => Problem::unavailable(full.to_string()),
        TooManyViewers::OfUser => Problem::too_many(full.to_string(), 10),
    })?;
    let (response, session, messages) = actix_ws::handle(&request, body)?;
    let socket = Socket { state, identity, viewer, session, checked: Instant::now(), parts: Vec::new() };
    actix_web::rt::spawn(socket.run(messages.max_frame_size(MESSAGE_BYTES_MAX)));
    Ok(response)
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
    session: Session,
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
        let Self { state, viewer, mut session, .. } = self;
        // Place and subscriptions are free whether or not the viewer takes its CLOSE.
        drop(viewer);
        if let End::Close(close) = end {
            metrics::counter!(names::CLOSED, "code" => close.code.name()).increment(1);
            // A viewer that does not read does not learn it. One that is late may yet: until the system ends the
            // connection (see `HttpPort`), what was buffered can still drain. The others wait no longer than a stop may.
            let limit = match close.code {
                CloseCode::SlowReader => state.live.options().slow_reader_timeout,
                _ => Duration::from_secs(1),
            };
            let last = async {
                let _ = session.binary(close.frame()).await;
                let description = pulsewire_proto::frame::clip_text(&close.text, 123).to_owned();
                let code = WebSocketCode::from(close.code.as_u16());
                let reason = CloseReason { code, description: Some(description) };
                let _ = session.close(Some(reason)).await;
            };
            let _ = tokio::time::timeout(limit, last).await;
        }
    }

    async fn serve(&mut self, mut messages: MessageStream) -> End {
        if let Err(end) = self.send(vec![self.viewer.welcome()]).await {
            return end;
        }
        loop {
            let deadline = self.viewer.next_deadline().into();
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
        }
    }

    async fn on_message(&mut self, message: Message) -> Result<(), End> {
        match message {
            Message::Binary(bytes) => self.on_binary(&bytes).await,
            Message::Continuation(part) => self.on_part(part).await,
            Message::Ping(bytes) => self.session.pong(&bytes).await.map_err(|_| End::Gone),
            Message::Text(_) => Err(text_message()),
            Message::Close(_) => Err(End::Close(ViewerClose::new(CloseCode::Normal, "as the viewer asked"))),
            Message::Pong(_) | Message::Nop => Ok(()),
        }
    }

    async fn on_binary(&mut self, mut rest: &[u8]) -> Result<(), End> {
        while !rest.is_empty() {
            let frames = self.viewer.on_message(&mut rest, Instant::now()).await.map_err(End::Close)?;
            self.send(frames).await?;
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
        let frames = self.viewer.tick(Instant::now()).map_err(End::Close)?;
        self.send(frames).await
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

    async fn send(&mut self, frames: Vec<Vec<u8>>) -> Result<(), End> {
        let limit = self.state.live.options().slow_reader_timeout;
        for frame in frames {
            let began = Instant::now();
            match tokio::time::timeout(limit, self.session.binary(frame)).await {
                Ok(Ok(())) => self.viewer.on_sent(began, Instant::now()),
                Ok(Err(_)) => return Err(End::Gone),
                Err(_) => {
                    let text = format!("nothing was taken for {limit:?}");
                    return Err(End::Close(ViewerClose::new(CloseCode::SlowReader, text)));
                }
            }
        }
        Ok(())
    }
}
