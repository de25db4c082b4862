//! What the kernel knows: sockets in TIME_WAIT.
#![allow(unreachable_pub)] // also a part of the example `http_client`

use std::io;
use std::net::SocketAddr;

/// The state TIME_WAIT in `/proc/net/tcp`.
const TIME_WAIT: &str = "06";

/// Sockets in TIME_WAIT on the server's side of `server`, and on its clients'.
pub fn time_wait(server: SocketAddr) -> io::Result<(usize, usize)> {
    let mut table = std::fs::read_to_string("/proc/net/tcp")?;
    // Where there is no IPv6 there is no such file.
    table.push_str(&std::fs::read_to_string("/proc/net/tcp6").unwrap_or_default());
    let port = format!("{:04X}", server.port());
    let mut counts = (0, 0);
    for line in table.lines() {
        let mut fields = line.split_whitespace().skip(1);
        let (Some(local), Some(remote), Some(state)) = (fields.next(), fields.next(), fields.next()) else { continue };
        if state != TIME_WAIT {
            continue;
        }
        counts.0 += usize::from(local.ends_with(&port));
        counts.1 += usize::from(remote.ends_with(&port));
    }
    Ok(counts)
}
