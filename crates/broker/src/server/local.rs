//! Connections whose two ends are on this machine.

use std::{io, net::SocketAddr, os::fd::AsFd};

/// Without a network there is nothing that congestion control could adapt to, and it may cost more than sending
/// itself: BBR, which many hosts use for everything, waits for a timer before each 64 KiB. Reno, which is in every
/// kernel, waits for none.
pub(crate) fn send_without_pacing(socket: impl AsFd, local: SocketAddr, peer: SocketAddr) -> io::Result<()> {
    let is_local = peer.ip().to_canonical().is_loopback() || peer.ip() == local.ip();
    if is_local {
        rustix::net::sockopt::set_tcp_congestion(socket, "reno")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use rustix::net::sockopt::tcp_congestion;

    use super::*;

    #[test]
    fn only_what_stays_on_the_machine_is_not_paced() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let connect = || TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let after = |local: &str, peer: &str| {
            let socket = connect();
            send_without_pacing(&socket, local.parse().unwrap(), peer.parse().unwrap()).unwrap();
            tcp_congestion(&socket).unwrap()
        };
        assert_eq!(after("192.0.2.1:9092", "192.0.2.2:40000"), tcp_congestion(connect()).unwrap());
        for (local, peer) in [
            ("127.0.0.1:9092", "127.0.0.1:40000"),
            ("[::1]:9092", "[::1]:40000"),
            ("[::ffff:127.0.0.1]:9092", "[::ffff:127.0.0.1]:40000"),
            ("192.0.2.1:9092", "192.0.2.1:40000"),
        ] {
            assert_eq!(after(local, peer), "reno", "{peer}");
        }
    }
}
