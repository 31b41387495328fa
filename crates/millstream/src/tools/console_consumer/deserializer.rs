//! Kafka's own deserializers, by the names of their Java classes.

use crate::tools::output;

const PACKAGE: &str = "org.apache.kafka.common.serialization.";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Deserializer {
    /// Bytes as they are.
    None,
    String,
    /// Bytes that cannot be printed as `\x00`.
    Bytes,
    Number(Number),
    Uuid,
    Boolean,
    Void,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Number {
    Short,
    Integer,
    Long,
    Float,
    Double,
}

impl Deserializer {
    /// A class that is not built in is told of, and bytes are printed as they are.
    pub(super) fn of(class: Option<&str>) -> Self {
        let Some(class) = class else { return Self::None };
        match class.strip_prefix(PACKAGE).unwrap_or_default() {
            "StringDeserializer" => Self::String,
            "ByteArrayDeserializer" | "ByteBufferDeserializer" => Self::None,
            "BytesDeserializer" => Self::Bytes,
            "ShortDeserializer" => Self::Number(Number::Short),
            "IntegerDeserializer" => Self::Number(Number::Integer),
            "LongDeserializer" => Self::Number(Number::Long),
            "FloatDeserializer" => Self::Number(Number::Float),
            "DoubleDeserializer" => Self::Number(Number::Double),
            "UUIDDeserializer" => Self::Uuid,
            "BooleanDeserializer" => Self::Boolean,
            "VoidDeserializer" => Self::Void,
            _ => {
                output::say(&format!("WARN {class} is not built in; bytes are printed as they are"));
                Self::None
            }
        }
    }

    pub(super) fn text(self, bytes: &[u8]) -> Result<Vec<u8>, String> {
        let text = match self {
            Self::None => return Ok(bytes.to_vec()),
            Self::String => String::from_utf8_lossy(bytes).into_owned(),
            Self::Bytes => bytes.iter().map(|byte| printable(*byte)).collect(),
            Self::Number(number) => number.text(bytes)?,
            Self::Uuid => {
                let text = String::from_utf8_lossy(bytes);
                if text.len() != 36 {
                    return Err(format!("{text:?} is not a UUID"));
                }
                text.into_owned()
            }
            Self::Boolean => match bytes {
                [0] => "false".to_owned(),
                [1] => "true".to_owned(),
                [other] => return Err(format!("Unexpected byte received by BooleanDeserializer: {other}")),
                _ => return Err("Size of data received by BooleanDeserializer is not 1".to_owned()),
            },
            Self::Void => return Err("Data should be null for a VoidDeserializer.".to_owned()),
        };
        Ok(text.into_bytes())
    }
}

fn printable(byte: u8) -> String {
    match byte {
        b' '..=b'~' if byte != b'\\' => char::from(byte).to_string(),
        _ => format!("\\x{byte:02X}"),
    }
}

impl Number {
    fn text(self, bytes: &[u8]) -> Result<String, String> {
        let wrong =
            |name: &str, size: usize| format!("Size of data received by {name}Deserializer is not {size}");
        match self {
            Self::Short => {
                exact(bytes).map(|raw| i16::from_be_bytes(raw).to_string()).ok_or_else(|| wrong("Short", 2))
            }
            Self::Integer => {
                exact(bytes).map(|raw| i32::from_be_bytes(raw).to_string()).ok_or_else(|| wrong("Integer", 4))
            }
            Self::Long => {
                exact(bytes).map(|raw| i64::from_be_bytes(raw).to_string()).ok_or_else(|| wrong("Long", 8))
            }
            Self::Float => exact(bytes)
                .map(|raw| format!("{:?}", f32::from_be_bytes(raw)))
                .ok_or_else(|| wrong("Float", 4)),
            Self::Double => exact(bytes)
                .map(|raw| format!("{:?}", f64::from_be_bytes(raw)))
                .ok_or_else(|| wrong("Double", 8)),
        }
    }
}

fn exact<const N: usize>(bytes: &[u8]) -> Option<[u8; N]> {
    bytes.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_mapped_and_wrong_sizes_are_errors() {
        let read = |class: &str, bytes: &[u8]| {
            let text = Deserializer::of(Some(&format!("{PACKAGE}{class}"))).text(bytes)?;
            Ok::<_, String>(String::from_utf8(text).unwrap_or_default())
        };
        assert_eq!(read("LongDeserializer", &7i64.to_be_bytes()).as_deref(), Ok("7"));
        assert_eq!(read("DoubleDeserializer", &1.0f64.to_be_bytes()).as_deref(), Ok("1.0"));
        assert_eq!(read("BytesDeserializer", b"a\\\n").as_deref(), Ok("a\\x5C\\x0A"));
        assert_eq!(
            read("LongDeserializer", b"a"),
            Err("Size of data received by LongDeserializer is not 8".to_owned())
        );
        assert_eq!(read("NopeDeserializer", b"a").as_deref(), Ok("a"));
    }
}
