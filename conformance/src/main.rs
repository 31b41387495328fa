//! `conformance table`: runs every client against the target that `MILLSTREAM_TARGET` names and writes
//! `docs/reference/clients.md`. `conformance run CLIENT`: one client, its lines on standard output.

use std::{env, fs};

use anyhow::{Result, bail, ensure};
use millstream_conformance::{
    clients::{CLIENTS, Client},
    table::{Column, render},
};
use millstream_testkit::{Kind, Target, repository};

fn main() -> Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["table"] => table(),
        ["run", name] => run(&Client::named(name)?),
        _ => bail!("usage: conformance table | conformance run CLIENT"),
    }
}

fn table() -> Result<()> {
    let mut columns = Vec::new();
    let mut complaints = Vec::new();
    for client in CLIENTS {
        if let Some(missing) = client.missing()? {
            bail!("{missing}");
        }
        eprintln!("{}", client.title);
        let target = Target::start(client.target(Kind::from_env()?))?;
        let outcomes = client.run(target.bootstrap())?;
        complaints.extend(client.complaints(&outcomes).into_iter().map(|c| format!("{}: {c}", client.title)));
        columns.push(Column { client, outcomes });
    }
    let path = repository().join("docs/reference/clients.md");
    fs::write(&path, render(&columns))?;
    eprintln!("wrote {}", path.display());
    ensure!(complaints.is_empty(), "not all is well:\n{}", complaints.join("\n"));
    Ok(())
}

fn run(client: &Client) -> Result<()> {
    let target = Target::start(client.target(Kind::from_env()?))?;
    let outcomes = client.run(target.bootstrap())?;
    for outcome in &outcomes {
        eprintln!("{:40} {:?} {}", outcome.name, outcome.status, outcome.detail);
    }
    let complaints = client.complaints(&outcomes);
    ensure!(complaints.is_empty(), "{} complaint(s):\n{}", complaints.len(), complaints.join("\n"));
    Ok(())
}
