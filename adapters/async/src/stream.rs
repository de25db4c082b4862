//! `Stream` and `Sink`, for people who come from `Framed`.
//!
//! The stream yields messages. It ends when the peer finished, or after the error that ended the session; an orderly
//! end is no error. The sink's flush waits until the transport took everything, and its close is our half-close.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use duologue_core::driver::{Timekeeper, Transport};
use duologue_core::{Closed, Event, Protocol};
use futures_core::Stream;
use futures_sink::Sink;

use crate::connection::Connection;
use crate::error::SendError;
use crate::split::RecvHalf;

type Item<P> = Result<<P as Protocol>::Event, Closed<<P as Protocol>::Violation>>;

/// What an event means to a stream; `None` means: ask for the next one.
fn item<P: Protocol>(event: Option<Event<P::Event, P::Violation>>) -> Option<Option<Item<P>>> {
    match event {
        Some(Event::App(message)) => Some(Some(Ok(message))),
        Some(Event::Writable) => None,
        Some(Event::Closed(closed)) if !closed.cause.is_orderly() => Some(Some(Err(closed))),
        Some(Event::PeerFinished | Event::Closed(_)) | None => Some(None),
    }
}

impl<P: Protocol, T: Transport, K: Timekeeper> Unpin for Connection<P, T, K> {}

impl<P: Protocol, T: Transport, K: Timekeeper> Stream for Connection<P, T, K> {
    type Item = Item<P>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if let Some(item) = item::<P>(ready!(self.poll_next_event(cx))) {
                return Poll::Ready(item);
            }
        }
    }
}

impl<P: Protocol, T: Transport, K: Timekeeper> Stream for RecvHalf<P, T, K> {
    type Item = Item<P>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if let Some(item) = item::<P>(ready!(self.poll_next_event(cx))) {
                return Poll::Ready(item);
            }
        }
    }
}

impl<P: Protocol, T: Transport, K: Timekeeper> Sink<P::Command> for Connection<P, T, K> {
    type Error = SendError<P::Command>;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        // A byte queue cannot promise room for a message that it has not seen, so one may wait here.
        while let Some(command) = self.open.parked.take() {
            match self.try_send(*command) {
                Ok(()) => break,
                Err(refused) if refused.is_temporary() => self.open.parked = Some(Box::new(refused.into_command())),
                Err(refused) => return Poll::Ready(Err(refused.into())),
            }
            ready!(self.driver_mut().poll_progress(cx));
        }
        Poll::Ready(Ok(()))
    }

    fn start_send(mut self: Pin<&mut Self>, command: P::Command) -> Result<(), Self::Error> {
        match self.try_send(command) {
            Ok(()) => Ok(()),
            Err(refused) if refused.is_temporary() && self.open.parked.is_none() => {
                self.open.parked = Some(Box::new(refused.into_command()));
                Ok(())
            }
            Err(refused) => Err(refused.into()),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        ready!(self.as_mut().poll_ready(cx))?;
        self.driver_mut().poll_flush(cx).map(Ok)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        ready!(self.as_mut().poll_ready(cx))?;
        self.finish();
        loop {
            if self.session().states().1.is_over() {
                return Poll::Ready(Ok(()));
            }
            ready!(self.driver_mut().poll_progress(cx));
        }
    }
}
