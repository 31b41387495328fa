//! The process. A thread reads each connection and writes to the files; one thread flushes what was
//! written, all of it in one round, and answers.

use std::{
    collections::BTreeMap,
    fs::{File, OpenOptions},
    io::{self, Read, Write},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
};

use anyhow::{Context, Result, bail, ensure};

use super::{FRAME_BYTES_MAX, HEADER_BYTES, READ};

/// More dirty files than this are flushed by `syncfs`, as Millstream does.
const FDATASYNC_FILES_MAX: usize = 2;

/// Prints the port and serves until standard input closes.
pub(crate) fn serve(directory: &Path) -> Result<()> {
    std::fs::create_dir_all(directory)?;
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
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
    let mut files: BTreeMap<u32, Arc<File>> = BTreeMap::new();
    let mut buffer = Vec::new();
    let mut header = [0; HEADER_BYTES];
    loop {
        match (&*stream).read_exact(&mut header) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            read => read?,
        }
        let [a, b, c, d, e, f, g, h] = header;
        let (word, length) = (u32::from_be_bytes([a, b, c, d]), u32::from_be_bytes([e, f, g, h]) as usize);
        if word & READ != 0 {
            send_file(&stream, &path(directory, word & !READ))?;
            continue;
        }
        ensure!(length <= FRAME_BYTES_MAX, "a frame of {length} bytes");
        buffer.resize(length, 0);
        (&*stream).read_exact(&mut buffer)?;
        let file = match files.get(&word) {
            Some(file) => Arc::clone(file),
            None => Arc::clone(files.entry(word).or_insert(Arc::new(open(&path(directory, word))?))),
        };
        (&*file).write_all(&buffer)?;
        let mut waiting = rounds.lock();
        waiting.dirty.insert(word, file);
        waiting.frames.entry(id).or_insert_with(|| (Arc::clone(&stream), 0)).1 += 1;
        rounds.written.notify_one();
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

/// Its length in eight bytes, then its bytes.
fn send_file(stream: &TcpStream, path: &Path) -> Result<()> {
    let file = File::open(path).with_context(|| path.display().to_string())?;
    let mut left = usize::try_from(file.metadata()?.len())?;
    (&*stream).write_all(&(left as u64).to_be_bytes())?;
    while left > 0 {
        match rustix::fs::sendfile(stream, &file, None, left.min(1 << 20))? {
            0 => bail!("{} became shorter", path.display()),
            sent => left -= sent,
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
