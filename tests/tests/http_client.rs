//! The pooled HTTP client on every runtime, against servers that say byte for byte what a test wants.

#[path = "http_client/events.rs"]
mod events;
#[path = "http_client/late.rs"]
mod late;
#[path = "http_client/peer.rs"]
mod peer;
#[path = "http_client/streaming.rs"]
mod streaming;
#[path = "http_client/unsent.rs"]
mod unsent;

use std::net::SocketAddr;

use duologue_async::PoolOptions;
use duologue_async::http1::{HttpCarrier, HttpClient};
use duologue_core::pool::PoolConfig;
use duologue_http1::http::Method;
use duologue_http1::{ClientSettings, Request};
use duologue_tests::bounds::{pause, step};
use peer::STEP;

fn client<R: HttpCarrier>(connections: u32) -> HttpClient<R> {
    let pool = PoolOptions::new().pool(PoolConfig::new().per_target(connections)).acquire_within(STEP);
    HttpClient::new(ClientSettings::new(), pool).expect("a pool")
}

fn post(address: SocketAddr) -> Request {
    Request::new(Method::POST, format!("http://{address}/").parse().expect("a URI"))
}

/// The connection came back and could be used again; `dialled` were made in all.
fn idle<R: HttpCarrier>(client: &HttpClient<R>, dialled: u64) {
    let stats = client.pool().stats();
    assert_eq!((stats.dialled, stats.in_use, stats.waiting), (dialled, 0, 0), "{stats:?}");
    // The server may have gone since.
    assert!(u64::from(stats.idle) + stats.closed_by_peer >= 1 || stats.open == 1, "{stats:?}");
    assert!(stats.closed_by_us < dialled, "{stats:?}");
}

macro_rules! on {
    ($($runtime:ident: $redial:ty, $run:expr;)*) => {
        $(mod $runtime {
            use duologue_async::PlainOrTls;

            on! { @tests $redial, $run, streaming:
                content_of_unknown_length_goes_in_chunks_with_trailers
                content_that_never_pauses_keeps_nobody_from_the_answer
                content_that_knows_its_length_or_is_told_goes_without_chunks
                content_is_made_no_faster_than_the_server_reads_it
                an_answer_that_comes_first_is_told_and_the_content_is_not_wanted
                both_contents_go_at_the_same_time
                content_waits_for_the_servers_word_if_that_was_expected
                a_request_that_is_dropped_never_poisons_the_pool
                content_that_fails_or_is_cut_or_is_not_what_was_announced_ends_its_connection
                only_content_that_nobody_touched_goes_on_another_connection
                an_answer_that_nobody_takes_stays_with_the_server
            }
            on! { @tests $redial, $run, late:
                a_server_that_gave_up_waiting_as_its_connection_was_used_again_is_asked_once_more
                what_could_do_harm_twice_or_is_about_this_request_has_408_as_its_answer
            }
            on! { @tests $redial, $run, events:
                a_stream_cut_at_every_byte_loses_no_event_and_tells_none_twice
                it_asks_as_an_event_source_does_and_waits_as_long_as_the_server_says
                what_is_no_stream_of_events_is_no_reason_to_try_again
                a_request_that_came_too_late_is_made_once_more
                who_waits_after_a_request_that_came_too_late_can_say_why
                an_attempt_that_fails_is_not_repeated_before_the_servers_retry_time_either
            }
        })*
    };
    (@tests $redial:ty, $run:expr, $module:ident: $($name:ident)*) => {
        $(#[test]
        fn $name() {
            $run(crate::$module::$name::<$redial>());
        })*
    };
}

on! {
    tokio: PlainOrTls<duologue_tokio::Tokio>, duologue_tests::bounds::on_tokio;
    smol: PlainOrTls<duologue_smol::Smol>, ::smol::block_on;
    async_std: PlainOrTls<duologue_async_std::AsyncStd>, ::async_std::task::block_on;
    threads: PlainOrTls<duologue_blocking::Threads>, ::smol::block_on;
}

#[test]
fn threads_send_what_they_read() {
    let (address, server) = peer::peer(|listener| {
        let mut peer = listener.accept();
        let head = peer.head();
        let mut content = Vec::new();
        loop {
            let size = peer.read_up_to("\r\n");
            let size = usize::from_str_radix(size.trim_end(), 16).expect("a size");
            content.extend_from_slice(&peer.take(size));
            assert_eq!(peer.take(2), b"\r\n");
            if size == 0 {
                break;
            }
        }
        peer.say("HTTP/1.1 204 No Content\r\n\r\n");
        (head, content)
    });
    let client = duologue_blocking::http1::HttpClient::new(ClientSettings::new(), PoolOptions::new()).expect("a pool");
    let content: Vec<u8> = (0..1_000_000u32).map(|n| n as u8).collect();
    let response = client.request_with(post(address), std::io::Cursor::new(content.clone())).expect("an answer");
    assert_eq!(response.head().status, 204);
    let (head, got) = server.join().expect("no panic");
    assert!(head.contains("\r\ntransfer-encoding: chunked\r\n"), "{head}");
    assert!(got == content, "{} bytes came", got.len());
}
