//! `millstream top`: topics, groups and brokers as they are now and as they change, in the terminal.
//!
//! Asking (`sample`), what becomes of two answers (`view`), what the keys do (`screen`) and drawing (`draw`) are
//! apart; here they are put together.

mod draw;
mod sample;
mod screen;
mod view;

use std::{
    env,
    io::{self, IsTerminal},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow};
use millstream_client::{Client, ConsumerConfig};
use ratatui::{DefaultTerminal, crossterm::event};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::mpsc,
    time::MissedTickBehavior,
};

use self::{
    sample::{Sample, sample},
    screen::{Command, Screen},
    view::{Tables, View},
};
use super::{
    connect::{ConnectArguments, interrupted},
    failure::{Failure, usage},
    output::{Answer, Output, OutputArguments},
    time,
};

/// How long one look may take before the screen says why there is none.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);
/// How long an answer has been missing is shown to the second.
const TICK: Duration = Duration::from_secs(1);

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// What to show first
    #[arg(value_enum, default_value_t)]
    view: View,
    /// How often to ask
    #[arg(short, long, value_name = "TIME", default_value = "2s", value_parser = time::duration)]
    interval: Duration,
    /// Kafka's own topics too
    #[arg(long)]
    internal: bool,
    /// Ask twice, an interval apart, print what was found, and end; needs no terminal
    #[arg(long)]
    once: bool,
    #[command(flatten)]
    output: OutputArguments,
    #[command(flatten)]
    connect: ConnectArguments,
}

pub(super) fn run(arguments: Arguments) -> Result<()> {
    let connect = arguments.connect.clone();
    if arguments.once || arguments.output.output != Output::Table {
        return connect.run(once(arguments));
    }
    let is_dumb = env::var_os("TERM").is_none_or(|kind| kind == "dumb");
    if is_dumb || !io::stdout().is_terminal() || !io::stdin().is_terminal() {
        return Err(usage(
            "top needs a terminal that can be drawn on; --once and -o json print what it would show",
        ));
    }
    if connect.explains() && io::stderr().is_terminal() {
        return Err(usage("--explain would write over the screen: redirect it, as in 2>requests.txt"));
    }
    connect.run_to_its_end(live(arguments))
}

async fn once(arguments: Arguments) -> Result<()> {
    let connected = arguments.connect.connect().await?;
    let ask = async || sample(&connected.client, &connected.consumer, arguments.internal).await;
    let before = ask().await?;
    tokio::time::sleep(arguments.interval).await;
    let tables = Tables::of(Some(&before), &ask().await?);
    arguments.output.print(&Answer::new(tables.value(), tables.sections()))
}

async fn live(arguments: Arguments) -> Result<()> {
    let connected = arguments.connect.connect().await?;
    // What takes longer is asked again, and the screen says so.
    let mut config = connected.client.config().clone();
    config.default_api_timeout = config.default_api_timeout.min(ANSWER_LIMIT);
    let client = Client::new(config)?;
    let (tell, news) = mpsc::channel(1);
    let Arguments { interval, internal, view, .. } = arguments;
    tokio::spawn(ask_on(client, connected.consumer, internal, interval, tell));
    let mut ends = Ends::new()?;
    let mut terminal = Restored::of(ratatui::try_init()).context("the terminal")?;
    let mut live = Live { screen: Screen::new(view, interval, Instant::now()), news, events: read_events() };
    tokio::select! {
        outcome = live.show(&mut terminal.0) => outcome,
        failure = ends.next() => Err(failure.into()),
    }
}

/// A terminal that is as it was before, whatever happens: also when this is dropped by a panic.
struct Restored(DefaultTerminal);

impl Restored {
    fn of(terminal: io::Result<DefaultTerminal>) -> io::Result<Self> {
        // It may have been half way.
        terminal.map(Self).inspect_err(|_| ratatui::restore())
    }
}

impl Drop for Restored {
    fn drop(&mut self) {
        ratatui::restore();
    }
}

/// Signals that end it; in raw mode ctrl-C is a key.
struct Ends {
    terminate: Signal,
    hang_up: Signal,
}

impl Ends {
    fn new() -> io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, hang_up: signal(SignalKind::hangup())? })
    }

    async fn next(&mut self) -> Failure {
        tokio::select! {
            () = interrupted() => Failure::Interrupted,
            _ = self.terminate.recv() => Failure::Terminated,
            _ = self.hang_up.recv() => Failure::Terminated,
        }
    }
}

struct Live {
    screen: Screen,
    news: mpsc::Receiver<Result<Sample>>,
    events: mpsc::Receiver<io::Result<event::Event>>,
}

impl Live {
    async fn show(&mut self, terminal: &mut DefaultTerminal) -> Result<()> {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            terminal.draw(|frame| draw::draw(frame, &self.screen, Instant::now()))?;
            tokio::select! {
                sample = self.news.recv() => {
                    self.screen.take(sample.ok_or_else(|| anyhow!("nobody asks the cluster any more"))?);
                }
                event = self.events.recv() => {
                    let event = event.ok_or_else(|| anyhow!("nobody reads the keys any more"))?;
                    if self.screen.handle(&event?) == Command::Quit {
                        return Ok(());
                    }
                }
                _ = tick.tick() => {}
            }
        }
    }
}

/// Asks again and again, until nobody wants to know.
async fn ask_on(
    client: Client,
    config: ConsumerConfig,
    internal: bool,
    interval: Duration,
    tell: mpsc::Sender<Result<Sample>>,
) {
    loop {
        let sample = sample(&client, &config, internal).await;
        if tell.send(sample).await.is_err() {
            return;
        }
        tokio::time::sleep(interval).await;
    }
}

/// Keys and changes of the window's size, read by a thread of its own that ends with the program.
fn read_events() -> mpsc::Receiver<io::Result<event::Event>> {
    let (tell, events) = mpsc::channel(16);
    thread::spawn(move || {
        loop {
            let event = event::read();
            let is_broken = event.is_err();
            if tell.blocking_send(event).is_err() || is_broken {
                return;
            }
        }
    });
    events
}
