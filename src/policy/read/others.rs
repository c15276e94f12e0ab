//! Groups, gateways and redirects, as they are written.

use std::sync::Arc;

use super::sources::one_source;
use super::{Draft, ceiling};
use crate::document::{Table, Value};
use crate::mail::Address;
use crate::policy::checks::At;
use crate::policy::table::{Gateway, Redirect};

impl Draft {
    pub(super) fn read_group(&mut self, mut entry: Table<'_>) {
        let line = entry.line().unwrap_or(0);
        let address = entry
            .require("address")
            .and_then(|it| self.read_group_address(it));
        let mut members = Vec::new();
        let listed = entry.require("members").and_then(Value::list);
        for item in listed.unwrap_or_default() {
            let line = item.line();
            let value = item.parse(address_text);
            members.extend(value.map(|value| At { line, value }));
        }
        let Some(address) = address else {
            return;
        };
        if members.is_empty() {
            self.warn(
                Some(line),
                format!("group {address} is empty: mail to it is refused"),
            );
        }
        self.group_addresses.push(address);
        let value = members;
        self.groups.push(At { line, value });
    }

    fn read_group_address(&mut self, value: Value<'_>) -> Option<Address> {
        let line = value.line();
        let taken = &self.addresses;
        let address = value.parse(|text| {
            let address = address_text(text)?;
            match taken.get(&address) {
                Some(first) => Err(format!(
                    "{text:?} is already a group on line {first}; put the members in one"
                )),
                None => Ok(address),
            }
        })?;
        self.addresses.insert(address.clone(), line);
        Some(address)
    }

    pub(super) fn read_gateway(&mut self, mut entry: Table<'_>) {
        let line = entry.line().unwrap_or(0);
        let name = entry.require("name").and_then(Value::filled);
        let found = self.read_sources(&mut entry);
        let source = one_source(&entry, found);
        let priority_ceiling = ceiling(&mut entry);
        let (Some(name), Some(source)) = (name, source) else {
            return;
        };
        let value = Arc::new(Gateway {
            name,
            source,
            priority_ceiling,
        });
        self.gateways.push(At { line, value });
    }

    pub(super) fn read_redirect(&mut self, mut entry: Table<'_>) {
        let line = entry.line().unwrap_or(0);
        let room = entry.require("room").and_then(|it| self.mention(it));
        let to = entry.require("to").and_then(|it| self.mention(it));
        let from = entry.take("from").and_then(Value::moment);
        let until = entry.take("until").and_then(Value::moment);
        let reason = entry.take("reason").and_then(Value::filled);
        if let (Some(from), Some(until)) = (from, until)
            && until <= from
        {
            entry.fault("a redirect must end after it begins: \"until\" is not after \"from\"");
        }
        let (Some(room), Some(to)) = (room, to) else {
            return;
        };
        if until.is_none() {
            let text = format!("the redirect of room \"{room}\" has no \"until\": it never ends");
            self.warn(Some(line), text);
        }
        self.redirects.push(At {
            line,
            value: Redirect {
                room,
                to,
                from,
                until,
                reason,
            },
        });
    }
}

fn address_text(text: &str) -> Result<Address, String> {
    Address::parse(text).map_err(|fault| format!("{text:?}: {fault}"))
}
