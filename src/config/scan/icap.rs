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
    let max_size = table.take("max_size").and_then(Value::size);
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
        max_size,
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::document;

    fn read_all(text: &str) -> Result<Settings, Vec<String>> {
        document::read(text, |root, _| read(root))
            .map_err(|mistakes| mistakes.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn every_mistake_is_named() {
        let text = "url = \"http://10.1.0.9/\"\nmethod = \"get\"\nheaders = [\"X Virus\"]\nattachments = 1\nmax_size = \"5\"\nca = \"\"";
        #[rustfmt::skip]
        let mistakes = [
            "line 1: \"url\": must be a URL such as \"icap://10.1.0.9:1344/avscan\"",
            "line 2: \"method\": \"get\" is not known; it is one of respmod, reqmod",
            "line 3: \"headers\": must be the name of a header field, such as \"X-Virus-Name\"",
            "line 4: \"attachments\": must be true or false, this is a whole number",
            "line 5: \"max_size\": must be a size such as \"512 KiB\" or \"25 MiB\"",
        ];
        assert_eq!(read_all(text), Err(mistakes.map(String::from).to_vec()));
        assert_eq!(
            read_all("url = \"icap://a/\"\nca = \"ca.pem\""),
            Err(vec!["line 2: \"ca\": is of use with icaps:// only".into()])
        );
    }

    #[test]
    fn what_is_right_is_taken() {
        let plain = read_all("url = \"icap://a/av\"").unwrap();
        assert_eq!(plain, Settings::at("icap://a/av".parse().unwrap()));
        let text = "url = \"icaps://a/av\"\nca = \"ca.pem\"\nmethod = \"reqmod\"\nheaders = [\"X-Our-Virus\"]\n\
                    attachments = false\nmax_size = \"5 MiB\"";
        let all = read_all(text).unwrap();
        assert_eq!(all.method, Some(Method::Reqmod));
        assert_eq!(all.headers, ["x-our-virus"]);
        assert_eq!((all.attachments, all.max_size), (false, Some(5 << 20)));
        assert_eq!(all.tls.unwrap().voucher, Voucher::Own("ca.pem".into()));
    }
}
