//! Opening a partition directory (`LogLoader`): finishing what a crash interrupted, opening the segments,
//! scanning what the recovery point does not cover, and restoring epochs and producers.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::Arc,
};

use millstream_types::{LeaderEpoch, Offset, TimestampMs, TopicPartition, Uuid};

use super::{
    Log, Parts, Unsynced,
    recover::{
        Cut, Scanned, SegmentScan, damaged_txn_index, open_indexes, open_txn_index, save_tail, side_file_name,
    },
    replay::Replay,
};
use crate::{
    bounds::Slot,
    checkpoint::RECOVERY_POINT,
    config::LogConfig,
    dir::LogDir,
    error::{At, LogError, Offline, StorageError},
    fs::{File, Fs, OpenMode, remove_if_there, write_file_again},
    index::Check,
    leader_epoch::LeaderEpochs,
    names::{CLEANED, DELETED, INDEX, LOG, SNAPSHOT, SWAP, TIME_INDEX, TXN_INDEX, file_path, parse_file},
    partition_metadata::{PARTITION_METADATA, read_topic_id, write_topic_id},
    scan::HeaderWalk,
    segment::{IndexProgress, Segment},
};

/// What the log directory knows of a partition before it is opened.
#[derive(Clone, Debug)]
pub(crate) struct LoadOptions {
    pub(crate) partition: TopicPartition,
    pub(crate) path: PathBuf,
    pub(crate) config: LogConfig,
    /// The last run ended in order: everything is flushed and nothing need be scanned.
    pub(crate) clean: bool,
    /// Everything below was flushed.
    pub(crate) recovery_point: Offset,
    /// From the checkpoint; 0 if it does not name the partition.
    pub(crate) log_start_offset: Offset,
    /// Below it compaction may have left gaps between segments.
    pub(crate) cleaned_until: Offset,
    pub(crate) now: TimestampMs,
}

pub(crate) struct Loaded {
    pub(crate) log: Arc<Log>,
    pub(crate) cut: Option<Cut>,
    pub(crate) scanned_bytes: u64,
}

/// Opens the partition, or says why it cannot be used. A partition directory with nothing in it that anyone
/// could miss gives None: it was being created when the process died.
pub(crate) fn load(dir: &Arc<LogDir>, options: LoadOptions) -> Result<Option<Loaded>, LogError> {
    let fs = &*dir.fs;
    let files = Files::tidy(fs, &options)?;
    let written_again = if options.clean { Vec::new() } else { files.write_again(fs, &options)? };
    let topic_id = match read_topic_id(fs, &options.path)? {
        Some(id) => id,
        None if options.partition.topic.as_str() == crate::names::METADATA_TOPIC => Uuid::METADATA_TOPIC,
        None => Uuid::ZERO,
    };
    let (slot, bound) = dir.bounds.slot(topic_id, options.partition.partition);
    let mut loader = Loader {
        dir,
        options: &options,
        durable_until: bound.max(if options.clean { Offset::ZERO } else { options.recovery_point }),
        bound,
        segments: Vec::new(),
        progress: IndexProgress::default(),
        next_offset: options.log_start_offset,
        epochs: LeaderEpochs::read(fs, &options.path)?,
        aborted_unknown_from: None,
        unsynced: Unsynced { files: written_again, ..Unsynced::default() },
        cut: None,
        scanned_bytes: 0,
    };
    loader.open_segments(&files)?;
    if topic_id.is_zero() && loader.is_empty() {
        fs.remove_dir_all(&options.path).at("remove", &options.path)?;
        return Ok(None);
    }
    loader.finish(topic_id, slot, files)
}

/// A new, empty partition. Its directory becomes durable with the first flush that covers the log.
pub(crate) fn create(
    dir: &Arc<LogDir>,
    partition: &TopicPartition,
    topic_id: Uuid,
    config: LogConfig,
) -> Result<Arc<Log>, StorageError> {
    let fs = &*dir.fs;
    let path = dir.path.join(partition.to_string());
    fs.create_dir(&path).at("create", &path)?;
    let segment = Arc::new(Segment::new(&path, Offset::ZERO, 0));
    let file = segment.create_file(fs)?;
    if config.preallocate {
        file.allocate(u64::from(config.segment_bytes)).at("allocate", segment.path())?;
    }
    let metadata = write_topic_id(fs, &path, topic_id)?;
    let (slot, bound) = dir.bounds.slot(topic_id, partition.partition);
    if bound > Offset::ZERO {
        dir.bounds.lower(slot, topic_id, partition.partition, Offset::ZERO)?;
    }
    let mut unsynced = Unsynced { files: vec![file, metadata], ..Unsynced::default() };
    unsynced.add_dir(&path);
    unsynced.add_dir(&dir.path);
    let parts = Parts {
        partition: partition.clone(),
        topic_id,
        path,
        config,
        segments: vec![segment],
        next_offset: Offset::ZERO,
        log_start_offset: Offset::ZERO,
        index: IndexProgress::default(),
        producers: Default::default(),
        epochs: LeaderEpochs::default(),
        unsynced,
        slot,
        durable: true,
        recovery_point: Offset::ZERO,
    };
    Log::new(dir.clone(), parts)
}

/// The files of a partition directory, once interrupted deletions and swaps are finished.
#[derive(Debug, Default)]
struct Files {
    /// Base offsets of segments.
    segments: BTreeSet<Offset>,
    snapshots: BTreeSet<Offset>,
}

impl Files {
    fn tidy(fs: &dyn Fs, options: &LoadOptions) -> Result<Self, StorageError> {
        let dir = &options.path;
        let mut swaps = Vec::new();
        let mut cleaned_from = None;
        for entry in fs.list(dir).at("list", dir)? {
            let path = dir.join(&entry.name);
            match parse_file(&entry.name) {
                Some((_, _, Some(DELETED))) => fs.remove_file(&path).at("remove", &path)?,
                Some((offset, _, Some(CLEANED))) => {
                    cleaned_from = Some(cleaned_from.map_or(offset, |least: Offset| least.min(offset)));
                    fs.remove_file(&path).at("remove", &path)?;
                }
                Some((offset, _, Some(SWAP))) => swaps.push((offset, path)),
                _ if entry.name.ends_with(".tmp") => fs.remove_file(&path).at("remove", &path)?,
                _ => {}
            }
        }
        finish_swaps(fs, dir, swaps, cleaned_from)?;
        let mut files = Self::default();
        let listed = fs.list(dir).at("list", dir)?;
        let names = || listed.iter().filter_map(|entry| parse_file(&entry.name).map(|found| (found, entry)));
        for ((offset, kind, suffix), _) in names() {
            match (kind, suffix) {
                (LOG, None) => drop(files.segments.insert(offset)),
                (SNAPSHOT, None) => drop(files.snapshots.insert(offset)),
                _ => {}
            }
        }
        for ((offset, kind, suffix), entry) in names() {
            if matches!(kind, INDEX | TIME_INDEX | TXN_INDEX)
                && suffix.is_none()
                && !files.segments.contains(&offset)
            {
                let path = dir.join(&entry.name);
                fs.remove_file(&path).at("remove", &path)?;
            }
        }
        Ok(files)
    }

    /// What is written once beside the log, as far as the recovery point does not vouch for it, before it is
    /// read; see [`SegmentScan::flushed_until`]. Not so indexes, which are made anew, and checkpoints, which were
    /// synced before they got their names. The files still have to be synced.
    fn write_again(&self, fs: &dyn Fs, options: &LoadOptions) -> Result<Vec<Arc<dyn File>>, StorageError> {
        let point = options.recovery_point;
        let active = self.segments.range(..=point).next_back().copied().unwrap_or(point);
        let names = self.snapshots.range(point..).map(|offset| (*offset, SNAPSHOT));
        let names = names.chain(self.segments.range(active..).map(|base| (*base, TXN_INDEX)));
        let paths = names.map(|(offset, kind)| file_path(&options.path, offset, kind));
        // The first flush of a log covers it.
        let metadata = (point == Offset::ZERO).then(|| options.path.join(PARTITION_METADATA));
        let mut files = Vec::new();
        for path in paths.chain(metadata) {
            files.extend(write_file_again(fs, &path).at("write again", &path)?);
        }
        Ok(files)
    }
}

/// Compaction renames its result to `.swap` when all of it is written, then over the old segments. A swap of
/// a compaction that had not written everything (`.cleaned` is still there) is undone.
fn finish_swaps(
    fs: &dyn Fs,
    dir: &Path,
    swaps: Vec<(Offset, PathBuf)>,
    cleaned_from: Option<Offset>,
) -> Result<(), StorageError> {
    let (undone, done): (Vec<_>, Vec<_>) =
        swaps.into_iter().partition(|(offset, _)| cleaned_from.is_some_and(|from| *offset >= from));
    for (_, path) in undone {
        fs.remove_file(&path).at("remove", &path)?;
    }
    let mut range: Option<(Offset, Offset)> = None;
    for (offset, path) in done.iter().filter(|(_, path)| path.to_string_lossy().ends_with(".log.swap")) {
        let file = fs.open(path, OpenMode::Read).at("open", path)?;
        let mut walk = HeaderWalk::new(&*file, *offset, 0, file.length().at("measure", path)?);
        let mut end = *offset;
        while let Ok(Some(batch)) = walk.next().at("read", path)? {
            end = batch.header.next_offset();
        }
        range = Some(range.map_or((*offset, end), |(from, to)| (from.min(*offset), to.max(end))));
    }
    if let Some((from, to)) = range {
        for entry in fs.list(dir).at("list", dir)? {
            if let Some((offset, kind, None)) = parse_file(&entry.name)
                && kind != SNAPSHOT
                && (from..to).contains(&offset)
            {
                let path = dir.join(&entry.name);
                fs.remove_file(&path).at("remove", &path)?;
            }
        }
    }
    for (_, path) in done {
        fs.rename(&path, &path.with_extension("")).at("rename", &path)?;
    }
    Ok(())
}

struct Loader<'a> {
    dir: &'a Arc<LogDir>,
    options: &'a LoadOptions,
    /// What lies below was acknowledged.
    durable_until: Offset,
    /// The bound kept outside the log directory; `durable_until` unless the recovery point is larger.
    bound: Offset,
    segments: Vec<Arc<Segment>>,
    progress: IndexProgress,
    next_offset: Offset,
    /// None if there was no file to be believed.
    epochs: Option<LeaderEpochs>,
    aborted_unknown_from: Option<Offset>,
    unsynced: Unsynced,
    cut: Option<Cut>,
    scanned_bytes: u64,
}

impl Loader<'_> {
    fn fs(&self) -> &dyn Fs {
        &*self.dir.fs
    }

    fn is_empty(&self) -> bool {
        self.segments.iter().all(|segment| segment.size() == 0)
    }

    fn open_segments(&mut self, files: &Files) -> Result<(), LogError> {
        let bases: Vec<Offset> = files.segments.iter().copied().collect();
        let unscanned = |first: &Offset| self.options.clean || *first < self.options.recovery_point;
        if self.epochs.is_none() && bases.first().is_some_and(unscanned) {
            self.epochs = Some(self.epochs_of(&bases)?);
        }
        let mut met: Vec<(LeaderEpoch, Offset)> = Vec::new();
        for (index, base) in bases.iter().enumerate() {
            let next_base = bases.get(index + 1).copied();
            if damaged_txn_index(self.fs(), &self.options.path, *base)? {
                self.aborted_unknown_from.get_or_insert(*base);
            }
            let flushed =
                self.options.clean || next_base.is_some_and(|next| next <= self.options.recovery_point);
            if flushed && let Some(segment) = self.open_trusted(*base, next_base)? {
                self.segments.push(Arc::new(segment));
                continue;
            }
            let gap = *base > self.next_offset && !self.segments.is_empty();
            if gap && *base > self.options.cleaned_until {
                self.cut_after_gap(&bases[index..])?;
                break;
            }
            let scanned = self.scan(*base)?;
            met.extend(scanned.epochs.iter().copied());
            let stop = scanned.invalid.is_some();
            self.take(scanned, &bases[index + 1..])?;
            if stop {
                break;
            }
        }
        let epochs = self.epochs.get_or_insert_default();
        for (epoch, offset) in met {
            if epochs.latest().is_none_or(|latest| latest < epoch) {
                epochs.assign(epoch, offset);
            }
        }
        self.check_end()
    }

    /// Opens a segment that was flushed, without reading it; None if its indexes have to be made anew.
    fn open_trusted(&mut self, base: Offset, next: Option<Offset>) -> Result<Option<Segment>, LogError> {
        let (fs, dir) = (self.fs(), &self.options.path);
        let path = file_path(dir, base, LOG);
        let file = fs.open(&path, OpenMode::Read).at("open", &path)?;
        let length = file.length().at("measure", &path)?;
        let Some((index, time_index)) = open_indexes(fs, dir, base, Check::Last, length)? else {
            tracing::warn!(path = %path.display(), "its indexes are absent or wrong, and are made anew");
            return Ok(None);
        };
        let aborted = open_txn_index(fs, dir, base)?;
        let segment = Segment::with_indexes(dir, base, length, index, time_index, aborted);
        if next.is_none() {
            // The active segment: the log's end is found behind its last index entry.
            let entry = segment.index.last();
            let file = segment.file(fs)?;
            let mut walk = segment.walk(&*file, entry.map_or(0, |entry| entry.position), length);
            let mut progress = IndexProgress::default();
            let mut last = None;
            loop {
                let batch = match walk.next().at("read", &path)? {
                    Ok(Some(batch)) => batch,
                    Ok(None) => break,
                    Err(_) => return Ok(None),
                };
                let indexed = entry.filter(|_| last.is_none());
                if indexed.is_some_and(|entry| entry.last_offset != batch.header.last_offset()) {
                    return Ok(None);
                }
                progress.bytes_since_entry += batch.header.size_in_bytes() as u64;
                segment.note_timestamp(&batch.header);
                last = Some(batch.header);
            }
            let next_offset = last.map_or(base.max(self.next_offset), |last| last.next_offset());
            // Whoever left the directory in order noted the log's end.
            let noted = Some(self.options.recovery_point).filter(|offset| *offset > Offset::ZERO);
            if noted.is_some_and(|noted| noted != next_offset) {
                tracing::warn!(path = %path.display(), %next_offset, ?noted, "the log does not end where it should");
                return Ok(None);
            }
            (self.progress, self.next_offset) = (progress, next_offset);
        } else {
            self.next_offset = next.unwrap_or(base);
        }
        Ok(Some(segment))
    }

    fn scan(&self, base_offset: Offset) -> Result<Scanned, StorageError> {
        let scan = SegmentScan {
            fs: self.fs(),
            dir: &self.options.path,
            base_offset,
            trusted_until: if self.options.clean { Offset::ZERO } else { self.options.recovery_point },
            flushed_until: (!self.options.clean).then_some(self.durable_until),
            cleaned_until: self.options.cleaned_until,
            index_interval_bytes: self.options.config.index_interval_bytes,
        };
        scan.run()
    }

    /// Takes a scanned segment into the log, cutting off what is invalid in it and all segments after.
    fn take(&mut self, scanned: Scanned, later: &[Offset]) -> Result<(), LogError> {
        self.scanned_bytes += scanned.scanned_bytes;
        self.next_offset = scanned.next_offset;
        self.progress = scanned.progress;
        let path = scanned.segment.path().to_owned();
        if let Some(error) = &scanned.invalid {
            let place = format!("{} is corrupt at position {}: {error}", path.display(), scanned.end);
            self.refuse_to_lose(&place)?;
            let saved = self.save(&path, scanned.end, self.next_offset)?;
            let file = self.fs().open(&path, OpenMode::Write).at("open", &path)?;
            file.truncate(scanned.end).at("truncate", &path)?;
            self.note_cut(&path, scanned.end, scanned.file_length - scanned.end, saved, error.to_string());
            self.cut_segments(later)?;
        }
        self.unsynced.files.push(scanned.segment.file(&*self.dir.fs)?);
        if !later.is_empty() && scanned.invalid.is_none() {
            scanned.segment.finish_time_index();
            scanned.segment.write_indexes(&*self.dir.fs, &mut self.unsynced.files)?;
        }
        self.segments.push(Arc::new(scanned.segment));
        Ok(())
    }

    /// A segment is missing between the log's end so far and `later`, which were written but not flushed.
    fn cut_after_gap(&mut self, later: &[Offset]) -> Result<(), LogError> {
        let path = file_path(&self.options.path, self.next_offset, LOG);
        self.refuse_to_lose(&format!("{} is missing", path.display()))?;
        self.note_cut(&path, 0, 0, None, "the segment is missing, and others after it are there".to_owned());
        Ok(self.cut_segments(later)?)
    }

    /// What was acknowledged is not cut off.
    fn refuse_to_lose(&self, place: &str) -> Result<(), Offline> {
        if self.next_offset >= self.durable_until && !self.options.clean {
            return Ok(());
        }
        let reason = format!(
            "{}: {place}, offset {}; records up to offset {} were durable",
            self.options.partition, self.next_offset, self.durable_until,
        );
        Err(Offline { reason })
    }

    /// The file that says up to where records were durable.
    fn durable_says(&self) -> PathBuf {
        if self.durable_until == self.bound {
            return self.dir.bounds.path().to_owned();
        }
        self.dir.path.join(RECOVERY_POINT.name)
    }

    fn note_cut(&mut self, path: &Path, position: u64, bytes: u64, saved: Option<PathBuf>, reason: String) {
        self.cut = Some(Cut {
            partition: self.options.partition.clone(),
            path: path.to_owned(),
            position,
            offset: self.next_offset,
            bytes,
            saved: saved.into_iter().collect(),
            reason,
        });
    }

    /// Takes whole segments away, after what was cut already.
    fn cut_segments(&mut self, bases: &[Offset]) -> Result<(), StorageError> {
        for base in bases {
            let path = file_path(&self.options.path, *base, LOG);
            let file = self.fs().open(&path, OpenMode::Read).at("open", &path)?;
            let bytes = file.length().at("measure", &path)?;
            let saved = self.save(&path, 0, *base)?;
            if let Some(cut) = &mut self.cut {
                cut.bytes += bytes;
                cut.saved.extend(saved);
            }
            self.remove_segment(*base)?;
        }
        Ok(())
    }

    fn save(&self, path: &Path, position: u64, offset: Offset) -> Result<Option<PathBuf>, StorageError> {
        let side_dir = self.dir.shared.bounds_dir.join("cut");
        let name = side_file_name(&self.options.partition, offset, self.options.now);
        save_tail(self.fs(), path, position, &side_dir, &name)
    }

    fn remove_segment(&self, base: Offset) -> Result<(), StorageError> {
        for kind in [LOG, INDEX, TIME_INDEX, TXN_INDEX] {
            let path = file_path(&self.options.path, base, kind);
            remove_if_there(self.fs(), &path).at("remove", &path)?;
        }
        Ok(())
    }

    /// A log that is shorter than what was acknowledged has lost something.
    fn check_end(&self) -> Result<(), LogError> {
        if self.next_offset >= self.durable_until || self.options.log_start_offset >= self.durable_until {
            return Ok(());
        }
        let reason = format!(
            "{} ends at offset {}, but records up to offset {} were durable (to accept the loss, remove {})",
            self.options.partition,
            self.next_offset,
            self.durable_until,
            self.durable_says().display(),
        );
        Err(Offline { reason }.into())
    }

    /// Epochs from the headers of all batches, for a directory whose checkpoint is lost.
    fn epochs_of(&self, bases: &[Offset]) -> Result<LeaderEpochs, StorageError> {
        let mut epochs = LeaderEpochs::default();
        for base in bases {
            let path = file_path(&self.options.path, *base, LOG);
            let file = self.fs().open(&path, OpenMode::Read).at("open", &path)?;
            let mut walk = HeaderWalk::new(&*file, *base, 0, file.length().at("measure", &path)?);
            while let Ok(Some(batch)) = walk.next().at("read", &path)? {
                if let Some(epoch) = batch.header.leader_epoch()
                    && epochs.latest().is_none_or(|latest| latest < epoch)
                {
                    epochs.assign(epoch, batch.header.base_offset());
                }
            }
        }
        Ok(epochs)
    }

    fn finish(mut self, topic_id: Uuid, slot: Slot, files: Files) -> Result<Option<Loaded>, LogError> {
        let path = self.options.path.clone();
        let log_start_offset =
            self.options.log_start_offset.max(self.segments.first().map_or(Offset::ZERO, |s| s.base_offset));
        if self.segments.is_empty() || log_start_offset > self.next_offset {
            // Everything that is there was deleted by request.
            for segment in std::mem::take(&mut self.segments) {
                self.remove_segment(segment.base_offset)?;
            }
            let segment = Arc::new(Segment::new(&path, log_start_offset, 0));
            self.unsynced.files.push(segment.create_file(&*self.dir.fs)?);
            self.segments.push(segment);
            self.next_offset = log_start_offset;
            self.progress = IndexProgress::default();
        }
        let mut epochs = self.epochs.take().unwrap_or_default();
        epochs.truncate_from_end(self.next_offset);
        epochs.truncate_from_start(log_start_offset);
        let replay = Replay {
            fs: self.fs(),
            dir: &path,
            partition: &self.options.partition,
            segments: &self.segments,
            snapshots: files.snapshots.into_iter().collect(),
            log_start_offset,
            next_offset: self.next_offset,
            aborted_unknown_from: self.aborted_unknown_from,
        };
        let producers = replay.run()?;
        let durable = self.options.clean && self.cut.is_none();
        if !durable {
            // Whoever was killed here may not have synced what is found now.
            self.unsynced.add_dir(&path);
            for segment in self.segments.iter().rev() {
                self.unsynced.files.extend(segment.aborted.open_to_sync(&*self.dir.fs)?);
                if segment.base_offset <= self.options.recovery_point {
                    break;
                }
            }
        }
        let parts = Parts {
            partition: self.options.partition.clone(),
            topic_id,
            path,
            config: self.options.config.clone(),
            segments: self.segments,
            next_offset: self.next_offset,
            log_start_offset,
            index: self.progress,
            producers,
            epochs,
            unsynced: self.unsynced,
            slot,
            durable,
            recovery_point: if durable {
                self.next_offset
            } else {
                self.options.recovery_point.min(self.next_offset)
            },
        };
        let log = Log::new(self.dir.clone(), parts)?;
        Ok(Some(Loaded { log, cut: self.cut, scanned_bytes: self.scanned_bytes }))
    }
}
