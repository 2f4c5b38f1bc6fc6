//! What views do when devices change.

use super::channel::Selected;
use super::view::View;
use super::{Fanout, Form, ViewId};
use pulsewire_core::catalogue::Catalogue;
use pulsewire_core::device::Device;
use pulsewire_core::directory::Directory;
use pulsewire_core::ids::DeviceKey;
use pulsewire_core::sample::Sample;
use std::sync::Arc;

impl Fanout {
    /// Devices were added or changed: views that come to select them get their series, others lose them. Each view is looked
    /// at once.
    pub fn devices_changed(&mut self, devices: &[DeviceKey], directory: &Directory, catalogue: &Catalogue) {
        let known: Vec<Arc<Device>> = devices.iter().filter_map(|key| directory.by_key(*key).cloned()).collect();
        for number in 0..self.views.len() {
            let Some(view) = &self.views[number] else { continue };
            let id = view.id;
            for (device, wanted) in rejudged(view, &known) {
                // One at a time, so that what a view takes again was idle for no longer than its device needs.
                self.take_away(id, device.key);
                if !wanted {
                    continue;
                }
                if let Some(Some(view)) = self.views.get(number)
                    && let Selected::These(devices) = &mut view.outlet.lock().selected
                    && devices.insert(device.key)
                {
                    self.by_device.entry(device.key).or_default().push(id);
                }
                self.give(id, device, catalogue);
            }
        }
    }

    /// Whether a view has series that it may hear of in records up to `newest`, and that none of its frames up to number `up_to`
    /// defines: whoever was sent these frames lacks the samples of such series. False for a view that is gone.
    pub fn has_unframed(&self, view: ViewId, up_to: u64, newest: u64) -> bool {
        let Some(Some(view)) = self.views.get(view.0 as usize) else { return false };
        let channel = view.outlet.lock();
        let defined = |index: u32| channel.cells.get(index as usize).and_then(Option::as_ref).map(|cell| cell.defined);
        view.inputs
            .iter()
            .flatten()
            .any(|input| input.since <= newest && defined(input.index).is_none_or(|by| by > up_to))
    }

    /// What one who goes on from `position` is owed of the series that came to match since, among those that the view's frames up to
    /// number `up_to` define, when it has read the records up to `newest`. Nothing for a view that is gone.
    pub fn came_since(&self, view: ViewId, position: u64, up_to: u64, newest: u64) -> Came {
        let mut found = Came::default();
        let Some(Some(view)) = self.views.get(view.0 as usize) else { return found };
        let channel = view.outlet.lock();
        let defined = view.inputs.iter().flatten().filter(|input| {
            let cell = channel.cells.get(input.index as usize).and_then(Option::as_ref);
            cell.is_some_and(|cell| cell.defined <= up_to)
        });
        for input in defined {
            let Some(latest) = self.table.get(input.slot) else { continue };
            let came = input.since.max(input.told) > position;
            let known = self.table.positions.get(input.slot as usize).is_some_and(|of| *of <= newest);
            // What the store has is still asked for, or was put in since: the view is given it when it is due.
            if !latest.filled || (came && !known) {
                found.pending.push(input.index);
            }
            if came
                && known
                && let Some(value) = latest.value.clone()
            {
                found.newest.push((input.index, Sample { time_us: latest.time_us, value }));
            }
        }
        found
    }
}

/// What is known of series that came to match, by the view's numbers for them.
#[derive(Debug, Default, PartialEq)]
pub struct Came {
    /// The newest sample of those of which one is known.
    pub newest: Vec<(u32, Sample)>,
    /// Those that the store is still asked about, or was after `newest`: a later frame may bring their newest stored sample.
    pub pending: Vec<u32>,
}

/// Those of these devices for which a view has to do something, and whether it selects them now.
fn rejudged<'a>(view: &View, known: &'a [Arc<Device>]) -> Vec<(&'a Arc<Device>, bool)> {
    let selector = &view.wish.selector;
    let divides = matches!(view.wish.form, Form::Across(..));
    if !divides && selector.takes_every_device() {
        return Vec::new();
    }
    let channel = view.outlet.lock();
    let judged = known.iter().map(|device| (device, selector.takes(device)));
    // What divides devices may have changed although it selects them as before.
    judged.filter(|(device, wanted)| *wanted != channel.selected.has(device.key) || *wanted && divides).collect()
}
