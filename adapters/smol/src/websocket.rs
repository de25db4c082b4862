//! WebSockets on smol: client and server, alone or behind TLS.

duologue_async::websocket_openings!(smol::net::TcpStream);
