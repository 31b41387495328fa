//! The syntax of Java's properties files (`java.util.Properties.load`): `key=value`, `key: value` or
//! `key value`, comments with `#` or `!`, lines continued with a backslash, `\uXXXX`.

use super::LoadError;

/// The pairs of a file, in its order.
pub fn parse_properties(text: &str) -> Result<Vec<(String, String)>, LoadError> {
    let mut pairs = Vec::new();
    let mut lines = text.lines().enumerate();
    while let Some((index, line)) = lines.next() {
        let line = line.trim_start_matches(is_blank);
        if line.is_empty() || line.starts_with(['#', '!']) {
            continue;
        }
        let mut logical = line.to_owned();
        while ends_in_odd_backslashes(&logical) {
            logical.pop();
            let Some((_, next)) = lines.next() else { break };
            logical.push_str(next.trim_start_matches(is_blank));
        }
        pairs.push(split(&logical).map_err(|reason| LoadError::Syntax { line: index + 1, reason })?);
    }
    Ok(pairs)
}

fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\u{c}')
}

fn ends_in_odd_backslashes(line: &str) -> bool {
    line.bytes().rev().take_while(|byte| *byte == b'\\').count() % 2 == 1
}

/// Key and value of one logical line; the first `=`, `:` or blank that is not escaped ends the key.
fn split(line: &str) -> Result<(String, String), String> {
    let mut escaped = false;
    let end = line.char_indices().find_map(|(at, c)| {
        let ends = !escaped && (matches!(c, '=' | ':') || is_blank(c));
        escaped = c == '\\' && !escaped;
        ends.then_some(at)
    });
    let (key, rest) = line.split_at(end.unwrap_or(line.len()));
    let rest = rest.trim_start_matches(is_blank);
    let value = rest.strip_prefix(['=', ':']).unwrap_or(rest).trim_start_matches(is_blank);
    Ok((unescape(key)?, unescape(value)?))
}

fn unescape(text: &str) -> Result<String, String> {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some('t') => out.push('\t'),
            Some('n') => out.push('\n'),
            Some('r') => out.push('\r'),
            Some('f') => out.push('\u{c}'),
            Some('u') => {
                let digits: String = chars.by_ref().take(4).collect();
                let code = u32::from_str_radix(&digits, 16).ok().filter(|_| digits.len() == 4);
                let letter = code.and_then(char::from_u32);
                out.push(letter.ok_or_else(|| format!("'\\u{digits}' is not a character"))?);
            }
            Some(other) => out.push(other),
            None => {}
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(text: &str) -> Vec<(String, String)> {
        parse_properties(text).unwrap()
    }

    #[test]
    fn every_form_of_a_line_is_read_as_java_reads_it() {
        let text =
            "# comment\n! comment\n\na=1\n  b : 2 \nc 3\nd=x\\\n   y\ne\nf=\\u0041\\t=\ng\\ h=i\nj==k\n";
        let expected = [
            ("a", "1"),
            ("b", "2 "),
            ("c", "3"),
            ("d", "xy"),
            ("e", ""),
            ("f", "A\t="),
            ("g h", "i"),
            ("j", "=k"),
        ];
        let read = pairs(text);
        let read: Vec<_> = read.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        assert_eq!(read, expected);
    }

    #[test]
    fn a_broken_escape_names_its_line() {
        let error = parse_properties("a=1\nb=\\uZZ").unwrap_err();
        assert_eq!(error.to_string(), "line 2: '\\uZZ' is not a character");
    }
}
