//! What may differ between two runs of the same tool, or between Kafka's tools and ours, and why.

use fancy_regex::Regex;

use super::{
    Raw,
    case::{Case, Transcript},
};

/// A pattern, what stands in its place, and the reason.
struct Rule {
    pattern: &'static str,
    instead: &'static str,
    #[expect(dead_code, reason = "a rule without its reason is not one")]
    reason: &'static str,
}

/// On standard output.
const STDOUT: &[Rule] = &[
    Rule {
        pattern: r"(?m)^(Caused by: |\s*Suppressed: )?([a-z0-9]+\.)+[A-Za-z0-9$]+(Exception|Error)(: .*)?\n(\s+at .*\n|\s+\.\.\. \d+ more\n)+",
        instead: "",
        reason: "stack traces, where a tool prints them behind its message",
    },
    Rule {
        pattern: r"(?m)^(Error: )(.*)\n([a-z0-9]+\.)+[A-Za-z0-9$]+Exception: \2$",
        instead: "${1}${2}",
        reason: "exceptions of a kind that has no stack trace, where a tool prints them behind its message",
    },
    Rule {
        pattern: r"(?m)^Error: (Unexpected |Unrecognized token ).*$",
        instead: "Error: The input string is not a valid JSON",
        reason: "where a text stops being JSON, Kafka tells in the words of the library that it reads it with",
    },
];

/// On both outputs.
const VALUES: &[Rule] = &[
    Rule {
        pattern: r"(TopicId: |Cluster ID: |ClusterId: +|directory.id=|cluster.id=)[A-Za-z0-9_-]{22}",
        instead: "${1}ID",
        reason: "ids are random",
    },
    Rule { pattern: r"^[A-Za-z0-9_-]{22}\n$", instead: "ID\n", reason: "ids are random" },
    Rule {
        pattern: r#"(CreateTime: ?|LogAppendTime: ?|"timestamp":)\d+"#,
        instead: "${1}T",
        reason: "the time of day",
    },
    Rule {
        pattern: r"console-consumer-\d+",
        instead: "console-consumer-N",
        reason: "groups are named at random",
    },
    Rule {
        pattern: r"\(id: \d+ rack",
        instead: "(id: N rack",
        reason: "the broker's id is chosen by the test",
    },
    Rule {
        pattern: r"(HighWatermark: +|Epoch: )\d+",
        instead: "${1}N",
        reason: "offsets of the metadata log count what the broker did",
    },
    Rule {
        pattern: r"CONTROLLER://127.0.0.1:\d+",
        instead: "CONTROLLER://{c}",
        reason: "a Kafka's controller listens on a port of its own, which the test does not choose",
    },
    Rule {
        pattern: r#"("(topicId|id|incarnationId|directories?|voterDirectoryId|directoryId)":\[?)"[A-Za-z0-9_-]{22}""#,
        instead: "${1}\"ID\"",
        reason: "ids are random",
    },
    Rule { pattern: r"test-group-\d+ *", instead: "test-group-N ", reason: "groups are named at random" },
    Rule {
        pattern: r"(internal topics) \[.*\]",
        instead: "${1} [N]",
        reason: "kafka-streams-application-reset names them in the order of a Java hash table",
    },
    Rule { pattern: r"\[B@[0-9a-f]+", instead: "[B@H", reason: "an array's address in memory" },
];

/// Lines of standard error that are no message.
const NO_MESSAGE: &[Rule] = &[
    Rule { pattern: r"^\s+at ", instead: "", reason: "stack traces" },
    Rule { pattern: r"^(\[[-0-9 :,]+\] )?(ERROR|WARN|INFO) ", instead: "", reason: "lines of the log" },
    Rule {
        pattern: r"^WARN: ",
        instead: "",
        reason: "notices that nothing is changed without --execute, and that Kafka 5 will want to be told",
    },
    Rule {
        pattern: r"^The consumer rebalance protocol \(KIP-848\)",
        instead: "",
        reason: "notices of new protocols",
    },
    Rule { pattern: r"^usage: ", instead: "", reason: "help is in our own words" },
    Rule { pattern: r"^\s", instead: "", reason: "continued lines of help, and what follows a message" },
];

/// Where numbers are measurements.
const MEASURED: &[Rule] = &[
    Rule { pattern: r"\d+(\.\d+)?", instead: "N", reason: "measurements, sizes, times" },
    Rule {
        pattern: r"(N(?: ms ago)?) +",
        instead: "${1} ",
        reason: "in a table, what follows a number is as wide as the number is narrow",
    },
    Rule {
        pattern: r#"(?m)^baseOffset: .*\n(\| .*"group":"(console-consumer|perf-consumer|test-group)-N.*\n)+"#,
        instead: "",
        reason: "a group that is named at random may lie in the partition of __consumer_offsets that is dumped",
    },
];

/// On standard output, where some tools print what went wrong.
const TRACES: &[Rule] = &[
    Rule { pattern: r"(?m)^(\s+at |Caused by: ).*\n?", instead: "", reason: "stack traces" },
    Rule { pattern: r"\n+\z", instead: "", reason: "what precedes a stack trace" },
];

/// At the beginning of a message.
const PREFIXES: &[Rule] = &[
    Rule {
        pattern: r#"^Exception in thread "main" "#,
        instead: "",
        reason: "how the JVM reports what nobody caught",
    },
    Rule {
        pattern: r"^(ERROR: )?([a-z0-9]+\.)+[A-Za-z0-9$]+(Exception|Error): ",
        instead: "${1}",
        reason: "names of Java classes help nobody",
    },
    Rule {
        pattern: r"^Error while executing config command with args .*",
        instead: "Error while executing config command",
        reason: "the arguments have the broker's address in them",
    },
];

pub(super) fn apply(case: &Case, raw: &Raw, places: &[(String, &str)]) -> Transcript {
    let mut stdout = raw.stdout.clone();
    let mut stderr = raw.stderr.clone();
    for (place, name) in places {
        stdout = stdout.replace(place, name);
        stderr = stderr.replace(place, name);
    }
    if case.help {
        let said = if stdout.is_empty() && stderr.is_empty() { "nothing" } else { "help" };
        return Transcript { code: raw.code, stdout: said.to_owned(), stderr: String::new() };
    }
    stdout = replaced(&replaced(&replaced(&stdout, STDOUT), VALUES), TRACES);
    if case.measured {
        stdout = replaced(&stdout, MEASURED);
    }
    if case.unordered {
        // Kafka's consumers leave a group behind when they are given none, ours do not.
        let left = replace(&stdout, r"(?m)^(console|perf)-consumer-.*\n?", "");
        // A column is as wide as its longest cell, which may have been in one of those rows.
        let mut lines: Vec<String> = replace(&left, "  +", "  ").lines().map(sorted_partitions).collect();
        lines.sort_unstable();
        stdout = lines.join("\n");
    }
    // A line ends in blanks where a table's last column is padded; editors take them off.
    let stdout = stdout.lines().map(|line| sorted_event(line.trim_end())).collect::<Vec<_>>().join("\n");
    let stderr = match &case.better {
        Some(_) => "a better sentence".to_owned(),
        None => first_message(&replaced(&stderr, VALUES)),
    };
    Transcript { code: raw.code, stdout, stderr }
}

/// `kafka-log-dirs` prints partitions in the order of a Java hash table.
fn sorted_partitions(line: &str) -> String {
    let Ok(mut all) = serde_json::from_str::<serde_json::Value>(line) else { return line.to_owned() };
    for broker in all["brokers"].as_array_mut().into_iter().flatten() {
        for directory in broker["logDirs"].as_array_mut().into_iter().flatten() {
            if let Some(partitions) = directory["partitions"].as_array_mut() {
                partitions.sort_by_key(|one| one["partition"].to_string());
            }
        }
    }
    all.to_string()
}

fn first_message(stderr: &str) -> String {
    let is_message = |line: &&str| {
        !line.trim().is_empty()
            && NO_MESSAGE.iter().all(|rule| !regex(rule.pattern).is_match(line).expect("quick"))
    };
    let mut lines = stderr.lines().skip_while(|line| !is_message(line));
    let mut message = lines.next().unwrap_or_default().to_owned();
    // argparse4j breaks and stretches its lines.
    if message.contains("error:") && message.starts_with(|letter: char| letter.is_ascii_lowercase()) {
        message = std::iter::once(message.as_str())
            .chain(lines.take_while(|line| !line.starts_with('`')))
            .collect::<Vec<_>>()
            .join(" ");
        message = message.split_whitespace().collect::<Vec<_>>().join(" ").replace("-- ", "--");
    }
    let mut left = message.len() + 1;
    while message.len() < left {
        left = message.len();
        message = replaced(&message, PREFIXES);
    }
    sorted_options(&message)
}

/// Kafka's tools keep the options that go together in Java hash tables, and what may be done with a resource,
/// and the states of a group.
fn sorted_options(message: &str) -> String {
    let list =
        regex(r"\[[a-z-]+\](, \[[a-z-]+\])+|(?<=states are: )[A-Za-z]+(, [A-Za-z]+)+|[A-Z_]+(, [A-Z_]+)+");
    let Ok(Some(found)) = list.find(message) else { return message.to_owned() };
    let mut options: Vec<&str> = found.as_str().split(", ").collect();
    options.sort_unstable();
    message.replace(found.as_str(), &options.join(", "))
}

/// The verifiable tools print the fields of an event in the order of a Java hash table.
fn sorted_event(line: &str) -> String {
    let Some(fields) = line.strip_prefix("{\"timestamp\"").and_then(|rest| rest.strip_suffix('}')) else {
        return line.to_owned();
    };
    let mut fields: Vec<&str> = fields.split(',').collect();
    fields.sort_unstable();
    format!("{{\"timestamp\"{}}}", fields.join(","))
}

fn replaced(text: &str, rules: &[Rule]) -> String {
    rules.iter().fold(text.to_owned(), |text, rule| replace(&text, rule.pattern, rule.instead))
}

fn replace(text: &str, pattern: &str, instead: &str) -> String {
    regex(pattern).replace_all(text, instead).into_owned()
}

fn regex(pattern: &str) -> Regex {
    Regex::new(pattern).expect("a rule's pattern")
}
