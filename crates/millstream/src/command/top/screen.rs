//! What is on the screen and what the keys do to it: a value without a terminal.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use anyhow::Result;
use ratatui::crossterm::event::{Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::{
    sample::Sample,
    view::{Cell, Tables, View},
};

/// Of the whole cluster's rate: as many as the widest window has columns.
const RATES_MAX: usize = 500;
const PAGE_ROWS: usize = 10;
const FILTER_CHARS_MAX: usize = 100;
/// An answer may be late by so much before the screen says so: reading how old the first unread records are takes
/// up to three seconds.
const LATE_AFTER: Duration = Duration::from_secs(5);

pub(super) struct Screen {
    pub(super) view: View,
    pub(super) interval: Duration,
    /// None until there was an answer.
    pub(super) tables: Option<Tables>,
    /// Why there is no newer answer.
    trouble: Option<String>,
    /// The last answer, or when the first was asked for.
    answered: Instant,
    /// The cluster's records a second, the newest last.
    pub(super) rates: VecDeque<u64>,
    pub(super) selected: usize,
    /// Which column, of each view.
    sorted: [Sort; 3],
    pub(super) filter: String,
    /// Whether keys go into the filter.
    pub(super) is_filtering: bool,
    pub(super) is_paused: bool,
    pub(super) has_help: bool,
    last: Option<Sample>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sort {
    pub(super) column: usize,
    pub(super) is_descending: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Command {
    Go,
    Quit,
}

impl Screen {
    pub(super) fn new(view: View, interval: Duration, now: Instant) -> Self {
        let by = |column, is_descending| Sort { column, is_descending };
        Self {
            view,
            interval,
            tables: None,
            trouble: None,
            answered: now,
            rates: VecDeque::new(),
            selected: 0,
            // Topics by their rate, groups by their lag, brokers by their id.
            sorted: [by(1, true), by(3, true), by(0, false)],
            filter: String::new(),
            is_filtering: false,
            is_paused: false,
            has_help: false,
            last: None,
        }
    }

    pub(super) fn take(&mut self, sample: Result<Sample>) {
        let sample = match sample {
            Ok(sample) => sample,
            Err(error) => {
                self.trouble = Some(reason(&error));
                return;
            }
        };
        self.trouble = None;
        self.answered = sample.at;
        if self.is_paused {
            return;
        }
        let tables = Tables::of(self.last.as_ref(), &sample);
        if self.last.is_some() {
            self.rates.push_back(tables.records_per_second.round() as u64);
            if self.rates.len() > RATES_MAX {
                self.rates.pop_front();
            }
        }
        self.tables = Some(tables);
        self.last = Some(sample);
        self.keep_selected();
    }

    /// What is wrong, if what is shown is not how things are.
    pub(super) fn trouble(&self, now: Instant) -> Option<String> {
        let age = now.saturating_duration_since(self.answered);
        let late = format!("no answer for {} s", age.as_secs());
        match &self.trouble {
            Some(reason) => Some(format!("{late}: {reason}")),
            None => (age > self.interval + LATE_AFTER).then_some(late),
        }
    }

    pub(super) fn sort(&self) -> Sort {
        self.sorted[self.view as usize]
    }

    /// The rows that match, in order.
    pub(super) fn rows(&self) -> Vec<&Vec<Cell>> {
        let Some(tables) = &self.tables else { return Vec::new() };
        let filter = self.filter.to_lowercase();
        let wanted = |row: &&Vec<Cell>| {
            row.iter().any(|cell| matches!(cell, Cell::Text(text) if text.to_lowercase().contains(&filter)))
        };
        let mut rows: Vec<&Vec<Cell>> = tables.table(self.view).rows.iter().filter(wanted).collect();
        let Sort { column, is_descending } = self.sort();
        rows.sort_by(|one, other| {
            let order = one[column].order(&other[column]);
            let order = if is_descending { order.reverse() } else { order };
            order.then_with(|| one[0].order(&other[0]))
        });
        rows
    }

    pub(super) fn handle(&mut self, event: &Event) -> Command {
        let Event::Key(key) = event else { return Command::Go };
        if key.kind == KeyEventKind::Release {
            return Command::Go;
        }
        if key.modifiers.contains(KeyModifiers::CONTROL) {
            return if key.code == KeyCode::Char('c') { Command::Quit } else { Command::Go };
        }
        if self.is_filtering {
            self.edit_filter(*key);
            return Command::Go;
        }
        match key.code {
            KeyCode::Char('q') => return Command::Quit,
            KeyCode::Esc if self.has_help => self.has_help = false,
            KeyCode::Esc if !self.filter.is_empty() => self.filter.clear(),
            KeyCode::Esc => return Command::Quit,
            KeyCode::Tab => self.turn_to(self.view as usize + 1),
            KeyCode::BackTab => self.turn_to(self.view as usize + View::ALL.len() - 1),
            KeyCode::Char(digit @ '1'..='3') => self.turn_to(digit as usize - '1' as usize),
            KeyCode::Up | KeyCode::Char('k') => self.selected = self.selected.saturating_sub(1),
            KeyCode::Down | KeyCode::Char('j') => self.selected += 1,
            KeyCode::PageUp => self.selected = self.selected.saturating_sub(PAGE_ROWS),
            KeyCode::PageDown => self.selected += PAGE_ROWS,
            KeyCode::Home | KeyCode::Char('g') => self.selected = 0,
            KeyCode::End | KeyCode::Char('G') => self.selected = usize::MAX,
            KeyCode::Left | KeyCode::Char('<') => self.sort_by(Step::Left),
            KeyCode::Right | KeyCode::Char('>' | 's') => self.sort_by(Step::Right),
            KeyCode::Char('r') => {
                let sort = &mut self.sorted[self.view as usize];
                sort.is_descending = !sort.is_descending;
            }
            KeyCode::Char('/') => self.is_filtering = true,
            KeyCode::Char('p' | ' ') => self.is_paused = !self.is_paused,
            KeyCode::Char('?' | 'h') | KeyCode::F(1) => self.has_help = !self.has_help,
            _ => {}
        }
        self.keep_selected();
        Command::Go
    }

    fn edit_filter(&mut self, key: KeyEvent) {
        match key.code {
            KeyCode::Enter => self.is_filtering = false,
            KeyCode::Esc => {
                self.is_filtering = false;
                self.filter.clear();
            }
            KeyCode::Backspace => {
                self.filter.pop();
            }
            KeyCode::Char(c) if self.filter.chars().count() < FILTER_CHARS_MAX => self.filter.push(c),
            _ => {}
        }
        self.keep_selected();
    }

    fn turn_to(&mut self, index: usize) {
        self.view = View::ALL[index % View::ALL.len()];
        self.selected = 0;
    }

    fn sort_by(&mut self, step: Step) {
        let Some(tables) = &self.tables else { return };
        let count = tables.table(self.view).columns().len();
        let sort = &mut self.sorted[self.view as usize];
        sort.column = match step {
            Step::Left => sort.column + count - 1,
            Step::Right => sort.column + 1,
        } % count;
        // Names read downwards, numbers are looked at from the largest.
        sort.is_descending = sort.column > 0;
    }

    fn keep_selected(&mut self) {
        self.selected = self.selected.min(self.rows().len().saturating_sub(1));
    }
}

/// Short: where attempts were given up, why the last one failed.
fn reason(error: &anyhow::Error) -> String {
    match error.downcast_ref() {
        Some(millstream_client::Error::Timeout { last: Some(last), .. }) => last.to_string(),
        _ => format!("{error:#}"),
    }
}

#[derive(Clone, Copy)]
enum Step {
    Left,
    Right,
}

#[cfg(test)]
mod tests {
    use super::{super::view::tests::cluster, *};

    fn press(screen: &mut Screen, code: KeyCode) -> Command {
        screen.handle(&Event::Key(KeyEvent::new(code, KeyModifiers::NONE)))
    }

    fn screen(start: Instant) -> Screen {
        let mut screen = Screen::new(View::Topics, Duration::from_secs(2), start);
        screen.take(Ok(cluster(start, 0, 100, 40)));
        screen.take(Ok(cluster(start, 2, 150, 50)));
        screen
    }

    #[test]
    fn keys_turn_to_views_and_end_it() {
        let mut screen = screen(Instant::now());
        press(&mut screen, KeyCode::Tab);
        assert_eq!(screen.view, View::Groups);
        press(&mut screen, KeyCode::Char('3'));
        assert_eq!(screen.view, View::Brokers);
        press(&mut screen, KeyCode::Tab);
        assert_eq!(screen.view, View::Topics);
        press(&mut screen, KeyCode::BackTab);
        assert_eq!(screen.view, View::Brokers);
        assert_eq!(press(&mut screen, KeyCode::Char('q')), Command::Quit);
        assert_eq!(press(&mut screen, KeyCode::Esc), Command::Quit);
        press(&mut screen, KeyCode::Char('/'));
        let interrupt = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
        assert_eq!(screen.handle(&Event::Key(interrupt)), Command::Quit);
    }

    #[test]
    fn a_filter_takes_keys_until_it_is_done() {
        let mut screen = screen(Instant::now());
        press(&mut screen, KeyCode::Char('/'));
        assert_eq!(press(&mut screen, KeyCode::Char('q')), Command::Go);
        assert_eq!((screen.rows().len(), screen.filter.as_str()), (0, "q"));
        press(&mut screen, KeyCode::Backspace);
        press(&mut screen, KeyCode::Char('o'));
        press(&mut screen, KeyCode::Enter);
        assert_eq!(screen.rows().len(), 1, "upper and lower case are one");
        assert_eq!(press(&mut screen, KeyCode::Esc), Command::Go);
        assert_eq!((screen.filter.as_str(), screen.is_filtering), ("", false));
    }

    #[test]
    fn a_selection_stays_on_a_row_and_a_sort_on_a_column() {
        let mut screen = screen(Instant::now());
        press(&mut screen, KeyCode::Char('3'));
        press(&mut screen, KeyCode::PageDown);
        assert_eq!(screen.selected, 1);
        for code in [KeyCode::Left, KeyCode::Right] {
            for _ in 0..20 {
                press(&mut screen, code);
                assert_eq!(screen.rows().len(), 2);
            }
        }
        let first = |screen: &Screen| screen.rows()[0][0].clone();
        assert_eq!((screen.sort().column, first(&screen)), (0, Cell::Id(1)));
        press(&mut screen, KeyCode::Char('r'));
        assert_eq!(first(&screen), Cell::Id(2));
    }

    #[test]
    fn trouble_is_shown_beside_what_was_known() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut screen = screen(start);
        assert_eq!(screen.trouble(at(3)), None);
        assert_eq!(screen.trouble(at(12)).as_deref(), Some("no answer for 10 s"));
        screen.take(Err(anyhow::anyhow!("gone")));
        assert_eq!(screen.trouble(at(3)).as_deref(), Some("no answer for 1 s: gone"));
        assert!(screen.tables.is_some());
        screen.take(Ok(cluster(start, 4, 200, 60)));
        assert_eq!(screen.trouble(at(5)), None);
    }

    #[test]
    fn what_is_held_still_does_not_change() {
        let start = Instant::now();
        let mut screen = screen(start);
        press(&mut screen, KeyCode::Char('p'));
        screen.take(Ok(cluster(start, 4, 250, 60)));
        assert_eq!((screen.rows()[0][1].clone(), screen.rates.len()), (Cell::Rate(25.0), 1));
        press(&mut screen, KeyCode::Char('p'));
        screen.take(Ok(cluster(start, 6, 250, 60)));
        assert_eq!(screen.rows()[0][1], Cell::Rate(25.0), "over all the time that it was held");
    }
}
