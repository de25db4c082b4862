//! Which handler a request goes to.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;

use duologue_brpc::{ErrorCode, Request, Status, prost};
use duologue_core::driver::{Timekeeper, Transport};

use super::exchange::{Answer, Exchange, Gone};

type Work = Pin<Box<dyn Future<Output = ()> + Send>>;
type Handler<T, K> = Box<dyn Fn(Exchange<T, K>) -> Work + Send + Sync>;

/// Handlers by service and method. Whatever is not here is answered by ENOSERVICE or ENOMETHOD.
pub struct Router<T: Transport, K: Timekeeper> {
    services: BTreeMap<String, BTreeMap<String, Handler<T, K>>>,
}

impl<T, K> Router<T, K>
where
    T: Transport + Send + 'static,
    K: Timekeeper + Clone + Send + 'static,
{
    /// Without any method.
    #[must_use]
    pub fn new() -> Self {
        Self { services: BTreeMap::new() }
    }

    /// A method whose handler has the whole exchange: it accepts streams, replies, and goes on with them. It is not
    /// ended by the caller's deadline or the loss of the connection, but may wait for them: [`Exchange::expired`],
    /// [`Exchange::lost`]. `service` is the full name, as `example.EchoService`.
    #[must_use]
    pub fn exchange<H, F>(mut self, service: &str, method: &str, handler: H) -> Self
    where
        H: Fn(Exchange<T, K>) -> F + Send + Sync + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let handler: Handler<T, K> = Box::new(move |exchange| Box::pin(handler(exchange)));
        self.services.entry(service.to_owned()).or_default().insert(method.to_owned(), handler);
        self
    }

    /// A method from a request to an answer. Streams that a request opens are not accepted. When the caller's deadline
    /// passes or its connection ends the handler's future is dropped: nobody waits for it any more.
    #[must_use]
    pub fn method<H, F>(self, service: &str, method: &str, handler: H) -> Self
    where
        H: Fn(Request) -> F + Send + Sync + 'static,
        F: Future<Output = Result<Answer, Status>> + Send + 'static,
    {
        self.exchange(service, method, move |exchange| {
            let work = handler(exchange.request().clone());
            async move {
                let answer = match exchange.unless_gone(work).await {
                    Ok(answer) => answer,
                    Err(Gone::Late) => Err(too_late()),
                    Err(Gone::Lost) => return,
                };
                // Who asked went away, or the reply was refused and the client was told so.
                let _ = exchange.reply(answer).await;
            }
        })
    }

    /// A method from one protobuf message to another. A body that is no such message is answered by EREQUEST.
    #[must_use]
    pub fn message<Q, A, H, F>(self, service: &str, method: &str, handler: H) -> Self
    where
        Q: prost::Message + Default,
        A: prost::Message,
        H: Fn(Q) -> F + Send + Sync + 'static,
        F: Future<Output = Result<A, Status>> + Send + 'static,
    {
        self.method(service, method, move |request| {
            let work = request.message().map(&handler);
            async move {
                match work {
                    Ok(work) => work.await.map(|answer| Answer::message(&answer)),
                    Err(e) => Err(Status::new(ErrorCode::BadRequest, e.to_string())),
                }
            }
        })
    }

    /// Runs the handler of an exchange to its end.
    pub fn handle(&self, exchange: Exchange<T, K>) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let request = exchange.request();
        let methods = self.services.get(&request.service);
        let error = match methods.map(|methods| methods.get(&request.method)) {
            Some(Some(handler)) => return handler(exchange),
            Some(None) => Status::new(ErrorCode::NoMethod, format!("no method {}", request.method)),
            None => Status::new(ErrorCode::NoService, format!("no service {}", request.service)),
        };
        Box::pin(async move {
            let _ = exchange.reply(Err(error)).await;
        })
    }
}

fn too_late() -> Status {
    Status::new(ErrorCode::TimedOut, "the caller's deadline passed")
}

impl<T, K> Default for Router<T, K>
where
    T: Transport + Send + 'static,
    K: Timekeeper + Clone + Send + 'static,
{
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Transport, K: Timekeeper> fmt::Debug for Router<T, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let methods = self.services.iter().flat_map(|(service, methods)| methods.keys().map(move |m| (service, m)));
        f.debug_set().entries(methods).finish()
    }
}
