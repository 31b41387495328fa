//! `kafka-acls`: who may do what (`AclCommand`).

mod rules;

use std::{collections::BTreeMap, io, process::ExitCode};

use millstream_client::{AclBinding, AclEntry, AclResource, Admin};

use self::rules::{Rules, principals, resources, shown_entry, shown_resource, wanted};
use super::{
    cluster::{Cluster, block_on},
    exit::{Exit, Outcome},
    kafka_error,
    options::{BOOTSTRAP_SERVER, Flag, Given, HELP, Spec, VERSION},
    output, run_options,
};

pub(super) const SPEC: Spec = Spec {
    name: "kafka-acls",
    summary: "Shows, adds and removes rules of who may do what.",
    flags: &[
        BOOTSTRAP_SERVER,
        Flag::new("bootstrap-controller", "Controllers to ask, instead of brokers.").takes("HOST:PORT,…"),
        Flag::new("command-config", "A Java properties file with the client's configuration.")
            .may_take("FILE"),
        Flag::new("list", "Show the rules, of resources or principals or all."),
        Flag::new("add", "Add rules."),
        Flag::new("remove", "Remove rules."),
        Flag::new("topic", "A topic, or * for all; may be repeated, as the others here.").takes("TOPIC"),
        Flag::new("group", "A group.").takes("GROUP"),
        Flag::new("cluster", "The cluster itself."),
        Flag::new("transactional-id", "A transactional id.").takes("ID"),
        Flag::new("delegation-token", "A delegation token.").takes("ID"),
        Flag::new("user-principal", "A user, of whom tokens may be made or seen.").takes("PRINCIPAL"),
        Flag::new(
            "resource-pattern-type",
            "literal: the name itself. prefixed: what begins with it. To list and remove also any: of either type; match: whatever concerns the name.",
        )
        .takes("TYPE")
        .default("LITERAL"),
        Flag::new("operation", "Read, Write, Create, Describe, Alter, Delete, All …").takes("OPERATION").default("All"),
        Flag::new("allow-principal", "Who may: User:NAME.").takes("PRINCIPAL"),
        Flag::new("deny-principal", "Who may not, whatever else allows it.").takes("PRINCIPAL"),
        Flag::new("allow-host", "From which address; from all without it.").takes("HOST"),
        Flag::new("deny-host", "The same for --deny-principal.").takes("HOST"),
        Flag::new("principal", "With --list: only rules of this principal.").may_take("PRINCIPAL"),
        Flag::new("producer", "All that a producer needs on --topic."),
        Flag::new("idempotent", "With --producer: idempotence too, for brokers before Kafka 2.8."),
        Flag::new("consumer", "All that a consumer needs on --topic and --group."),
        Flag::new("force", "Do not ask whether it is meant."),
        HELP,
        VERSION,
    ],
    examples: &[
        "--bootstrap-server localhost:9092 --add --allow-principal User:alice --producer --topic orders",
        "--bootstrap-server localhost:9092 --add --deny-principal User:bob --operation Write --topic orders- --resource-pattern-type prefixed",
        "--bootstrap-server localhost:9092 --list --topic orders",
    ],
};

pub(super) fn run(arguments: &[String]) -> ExitCode {
    let as_usage = |exit: Exit| Exit::usage(exit.sentence());
    run_options(&SPEC, arguments, as_usage, |given| {
        check(given)?;
        block_on(act(given))
    })
}

fn check(given: &Given) -> Outcome {
    let refuse = |sentence: &str| Err(Exit::usage(sentence));
    match (given.has("bootstrap-server"), given.has("bootstrap-controller")) {
        (true, true) => {
            return refuse("Only one of --bootstrap-server or --bootstrap-controller must be specified");
        }
        (false, false) => {
            return refuse("One of --bootstrap-server or --bootstrap-controller must be specified");
        }
        _ => {}
    }
    if ["add", "remove", "list"].iter().filter(|action| given.has(action)).count() != 1 {
        return refuse("Command must include exactly one action: --list, --add, --remove. ");
    }
    given.forbid(
        "list",
        &["producer", "consumer", "allow-host", "allow-principal", "deny-host", "deny-principal"],
    )?;
    given.forbid("producer", &["operation", "deny-principal", "deny-host"])?;
    given.forbid("consumer", &["operation", "deny-principal", "deny-host"])?;
    if given.has("principal") && !given.has("list") {
        return refuse("The --principal option is only available if --list is set");
    }
    if given.has("producer") && !given.has("topic") {
        return refuse("With --producer you must specify a --topic");
    }
    if given.has("idempotent") && !given.has("producer") {
        return refuse("The --idempotent option is only available if --producer is set");
    }
    let beside = !given.has("producer") && (given.has("cluster") || given.has("transactional-id"));
    if given.has("consumer") && (!given.has("topic") || !given.has("group") || beside) {
        return refuse(
            "With --consumer you must specify a --topic and a --group and no --cluster or --transactional-id option should be specified.",
        );
    }
    Ok(())
}

async fn act(given: &Given) -> Outcome {
    let failed = |exit: Exit| match exit.with_help {
        true => exit,
        false => exit.map(|sentence| format!("Error while executing ACL command: {sentence}")).into_stdout(),
    };
    work(given).await.map_err(failed)
}

async fn work(given: &Given) -> Outcome {
    let config = given.one("command-config")?;
    // What is to be done is found out before anybody is asked to do it.
    let rules = if given.has("list") { Rules::new() } else { wanted(given)? };
    let call = if given.has("remove") { "deleteAcls" } else { "describeAcls" };
    let cluster = Cluster::admin_of(given, config, call).await;
    let admin = cluster.map_err(|exit| exit.map(super::get_offsets::timed_out))?.admin_client();
    if given.has("add") {
        add(rules, &admin).await
    } else if given.has("remove") {
        remove(given, rules, &admin).await
    } else {
        list(given, &admin).await
    }
}

fn thrown(error: millstream_client::Error) -> Exit {
    Exit::failure(kafka_error::exception(&error))
}

async fn add(rules: Rules, admin: &Admin) -> Outcome {
    for (resource, entries) in rules {
        let filter = AclBinding { resource: resource.clone(), entry: AclEntry::ANY };
        let existing = admin.describe_acls(&filter).await.map_err(thrown)?;
        let mut missing = Vec::new();
        for entry in entries {
            let binding = AclBinding { resource: resource.clone(), entry };
            if existing.contains(&binding) {
                output::line(&format!(
                    "Acl (pattern={}, entry={}) already exists.",
                    shown_resource(&binding.resource),
                    shown_entry(&binding.entry)
                ));
            } else {
                missing.push(binding);
            }
        }
        if missing.is_empty() {
            continue;
        }
        output::line(&format!("Adding ACLs for resource `{}`: ", shown_resource(&resource)));
        let lines: Vec<String> = missing.iter().map(|one| format!("\t{}", shown_entry(&one.entry))).collect();
        output::line(&format!(" {}\n", lines.join("\n")));
        for result in admin.create_acls(&missing).await.map_err(thrown)? {
            result.map_err(thrown)?;
        }
    }
    Ok(())
}

async fn remove(given: &Given, rules: Rules, admin: &Admin) -> Outcome {
    for (resource, entries) in rules {
        let filter = shown_resource(&resource);
        let question = if entries.is_empty() {
            format!("Are you sure you want to delete all ACLs for resource filter `{filter}`? (y/n)")
        } else {
            let lines: Vec<String> = entries.iter().map(|one| format!("\t{}", shown_entry(one))).collect();
            format!(
                "Are you sure you want to remove ACLs: \n {}\n from resource filter `{filter}`? (y/n)",
                lines.join("\n")
            )
        };
        if !given.has("force") && !confirmed(&question)? {
            continue;
        }
        let entries = if entries.is_empty() { [AclEntry::ANY].into() } else { entries };
        let filter = |entry| AclBinding { resource: resource.clone(), entry };
        let filters: Vec<AclBinding> = entries.into_iter().map(filter).collect();
        for result in admin.delete_acls(&filters).await.map_err(thrown)? {
            result.map_err(thrown)?;
        }
    }
    Ok(())
}

/// Whether somebody, or a script, says y; the end of the input is no.
fn confirmed(question: &str) -> Outcome<bool> {
    output::line(question);
    output::flush();
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    Ok(answer.trim().eq_ignore_ascii_case("y"))
}

async fn list(given: &Given, admin: &Admin) -> Outcome {
    let mut filters = resources(given)?;
    if filters.is_empty() {
        filters.insert(AclResource::ANY);
    }
    let mut rules: BTreeMap<AclResource, Vec<AclEntry>> = BTreeMap::new();
    for resource in filters {
        let filter = AclBinding { resource, entry: AclEntry::ANY };
        for binding in admin.describe_acls(&filter).await.map_err(thrown)? {
            let entries = rules.entry(binding.resource).or_default();
            if !entries.contains(&binding.entry) {
                entries.push(binding.entry);
            }
        }
    }
    let whose = principals(given, "principal")?;
    if whose.is_empty() {
        print(&rules, |_| true);
    }
    for principal in whose {
        output::line(&format!("ACLs for principal `{principal}`"));
        print(&rules, |entry| entry.principal.as_deref() == Some(principal.as_str()));
    }
    Ok(())
}

fn print(rules: &BTreeMap<AclResource, Vec<AclEntry>>, fits: impl Fn(&AclEntry) -> bool) {
    for (resource, entries) in rules {
        let lines: Vec<String> =
            entries.iter().filter(|one| fits(one)).map(|one| format!("\t{}", shown_entry(one))).collect();
        if !lines.is_empty() {
            let resource = shown_resource(resource);
            output::line(&format!("Current ACLs for resource `{resource}`:\n{}\n", lines.join("\n")));
        }
    }
}
