//! The rules that a command line means.

use std::collections::{BTreeMap, BTreeSet};

use millstream_client::{
    AclEntry, AclOperation, AclPatternType, AclPermission, AclResource, AclResourceType, Principal,
};

use crate::tools::{
    exit::{Exit, Outcome},
    options::Given,
};

/// By what they are about; none where all rules are meant.
pub(super) type Rules = BTreeMap<AclResource, BTreeSet<AclEntry>>;

/// The name of the only resource of type cluster.
const CLUSTER: &str = "kafka-cluster";

/// Everything that names resources, with its type.
const RESOURCES: [(&str, AclResourceType); 5] = [
    ("topic", AclResourceType::Topic),
    ("group", AclResourceType::Group),
    ("transactional-id", AclResourceType::TransactionalId),
    ("delegation-token", AclResourceType::DelegationToken),
    ("user-principal", AclResourceType::User),
];

/// As Java prints a `ResourcePattern`.
pub(super) fn shown_resource(resource: &AclResource) -> String {
    format!(
        "ResourcePattern(resourceType={}, name={}, patternType={})",
        resource.resource_type,
        resource.name.as_deref().unwrap_or("<any>"),
        resource.pattern_type
    )
}

/// As Java prints an `AccessControlEntry`.
pub(super) fn shown_entry(entry: &AclEntry) -> String {
    format!(
        "(principal={}, host={}, operation={}, permissionType={})",
        entry.principal.as_deref().unwrap_or("<any>"),
        entry.host.as_deref().unwrap_or("<any>"),
        entry.operation,
        entry.permission
    )
}

pub(super) fn wanted(given: &Given) -> Outcome<Rules> {
    let adding = given.has("add");
    let pattern = pattern_type(given)?;
    if adding && matches!(pattern, AclPatternType::Any | AclPatternType::Match) {
        return Err(Exit::usage(format!(
            "A '--resource-pattern-type' value of '{pattern}' is not valid when adding acls."
        )));
    }
    let mut rules = Rules::new();
    if !given.has("producer") && !given.has("consumer") {
        let operations: Vec<AclOperation> = match given.has("operation") {
            true => given.all("operation").map(|name| operation(name.trim())).collect(),
            false => vec![AclOperation::All],
        };
        let entries = entries(given, &operations)?;
        rules.extend(some_resources(given)?.into_iter().map(|resource| (resource, entries.clone())));
    }
    if given.has("producer") {
        producer(given, &mut rules)?;
    }
    if given.has("consumer") {
        use AclOperation::{Describe, Read};
        for resource in some_resources(given)? {
            let operations: &[AclOperation] = match resource.resource_type {
                AclResourceType::Topic => &[Read, Describe],
                AclResourceType::Group => &[Read],
                _ => continue,
            };
            rules.entry(resource).or_default().extend(entries(given, operations)?);
        }
    }
    for (resource, entries) in &rules {
        check_operations(resource.resource_type, entries)?;
    }
    if adding && rules.values().any(BTreeSet::is_empty) {
        return Err(Exit::usage(
            "You must specify one of: --allow-principal, --deny-principal when trying to add ACLs.",
        ));
    }
    Ok(rules)
}

fn producer(given: &Given, rules: &mut Rules) -> Outcome {
    use AclOperation::{Create, Describe, IdempotentWrite, Write};
    for resource in some_resources(given)? {
        let operations: &[AclOperation] = match resource.resource_type {
            AclResourceType::Topic => &[Write, Describe, Create],
            AclResourceType::TransactionalId => &[Write, Describe],
            _ => continue,
        };
        rules.insert(resource, entries(given, operations)?);
    }
    if given.has("idempotent") {
        rules.insert(cluster(), entries(given, &[IdempotentWrite])?);
    }
    Ok(())
}

fn cluster() -> AclResource {
    AclResource {
        resource_type: AclResourceType::Cluster,
        name: Some(CLUSTER.to_owned()),
        pattern_type: AclPatternType::Literal,
    }
}

/// The resources that are named.
pub(super) fn resources(given: &Given) -> Outcome<BTreeSet<AclResource>> {
    let pattern_type = pattern_type(given)?;
    let mut all = BTreeSet::new();
    for (option, resource_type) in RESOURCES {
        all.extend(given.all(option).map(|name| AclResource {
            resource_type,
            name: Some(name.trim().to_owned()),
            pattern_type,
        }));
    }
    if pattern_type == AclPatternType::Literal && (given.has("cluster") || given.has("idempotent")) {
        all.insert(cluster());
    }
    Ok(all)
}

fn some_resources(given: &Given) -> Outcome<BTreeSet<AclResource>> {
    let all = resources(given)?;
    match all.is_empty() {
        false => Ok(all),
        true => Err(Exit::usage(
            "You must provide at least one resource: --topic <topic> or --cluster or --group <group> or --delegation-token <Delegation Token ID>",
        )),
    }
}

fn pattern_type(given: &Given) -> Outcome<AclPatternType> {
    let text = given.one("resource-pattern-type")?.unwrap_or("LITERAL");
    let found = AclPatternType::ALL.iter().find(|known| known.name().eq_ignore_ascii_case(text));
    let unknown = || Exit::failure(format!("Cannot parse argument '{text}' of option resource-pattern-type"));
    found.copied().ok_or_else(unknown)
}

/// `DescribeConfigs`, in any case; a word that means nothing is refused with what would mean something.
fn operation(text: &str) -> AclOperation {
    let fits = |known: &&AclOperation| known.name().replace('_', "").eq_ignore_ascii_case(text);
    AclOperation::ALL.iter().find(fits).copied().unwrap_or(AclOperation::Unknown(0))
}

pub(super) fn principals(given: &Given, option: &str) -> Outcome<BTreeSet<String>> {
    let parse = |text: &str| {
        let malformed = || {
            Exit::failure(format!("expected a string in format principalType:principalName but got {text}"))
        };
        Principal::parse(text).map(|principal| principal.to_string()).ok_or_else(malformed)
    };
    given.all(option).map(str::trim).map(parse).collect()
}

fn hosts(given: &Given, option: &str) -> Vec<String> {
    let named: Vec<String> = given.all(option).map(|host| host.trim().to_owned()).collect();
    if named.is_empty() { vec!["*".to_owned()] } else { named }
}

fn entries(given: &Given, operations: &[AclOperation]) -> Outcome<BTreeSet<AclEntry>> {
    let mut all = BTreeSet::new();
    for (principal_option, host_option, permission) in [
        ("allow-principal", "allow-host", AclPermission::Allow),
        ("deny-principal", "deny-host", AclPermission::Deny),
    ] {
        for principal in principals(given, principal_option)? {
            for operation in operations {
                all.extend(hosts(given, host_option).into_iter().map(|host| AclEntry {
                    principal: Some(principal.clone()),
                    host: Some(host),
                    operation: *operation,
                    permission,
                }));
            }
        }
    }
    Ok(all)
}

/// What can be done to a resource of each type (`AclEntry.supportedOperations`).
fn operations_of(resource_type: AclResourceType) -> &'static [AclOperation] {
    use AclOperation::*;
    match resource_type {
        AclResourceType::Topic => {
            &[Read, Write, Create, Delete, Alter, Describe, DescribeConfigs, AlterConfigs]
        }
        AclResourceType::Group => &[Read, Delete, Describe, DescribeConfigs, AlterConfigs],
        AclResourceType::Cluster => {
            &[Create, Alter, Describe, ClusterAction, DescribeConfigs, AlterConfigs, IdempotentWrite]
        }
        AclResourceType::TransactionalId => &[Write, Describe, TwoPhaseCommit],
        AclResourceType::DelegationToken => &[Describe],
        AclResourceType::User => &[CreateTokens, DescribeTokens],
        AclResourceType::Any | AclResourceType::Unknown(_) => &[],
    }
}

fn check_operations(resource_type: AclResourceType, entries: &BTreeSet<AclEntry>) -> Outcome {
    let valid = operations_of(resource_type);
    if entries.iter().all(|one| one.operation == AclOperation::All || valid.contains(&one.operation)) {
        return Ok(());
    }
    let mut names: Vec<&str> = valid.iter().map(|one| one.name()).collect();
    names.push("ALL");
    names.sort_unstable();
    Err(Exit::usage(format!("ResourceType {resource_type} only supports operations [{}]", names.join(", "))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tools::acls::SPEC;

    fn rules(line: &str) -> Outcome<Vec<String>> {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        let rules = wanted(&SPEC.parse(&words)?)?;
        let one = |(resource, entries): (&AclResource, &BTreeSet<AclEntry>)| {
            let entries: Vec<String> = entries
                .iter()
                .map(|one| {
                    format!(
                        "{} {} {}",
                        one.principal.as_deref().unwrap_or("-"),
                        one.operation,
                        one.permission
                    )
                })
                .collect();
            format!("{}: {}", resource.name.as_deref().unwrap_or("-"), entries.join(", "))
        };
        Ok(rules.iter().map(one).collect())
    }

    #[test]
    fn what_a_producer_and_a_consumer_need_is_spelled_out() {
        assert_eq!(
            rules("--add --producer --idempotent --topic t --allow-principal User:a").unwrap(),
            [
                "t: User:a WRITE ALLOW, User:a CREATE ALLOW, User:a DESCRIBE ALLOW",
                "kafka-cluster: User:a IDEMPOTENT_WRITE ALLOW"
            ]
        );
        assert_eq!(
            rules("--add --consumer --producer --topic t --group g --allow-principal User:a").unwrap(),
            [
                "t: User:a READ ALLOW, User:a WRITE ALLOW, User:a CREATE ALLOW, User:a DESCRIBE ALLOW",
                "g: User:a READ ALLOW"
            ]
        );
    }

    #[test]
    fn what_makes_no_rule_is_refused() {
        let refusal = |line: &str| rules(line).unwrap_err().sentence().to_owned();
        assert!(refusal("--add --topic t").starts_with("You must specify one of"));
        assert!(refusal("--add --allow-principal User:a").starts_with("You must provide at least one"));
        assert_eq!(
            refusal("--add --group g --allow-principal User:a --operation Write"),
            "ResourceType GROUP only supports operations [ALL, ALTER_CONFIGS, DELETE, DESCRIBE, DESCRIBE_CONFIGS, READ]"
        );
        assert!(refusal("--add --topic t --allow-principal alice").contains("but got alice"));
        assert!(refusal("--add --topic t --resource-pattern-type match").contains("'MATCH' is not valid"));
        assert_eq!(rules("--remove --topic t").unwrap(), ["t: "]);
    }
}
