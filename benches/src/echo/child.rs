//! A server in a process of its own, so that its CPU time is its own.

use std::env::current_exe;
use std::io::{self, BufRead, BufReader, ErrorKind};
use std::net::SocketAddr;
use std::process::{Command, Stdio};

use clap::ValueEnum;

use super::Contestant;

#[derive(Debug)]
pub(super) struct Child {
    process: std::process::Child,
    address: SocketAddr,
}

impl Child {
    /// Starts this very binary as the contestant's server.
    pub(super) fn start(contestant: Contestant) -> io::Result<Self> {
        let name = contestant.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default();
        let mut process = Command::new(current_exe()?)
            .args(["--serve", &name, "--port", "0"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut line = String::new();
        if let Some(stdout) = process.stdout.take() {
            BufReader::new(stdout).read_line(&mut line)?;
        }
        match line.trim().parse() {
            Ok(address) => Ok(Self { process, address }),
            Err(_) => {
                let _ = process.kill();
                let _ = process.wait();
                Err(io::Error::new(ErrorKind::InvalidData, format!("the server {name} did not tell its address")))
            }
        }
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) fn pid(&self) -> u32 {
        self.process.id()
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
