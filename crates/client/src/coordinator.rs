//! Finding the broker that looks after a group or a transactional id, and asking it again when it has moved or
//! is not ready.

use std::{collections::HashMap, future::Future};

use millstream_protocol::messages::FindCoordinatorRequest;
use millstream_types::{BrokerId, ErrorCode};

use crate::{Client, Connection, Error, Result};

/// What a coordinator is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum CoordinatorOf {
    Group,
    Transaction,
}

impl CoordinatorOf {
    fn to_wire(self) -> i8 {
        match self {
            Self::Group => 0,
            Self::Transaction => 1,
        }
    }

    fn name(self, key: &str) -> String {
        match self {
            Self::Group => format!("group {key}"),
            Self::Transaction => format!("transactional id {key}"),
        }
    }
}

/// Where each coordinator was last found.
pub(crate) type Coordinators = HashMap<(CoordinatorOf, String), BrokerId>;

/// From here on one request may name many keys, and must use the list for one.
const VERSION_WITH_MANY_KEYS: i16 = 4;

impl Client {
    /// Asks the group's coordinator, again where that may help.
    pub(crate) async fn with_coordinator<T, F>(
        &self,
        what: &str,
        group: &str,
        ask: impl Fn(Connection) -> F,
    ) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        self.with_coordinator_of(CoordinatorOf::Group, what, group, ask).await
    }

    pub(crate) async fn with_coordinator_of<T, F>(
        &self,
        of: CoordinatorOf,
        what: &str,
        key: &str,
        ask: impl Fn(Connection) -> F,
    ) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        let what = format!("{what} of {}", of.name(key));
        self.retry(&what, || self.at_coordinator_of(of, key, &ask)).await
    }

    /// Asks the group's coordinator once.
    pub(crate) async fn at_coordinator<T, F>(&self, group: &str, ask: impl Fn(Connection) -> F) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        self.at_coordinator_of(CoordinatorOf::Group, group, ask).await
    }

    async fn at_coordinator_of<T, F>(
        &self,
        of: CoordinatorOf,
        key: &str,
        ask: impl Fn(Connection) -> F,
    ) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        let id = self.known(of, key).await?;
        let connection = self.broker(id).await.inspect_err(|_| self.forget(of, key))?;
        let answer = ask(connection).await;
        if answer.as_ref().is_err_and(points_elsewhere) {
            self.forget(of, key);
        }
        answer
    }

    /// The group's coordinator, whose address the metadata knows.
    pub(crate) async fn known_coordinator(&self, group: &str) -> Result<BrokerId> {
        self.known(CoordinatorOf::Group, group).await
    }

    /// Where the group's coordinator was last found.
    pub(crate) fn found_coordinator(&self, group: &str) -> Option<BrokerId> {
        self.coordinators().lock().get(&(CoordinatorOf::Group, group.to_owned())).copied()
    }

    async fn known(&self, of: CoordinatorOf, key: &str) -> Result<BrokerId> {
        let known = self.coordinators().lock().get(&(of, key.to_owned())).copied();
        let id = match known {
            Some(id) => id,
            None => self.find(of, key).await?,
        };
        if !self.metadata().brokers.contains_key(&id) {
            self.refresh([]).await?;
        }
        Ok(id)
    }

    pub(crate) fn forget_coordinator(&self, group: &str) {
        self.forget(CoordinatorOf::Group, group);
    }

    fn forget(&self, of: CoordinatorOf, key: &str) {
        self.coordinators().lock().remove(&(of, key.to_owned()));
    }

    async fn find(&self, of: CoordinatorOf, key: &str) -> Result<BrokerId> {
        let connection = self.any_broker().await?;
        let version = connection.version_of::<FindCoordinatorRequest>()?;
        let mut request = FindCoordinatorRequest { key_type: of.to_wire(), ..Default::default() };
        if version >= VERSION_WITH_MANY_KEYS {
            request.coordinator_keys = vec![key.to_owned()];
        } else {
            request.key = key.to_owned();
        }
        let answer = connection.send(version, &request).await?;
        let (code, message, node) = match answer.coordinators.into_iter().next() {
            Some(found) => (found.error_code, found.error_message, found.node_id),
            None => (answer.error_code, answer.error_message, answer.node_id),
        };
        match (ErrorCode::from_code(code), BrokerId::from_wire(node)) {
            (ErrorCode::None, Some(id)) => {
                self.coordinators().lock().insert((of, key.to_owned()), id);
                Ok(id)
            }
            (ErrorCode::None, None) => {
                Err(Error::malformed("the answer to FindCoordinator", "no broker in it"))
            }
            (code, _) => Err(Error::kafka(code, format!("coordinator of {}", of.name(key)), message)),
        }
    }
}

/// Whether the coordinator may be another broker by now.
fn points_elsewhere(error: &Error) -> bool {
    match error.code() {
        Some(code) => matches!(code, ErrorCode::NotCoordinator | ErrorCode::CoordinatorNotAvailable),
        None => error.is_retriable(),
    }
}
