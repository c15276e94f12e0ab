//! `ilbud route redirect`: what is typed becomes an `Edit`.

use clap::{Args, Subcommand};

use super::{How, Order, room};
use crate::mail::RoomId;
use crate::ops::edits::{Edit, Opening};
use crate::ops::when::When;

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Redirect {
    /// Let a room's mail go to another room: legevakt-hamar to amk-oslo until 07:00
    ///
    /// A time is 07:00 (the next one), 2h (from now, or from --from on), or a date and time.
    #[command(
        override_usage = "ilbud route redirect open ROOM to ROOM [from TIME] [until TIME] [OPTIONS]"
    )]
    Open(Box<Open>),
    /// Let a room's mail go to the room itself again
    Close(Close),
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Open {
    /// The room whose mail is to go elsewhere
    #[arg(value_name = "ROOM", value_parser = room)]
    room: RoomId,
    #[arg(value_name = "to", value_parser = ["to"], hide = true, requires = "to_room", required_unless_present = "to")]
    to_word: Option<String>,
    #[arg(value_name = "TO", value_parser = room, hide = true)]
    to_room: Option<RoomId>,
    #[arg(value_name = "from|until", value_parser = ["from", "until"], hide = true, requires = "first_time")]
    first_word: Option<String>,
    #[arg(value_name = "TIME", value_parser = When::parse, hide = true)]
    first_time: Option<When>,
    #[arg(value_name = "until", value_parser = ["until"], hide = true, requires = "second_time")]
    second_word: Option<String>,
    #[arg(value_name = "TIME", value_parser = When::parse, hide = true)]
    second_time: Option<When>,
    /// The room that gets the mail
    #[arg(long, value_name = "ROOM", value_parser = room, conflicts_with = "to_word")]
    to: Option<RoomId>,
    /// Left out: from now on
    #[arg(long, value_name = "TIME", value_parser = When::parse, conflicts_with = "first_word")]
    from: Option<When>,
    /// Left out: until it is closed
    #[arg(long, value_name = "TIME", value_parser = When::parse, conflicts_with = "first_word")]
    until: Option<When>,
    #[command(flatten)]
    how: How,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Close {
    /// Its id
    #[arg(value_name = "ROOM", value_parser = room)]
    room: RoomId,
    /// Those that are not open now, too
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    how: How,
}

impl Open {
    /// The time after a word, or else of the option.
    fn time(&self, word: &str, option: Option<&When>) -> Option<When> {
        let typed = [
            (&self.first_word, &self.first_time),
            (&self.second_word, &self.second_time),
        ];
        let typed = typed
            .into_iter()
            .find(|(it, _)| it.as_deref() == Some(word));
        typed
            .and_then(|(_, time)| time.as_ref())
            .or(option)
            .cloned()
    }

    fn edit(&self) -> Edit {
        let to = self.to_room.as_ref().or(self.to.as_ref());
        Edit::OpenRedirect(Opening {
            room: self.room.clone(),
            to: to.unwrap_or(&self.room).clone(),
            from: self.time("from", self.from.as_ref()),
            until: self.time("until", self.until.as_ref()),
            reason: self.how.change.reason.clone(),
        })
    }
}

impl Redirect {
    pub(in crate::cli::route) fn order(&self) -> Order<'_> {
        let (edit, how) = match self {
            Self::Open(it) => (it.edit(), &it.how),
            Self::Close(it) => (Edit::CloseRedirect(it.room.clone(), it.all), &it.how),
        };
        Order::new(edit, how)
    }
}
