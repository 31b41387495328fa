//! Millstream's own options, as they stand at the top of `millstream.toml`; the command line's flags
//! have the same names.

use crate::definition::{
    Definition,
    Kind::{self, *},
    Scope,
};

const fn key(name: &'static str, kind: Kind, default: &'static str) -> Definition {
    Definition::new(Scope::Program, name, kind, default)
}

#[rustfmt::skip]
pub(super) const KEYS: &[Definition] = &[
    key("data", String, "").null()
        .doc("The data directory; `$XDG_DATA_HOME/millstream` unless set. Kafka's files are in its directory `kafka`, everything else in its directory `millstream`."),
    key("listen", List, "PLAINTEXT://localhost:9092")
        .doc("Where clients connect, `NAME://HOST:PORT`; stands for Kafka's `listeners`."),
    key("advertise", List, "").null()
        .doc("What clients are told to connect to; stands for Kafka's `advertised.listeners`."),
    key("durability", String, "disk").one_of(&["disk", "os"])
        .doc("When a write is acknowledged: `disk` after it is flushed, `os` when the operating system has it, as Kafka does."),
    key("flush-with", String, "auto").one_of(&["auto", "fdatasync"])
        .doc("How many files are flushed at once: `auto` uses syncfs for more than two, `fdatasync` always flushes each."),
    key("console-port", Int, "8080").between(0, 65_535)
        .doc("The port of `/metrics` and `/healthz`; 0 is a free one."),
    key("ready-file", String, "").null()
        .doc("A file that is written when everything is ready, with the line that `--output json` prints."),
];
