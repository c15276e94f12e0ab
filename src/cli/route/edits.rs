//! `ilbud route room`, `workstation`, `group`, `gateway` and `redirect`: small edits without a file.
//!
//! What is typed becomes an `Edit`, which `ops::edits` makes. Nothing is decided here.

mod gateways;
mod groups;
mod redirects;
mod rooms;

use std::sync::Arc;

use clap::Args;

pub(in crate::cli) use self::gateways::Gateway;
pub(in crate::cli) use self::groups::Group;
pub(in crate::cli) use self::redirects::Redirect;
pub(in crate::cli) use self::rooms::{Room, Workstation};
use super::change::{self, Change};
use super::plan::{self, Subject};
use crate::cli::Failure;
use crate::config::Settings;
use crate::mail::{RoomId, Timestamp};
use crate::ops::edits::{self, Edit, Unfit};
use crate::ops::routes;
use crate::spool::store::Store;

/// An edit, and how it is to be made.
#[derive(Debug)]
pub(super) struct Order<'a> {
    pub(super) edit: Edit,
    pub(super) how: &'a How,
    /// What is worth knowing of where it came from.
    pub(super) warnings: Vec<String>,
}

impl<'a> Order<'a> {
    const fn new(edit: Edit, how: &'a How) -> Self {
        Self {
            edit,
            how,
            warnings: Vec::new(),
        }
    }
}

/// The options of every small edit.
#[derive(Debug, Clone, Args)]
pub(in crate::cli) struct How {
    /// Show what would change, and whose real mail would fare otherwise; change nothing
    #[arg(long)]
    plan: bool,
    #[command(flatten)]
    change: Change,
}

/// As many days of real mail as a plan asks again.
const DAYS: u32 = 7;

pub(super) async fn run(
    store: &Arc<dyn Store>,
    order: Order<'_>,
    settings: &Settings,
) -> Result<(), Failure> {
    if order.how.plan {
        return show(store, order, settings).await;
    }
    let Order {
        edit,
        how,
        warnings,
    } = order;
    change::edit(store, &edit, warnings, &how.change, settings).await
}

async fn show(
    store: &Arc<dyn Store>,
    order: Order<'_>,
    settings: &Settings,
) -> Result<(), Failure> {
    let (edit, change) = (&order.edit, &order.how.change);
    let now = Timestamp::now();
    let edited = edits::make(store, edit, &settings.surroundings(), now).await?;
    routes::expect(change.expect, edited.base)?;
    let subject = Subject {
        toml: edited.toml,
        source: String::new(),
        warnings: order.warnings,
        command: Some("the same without --plan, and with".to_owned()),
        all: false,
        edit: Some((edit, edited.known)),
    };
    plan::show(store, &subject, DAYS, change.strict, change.json, settings).await?;
    match edit {
        Edit::OpenRedirect(opening) if !change.json => change::tell_opened(opening, now, false),
        _ => Ok(()),
    }
}

impl From<Unfit> for Failure {
    fn from(why: Unfit) -> Self {
        match why.lines() {
            Ok(lines) => Self::of(lines),
            Err(refused) => Self::of_table("", refused),
        }
    }
}

/// Infallible: what no room is called is told with the nearest that one is.
#[allow(clippy::unnecessary_wraps, reason = "clap wants a Result")]
fn room(text: &str) -> Result<RoomId, String> {
    Ok(RoomId::new(text))
}
