//! Flapping: a state that changes too often to be told each time, found by Nagios' weighting.
//!
//! Of the last 21 state samples there are 20 places where the state may have changed. A change weighs the more the newer it
//! is, from 0.8 for the oldest place to 1.2 for the newest, as Nagios' manual has it (its source counts 0.75 to 1.25). The
//! weights of all places add up to 20, so a state that changes with every sample flaps to 100 %. Above 50 % flapping begins,
//! below 25 % it ends; between them nothing changes.

/// Places where the state may have changed: 21 samples have 20 gaps.
pub const CHANGES: u32 = 20;

// Weights as whole numbers: 0.8 + 0.4·x/19 times 95 is 76 + 2x, so that the limits are met exactly, without rounding.
const WEIGHT_OLDEST: u32 = 76;
const WEIGHT_STEP: u32 = 2;
const WEIGHT_ALL: u32 = CHANGES * WEIGHT_OLDEST + WEIGHT_STEP * (CHANGES * (CHANGES - 1) / 2);
const BEGINS_ABOVE: u32 = WEIGHT_ALL / 2;
const ENDS_BELOW: u32 = WEIGHT_ALL / 4;

const HISTORY: u32 = (1 << CHANGES) - 1;
const FLAPPING: u32 = 1 << 31;

/// What a sample did to the flapping.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FlapEdge {
    /// The state flaps from now on.
    Began,
    /// It does not any more.
    Ended,
}

/// Which of the last samples changed the state, and whether it flaps. Four bytes; all zero is "never changed".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, wincode::SchemaRead, wincode::SchemaWrite)]
pub struct Flapping(u32);

impl Flapping {
    /// As stored by [`bits`](Self::bits). Bits without a meaning are dropped.
    pub fn from_bits(bits: u32) -> Self {
        Self(bits & (HISTORY | FLAPPING))
    }

    /// For the store: bit 0 is the newest change, bit 19 the oldest, bit 31 "flaps".
    pub fn bits(self) -> u32 {
        self.0
    }

    /// True between [`FlapEdge::Began`] and [`FlapEdge::Ended`].
    pub fn flaps(self) -> bool {
        self.0 & FLAPPING != 0
    }

    /// The weighted share of changes, 0 to 1, for people.
    pub fn share(self) -> f64 {
        f64::from(self.weight()) / f64::from(WEIGHT_ALL)
    }

    /// Takes a state sample: one judged value, or one passing of a no-data deadline. `changed`: its state is another than that
    /// of the sample before. The first sample of all changed nothing. A steady state costs one comparison.
    pub fn sample(&mut self, changed: bool) -> Option<FlapEdge> {
        if self.0 == 0 && !changed {
            return None;
        }
        let flapped = self.flaps();
        self.0 = (self.0 << 1 & HISTORY) | u32::from(changed);
        let weight = self.weight();
        let flaps = if flapped { weight >= ENDS_BELOW } else { weight > BEGINS_ABOVE };
        if flaps {
            self.0 |= FLAPPING;
        }
        match (flapped, flaps) {
            (false, true) => Some(FlapEdge::Began),
            (true, false) => Some(FlapEdge::Ended),
            _ => None,
        }
    }

    fn weight(self) -> u32 {
        let newest = WEIGHT_OLDEST + WEIGHT_STEP * (CHANGES - 1);
        let mut changes = self.0 & HISTORY;
        let mut weight = 0;
        while changes != 0 {
            weight += newest - WEIGHT_STEP * changes.trailing_zeros();
            changes &= changes - 1;
        }
        weight
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The manual's formula in its own terms: oldest first, floating point.
    fn by_the_manual(changes: &[bool]) -> f64 {
        let mut last = [false; 20];
        for (place, changed) in last.iter_mut().rev().zip(changes.iter().rev()) {
            *place = *changed;
        }
        let weight = |place: usize| 0.8 + 0.4 * place as f64 / 19.0;
        last.iter().enumerate().filter(|(_, changed)| **changed).map(|(place, _)| weight(place)).sum::<f64>() / 20.0
    }

    fn run(changes: impl IntoIterator<Item = bool>) -> (Flapping, Vec<(usize, FlapEdge)>) {
        let mut flapping = Flapping::default();
        let edges = changes.into_iter().enumerate();
        let edges = edges.filter_map(|(i, changed)| flapping.sample(changed).map(|edge| (i, edge))).collect();
        (flapping, edges)
    }

    #[test]
    fn the_weights_add_up_to_all_changes_and_no_float_is_needed() {
        assert_eq!(WEIGHT_ALL, 1900);
        assert_eq!((BEGINS_ABOVE, ENDS_BELOW), (950, 475));
        assert!((run([true; 20]).0.share() - 1.0).abs() < 1e-12);
        assert_eq!(size_of::<Flapping>(), 4);
    }

    #[test]
    fn a_state_that_changes_with_every_sample_flaps_from_the_ninth_change_on_and_calms_down() {
        // Nine newest changes weigh 9 · 114 − 2 · 36 = 954 > 950; eight weigh 856.
        let (flapping, edges) = run([true; 9]);
        assert_eq!(edges, [(8, FlapEdge::Began)]);
        assert!(flapping.flaps());
        let (_, edges) = run([true; 20].into_iter().chain([false; 20]));
        let FlapEdge::Ended = edges[1].1 else { panic!("{edges:?}") };
        assert_eq!(edges.len(), 2);
        // 20 changes then n quiet samples: what is left are the 20 − n oldest places, (20 − n)(76 + 19 − n); below 475 at 14: 486
        // is not, at 15: 5 · 80 = 400 is.
        assert_eq!(edges[1].0, 20 + 14);
    }

    #[test]
    fn exactly_half_does_not_begin() {
        let place = |places: &[u32]| places.iter().fold(0, |bits, p| bits | 1 << p);
        // Pairs of places that are 19 apart weigh 190; five pairs are 950, exactly half. Shifted in from one place before.
        let half = place(&[0, 19, 1, 18, 2, 17, 3, 16, 4, 15]);
        assert_eq!(Flapping::from_bits(half).weight(), BEGINS_ABOVE);
        let mut before = Flapping::from_bits(half >> 1);
        assert_eq!(before.sample(true), None, "50 % is not above 50 %");
        let mut above = Flapping::from_bits(half >> 1 | 1 << 7);
        assert_eq!(above.sample(true), Some(FlapEdge::Began));
    }

    #[test]
    fn flapping_ends_below_a_quarter() {
        // All weights are even and a quarter is 475: 476 goes on, 474 does not.
        let flapping = |places: &[u32]| Flapping::from_bits(places.iter().fold(FLAPPING, |bits, p| bits | 1 << p));
        let mut goes_on = flapping(&[0, 1, 6, 9]);
        goes_on.sample(false);
        assert_eq!(goes_on.weight(), 4 * 112 - 2 * 16);
        assert!(!goes_on.flaps(), "416 is below");
        let mut stays = flapping(&[0, 1, 2, 3, 17]);
        assert_eq!(stays.sample(false), None);
        assert_eq!(stays.weight(), 5 * 112 - 2 * 23);
        assert!(stays.flaps(), "514 is not below");
        let mut just = flapping(&[3, 4, 8, 10, 17]);
        assert_eq!(just.sample(false), None);
        assert_eq!(just.weight(), 476);
        let mut under = flapping(&[3, 4, 9, 10, 17]);
        assert_eq!(under.sample(false), Some(FlapEdge::Ended));
        assert_eq!(under.weight(), 474);
    }

    #[test]
    fn a_rare_change_never_flaps() {
        let (flapping, edges) = run((0..1000).map(|i| i % 5 == 0));
        assert!(edges.is_empty() && !flapping.flaps());
    }

    proptest! {
        #[test]
        fn the_share_is_that_of_the_manual(changes in proptest::collection::vec(any::<bool>(), 0..100)) {
            let (flapping, _) = run(changes.clone());
            prop_assert!((flapping.share() - by_the_manual(&changes)).abs() < 1e-9);
        }

        #[test]
        fn edges_alternate_and_any_state_calms_down(changes in proptest::collection::vec(any::<bool>(), 0..300)) {
            let (mut flapping, edges) = run(changes);
            for (i, (_, edge)) in edges.iter().enumerate() {
                prop_assert_eq!(*edge, if i % 2 == 0 { FlapEdge::Began } else { FlapEdge::Ended });
            }
            prop_assert_eq!(flapping.flaps(), edges.len() % 2 == 1);
            for _ in 0..20 {
                flapping.sample(false);
            }
            prop_assert_eq!(flapping.bits(), 0);
        }

        #[test]
        fn what_is_stored_goes_on_the_same(bits: u32, next in proptest::collection::vec(any::<bool>(), 0..50)) {
            let mut one = Flapping::from_bits(bits);
            let mut other = Flapping::from_bits(one.bits());
            for changed in next {
                prop_assert_eq!(one.sample(changed), other.sample(changed));
            }
        }
    }
}
