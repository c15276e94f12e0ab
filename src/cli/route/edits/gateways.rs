//! `ilbud route gateway`: what is typed becomes an `Edit`.

use clap::{ArgGroup, Args, Subcommand};

use super::rooms::{Sources, said};
use super::{How, Order};
use crate::ops::edits::Edit;
use crate::policy::edit::Said;

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Gateway {
    /// Let mail from outside in here: to rooms only, and never as one of them
    Add(AddGateway),
    /// Set keys of a gateway; another network, certificate or user takes the place of the old one
    Set(SetGateway),
    /// Take a gateway out of the table
    Remove(RemoveGateway),
}

#[derive(Debug, Args)]
#[command(group(ArgGroup::new("source").required(true).args(["networks", "certificates", "users"])))]
pub(in crate::cli) struct AddGateway {
    name: String,
    #[command(flatten)]
    source: Sources,
    /// The most urgent that mail through it may be
    #[arg(long, value_name = "0…9", value_parser = clap::value_parser!(u8).range(..10))]
    priority_ceiling: Option<u8>,
    #[command(flatten)]
    how: How,
}

#[derive(Debug, Args)]
#[command(override_usage = "ilbud route gateway set NAME [OPTIONS]")]
#[command(group(ArgGroup::new("source").args(["networks", "certificates", "users"])))]
#[command(group(ArgGroup::new("anything").required(true).multiple(true).args([
    "networks", "certificates", "users", "priority_ceiling", "unset",
])))]
pub(in crate::cli) struct SetGateway {
    name: String,
    #[command(flatten)]
    source: Sources,
    /// The most urgent that mail through it may be
    #[arg(long, value_name = "0…9", value_parser = clap::value_parser!(u8).range(..10))]
    priority_ceiling: Option<u8>,
    /// Leave a key out, so that it is as it is unsaid
    #[arg(long, value_name = "KEY", value_parser = ["priority_ceiling"])]
    unset: Vec<String>,
    #[command(flatten)]
    how: How,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct RemoveGateway {
    name: String,
    #[command(flatten)]
    how: How,
}

impl Gateway {
    pub(in crate::cli::route) fn order(&self) -> Order<'_> {
        let ceiling = |it: Option<u8>| said([("priority_ceiling", it.map(Said::Number))]);
        let (edit, how) = match self {
            Self::Add(it) => {
                let keys = ceiling(it.priority_ceiling);
                let sources = it.source.workstations();
                (Edit::AddGateway(it.name.clone(), sources, keys), &it.how)
            }
            Self::Set(it) => {
                let keys = ceiling(it.priority_ceiling);
                let (name, sources) = (it.name.clone(), it.source.workstations());
                let edit = Edit::SetGateway(name, sources, keys, it.unset.clone());
                (edit, &it.how)
            }
            Self::Remove(it) => (Edit::RemoveGateway(it.name.clone()), &it.how),
        };
        Order::new(edit, how)
    }
}
