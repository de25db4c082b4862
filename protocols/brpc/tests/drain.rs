//! Winding down, and requests that nobody works on.
#![allow(clippy::unwrap_used)]

mod common;

use common::*;
use duologue_brpc::{BrpcCommand, BrpcConfig, Reply, Role, code};
use duologue_core::Cause;
use duologue_core::streams::StreamEnd;

fn two() -> (Side, Side) {
    (Side::new(Role::Client, BrpcConfig::new()), Side::new(Role::Server, BrpcConfig::new()))
}

#[test]
fn a_server_that_drains_replies_to_what_waits_and_refuses_what_is_new() {
    let (mut client, mut server) = two();
    client.call(echo(1, vec![]));
    exchange(&mut client, &mut server, usize::MAX);
    let request = server.request();
    assert!(server.session.drain(NOW));
    let mine = client.open();
    client.call(echo(2, vec![mine]));
    exchange(&mut client, &mut server, usize::MAX);
    let refused = client.response();
    assert_eq!((refused.id.0, refused.error_code), (2, code::ELOGOFF));
    assert_eq!(client.end_of(mine), [StreamEnd::Refused]);
    assert_eq!(server.session.cause(), None, "a request waits");
    server.reply(Reply::ok(request.id, "done".into()));
    assert!(matches!(server.session.cause(), Some(Cause::LocalClose(_))), "{:?}", server.session.cause());
    exchange(&mut client, &mut server, usize::MAX);
    assert_eq!(client.response().body, "done");
}

#[test]
fn a_drain_waits_for_the_streams_and_ends_with_the_last() {
    let (mut client, mut server, mine, theirs) = connected(BrpcConfig::new(), 2);
    assert!(server.session.drain(NOW));
    for n in 0..2 {
        assert_eq!(server.session.cause(), None);
        client.send(mine[n], "goes on");
        exchange(&mut client, &mut server, usize::MAX);
        assert_eq!(server.take(theirs[n]), [b"goes on"]);
        client.with(mine[n], |stream| stream.finish());
        exchange(&mut client, &mut server, usize::MAX);
    }
    assert!(matches!(server.session.cause(), Some(Cause::LocalClose(_))));
}

#[test]
fn a_drain_of_an_idle_session_ends_it_at_once() {
    for role in [Role::Client, Role::Server] {
        let mut side = Side::new(role, BrpcConfig::new());
        assert!(side.session.drain(NOW));
        assert!(matches!(side.session.cause(), Some(Cause::LocalClose(_))), "{role:?}");
    }
}

#[test]
fn a_client_that_drains_calls_no_more_and_waits_for_its_answers() {
    let (mut client, mut server) = two();
    client.call(echo(1, vec![]));
    assert!(client.session.drain(NOW));
    assert!(client.session.send(NOW, BrpcCommand::Call(Box::new(echo(2, vec![])))).is_err());
    assert!(client.session.protocol_mut(NOW).open_stream().is_err());
    exchange(&mut client, &mut server, usize::MAX);
    assert_eq!(client.session.cause(), None);
    let request = server.request();
    server.reply(Reply::ok(request.id, "done".into()));
    exchange(&mut client, &mut server, usize::MAX);
    assert_eq!(client.response().body, "done");
    assert!(matches!(client.session.cause(), Some(Cause::LocalClose(_))));
}

#[test]
fn a_request_that_is_abandoned_is_answered_and_its_streams_end() {
    let (mut client, mut server) = two();
    let mine = client.open();
    client.call(echo(1, vec![mine]));
    exchange(&mut client, &mut server, usize::MAX);
    let request = server.request();
    let theirs = server.session.protocol_mut(NOW).accept(request.id).unwrap();
    server.session.send(NOW, BrpcCommand::Abandon(request.id)).unwrap();
    // Again, or after a reply, it is nothing.
    server.session.send(NOW, BrpcCommand::Abandon(request.id)).unwrap();
    exchange(&mut client, &mut server, usize::MAX);
    assert_eq!(client.response().error_code, code::EINTERNAL);
    assert_eq!((client.end_of(mine), server.end_of(theirs[0])), (vec![StreamEnd::Refused], vec![StreamEnd::Refused]));
    assert_eq!(server.session.protocol_mut(NOW).waiting(), (0, 0));
}

#[test]
fn a_full_queue_does_not_keep_an_abandoned_request_from_its_answer() {
    let (mut client, mut server) = two();
    client.call(echo(1, vec![]));
    client.call(echo(2, vec![]));
    exchange(&mut client, &mut server, usize::MAX);
    let (first, second) = (server.request(), server.request());
    let room = 256 << 10;
    let mut len = room;
    while server.session.send(NOW, BrpcCommand::Reply(Box::new(Reply::ok(first.id, vec![0; len].into())))).is_err() {
        len -= 1;
        assert!(len > room - 100, "the first reply does not fill the queue");
    }
    server.session.send(NOW, BrpcCommand::Abandon(second.id)).unwrap();
    exchange(&mut client, &mut server, usize::MAX);
    assert_eq!(client.response().body.len(), len);
    assert_eq!(client.response().error_code, code::EINTERNAL);
}

#[test]
fn many_requests_abandoned_at_once_before_a_slow_client_do_not_end_the_session() {
    const MANY: i64 = 1000;
    let (mut client, mut server) = two();
    for n in 0..=MANY {
        client.call(echo(n, vec![]));
    }
    exchange(&mut client, &mut server, usize::MAX);
    let first = server.request();
    let all: Vec<_> = (0..MANY).map(|_| server.request().id).collect();
    server.reply(Reply::ok(first.id, vec![0; (256 << 10) - 100].into()));
    assert!(server.session.room() < 100, "the first reply fills the queue");
    for id in &all {
        server.session.send(NOW, BrpcCommand::Abandon(*id)).unwrap();
        server.session.send(NOW, BrpcCommand::Abandon(*id)).unwrap();
    }
    assert_eq!(server.session.cause(), None);
    let late = BrpcCommand::Reply(Box::new(Reply::ok(all[0], "too late".into())));
    assert!(server.session.send(NOW, late).is_err(), "it was given up");
    assert!(server.session.drain(NOW));
    assert_eq!(server.session.cause(), None, "answers are still to be sent");
    exchange(&mut client, &mut server, usize::MAX);
    assert_eq!(client.response().error_code, 0);
    for _ in 0..MANY {
        assert_eq!(client.response().error_code, code::EINTERNAL);
    }
    assert!(matches!(server.session.cause(), Some(Cause::LocalClose(_))), "{:?}", server.session.cause());
}
