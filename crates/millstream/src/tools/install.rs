//! `millstream install-tools`: links by the names of Kafka's scripts, and configuration files by the names of
//! Kafka's.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, Result, bail};

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Where the links are made, ~/.local/bin for instance
    directory: PathBuf,
    /// Also write server.properties, consumer.properties and producer.properties to this directory
    #[arg(long, value_name = "DIR")]
    config: Option<PathBuf>,
}

const CONFIGURATIONS: [(&str, &str); 3] = [
    ("server.properties", include_str!("install/server.properties")),
    ("consumer.properties", include_str!("install/consumer.properties")),
    ("producer.properties", include_str!("install/producer.properties")),
];

pub(super) fn run(arguments: &Arguments, names: &[&str]) -> Result<ExitCode> {
    let program = env::current_exe().context("where this program is")?;
    let directory = &arguments.directory;
    fs::create_dir_all(directory).with_context(|| directory.display().to_string())?;
    let links: Vec<PathBuf> = names.iter().map(|name| directory.join(format!("{name}.sh"))).collect();
    // All are looked at before the first is made, so that nothing is left half done.
    let mut missing = Vec::new();
    for link in &links {
        if !is_ours(link, &program)? {
            missing.push(link);
        }
    }
    for link in &missing {
        drop(fs::remove_file(link));
        std::os::unix::fs::symlink(&program, link).with_context(|| link.display().to_string())?;
    }
    let there = links.len() - missing.len();
    eprintln!("{} links made in {}, {there} were there", missing.len(), directory.display());
    if let Some(directory) = &arguments.config {
        write_configurations(directory)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// What is there already may have been changed by somebody, and stays.
fn write_configurations(directory: &Path) -> Result<()> {
    fs::create_dir_all(directory).with_context(|| directory.display().to_string())?;
    for (name, text) in CONFIGURATIONS {
        let path = directory.join(name);
        let file = fs::File::create_new(&path);
        match file.and_then(|mut file| io::Write::write_all(&mut file, text.as_bytes())) {
            Ok(()) => eprintln!("{} written", path.display()),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                eprintln!("{} was there", path.display());
            }
            Err(error) => return Err(error).with_context(|| path.display().to_string()),
        }
    }
    Ok(())
}

/// Whether the link is there and leads to this program; a link to another millstream is replaced, anything
/// else is somebody's own and stays.
fn is_ours(link: &Path, program: &Path) -> Result<bool> {
    match fs::read_link(link) {
        Ok(target) if target == program => Ok(true),
        Ok(target) if target.file_name() == program.file_name() => Ok(false),
        Ok(target) => bail!(
            "{} leads to {}, which is not this program; remove it first",
            link.display(),
            target.display()
        ),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(_) => bail!("{} exists and is not a link to this program; remove it first", link.display()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_made_once_and_nothing_of_others_is_touched() {
        let directory = tempfile::tempdir().expect("a directory");
        let config = directory.path().join("config");
        let arguments = Arguments { directory: directory.path().join("bin"), config: Some(config.clone()) };
        run(&arguments, &["kafka-topics"]).unwrap();
        run(&arguments, &["kafka-topics"]).unwrap();
        let server = config.join("server.properties");
        assert!(fs::read_to_string(&server).unwrap().contains("node.id=1"));
        fs::write(&server, "changed").expect("written");
        run(&arguments, &["kafka-topics"]).unwrap();
        assert_eq!(fs::read_to_string(&server).unwrap(), "changed");
        let link = arguments.directory.join("kafka-topics.sh");
        assert_eq!(fs::read_link(&link).unwrap(), env::current_exe().unwrap());

        fs::write(arguments.directory.join("kafka-configs.sh"), "#!/bin/sh\n").expect("written");
        let refused = run(&arguments, &["kafka-groups", "kafka-configs"]).unwrap_err();
        assert!(refused.to_string().contains("kafka-configs.sh exists"), "{refused}");
        assert!(!arguments.directory.join("kafka-groups.sh").exists());
    }
}
