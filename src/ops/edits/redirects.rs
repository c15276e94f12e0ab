//! Edits of redirects: a room's mail goes elsewhere for a while, and comes back.

use crate::mail::{LocalFault, RoomId, Timestamp};
use crate::policy::edit::{Draft, Said};
use crate::policy::table::{Redirect, RoutingTable};

use super::{Opening, Unfit, no_room};

pub(super) fn open(
    draft: &mut Draft,
    table: &RoutingTable,
    opening: &Opening,
    now: Timestamp,
) -> Result<(), Unfit> {
    for room in [&opening.room, &opening.to] {
        table.room(room).ok_or_else(|| no_room(table, room))?;
    }
    let redirect = opening.at(now).map_err(Unfit::NoMoment)?;
    if let Some(until) = redirect.until.filter(|until| *until <= now) {
        return Err(Unfit::IsOver(until));
    }
    let others = || table.redirects().filter(|it| it.room == opening.room);
    if others().any(|it| *it == redirect) {
        return Ok(());
    }
    if let Some(other) = others().find(|it| it.overlaps(&redirect)) {
        return Err(Unfit::Redirected(other.to_string(), other.room.clone()));
    }
    write(draft, &redirect)
}

impl Opening {
    /// The redirect that comes of it at `now`. Its end is counted from its beginning.
    pub fn at(&self, now: Timestamp) -> Result<Redirect, LocalFault> {
        let from = self.from.as_ref().map(|it| it.after(now)).transpose()?;
        let begin = from.filter(|it| *it > now).unwrap_or(now);
        let until = self.until.as_ref().map(|it| it.after(begin));
        Ok(Redirect {
            room: self.room.clone(),
            to: self.to.clone(),
            from,
            until: until.transpose()?,
            reason: self.reason.clone(),
        })
    }
}

fn write(draft: &mut Draft, redirect: &Redirect) -> Result<(), Unfit> {
    let entry = draft.add_redirect(&redirect.room);
    let mut entry = entry.ok_or(Unfit::Unusual("redirect"))?;
    entry.set("to", &Said::text(redirect.to.as_str()));
    for (key, at) in [("from", redirect.from), ("until", redirect.until)] {
        if let Some(at) = at {
            entry.set(key, &Said::Moment(at));
        }
    }
    if let Some(reason) = &redirect.reason {
        entry.set("reason", &Said::text(reason));
    }
    Ok(())
}

pub(super) fn close(
    draft: &mut Draft,
    table: &RoutingTable,
    room: &RoomId,
    all: bool,
    now: Timestamp,
) -> Result<(), Unfit> {
    table.room(room).ok_or_else(|| no_room(table, room))?;
    let own: Vec<&Redirect> = table.redirects().filter(|it| it.room == *room).collect();
    let is_meant = |it: &&Redirect| all || it.is_open(now);
    if !own.iter().any(is_meant) {
        let others = own.iter().map(ToString::to_string).collect();
        return Err(Unfit::NoneOpen(room.clone(), others));
    }
    for (earlier, _) in own.iter().enumerate().rev().filter(|(_, it)| is_meant(it)) {
        draft.remove_redirect(room, earlier);
    }
    Ok(())
}
