//! What `ilbud log search` was given as words, searched for as it is understood.

use std::sync::Arc;

use super::{Asked, Terms};
use crate::cli::{Failure, print};
use crate::mail::timestamp::Zone;
use crate::mail::{Language, Reference, Timestamp};
use crate::ops::inquiry;
use crate::ops::search::{self, Desk, Understood};
use crate::spool::store::{LogRow, Search, Store};

/// What was found, and how the words were taken.
#[derive(Debug)]
pub(super) struct Found {
    pub rows: Vec<LogRow>,
    pub readings: Option<String>,
    /// The newest of all were asked for, and nothing else.
    is_all: bool,
}

impl Found {
    /// The one message that all of it is about, where a person is to be told of it.
    pub(super) fn only(&self, terms: &Terms) -> Option<Reference> {
        let first = self.rows.first()?.reference;
        let is_one = self.rows.iter().all(|it| it.reference == first);
        let is_page = terms.before.is_some() || self.rows.len() >= terms.limit;
        (is_one && !is_page && !self.is_all && !terms.json).then_some(first)
    }
}

/// The words as they are understood; those that cannot be are a mistake.
pub(super) async fn understood(
    store: &Arc<dyn Store>,
    asked: &Asked,
    language: Language,
) -> Result<Understood, Failure> {
    let text = asked.words.join(" ");
    let table = match text.is_empty() {
        true => Default::default(),
        false => inquiry::table(store).await?,
    };
    let desk = Desk {
        now: Timestamp::now(),
        zone: &Zone::here(),
        language,
        table: &table,
    };
    search::understand(&text, desk).map_err(Failure::new)
}

/// On stderr, where the rows stand alone: how words were taken for more than that.
pub(super) fn tell(understood: &Understood, language: Language) {
    let is_more = understood.as_words.is_some();
    if is_more {
        print::complaint(&search::told(&understood.readings, language));
    }
}

pub(super) async fn found(
    store: &Arc<dyn Store>,
    terms: &Terms,
    language: Language,
) -> Result<Found, Failure> {
    let understood = understood(store, &terms.asked, language).await?;
    let mut readings = understood.readings.clone();
    let mut rows = rows(store, terms, &understood.search).await?;
    if rows.is_empty() {
        rows = otherwise(store, terms, &understood, &mut readings, language).await?;
    }
    let readings = (!readings.is_empty()).then(|| search::told(&readings, language));
    Ok(Found {
        rows,
        readings,
        is_all: terms.asked.words.is_empty() && !terms.asked.has_flags(),
    })
}

async fn rows(
    store: &Arc<dyn Store>,
    terms: &Terms,
    search: &Search,
) -> Result<Vec<LogRow>, Failure> {
    let search = Search {
        before: terms.before,
        ..terms.asked.with(search.clone(), terms.limit)
    };
    Ok(store.search(search).await?)
}

/// Where nothing was found: a reference that is nearly the same, or the words as they stand. Whoever reads
/// the rows with a program gets no other message than was asked for.
async fn otherwise(
    store: &Arc<dyn Store>,
    terms: &Terms,
    understood: &Understood,
    readings: &mut Vec<String>,
    language: Language,
) -> Result<Vec<LogRow>, Failure> {
    if let Some(words) = &understood.as_words {
        let rows = rows(store, terms, words).await?;
        if !rows.is_empty() {
            print::complaint(&search::told_as_words(readings, language));
            readings.clear();
            return Ok(rows);
        }
    }
    if !readings.is_empty() {
        print::complaint(&search::told(readings, language));
    }
    let Some(written) = understood.search.reference else {
        return Ok(Vec::new());
    };
    let near = inquiry::near(store, written).await?;
    let ([meant], false) = (near.as_slice(), terms.json) else {
        print::complaint(&inquiry::unknown(store, written, Timestamp::now()).await?);
        return Ok(Vec::new());
    };
    *readings = vec![search::taken_as(written, *meant, language)];
    let search = Search {
        reference: Some(*meant),
        ..understood.search.clone()
    };
    rows(store, terms, &search).await
}
