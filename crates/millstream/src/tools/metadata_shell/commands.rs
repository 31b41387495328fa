//! The shell's commands.

use super::tree::Node;
use crate::tools::output;

const COMMANDS: [(&str, &str); 10] = [
    ("cat", "Show what is in files."),
    ("cd", "Go to a directory."),
    ("exit", "Leave the shell."),
    ("find", "List everything below directories."),
    ("help", "Show this."),
    ("history", "Show the commands so far."),
    ("ls", "List directories."),
    ("man", "Show what a command does."),
    ("pwd", "Show where this is."),
    ("tree", "Show files and what is in them, as a tree."),
];

pub(super) struct Shell {
    root: Node,
    /// Names from the root.
    directory: Vec<String>,
    history: Vec<String>,
}

impl Shell {
    pub(super) fn new(root: Node) -> Self {
        Self { root, directory: Vec::new(), history: Vec::new() }
    }

    /// False when the shell is to be left.
    pub(super) fn run(&mut self, words: &[String]) -> bool {
        self.history.push(words.join(" "));
        let Some((command, targets)) = words.split_first() else { return true };
        let of_here = [".".to_owned()];
        let or_here = if targets.is_empty() { &of_here[..] } else { targets };
        match command.as_str() {
            "cat" => targets.iter().for_each(|target| self.cat(target)),
            "cd" => self.cd(targets.first().map_or("/", String::as_str)),
            "exit" | "quit" => return false,
            "find" => or_here.iter().for_each(|target| self.find(target)),
            "help" => help(),
            "history" => self.show_history(),
            "ls" => self.list(or_here),
            "man" => man(targets.first().map_or("", String::as_str)),
            "pwd" => drop(output::line(&format!("/{}", self.directory.join("/")))),
            "tree" => targets.iter().for_each(|target| self.tree(target)),
            unknown => drop(output::line(&format!(
                "kafka-metadata-shell: no command is named {unknown}; help lists them"
            ))),
        }
        true
    }

    /// The names from the root of what a path means here.
    fn resolve(&self, path: &str) -> Vec<String> {
        let mut names = if path.starts_with('/') { Vec::new() } else { self.directory.clone() };
        for part in path.split('/') {
            match part {
                "" | "." => {}
                ".." => drop(names.pop()),
                name => names.push(name.to_owned()),
            }
        }
        names
    }

    /// Everything that a path fits, in which `*` stands for any characters and `?` for one.
    fn fitting(&self, path: &str) -> Vec<(Vec<String>, &Node)> {
        let mut found = vec![(Vec::new(), &self.root)];
        for part in self.resolve(path) {
            let mut next = Vec::new();
            for (names, node) in found {
                let Node::Directory(children) = node else { continue };
                for (name, child) in children.iter().filter(|(name, _)| fits(&part, name)) {
                    let mut names = names.clone();
                    names.push(name.clone());
                    next.push((names, child));
                }
            }
            found = next;
        }
        found
    }

    fn cat(&self, target: &str) {
        let found = self.fitting(target);
        if found.is_empty() {
            output::line(&format!("cat: {target}: No such file or directory."));
        }
        for (names, node) in found {
            output::line(&match node {
                Node::File(text) => text.clone(),
                Node::Directory(_) => {
                    format!("cat: {}: Is a directory", names.last().map_or("/", String::as_str))
                }
            });
        }
    }

    fn cd(&mut self, target: &str) {
        let found = self.fitting(target);
        match &found[..] {
            [(names, Node::Directory(_)), ..] => {
                let names = names.clone();
                self.directory = names;
            }
            [] => drop(output::line(&format!("cd: {target}: no such directory."))),
            _ => drop(output::line(&format!("cd: {target}: not a directory."))),
        }
    }

    fn find(&self, target: &str) {
        let found = self.fitting(target);
        if found.is_empty() {
            output::line(&format!("find: {target}: no such file or directory."));
        }
        for (names, node) in found {
            let shown = match target {
                "." | "/" => target.to_owned(),
                _ => format!("/{}", names.join("/")),
            };
            below(&shown, node);
        }
    }

    fn list(&self, targets: &[String]) {
        let (mut files, mut directories) = (Vec::new(), Vec::new());
        for target in targets {
            let found = self.fitting(target);
            if found.is_empty() {
                output::line(&format!("ls: {target}: no such file or directory."));
            }
            for (names, node) in found {
                match node {
                    Node::File(_) => files.push(names.last().cloned().unwrap_or_default()),
                    Node::Directory(children) => directories.push((names, children)),
                }
            }
        }
        for name in &files {
            output::line(name);
        }
        let several = directories.len() + usize::from(!files.is_empty()) > 1;
        for (index, (names, children)) in directories.iter().enumerate() {
            if several {
                let gap = if index > 0 || !files.is_empty() { "\n" } else { "" };
                output::line(&format!("{gap}{}:", names.last().map_or("/", String::as_str)));
            }
            for name in children.keys() {
                output::line(name);
            }
        }
    }

    fn tree(&self, target: &str) {
        let found = self.fitting(target);
        if found.is_empty() {
            output::line(&format!("tree: {target}: No such file or directory."));
        }
        for (names, node) in found {
            branch(names.last().map_or("/", String::as_str), node, 0);
        }
    }

    fn show_history(&self) {
        for (index, line) in self.history.iter().enumerate() {
            output::line(&format!("{index:5}  {line}"));
        }
    }
}

fn below(path: &str, node: &Node) {
    output::line(path);
    if let Node::Directory(children) = node {
        for (name, child) in children {
            below(&format!("{}/{name}", path.trim_end_matches('/')), child);
        }
    }
}

fn branch(name: &str, node: &Node, depth: usize) {
    let indent = "  ".repeat(depth);
    output::line(&format!("{indent}{name}:"));
    match node {
        Node::File(text) => drop(output::line(&format!("{indent}  {text}"))),
        Node::Directory(children) => children.iter().for_each(|(name, child)| branch(name, child, depth + 1)),
    }
}

fn help() {
    output::line("The shell of a cluster's metadata. Its commands:\n");
    for (name, says) in COMMANDS {
        output::line(&format!("  {name:<10}{says}"));
    }
}

fn man(name: &str) {
    output::line(&match COMMANDS.iter().find(|(known, _)| *known == name) {
        Some((name, says)) => format!("{name}: {says}\n"),
        None => format!("man: unknown command {name}. Type help to get a list of commands."),
    });
}

/// Whether a name fits a pattern; each star is tried once at each place, so that no pattern takes long.
fn fits(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    let (mut p, mut n, mut star) = (0, 0, None);
    while n < name.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(letter) if *letter == '?' || *letter == name[n] => {
                p += 1;
                n += 1;
            }
            _ => match star {
                Some((at, from)) => {
                    p = at + 1;
                    n = from + 1;
                    star = Some((at, from + 1));
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|letter| *letter == '*')
}

#[test]
fn stars_and_question_marks_stand_for_what_they_do_in_a_shell() {
    for (pattern, name, expected) in [
        ("*", "anything", true),
        ("a*c", "abbc", true),
        ("a*c", "abb", false),
        ("a?c", "abc", true),
        ("a?c", "ac", false),
        ("*-changelog", "a-b-changelog", true),
        ("", "", true),
        ("abc", "ab", false),
    ] {
        assert_eq!(fits(pattern, name), expected, "{pattern} {name}");
    }
}
