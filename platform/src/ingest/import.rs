//! Rows of a file on their way into a batch: like backfill, without streams.

use super::check::{self, SeriesOf, Times};
use super::lane::LaneTask;
use super::mailbox::{IngestReply, Mailbox};
use super::report::IncomingBlock;
use super::round::Round;
use pulsewire_core::block::Block;
use pulsewire_core::ids::DeviceKey;
use std::sync::Arc;

/// Most values named that were not stored.
const ITEMS_MAX: usize = 64;

impl LaneTask {
    /// Takes blocks of rows that have no numbers. The account counts their values; they are no reports of the device.
    pub(super) fn take_import(
        &mut self,
        round: &mut Round,
        device: DeviceKey,
        mailbox: &Arc<Mailbox>,
        blocks: Vec<IncomingBlock>,
    ) {
        let (mut stored, mut rejected, mut items) = (0, 0, Vec::new());
        let times = Times { now_us: round.batch.received_us, ahead_max_us: self.options.time_ahead_max_us };
        // Backfill is never late, whatever the newest live row is.
        let newest_us = self.state.newest_us(device);
        for (index, block) in blocks.into_iter().enumerate() {
            let series = self.series_of(round, device, &block.set);
            let account = round.accounting.entry(device).or_default();
            if let SeriesOf::All(set) = &series
                && check::all_storable(&block, times, newest_us).is_some()
            {
                let values = block.rows.count();
                account.received += values;
                account.stored += values;
                stored += values;
                round.batch.blocks.push(Block { set: set.clone(), reports: block.heads, rows: block.rows });
                continue;
            }
            let fresh = vec![true; block.heads.len()];
            let mut checked = check::pick(device, &block, &fresh, &series, times, newest_us);
            checked.account.reports = 0;
            account.add(&checked.account);
            stored += checked.account.stored;
            rejected += checked.account.rejected_in_all();
            for nack in checked.nacks {
                let IngestReply::Nack { items: found, .. } = nack else { continue };
                let room = ITEMS_MAX - items.len();
                items.extend(found.into_iter().take(room).map(|one| (index, one)));
            }
            round.batch.blocks.push(checked.block);
        }
        round.imported(mailbox, IngestReply::Imported { stored, items, rejected });
    }
}
