//! What the verifiable tools tell, for programs to read.

use serde_json::{Value, json};

use super::output;
use crate::command::time;

/// One line of JSON on standard output, with the time and the name first; false if nobody reads any more.
pub(super) fn event(name: &str, fields: Value) -> bool {
    let mut all = serde_json::Map::new();
    all.insert("timestamp".to_owned(), json!(time::now().0));
    all.insert("name".to_owned(), json!(name));
    if let Value::Object(fields) = fields {
        all.extend(fields);
    }
    output::line(&Value::Object(all).to_string());
    output::flush()
}
