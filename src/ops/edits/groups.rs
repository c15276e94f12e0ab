//! Edits of a group: its members, and that it is there at all.

use crate::mail::Address;
use crate::policy::edit::{Draft, Entry, Said};
use crate::policy::table::{Group, RoutingTable};

use super::{Unfit, mentions, near};

pub(super) fn add(
    draft: &mut Draft,
    table: &RoutingTable,
    address: &Address,
    members: &[Address],
) -> Result<(), Unfit> {
    if table.group(address).is_some() {
        return Err(Unfit::GroupExists(address.clone()));
    }
    let mut group = draft.add_group(address).ok_or(Unfit::Unusual("group"))?;
    let members = members.iter().map(ToString::to_string).collect();
    group.set("members", &Said::List(members));
    Ok(())
}

pub(super) fn remove(
    draft: &mut Draft,
    table: &RoutingTable,
    address: &Address,
    with_mentions: bool,
) -> Result<(), Unfit> {
    known(table, address)?;
    let found = mentions::of_group(table, address);
    if with_mentions {
        mentions::take_out_members(draft, |it| it == address);
    } else if !found.is_empty() {
        return Err(Unfit::Mentioned(format!("group {address}"), found));
    }
    draft.remove_group(address);
    Ok(())
}

pub(super) fn join(
    draft: &mut Draft,
    table: &RoutingTable,
    address: &Address,
    members: &[Address],
) -> Result<(), Unfit> {
    let group = known(table, address)?;
    let mut entry = entry_of(draft, address)?;
    let mut listed = entry.list("members").unwrap_or_default();
    let new = members.iter().filter(|it| !group.members.contains(it));
    listed.extend(new.map(ToString::to_string));
    entry.set("members", &Said::List(listed));
    Ok(())
}

pub(super) fn leave(
    draft: &mut Draft,
    table: &RoutingTable,
    address: &Address,
    members: &[Address],
) -> Result<(), Unfit> {
    let group = known(table, address)?;
    for member in members {
        if !group.members.contains(member) {
            let listed: Vec<String> = group.members.iter().map(ToString::to_string).collect();
            let near = near(&member.to_string(), &listed);
            return Err(Unfit::NoMember(address.clone(), member.clone(), near));
        }
    }
    let mut entry = entry_of(draft, address)?;
    mentions::keep(&mut entry, "members", |it| {
        !Address::parse(it).is_ok_and(|it| members.contains(&it))
    });
    Ok(())
}

fn known<'t>(table: &'t RoutingTable, address: &Address) -> Result<&'t Group, Unfit> {
    table.group(address).ok_or_else(|| {
        let groups = table.groups().into_iter();
        let known: Vec<String> = groups.map(|it| it.address.to_string()).collect();
        Unfit::NoGroup(address.clone(), near(&address.to_string(), &known))
    })
}

fn entry_of<'d>(draft: &'d mut Draft, address: &Address) -> Result<Entry<'d>, Unfit> {
    draft.group_mut(address).ok_or(Unfit::Unusual("group"))
}
