//! Producer ids, handed out from blocks that the metadata log has reserved: an id is never given twice,
//! not even after a crash.

use std::sync::Arc;

use millstream_types::ProducerId;
use tokio::sync::Mutex;

use crate::{controller::Controller, error_map::Failure};

#[derive(Default)]
pub(crate) struct ProducerIds {
    /// What is left of the reserved block. Held while the next one is being reserved, so that only one
    /// request does it.
    block: Mutex<std::ops::Range<i64>>,
}

impl ProducerIds {
    pub(crate) async fn next(&self, controller: &Arc<Controller>) -> Result<ProducerId, Failure> {
        let mut block = self.block.lock().await;
        if block.is_empty() {
            *block = controller.reserve_producer_ids().await?;
        }
        let id = block.start;
        block.start += 1;
        Ok(ProducerId(id))
    }
}
