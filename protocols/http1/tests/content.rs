//! Content in chunks: what stands behind it, and floods of it.

mod support;

use duologue_http1::{ServerEvent, ServerSettings};
use support::*;

#[test]
fn trailers_are_never_taken_for_headers() {
    let request =
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nX-Admin: yes\r\n\r\n";
    for cut in [usize::MAX, 1] {
        let mut session = server(ServerSettings::new());
        let mut events = Vec::new();
        for piece in request.chunks(cut) {
            assert_eq!(feed(&mut session, T0, piece), piece.len());
            events.extend(messages(&mut session, T0));
        }
        let seen = requests(events);
        assert_eq!((seen.len(), text(&mut session, T0).as_str()), (1, ""));
        assert!(seen[0].headers.iter().all(|(name, _)| name != "x-admin"), "{seen:?}");
        assert_eq!(seen[0].trailers, [("x-admin".to_string(), "yes".to_string())]);
    }
}

#[test]
fn a_flood_of_chunks_of_one_byte_is_back_pressure_and_no_error() {
    let mut session = server(ServerSettings::new());
    feed(&mut session, T0, b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    let flood = b"1\r\nx\r\n".repeat(100_000);
    // Nobody takes an event: what the session keeps is bounded, and then it reads no more.
    let taken = feed(&mut session, T0, &flood);
    assert!(taken < flood.len() && !session.interest().read, "{taken} bytes were read for nobody");
    let (bytes, _) = session.buffered();
    assert!(bytes <= taken && taken <= 1 << 18, "{taken} read, {bytes} kept");
    // Taken one by one they are all there, and nothing else was kept of them.
    let (mut rest, mut content) = (&flood[taken..], 0);
    while content < 100_000 {
        let seen = messages(&mut session, T0);
        assert!(!seen.is_empty(), "{content} bytes, and no more");
        content += seen.iter().filter(|event| matches!(event, ServerEvent::Data(_))).count();
        rest = &rest[feed(&mut session, T0, rest)..];
    }
    assert_eq!((content, session.cause()), (100_000, None));
    assert_eq!(text(&mut session, T0), "");
}
