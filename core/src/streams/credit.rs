//! The credit ledger: how much each side may send, per stream and per connection.
//!
//! One law in both directions: **granted = used + available**, and on the receiving side **used = held + released**.
//! Credit is never made up and never forgotten: what was received and not released is held, what was released and not
//! granted anew is returnable, and available + held + returnable is the window.

/// How the receiver tells the sender that it may send more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CreditStyle {
    /// By so many bytes more (yamux, HTTP/2).
    Increments,
    /// By how many bytes were consumed in all since the beginning (bRPC). What is not more than before is ignored.
    Totals,
    /// Not at all: only the receiver's buffer bounds the stream.
    Unlimited,
}

/// Credit that the peer gave us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SendCredit {
    granted: i64,
    used: i64,
}

/// A grant that cannot be right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct OverGrant {
    pub(super) available: i64,
    pub(super) limit: i64,
}

impl SendCredit {
    pub(super) const fn new(window: u32) -> Self {
        Self { granted: window as i64, used: 0 }
    }

    /// Bytes that the peer allowed since the beginning.
    #[must_use]
    pub const fn granted(&self) -> i64 {
        self.granted
    }

    /// Bytes sent since the beginning.
    #[must_use]
    pub const fn used(&self) -> i64 {
        self.used
    }

    /// Bytes that may be sent now. Negative after the peer made its window smaller, or after a message that was
    /// admitted whole.
    #[must_use]
    pub const fn available(&self) -> i64 {
        self.granted - self.used
    }

    #[inline]
    pub(super) fn spend(&mut self, n: usize) {
        self.used += n as i64;
    }

    /// So many bytes more.
    pub(super) fn grant(&mut self, n: u32, limit: u32) -> Result<(), OverGrant> {
        self.shift(i64::from(n), limit)
    }

    /// The whole window moves, either way.
    pub(super) fn shift(&mut self, by: i64, limit: u32) -> Result<(), OverGrant> {
        let (available, limit) = (self.available() + by, i64::from(limit));
        if available > limit {
            return Err(OverGrant { available, limit });
        }
        self.granted += by;
        Ok(())
    }

    /// So many bytes consumed in all, of a window that does not change. Fewer than told before are ignored; tells
    /// whether it were more.
    pub(super) fn consumed(&mut self, total: u64, window: u32) -> Result<bool, OverGrant> {
        let told = i64::try_from(total).unwrap_or(i64::MAX);
        if told > self.used {
            return Err(OverGrant { available: told, limit: self.used });
        }
        let granted = i64::from(window) + told;
        let grows = granted > self.granted;
        self.granted = self.granted.max(granted);
        Ok(grows)
    }
}

/// Credit that we gave the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecvCredit {
    granted: i64,
    used: i64,
    released: i64,
    window: u32,
}

impl RecvCredit {
    pub(super) const fn new(window: u32) -> Self {
        Self { granted: window as i64, used: 0, released: 0, window }
    }

    /// Bytes that we allowed since the beginning.
    #[must_use]
    pub const fn granted(&self) -> i64 {
        self.granted
    }

    /// Bytes received since the beginning.
    #[must_use]
    pub const fn used(&self) -> i64 {
        self.used
    }

    /// Received bytes that were released since the beginning.
    #[must_use]
    pub const fn released(&self) -> i64 {
        self.released
    }

    /// Bytes that the peer may send now.
    #[must_use]
    pub const fn available(&self) -> i64 {
        self.granted - self.used
    }

    /// Received bytes that were not released.
    #[must_use]
    pub const fn held(&self) -> i64 {
        self.used - self.released
    }

    /// Bytes that can be granted anew now.
    #[must_use]
    pub const fn returnable(&self) -> i64 {
        self.window as i64 + self.released - self.granted
    }

    /// The window aimed at: available + held + returnable.
    #[must_use]
    pub const fn window(&self) -> u32 {
        self.window
    }

    #[inline]
    pub(super) fn receive(&mut self, n: usize) {
        self.used += n as i64;
    }

    #[inline]
    pub(super) fn release(&mut self, n: usize) {
        self.released += n as i64;
    }

    /// Enough came back to tell the peer.
    #[inline]
    pub(super) fn is_due(&self, fraction: u8) -> bool {
        let returnable = self.returnable();
        returnable > 0 && returnable >= i64::from(self.window.checked_shr(u32::from(fraction)).unwrap_or(0))
    }

    /// Gives everything that is returnable, and tells how much that is.
    pub(super) fn grant(&mut self) -> u32 {
        let n = u32::try_from(self.returnable()).unwrap_or(0);
        self.granted += i64::from(n);
        n
    }

    pub(super) fn set_window(&mut self, window: u32) {
        self.window = window;
    }

    /// The peer heard of a new window: the whole credit moves with it, either way.
    pub(super) fn move_window(&mut self, window: u32) {
        self.granted += i64::from(window) - i64::from(self.window);
        self.window = window;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_that_becomes_smaller_turns_credit_negative_and_grants_mend_it() {
        let mut credit = SendCredit::new(100);
        credit.spend(80);
        assert_eq!(credit.shift(-60, 1000), Ok(()));
        assert_eq!(credit.available(), -40);
        assert_eq!(credit.grant(50, 1000), Ok(()));
        assert_eq!(credit.available(), 10);
        assert_eq!(credit.granted(), credit.used() + credit.available());
    }

    #[test]
    fn too_much_credit_is_refused_and_changes_nothing() {
        let mut credit = SendCredit::new(100);
        assert_eq!(credit.grant(901, 1000), Err(OverGrant { available: 1001, limit: 1000 }));
        assert_eq!(credit.available(), 100);
    }

    #[test]
    fn totals_never_go_back_and_never_beyond_what_was_sent() {
        let mut credit = SendCredit::new(64);
        credit.spend(78);
        assert_eq!(credit.available(), -14);
        assert_eq!(credit.consumed(26, 64), Ok(true));
        assert_eq!(credit.available(), 12);
        assert_eq!(credit.consumed(10, 64), Ok(false));
        assert_eq!(credit.available(), 12, "an older total changes nothing");
        assert!(credit.consumed(79, 64).is_err());
        assert!(credit.consumed(u64::MAX, 64).is_err());
    }

    #[test]
    fn what_is_given_back_was_released_before() {
        let mut credit = RecvCredit::new(100);
        credit.receive(60);
        assert!(!credit.is_due(1));
        credit.release(60);
        assert!(credit.is_due(1));
        assert_eq!((credit.grant(), credit.available(), credit.returnable()), (60, 100, 0));
        credit.set_window(250);
        assert_eq!(credit.grant(), 150);
        credit.move_window(50);
        assert_eq!(credit.available(), 50);
    }
}
