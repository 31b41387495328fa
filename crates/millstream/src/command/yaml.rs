//! JSON values as YAML: block style, two spaces, strings quoted when they could be read as something else.

use serde_json::Value;

pub(super) fn to_string(value: &Value) -> String {
    let mut text = String::new();
    match value {
        Value::Array(items) if !items.is_empty() => array(&mut text, items, 0),
        Value::Object(fields) if !fields.is_empty() => object(&mut text, fields, 0),
        scalar => text.push_str(&(inline(scalar) + "\n")),
    }
    text
}

fn array(text: &mut String, items: &[Value], indent: usize) {
    for item in items {
        text.push_str(&" ".repeat(indent));
        text.push_str("- ");
        // The first field stands on the dash's line, the others below it.
        let mut nested = String::new();
        match item {
            Value::Array(items) if !items.is_empty() => array(&mut nested, items, indent + 2),
            Value::Object(fields) if !fields.is_empty() => object(&mut nested, fields, indent + 2),
            scalar => nested = inline(scalar) + "\n",
        }
        text.push_str(nested.trim_start_matches(' '));
    }
}

fn object(text: &mut String, fields: &serde_json::Map<String, Value>, indent: usize) {
    for (name, value) in fields {
        text.push_str(&" ".repeat(indent));
        text.push_str(&scalar(name));
        text.push(':');
        match value {
            Value::Array(items) if !items.is_empty() => {
                text.push('\n');
                array(text, items, indent);
            }
            Value::Object(fields) if !fields.is_empty() => {
                text.push('\n');
                object(text, fields, indent + 2);
            }
            value => text.push_str(&format!(" {}\n", inline(value))),
        }
    }
}

fn inline(value: &Value) -> String {
    match value {
        Value::String(text) => scalar(text),
        Value::Array(_) => "[]".to_owned(),
        Value::Object(_) => "{}".to_owned(),
        other => other.to_string(),
    }
}

/// Plain when nothing else can be meant; otherwise as JSON quotes it, which YAML reads the same.
fn scalar(text: &str) -> String {
    let plain = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-' | '/'))
        && !matches!(
            text.to_ascii_lowercase().as_str(),
            "true" | "false" | "null" | "yes" | "no" | "on" | "off" | "y" | "n"
        );
    if plain { text.to_owned() } else { Value::from(text).to_string() }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn nested_values_are_laid_out_in_blocks() {
        let value = json!([{"name": "a b", "count": 9_007_199_254_740_993i64, "list": [1, [2]], "none": null, "empty": []},
                           {"yes": "no", "map": {"k": "1"}}]);
        let expected = "\
- name: \"a b\"
  count: 9007199254740993
  list:
  - 1
  - - 2
  none: null
  empty: []
- \"yes\": \"no\"
  map:
    k: \"1\"
";
        assert_eq!(to_string(&value), expected);
        assert_eq!(to_string(&json!({})), "{}\n");
        assert_eq!(to_string(&json!("plain")), "plain\n");
    }
}
