//! The floor's load: frames of the size of the client's batches, single records at a steady rate, and
//! reading as a consumer does.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{Shutdown, TcpStream},
    ops::Range,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc::{self, SyncSender},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};

use super::{HEADER_BYTES, READ};
use crate::{
    latency::{self, RECORD_BYTES},
    topics,
};

/// Frames on their way at once, at least.
const WINDOW_MIN: usize = 16;
/// The batch around a single record, and the record's own fields.
const SINGLE_OVERHEAD_BYTES: usize = 61 + 8;
/// At a rate, what is due is sent this often: the client's linger time.
const TICK: Duration = Duration::from_millis(5);

/// Frames for partitions in turn.
#[derive(Clone, Debug)]
pub(crate) struct Load {
    pub(crate) partitions: Range<u32>,
    pub(crate) frame_bytes: usize,
    pub(crate) bytes_max: u64,
    pub(crate) duration: Duration,
    /// As fast as they are taken when there is none.
    pub(crate) bytes_per_second: Option<f64>,
}

pub(crate) struct Floor {
    process: Child,
    port: u16,
    directory: PathBuf,
}

impl Floor {
    pub(crate) fn start(directory: &Path) -> Result<Self> {
        let mut process = Command::new(std::env::current_exe()?)
            .arg("floor")
            .arg(directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut line = String::new();
        BufReader::new(process.stdout.take().context("no output")?).read_line(&mut line)?;
        let port = line.trim().parse().with_context(|| format!("the floor said {line:?}"))?;
        Ok(Self { process, port, directory: directory.to_owned() })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }

    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// How many bytes were made durable, and in which time.
    pub(crate) fn produce(&self, load: &Load) -> Result<(u64, Duration)> {
        let window = WINDOW_MIN.max(2 * load.partitions.len());
        let (mut sending, tokens) = self.connect(window, |_| {})?;
        let mut partitions = load.partitions.clone().cycle();
        let mut frame = frame(0, &vec![0x5a; load.frame_bytes]);
        let started = Instant::now();
        let (mut bytes, mut ticks) = (0_u64, 0);
        while bytes < load.bytes_max && started.elapsed() < load.duration {
            let due = load
                .bytes_per_second
                .map_or(u64::MAX, |rate| (rate * started.elapsed().as_secs_f64()) as u64);
            if bytes >= due {
                ticks += 1;
                latency::wait_until(started + TICK * ticks);
                continue;
            }
            let partition = partitions.next().context("no partitions")?;
            frame[..4].copy_from_slice(&partition.to_be_bytes());
            tokens.send(()).context("the floor has ended")?;
            sending.0.write_all(&frame)?;
            bytes += load.frame_bytes as u64;
        }
        // All tokens can be had at once when nothing is on its way any more.
        (0..window).try_for_each(|_| tokens.send(())).context("the floor has ended")?;
        Ok((bytes, started.elapsed()))
    }

    /// Everything in the partitions' files, asked for as a consumer does: of all at once, a chunk of each,
    /// and the next when the answer is there.
    pub(crate) fn consume(&self, partitions: Range<u32>) -> Result<Duration> {
        let started = Instant::now();
        self.read(partitions, |_| true)?;
        Ok(started.elapsed())
    }

    /// The same until the end, or until `go_on`, told how many bytes came, says no.
    pub(crate) fn read(&self, partitions: Range<u32>, mut go_on: impl FnMut(u64) -> bool) -> Result<()> {
        let mut stream = TcpStream::connect(self.address())?;
        let mut buffer = vec![0; super::CHUNK_BYTES_MAX];
        let mut positions: Vec<(u32, u64)> = partitions.map(|partition| (partition, 0)).collect();
        loop {
            let asked: Vec<u8> = positions
                .iter()
                .flat_map(|(partition, at)| [&partition.to_be_bytes()[..], &at.to_be_bytes()[..]].concat())
                .collect();
            stream.write_all(&frame(READ, &asked))?;
            let mut came = 0;
            for (_, at) in &mut positions {
                let mut length = [0; 4];
                stream.read_exact(&mut length)?;
                let length = u32::from_be_bytes(length) as usize;
                ensure!(length <= buffer.len(), "a chunk of {length} bytes");
                stream.read_exact(&mut buffer[..length])?;
                *at += length as u64;
                came += length as u64;
            }
            if came == 0 || !go_on(came) {
                return Ok(());
            }
            // Where an answer was full, the next begins with those who got nothing.
            positions.rotate_left(1);
        }
    }

    /// Latencies in microseconds, as `latency::run` has them.
    pub(crate) fn latency(&self, rate: u32, duration: Duration) -> Result<Vec<u32>> {
        let count = latency::scheduled_count(rate, duration);
        let started = Instant::now();
        let (answers, answered) = mpsc::channel();
        let (mut sending, tokens) = self.connect(WINDOW_MIN, move |frames| {
            let now = started.elapsed().as_micros() as u32;
            // The receiver waits for as many answers as it sent frames.
            for _ in 0..frames {
                answers.send(now).ok();
            }
        })?;
        // Here the window must not hold anything up.
        drop(tokens);
        let frame = frame(0, &[0x5a; RECORD_BYTES + SINGLE_OVERHEAD_BYTES]);
        for index in 0..count {
            latency::wait_until(started + latency::due(index, rate));
            sending.0.write_all(&frame)?;
        }
        let mut answers = Vec::new();
        for index in 0..count {
            let due = latency::due(index, rate).as_micros() as u32;
            let now = answered.recv_timeout(Duration::from_secs(60)).context("the floor has ended")?;
            answers.push((due, now.saturating_sub(due)));
        }
        Ok(latency::measured(answers))
    }

    /// Takes the files out of the page cache, as far as they are on the disk.
    pub(crate) fn evict(&self) -> Result<()> {
        fs::read_dir(&self.directory)?.try_for_each(|entry| topics::evict(&entry?.path()))
    }

    /// Away with the files; the process opens new ones for the next connection.
    pub(crate) fn clear(&self) -> Result<()> {
        for entry in fs::read_dir(&self.directory)? {
            fs::remove_file(entry?.path())?;
        }
        Ok(())
    }

    /// A connection, and a thread that takes the answers. Every frame needs a token, of which there are as
    /// many as the window is large; the answer frees it.
    fn connect(
        &self,
        window: usize,
        mut answered: impl FnMut(u32) + Send + 'static,
    ) -> Result<(Sending, SyncSender<()>)> {
        let stream = TcpStream::connect(self.address())?;
        stream.set_nodelay(true)?;
        let mut receiving = stream.try_clone()?;
        let (tokens, taken) = mpsc::sync_channel(window);
        thread::spawn(move || {
            let mut frames = [0; 4];
            while receiving.read_exact(&mut frames).is_ok() {
                let frames = u32::from_be_bytes(frames);
                answered(frames);
                for _ in 0..frames {
                    taken.try_recv().ok();
                }
            }
        });
        Ok((Sending(stream), tokens))
    }
}

/// The sending half of a connection. The floor keeps files open, also deleted ones, until it is closed.
struct Sending(TcpStream);

impl Drop for Sending {
    fn drop(&mut self) {
        drop(self.0.shutdown(Shutdown::Write));
    }
}

impl Drop for Floor {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

/// The word, the length, the bytes.
pub(crate) fn frame(word: u32, bytes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    let mut frame = Vec::with_capacity(HEADER_BYTES + bytes.len());
    frame.extend(word.to_be_bytes());
    frame.extend(length.to_be_bytes());
    frame.extend(bytes);
    frame
}
