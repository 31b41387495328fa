//! Finding the broker that looks after a group, and asking it again when it has moved or is not ready.

use std::{collections::HashMap, future::Future};

use millstream_protocol::messages::FindCoordinatorRequest;
use millstream_types::{BrokerId, ErrorCode};

use crate::{Client, Connection, Error, Result};

/// Where each group's coordinator was last found.
pub(crate) type Coordinators = HashMap<String, BrokerId>;

const KEY_TYPE_GROUP: i8 = 0;
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
        self.retry(&format!("{what} of group {group}"), || self.at_coordinator(group, &ask)).await
    }

    /// Asks the group's coordinator once.
    pub(crate) async fn at_coordinator<T, F>(&self, group: &str, ask: impl Fn(Connection) -> F) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        let connection = self.coordinator(group).await?;
        let answer = ask(connection).await;
        if answer.as_ref().is_err_and(points_elsewhere) {
            self.forget_coordinator(group);
        }
        answer
    }

    async fn coordinator(&self, group: &str) -> Result<Connection> {
        let id = self.known_coordinator(group).await?;
        self.broker(id).await.inspect_err(|_| self.forget_coordinator(group))
    }

    /// The group's coordinator, whose address the metadata knows.
    pub(crate) async fn known_coordinator(&self, group: &str) -> Result<BrokerId> {
        let known = self.coordinators().lock().get(group).copied();
        let id = match known {
            Some(id) => id,
            None => self.find_coordinator(group).await?,
        };
        if !self.metadata().brokers.contains_key(&id) {
            self.refresh([]).await?;
        }
        Ok(id)
    }

    pub(crate) fn forget_coordinator(&self, group: &str) {
        self.coordinators().lock().remove(group);
    }

    async fn find_coordinator(&self, group: &str) -> Result<BrokerId> {
        let connection = self.any_broker().await?;
        let version = connection.version_of::<FindCoordinatorRequest>()?;
        let mut request = FindCoordinatorRequest { key_type: KEY_TYPE_GROUP, ..Default::default() };
        if version >= VERSION_WITH_MANY_KEYS {
            request.coordinator_keys = vec![group.to_owned()];
        } else {
            request.key = group.to_owned();
        }
        let answer = connection.send(version, &request).await?;
        let (code, message, node) = match answer.coordinators.into_iter().next() {
            Some(found) => (found.error_code, found.error_message, found.node_id),
            None => (answer.error_code, answer.error_message, answer.node_id),
        };
        match (ErrorCode::from_code(code), BrokerId::from_wire(node)) {
            (ErrorCode::None, Some(id)) => {
                self.coordinators().lock().insert(group.to_owned(), id);
                Ok(id)
            }
            (ErrorCode::None, None) => {
                Err(Error::malformed("the answer to FindCoordinator", "no broker in it"))
            }
            (code, _) => Err(Error::kafka(code, format!("coordinator of group {group}"), message)),
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
