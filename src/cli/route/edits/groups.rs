//! `ilbud route group`: what is typed becomes an `Edit`.

use clap::{Args, Subcommand};

use super::{How, Order};
use crate::mail::Address;
use crate::ops::edits::Edit;

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Group {
    /// Make a group of these members
    Add(Members),
    /// Take a group out of the table; refused while it is a member of another
    Remove(RemoveGroup),
    /// Add members to a group
    Join(Members),
    /// Take members out of a group
    Leave(Members),
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Members {
    #[arg(value_parser = address)]
    address: Address,
    /// Mailboxes of rooms, and other groups
    #[arg(value_name = "MEMBER", required = true, value_parser = address)]
    members: Vec<Address>,
    #[command(flatten)]
    how: How,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct RemoveGroup {
    #[arg(value_parser = address)]
    address: Address,
    /// Take it out of other groups, too
    #[arg(long)]
    with_mentions: bool,
    #[command(flatten)]
    how: How,
}

impl Group {
    pub(in crate::cli::route) fn order(&self) -> Order<'_> {
        let (make, it): (fn(_, _) -> _, _) = match self {
            Self::Add(it) => (Edit::AddGroup, it),
            Self::Join(it) => (Edit::Join, it),
            Self::Leave(it) => (Edit::Leave, it),
            Self::Remove(it) => {
                let edit = Edit::RemoveGroup(it.address.clone(), it.with_mentions);
                return Order::new(edit, &it.how);
            }
        };
        let edit = make(it.address.clone(), it.members.clone());
        Order::new(edit, &it.how)
    }
}

fn address(text: &str) -> Result<Address, String> {
    Address::parse(text).map_err(|fault| fault.to_string())
}
