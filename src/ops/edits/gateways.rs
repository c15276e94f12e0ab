//! Edits of a gateway: what it is known by, its ceiling, and that it is there at all.

use crate::policy::edit::{Draft, Entry, Said};
use crate::policy::table::RoutingTable;

use super::rooms::refuse_set_and_unset;
use super::{Keys, Unfit, Workstation, near};

/// Of these an entry has one.
const SOURCES: [&str; 3] = ["network", "certificate", "user"];

pub(super) fn add(
    draft: &mut Draft,
    table: &RoutingTable,
    name: &str,
    sources: &[Workstation],
    keys: &Keys,
) -> Result<(), Unfit> {
    if count(table, name) > 0 {
        return Err(Unfit::GatewayExists(name.to_owned()));
    }
    let gateway = draft.add_gateway(name);
    let mut gateway = gateway.ok_or(Unfit::Unusual("gateway"))?;
    write(&mut gateway, sources, keys);
    Ok(())
}

pub(super) fn set(
    draft: &mut Draft,
    table: &RoutingTable,
    name: &str,
    (sources, keys): (&[Workstation], &Keys),
    unset: &[String],
) -> Result<(), Unfit> {
    match count(table, name) {
        0 => return Err(unknown(table, name)),
        1 => (),
        _ => return Err(Unfit::SeveralGateways(name.to_owned())),
    }
    refuse_set_and_unset(keys, unset)?;
    let gateway = draft.gateway_mut(name);
    let mut gateway = gateway.ok_or(Unfit::Unusual("gateway"))?;
    write(&mut gateway, sources, keys);
    for key in unset {
        gateway.unset(key);
    }
    Ok(())
}

/// Another source takes the place of the one that there is.
fn write(gateway: &mut Entry<'_>, sources: &[Workstation], keys: &Keys) {
    for (key, name) in sources {
        for other in SOURCES.iter().filter(|it| *it != key) {
            gateway.unset(other);
        }
        gateway.set(key, &Said::text(name));
    }
    keys.iter().for_each(|(key, said)| gateway.set(key, said));
}

/// All of that name.
pub(super) fn remove(draft: &mut Draft, table: &RoutingTable, name: &str) -> Result<(), Unfit> {
    match draft.remove_gateways(name) {
        0 => Err(unknown(table, name)),
        _ => Ok(()),
    }
}

fn count(table: &RoutingTable, name: &str) -> usize {
    table.gateways().filter(|it| it.name == name).count()
}

fn unknown(table: &RoutingTable, name: &str) -> Unfit {
    let known: Vec<String> = table.gateways().map(|it| it.name.clone()).collect();
    Unfit::NoGateway(name.to_owned(), near(name, &known))
}
