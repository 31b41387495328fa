//! What handling one event has led to, before its records are bytes.

use crate::{RequestToken, group::GroupResponse};

use super::records::GroupRecord;

#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) records: Vec<GroupRecord>,
    pub(crate) splittable: bool,
    pub(crate) responses: Vec<(RequestToken, GroupResponse)>,
}

impl Outcome {
    pub(crate) fn respond(&mut self, token: RequestToken, response: GroupResponse) {
        self.responses.push((token, response));
    }
}
