//! Between clients and a broker: everything passes, and the requests are kept.

use std::{
    io::{self, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex, PoisonError},
    thread,
};

pub(super) struct Recorder {
    listener: TcpListener,
    frames: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Recorder {
    pub(super) fn bind() -> Self {
        Self { listener: TcpListener::bind("127.0.0.1:0").unwrap(), frames: Arc::default() }
    }

    pub(super) fn address(&self) -> String {
        self.listener.local_addr().unwrap().to_string()
    }

    /// Passes on to `broker` for as long as the process lives.
    pub(super) fn record(&self, broker: &str) {
        let (listener, frames) = (self.listener.try_clone().unwrap(), Arc::clone(&self.frames));
        let broker = broker.to_owned();
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let Ok(server) = TcpStream::connect(&broker) else { return };
                let (from, to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
                let frames = Arc::clone(&frames);
                // Either side closes when the other does, or breaks off; both are no failure of a test.
                thread::spawn(move || drop(pass_frames(from, to, &frames)));
                thread::spawn(move || drop(io::copy(&mut &server, &mut &client)));
            }
        });
    }

    /// What was sent so far, each with its length in front.
    pub(super) fn frames(&self) -> Vec<Vec<u8>> {
        self.frames.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn pass_frames(mut from: TcpStream, mut to: TcpStream, frames: &Mutex<Vec<Vec<u8>>>) -> io::Result<()> {
    from.set_nodelay(true)?;
    to.set_nodelay(true)?;
    loop {
        let mut length = [0; 4];
        if from.read_exact(&mut length).is_err() {
            return to.shutdown(std::net::Shutdown::Write);
        }
        let mut frame = length.to_vec();
        frame.resize(4 + usize::try_from(u32::from_be_bytes(length)).map_err(io::Error::other)?, 0);
        from.read_exact(&mut frame[4..])?;
        to.write_all(&frame)?;
        frames.lock().unwrap_or_else(PoisonError::into_inner).push(frame);
    }
}
