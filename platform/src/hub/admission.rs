//! How many connections there may be, in all and from one address.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};

/// Why a connection is not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Full {
    /// In all.
    #[error("the server has as many device connections as it may ({0}); try again later")]
    InAll(usize),
    /// From this address.
    #[error(
        "this address has as many device connections as allowed ({0}); close some, or raise device.connections_per_address_max"
    )]
    Address(usize),
}

#[derive(Debug, Default)]
struct Counts {
    all: usize,
    addresses: HashMap<IpAddr, usize>,
}

/// Counts open connections.
#[derive(Debug)]
pub struct Admission {
    all_max: usize,
    address_max: usize,
    counts: Mutex<Counts>,
}

impl Admission {
    /// With these limits.
    pub fn new(all_max: usize, address_max: usize) -> Arc<Self> {
        Arc::new(Self { all_max, address_max, counts: Mutex::default() })
    }

    /// Takes a place, which is free again when the guard is dropped.
    ///
    /// # Errors
    /// [`Full`].
    pub fn enter(self: &Arc<Self>, address: IpAddr) -> Result<Guard, Full> {
        let address = address.to_canonical();
        let mut counts = self.counts.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if counts.all >= self.all_max {
            return Err(Full::InAll(self.all_max));
        }
        let of_address = counts.addresses.entry(address).or_default();
        if *of_address >= self.address_max {
            return Err(Full::Address(self.address_max));
        }
        *of_address += 1;
        counts.all += 1;
        Ok(Guard { admission: self.clone(), address })
    }
}

/// A place taken.
#[derive(Debug)]
pub struct Guard {
    admission: Arc<Admission>,
    address: IpAddr,
}

impl Drop for Guard {
    fn drop(&mut self) {
        let mut counts = self.admission.counts.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        counts.all -= 1;
        if let Some(count) = counts.addresses.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                counts.addresses.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    #[test]
    fn one_address_cannot_take_every_place() {
        let admission = Admission::new(3, 2);
        let (a, b) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
        let first = admission.enter(a).expect("free");
        let _second = admission.enter(IpAddr::V6(Ipv4Addr::new(10, 0, 0, 1).to_ipv6_mapped())).expect("free");
        assert_eq!(admission.enter(a).expect_err("full"), Full::Address(2));
        let _third = admission.enter(b).expect("free");
        assert_eq!(admission.enter(b).expect_err("full"), Full::InAll(3));
        drop(first);
        admission.enter(a).expect("free again");
    }
}
