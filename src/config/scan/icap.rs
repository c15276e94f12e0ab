//! `kind = "icap"`.

use crate::document::{Table, Value};
use crate::scan::icap::place::Place;
use crate::scan::icap::{Method, Settings};
use crate::tls::{Outgoing, Voucher};

/// How many header fields may be named.
const MOST_HEADERS: usize = 32;

const METHODS: [(&str, Method); 2] = [("respmod", Method::Respmod), ("reqmod", Method::Reqmod)];

pub(super) fn read(mut table: Table<'_>) -> Option<Settings> {
    let url = table.require("url");
    let place = url.and_then(|it| it.parse(str::parse::<Place>));
    let method = table.take("method").and_then(|it| it.word(&METHODS));
    let headers = table.take("headers").map(headers);
    let attachments = table.take("attachments").and_then(Value::boolean);
    let authority = table.take("ca");
    let place = place?;
    let is_plain = !place.is_secure;
    if let Some(ca) = authority.as_ref().filter(|_| is_plain) {
        ca.fault("is of use with icaps:// only");
    }
    let voucher = match authority.and_then(Value::filled) {
        Some(file) => Voucher::Own(file.into()),
        None => Voucher::Usual(None),
    };
    Some(Settings {
        tls: place.is_secure.then_some(Outgoing {
            voucher,
            pin: None,
            identity: None,
        }),
        place,
        method,
        headers: headers.unwrap_or_default(),
        attachments: attachments.unwrap_or(true),
    })
}

/// Names of header fields, in lower case.
fn headers(value: Value<'_>) -> Vec<String> {
    let listed = value.list().unwrap_or_default();
    let too_many = listed.get(MOST_HEADERS);
    if let Some(one) = too_many {
        one.fault(format!("must be at most {MOST_HEADERS}"));
    }
    let names = listed.into_iter().filter_map(|it| it.parse(header));
    names.collect()
}

fn header(text: &str) -> Result<String, &'static str> {
    let is_part = |octet: u8| octet.is_ascii_alphanumeric() || b"-_.".contains(&octet);
    match !text.is_empty() && text.bytes().all(is_part) {
        true => Ok(text.to_ascii_lowercase()),
        false => Err("must be the name of a header field, such as \"X-Virus-Name\""),
    }
}
