//! `KEY=VALUE` on a command line.

use anyhow::anyhow;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct KeyValue {
    pub(super) key: String,
    pub(super) value: String,
}

impl std::str::FromStr for KeyValue {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let (key, value) =
            text.split_once('=').ok_or_else(|| anyhow!("expected KEY=VALUE, found {text:?}"))?;
        Ok(Self { key: key.to_owned(), value: value.to_owned() })
    }
}
