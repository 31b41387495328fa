//! Who is told of a write that failed behind everyone's back, as Linux decides it (`errseq_t`): a sync tells
//! each handle once of what failed since it was opened, and a new handle of what nobody was told of yet.

/// Of one file, or of the whole file system.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Errors {
    count: u64,
    was_told: bool,
}

/// What the owner of a handle knows.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Told(u64);

impl Errors {
    pub(super) fn add(&mut self) {
        *self = Self { count: self.count + 1, was_told: false };
    }

    pub(super) fn open(&self) -> Told {
        Told(self.count.saturating_sub(u64::from(!self.was_told)))
    }

    /// True when the handle's sync has something to tell.
    pub(super) fn tell(&mut self, told: &mut Told) -> bool {
        let is_news = told.0 < self.count;
        told.0 = self.count;
        self.was_told |= is_news;
        is_news
    }

    /// Nobody will ask any more.
    pub(super) fn settle(&mut self) {
        self.was_told = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_handle_is_told_once_and_a_new_one_of_what_nobody_knows() {
        let mut errors = Errors::default();
        let (mut first, mut second) = (errors.open(), errors.open());
        assert!(!errors.tell(&mut first));
        errors.add();
        let mut unaware = errors.open();
        assert!(errors.tell(&mut first) && !errors.tell(&mut first));
        let mut late = errors.open();
        assert!(errors.tell(&mut second) && errors.tell(&mut unaware) && !errors.tell(&mut late));
    }
}
