//! `ilbud scan`: exceptions from scanning.

use std::sync::Arc;
use std::time::Duration;

use clap::Subcommand;

use super::{Failure, operator, outbreak as measures, print};
use crate::mail::Timestamp;
use crate::mail::measure::{Aim, Scope};
use crate::ops::outbreak::{self, Kind, Order};
use crate::spool::store::Store;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// For a while: deliver what cannot be scanned
    #[command(subcommand)]
    Exception(Exception),
}

#[derive(Debug, Subcommand)]
pub(super) enum Exception {
    /// From now on, what cannot be scanned is delivered, with a mark on it
    Open {
        /// It ends by itself, a day from now at most: 30m, 2h
        #[arg(long = "for", value_name = "TIME", value_parser = outbreak::exception_time)]
        length: Duration,
        /// Why, for the list and the log
        #[arg(long, value_name = "TEXT", value_parser = outbreak::reason)]
        reason: String,
        /// Only messages without attachments; so it is unless --everything is said
        #[arg(long)]
        text: bool,
        /// Messages with attachments too
        #[arg(long, conflicts_with = "text")]
        everything: bool,
    },
    /// End it before its time
    Close {
        /// All that are open, where none is named
        #[arg(value_name = "NUMBER")]
        numbers: Vec<u64>,
    },
    /// What is open, by whom and why
    List {
        /// What has ended too
        #[arg(long)]
        all: bool,
        #[arg(long)]
        json: bool,
    },
}

pub(super) async fn run(command: &Command, store: Arc<dyn Store>) -> Result<(), Failure> {
    let Command::Exception(exception) = command;
    match exception {
        Exception::Open {
            length,
            reason,
            text: _,
            everything,
        } => {
            let scope = match everything {
                true => Scope::Everything,
                false => Scope::Text,
            };
            open(&store, scope, *length, reason).await
        }
        Exception::Close { numbers } if numbers.is_empty() => close_all(&store).await,
        Exception::Close { numbers } => measures::end(&store, Kind::Exception, numbers).await,
        Exception::List { all, json } => measures::list(&store, Kind::Exception, *all, *json).await,
    }
}

async fn open(
    store: &Arc<dyn Store>,
    scope: Scope,
    length: Duration,
    reason: &str,
) -> Result<(), Failure> {
    let order = Order {
        aim: Aim::Exception(scope),
        by: operator(),
        reason: Some(reason.to_owned()),
        length,
    };
    let measure = outbreak::open(store, order, Timestamp::now()).await?;
    let line = measures::in_force(&measure);
    Ok(print::line(format_args!("{line}"))?)
}

async fn close_all(store: &Arc<dyn Store>) -> Result<(), Failure> {
    let ended = outbreak::end_exceptions(store, &operator(), Timestamp::now()).await?;
    for measure in ended {
        print::line(format_args!("{}", measures::ended(&measure)))?;
    }
    Ok(())
}
