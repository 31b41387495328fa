//! Topics come and go with each run.

use std::time::Duration;

use anyhow::{Result, anyhow};
use rdkafka::{
    ClientConfig,
    admin::{AdminClient, AdminOptions, NewTopic, TopicReplication},
    client::DefaultClientContext,
};

pub(crate) struct Topics {
    admin: AdminClient<DefaultClientContext>,
}

impl Topics {
    pub(crate) fn of(bootstrap: &str) -> Result<Self> {
        Ok(Self { admin: ClientConfig::new().set("bootstrap.servers", bootstrap).create()? })
    }

    pub(crate) fn create(&self, name: &str, partitions: i32) -> Result<()> {
        let topic = NewTopic::new(name, partitions, TopicReplication::Fixed(1));
        let created = pollster::block_on(self.admin.create_topics([&topic], &options()))?;
        created.into_iter().try_for_each(|one| match one {
            Ok(_) => Ok(()),
            Err((name, code)) => Err(anyhow!("topic {name} cannot be created: {code}")),
        })
    }

    pub(crate) fn delete(&self, name: &str) -> Result<()> {
        let deleted = pollster::block_on(self.admin.delete_topics(&[name], &options()))?;
        deleted.into_iter().try_for_each(|one| match one {
            Ok(_) => Ok(()),
            Err((name, code)) => Err(anyhow!("topic {name} cannot be deleted: {code}")),
        })
    }
}

fn options() -> AdminOptions {
    AdminOptions::new().operation_timeout(Some(Duration::from_secs(30)))
}
