//! Commands that work on the data folder directly, whether or not a server runs on it.

use super::Settings;
use crate::app;
use crate::ports::{DeviceStore, User, UserStore};
use anyhow::Context;
use clap::{Args, Subcommand};
use pulsewire_core::ids::{GroupName, UserName};
use pulsewire_core::role::Role;
use pulsewire_core::scope::{DeviceScope, SCOPE_GROUPS_MAX};
use std::io::BufRead;
use std::time::{SystemTime, UNIX_EPOCH};

#[derive(Args)]
pub(super) struct UserCommand {
    #[command(subcommand)]
    action: UserAction,
    #[command(flatten)]
    settings: Settings,
}

#[derive(Subcommand)]
enum UserAction {
    /// Make a user. The password is read from standard input.
    Add {
        name: String,
        /// viewer, operator or admin.
        #[arg(long, default_value = "viewer")]
        role: String,
        /// Device groups that the user may see, separated by commas; all devices if absent.
        #[arg(long, value_delimiter = ',')]
        groups: Option<Vec<String>>,
    },
    /// Set which device groups a user may see; the user's sign-ins end.
    SetGroups {
        name: String,
        /// Names, separated by commas.
        #[arg(long, value_delimiter = ',', required_unless_present = "all", conflicts_with = "all")]
        groups: Option<Vec<String>>,
        /// Every device.
        #[arg(long)]
        all: bool,
    },
    /// List users.
    List,
    /// Replace a password, read from standard input; the user's sign-ins end.
    SetPassword { name: String },
    /// Remove a user.
    Remove { name: String },
}

impl UserCommand {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let users = app::open_meta(&self.settings.read()?)?;
        match self.action {
            UserAction::Add { name, role, groups } => {
                let name = UserName::parse(&name)?;
                let parsed = Role::from_name(&role);
                let role = parsed.with_context(|| format!("role {role:?}; viewer, operator or admin is allowed"))?;
                let hash = app::hash_password(read_password()?).await?;
                let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                let created_us = i64::try_from(since.as_micros()).unwrap_or(i64::MAX);
                let scope = scope(groups)?;
                users.create_user(User { name: name.clone(), role, scope, created_us }, hash).await?;
                println!("user {name} made with role {}", role.name());
            }
            UserAction::List => {
                for user in users.users().await? {
                    let groups = match &user.scope {
                        DeviceScope::All => "every device".to_owned(),
                        DeviceScope::Groups(groups) => {
                            groups.iter().map(GroupName::as_str).collect::<Vec<_>>().join(",")
                        }
                    };
                    println!("{}\t{}\t{groups}", user.name, user.role.name());
                }
            }
            UserAction::SetPassword { name } => {
                let name = UserName::parse(&name)?;
                let hash = app::hash_password(read_password()?).await?;
                users.update_user(&name, None, None, Some(hash), None).await?;
                println!("password of {name} replaced");
            }
            UserAction::SetGroups { name, groups, all: _ } => {
                let name = UserName::parse(&name)?;
                users.update_user(&name, None, Some(scope(groups)?), None, None).await?;
                println!("groups of {name} set");
            }
            UserAction::Remove { name } => {
                let name = UserName::parse(&name)?;
                users.delete_user(&name).await?;
                println!("user {name} removed");
            }
        }
        Ok(())
    }
}

fn scope(groups: Option<Vec<String>>) -> anyhow::Result<DeviceScope> {
    let Some(names) = groups else { return Ok(DeviceScope::All) };
    if names.len() > SCOPE_GROUPS_MAX {
        anyhow::bail!("{} groups are given; at most {SCOPE_GROUPS_MAX} are allowed", names.len());
    }
    let groups = names.iter().map(|name| GroupName::parse(name)).collect::<Result<_, _>>()?;
    Ok(DeviceScope::Groups(groups))
}

fn read_password() -> anyhow::Result<String> {
    if std::io::IsTerminal::is_terminal(&std::io::stdin()) {
        eprintln!("password (it will be visible):");
    }
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line).context("reading the password from standard input")?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

#[derive(Args)]
pub(super) struct DeviceCommand {
    #[command(subcommand)]
    action: DeviceAction,
    #[command(flatten)]
    settings: Settings,
}

#[derive(Subcommand)]
enum DeviceAction {
    /// List devices: id, name, enabled.
    List,
}

impl DeviceCommand {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let DeviceAction::List = self.action;
        for device in app::open_meta(&self.settings.read()?)?.devices().await? {
            let state = if device.enabled { "enabled" } else { "disabled" };
            println!("{}\t{}\t{state}", device.id, device.name);
        }
        Ok(())
    }
}
