//! The process. A thread reads each connection and writes to the files; one thread flushes what was
//! written, all of it in one round, and answers.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    fs::{File, OpenOptions},
    io::{self, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
};

use anyhow::{Context, Result, bail, ensure};
use rustix::{
    fs::sendfile,
    net::{SendFlags, send},
};

use super::{ANSWER_BYTES_MAX, CHUNK_BYTES_MAX, FRAME_BYTES_MAX, HEADER_BYTES, POSITION_BYTES, READ};

/// More dirty files than this are flushed by `syncfs`, as Millstream does.
const FDATASYNC_FILES_MAX: usize = 2;

/// Prints the port and serves until standard input closes.
pub(crate) fn serve(directory: &Path) -> Result<()> {
    std::fs::create_dir_all(directory)?;
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    // Millstream does so too; what is accepted inherits it.
    rustix::net::sockopt::set_tcp_congestion(&listener, "reno")?;
    println!("{}", listener.local_addr()?.port());
    thread::spawn(|| {
        // Whoever started this has gone, however it went.
        io::copy(&mut io::stdin(), &mut io::sink()).ok();
        std::process::exit(0);
    });
    let rounds = Arc::new(Rounds::default());
    {
        let (rounds, directory) = (Arc::clone(&rounds), File::open(directory)?);
        thread::spawn(move || flush_rounds(&rounds, &directory));
    }
    for stream in listener.incoming() {
        let (stream, rounds, directory) = (stream?, Arc::clone(&rounds), directory.to_owned());
        thread::spawn(move || {
            if let Err(error) = connection(stream, &rounds, &directory) {
                eprintln!("floor: {error:#}");
            }
        });
    }
    Ok(())
}

#[derive(Default)]
struct Rounds {
    waiting: Mutex<Waiting>,
    written: Condvar,
}

#[derive(Default)]
struct Waiting {
    /// By partition.
    dirty: BTreeMap<u32, Arc<File>>,
    /// By connection: whom to tell, and of how many frames.
    frames: BTreeMap<u64, (Arc<TcpStream>, u32)>,
}

impl Rounds {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn connection(stream: TcpStream, rounds: &Rounds, directory: &Path) -> Result<()> {
    stream.set_nodelay(true)?;
    let stream = Arc::new(stream);
    let id = u64::from(stream.peer_addr()?.port());
    // Small frames come many to a system call; of large ones the rest is read past this buffer.
    let mut received = BufReader::with_capacity(64 << 10, &*stream);
    let mut files: BTreeMap<u32, Arc<File>> = BTreeMap::new();
    let mut read_files = BTreeMap::new();
    let mut buffer = Vec::new();
    let mut header = [0; HEADER_BYTES];
    loop {
        match received.read_exact(&mut header) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            read => read?,
        }
        let [a, b, c, d, e, f, g, h] = header;
        let (word, length) = (u32::from_be_bytes([a, b, c, d]), u32::from_be_bytes([e, f, g, h]) as usize);
        ensure!(length <= FRAME_BYTES_MAX, "a frame of {length} bytes");
        buffer.resize(length, 0);
        received.read_exact(&mut buffer)?;
        if word == READ {
            send_chunks(&stream, directory, &mut read_files, &buffer)?;
            continue;
        }
        let file = match files.get(&word) {
            Some(file) => Arc::clone(file),
            None => Arc::clone(files.entry(word).or_insert(Arc::new(open(&path(directory, word))?))),
        };
        (&*file).write_all(&buffer)?;
        let mut waiting = rounds.lock();
        let first = waiting.frames.is_empty();
        waiting.dirty.insert(word, file);
        waiting.frames.entry(id).or_insert_with(|| (Arc::clone(&stream), 0)).1 += 1;
        if first {
            rounds.written.notify_one();
        }
    }
}

fn flush_rounds(rounds: &Rounds, directory: &File) {
    loop {
        let mut waiting = rounds.lock();
        while waiting.frames.is_empty() {
            waiting = rounds.written.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
        let round = std::mem::take(&mut *waiting);
        drop(waiting);
        if let Err(error) = flush(&round, directory) {
            eprintln!("floor: {error:#}");
            return;
        }
        for (stream, frames) in round.frames.values() {
            // Who has gone needs no answer.
            drop((&**stream).write_all(&frames.to_be_bytes()));
        }
    }
}

fn flush(round: &Waiting, directory: &File) -> Result<()> {
    if round.dirty.len() > FDATASYNC_FILES_MAX {
        return rustix::fs::syncfs(directory).context("syncfs");
    }
    round.dirty.values().try_for_each(|file| file.sync_data().context("fdatasync"))
}

/// As a fetch is answered: from every position what there is, up to a chunk of it, until the answer is full.
fn send_chunks(
    stream: &TcpStream,
    directory: &Path,
    files: &mut BTreeMap<u32, File>,
    positions: &[u8],
) -> Result<()> {
    let mut room = ANSWER_BYTES_MAX;
    for position in positions.chunks_exact(POSITION_BYTES) {
        let [a, b, c, d, at @ ..] = position else { bail!("a position of {} bytes", position.len()) };
        let partition = u32::from_be_bytes([*a, *b, *c, *d]);
        let mut at = u64::from_be_bytes(at.try_into()?);
        let file = match files.entry(partition) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(unknown) => {
                let path = path(directory, partition);
                unknown.insert(File::open(&path).with_context(|| path.display().to_string())?)
            }
        };
        let left = file.metadata()?.len().saturating_sub(at);
        let mut left = usize::try_from(left)?.min(CHUNK_BYTES_MAX).min(room);
        room -= left;
        // The length travels with the bytes behind it.
        let flags = if left == 0 { SendFlags::empty() } else { SendFlags::MORE };
        send(stream, &u32::try_from(left)?.to_be_bytes(), flags)?;
        while left > 0 {
            match sendfile(stream, &*file, Some(&mut at), left)? {
                0 => bail!("the file of partition {partition} became shorter"),
                sent => left -= sent,
            }
        }
    }
    Ok(())
}

fn open(path: &Path) -> Result<File> {
    OpenOptions::new().create(true).append(true).open(path).with_context(|| path.display().to_string())
}

fn path(directory: &Path, partition: u32) -> PathBuf {
    directory.join(format!("{partition}.log"))
}
