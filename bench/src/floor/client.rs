//! The floor's load: frames of the size of librdkafka's batches, and single records at a steady rate.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc::{self, SyncSender},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use super::{HEADER_BYTES, READ};
use crate::{
    latency::{self, RECORD_BYTES},
    plan::Throughput,
    produce::{Limit, Produced},
};

/// Frames on their way at once.
const WINDOW: usize = 16;
/// What a record takes beside its value: its own fields, and the batch around a single one.
const RECORD_OVERHEAD_BYTES: usize = 8;
const SINGLE_OVERHEAD_BYTES: usize = 61 + RECORD_OVERHEAD_BYTES;
/// librdkafka's `batch.size`, and about what its lingering leaves of it when many partitions share.
const BATCH_BYTES: usize = 1_000_000;
const SHARED_BATCH_BYTES: usize = 128 << 10;

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

    /// `bytes_per_record`: what the records of this load took in a broker's log.
    pub(crate) fn produce(&self, load: &Throughput, bytes_per_record: f64, limit: Limit) -> Result<Produced> {
        let partitions = u32::try_from(load.partitions)?;
        let frame_bytes = if partitions == 1 { BATCH_BYTES } else { SHARED_BATCH_BYTES };
        let frame = vec![0x5a; frame_bytes];
        let bytes_max = (limit.bytes as f64 * bytes_per_record / load.size as f64) as u64;
        let (mut sending, tokens) = self.connect(|_| {})?;
        let started = Instant::now();
        let mut bytes = 0_u64;
        let mut partition = 0;
        while bytes < bytes_max && started.elapsed() < limit.duration {
            tokens.send(()).context("the floor has ended")?;
            send(&mut sending, partition, &frame)?;
            bytes += frame.len() as u64;
            partition = (partition + 1) % partitions;
        }
        wait_for_all(&tokens)?;
        Ok(Produced { records: (bytes as f64 / bytes_per_record) as u64, elapsed: started.elapsed() })
    }

    pub(crate) fn consume(&self, load: &Throughput) -> Result<Duration> {
        let started = Instant::now();
        let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
        let mut buffer = vec![0; 1 << 20];
        for partition in 0..u32::try_from(load.partitions)? {
            send(&mut stream, partition | READ, &[])?;
            let mut length = [0; 8];
            stream.read_exact(&mut length)?;
            let mut left = u64::from_be_bytes(length);
            while left > 0 {
                let wanted = buffer.len().min(usize::try_from(left)?);
                match stream.read(&mut buffer[..wanted])? {
                    0 => bail!("the floor has ended"),
                    read => left -= read as u64,
                }
            }
        }
        Ok(started.elapsed())
    }

    /// Latencies in microseconds, as `latency::run` has them.
    pub(crate) fn latency(&self, rate: u32, duration: Duration) -> Result<Vec<u32>> {
        let count = latency::scheduled_count(rate, duration);
        let started = Instant::now();
        let (answers, answered) = mpsc::channel();
        let (mut sending, tokens) = self.connect(move |frames| {
            let now = started.elapsed().as_micros() as u32;
            // The receiver waits for as many answers as it sent frames.
            for _ in 0..frames {
                answers.send(now).ok();
            }
        })?;
        // Here the window must not hold anything up: one token stands for nothing.
        drop(tokens);
        let frame = vec![0x5a; RECORD_BYTES + SINGLE_OVERHEAD_BYTES];
        for index in 0..count {
            latency::wait_until(started + latency::due(index, rate));
            send(&mut sending, 0, &frame)?;
        }
        let mut answers = Vec::new();
        for index in 0..count {
            let due = latency::due(index, rate).as_micros() as u32;
            let now = answered.recv_timeout(Duration::from_secs(60)).context("the floor has ended")?;
            answers.push((due, now.saturating_sub(due)));
        }
        Ok(latency::measured(answers))
    }

    /// Away with the files; the process opens new ones for the next connection.
    pub(crate) fn clear(&self) -> Result<()> {
        for entry in fs::read_dir(&self.directory)? {
            fs::remove_file(entry?.path())?;
        }
        Ok(())
    }

    /// A connection, and a thread that takes the answers. Every frame needs a token, of which there are
    /// WINDOW; the answer frees it.
    fn connect(&self, mut answered: impl FnMut(u32) + Send + 'static) -> Result<(TcpStream, SyncSender<()>)> {
        let stream = TcpStream::connect(("127.0.0.1", self.port))?;
        stream.set_nodelay(true)?;
        let mut receiving = stream.try_clone()?;
        let (tokens, taken) = mpsc::sync_channel(WINDOW);
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
        Ok((stream, tokens))
    }
}

impl Drop for Floor {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

fn send(stream: &mut TcpStream, word: u32, bytes: &[u8]) -> Result<()> {
    let mut header = [0; HEADER_BYTES];
    header[..4].copy_from_slice(&word.to_be_bytes());
    header[4..].copy_from_slice(&u32::try_from(bytes.len())?.to_be_bytes());
    stream.write_all(&header)?;
    Ok(stream.write_all(bytes)?)
}

/// All tokens can be had at once when nothing is on its way any more.
fn wait_for_all(tokens: &SyncSender<()>) -> Result<()> {
    (0..WINDOW).try_for_each(|_| tokens.send(())).context("the floor has ended")
}
