//! What the simulated network did at least once, for tables of what a test never met.

/// Things that a network does, in the order of the bits of [`World::seen`](crate::World::seen).
pub const SEEN: [&str; 18] = [
    "connection request lost and sent again",
    "accept queue full: dropped",
    "accept queue full: refused",
    "connection request to nobody, or refused",
    "connections overtake one another",
    "capacity full: a writer waits",
    "bandwidth holds bytes back",
    "black hole one way",
    "black hole both ways",
    "black hole that ends",
    "FIN at a byte that the writer did not choose",
    "RST at a byte that the writer did not choose",
    "RST for what nobody reads",
    "TIME_WAIT",
    "keepalive probe of a kernel",
    "a kernel gave up on the peer",
    "clock jumps backward",
    "clock runs slow",
];

/// One of [`SEEN`], by its place.
#[derive(Clone, Copy)]
#[repr(u8)]
pub(crate) enum Sight {
    RequestLost,
    QueueDropped,
    QueueRefused,
    Refused,
    Overtaken,
    WriterWaits,
    Bandwidth,
    HoleOneWay,
    HoleBothWays,
    HoleOver,
    FinCut,
    ResetCut,
    Unread,
    TimeWait,
    Probed,
    GaveUp,
    ClockBack,
    ClockSlow,
}

/// A set of them.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sights(pub(crate) u32);

impl Sights {
    #[inline]
    pub(crate) fn saw(&mut self, sight: Sight) {
        self.0 |= 1 << sight as u8;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_sight_has_its_name() {
        assert_eq!(Sight::ClockSlow as usize + 1, SEEN.len());
        let mut sights = Sights::default();
        sights.saw(Sight::RequestLost);
        sights.saw(Sight::ClockSlow);
        assert_eq!(sights.0, 1 | 1 << 17);
    }
}
