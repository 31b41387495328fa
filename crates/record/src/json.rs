//! How bytes and ids look in JSON: base64, as Kafka's own tools show them; ids in their URL-safe form.

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use millstream_types::Uuid;
use serde::{Serialize, Serializer};

/// For `serialize_with` of the generated structs.
pub(crate) fn opaque<S: Serializer>(field: &impl Opaque, serializer: S) -> Result<S::Ok, S::Error> {
    Shown(field).serialize(serializer)
}

pub(crate) trait Opaque {
    fn show<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error>;
}

impl Opaque for Bytes {
    fn show<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(self))
    }
}

impl Opaque for Uuid {
    fn show<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<T: Opaque> Opaque for Vec<T> {
    fn show<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter().map(Shown))
    }
}

impl<T: Opaque> Opaque for Option<T> {
    fn show<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Some(field) => serializer.serialize_some(&Shown(field)),
            None => serializer.serialize_none(),
        }
    }
}

struct Shown<'a, T>(&'a T);

impl<T: Opaque> Serialize for Shown<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.show(serializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::messages::{ConsumerProtocolSubscription, MetadataRecord, PartitionRecord};

    #[test]
    fn records_have_kafkas_field_names_and_base64_for_what_is_not_text() {
        let record = PartitionRecord { topic_id: Uuid(1), directories: vec![Uuid(2)], ..Default::default() };
        let json = serde_json::to_value(MetadataRecord::from(record)).unwrap();
        assert_eq!(json["topicId"], "AAAAAAAAAAAAAAAAAAAAAQ");
        assert_eq!(json["directories"], serde_json::json!(["AAAAAAAAAAAAAAAAAAAAAg"]));
        assert_eq!(json["partitionEpoch"], -1);
        assert_eq!(json.get("unknownTaggedFields"), None);
        let blob = ConsumerProtocolSubscription {
            user_data: Some(Bytes::from_static(b"\xff")),
            ..Default::default()
        };
        assert_eq!(serde_json::to_value(&blob).unwrap()["userData"], "/w==");
    }
}
