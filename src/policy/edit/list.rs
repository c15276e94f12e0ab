//! A list in a text: items taken out and put in, each with the comment on its line.
//!
//! A comment after the comma is before the next item for the parser, and about the last one for people.

use toml_edit::{Array, Value};

use super::raw;

pub(super) fn texts(array: &Array) -> Vec<String> {
    let texts = array.iter().filter_map(Value::as_str);
    texts.map(str::to_owned).collect()
}

/// Lets a list have these items, in this order. What stays is not written anew.
pub(super) fn change(array: &mut Array, items: &[String]) {
    if texts(array) == items {
        return;
    }
    settle(array);
    for at in (0..array.len()).rev() {
        let text = array.get(at).and_then(Value::as_str);
        if !text.is_some_and(|text| items.iter().any(|it| it == text)) {
            take_out(array, at);
        }
    }
    let known = texts(array);
    for item in items.iter().filter(|it| !known.contains(it)) {
        put_in(array, item);
    }
    if array.len() == items.len() {
        in_order(array, items);
    } else {
        array.clear();
        items.iter().for_each(|item| put_in(array, item));
    }
}

/// What stands between the last item and the end belongs to the list, also without a comma.
fn settle(array: &mut Array) {
    let end = array.trailing().as_str().unwrap_or_default().to_owned();
    let Some(last) = array.iter_mut().last() else {
        return;
    };
    let own = raw(last.decor().suffix());
    last.decor_mut().set_suffix("");
    array.set_trailing(format!("{own}{end}"));
}

fn prefix(array: &Array, at: usize) -> Option<String> {
    let decor = array.get(at)?.decor();
    let unsaid = if at == 0 { "" } else { " " };
    let said = decor.prefix().and_then(|it| it.as_str());
    Some(said.unwrap_or(unsaid).to_owned())
}

/// The end of the line before, and the rest from the line break on.
fn lines(between: &str) -> (&str, &str) {
    between
        .find('\n')
        .and_then(|at| between.split_at_checked(at))
        .unwrap_or((between, ""))
}

fn take_out(array: &mut Array, at: usize) {
    let own = prefix(array, at).unwrap_or_default();
    array.remove(at);
    let next = prefix(array, at);
    let end = array.trailing().as_str().unwrap_or_default();
    let after = next.as_deref().unwrap_or(end);
    let between = match (own.contains('\n'), after.contains('\n')) {
        (_, true) => format!("{}{}", lines(&own).0.trim_end(), lines(after).1),
        (true, false) => own,
        (false, false) if at == 0 && next.is_some() => own,
        (false, false) => after.to_owned(),
    };
    match array.get_mut(at) {
        Some(value) => value.decor_mut().set_prefix(between),
        None => array.set_trailing(between),
    }
}

fn put_in(array: &mut Array, item: &str) {
    let last = array.len().checked_sub(1);
    let indent = last.and_then(|last| prefix(array, last));
    let indent = indent.as_deref().and_then(|it| it.rsplit_once('\n'));
    let indent = indent.map_or("    ", |(_, indent)| indent);
    let end = array.trailing().as_str().unwrap_or_default();
    let (between, end) = match lines(end) {
        (_, "") if last.is_none() => (String::new(), end.to_owned()),
        (_, "") => (" ".to_owned(), end.to_owned()),
        (line, rest) => (format!("{line}\n{indent}"), rest.to_owned()),
    };
    let mut value = Value::from(item);
    value.decor_mut().set_prefix(between);
    value.decor_mut().set_suffix("");
    array.push_formatted(value);
    array.set_trailing(end);
}

fn in_order(array: &mut Array, items: &[String]) {
    for (value, item) in array.iter_mut().zip(items) {
        if value.as_str() != Some(item) {
            let decor = value.decor().clone();
            *value = item.into();
            *value.decor_mut() = decor;
        }
    }
}
