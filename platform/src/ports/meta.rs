use async_trait::async_trait;
use pulsewire_core::device::Device;
use pulsewire_core::ids::{DeviceId, DeviceKey, GroupName, ProfileName, UserName};
use pulsewire_core::role::Role;
use pulsewire_core::scope::DeviceScope;
use pulsewire_core::ulid::Ulid;
use std::collections::BTreeMap;

/// What the server keeps of a device's secret: enough to check a proof, not enough to make one. SPEC §4.3.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct DeviceVerifier {
    /// H(ClientKey).
    pub stored_key: [u8; 32],
    /// Signs the server's answer.
    pub server_key: [u8; 32],
}

/// How a device may prove itself.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The secret in force.
    pub current: DeviceVerifier,
    /// The one before it, and until when it is good (µs since the Unix epoch).
    pub previous: Option<(DeviceVerifier, i64)>,
    /// SHA-256 of its bearer token, if it has one.
    pub token_hash: Option<[u8; 32]>,
}

/// A device to be made.
#[derive(Clone)]
pub struct NewDevice {
    /// Its id.
    pub id: DeviceId,
    /// Display name.
    pub name: String,
    /// Labels.
    pub tags: BTreeMap<String, String>,
    /// Group.
    pub group: Option<GroupName>,
    /// Profile.
    pub profile: Option<ProfileName>,
    /// Its secret's verifier.
    pub verifier: DeviceVerifier,
    /// µs since the Unix epoch.
    pub created_us: i64,
}

/// When a device was last there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceSeen {
    /// Which device.
    pub device: DeviceKey,
    /// µs since the Unix epoch.
    pub last_seen_us: i64,
    /// As it said at login.
    pub firmware: String,
}

/// A person or script that signs in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Its name.
    pub name: UserName,
    /// What it may do.
    pub role: Role,
    /// Which devices it may see.
    pub scope: DeviceScope,
    /// µs since the Unix epoch.
    pub created_us: i64,
}

impl User {
    /// True if it may do and see the same as it might then.
    pub fn has_rights_of(&self, then: &Self) -> bool {
        (self.role, &self.scope) == (then.role, &then.scope)
    }
}

/// A sign-in. The token itself is not stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionRecord {
    /// Who.
    pub user: User,
    /// SHA-256 of the token.
    pub token_hash: [u8; 32],
    /// µs since the Unix epoch.
    pub expires_us: i64,
    /// If it is a token for programs; `expires_us` is then `i64::MAX` for one that never ends.
    pub token: Option<TokenUse>,
}

/// The token by which a program signed in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenUse {
    /// Which one.
    pub id: Ulid,
    /// When it was last used, to the minute.
    pub used_us: Option<i64>,
}

/// One variant per reaction.
#[derive(Debug, thiserror::Error)]
pub enum MetaError {
    /// The name is taken.
    #[error("{what} {name:?} exists already")]
    Exists {
        /// `device` or `user`.
        what: &'static str,
        /// Its name.
        name: String,
    },
    /// There is no such thing (any more).
    #[error("there is no {what} {name:?}")]
    Missing {
        /// `device` or `user`.
        what: &'static str,
        /// Its name.
        name: String,
    },
    /// An admin sees every device.
    #[error("user {0} is an admin, who sees every device: set groups to null, or give another role")]
    RestrictedAdmin(UserName),
    /// The last admin would be gone.
    #[error("user {0} is the last admin; make another one first")]
    LastAdmin(UserName),
    /// The store could not do it.
    #[error("accessing the store")]
    Failed(#[source] anyhow::Error),
}

/// Devices and their credentials.
#[async_trait]
pub trait DeviceStore: Send + Sync {
    /// Every device.
    async fn devices(&self) -> Result<Vec<Device>, MetaError>;
    /// Makes a device. `Exists` if its id is taken.
    async fn create_device(&self, new: NewDevice) -> Result<Device, MetaError>;
    /// Writes name, tags, group, profile and enabled.
    async fn update_device(&self, device: Device) -> Result<(), MetaError>;
    /// The same for many, in one transaction. Those that do not exist any more are passed over.
    async fn update_devices(&self, devices: Vec<Device>) -> Result<(), MetaError>;
    /// Removes many devices in one transaction. Those that do not exist any more are passed over.
    async fn delete_devices(&self, devices: Vec<DeviceKey>) -> Result<(), MetaError>;
    /// Removes a device. Its key is not used again.
    async fn delete_device(&self, device: DeviceKey) -> Result<(), MetaError>;
    /// How the device proves itself; `None` if it does not exist.
    async fn credentials(&self, device: DeviceKey) -> Result<Option<Credentials>, MetaError>;
    /// Replaces the secret. The one in force becomes the previous one until `previous_until_us`, if given.
    async fn replace_secret(
        &self,
        device: DeviceKey,
        verifier: DeviceVerifier,
        previous_until_us: Option<i64>,
    ) -> Result<(), MetaError>;
    /// Sets the bearer token's hash.
    async fn set_token(&self, device: DeviceKey, hash: [u8; 32]) -> Result<(), MetaError>;
    /// Records when devices were last there, in one transaction.
    async fn devices_seen(&self, seen: Vec<DeviceSeen>) -> Result<(), MetaError>;
    /// Counts the starts of this store; each answer is greater than every one before.
    async fn next_boot(&self) -> Result<u32, MetaError>;
}

/// Users and their sign-ins.
#[async_trait]
pub trait UserStore: Send + Sync {
    /// Every user, by name.
    async fn users(&self) -> Result<Vec<User>, MetaError>;
    /// A user with its password hash (PHC string); `None` if it does not exist.
    async fn user(&self, name: &UserName) -> Result<Option<(User, String)>, MetaError>;
    /// Makes a user. `Exists` if the name is taken.
    async fn create_user(&self, user: User, password_hash: String) -> Result<(), MetaError>;
    /// Changes role, scope or password and ends the user's sign-ins but for `keep`, in one transaction; `LastAdmin` if no admin
    /// would be left, `RestrictedAdmin` for one who would not see everything.
    async fn update_user(
        &self,
        name: &UserName,
        role: Option<Role>,
        scope: Option<DeviceScope>,
        password_hash: Option<String>,
        keep: Option<[u8; 32]>,
    ) -> Result<User, MetaError>;
    /// Removes a user and its sign-ins; `LastAdmin` if no admin would be left.
    async fn delete_user(&self, name: &UserName) -> Result<(), MetaError>;
    /// Stores a sign-in; of more than `per_user_max` of one user the ones that end first are dropped.
    async fn create_session(&self, session: SessionRecord, per_user_max: usize) -> Result<(), MetaError>;
    /// The sign-in, or the token for programs, with this hash that is still good at `now_us`.
    async fn session(&self, token_hash: [u8; 32], now_us: i64) -> Result<Option<SessionRecord>, MetaError>;
    /// Ends one sign-in.
    async fn delete_session(&self, token_hash: [u8; 32]) -> Result<(), MetaError>;
    /// Removes sign-ins that ended before `now_us`.
    async fn prune_sessions(&self, now_us: i64) -> Result<(), MetaError>;
}
