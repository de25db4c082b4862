//! The two halves of one stream as transition tables: the single truth, as [`halves`](crate::halves) is for sessions.

use crate::halves::state_table;

state_table! {
    /// What the receive half of a stream does.
    StreamRecvState,
    /// What moves the receive half of a stream.
    StreamRecvInput {
        /// The peer sends nothing more on this stream.
        PeerFinish,
        /// Everything before the peer's finish was taken.
        Drained,
        /// We want nothing more of this stream.
        Stop,
        /// The stream was reset by either side, refused, or lost with its connection; or its deadline passed.
        Fail,
    }

    /// Data comes and is buffered.
    Open { PeerFinish => Draining, Stop => Discarding, Fail => Closed, }
    /// The peer finished; what it sent before waits to be taken.
    Draining { Drained => Finished, Stop => Closed, Fail => Closed, }
    /// Data that still comes is thrown away, and its credit goes back.
    Discarding { PeerFinish => Closed, Fail => Closed, }
    /// Everything up to the peer's finish was taken.
    Finished { }
    /// Nothing more comes, and not everything was taken.
    Closed { }
}

state_table! {
    /// What the send half of a stream does.
    StreamSendState,
    /// What moves the send half of a stream.
    StreamSendInput {
        /// The owner sends nothing more on this stream.
        Finish,
        /// Everything accepted was ordered, and the finish with it.
        Flushed,
        /// The stream was reset by either side, refused, or lost with its connection; its deadline passed; or the
        /// peer wants nothing more.
        Fail,
    }

    /// Data is accepted.
    Open { Finish => Finishing, Fail => Closed, }
    /// What was accepted is on its way; nothing more is accepted.
    Finishing { Flushed => Finished, Fail => Closed, }
    /// The finish was ordered after the last byte.
    Finished { }
    /// Nothing more can be sent, and no finish was.
    Closed { }
}

impl StreamRecvState {
    /// Nothing more will come.
    #[must_use]
    pub const fn is_over(self) -> bool {
        matches!(self, Self::Finished | Self::Closed)
    }

    /// The peer may still send in this state.
    #[must_use]
    pub const fn expects(self) -> bool {
        matches!(self, Self::Open | Self::Discarding)
    }
}

impl StreamSendState {
    /// Nothing more will be sent, not even a finish.
    #[must_use]
    pub const fn is_over(self) -> bool {
        matches!(self, Self::Finished | Self::Closed)
    }
}
