//! https through the pooled client and the event source, on every runtime, against a TLS server that a test has in its hand.

#[path = "https/events.rs"]
mod events;
#[path = "https/idle.rs"]
mod idle;
#[path = "http_client/peer.rs"]
#[allow(dead_code, reason = "shared with the tests of http")]
mod peer;
#[path = "https/quiet.rs"]
mod quiet;
#[path = "https/refused.rs"]
mod refused;
#[path = "https/requests.rs"]
mod requests;
#[path = "https/server.rs"]
mod server;
#[path = "https/threads.rs"]
mod threads;

use std::sync::Arc;

use duologue_async::PoolOptions;
use duologue_async::http1::{HttpCarrier, HttpClient, HttpError, HttpResponse};
use duologue_core::pool::PoolConfig;
use duologue_http1::ClientSettings;
use duologue_http1::http::Uri;
use duologue_tests::bounds::step;
use peer::STEP;
use tokio_rustls::rustls::ClientConfig;

/// What connections are made of on every adapter: the connectors are different types over the same configuration.
trait Web: HttpCarrier<Connector: From<Arc<ClientConfig>>> {}

impl<C: HttpCarrier<Connector: From<Arc<ClientConfig>>>> Web for C {}

fn options(connections: u32) -> PoolOptions {
    PoolOptions::new().pool(PoolConfig::new().per_target(connections)).acquire_within(STEP)
}

/// A client of a server with this configuration.
fn client<C: Web>(config: ClientConfig) -> HttpClient<C> {
    HttpClient::with_tls(ClientSettings::new(), Arc::new(config).into(), options(2)).expect("a pool")
}

fn uri(text: impl AsRef<str>) -> Uri {
    text.as_ref().parse().expect("a URI")
}

/// Asks, and takes all of the answer.
async fn get<C: Web>(client: &HttpClient<C>, target: &Uri) -> Result<(String, HttpResponse<C>), HttpError> {
    let mut response = step::<C, _>("a head", client.get(target.clone())).await?;
    let content = step::<C, _>("its content", response.bytes(1 << 20)).await?;
    Ok((String::from_utf8(content.to_vec()).expect("text"), response))
}

macro_rules! on {
    ($($runtime:ident: $carrier:ty, $run:expr;)*) => {
        $(mod $runtime {
            use duologue_async::PlainOrTls;

            on! { @tests $carrier, $run, requests:
                twenty_requests_go_over_one_connection
                http_and_https_to_one_address_are_never_mixed
                content_goes_both_ways_at_length
                content_up_to_the_end_is_whole_with_close_notify_and_cut_without
                addresses_are_names_too
                a_pool_of_ones_own_may_dial_tls_as_well
            }
            on! { @tests $carrier, $run, idle:
                what_tls_says_of_itself_loses_no_connection
                an_idle_connection_that_ends_is_replaced
            }
            on! { @tests $carrier, $run, refused:
                a_certificate_for_another_name_is_refused_and_nothing_is_sent
                what_cannot_be_asked_is_refused_before_anything_is_dialled
                another_protocol_by_alpn_is_refused
                a_handshake_that_fails_says_why
                one_deadline_bounds_connecting_and_tls
            }
            on! { @tests $carrier, $run, events:
                a_stream_over_tls_goes_on_after_every_kind_of_end
                an_event_source_says_why_tls_is_refused
            }
        })*
    };
    (@tests $carrier:ty, $run:expr, $module:ident: $($name:ident)*) => {
        $(#[test]
        fn $name() {
            $run(crate::$module::$name::<$carrier>());
        })*
    };
}

on! {
    on_tokio: PlainOrTls<duologue_tokio::Tokio>, duologue_tests::bounds::on_tokio;
    on_smol: PlainOrTls<duologue_smol::Smol>, ::smol::block_on;
    on_async_std: PlainOrTls<duologue_async_std::AsyncStd>, ::async_std::task::block_on;
    on_threads: PlainOrTls<duologue_blocking::Threads>, ::smol::block_on;
}
