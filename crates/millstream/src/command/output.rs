//! What a command says: its answer on standard output, in the shape asked for, everything else on standard
//! error. A table that goes into a pipe is plain lines of tab-separated columns without a head.

use std::{
    env,
    io::{self, ErrorKind, IsTerminal, Write},
    time::Duration,
};

use anyhow::Result;
use comfy_table::{Attribute, Cell, CellAlignment, ContentArrangement, Table, presets};
use rustix::event::{PollFd, PollFlags, Timespec};
use serde_json::Value;

use super::{time, yaml};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Output {
    #[default]
    Table,
    /// The table with all its columns
    Wide,
    Json,
    Yaml,
    /// All columns, under a head
    Csv,
    /// Only what the things are called, one a line
    Name,
}

#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Output")]
pub(super) struct OutputArguments {
    /// The shape of the answer; a table in a pipe is tab-separated, without its head
    #[arg(short, long, value_enum, default_value_t)]
    pub(super) output: Output,
}

/// How a list is shown, once or again and again.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct ShowArguments {
    #[command(flatten)]
    pub(super) shape: OutputArguments,
    /// Ask again and again, every two seconds unless said otherwise; ctrl-C ends
    #[arg(short, long, value_name = "EVERY", num_args = 0..=1, require_equals = true,
          default_missing_value = "2s", value_parser = time::duration, help_heading = "Output")]
    watch: Option<Duration>,
}

/// What was asked for: `value` and `sections` say the same.
pub(super) struct Answer {
    pub(super) value: Value,
    pub(super) sections: Vec<Section>,
    /// For people, on standard error.
    pub(super) note: Option<String>,
}

impl ShowArguments {
    pub(super) fn watches(&self) -> bool {
        self.watch.is_some()
    }

    /// Prints the answer; with `--watch` until whoever reads has gone.
    pub(super) async fn show(&self, mut ask: impl AsyncFnMut() -> Result<Answer>) -> Result<()> {
        let answer = ask().await?;
        let Some(every) = self.watch else { return answer.print(self.shape.output) };
        let mut answer = Ok(answer);
        loop {
            match answer {
                Ok(answer) => {
                    if !self.print_again(&answer)? {
                        return Ok(());
                    }
                }
                Err(error) => say(&format!("millstream: {error:#}")),
            }
            tokio::time::sleep(every).await;
            answer = ask().await;
        }
    }

    fn print_again(&self, answer: &Answer) -> Result<bool> {
        const CLEARED: &str = "\x1b[H\x1b[2J\x1b[3J";
        let mut text = match self.shape.output {
            // One answer a line, for whoever reads on.
            Output::Json => answer.value.to_string() + "\n",
            Output::Yaml => format!("---\n{}", yaml::to_string(&answer.value)),
            output => answer.to_text(output)?,
        };
        if io::stdout().is_terminal() {
            text.insert_str(0, CLEARED);
        }
        write(text.as_bytes())
    }
}

impl OutputArguments {
    pub(super) fn print(&self, answer: &Answer) -> Result<()> {
        answer.print(self.output)
    }
}

impl Answer {
    pub(super) fn new(value: impl Into<Value>, sections: Vec<Section>) -> Self {
        Self { value: value.into(), sections, note: None }
    }

    pub(super) fn print(&self, output: Output) -> Result<()> {
        if let Some(note) = &self.note {
            say(note);
        }
        write(self.to_text(output)?.as_bytes())?;
        Ok(())
    }

    fn to_text(&self, output: Output) -> Result<String> {
        let sections: Vec<&Section> =
            self.sections.iter().filter(|section| !section.rows.is_empty()).collect();
        let is_wide = output == Output::Wide;
        let named = self.sections.len() > 1;
        let join = |each: &dyn Fn(&Section) -> String, between: &str| {
            sections.iter().map(|section| each(section)).collect::<Vec<_>>().join(between)
        };
        Ok(match output {
            Output::Json => serde_json::to_string_pretty(&self.value)? + "\n",
            Output::Yaml => yaml::to_string(&self.value),
            Output::Csv => join(&Section::for_spreadsheets, "\n"),
            Output::Name => sections.first().map(|section| section.names()).unwrap_or_default(),
            _ if io::stdout().is_terminal() => {
                let style = Style { is_wide, is_bold: has_colour() };
                join(&|section| section.for_people(style), "\n")
            }
            _ => join(&|section| section.for_programs(named, is_wide), ""),
        })
    }
}

/// Whether text on this terminal may be more than plain: <https://no-color.org>.
pub(super) fn has_colour() -> bool {
    let set = |name: &str| env::var_os(name).filter(|value| !value.is_empty());
    set("NO_COLOR").is_none() && set("TERM").is_some_and(|kind| kind != "dumb")
}

/// One table of an answer.
pub(super) struct Section {
    /// In a pipe, the first column of each row where an answer has several sections.
    name: &'static str,
    columns: Vec<&'static str>,
    /// How many columns a table has that is not wide; the others are the last.
    narrow: usize,
    rows: Vec<Vec<String>>,
}

#[derive(Clone, Copy)]
struct Style {
    is_wide: bool,
    is_bold: bool,
}

impl Section {
    pub(super) fn new(name: &'static str, columns: &[&'static str]) -> Self {
        Self { name, columns: columns.to_vec(), narrow: columns.len(), rows: Vec::new() }
    }

    /// Columns that only a wide table shows, behind the others.
    pub(super) fn wide(mut self, columns: &[&'static str]) -> Self {
        self.columns.extend(columns);
        self
    }

    pub(super) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    fn shown(&self, is_wide: bool) -> usize {
        if is_wide { self.columns.len() } else { self.narrow }
    }

    fn for_people(&self, style: Style) -> String {
        let mut table = Table::new();
        table.load_preset(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
        let count = self.shown(style.is_wide);
        let head = |name: &&'static str| {
            let cell = Cell::new(name);
            if style.is_bold { cell.add_attribute(Attribute::Bold) } else { cell }
        };
        table.set_header(self.columns.iter().take(count).map(head));
        let is_number =
            |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit() || b"-.".contains(&b));
        for row in &self.rows {
            table.add_row(row.iter().take(count).map(|text| {
                let alignment = if is_number(text) { CellAlignment::Right } else { CellAlignment::Left };
                Cell::new(printable(text)).set_alignment(alignment)
            }));
        }
        let lines: Vec<String> = table.lines().map(|line| line.trim_end().to_owned() + "\n").collect();
        lines.concat()
    }

    fn for_programs(&self, named: bool, is_wide: bool) -> String {
        let count = self.shown(is_wide);
        let line = |row: &Vec<String>| {
            let cells = row.iter().take(count).map(String::as_str);
            let cells = named.then_some(self.name).into_iter().chain(cells);
            cells.map(|cell| cell.replace(['\t', '\n', '\r'], " ")).collect::<Vec<_>>().join("\t") + "\n"
        };
        self.rows.iter().map(line).collect()
    }

    /// Lines of [`spreadsheet_line`].
    fn for_spreadsheets(&self) -> String {
        let rows = self.rows.iter().map(|row| spreadsheet_line(row.iter().map(String::as_str)));
        spreadsheet_line(self.columns.iter().copied()) + &rows.collect::<String>()
    }

    fn names(&self) -> String {
        self.rows.iter().filter_map(|row| row.first()).map(|name| format!("{name}\n")).collect()
    }
}

/// A line of RFC 4180, with a line end of one byte.
pub(super) fn spreadsheet_line<'a>(cells: impl IntoIterator<Item = &'a str>) -> String {
    let cell = |text: &str| match text.contains([',', '"', '\n', '\r']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text.to_owned(),
    };
    cells.into_iter().map(cell).collect::<Vec<_>>().join(",") + "\n"
}

/// Text that does nothing to a terminal.
pub(super) fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// Writes to standard output; false if whoever read it has gone, which is how `head` ends a command.
pub(super) fn write(bytes: &[u8]) -> Result<bool> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Whether standard output is a pipe that nobody reads any more, which a command that waits for something to
/// write would not notice.
pub(super) fn reader_is_gone() -> bool {
    let stdout = io::stdout();
    let mut poll = [PollFd::new(&stdout, PollFlags::empty())];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    rustix::event::poll(&mut poll, Some(&now)).is_ok()
        && poll[0].revents().intersects(PollFlags::ERR | PollFlags::HUP | PollFlags::NVAL)
}

/// A line on standard error; if nobody reads it, nobody does.
pub(crate) fn say(text: &str) {
    drop(io::stderr().write_all(format!("{text}\n").as_bytes()));
}

/// What takes a change back: a command line, without `millstream`.
pub(super) fn say_undo(command: &str) {
    say(&format!("undo: millstream {command}"));
}

/// A word as a shell reads it back.
pub(super) fn shell(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.,:=/@+".contains(c);
    match !word.is_empty() && word.chars().all(is_plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}

/// A number, or a dash where there is none.
pub(super) fn or_dash(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

/// `1 partition`, `3 partitions`
pub(super) fn counted(count: impl TryInto<i64>, thing: &str) -> String {
    let count = count.try_into().unwrap_or(i64::MAX);
    format!("{count} {thing}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn section() -> Section {
        let mut section = Section::new("topic", &["NAME", "PARTITIONS"]).wide(&["ID"]);
        section.row(["a\tb".to_owned(), "3".to_owned(), "x,\"y\"".to_owned()]);
        section
    }

    #[test]
    fn in_a_pipe_a_row_is_a_line_of_tabs() {
        assert_eq!(section().for_programs(false, false), "a b\t3\n");
        assert_eq!(section().for_programs(true, true), "topic\ta b\t3\tx,\"y\"\n");
    }

    #[test]
    fn for_people_numbers_stand_to_the_right_under_a_head() {
        let mut section = Section::new("topic", &["NAME", "PARTITIONS"]);
        section.row(["orders".to_owned(), "12".to_owned()]);
        let style = Style { is_wide: false, is_bold: false };
        assert_eq!(section.for_people(style), " NAME    PARTITIONS\n orders          12\n");
    }

    #[test]
    fn a_spreadsheet_gets_all_columns_and_quotes_where_they_are_needed() {
        assert_eq!(section().for_spreadsheets(), "NAME,PARTITIONS,ID\na\tb,3,\"x,\"\"y\"\"\"\n");
        assert_eq!(section().names(), "a\tb\n");
    }

    #[test]
    fn a_word_survives_the_shell() {
        assert_eq!(shell("retention.ms=5"), "retention.ms=5");
        assert_eq!(shell("it's"), r"'it'\''s'");
        assert_eq!(shell(""), "''");
        assert_eq!(shell("a;b"), "'a;b'");
    }

    #[test]
    fn control_characters_do_not_reach_a_terminal() {
        assert_eq!(printable("a\x1b[2Jb"), "a\u{fffd}[2Jb");
    }
}
