//! A terminal that the program runs in: its keys, its size, and what is on its screen.

use std::{
    io::{Read, Write},
    process::Child,
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use millstream_testkit::wait_until;
use pty_process::{
    Size,
    blocking::{Command, Pty, open},
};
use rustix::{
    process::{Pid, Signal, kill_process},
    termios::{LocalModes, tcgetattr},
};

const LIMIT: Duration = Duration::from_secs(60);

pub(crate) struct Terminal {
    child: Child,
    pty: Arc<Pty>,
    screen: Arc<Mutex<vt100::Parser>>,
}

impl Terminal {
    /// Runs the program with these words in a terminal of 80x24.
    pub(crate) fn run(words: &str, environment: &[(&str, &str)]) -> Self {
        let (pty, pts) = open().unwrap();
        pty.resize(Size::new(24, 80)).unwrap();
        let command = Command::new(env!("CARGO_BIN_EXE_millstream")).args(words.split_whitespace());
        let command = command.env("TERM", "xterm-256color").env_remove("NO_COLOR");
        let child = command.envs(environment.iter().copied()).spawn(pts).unwrap();
        let terminal =
            Self { child, pty: Arc::new(pty), screen: Arc::new(Mutex::new(vt100::Parser::new(24, 80, 0))) };
        let (pty, screen) = (Arc::clone(&terminal.pty), Arc::clone(&terminal.screen));
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            // It fails once nobody has the other side open any more.
            while let Ok(count @ 1..) = (&*pty).read(&mut buffer) {
                screen.lock().unwrap().process(&buffer[..count]);
            }
        });
        terminal
    }

    pub(crate) fn text(&self) -> String {
        self.with_screen(vt100::Screen::contents)
    }

    pub(crate) fn with_screen<T>(&self, look: impl FnOnce(&vt100::Screen) -> T) -> T {
        look(self.screen.lock().unwrap().screen())
    }

    /// Waits until the screen is as expected.
    pub(crate) fn wait(&self, what: &str, mut is_there: impl FnMut(&str) -> bool) {
        let seen = wait_until(what, LIMIT, || Ok(is_there(&self.text()).then_some(())));
        seen.unwrap_or_else(|error| panic!("{error:#}; the screen was\n{}", self.text()));
    }

    pub(crate) fn wait_for(&self, part: &str) {
        self.wait(part, |text| text.contains(part));
    }

    pub(crate) fn press(&self, keys: &str) {
        (&*self.pty).write_all(keys.as_bytes()).unwrap();
    }

    pub(crate) fn resize(&self, columns: u16, rows: u16) {
        self.screen.lock().unwrap().screen_mut().set_size(rows, columns);
        self.pty.resize(Size::new(rows, columns)).unwrap();
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    /// Whether a shell could go on here: lines are edited and echoed, the screen is the one before, its cursor
    /// is seen.
    pub(crate) fn is_restored(&self) -> bool {
        let modes = tcgetattr(&*self.pty).unwrap().local_modes;
        let is_cooked = modes.contains(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG);
        is_cooked && self.with_screen(|screen| !screen.alternate_screen() && !screen.hide_cursor())
    }

    /// The exit code, once the program has ended and the terminal is as it was.
    pub(crate) fn end(&mut self) -> Option<i32> {
        let status = wait_until("the program's end", LIMIT, || Ok(self.child.try_wait()?)).unwrap();
        // What it wrote last may not have been read yet.
        wait_until("the terminal as it was", LIMIT, || Ok(self.is_restored().then_some(()))).unwrap();
        status.code()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
