//! What the seam promises a protocol, seen from a protocol.

use core::convert::Infallible;
use core::time::Duration;

use bytes::Bytes;
use duologue_core::{
    Cause, Code, Config, Cx, Event, Instant, Limits, NoTimers, Protocol, RecvBuf, Refused, Session, Step, Timeouts,
};

/// Sends what it is told in `fill`, and says that it is done once nothing is left.
#[derive(Default)]
struct Trickle {
    left: usize,
    /// Bytes that came wait for a command from this number on.
    waits_from: usize,
}

impl Protocol for Trickle {
    type Event = Bytes;
    type Command = usize;
    type Timer = NoTimers;
    type Violation = Infallible;

    fn decode(&mut self, cx: &mut Cx<'_, Self>, rx: &mut RecvBuf) -> Result<Step<Bytes>, Infallible> {
        if rx.len() >= self.waits_from {
            cx.await_command();
        }
        Ok(Step::NeedMore { hint: 0 })
    }

    fn command(&mut self, _: &mut Cx<'_, Self>, bytes: usize) -> Result<(), Refused<usize>> {
        self.left = bytes;
        Ok(())
    }

    fn wants_fill(&self) -> bool {
        self.left > 0
    }

    fn fill(&mut self, cx: &mut Cx<'_, Self>) {
        let n = self.left.min(cx.tx.room());
        if let Ok(mut writer) = cx.tx.message(n) {
            writer.put_slice(&[b'.'; 64][..n]);
        }
        self.left -= n;
        if self.left == 0 {
            cx.close(Code(7));
        }
    }
}

fn at(seconds: u64) -> Instant {
    Instant::from_origin(Duration::from_secs(seconds))
}

fn session(protocol: Trickle, timeouts: Timeouts) -> Session<Trickle> {
    let limits = Limits::new().send_buffer(16).recv_buffer(64);
    Session::new(protocol, Config::new().limits(limits).timeouts(timeouts), 1, at(0)).expect("limits that work")
}

#[test]
fn a_protocol_that_closes_as_it_fills_what_was_transmitted_closes() {
    let mut session = session(Trickle::default(), Timeouts::default());
    session.send(at(0), 20).expect("accepted");
    assert_eq!((session.buffered().1, session.cause()), (16, None));
    session.transmitted(at(1), 16);
    assert_eq!(session.buffered().1, 4);
    assert_eq!(session.cause(), Some(&Cause::LocalClose(Code(7))), "what it asked for was forgotten");
    session.transmitted(at(1), 4);
    assert!(session.interest().shutdown_write);
}

#[test]
fn who_waits_for_our_own_command_is_not_late_with_its_message() {
    let timeouts = Timeouts::default().message(Some(Duration::from_secs(5))).idle(None);
    let mut session = session(Trickle { left: 0, waits_from: 3 }, timeouts);
    let receive = |session: &mut Session<Trickle>, now, bytes: &[u8]| {
        bytes::BufMut::put_slice(&mut session.recv_buf(), bytes);
        session.received(now);
    };
    receive(&mut session, at(1), b"ab");
    assert_eq!(session.interest().deadline.map(|deadline| deadline.at), Some(at(6)));
    receive(&mut session, at(2), b"c");
    session.handle_timeout(at(60));
    assert_eq!(session.cause(), None);
    assert_eq!(session.poll_event(at(60)).map(|event| matches!(event, Event::Closed(_))), None);
}
