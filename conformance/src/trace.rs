//! What a broker did in which order, read from `strace -f -yy`: whether an answer left only after the data
//! that it acknowledges was flushed, and whether the directories of new files were synced.
//!
//! A call begins at its line and ends there too, or, when other threads came between, at the line that
//! resumes it; so line numbers order beginnings and ends of calls as the kernel saw them.

use std::{collections::HashMap, path::Path};

use anyhow::{Context, Result, ensure};

/// What strace must be told: follow threads, be the tracer from the side (the broker stays our child), name
/// descriptors by path and connection, show enough of each buffer to recognise a record.
pub fn strace_command(output: &Path) -> Vec<String> {
    let calls = "openat,open,creat,mkdir,mkdirat,write,pwrite64,writev,pwritev,pwritev2,sendto,sendmsg,sendfile,\
                 fdatasync,fsync,syncfs";
    let options = ["strace", "-D", "-f", "-yy", "-s", "300", "-e"];
    let mut words: Vec<String> = options.map(str::to_owned).to_vec();
    words.push(format!("trace={calls}"));
    words.push("-o".to_owned());
    words.push(output.display().to_string());
    words
}

/// One system call.
#[derive(Clone, Debug)]
pub struct Call {
    /// The line at which it was entered, and the one at which it returned.
    pub start: usize,
    pub end: usize,
    pub name: String,
    /// Arguments and result as strace prints them.
    pub text: String,
}

impl Call {
    fn succeeded(&self) -> bool {
        self.text.rsplit_once(" = ").is_some_and(|(_, result)| !result.trim_start().starts_with('-'))
    }

    fn is_any(&self, names: &[&str]) -> bool {
        names.contains(&self.name.as_str())
    }

    /// The path or connection of the descriptor that is the first argument.
    fn descriptor(&self) -> &str {
        let named =
            self.text.split_once('<').filter(|(number, _)| number.bytes().all(|b| b.is_ascii_digit()));
        let Some((_, rest)) = named else { return "" };
        // Connections hold ">" themselves: `TCP:[127.0.0.1:1->127.0.0.1:2]`.
        let end = if rest.starts_with("TCP") { rest.find("]>") } else { rest.find('>') };
        end.map_or("", |end| &rest[..end])
    }

    /// The path of a file or directory that it made, or may have made.
    fn created(&self) -> Option<&str> {
        let creates = self.is_any(&["mkdir", "mkdirat", "creat"]) || self.text.contains("O_CREAT");
        let path = self.text.split('"').nth(1)?;
        (creates && self.succeeded()).then_some(path)
    }
}

pub struct Trace {
    calls: Vec<Call>,
}

impl Trace {
    pub fn parse(text: &str) -> Self {
        let mut calls: Vec<Call> = Vec::new();
        let mut unfinished: HashMap<&str, usize> = HashMap::new();
        for (number, line) in text.lines().enumerate() {
            let Some((thread, rest)) = line.split_once(' ') else { continue };
            let rest = rest.trim_start();
            if let Some(resumed) = rest.strip_prefix("<... ") {
                let Some(call) = unfinished.remove(thread).and_then(|index| calls.get_mut(index)) else {
                    continue;
                };
                call.end = number;
                call.text.push_str(resumed.split_once("resumed>").map_or("", |(_, tail)| tail));
                continue;
            }
            let Some((name, arguments)) = rest.split_once('(') else { continue };
            let mut call =
                Call { start: number, end: number, name: name.to_owned(), text: arguments.to_owned() };
            if let Some(begun) = call.text.strip_suffix(" <unfinished ...>") {
                call.text = begun.to_owned();
                call.end = usize::MAX;
                unfinished.insert(thread, calls.len());
            }
            calls.push(call);
        }
        Self { calls }
    }

    /// The writes into log segments below a directory (`/topic-0/`) whose first bytes hold `payload`.
    pub fn segment_writes<'a>(
        &'a self,
        directory: &'a str,
        payload: &'a str,
    ) -> impl Iterator<Item = &'a Call> {
        self.calls.iter().filter(move |call| {
            let path = call.descriptor();
            call.is_any(&["write", "pwrite64", "writev", "pwritev", "pwritev2"])
                && path.contains(directory)
                && path.ends_with(".log")
                && call.text.contains(payload)
        })
    }

    /// The first answer that was begun after `call`, on the connection from `port`.
    pub fn answer_after(&self, call: &Call, port: u16) -> Result<&Call> {
        let peer = format!("->127.0.0.1:{port}");
        let answers = |c: &&Call| {
            c.is_any(&["write", "writev", "sendto", "sendmsg", "sendfile"]) && c.descriptor().ends_with(&peer)
        };
        let mut later = self.calls.iter().filter(answers).filter(|c| c.start > call.start);
        later.next().with_context(|| format!("no answer on port {port} after line {}", call.start))
    }

    /// Demands that what `write` wrote was flushed between its end and the beginning of `answer`.
    pub fn check_flushed(&self, write: &Call, answer: &Call) -> Result<()> {
        ensure!(write.end < answer.start, "line {}: the answer left before the write was done", answer.start);
        ensure!(
            self.synced(write.descriptor(), write.end, answer.start),
            "line {}: the answer left, but {} was not flushed since line {}",
            answer.start,
            write.descriptor(),
            write.end
        );
        Ok(())
    }

    /// Demands that everything created below `directory` before `answer` had its own directory synced by
    /// then. Returns how many files and directories that were.
    pub fn check_names_synced(&self, directory: &str, suffix: &str, answer: &Call) -> Result<usize> {
        let mut seen: Vec<&str> = Vec::new();
        for call in self.calls.iter().filter(|c| c.end < answer.start) {
            let Some(path) = call.created().filter(|p| p.contains(directory) && p.ends_with(suffix)) else {
                continue;
            };
            if seen.contains(&path) {
                continue;
            }
            seen.push(path);
            let parent = Path::new(path).parent().map(|p| p.display().to_string()).unwrap_or_default();
            ensure!(
                self.synced(&parent, call.end, answer.start),
                "line {}: the answer left, but {parent} was not synced since {path} was made there in line {}",
                answer.start,
                call.end
            );
        }
        Ok(seen.len())
    }

    /// Whether a path, or its whole file system, was synced wholly between two lines.
    fn synced(&self, path: &str, after: usize, before: usize) -> bool {
        self.calls.iter().any(|call| {
            let covers = match call.name.as_str() {
                "fdatasync" | "fsync" => call.descriptor() == path,
                "syncfs" => true,
                _ => false,
            };
            covers && call.start > after && call.end < before && call.succeeded()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WRITE: &str = r#"11 pwritev(9</d/t-0/00.log>, [{iov_base="\0\0payload-1", iov_len=9}], 1, 0) = 9"#;
    const ANSWER: &str =
        r#"12 writev(5<TCP:[127.0.0.1:9092->127.0.0.1:41000]>, [{iov_base="\0", iov_len=1}], 1) = 1"#;

    fn check(between: &str) -> Result<()> {
        let trace = Trace::parse(&format!("{WRITE}\n{between}\n{ANSWER}\n"));
        let write = trace.segment_writes("/t-0/", "payload-1").next().context("no write")?;
        trace.check_flushed(write, trace.answer_after(write, 41000)?)
    }

    #[test]
    fn a_flush_between_write_and_answer_is_recognised() {
        check("13 fdatasync(9</d/t-0/00.log>) = 0").unwrap();
        check("13 syncfs(3</d>) = 0").unwrap();
        check("13 fdatasync(9</d/t-0/00.log> <unfinished ...>\n13 <... fdatasync resumed>) = 0").unwrap();
    }

    #[test]
    fn a_flush_that_is_missing_failed_or_of_another_file_is_not_enough() {
        assert!(check("").is_err());
        assert!(check("13 fdatasync(9</d/t-0/00.log>) = -1 EIO (Input/output error)").is_err());
        assert!(check("13 fdatasync(9</d/other-0/00.log>) = 0").is_err());
    }

    #[test]
    fn a_flush_that_began_before_the_write_or_ended_after_the_answer_is_not_enough() {
        let text =
            format!("13 syncfs(3</d> <unfinished ...>\n{WRITE}\n13 <... syncfs resumed>) = 0\n{ANSWER}\n");
        let trace = Trace::parse(&text);
        let write = trace.segment_writes("/t-0/", "payload-1").next().unwrap();
        assert!(trace.check_flushed(write, trace.answer_after(write, 41000).unwrap()).is_err());
        assert!(check("13 syncfs(3</d> <unfinished ...>").is_err());
    }

    #[test]
    fn a_new_name_needs_its_directory_synced() {
        let made = "11 mkdir(\"/d/t-0\", 0777) = 0\n\
                    11 openat(AT_FDCWD</>, \"/d/t-0/00.log\", O_RDWR|O_CREAT, 0666) = 9</d/t-0/00.log>";
        let check = |between: &str| {
            let trace = Trace::parse(&format!("{made}\n{WRITE}\n{between}\n{ANSWER}\n"));
            let write = trace.segment_writes("/t-0/", "").next().unwrap();
            trace.check_names_synced("/t-0", "", trace.answer_after(write, 41000).unwrap())
        };
        assert_eq!(check("11 fsync(3</d>) = 0\n11 fsync(4</d/t-0>) = 0").unwrap(), 2);
        assert_eq!(check("11 syncfs(3</d>) = 0").unwrap(), 2);
        assert!(check("11 fsync(3</d>) = 0").is_err());
        assert!(check("11 fsync(4</d/t-0>) = 0").is_err());
    }
}
