//! Places of viewers: how many there may be, in all, of one user and from one address.

use super::LiveOptions;
use crate::telemetry::names;
use pulsewire_core::ids::UserName;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::sync::Semaphore;

/// Why a viewer is not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TooManyViewers {
    /// In all.
    #[error("the server has as many live sockets as it may; try again later")]
    InAll,
    /// Of one user.
    #[error("this user has as many live sockets as allowed; close other pages")]
    OfUser,
    /// From one address.
    #[error("this address has as many live sockets as allowed; close other pages")]
    OfAddress,
}

/// What one user has.
#[derive(Debug)]
struct OfUser {
    sockets: usize,
    /// A permit for each subscription that it may still make.
    subscriptions: Arc<Semaphore>,
}

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    users: HashMap<UserName, OfUser>,
    addresses: HashMap<IpAddr, usize>,
}

/// All places.
#[derive(Debug)]
pub struct Seats {
    taken: Mutex<Taken>,
    all_max: usize,
    user_max: usize,
    address_max: usize,
    subscriptions_max: usize,
}

impl Seats {
    /// Nobody is there yet.
    pub fn new(options: &LiveOptions) -> Self {
        Self {
            taken: Mutex::default(),
            all_max: options.viewers_max,
            user_max: options.viewers_per_user_max,
            address_max: options.viewers_per_address_max,
            subscriptions_max: options.subscriptions_per_user_max,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        // The guarded code does not panic; were it poisoned, its content would still be whole.
        self.taken.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// How many are taken.
    pub fn taken(&self) -> usize {
        self.lock().all
    }
}

/// A viewer's place; free again when it is dropped.
#[derive(Debug)]
pub struct Seat {
    seats: Arc<Seats>,
    /// Who.
    pub user: UserName,
    /// From where.
    pub address: Option<IpAddr>,
    /// Of the user: each subscription holds a permit.
    pub subscriptions: Arc<Semaphore>,
}

impl Seat {
    /// Takes one.
    ///
    /// # Errors
    /// [`TooManyViewers`].
    pub fn take(seats: &Arc<Seats>, user: &UserName, address: Option<IpAddr>) -> Result<Self, TooManyViewers> {
        let mut taken = seats.lock();
        if taken.all >= seats.all_max {
            return Err(TooManyViewers::InAll);
        }
        if taken.users.get(user).is_some_and(|of| of.sockets >= seats.user_max) {
            return Err(TooManyViewers::OfUser);
        }
        if address.and_then(|address| taken.addresses.get(&address)).is_some_and(|count| *count >= seats.address_max) {
            return Err(TooManyViewers::OfAddress);
        }
        taken.all += 1;
        let of_user = taken
            .users
            .entry(user.clone())
            .or_insert_with(|| OfUser { sockets: 0, subscriptions: Arc::new(Semaphore::new(seats.subscriptions_max)) });
        of_user.sockets += 1;
        let subscriptions = of_user.subscriptions.clone();
        if let Some(address) = address {
            *taken.addresses.entry(address).or_default() += 1;
        }
        metrics::gauge!(names::VIEWERS).increment(1.0);
        Ok(Self { seats: seats.clone(), user: user.clone(), address, subscriptions })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        metrics::gauge!(names::VIEWERS).decrement(1.0);
        let mut taken = self.seats.lock();
        taken.all = taken.all.saturating_sub(1);
        less(&mut taken.users, self.user.clone(), |of| &mut of.sockets);
        if let Some(address) = self.address {
            less(&mut taken.addresses, address, |count| count);
        }
    }
}

fn less<K: Eq + Hash, V>(counts: &mut HashMap<K, V>, key: K, count: impl Fn(&mut V) -> &mut usize) {
    if let Entry::Occupied(mut entry) = counts.entry(key) {
        *count(entry.get_mut()) -= 1;
        if *count(entry.get_mut()) == 0 {
            entry.remove();
        }
    }
}
