use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::time::Duration;

use super::*;
use crate::pool::Delivery;
use crate::session::Stats;

const SECOND: Duration = Duration::from_secs(1);

fn at(seconds: u64) -> Instant {
    Instant::from_origin(Duration::from_secs(seconds))
}

fn start(backoff: Backoff, breaker: Option<Breaker>) -> Reconnect {
    Reconnect::new(backoff, breaker, 11, at(0)).expect("pauses that work")
}

fn attempt(machine: &mut Reconnect, now: Instant) -> (Generation, Instant) {
    let Some(Order::Connect { generation, deadline }) = machine.poll_order(now) else { panic!("an attempt is due") };
    assert_eq!(machine.poll_order(now), None, "one at a time");
    (generation, deadline)
}

/// When the next attempt is due.
fn due(machine: &Reconnect) -> Instant {
    machine.deadline().expect("it waits").at
}

#[test]
fn the_pauses_are_grpcs() {
    let mut machine = start(Backoff::new().jitter_percent(0), None);
    let mut now = at(0);
    let mut pauses = Vec::new();
    for n in 1..=14 {
        let (generation, deadline) = attempt(&mut machine, now);
        assert_eq!(generation, Generation(n));
        machine.connect_failed(now, generation);
        let next = due(&machine);
        assert_eq!(deadline, next.max(now.after(20 * SECOND)), "an attempt has at least 20 s");
        pauses.push(next.since(now).as_millis());
        now = next;
    }
    let expected =
        [1000, 1600, 2560, 4096, 6553, 10485, 16777, 26843, 42949, 68719, 109_951, 120_000, 120_000, 120_000];
    assert_eq!(pauses, expected);
}

#[test]
fn the_pause_counts_from_the_beginning_of_the_attempt() {
    let mut machine = start(Backoff::new().jitter_percent(0), None);
    let (first, _) = attempt(&mut machine, at(0));
    // The attempt took longer than its pause: the next one is due at once.
    machine.connect_failed(at(15), first);
    assert_eq!(due(&machine), at(15));
    let (second, _) = attempt(&mut machine, at(15));
    machine.connect_failed(at(16), second);
    assert_eq!(due(&machine), at(15).after(Duration::from_millis(1600)));
}

#[test]
fn jitter_goes_a_fifth_either_way_and_follows_the_seed() {
    let pauses = |seed| {
        let mut machine = Reconnect::new(Backoff::new().cap(10 * SECOND), None, seed, at(0)).expect("works");
        let mut now = at(0);
        let mut pauses = Vec::new();
        for _ in 0..200 {
            let (generation, _) = attempt(&mut machine, now);
            machine.connect_failed(now, generation);
            pauses.push(due(&machine).since(now).as_millis());
            now = due(&machine);
        }
        pauses
    };
    let some = pauses(1);
    assert!((800..=1200).contains(&some[0]), "{}", some[0]);
    let late = &some[10..];
    assert!(late.iter().all(|pause| (8_000..=12_000).contains(pause)), "{late:?}");
    assert!(late.iter().any(|p| *p < 8_400) && late.iter().any(|p| *p > 11_600), "{late:?}");
    assert_eq!(some, pauses(1));
    assert_ne!(some, pauses(2));
}

#[test]
fn only_a_useful_connection_starts_the_pauses_anew() {
    let mut machine = start(Backoff::new().jitter_percent(0), None);
    for (now, next) in [(0, 1000), (1, 2600)] {
        let (generation, _) = attempt(&mut machine, at(0).after(Duration::from_millis(now * 1000)));
        machine.connected(at(now), generation);
        machine.lost(at(now), generation);
        assert_eq!(due(&machine), at(0).after(Duration::from_millis(next)), "it accepted and dropped");
    }
    let now = due(&machine);
    let (generation, _) = attempt(&mut machine, now);
    machine.connected(now, generation);
    assert_eq!(machine.failures(), 2);
    machine.proved_useful(generation);
    assert_eq!(machine.failures(), 0);
    machine.lost(at(9), generation);
    assert_eq!(due(&machine), at(9), "at once");
    let (generation, _) = attempt(&mut machine, at(9));
    machine.connect_failed(at(9), generation);
    assert_eq!(due(&machine), at(10), "and from the first pause on");
}

#[test]
fn a_server_that_says_one_thing_and_drops_is_not_dialled_at_full_speed() {
    let mut machine = start(Backoff::new().jitter_percent(0), None);
    let millis = |n| at(0).after(Duration::from_millis(n));
    for second in 0..5 {
        let began = at(second);
        assert_eq!(due(&machine), began);
        let (generation, _) = attempt(&mut machine, began);
        machine.connected(began, generation);
        machine.proved_useful(generation);
        machine.lost(millis(second * 1000 + 10), generation);
        assert_eq!(machine.failures(), 0, "it is no failure, and the pause does not grow");
    }
    // One that lived longer than the first pause is replaced at once.
    let (generation, _) = attempt(&mut machine, at(5));
    machine.connected(at(5), generation);
    machine.proved_useful(generation);
    machine.lost(millis(6_001), generation);
    assert_eq!(due(&machine), millis(6_001));
    // With its jitter: clients that lose a server together do not return together.
    let mut machines = [1, 2].map(|seed| Reconnect::new(Backoff::new(), None, seed, at(0)).expect("pauses that work"));
    let dues = machines.each_mut().map(|machine| {
        let (generation, _) = attempt(machine, at(0));
        machine.connected(at(0), generation);
        machine.proved_useful(generation);
        machine.lost(at(0), generation);
        due(machine)
    });
    assert!(dues[0] != dues[1] && dues.iter().all(|due| (millis(800)..=millis(1200)).contains(due)), "{dues:?}");
}

#[test]
fn a_connection_that_stood_for_long_was_useful() {
    let mut machine = start(Backoff::new().stable_after(Some(30 * SECOND)), None);
    let (generation, _) = attempt(&mut machine, at(0));
    machine.connected(at(0), generation);
    machine.lost(at(30), generation);
    assert_eq!((due(&machine), machine.failures()), (at(30), 0));
}

#[test]
fn the_circuit_opens_tries_one_and_closes_only_by_use() {
    let breaker = Breaker { failures: 3, open_for: 60 * SECOND };
    let mut machine = start(Backoff::new().jitter_percent(0), Some(breaker));
    for _ in 0..3 {
        assert_eq!(machine.circuit(), Circuit::Closed);
        let now = due(&machine);
        let (generation, _) = attempt(&mut machine, now);
        machine.connect_failed(now, generation);
    }
    let until = due(&machine);
    assert_eq!(machine.circuit(), Circuit::Open { until });
    assert_eq!(until, at(0).after(Duration::from_millis(2600)).after(60 * SECOND));
    assert_eq!(machine.poll_order(at(50)), None);
    let (generation, _) = attempt(&mut machine, until);
    assert_eq!(machine.circuit(), Circuit::HalfOpen);
    // One failure is enough now.
    machine.connect_failed(until, generation);
    let again = due(&machine);
    assert_eq!(machine.circuit(), Circuit::Open { until: again });
    assert!(again >= until.after(60 * SECOND));
    let (generation, _) = attempt(&mut machine, again);
    machine.connected(again, generation);
    assert_eq!(machine.circuit(), Circuit::HalfOpen, "a connection is not yet a use");
    machine.proved_useful(generation);
    assert_eq!(machine.circuit(), Circuit::Closed);
}

#[test]
fn an_attempt_without_an_answer_fails_at_its_deadline() {
    let mut machine = start(Backoff::new(), None);
    let (generation, deadline) = attempt(&mut machine, at(0));
    assert_eq!(machine.deadline().map(|d| (d.at, d.reason)), Some((deadline, TimeoutReason::Connect)));
    machine.handle_timeout(at(19));
    assert_eq!(machine.failures(), 0);
    machine.handle_timeout(deadline);
    assert_eq!(machine.failures(), 1);
    machine.connected(deadline, generation);
    assert!(!machine.is_up(), "too late");
}

#[test]
fn facts_of_another_generation_change_nothing() {
    let mut machine = start(Backoff::new(), None);
    let (old, _) = attempt(&mut machine, at(0));
    machine.connected(at(0), old);
    machine.proved_useful(old);
    machine.lost(at(1), old);
    let (new, _) = attempt(&mut machine, at(1));
    machine.connected(at(1), old);
    machine.connect_failed(at(1), old);
    assert!(!machine.is_up() && machine.failures() == 0);
    machine.connected(at(1), new);
    machine.lost(at(2), old);
    machine.proved_useful(old);
    assert!(machine.is_up());
    machine.lost(at(2), new);
    assert_eq!(machine.failures(), 1, "nobody said that the new one was useful");
    machine.stop();
    assert_eq!((machine.poll_order(at(999)), machine.deadline()), (None, None));
}

#[test]
fn pauses_that_cannot_work_are_refused() {
    let refused = |backoff: Backoff| Reconnect::new(backoff, None, 1, at(0)).err();
    assert_eq!(refused(Backoff::new().initial(Duration::ZERO)), Some(BackoffError::Zero { name: "initial" }));
    assert_eq!(refused(Backoff::new().factor_percent(99)), Some(BackoffError::Shrinks { factor_percent: 99 }));
    assert_eq!(refused(Backoff::new().jitter_percent(100)), Some(BackoffError::Jitter { percent: 100 }));
}

fn stats(flushed: u64, begun: u64) -> Stats {
    Stats { flushed, begun, ..Stats::default() }
}

fn fates(outbox: &mut Outbox<u32>) -> Vec<Fate<u32>> {
    core::iter::from_fn(|| outbox.poll_fate()).map(|(_, fate)| fate).collect()
}

/// Four messages: one flushed, one cut in the middle, one accepted, one waiting.
fn in_the_middle(policy: Queued) -> Outbox<u32> {
    let mut outbox = Outbox::new(policy, 10);
    outbox.connected(Generation(1), Vec::new());
    for n in 1..=4 {
        outbox.push(n).expect("room");
    }
    for n in 0..3 {
        outbox.accept_front(n, n + 1);
    }
    outbox.lost(&stats(1, 2));
    outbox
}

#[test]
fn only_what_is_known_unsent_is_sent_again() {
    use Delivery::{NotSent, PossiblySent};
    let one = Some(Generation(1));
    let sent = Fate::Sent { generation: Generation(1), number: 1 };
    let back = |command, delivery, generation| Fate::Returned { command, delivery, generation };

    let mut outbox = in_the_middle(Queued::ResendUnsent);
    assert_eq!(fates(&mut outbox), [sent.clone(), back(2, PossiblySent, one)]);
    outbox.connected(Generation(2), Vec::new());
    assert_eq!(outbox.front(), Some(&3), "in the old order");
    outbox.accept_front(0, 1);
    assert_eq!(outbox.front(), Some(&4));
    outbox.flushed(&stats(1, 1));
    assert_eq!(fates(&mut outbox), [Fate::Sent { generation: Generation(2), number: 1 }]);

    let mut outbox = in_the_middle(Queued::Keep);
    assert_eq!(fates(&mut outbox), [sent.clone(), back(2, PossiblySent, one), back(3, NotSent, one)]);
    assert_eq!((outbox.front(), outbox.len()), (None, 1), "it waits for a connection");
    outbox.give_all_back();
    assert_eq!(fates(&mut outbox), [back(4, NotSent, None)]);

    let mut outbox = in_the_middle(Queued::Drop);
    let all = [sent, back(2, PossiblySent, one), back(3, NotSent, one), back(4, NotSent, None)];
    assert_eq!(fates(&mut outbox), all);
    assert_eq!(outbox.push(5), Err(5), "nothing is kept while there is no connection");
}

#[test]
fn what_subscribes_anew_goes_first_on_each_connection_and_with_it() {
    let mut outbox = Outbox::new(Queued::ResendUnsent, 1);
    let ticket = outbox.push(7).expect("room");
    assert_eq!(outbox.push(8), Err(8), "full");
    outbox.connected(Generation(1), [100, 101].into());
    assert_eq!(outbox.front(), Some(&100));
    outbox.accept_front(0, 1);
    outbox.lost(&stats(0, 0));
    outbox.connected(Generation(2), [200].into());
    assert_eq!(outbox.front(), Some(&200));
    outbox.accept_front(0, 1);
    assert_eq!(outbox.front(), Some(&7));
    outbox.accept_front(1, 2);
    outbox.flushed(&stats(2, 2));
    assert_eq!(outbox.poll_fate(), Some((ticket, Fate::Sent { generation: Generation(2), number: 2 })));
    assert_eq!(outbox.poll_fate(), None);
}

#[test]
fn a_message_can_be_taken_back_until_a_connection_has_it() {
    let mut outbox = Outbox::new(Queued::Keep, 9);
    let (first, second) = (outbox.push(1).expect("room"), outbox.push(2).expect("room"));
    outbox.connected(Generation(1), Vec::new());
    outbox.accept_front(0, 1);
    assert_eq!((outbox.cancel(first), outbox.cancel(second), outbox.cancel(second)), (None, Some(2), None));
    outbox.push(3).expect("room");
    outbox.reject_front();
    let back = Fate::Returned { command: 3, delivery: Delivery::NotSent, generation: Some(Generation(1)) };
    assert_eq!(fates(&mut outbox), [back]);
}

#[test]
fn a_command_of_several_messages_is_unsent_only_as_a_whole() {
    for (begun, delivery) in [(2, Delivery::NotSent), (3, Delivery::PossiblySent)] {
        let mut outbox = Outbox::new(Queued::Keep, 9);
        outbox.connected(Generation(1), Vec::new());
        outbox.push(1).expect("room");
        // The protocol sent two of its own accord before.
        outbox.accept_front(2, 5);
        outbox.flushed(&stats(4, 4));
        assert_eq!(outbox.poll_fate(), None, "its last part is still queued");
        outbox.lost(&stats(2, begun));
        let back = Fate::Returned { command: 1, delivery, generation: Some(Generation(1)) };
        assert_eq!(fates(&mut outbox), [back]);
    }
}

/// Any order of calls: each message gets one fate, none is sent twice, order is kept.
#[test]
fn every_message_has_exactly_one_fate() {
    for seed in 0..2000 {
        let mut rng = Rng::new(seed);
        let policy = [Queued::Drop, Queued::Keep, Queued::ResendUnsent][rng.below(3) as usize];
        let mut outbox = Outbox::new(policy, 1 + rng.below(8) as usize);
        // What the peer has, per connection, by message; and each message's fate.
        let mut arrived: BTreeMap<u32, u64> = BTreeMap::new();
        let mut told: BTreeMap<Ticket, Fate<u32>> = BTreeMap::new();
        let mut pushed: BTreeMap<Ticket, u32> = BTreeMap::new();
        let mut taken_back = 0;
        let (mut generation, mut up, mut wire, mut now) = (0, false, Vec::new(), stats(0, 0));
        for message in 0..60 {
            match rng.below(6) {
                0 if !up => {
                    generation += 1;
                    (up, wire, now) = (true, Vec::new(), stats(0, 0));
                    outbox.connected(Generation(generation), Vec::new());
                }
                1 if up => {
                    // The transport took more, up to the middle of a message.
                    now.begun = now.flushed + rng.below(wire.len() as u64 - now.flushed + 1);
                    now.flushed = now.begun - rng.below(1 + u64::from(now.begun > now.flushed));
                    outbox.flushed(&now);
                    if rng.below(3) == 0 {
                        up = false;
                        for message in &wire[..now.begun as usize] {
                            *arrived.entry(*message).or_default() += 1;
                        }
                        outbox.lost(&now);
                    }
                }
                2 => {
                    if let Some((ticket, _)) = pushed.iter().nth(rng.below(pushed.len() as u64 + 1) as usize) {
                        taken_back += usize::from(outbox.cancel(*ticket).is_some());
                    }
                }
                3 if up => {
                    if let Some(message) = outbox.front().copied() {
                        wire.push(message);
                        outbox.accept_front(wire.len() as u64 - 1, wire.len() as u64);
                    }
                }
                _ => {
                    if let Ok(ticket) = outbox.push(message) {
                        assert!(pushed.insert(ticket, message).is_none());
                    }
                }
            }
            while let Some((ticket, fate)) = outbox.poll_fate() {
                assert!(told.insert(ticket, fate).is_none(), "seed {seed}: two fates");
            }
        }
        for message in &wire[..if up { now.begun as usize } else { 0 }] {
            *arrived.entry(*message).or_default() += 1;
        }
        if up {
            outbox.lost(&now);
        }
        outbox.give_all_back();
        while let Some((ticket, fate)) = outbox.poll_fate() {
            assert!(told.insert(ticket, fate).is_none(), "seed {seed}: two fates");
        }
        assert!(outbox.is_empty(), "seed {seed}");
        assert_eq!(told.len() + taken_back, pushed.len(), "seed {seed}: one has no fate");
        assert!(arrived.values().all(|times| *times == 1), "seed {seed}: sent twice");
        for (ticket, fate) in told {
            let may_be_there = match fate {
                Fate::Sent { .. } => true,
                Fate::Returned { delivery, .. } => delivery == Delivery::PossiblySent,
            };
            assert_eq!(arrived.contains_key(&pushed[&ticket]), may_be_there, "seed {seed}: {ticket:?}");
        }
    }
}

#[test]
fn a_peer_may_ask_for_a_pause_and_never_for_haste() {
    let mut machine = start(Backoff::new(), None);
    let (generation, _) = attempt(&mut machine, at(0));
    machine.hold_off(at(100));
    assert_eq!(machine.deadline().map(|deadline| deadline.reason), Some(TimeoutReason::Connect), "one is under way");
    machine.connected(at(0), generation);
    machine.proved_useful(generation);
    machine.lost(at(1), generation);
    machine.hold_off(at(6));
    machine.hold_off(at(2));
    assert_eq!(machine.poll_order(at(5)), None);
    assert_eq!(machine.deadline().map(|deadline| deadline.at), Some(at(6)));
    attempt(&mut machine, at(6));
}
