//! What is sought, as the command line has it: words for the box, and fields by their flags.

use std::fmt::Display;
use std::net::IpAddr;

use clap::Args;

use super::moment;
use crate::mail::{Timestamp, veil};
use crate::ops;
use crate::spool::store::Search;

/// What is sought.
#[derive(Debug, Args)]
pub(in crate::cli) struct Asked {
    /// What the caller says: reference, address, room, status, "i går 14-15", file, fra:A til:B emne:T, other words
    pub(super) words: Vec<String>,
    /// Sender, or part of it
    #[arg(long, value_name = "A")]
    sender: Option<String>,
    /// Recipient, or part of it
    #[arg(long, value_name = "A")]
    recipient: Option<String>,
    /// Sender or recipient, or part of either
    #[arg(long, value_name = "A")]
    address: Option<String>,
    /// Sent from or to this room
    #[arg(long, value_name = "ID")]
    pub(super) room: Option<String>,
    /// queued, deferred, held, delivered, failed, cancelled, refused …
    #[arg(long, value_name = "S", value_parser = ops::log::status)]
    status: Option<String>,
    /// Words of the subject
    #[arg(long, value_name = "T")]
    subject: Option<String>,
    /// Name of an attachment or part of it, or its SHA-256
    #[arg(long, value_name = "NAME or SHA256")]
    attachment: Option<String>,
    #[arg(long, value_name = "M")]
    message_id: Option<String>,
    /// The client's address
    #[arg(long, value_name = "IP")]
    client: Option<IpAddr>,
    /// What the next hop answered, or why it was refused: words of it, as they stand there
    #[arg(long, value_name = "T")]
    reply: Option<String>,
    /// Not before: 2h (ago), 2026-11-22, "2026-11-22 14:00", RFC 3339
    #[arg(long, value_name = "T", value_parser = moment)]
    since: Option<Timestamp>,
    /// Not after
    #[arg(long, value_name = "T", value_parser = moment)]
    until: Option<Timestamp>,
}

impl Asked {
    /// Whether anything but words narrows it.
    pub(super) fn has_flags(&self) -> bool {
        !self.flags().typed.is_empty()
    }

    /// What the box says, and each field that is named with its flag.
    pub(super) fn with(&self, boxed: Search) -> Search {
        self.narrowing(boxed).search
    }

    /// As it was typed; moments as they were understood. Where no subjects are kept, those that are sought are not
    /// either.
    pub(super) fn typed(&self, keep_subjects: bool) -> String {
        let words = match keep_subjects {
            true => self.words.clone(),
            false => ops::search::without_names(&self.words.join(" ")),
        };
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let mut typed = self.flags().typed;
        for (name, value) in &mut typed {
            if !keep_subjects && NAMES.contains(name) {
                *value = veil::MASK.to_owned();
            }
        }
        ops::privacy::access::typed(&words, &typed)
    }

    fn flags(&self) -> Flags {
        self.narrowing(Search::default())
    }

    /// The list of all fields: how each is called, and what it sets.
    fn narrowing(&self, search: Search) -> Flags {
        let address = |it: &String| Some(ops::log::address(it));
        let mut flags = Flags {
            search,
            typed: Vec::new(),
        };
        let text = String::clone;
        flags.take("sender", &self.sender, |to, it| to.sender = address(it));
        flags.take("recipient", &self.recipient, |to, it| {
            to.recipient = address(it)
        });
        flags.take("address", &self.address, |to, it| to.address = address(it));
        flags.take("room", &self.room, |to, it| to.room = Some(text(it)));
        flags.take("status", &self.status, |to, it| to.status = Some(text(it)));
        flags.take(SUBJECT, &self.subject, |to, it| to.subject = Some(text(it)));
        flags.take(ATTACHMENT, &self.attachment, |to, it| {
            to.attachment = Some(text(it))
        });
        flags.take("message-id", &self.message_id, |to, it| {
            to.message_id = Some(ops::log::bare(it))
        });
        flags.take("client", &self.client, |to, it| {
            to.client = Some(it.to_string())
        });
        flags.take("reply", &self.reply, |to, it| to.reply = Some(text(it)));
        flags.take("since", &self.since, |to, it| to.since = Some(*it));
        flags.take("until", &self.until, |to, it| to.until = Some(*it));
        flags
    }
}

const SUBJECT: &str = "subject";
const ATTACHMENT: &str = "attachment";
/// What nobody keeps where no subjects are kept.
const NAMES: [&str; 2] = [SUBJECT, ATTACHMENT];

/// The fields that are named with their flags.
struct Flags {
    search: Search,
    /// As they were typed, in the order of the list.
    typed: Vec<(&'static str, String)>,
}

impl Flags {
    fn take<T: Display>(
        &mut self,
        name: &'static str,
        value: &Option<T>,
        set: impl FnOnce(&mut Search, &T),
    ) {
        if let Some(value) = value {
            set(&mut self.search, value);
            self.typed.push((name, value.to_string()));
        }
    }
}
