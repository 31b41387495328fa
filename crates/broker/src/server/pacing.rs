//! Which connections send by a timer.
//!
//! Within a machine there is no network that congestion control could adapt to, and it may cost more than sending
//! itself: BBR, which many hosts use for everything, waits for a timer before each 64 KiB, and what began with it goes
//! on being paced. So connections begin with Reno, which is in every kernel and paces nothing, and those that come over
//! a network are given what the host has for them.

use std::{io, net::SocketAddr, os::fd::AsFd};

use rustix::net::sockopt::{set_tcp_congestion, tcp_congestion};

/// The congestion control that the host has for connections.
pub(crate) struct HostsOwn(String);

/// What is accepted from now on is not paced.
pub(crate) fn accept_without_pacing(listener: impl AsFd) -> io::Result<HostsOwn> {
    let hosts_own = tcp_congestion(&listener)?;
    set_tcp_congestion(listener, "reno")?;
    Ok(HostsOwn(hosts_own))
}

impl HostsOwn {
    pub(crate) fn unless_local(
        &self,
        socket: impl AsFd,
        local: SocketAddr,
        peer: SocketAddr,
    ) -> io::Result<()> {
        let is_local = peer.ip().to_canonical().is_loopback() || peer.ip() == local.ip();
        if !is_local {
            set_tcp_congestion(socket, &self.0)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn only_what_stays_on_the_machine_is_not_paced() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let usual = tcp_congestion(&listener).unwrap();
        let hosts_own = accept_without_pacing(&listener).unwrap();
        let of_connection = |local: &str, peer: &str| {
            let _client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let (accepted, _) = listener.accept().unwrap();
            hosts_own.unless_local(&accepted, local.parse().unwrap(), peer.parse().unwrap()).unwrap();
            tcp_congestion(accepted).unwrap()
        };
        assert_eq!(of_connection("192.0.2.1:9092", "192.0.2.2:40000"), usual);
        for (local, peer) in [
            ("127.0.0.1:9092", "127.0.0.1:40000"),
            ("[::1]:9092", "[::1]:40000"),
            ("[::ffff:127.0.0.1]:9092", "[::ffff:127.0.0.1]:40000"),
            ("192.0.2.1:9092", "192.0.2.1:40000"),
        ] {
            assert_eq!(of_connection(local, peer), "reno", "{peer}");
        }
    }
}
