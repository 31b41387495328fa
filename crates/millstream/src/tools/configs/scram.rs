//! `SCRAM-SHA-256=[iterations=8192,password=secret]`.

use millstream_client::{ScramCredential, ScramMechanism};

use crate::tools::exit::{Exit, Outcome};

const ITERATIONS_DEFAULT: i32 = 4096;
/// Both mechanisms' (RFC 5802).
const ITERATIONS_MIN: i32 = 4096;

pub(super) fn mechanism(key: &str) -> Option<ScramMechanism> {
    [ScramMechanism::Sha256, ScramMechanism::Sha512].into_iter().find(|one| one.name() == key)
}

/// The credential of a mechanism's key, with a salt of its own.
pub(super) fn parse(key: &str, text: &str) -> Outcome<ScramCredential> {
    let java_name = key.replace('-', "_");
    let malformed = || Exit::failure(format!("Invalid credential property {java_name}={text}"));
    let mechanism = mechanism(key).ok_or_else(malformed)?;
    let (iterations, rest) = match text.strip_prefix("iterations=") {
        None => (None, text),
        Some(behind) => {
            let (number, rest) = behind.split_once(',').ok_or_else(malformed)?;
            (Some(number), rest)
        }
    };
    let password = rest.strip_prefix("password=").ok_or_else(malformed)?;
    let iterations = match iterations {
        None | Some("-1") => ITERATIONS_DEFAULT,
        Some(number) => {
            let not_a_number = |_| Exit::failure(format!("For input string: \"{number}\""));
            number.parse().map_err(not_a_number)?
        }
    };
    if iterations < ITERATIONS_MIN {
        return Err(Exit::failure(format!(
            "Iterations {iterations} is less than the minimum {ITERATIONS_MIN} required for {key}"
        )));
    }
    Ok(ScramCredential::of_password(mechanism, iterations, password))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_salted_and_its_iterations_are_bounded_below() {
        let parsed = parse("SCRAM-SHA-256", "iterations=8192,password=a,b=c").unwrap();
        assert_eq!((parsed.mechanism, parsed.iterations), (ScramMechanism::Sha256, 8192));
        assert_eq!(parsed.salted_password.len(), 32);
        assert_eq!(parse("SCRAM-SHA-512", "password=x").unwrap().salted_password.len(), 64);
        assert_eq!(parse("SCRAM-SHA-512", "iterations=-1,password=x").unwrap().iterations, 4096);
        let refusal = |text: &str| parse("SCRAM-SHA-256", text).unwrap_err().sentence().to_owned();
        assert_eq!(refusal("secret"), "Invalid credential property SCRAM_SHA_256=secret");
        assert_eq!(
            refusal("iterations=5,password=x"),
            "Iterations 5 is less than the minimum 4096 required for SCRAM-SHA-256"
        );
    }
}
