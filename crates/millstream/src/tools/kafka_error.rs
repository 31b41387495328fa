//! A failure in the words that Kafka's tools print: what the broker said, or what Kafka says of the code,
//! and the name of the exception, which some tools print before it.

use millstream_client::Error;
use millstream_types::ErrorCode;

/// The sentence alone.
pub(super) fn message(error: &Error) -> String {
    match error {
        Error::Kafka { code, message: Some(message), .. } if !message.is_empty() => {
            let _ = code;
            message.clone()
        }
        Error::Kafka { code, what, .. } => match of_code(*code).1 {
            "" => format!("{what}: {code}"),
            sentence => sentence.to_owned(),
        },
        Error::Timeout { last: Some(last), .. } if matches!(**last, Error::Kafka { .. }) => message(last),
        Error::UnsupportedApi { api, client: (low, high), broker, .. } => {
            let api = upper_snake(api.strip_suffix("Request").unwrap_or(api));
            let range = broker.map(|(min, max)| {
                format!(" with version in range [{low},{high}]. The supported range is [{min},{max}].")
            });
            format!("The node does not support {api}{}", range.unwrap_or_default())
        }
        other => other.to_string(),
    }
}

/// The exception's full name.
pub(super) fn class(error: &Error) -> String {
    let name = match error {
        Error::Timeout { .. } | Error::Connect { .. } => "TimeoutException",
        Error::Disconnected { .. } => "DisconnectException",
        Error::UnsupportedApi { .. } => "UnsupportedVersionException",
        Error::RecordTooLarge { .. } => "RecordTooLargeException",
        Error::Kafka { code, .. } => of_code(*code).0,
        _ => "",
    };
    match name {
        "" => "org.apache.kafka.common.KafkaException".to_owned(),
        name => format!("org.apache.kafka.common.errors.{name}"),
    }
}

/// `class: sentence`, as Java prints an exception.
pub(super) fn exception(error: &Error) -> String {
    format!("{}: {}", class(error), message(error))
}

/// `DescribeAcls` as `DESCRIBE_ACLS`, Kafka's name of an API.
fn upper_snake(name: &str) -> String {
    let mut text = String::new();
    for letter in name.chars() {
        if letter.is_ascii_uppercase() && !text.is_empty() {
            text.push('_');
        }
        text.push(letter.to_ascii_uppercase());
    }
    text
}

/// The exception's name and what Kafka says where a broker said nothing; the codes that tools meet.
fn of_code(code: ErrorCode) -> (&'static str, &'static str) {
    match code {
        ErrorCode::UnknownServerError => (
            "UnknownServerException",
            "The server experienced an unexpected error when processing the request.",
        ),
        ErrorCode::OffsetOutOfRange => (
            "OffsetOutOfRangeException",
            "The requested offset is not within the range of offsets maintained by the server.",
        ),
        ErrorCode::UnknownTopicOrPartition => {
            ("UnknownTopicOrPartitionException", "This server does not host this topic-partition.")
        }
        ErrorCode::LeaderNotAvailable => (
            "LeaderNotAvailableException",
            "There is no leader for this topic-partition as we are in the middle of a leadership election.",
        ),
        ErrorCode::RequestTimedOut => ("TimeoutException", "The request timed out."),
        ErrorCode::CoordinatorNotAvailable => {
            ("CoordinatorNotAvailableException", "The coordinator is not available.")
        }
        ErrorCode::InvalidTopicException => {
            ("InvalidTopicException", "The request attempted to perform an operation on an invalid topic.")
        }
        ErrorCode::InvalidGroupId => ("InvalidGroupIdException", "The group id is invalid."),
        ErrorCode::UnknownMemberId => {
            ("UnknownMemberIdException", "The coordinator is not aware of this member.")
        }
        ErrorCode::UnsupportedVersion => {
            ("UnsupportedVersionException", "The version of API is not supported.")
        }
        ErrorCode::TopicAlreadyExists => ("TopicExistsException", "Topic with this name already exists."),
        ErrorCode::InvalidPartitions => ("InvalidPartitionsException", "Number of partitions is below 1."),
        ErrorCode::InvalidReplicationFactor => (
            "InvalidReplicationFactorException",
            "Replication factor is below 1 or larger than the number of available brokers.",
        ),
        ErrorCode::InvalidReplicaAssignment => {
            ("InvalidReplicaAssignmentException", "Replica assignment is invalid.")
        }
        ErrorCode::InvalidConfig => ("InvalidConfigurationException", "Configuration is invalid."),
        ErrorCode::InvalidRequest => ("InvalidRequestException", ""),
        ErrorCode::PolicyViolation => {
            ("PolicyViolationException", "Request parameters do not satisfy the configured policy.")
        }
        ErrorCode::KafkaStorageError => {
            ("KafkaStorageException", "Disk error when trying to access log file on the disk.")
        }
        ErrorCode::MessageTooLarge => (
            "RecordTooLargeException",
            "The request included a message larger than the max message size the server will accept.",
        ),
        ErrorCode::InvalidRecord => (
            "InvalidRecordException",
            "This record has failed the validation on the broker and hence will be rejected.",
        ),
        ErrorCode::NonEmptyGroup => ("GroupNotEmptyException", "The group is not empty."),
        ErrorCode::GroupIdNotFound => ("GroupIdNotFoundException", "The group id does not exist."),
        ErrorCode::GroupSubscribedToTopic => (
            "GroupSubscribedToTopicException",
            "Deleting offsets of a topic is forbidden while the consumer group is actively subscribed to it.",
        ),
        ErrorCode::UnknownTopicId => ("UnknownTopicIdException", "This server does not host this topic ID."),
        ErrorCode::FeatureUpdateFailed => ("FeatureUpdateFailedException", ""),
        ErrorCode::InvalidUpdateVersion => {
            ("InvalidUpdateVersionException", "The given update version was invalid.")
        }
        code => of_rarer_code(code),
    }
}

/// Replicas, transactions and resources.
fn of_rarer_code(code: ErrorCode) -> (&'static str, &'static str) {
    match code {
        ErrorCode::ReplicaNotAvailable => (
            "ReplicaNotAvailableException",
            "The replica is not available for the requested topic-partition. Produce/Fetch requests and other requests intended only for the leader or follower return NOT_LEADER_OR_FOLLOWER if the broker is not a replica of the topic-partition.",
        ),
        ErrorCode::LogDirNotFound => {
            ("LogDirNotFoundException", "The user-specified log directory is not found in the broker config.")
        }
        ErrorCode::PreferredLeaderNotAvailable => {
            ("PreferredLeaderNotAvailableException", "The preferred leader was not available.")
        }
        ErrorCode::EligibleLeadersNotAvailable => {
            ("EligibleLeadersNotAvailableException", "Eligible topic partition leaders are not available.")
        }
        ErrorCode::ElectionNotNeeded => {
            ("ElectionNotNeededException", "Leader election not needed for topic partition.")
        }
        ErrorCode::NoReassignmentInProgress => {
            ("NoReassignmentInProgressException", "No partition reassignment is in progress.")
        }
        ErrorCode::TransactionalIdNotFound => {
            ("TransactionalIdNotFoundException", "The transactionalId could not be found")
        }
        ErrorCode::ResourceNotFound => {
            ("ResourceNotFoundException", "A request illegally referred to a resource that does not exist.")
        }
        ErrorCode::DuplicateResource => {
            ("DuplicateResourceException", "A request illegally referred to the same resource twice.")
        }
        code => of_security_code(code),
    }
}

/// Credentials and tokens.
fn of_security_code(code: ErrorCode) -> (&'static str, &'static str) {
    match code {
        ErrorCode::SecurityDisabled => ("SecurityDisabledException", "Security features are disabled."),
        ErrorCode::UnacceptableCredential => (
            "UnacceptableCredentialException",
            "Requested credential would not meet criteria for acceptability.",
        ),
        ErrorCode::DelegationTokenAuthDisabled => {
            ("DelegationTokenDisabledException", "Delegation Token feature is not enabled.")
        }
        ErrorCode::DelegationTokenNotFound => {
            ("DelegationTokenNotFoundException", "Delegation Token is not found on server.")
        }
        ErrorCode::DelegationTokenOwnerMismatch => {
            ("DelegationTokenOwnerMismatchException", "Specified Principal is not valid Owner/Renewer.")
        }
        ErrorCode::DelegationTokenRequestNotAllowed => (
            "UnsupportedByAuthenticationException",
            "Delegation Token requests are not allowed on PLAINTEXT/1-way SSL channels and on delegation token authenticated channels.",
        ),
        ErrorCode::DelegationTokenAuthorizationFailed => {
            ("DelegationTokenAuthorizationException", "Delegation Token authorization failed.")
        }
        ErrorCode::DelegationTokenExpired => {
            ("DelegationTokenExpiredException", "Delegation Token is expired.")
        }
        ErrorCode::InvalidPrincipalType => {
            ("InvalidPrincipalTypeException", "Supplied principalType is not supported.")
        }
        code => of_refused_code(code),
    }
}

/// What somebody may not do, or not there.
fn of_refused_code(code: ErrorCode) -> (&'static str, &'static str) {
    match code {
        ErrorCode::TopicAuthorizationFailed => ("TopicAuthorizationException", "Topic authorization failed."),
        ErrorCode::GroupAuthorizationFailed => ("GroupAuthorizationException", "Group authorization failed."),
        ErrorCode::MismatchedEndpointType => {
            ("MismatchedEndpointTypeException", "The request was sent to an endpoint of the wrong type.")
        }
        ErrorCode::UnsupportedEndpointType => {
            ("UnsupportedEndpointTypeException", "This endpoint type is not supported yet.")
        }
        ErrorCode::DuplicateVoter => {
            ("DuplicateVoterException", "The voter is already part of the set of voters.")
        }
        ErrorCode::VoterNotFound => ("VoterNotFoundException", "The voter is not part of the set of voters."),
        ErrorCode::ClusterAuthorizationFailed => {
            ("ClusterAuthorizationException", "Cluster authorization failed.")
        }
        _ => ("", ""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kafka(code: ErrorCode, message: Option<&str>) -> Error {
        Error::Kafka { code, what: "topic t".to_owned(), message: message.map(str::to_owned) }
    }

    #[test]
    fn the_brokers_words_come_first_then_kafkas_then_ours() {
        let told = kafka(ErrorCode::TopicAlreadyExists, Some("Topic 't' already exists."));
        assert_eq!(
            exception(&told),
            "org.apache.kafka.common.errors.TopicExistsException: Topic 't' already exists."
        );
        assert_eq!(message(&kafka(ErrorCode::GroupIdNotFound, None)), "The group id does not exist.");
        assert!(message(&kafka(ErrorCode::StaleBrokerEpoch, None)).starts_with("topic t: "));
        let api = "ListTransactionsRequest";
        let missing = Error::UnsupportedApi { address: "a:1".to_owned(), api, client: (0, 2), broker: None };
        assert_eq!(message(&missing), "The node does not support LIST_TRANSACTIONS");
    }
}
