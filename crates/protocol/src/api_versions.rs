//! Which APIs in which versions a broker offers to its clients when it offers all that Apache Kafka does
//! by default. `ApiVersionsResponse.java`, `ApiKeys.java`.

use std::ops::RangeInclusive;

use crate::ApiKey;

/// The Apache Kafka whose messages and versions these are. A version that only a later Kafka offers stands
/// in the tables as unstable: the codec knows it, and it is not offered before this constant moves.
pub const KAFKA_VERSION: &str = "4.3.1";

/// All APIs that Kafka offers on its client listener by default, in the order of their keys.
pub fn api_versions() -> impl Iterator<Item = (ApiKey, RangeInclusive<i16>)> {
    ApiKey::ALL.iter().filter(|&&key| is_offered(key)).map(|&key| (key, offered_versions(key)))
}

/// Telemetry (KIP-714) is offered only where something receives it.
fn is_offered(key: ApiKey) -> bool {
    key.is_on_broker_listener() && !matches!(key, ApiKey::GetTelemetrySubscriptions | ApiKey::PushTelemetry)
}

/// The versions that the codec knows, with one exception: Produce 0 to 2 are offered though nobody can use
/// them, because librdkafka decides by version 0 which compressions a broker understands (KAFKA-18659).
pub fn offered_versions(key: ApiKey) -> RangeInclusive<i16> {
    let known = key.versions();
    if key == ApiKey::Produce { 0..=*known.end() } else { known }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_offered_is_what_apache_kafka_offers() {
        let fixture = include_str!("fixtures/kafka-4.3.1-api-versions.txt");
        let kafka: Vec<&str> = fixture.lines().filter(|line| !line.starts_with('#')).collect();
        let ours: Vec<String> = api_versions()
            .map(|(key, versions)| format!("{} {} {}", key as i16, versions.start(), versions.end()))
            .collect();
        assert_eq!(ours, kafka);
    }
}
