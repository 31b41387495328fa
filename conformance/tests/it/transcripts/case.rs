//! Cases and transcripts as they are written down.

use std::{collections::BTreeMap, fmt, fs, path::Path};

use serde::{Deserialize, Serialize};

/// The cases of one file.
pub(super) struct Script {
    pub(super) name: String,
    pub(super) cases: Vec<Case>,
}

#[derive(Deserialize)]
struct File {
    case: Vec<Case>,
}

/// One command line.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Case {
    /// The arguments, as a shell would have them; `{b}` is the broker, `{id}` its id, `{c}` a controller, where
    /// there is one, `{dir}` a directory for files, `{data}` the broker's log directory.
    pub(super) run: String,
    /// The file's name unless said: another tool sets the stage.
    #[serde(default)]
    pub(super) tool: String,
    #[serde(default)]
    pub(super) input: String,
    /// Files that are there, by name.
    #[serde(default)]
    pub(super) files: BTreeMap<String, String>,
    /// Rows come in the order of a Java hash table.
    #[serde(default)]
    pub(super) unordered: bool,
    /// The answer is help, which is in our own words.
    #[serde(default)]
    pub(super) help: bool,
    /// Why what Kafka's tool says on standard error helps nobody. Ours says something else there, at any rate
    /// something.
    pub(super) better: Option<String>,
    /// Numbers in the output are measurements.
    #[serde(default)]
    pub(super) measured: bool,
}

/// What a tool did, without what may differ.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Transcript {
    pub(super) code: i64,
    pub(super) stdout: String,
    /// The first line.
    pub(super) stderr: String,
}

impl fmt::Display for Transcript {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "code {}", self.code)?;
        for line in self.stdout.lines() {
            write!(f, "\n1> {line}")?;
        }
        if !self.stderr.is_empty() {
            write!(f, "\n2> {}", self.stderr)?;
        }
        Ok(())
    }
}

impl Script {
    pub(super) fn read(path: &Path) -> Self {
        let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
        let text = fs::read_to_string(path).expect("readable");
        let mut file: File =
            toml::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        for case in &mut file.case {
            if case.tool.is_empty() {
                case.tool.clone_from(&name);
            }
        }
        Self { name, cases: file.case }
    }
}

#[derive(Serialize, Deserialize)]
struct Recording {
    transcript: Vec<Recorded>,
}

#[derive(Serialize, Deserialize)]
struct Recorded {
    run: String,
    #[serde(flatten)]
    transcript: Transcript,
}

pub(super) fn to_text(script: &Script, transcripts: &[Transcript]) -> String {
    let mut text = "# What Apache Kafka 4.3.1's own tool did, on Millstream; written by MILLSTREAM_TRANSCRIPTS=record.\n".to_owned();
    let transcript = script.cases.iter().zip(transcripts).map(|(case, transcript)| Recorded {
        run: format!("{} {}", case.tool, case.run),
        transcript: transcript.clone(),
    });
    text += &toml::to_string_pretty(&Recording { transcript: transcript.collect() }).expect("TOML");
    text
}

/// The recording of a script; it must be of the very same cases.
pub(super) fn from_text(path: &Path, script: &Script) -> Vec<Transcript> {
    let text =
        fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}; record it", path.display()));
    let recording: Recording =
        toml::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let cases: Vec<String> = script.cases.iter().map(|case| format!("{} {}", case.tool, case.run)).collect();
    let recorded: Vec<String> = recording.transcript.iter().map(|one| one.run.clone()).collect();
    assert_eq!(cases, recorded, "{}: other cases were recorded; record them again", path.display());
    recording.transcript.into_iter().map(|one| one.transcript).collect()
}

/// Words as a shell splits them, with both kinds of quotation marks.
pub(super) fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    for letter in line.chars() {
        match (quote, letter) {
            (Some(open), _) if letter == open => quote = None,
            (None, '\'' | '"') => {
                quote = Some(letter);
                word.get_or_insert_default();
            }
            (None, ' ') => words.extend(word.take()),
            _ => word.get_or_insert_default().push(letter),
        }
    }
    words.extend(word);
    words
}

#[test]
fn words_are_split_outside_quotation_marks() {
    assert_eq!(words("a 'b c' --d=\"e f\" ''"), ["a", "b c", "--d=e f", ""]);
}
