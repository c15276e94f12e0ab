//! What `ilbud log search` was given as words, searched for as it is understood.

use std::sync::Arc;

use super::Terms;
use super::asked::Asked;
use crate::cli::{Failure, print};
use crate::mail::timestamp::Zone;
use crate::mail::{Language, Reference, Timestamp};
use crate::ops::inquiry::{self, Register};
use crate::ops::search::{self, Desk, Understood};
use crate::policy::table::RoutingTable;
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

async fn understood(
    register: &Register,
    asked: &Asked,
    language: Language,
) -> Result<Understood, Failure> {
    let text = asked.words.join(" ");
    let desk = Desk {
        now: Timestamp::now(),
        zone: &Zone::here(),
        language,
        table: &RoutingTable::default(),
    };
    let understood = match search::asks_for_rooms(&text, desk) {
        false => search::understand(&text, desk),
        true => {
            let table = register.table().await?;
            search::understand(&text, Desk { table, ..desk })
        }
    };
    understood.map_err(Failure::new)
}

/// What all rows are sought by, for an export; how the words were taken is told beside it.
pub(super) async fn wanted(
    store: &Arc<dyn Store>,
    register: &Register,
    asked: &Asked,
    language: Language,
) -> Result<Search, Failure> {
    let understood = understood(register, asked, language).await?;
    let is_found = async |search: &Search| -> Result<bool, Failure> {
        let one = Search {
            limit: 1,
            ..asked.with(search.clone())
        };
        Ok(!store.search(one).await?.is_empty())
    };
    if let Some(words) = &understood.as_words
        && !is_found(&understood.search).await?
        && is_found(words).await?
    {
        print::complaint(&search::told_as_words(&understood.readings, language));
        return Ok(asked.with(words.clone()));
    }
    if !understood.readings.is_empty() {
        print::complaint(&search::told(&understood.readings, language));
    }
    Ok(asked.with(understood.search))
}

pub(super) async fn found(
    store: &Arc<dyn Store>,
    register: &Register,
    terms: &Terms,
    language: Language,
) -> Result<Found, Failure> {
    let understood = understood(register, &terms.asked, language).await?;
    let mut readings = understood.readings.clone();
    let mut rows = store.search(terms.with(understood.search.clone())).await?;
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
        let rows = store.search(terms.with(words.clone())).await?;
        if !rows.is_empty() {
            print::complaint(&search::told_as_words(readings, language));
            readings.clear();
            return Ok(rows);
        }
    }
    // A program has to get what was asked for; people are told what they got.
    if let Some(loosely) = understood.loosely.as_ref().filter(|_| !terms.json) {
        let rows = store.search(terms.with(loosely.clone())).await?;
        if !rows.is_empty() {
            let told = search::told_loosely(readings, &loosely.words, language);
            print::complaint(&told);
            readings.clear();
            return Ok(rows);
        }
    }
    if !readings.is_empty() && terms.json {
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
    Ok(store.search(terms.with(search)).await?)
}
