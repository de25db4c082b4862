//! WebSockets on async-std: client and server, alone or behind TLS.

duologue_async::websocket_openings!(async_std::net::TcpStream);
