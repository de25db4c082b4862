//! A receive buffer that is large for the sake of one message is not filled behind messages that nobody takes.

use std::time::Duration;

use bytes::BufMut;
use duologue_core::framed::{Framed, LengthPrefixed};
use duologue_core::{Config, Delivery, Event, Instant, Limits, LimitsError, Session, Timeouts};

const LARGEST: usize = 1 << 20;
const AHEAD: usize = 8 << 10;
const T0: Instant = Instant::ORIGIN;

fn session(delivery: Delivery, limits: Limits) -> Session<Framed<LengthPrefixed>> {
    let config = Config::new().delivery(delivery).limits(limits);
    Session::new(Framed::new(LengthPrefixed::u32_be(LARGEST)), config, 1, T0).expect("limits that work")
}

fn limits() -> Limits {
    Limits::new().recv_buffer(LARGEST + 4).read_ahead(AHEAD).send_buffer(2 * LARGEST)
}

fn frame(payload: usize) -> Vec<u8> {
    let mut frame = (payload as u32).to_be_bytes().to_vec();
    frame.resize(4 + payload, b'x');
    frame
}

/// Feeds as much as it wants to read now, in reads of 1 KiB.
fn feed(session: &mut Session<Framed<LengthPrefixed>>, mut bytes: impl Iterator<Item = u8>) -> usize {
    let mut fed = 0;
    while session.interest().read {
        let read: Vec<u8> = bytes.by_ref().take(1 << 10).collect();
        if read.is_empty() {
            break;
        }
        let mut room = session.recv_buf();
        let n = read.len().min(room.remaining_mut());
        room.put_slice(&read[..n]);
        assert_eq!(n, read.len(), "room for a read");
        session.received(T0);
        fed += n;
    }
    fed
}

#[test]
fn little_is_read_behind_a_message_that_nobody_takes() {
    for delivery in [Delivery::Owned, Delivery::InPlace] {
        let mut session = session(delivery, limits());
        let fed = feed(&mut session, frame(100).into_iter().cycle().take(LARGEST));
        // What is read at once, and a message that was made already.
        assert!((AHEAD..=AHEAD + 2048).contains(&fed), "{fed} bytes");
        assert!(session.interest().event, "{session:?}");

        let mut taken = 0;
        while session.interest().event {
            taken += match delivery {
                Delivery::Owned => usize::from(matches!(session.poll_event(T0), Some(Event::App(_)))),
                Delivery::InPlace => session.handle(T0, 0, 3, |_, _| {}),
            };
        }
        assert_eq!(taken, fed / 104);
        assert!(session.interest().read, "room again: {session:?}");
    }
}

#[test]
fn a_message_that_is_not_complete_has_the_whole_buffer() {
    for delivery in [Delivery::Owned, Delivery::InPlace] {
        let mut session = session(delivery, limits());
        let mut bytes = frame(LARGEST).into_iter();
        let mut fed = 0;
        loop {
            fed += feed(&mut session, bytes.by_ref());
            if fed == LARGEST + 4 {
                break;
            }
            // Whether it is complete a handler's session finds out when it is asked.
            assert_eq!((delivery, session.handle(T0, 0, 1, |_, _| {})), (Delivery::InPlace, 0), "{session:?}");
        }
        let handled = match delivery {
            Delivery::Owned => usize::from(matches!(session.poll_event(T0), Some(Event::App(_)))),
            Delivery::InPlace => session.handle(T0, 0, 1, |_, _| {}),
        };
        assert_eq!(handled, 1);
    }
}

/// What the pause does to the clocks is the same as with a full buffer: they begin anew when reading goes on.
#[test]
fn a_peer_is_not_called_silent_while_it_is_not_read() {
    let mut session = session(Delivery::Owned, limits());
    feed(&mut session, frame(100).into_iter().cycle().take(LARGEST));
    assert!(!session.interest().read);
    let hour = Instant::from_nanos(3_600_000_000_000);
    session.handle_timeout(hour);
    assert_eq!((session.cause(), session.interest().deadline), (None, None), "nobody listens");
    while session.poll_event(hour).is_some() {}
    assert!(session.interest().read && session.interest().deadline.is_some_and(|deadline| deadline.at > hour));
}

#[test]
fn a_bound_of_zero_is_refused() {
    let config = Config::new().limits(Limits::new().read_ahead(0));
    let refused =
        Session::new(Framed::new(LengthPrefixed::u32_be(10)), config, 1, T0).expect_err("it could never read");
    assert!(matches!(refused, LimitsError::Zero { name: "read_ahead" }), "{refused}");
}

/// The peer sends on; it is the handler's replies that have no room.
#[test]
fn a_message_that_no_handler_has_looked_at_is_not_late() {
    let second = |n: u64| Instant::from_nanos(n * 1_000_000_000);
    let timeouts = Timeouts::none().message(Some(Duration::from_secs(5)));
    let config = Config::new().delivery(Delivery::InPlace).limits(limits()).timeouts(timeouts);
    let mut session = Session::new(Framed::new(LengthPrefixed::u32_be(LARGEST)), config, 1, T0).expect("limits");
    let (begun, rest) = (frame(100)[..50].to_vec(), frame(100)[50..].to_vec());
    feed(&mut session, [frame(9), begun].concat().into_iter());
    assert_eq!(session.handle(T0, 0, 9, |_, replies| assert!(replies.send(&[1; LARGEST]).is_ok())), 1);
    assert_eq!(
        session.interest().deadline.map(|deadline| deadline.at),
        Some(second(5)),
        "a part of the second is here"
    );
    feed(&mut session, rest.into_iter());
    assert_eq!(session.handle(second(4), 2 * LARGEST, 9, |_, _| {}), 0, "no room for a reply");
    session.handle_timeout(second(60));
    assert_eq!(session.cause(), None);
    assert_eq!(session.handle(second(60), 0, 9, |_, _| {}), 1);
}
