//! Passwords of users for SCRAM (KIP-554). Only what is derived from them is sent.

use std::collections::BTreeMap;

use bytes::Bytes;
use millstream_protocol::messages::{
    AlterUserScramCredentialsRequest, DescribeUserScramCredentialsRequest,
    alter_user_scram_credentials_request::{ScramCredentialDeletion, ScramCredentialUpsertion},
    describe_user_scram_credentials_request::UserName,
};
use millstream_types::Uuid;
use pbkdf2::pbkdf2_hmac_array;
use sha2::{Sha256, Sha512};

use super::{Admin, check};
use crate::Result;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ScramMechanism {
    Sha256 = 1,
    Sha512 = 2,
}

impl ScramMechanism {
    fn from_wire(raw: i8) -> Option<Self> {
        [Self::Sha256, Self::Sha512].into_iter().find(|one| *one as i8 == raw)
    }

    /// As in `sasl.mechanism`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "SCRAM-SHA-256",
            Self::Sha512 => "SCRAM-SHA-512",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScramCredential {
    pub mechanism: ScramMechanism,
    pub iterations: i32,
    pub salt: Bytes,
    /// PBKDF2 of password, salt and iterations.
    pub salted_password: Bytes,
}

impl ScramCredential {
    /// What a password comes to with a salt made up for it.
    pub fn of_password(mechanism: ScramMechanism, iterations: i32, password: &str) -> Self {
        let salt = [Uuid::random(), Uuid::random()].map(|half| half.0.to_be_bytes()).concat();
        Self::salted(mechanism, iterations, password, salt)
    }

    fn salted(mechanism: ScramMechanism, iterations: i32, password: &str, salt: Vec<u8>) -> Self {
        let rounds = iterations.unsigned_abs();
        let salted = match mechanism {
            ScramMechanism::Sha256 => {
                pbkdf2_hmac_array::<Sha256, 32>(password.as_bytes(), &salt, rounds).to_vec()
            }
            ScramMechanism::Sha512 => {
                pbkdf2_hmac_array::<Sha512, 64>(password.as_bytes(), &salt, rounds).to_vec()
            }
        };
        Self { mechanism, iterations, salt: salt.into(), salted_password: salted.into() }
    }
}

/// What brokers tell of a user's credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScramCredentialInfo {
    pub mechanism: ScramMechanism,
    pub iterations: i32,
}

impl Admin {
    /// The credentials of these users, or of all.
    pub async fn describe_scram_credentials(
        &self,
        users: Option<&[String]>,
    ) -> Result<BTreeMap<String, Result<Vec<ScramCredentialInfo>>>> {
        let user = |name: &String| UserName { name: name.clone(), ..Default::default() };
        let request = DescribeUserScramCredentialsRequest {
            users: users.map(|names| names.iter().map(user).collect()),
            ..Default::default()
        };
        let ask = || async {
            let answer = self.client.any_broker().await?.call(&request).await?;
            check(answer.error_code, "description of credentials", answer.error_message.clone())
                .map(|()| answer)
        };
        let answer = self.client.retry("description of credentials", ask).await?;
        let results = answer.results.into_iter().map(|one| {
            let infos = one.credential_infos.iter().filter_map(|info| {
                let mechanism = ScramMechanism::from_wire(info.mechanism)?;
                Some(ScramCredentialInfo { mechanism, iterations: info.iterations })
            });
            let what = format!("credentials of user {}", one.user);
            let result = check(one.error_code, what, one.error_message.clone()).map(|()| infos.collect());
            (one.user, result)
        });
        Ok(results.collect())
    }

    /// Sets and removes credentials of one user.
    pub async fn alter_scram_credentials(
        &self,
        user: &str,
        set: &[ScramCredential],
        remove: &[ScramMechanism],
    ) -> Result<()> {
        let upsertion = |one: &ScramCredential| ScramCredentialUpsertion {
            name: user.to_owned(),
            mechanism: one.mechanism as i8,
            iterations: one.iterations,
            salt: one.salt.clone(),
            salted_password: one.salted_password.clone(),
            ..Default::default()
        };
        let deletion = |mechanism: &ScramMechanism| ScramCredentialDeletion {
            name: user.to_owned(),
            mechanism: *mechanism as i8,
            ..Default::default()
        };
        let request = AlterUserScramCredentialsRequest {
            deletions: remove.iter().map(deletion).collect(),
            upsertions: set.iter().map(upsertion).collect(),
            ..Default::default()
        };
        let ask = || async { self.client.controller().await?.call(&request).await };
        let answer = self.client.retry("change of credentials", ask).await?;
        for one in answer.results {
            check(one.error_code, format!("credentials of user {}", one.user), one.error_message)?;
        }
        Ok(())
    }
}

#[test]
fn salted_passwords_are_those_of_rfc_7677() {
    // The example of section 3, whose salt is W22ZaJ0SNY7soEsUEjb6gQ==.
    let salt = 0x5b6d99689d12358eeca04b141236fa81_u128;
    let salt = salt.to_be_bytes().to_vec();
    let credential = ScramCredential::salted(ScramMechanism::Sha256, 4096, "pencil", salt);
    let hex: String = credential.salted_password.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, "c4a49510323ab4f952cac1fa99441939e78ea74d6be81ddf7096e87513dc615d");
}
