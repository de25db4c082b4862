//! The two halves of a session as transition tables.
//!
//! The tables are the single truth: the session moves only through [`RecvState::on`] and [`SendState::on`], the
//! exhaustive tests snapshot them, and the diagrams in `docs/` are generated from them.

/// Makes a state enum, its input enum, the transition function and the list of all transitions.
macro_rules! state_table {
    (
        $(#[$state_doc:meta])* $state:ident,
        $(#[$input_doc:meta])* $input:ident { $( $(#[$i_doc:meta])* $i:ident, )* }
        $( $(#[$s_doc:meta])* $s:ident { $( $on:ident => $to:ident, )* } )*
    ) => {
        $(#[$state_doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $state { $( $(#[$s_doc])* $s, )* }

        $(#[$input_doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $input { $( $(#[$i_doc])* $i, )* }

        impl $state {
            /// Every state.
            pub const ALL: &'static [Self] = &[ $( Self::$s, )* ];

            /// Every transition: from, by, to. What is not listed changes nothing.
            pub const TRANSITIONS: &'static [(Self, $input, Self)] =
                &[ $( $( (Self::$s, $input::$on, Self::$to), )* )* ];

            /// The state after `input`; `None` where the input means nothing in this state.
            #[must_use]
            pub const fn on(self, input: $input) -> Option<Self> {
                match (self, input) {
                    $( $( (Self::$s, $input::$on) => Some(Self::$to), )* )*
                    #[allow(unreachable_patterns)]
                    _ => None,
                }
            }
        }

        impl $input {
            /// Every input.
            pub const ALL: &'static [Self] = &[ $( Self::$i, )* ];
        }
    };
}
pub(crate) use state_table;

state_table! {
    /// What the receive half does.
    RecvState,
    /// What moves the receive half.
    RecvInput {
        /// The peer's FIN was read.
        Eof,
        /// Every message before the end of the input was decoded.
        Drained,
        /// Nobody wants further messages: close, `shutdown_read`, a violation.
        Discard,
        /// The transport can no longer be read, or was released.
        Fail,
        /// The owner aborted: nothing more, not even what is buffered.
        Stop,
    }

    /// Bytes are read and decoded.
    Open { Eof => Draining, Discard => Discarding, Fail => Salvaging, Stop => Closed, }
    /// The peer's FIN was read; messages before it are still being decoded.
    Draining { Drained => Finished, Discard => Closed, Stop => Closed, }
    /// The transport failed; messages received before are still being decoded.
    Salvaging { Drained => Closed, Discard => Closed, Stop => Closed, }
    /// Bytes are read only to be thrown away, so that the peer can finish reading what we sent.
    Discarding { Eof => Closed, Fail => Closed, Stop => Closed, }
    /// Everything up to the peer's FIN was decoded.
    Finished { Stop => Closed, }
    /// Nothing is read any more, and not everything was decoded.
    Closed { }
}

state_table! {
    /// What the send half does.
    SendState,
    /// What moves the send half.
    SendInput {
        /// The owner wants to send nothing more.
        Finish,
        /// The protocol's goodbye has begun.
        Close,
        /// The goodbye is over: answered, not needed, or too late.
        GoodbyeDone,
        /// Everything accepted was handed to the transport, and our FIN is due.
        Flushed,
        /// Everything accepted was handed to the transport; our FIN waits for the peer's.
        Hold,
        /// The peer finished, or took too long to: our FIN is due.
        PeerFirstDone,
        /// The transport sent our FIN.
        ShutdownDone,
        /// The transport can no longer be written, or was released.
        Fail,
    }

    /// Commands are accepted.
    Open { Finish => Flushing, Close => Closing, Fail => Closed, }
    /// The goodbye waits for the peer's answer; nothing more is accepted.
    Closing { GoodbyeDone => Flushing, Fail => Closed, }
    /// What was accepted is on its way; nothing more is accepted.
    Flushing { Flushed => ShuttingDown, Hold => Holding, Fail => Closed, }
    /// All is flushed; the FIN is held back until the peer's (close order peer-first).
    Holding { PeerFirstDone => ShuttingDown, Fail => Closed, }
    /// The transport is asked to send FIN.
    ShuttingDown { ShutdownDone => Finished, Fail => Closed, }
    /// Our FIN was sent after the last byte.
    Finished { }
    /// Nothing can be sent any more, and no FIN was sent.
    Closed { }
}

impl RecvState {
    /// The peer's bytes are read in this state.
    #[must_use]
    #[inline]
    pub const fn reads(self) -> bool {
        matches!(self, Self::Open | Self::Discarding)
    }

    /// Buffered bytes are decoded in this state.
    #[must_use]
    #[inline]
    pub const fn decodes(self) -> bool {
        matches!(self, Self::Open | Self::Draining | Self::Salvaging)
    }

    /// Nothing more will be decoded.
    #[must_use]
    #[inline]
    pub const fn is_over(self) -> bool {
        matches!(self, Self::Finished | Self::Closed)
    }
}

impl SendState {
    /// Queued bytes are offered to the transport in this state.
    #[must_use]
    #[inline]
    pub const fn writes(self) -> bool {
        matches!(self, Self::Open | Self::Closing | Self::Flushing)
    }

    /// Nothing more will be written, not even a FIN.
    #[must_use]
    #[inline]
    pub const fn is_over(self) -> bool {
        matches!(self, Self::Finished | Self::Closed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_transition_listed_is_the_one_taken_and_no_other_exists() {
        let mut taken = 0;
        for state in RecvState::ALL {
            for input in RecvInput::ALL {
                let listed = RecvState::TRANSITIONS.iter().find(|(from, by, _)| from == state && by == input);
                assert_eq!(state.on(*input), listed.map(|(_, _, to)| *to), "{state:?} on {input:?}");
                taken += usize::from(listed.is_some());
            }
        }
        assert_eq!(taken, RecvState::TRANSITIONS.len());
        let taken: usize =
            SendState::ALL.iter().flat_map(|s| SendInput::ALL.iter().filter(move |i| s.on(**i).is_some())).count();
        assert_eq!(taken, SendState::TRANSITIONS.len());
    }

    #[test]
    fn what_a_state_does_is_as_documented() {
        let recv = |does: fn(RecvState) -> bool| RecvState::ALL.iter().copied().filter(move |s| does(*s));
        assert!(recv(RecvState::reads).eq([RecvState::Open, RecvState::Discarding]));
        assert!(recv(RecvState::decodes).eq([RecvState::Open, RecvState::Draining, RecvState::Salvaging]));
        assert!(recv(RecvState::is_over).eq([RecvState::Finished, RecvState::Closed]));
        let send = |does: fn(SendState) -> bool| SendState::ALL.iter().copied().filter(move |s| does(*s));
        assert!(send(SendState::writes).eq([SendState::Open, SendState::Closing, SendState::Flushing]));
        assert!(send(SendState::is_over).eq([SendState::Finished, SendState::Closed]));
    }

    #[test]
    fn nothing_leaves_an_ended_half() {
        assert!(RecvInput::ALL.iter().all(|i| RecvState::Closed.on(*i).is_none()));
        for state in [SendState::Finished, SendState::Closed] {
            assert!(SendInput::ALL.iter().all(|i| state.on(*i).is_none()), "{state:?}");
        }
    }
}
