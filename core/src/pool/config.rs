//! What a pool's owner decides once.

use core::time::Duration;

use thiserror::Error;

use crate::config::setters;

/// How long the side that closed first keeps a port from being used again on Linux (`TCP_TIMEWAIT_LEN`; it is a
/// constant of the kernel, and `tcp_fin_timeout` is something else).
pub const TIME_WAIT: Duration = Duration::from_secs(60);

/// The bounds and times of a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PoolConfig {
    /// Most sockets in all, whatever their state. Default 1024.
    pub total: u32,
    /// Most sockets per target, whatever their state. Default 64.
    pub per_target: u32,
    /// Users that may share one connection. Default 1; a protocol with streams takes more.
    pub users_per_connection: u32,
    /// Most callers that may wait, over all targets, at least one: each waits until it has its answer. Default 1024.
    pub waiting: usize,
    /// A dial that takes longer is given up. Default 10 s.
    pub dial_within: Duration,
    /// A connection that nobody used for this long is closed. Default 90 s.
    pub idle: Option<Duration>,
    /// A connection older than this is closed once nobody uses it. Default 10 min.
    pub life: Option<Duration>,
    /// By how much `idle` and `life` are shortened at random, in percent, so that connections made together do not end
    /// together. Default 20.
    pub jitter_percent: u8,
    /// A connection that was idle for this long is probed before it is given out; more than 0. Default never.
    pub probe_after: Option<Duration>,
    /// A probe that is not answered in this time failed. Default 5 s.
    pub probe_within: Duration,
    /// The pause after a dial failed that nobody waited for. Default 1 s.
    pub warm_retry: Duration,
    /// The local ports that a target may take up.
    pub ports: PortBudget,
}

impl Default for PoolConfig {
    fn default() -> Self {
        Self {
            total: 1024,
            per_target: 64,
            users_per_connection: 1,
            waiting: 1024,
            dial_within: Duration::from_secs(10),
            idle: Some(Duration::from_secs(90)),
            life: Some(Duration::from_secs(600)),
            jitter_percent: 20,
            probe_after: None,
            probe_within: Duration::from_secs(5),
            warm_retry: Duration::from_secs(1),
            ports: PortBudget::default(),
        }
    }
}

setters!(PoolConfig {
    /// Sets the bound on sockets in all.
    total: u32,
    /// Sets the bound on sockets per target.
    per_target: u32,
    /// Sets how many users may share a connection.
    users_per_connection: u32,
    /// Sets the bound on callers that wait.
    waiting: usize,
    /// Sets how long a dial may take.
    dial_within: Duration,
    /// Sets how long an unused connection is kept.
    idle: Option<Duration>,
    /// Sets how old a connection may become.
    life: Option<Duration>,
    /// Sets by how much `idle` and `life` are shortened at random.
    jitter_percent: u8,
    /// Sets after how much idleness a connection is probed.
    probe_after: Option<Duration>,
    /// Sets how long a probe may take.
    probe_within: Duration,
    /// Sets the pause after a failed dial that nobody waited for.
    warm_retry: Duration,
    /// Sets the port budget.
    ports: PortBudget,
});

impl PoolConfig {
    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    pub(super) fn validate(&self) -> Result<(), PoolConfigError> {
        let numbers = [
            ("total", u64::from(self.total)),
            ("per_target", u64::from(self.per_target)),
            ("users_per_connection", u64::from(self.users_per_connection)),
            ("waiting", self.waiting as u64),
            ("ports.limit", u64::from(self.ports.limit)),
        ];
        let times = [
            ("dial_within", Some(self.dial_within)),
            ("idle", self.idle),
            ("life", self.life),
            ("probe_after", self.probe_after),
            ("probe_within", Some(self.probe_within)),
            ("warm_retry", Some(self.warm_retry)),
        ];
        let zero = numbers.into_iter().find(|(_, value)| *value == 0).map(|(name, _)| name);
        let zero = zero.or(times.into_iter().find(|(_, time)| *time == Some(Duration::ZERO)).map(|(name, _)| name));
        match zero {
            Some(name) => Err(PoolConfigError::Zero { name }),
            None if self.jitter_percent > 100 => Err(PoolConfigError::Jitter { percent: self.jitter_percent }),
            None => Ok(()),
        }
    }
}

/// How many local ports one target may take up: every open socket has one, and every connection that we closed first
/// keeps one for the TIME_WAIT time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortBudget {
    /// Ports per target. The default, 28 000, is a little less than Linux's default range; an adapter reads the system's.
    pub limit: u32,
    /// How long a closed connection keeps its port. Default [`TIME_WAIT`].
    pub time_wait: Duration,
    /// What happens to callers when no port is left.
    pub at_limit: AtPortLimit,
}

impl Default for PortBudget {
    fn default() -> Self {
        Self { limit: 28_000, time_wait: TIME_WAIT, at_limit: AtPortLimit::Queue }
    }
}

/// What happens to a caller that needs a port when none is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum AtPortLimit {
    /// It waits, within its own deadline, until a connection or a port comes free.
    #[default]
    Queue,
    /// It is refused at once with [`Refusal::PortsExhausted`](super::Refusal::PortsExhausted).
    Refuse,
}

/// A configuration that cannot work. Nothing was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PoolConfigError {
    /// A bound or a time of zero would let nobody through.
    #[error("pool setting `{name}` is 0: nobody could ever get a connection; set it higher")]
    Zero {
        /// The setting.
        name: &'static str,
    },
    /// More than the whole.
    #[error("jitter_percent is {percent}: at most 100 can be taken off")]
    Jitter {
        /// What was set.
        percent: u8,
    },
}
