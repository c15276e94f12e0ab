//! `ilbud route explain`: one decision, told to a person.

use std::sync::Arc;

use clap::Args;
use serde::Serialize;

use super::none_yet;
use crate::cli::{Failure, print};
use crate::config::Settings;
use crate::mail::Timestamp;
use crate::ops::explain::{self, Hop, Manner, Server};
use crate::ops::routes;
use crate::ops::when::When;
use crate::policy::decide::{self, Explanation};
use crate::policy::table::NextHop;
use crate::spool::store::Store;

#[derive(Debug, Args)]
pub(in crate::cli) struct Question {
    from: String,
    to: String,
    /// The client's address, the user that it logs in as, or a name in its certificate; left out, any workstation of FROM's room
    #[arg(long, value_name = "IP or NAME")]
    client: Option<String>,
    /// As it would be then, by the redirects of the table: 07:00 (the next), 2h (from now), or a date and time
    #[arg(long, value_name = "TIME", value_parser = When::parse)]
    at: Option<When>,
    /// Ask each next hop whether it would take mail: connect, EHLO, TLS, QUIT. No mail is offered, and nobody logs in
    #[arg(long)]
    probe: bool,
    #[arg(long)]
    json: bool,
}

/// A line of the listing.
#[derive(Serialize)]
struct Told<'a> {
    #[serde(flatten)]
    explanation: &'a Explanation,
    hops: Vec<&'a Hop>,
}

pub(super) async fn run(
    store: &Arc<dyn Store>,
    question: &Question,
    settings: Settings,
) -> Result<(), Failure> {
    let found = routes::readable(store).await?.ok_or_else(none_yet)?;
    let table = settings.in_force(found.table);
    if let Some(fault) = found.trouble {
        let good = table.revision();
        print::complaint(&format!(
            "warning: {fault}: the relay goes by revision {good}, and so does this; {}",
            routes::remedy(good)
        ));
    }
    let client = question.client.as_deref().map(decide::Client::from);
    let now = Timestamp::now();
    let at = question.at.as_ref().map_or(Ok(now), |it| it.after(now));
    let at = at.map_err(Failure::new)?;
    let found = decide::explain(&question.from, &question.to, client.as_ref(), &table, at);
    let mut named: Vec<NextHop> = Vec::new();
    for hop in found.iter().flat_map(|it| &it.hops) {
        if !named.contains(hop) {
            named.push(hop.clone());
        }
    }
    let hops = explain::hops(named, manner(settings), question.probe);
    let hops = hops.await.map_err(Failure::new)?;
    for explanation in &found {
        let of_this = hops
            .iter()
            .filter(|it| explanation.next_hops.contains(&it.hop));
        let told = Told {
            explanation,
            hops: of_this.collect(),
        };
        match question.json {
            true => print::json(&told)?,
            false => tell(&told)?,
        }
    }
    Ok(())
}

fn manner(settings: Settings) -> Manner {
    Manner {
        client_ca: settings.tls.and_then(|it| it.client_ca),
        hostname: settings.hostname,
        resolver: settings.resolver,
        timeouts: settings.delivery.timeouts,
    }
}

fn tell(told: &Told<'_>) -> Result<(), Failure> {
    let it = told.explanation;
    print::line(format_args!(
        "{}: {}",
        it.decision,
        print::harmless(&print::with_local_times(&it.rule))
    ))?;
    print::line(format_args!("  revision   {}", it.revision))?;
    if let Some(room) = &it.recipient_room {
        print::line(format_args!("  room       {room}"))?;
    }
    for step in &it.steps {
        let (word, about) = (step.result.word(), step.about);
        let rule = print::harmless(&print::with_local_times(&step.rule));
        print::line(format_args!("  {word:9}  {about}: {rule}"))?;
    }
    for hop in &told.hops {
        tell_hop(hop)?;
    }
    print::line(format_args!("  reply      {}", print::harmless(&it.reply)))?;
    Ok(())
}

fn tell_hop(hop: &Hop) -> Result<(), Failure> {
    print::line(format_args!("  next hop   {}", print::harmless(&hop.hop)))?;
    for server in &hop.servers {
        tell_server(server)?;
    }
    let shown = hop.servers.iter().any(|it| it.trouble == hop.trouble);
    if let Some(trouble) = hop.trouble.as_ref().filter(|_| !shown) {
        print::line(format_args!("    trouble: {}", print::harmless(trouble)))?;
    }
    match hop.ready {
        Some(true) => print::line(format_args!("    ready: it would take mail now"))?,
        Some(false) => print::line(format_args!(
            "    not ready: mail would wait, or go to another"
        ))?,
        None => {}
    }
    Ok(())
}

fn tell_server(server: &Server) -> Result<(), Failure> {
    let addresses: Vec<String> = server.addresses.iter().map(ToString::to_string).collect();
    let is_name = addresses != [server.host.clone()];
    if is_name && !addresses.is_empty() {
        let host = print::harmless(&server.host);
        print::line(format_args!("    {host} is {}", addresses.join(", ")))?;
    }
    for it in server.steps.iter().flatten() {
        let (step, ms, words) = (it.step, it.ms, print::harmless(&it.words));
        print::line(format_args!("    {step:9} {ms:>5} ms  {words}"))?;
    }
    if let Some(trouble) = &server.trouble {
        print::line(format_args!("    trouble: {}", print::harmless(trouble)))?;
    }
    Ok(())
}
