//! The screen as it is drawn. No colour is the only sign of anything, and `NO_COLOR` leaves all of them out.

use std::time::Instant;

use ratatui::{
    Frame,
    layout::{Alignment, Constraint, Layout, Rect},
    style::{Color, Modifier, Style},
    text::{Line, Span, Text},
    widgets::{Block, Cell as TableCell, Clear, Paragraph, Row, Sparkline, Table, TableState},
};

use super::{
    screen::{Screen, Sort},
    view::{Cell, Table as Data, View},
};
use crate::command::output::{has_colour, printable};

const HELP: &str = "\
1 2 3, Tab   topics, groups, brokers
up, down     select (also j, k, PgUp, PgDn, Home, End)
left, right  sort by another column (also < and >)
r            sort the other way round
/            only rows that contain …; Enter when done, Esc for all
p, space     hold still, go on
?            this help
q, Esc       end";

const SPACING: usize = 2;
/// Names are shortened to this before columns are left out, and a table with room lets them be so long.
const NAME_WIDTH_MIN: usize = 16;
const NAME_WIDTH_MAX: usize = 80;

pub(super) fn draw(frame: &mut Frame<'_>, screen: &Screen, now: Instant) {
    let [head, chart, body, foot] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(3),
        Constraint::Min(3),
        Constraint::Length(1),
    ])
    .areas(frame.area());
    frame.render_widget(head_line(screen), head);
    draw_chart(frame, screen, chart);
    draw_table(frame, screen, body);
    frame.render_widget(foot_line(screen, now), foot);
    if screen.has_help {
        draw_help(frame);
    }
}

fn accent() -> Style {
    if has_colour() { Style::new().fg(Color::Cyan) } else { Style::new() }
}

fn alarm() -> Style {
    if has_colour() { Style::new().fg(Color::Red) } else { Style::new() }.add_modifier(Modifier::BOLD)
}

fn head_line(screen: &Screen) -> Line<'static> {
    let mut spans = vec![Span::styled("millstream top ", Style::new().add_modifier(Modifier::BOLD))];
    for (number, view) in (1..).zip(View::ALL) {
        let is_shown = view == screen.view;
        let style = if is_shown { accent().add_modifier(Modifier::REVERSED) } else { Style::new() };
        spans.push(Span::styled(format!(" {number} {} ", view.title()), style));
    }
    if let Some(tables) = &screen.tables {
        spans.push(Span::raw(format!("  cluster {}", printable(&tables.cluster))));
    }
    Line::from(spans)
}

fn draw_chart(frame: &mut Frame<'_>, screen: &Screen, area: Rect) {
    let number = |rate: Option<&u64>| rate.map_or_else(|| "-".to_owned(), u64::to_string);
    let (now, most) = (number(screen.rates.back()), number(screen.rates.iter().max()));
    let title = format!(" {now} records/s, {most} at most ");
    let width = usize::from(area.width);
    // The newest at the right.
    let mut shown = vec![0; width.saturating_sub(screen.rates.len())];
    shown.extend(screen.rates.iter().skip(screen.rates.len().saturating_sub(width)));
    let block = Block::new().title_top(title);
    frame.render_widget(Sparkline::default().block(block).data(shown).style(accent()), area);
}

fn draw_table(frame: &mut Frame<'_>, screen: &Screen, area: Rect) {
    let Some(tables) = &screen.tables else {
        frame.render_widget(Paragraph::new("asking …"), area);
        return;
    };
    let data = tables.table(screen.view);
    let rows = screen.rows();
    let sort = screen.sort();
    let widths = fit(widths(data, &rows, sort), usize::from(area.width));
    let is_number = |index: usize| data.rows.iter().all(|row| row[index].is_number());
    let head = data.columns().iter().enumerate().map(|(index, column)| {
        let arrow = if sort.is_descending { "↓" } else { "↑" };
        let text =
            if index == sort.column { format!("{} {arrow}", column.head) } else { column.head.to_owned() };
        aligned(text, is_number(index))
    });
    let head = Row::new(head.take(widths.len())).style(Style::new().add_modifier(Modifier::BOLD));
    let body = rows.iter().map(|row| Row::new(row.iter().take(widths.len()).map(table_cell)));
    let constraint = |width: &usize| Constraint::Length(u16::try_from(*width).unwrap_or(u16::MAX));
    let table = Table::new(body, widths.iter().map(constraint))
        .header(head)
        .column_spacing(SPACING as u16)
        .row_highlight_style(Style::new().add_modifier(Modifier::REVERSED));
    let mut state = TableState::default().with_selected((!rows.is_empty()).then_some(screen.selected));
    frame.render_stateful_widget(table, area, &mut state);
    if rows.is_empty() && area.height > 1 {
        let text = if data.rows.is_empty() { "none" } else { "none that match" };
        frame.render_widget(Paragraph::new(text), Rect { y: area.y + 1, height: area.height - 1, ..area });
    }
}

/// What each column wants.
fn widths(data: &Data, rows: &[&Vec<Cell>], sort: Sort) -> Vec<usize> {
    let wanted = |(index, column): (usize, &super::view::Column)| {
        let widest = rows.iter().map(|row| row[index].text().chars().count()).max().unwrap_or(0);
        let arrow = if index == sort.column { 2 } else { 0 };
        widest.max(column.head.len() + arrow).min(NAME_WIDTH_MAX)
    };
    data.columns().iter().enumerate().map(wanted).collect()
}

/// What each column gets: names give way first, then the last columns go.
fn fit(mut widths: Vec<usize>, available: usize) -> Vec<usize> {
    let total = |widths: &[usize]| widths.iter().map(|width| width + SPACING).sum::<usize>() - SPACING;
    let name = widths[0];
    loop {
        widths[0] = name;
        let excess = total(&widths).saturating_sub(available);
        widths[0] = name.saturating_sub(excess).max(name.min(NAME_WIDTH_MIN));
        if widths.len() == 1 || total(&widths) <= available {
            return widths;
        }
        widths.pop();
    }
}

fn table_cell(cell: &Cell) -> TableCell<'static> {
    aligned(printable(&cell.text()), cell.is_number())
}

fn aligned(text: String, is_number: bool) -> TableCell<'static> {
    let alignment = if is_number { Alignment::Right } else { Alignment::Left };
    TableCell::from(Text::from(text).alignment(alignment))
}

fn foot_line(screen: &Screen, now: Instant) -> Line<'static> {
    if let Some(trouble) = screen.trouble(now) {
        return Line::styled(printable(&trouble), alarm());
    }
    let every = format!("every {} ms", screen.interval.as_millis());
    let state = if screen.is_paused { "PAUSED".to_owned() } else { every };
    if screen.is_filtering || !screen.filter.is_empty() {
        let cursor = if screen.is_filtering { "_" } else { "" };
        return Line::raw(format!("{state}   /{}{cursor}", screen.filter));
    }
    Line::raw(format!("{state}   ? help   / filter   < > sort   p pause   q end"))
}

fn draw_help(frame: &mut Frame<'_>) {
    let lines = u16::try_from(HELP.lines().count()).unwrap_or(u16::MAX);
    let area = frame.area();
    let (width, height) = (area.width.min(72), (lines + 2).min(area.height));
    let place =
        Rect { x: area.x + (area.width - width) / 2, y: area.y + (area.height - height) / 2, width, height };
    frame.render_widget(Clear, place);
    frame.render_widget(Paragraph::new(HELP).block(Block::bordered().title(" keys ")), place);
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use ratatui::{Terminal, backend::TestBackend};

    use super::{super::view::tests::cluster, *};

    fn drawn(screen: &Screen, width: u16, height: u16, now: Instant) -> String {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| draw(frame, screen, now)).unwrap();
        terminal.backend().to_string()
    }

    fn shows(screen: &Screen, (width, height): (u16, u16), now: Instant, parts: &[&str]) {
        let text = drawn(screen, width, height, now);
        for part in parts {
            assert!(text.contains(part), "{part}:\n{text}");
        }
    }

    #[test]
    fn topics_groups_and_brokers_are_on_the_screen_of_either_size() {
        let start = Instant::now();
        for size in [(80, 24), (200, 60)] {
            let mut screen = Screen::new(View::Topics, Duration::from_secs(2), start);
            shows(&screen, size, start, &["asking"]);
            screen.take(Ok(cluster(start, 0, 100, 40)));
            screen.take(Ok(cluster(start, 2, 150, 50)));
            shows(
                &screen,
                size,
                start,
                &["Orders", "IN/S ↓", "OUT/S", "AILING", "25 records/s", "2.0K", "q end"],
            );
            screen.view = View::Groups;
            shows(&screen, size, start, &["billing", "Stable", "100", "90s", "LAG ↓", "TOPICS"]);
            screen.view = View::Brokers;
            shows(&screen, size, start, &["BROKER ↑", "one:9092", "controller", "away", "IN/S"]);
            screen.take(Err(anyhow::anyhow!("connection refused")));
            let later = start + Duration::from_secs(9);
            shows(&screen, size, later, &["away", "no answer for 7 s: connection refused"]);
            screen.has_help = true;
            shows(&screen, size, start, &["hold still"]);
        }
    }

    #[test]
    fn what_is_typed_and_what_is_left_of_it_is_shown() {
        let start = Instant::now();
        let mut screen = Screen::new(View::Topics, Duration::from_secs(2), start);
        screen.take(Ok(cluster(start, 0, 100, 40)));
        (screen.filter, screen.is_filtering, screen.is_paused) = ("xyz".to_owned(), true, true);
        shows(&screen, (80, 24), start, &["PAUSED   /xyz_", "none that match"]);
    }

    #[test]
    fn a_name_gives_way_and_then_the_last_columns() {
        assert_eq!(fit(vec![40, 5, 5], 80), [40, 5, 5]);
        assert_eq!(fit(vec![40, 5, 5], 34), [20, 5, 5]);
        assert_eq!(fit(vec![40, 5, 5], 25), [18, 5]);
        assert_eq!(fit(vec![6, 5, 5], 15), [6, 5]);
        assert_eq!(fit(vec![40, 5, 5], 1), [16]);
    }

    #[test]
    fn a_window_of_any_size_is_drawn() {
        let start = Instant::now();
        let mut screen = Screen::new(View::Topics, Duration::from_secs(2), start);
        screen.take(Ok(cluster(start, 0, 100, 40)));
        screen.has_help = true;
        for (width, height) in [(1, 1), (5, 2), (20, 3), (300, 80)] {
            drawn(&screen, width, height, start);
        }
    }
}
