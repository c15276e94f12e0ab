//! What is kept of a message where no subjects are: everything but its subject and the names of its files.
//!
//! Pure. What is about to be written passes here, whoever writes it: a message, what became of it, a refusal.
//! In the place of a name stands a mask; what a hop, an engine or we say of a message is kept without those
//! names. The message's own bytes are let alone: they are kept for as long as it waits or is in quarantine. What
//! is not known here cannot be taken out: a hop that names a file inside of an attachment is believed.

use std::sync::Arc;

use super::store::{Change, NewMessage, ScanStep};
use crate::mail::veil::MASK;
use crate::mail::{Attachment, Details, Event, Facts, Reference, Refusal, Veil};

/// Of a message that is refused for several recipients they are shared.
type Files = Arc<[Attachment]>;

/// A message as it is first written, without its names.
pub(super) fn message(message: &mut NewMessage) {
    let found = message.events.iter().flat_map(|it| &it.details.malware);
    let veil = veil(&message.facts, found);
    for event in &mut message.events {
        event.details = veil.details(&event.details);
    }
    for recipient in &mut message.recipients {
        cover(&veil, &mut recipient.reason);
    }
    message.left_out = message
        .left_out
        .iter()
        .map(|it| refused(&veil, it))
        .collect();
    message.facts.subject = None;
    message.facts.attachments = files(&message.facts.attachments);
}

/// What became of a message, without its names; `known`: what its bytes say, unless they are gone.
pub(super) fn change(change: &mut Change, known: impl Fn(Reference) -> Option<Facts>) {
    change.messages.iter_mut().for_each(message);
    let inside = std::mem::take(&mut change.inside);
    let veil_of = |reference: Reference, details: Option<&Details>| {
        let facts = known(reference);
        let is_known = facts.is_some();
        let mut facts = facts.unwrap_or_default();
        let members = inside.iter().filter(|it| it.0 == reference);
        facts
            .attachments
            .extend(members.flat_map(|it| it.1.clone()));
        let found = details.into_iter().flat_map(|it| &it.malware);
        (veil(&facts, found), is_known)
    };
    for step in &mut change.recipients {
        let reference = step.id.reference;
        let details = step.event.as_ref().map(|it| &it.details);
        let (veil, is_known) = veil_of(reference, details);
        cover(&veil, &mut step.last_reply);
        if let Some(event) = &mut step.event {
            if !is_known {
                step.last_reply = step.last_reply.take().map(|it| code(&it));
                event.details.reply = event.details.reply.take().map(|it| code(&it));
            }
            event.details = veil.details(&event.details);
        }
    }
    for event in &mut change.events {
        let (veil, _) = veil_of(event.reference, Some(&event.details));
        event.details = veil.details(&event.details);
    }
    for caught in &mut change.caught {
        let (veil, _) = veil_of(caught.reference, None);
        caught.malware = veil.finding(&caught.malware);
        caught.reason = veil.finding(&caught.reason);
    }
    for step in &mut change.scans {
        if let ScanStep::Again {
            reference, reason, ..
        } = step
        {
            *reason = veil_of(*reference, None).0.over(reason);
        }
    }
    change.inside = inside
        .iter()
        .map(|(reference, members)| (*reference, files(members)))
        .collect();
}

/// Of which messages something is said in a change: their bytes are to be asked.
pub(super) fn spoken_of(change: &Change) -> Vec<Reference> {
    let steps = change.recipients.iter();
    let says = |event: &Event| {
        let details = &event.details;
        details.reply.is_some()
            || details.reason.is_some()
            || !details.malware.is_empty()
            || !details.marks.is_empty()
            || !details.engines.is_empty()
    };
    let steps = steps.filter(|it| it.last_reply.is_some() || it.event.as_ref().is_some_and(says));
    let mut all: Vec<Reference> = steps.map(|it| it.id.reference).collect();
    let events = change.events.iter().filter(|it| says(it));
    all.extend(events.map(|it| it.reference));
    all.extend(change.caught.iter().map(|it| it.reference));
    all.sort_unstable();
    all.dedup();
    all
}

/// Refusals without names. Those of one message go on sharing its files.
pub(super) fn refusals(refusals: &mut [Refusal]) {
    let mut last: Option<(Files, Files)> = None;
    for refusal in refusals {
        let facts = Facts {
            subject: refusal.subject.take(),
            attachments: refusal.attachments.to_vec(),
            message_id: None,
        };
        let shared = last
            .take()
            .filter(|(it, _)| Arc::ptr_eq(it, &refusal.attachments));
        let masked = shared.map_or_else(|| files(&facts.attachments).into(), |(_, masked)| masked);
        last = Some((Arc::clone(&refusal.attachments), Arc::clone(&masked)));
        let bare = refused(&veil(&facts, refusal.malware.iter()), refusal);
        *refusal = Refusal {
            attachments: masked,
            ..bare
        };
    }
}

fn refused(veil: &Veil, refusal: &Refusal) -> Refusal {
    Refusal {
        subject: None,
        malware: refusal.malware.iter().map(|it| veil.finding(it)).collect(),
        reply: veil.over(&refusal.reply),
        rule: refusal.rule.as_deref().map(|it| veil.over(it)),
        ..refusal.clone()
    }
}

fn veil<'a>(facts: &'a Facts, found: impl Iterator<Item = &'a String>) -> Veil {
    let found = found.map(String::as_str);
    Veil::new(false, facts.subject.as_deref(), &facts.attachments, found)
}

fn cover(veil: &Veil, words: &mut Option<String>) {
    *words = words.take().map(|it| veil.over(&it));
}

fn files(attachments: &[Attachment]) -> Vec<Attachment> {
    let masked = |it: &Attachment| Attachment {
        name: MASK.to_owned(),
        within: it.within.as_ref().map(|_| MASK.to_owned()),
        ..it.clone()
    };
    attachments.iter().map(masked).collect()
}

/// Of what nobody can say any more whether names are in it, the codes alone are kept.
fn code(reply: &str) -> String {
    let is_code =
        |word: &&str| !word.is_empty() && word.bytes().all(|it| it.is_ascii_digit() || it == b'.');
    let mut words: Vec<&str> = reply.split(' ').take(2).take_while(is_code).collect();
    words.push(MASK);
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_what_may_hold_names_the_codes_are_kept() {
        for (reply, kept) in [
            ("250 2.0.0 Ok: queued as 4Xyz", "250 2.0.0 •••"),
            ("550 no", "550 •••"),
            ("no connection to 10.1.0.5:25", "•••"),
            ("", "•••"),
        ] {
            assert_eq!(code(reply), kept, "{reply}");
        }
    }
}
