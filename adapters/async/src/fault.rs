//! System errors as faults of a transport.

use std::io;

use duologue_core::{FaultKind, Operation, TransportFault};

/// Why the name or address to dial could not be resolved. What the system itself failed at stays that: a lack of descriptors.
#[must_use]
pub fn unresolved(error: &io::Error) -> TransportFault {
    match fault(error, Operation::Connect) {
        TransportFault { kind: FaultKind::Other, os_code: None, operation } => {
            TransportFault::new(FaultKind::Unresolved, operation)
        }
        known => known,
    }
}

/// A system error as a fault.
#[must_use]
pub fn fault(error: &io::Error, operation: Operation) -> TransportFault {
    use io::ErrorKind as E;
    let kind = match error.kind() {
        E::ConnectionReset | E::ConnectionAborted => FaultKind::Reset,
        E::BrokenPipe | E::NotConnected | E::WriteZero => FaultKind::BrokenPipe,
        E::TimedOut => FaultKind::TimedOut,
        E::HostUnreachable | E::NetworkUnreachable | E::NetworkDown => FaultKind::Unreachable,
        E::ConnectionRefused => FaultKind::Refused,
        E::UnexpectedEof => FaultKind::Truncated,
        _ => FaultKind::Other,
    };
    TransportFault { kind, operation, os_code: error.raw_os_error() }
}
