//! Who may do what (`DescribeAcls`, `CreateAcls`, `DeleteAcls`; KIP-140, KIP-290).

use std::fmt;

use millstream_protocol::messages::{
    CreateAclsRequest, DeleteAclsRequest, DescribeAclsRequest, create_acls_request::AclCreation,
    delete_acls_request::DeleteAclsFilter,
};

use super::{Admin, check};
use crate::Result;

/// An enum of the wire with Kafka's names. A number that is not known stays what it is.
macro_rules! wire_enum {
    ($(#[$doc:meta])* $name:ident { $($variant:ident = $number:literal $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name {
            $($variant,)*
            Unknown(i8),
        }

        impl $name {
            /// All that have a name.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            pub fn from_wire(raw: i8) -> Self {
                match raw {
                    $($number => Self::$variant,)*
                    raw => Self::Unknown(raw),
                }
            }

            pub fn to_wire(self) -> i8 {
                match self {
                    $(Self::$variant => $number,)*
                    Self::Unknown(raw) => raw,
                }
            }

            /// Kafka's spelling.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)*
                    Self::Unknown(_) => "UNKNOWN",
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.name())
            }
        }
    };
}

wire_enum! {
    /// What an access control list is about. `Any` only in filters.
    AclResourceType {
        Any = 1 "ANY",
        Topic = 2 "TOPIC",
        Group = 3 "GROUP",
        Cluster = 4 "CLUSTER",
        TransactionalId = 5 "TRANSACTIONAL_ID",
        DelegationToken = 6 "DELEGATION_TOKEN",
        User = 7 "USER",
    }
}

wire_enum! {
    /// How a resource's name is meant. `Any` and `Match` only in filters: any kind with exactly this name, and
    /// all that concern the name.
    AclPatternType {
        Any = 1 "ANY",
        Match = 2 "MATCH",
        Literal = 3 "LITERAL",
        Prefixed = 4 "PREFIXED",
    }
}

wire_enum! {
    AclOperation {
        Any = 1 "ANY",
        All = 2 "ALL",
        Read = 3 "READ",
        Write = 4 "WRITE",
        Create = 5 "CREATE",
        Delete = 6 "DELETE",
        Alter = 7 "ALTER",
        Describe = 8 "DESCRIBE",
        ClusterAction = 9 "CLUSTER_ACTION",
        DescribeConfigs = 10 "DESCRIBE_CONFIGS",
        AlterConfigs = 11 "ALTER_CONFIGS",
        IdempotentWrite = 12 "IDEMPOTENT_WRITE",
        CreateTokens = 13 "CREATE_TOKENS",
        DescribeTokens = 14 "DESCRIBE_TOKENS",
        TwoPhaseCommit = 15 "TWO_PHASE_COMMIT",
    }
}

wire_enum! {
    AclPermission {
        Any = 1 "ANY",
        Deny = 2 "DENY",
        Allow = 3 "ALLOW",
    }
}

/// What an access control list is about: a name, or all that begin with it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AclResource {
    pub resource_type: AclResourceType,
    /// `*` for all. In filters None for any.
    pub name: Option<String>,
    pub pattern_type: AclPatternType,
}

/// One rule. In filters a principal or host that is None stands for any.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AclEntry {
    /// `User:alice`.
    pub principal: Option<String>,
    /// An address, or `*`.
    pub host: Option<String>,
    pub operation: AclOperation,
    pub permission: AclPermission,
}

impl AclEntry {
    /// The filter that every rule fits.
    pub const ANY: Self =
        Self { principal: None, host: None, operation: AclOperation::Any, permission: AclPermission::Any };
}

impl AclResource {
    /// The filter that every resource fits.
    pub const ANY: Self =
        Self { resource_type: AclResourceType::Any, name: None, pattern_type: AclPatternType::Any };
}

/// A rule and what it is about; also a filter for them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AclBinding {
    pub resource: AclResource,
    pub entry: AclEntry,
}

impl Admin {
    /// The rules that fit a filter.
    pub async fn describe_acls(&self, filter: &AclBinding) -> Result<Vec<AclBinding>> {
        let AclBinding { resource, entry } = filter;
        let request = DescribeAclsRequest {
            resource_type_filter: resource.resource_type.to_wire(),
            resource_name_filter: resource.name.clone(),
            pattern_type_filter: resource.pattern_type.to_wire(),
            principal_filter: entry.principal.clone(),
            host_filter: entry.host.clone(),
            operation: entry.operation.to_wire(),
            permission_type: entry.permission.to_wire(),
            ..Default::default()
        };
        let ask = || async {
            let answer = self.client.any_broker().await?.call(&request).await?;
            check(answer.error_code, "description of ACLs", answer.error_message.clone()).map(|()| answer)
        };
        let answer = self.client.retry("description of ACLs", ask).await?;
        let bindings = answer.resources.into_iter().flat_map(|raw| {
            let resource = AclResource {
                resource_type: AclResourceType::from_wire(raw.resource_type),
                name: Some(raw.resource_name),
                pattern_type: AclPatternType::from_wire(raw.pattern_type),
            };
            raw.acls.into_iter().map(move |acl| AclBinding {
                resource: resource.clone(),
                entry: AclEntry {
                    principal: Some(acl.principal),
                    host: Some(acl.host),
                    operation: AclOperation::from_wire(acl.operation),
                    permission: AclPermission::from_wire(acl.permission_type),
                },
            })
        });
        Ok(bindings.collect())
    }

    /// Adds rules; a result for each, in order.
    pub async fn create_acls(&self, bindings: &[AclBinding]) -> Result<Vec<Result<()>>> {
        let creation = |AclBinding { resource, entry }: &AclBinding| AclCreation {
            resource_type: resource.resource_type.to_wire(),
            resource_name: resource.name.clone().unwrap_or_default(),
            resource_pattern_type: resource.pattern_type.to_wire(),
            principal: entry.principal.clone().unwrap_or_default(),
            host: entry.host.clone().unwrap_or_default(),
            operation: entry.operation.to_wire(),
            permission_type: entry.permission.to_wire(),
            ..Default::default()
        };
        let request =
            CreateAclsRequest { creations: bindings.iter().map(creation).collect(), ..Default::default() };
        let ask = || async { self.client.any_broker().await?.call(&request).await };
        let answer = self.client.retry("creation of ACLs", ask).await?;
        let result = |one: millstream_protocol::messages::create_acls_response::AclCreationResult| {
            check(one.error_code, "creation of an ACL", one.error_message)
        };
        Ok(answer.results.into_iter().map(result).collect())
    }

    /// Removes the rules that fit any of the filters; for each filter how many those were.
    pub async fn delete_acls(&self, filters: &[AclBinding]) -> Result<Vec<Result<usize>>> {
        let filter = |AclBinding { resource, entry }: &AclBinding| DeleteAclsFilter {
            resource_type_filter: resource.resource_type.to_wire(),
            resource_name_filter: resource.name.clone(),
            pattern_type_filter: resource.pattern_type.to_wire(),
            principal_filter: entry.principal.clone(),
            host_filter: entry.host.clone(),
            operation: entry.operation.to_wire(),
            permission_type: entry.permission.to_wire(),
            ..Default::default()
        };
        let request =
            DeleteAclsRequest { filters: filters.iter().map(filter).collect(), ..Default::default() };
        let ask = || async { self.client.any_broker().await?.call(&request).await };
        let answer = self.client.retry("deletion of ACLs", ask).await?;
        let results = answer.filter_results.into_iter().map(|one| {
            check(one.error_code, "deletion of ACLs", one.error_message)?;
            for acl in &one.matching_acls {
                check(acl.error_code, "deletion of an ACL", acl.error_message.clone())?;
            }
            Ok(one.matching_acls.len())
        });
        Ok(results.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_the_wire_survive_whether_they_have_a_name_or_not() {
        for raw in -1..=20 {
            assert_eq!(AclOperation::from_wire(raw).to_wire(), raw);
            assert_eq!(AclResourceType::from_wire(raw).to_wire(), raw);
        }
        assert_eq!(AclOperation::from_wire(12).to_string(), "IDEMPOTENT_WRITE");
        assert_eq!(AclPatternType::from_wire(99).to_string(), "UNKNOWN");
    }
}
