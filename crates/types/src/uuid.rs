//! Kafka's 128-bit ids (topics, directories, clusters): URL-safe base64 without padding in text.
//! `org.apache.kafka.common.Uuid`.

use std::{fmt, str::FromStr};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Uuid(pub u128);

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not a base64 uuid of 22 characters")]
pub struct ParseUuidError(String);

impl Uuid {
    /// All zero: "no id" on the wire.
    pub const ZERO: Uuid = Uuid(0);
    /// The id of `__cluster_metadata`.
    pub const METADATA_TOPIC: Uuid = Uuid(1);
    /// Directory ids with a meaning of their own (`DirectoryId.java`).
    pub const LOST_DIRECTORY: Uuid = Uuid(1);

    /// A random one (version 4), never a reserved one and never starting with `-`, which tools would
    /// read as a flag.
    pub fn random() -> Self {
        loop {
            let id = Uuid(uuid::Uuid::new_v4().as_u128());
            if !id.is_reserved() && !id.to_string().starts_with('-') {
                return id;
            }
        }
    }

    pub fn is_zero(self) -> bool {
        self.0 == 0
    }

    fn is_reserved(self) -> bool {
        self.0 < 100
    }
}

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.0.to_be_bytes()))
    }
}

impl fmt::Debug for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Uuid {
    type Err = ParseUuidError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || ParseUuidError(text.to_owned());
        let bytes = URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).map_err(|_| error())?;
        Ok(Uuid(u128::from_be_bytes(bytes.try_into().map_err(|_| error())?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_kafkas_base64() {
        assert_eq!(Uuid::ZERO.to_string(), "AAAAAAAAAAAAAAAAAAAAAA");
        let id = Uuid::random();
        assert_eq!(id.to_string().parse(), Ok(id));
        assert!("short".parse::<Uuid>().is_err());
    }
}
