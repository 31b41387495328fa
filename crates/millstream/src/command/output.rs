//! The three shapes of an answer: a table for people, JSON, YAML. A table that goes into a pipe is plain
//! lines of tab-separated columns without a head.

use std::io::{self, ErrorKind, IsTerminal, Write};

use anyhow::Result;
use comfy_table::{Cell, CellAlignment, ContentArrangement, Table, presets};
use serde_json::Value;

use super::yaml;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Output {
    #[default]
    Table,
    Json,
    Yaml,
}

#[derive(clap::Args)]
pub(super) struct OutputArguments {
    /// The shape of the answer; a table in a pipe is tab-separated, without its head
    #[arg(short, long, value_enum, default_value_t)]
    pub(super) output: Output,
}

/// One table of an answer.
pub(super) struct Section {
    /// In a pipe, the first column of each row where an answer has several sections.
    name: &'static str,
    columns: &'static [&'static str],
    rows: Vec<Vec<String>>,
}

impl Section {
    pub(super) fn new(name: &'static str, columns: &'static [&'static str]) -> Self {
        Self { name, columns, rows: Vec::new() }
    }

    pub(super) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    fn for_people(&self) -> String {
        let mut table = Table::new();
        table.load_preset(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
        table.set_header(self.columns);
        let is_number =
            |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit() || b == b'-');
        for row in &self.rows {
            table.add_row(row.iter().map(|text| {
                let alignment = if is_number(text) { CellAlignment::Right } else { CellAlignment::Left };
                Cell::new(text).set_alignment(alignment)
            }));
        }
        let lines: Vec<String> = table.lines().map(|line| line.trim_end().to_owned() + "\n").collect();
        lines.concat()
    }

    fn for_programs(&self, named: bool) -> String {
        let line = |row: &Vec<String>| {
            let cells = named.then_some(self.name).into_iter().chain(row.iter().map(String::as_str));
            cells.map(|cell| cell.replace(['\t', '\n'], " ")).collect::<Vec<_>>().join("\t") + "\n"
        };
        self.rows.iter().map(line).collect()
    }
}

/// Prints an answer in the shape asked for; `value` and `sections` say the same.
pub(super) fn print(output: Output, value: &Value, sections: &[Section]) -> Result<()> {
    let sections: Vec<&Section> = sections.iter().filter(|section| !section.rows.is_empty()).collect();
    let text = match output {
        Output::Json => serde_json::to_string_pretty(value)? + "\n",
        Output::Yaml => yaml::to_string(value),
        Output::Table if io::stdout().is_terminal() => {
            sections.iter().map(|section| section.for_people()).collect::<Vec<_>>().join("\n")
        }
        Output::Table => sections.iter().map(|section| section.for_programs(sections.len() > 1)).collect(),
    };
    write(text.as_bytes())?;
    Ok(())
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

    #[test]
    fn in_a_pipe_a_row_is_a_line_of_tabs() {
        let mut section = Section::new("topic", &["NAME", "PARTITIONS"]);
        section.row(["a\tb".to_owned(), "3".to_owned()]);
        assert_eq!(section.for_programs(false), "a b\t3\n");
        assert_eq!(section.for_programs(true), "topic\ta b\t3\n");
    }

    #[test]
    fn for_people_numbers_stand_to_the_right_under_a_head() {
        let mut section = Section::new("topic", &["NAME", "PARTITIONS"]);
        section.row(["orders".to_owned(), "12".to_owned()]);
        assert_eq!(section.for_people(), " NAME    PARTITIONS\n orders          12\n");
    }
}
