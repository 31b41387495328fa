//! Delegation tokens: credentials that a client gives to others for a while (KIP-48, KIP-373).

use std::{fmt, time::Duration};

use bytes::Bytes;
use millstream_protocol::messages::{
    CreateDelegationTokenRequest, DescribeDelegationTokenRequest, ExpireDelegationTokenRequest,
    RenewDelegationTokenRequest, create_delegation_token_request::CreatableRenewers,
    describe_delegation_token_request::DescribeDelegationTokenOwner,
};
use millstream_types::TimestampMs;

use super::{Admin, check};
use crate::Result;

/// Whom a broker takes a client for: `User:alice`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Principal {
    pub kind: String,
    pub name: String,
}

impl Principal {
    /// None unless it is of the form `kind:name`.
    pub fn parse(text: &str) -> Option<Self> {
        let (kind, name) = text.split_once(':')?;
        Some(Self { kind: kind.to_owned(), name: name.to_owned() })
    }
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.kind, self.name)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DelegationToken {
    pub id: String,
    /// The secret.
    pub hmac: Bytes,
    pub owner: Principal,
    pub requester: Principal,
    pub renewers: Vec<Principal>,
    pub issued: TimestampMs,
    pub expires: TimestampMs,
    /// No renewal goes beyond it.
    pub expires_at_the_latest: TimestampMs,
}

/// -1 on the wire for the broker's own choice.
fn period(wanted: Option<Duration>) -> i64 {
    wanted.map_or(-1, |wanted| i64::try_from(wanted.as_millis()).unwrap_or(i64::MAX))
}

impl Admin {
    /// A token for this client, or for `owner` if it may. Without a life time the broker's holds.
    pub async fn create_delegation_token(
        &self,
        owner: Option<&Principal>,
        renewers: &[Principal],
        life_time: Option<Duration>,
    ) -> Result<DelegationToken> {
        let renewer = |one: &Principal| CreatableRenewers {
            principal_type: one.kind.clone(),
            principal_name: one.name.clone(),
            ..Default::default()
        };
        let request = CreateDelegationTokenRequest {
            owner_principal_type: owner.map(|owner| owner.kind.clone()),
            owner_principal_name: owner.map(|owner| owner.name.clone()),
            renewers: renewers.iter().map(renewer).collect(),
            max_lifetime_ms: period(life_time),
            ..Default::default()
        };
        let ask = || async {
            let answer = self.client.controller().await?.call(&request).await?;
            check(answer.error_code, "creation of a delegation token", None).map(|()| answer)
        };
        let answer = self.client.retry("creation of a delegation token", ask).await?;
        Ok(DelegationToken {
            id: answer.token_id,
            hmac: answer.hmac,
            owner: Principal { kind: answer.principal_type, name: answer.principal_name },
            requester: Principal {
                kind: answer.token_requester_principal_type,
                name: answer.token_requester_principal_name,
            },
            renewers: renewers.to_vec(),
            issued: TimestampMs(answer.issue_timestamp_ms),
            expires: TimestampMs(answer.expiry_timestamp_ms),
            expires_at_the_latest: TimestampMs(answer.max_timestamp_ms),
        })
    }

    /// Makes a token last longer; returns until when.
    pub async fn renew_delegation_token(
        &self,
        hmac: Bytes,
        period_ms: Option<Duration>,
    ) -> Result<TimestampMs> {
        let request =
            RenewDelegationTokenRequest { hmac, renew_period_ms: period(period_ms), ..Default::default() };
        let ask = || async {
            let answer = self.client.controller().await?.call(&request).await?;
            check(answer.error_code, "renewal of a delegation token", None).map(|()| answer)
        };
        let answer = self.client.retry("renewal of a delegation token", ask).await?;
        Ok(TimestampMs(answer.expiry_timestamp_ms))
    }

    /// Makes a token end after so long, or at once; returns when.
    pub async fn expire_delegation_token(&self, hmac: Bytes, after: Option<Duration>) -> Result<TimestampMs> {
        let request =
            ExpireDelegationTokenRequest { hmac, expiry_time_period_ms: period(after), ..Default::default() };
        let ask = || async {
            let answer = self.client.controller().await?.call(&request).await?;
            check(answer.error_code, "expiry of a delegation token", None).map(|()| answer)
        };
        let answer = self.client.retry("expiry of a delegation token", ask).await?;
        Ok(TimestampMs(answer.expiry_timestamp_ms))
    }

    /// The tokens of these owners, or all that this client may see.
    pub async fn describe_delegation_tokens(&self, owners: &[Principal]) -> Result<Vec<DelegationToken>> {
        let owner = |one: &Principal| DescribeDelegationTokenOwner {
            principal_type: one.kind.clone(),
            principal_name: one.name.clone(),
            ..Default::default()
        };
        let owners = (!owners.is_empty()).then(|| owners.iter().map(owner).collect());
        let request = DescribeDelegationTokenRequest { owners, ..Default::default() };
        let ask = || async {
            let answer = self.client.any_broker().await?.call(&request).await?;
            check(answer.error_code, "description of delegation tokens", None).map(|()| answer)
        };
        let answer = self.client.retry("description of delegation tokens", ask).await?;
        let token = |raw: millstream_protocol::messages::describe_delegation_token_response::DescribedDelegationToken| {
            let renewer = |one: millstream_protocol::messages::describe_delegation_token_response::DescribedDelegationTokenRenewer| {
                Principal { kind: one.principal_type, name: one.principal_name }
            };
            DelegationToken {
                id: raw.token_id,
                hmac: raw.hmac,
                owner: Principal { kind: raw.principal_type, name: raw.principal_name },
                requester: Principal {
                    kind: raw.token_requester_principal_type,
                    name: raw.token_requester_principal_name,
                },
                renewers: raw.renewers.into_iter().map(renewer).collect(),
                issued: TimestampMs(raw.issue_timestamp),
                expires: TimestampMs(raw.expiry_timestamp),
                expires_at_the_latest: TimestampMs(raw.max_timestamp),
            }
        };
        Ok(answer.tokens.into_iter().map(token).collect())
    }
}
