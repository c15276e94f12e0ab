//! What the entries of a table say of each other, once all of them are read.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use super::{Draft, SEARCHES};
use crate::document::Mistakes;
use crate::mail::{Address, Domain, RoomId, Timestamp};
use crate::nearest::nearest;
use crate::policy::checks::{self, At, Written};
use crate::policy::graph::circles;
use crate::policy::sources::Sources;
use crate::policy::table::{Redirect, Room};

impl Draft {
    pub(super) fn check(&mut self, mistakes: &Mistakes) {
        if self.ids.is_empty() {
            self.warn(None, "there is no room: everything is refused");
        }
        self.check_mentions(mistakes);
        self.check_members(mistakes);
        self.check_group_circles(mistakes);
        self.check_redirect_circles(mistakes);
        let lines = checks::lines(&self.rooms, &self.gateways);
        let sources = Sources::new(lines.iter().map(|(_, line)| line.clone()));
        let found = checks::warnings(&self.written(), &lines, &sources);
        self.warnings.extend(found);
        self.sources = sources;
    }

    fn check_mentions(&self, mistakes: &Mistakes) {
        for At { line, value: id } in &self.mentions {
            if !self.ids.contains_key(id) {
                let near = self.nearest(id.as_str(), self.ids.keys().map(RoomId::as_str));
                let text = format!("unknown room \"{id}\"{}", did_you_mean(near));
                mistakes.add(Some(*line), text);
            }
        }
    }

    /// Of many mistakes, only the first are worth the search.
    fn nearest<'a>(&self, word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
        self.searches.set(self.searches.get() + 1);
        (self.searches.get() <= SEARCHES)
            .then(|| nearest(word, known))
            .flatten()
    }

    fn check_members(&mut self, mistakes: &Mistakes) {
        let rooms = self.rooms_by_domain();
        let mut twice = Vec::new();
        for group in &self.groups {
            let mut seen = HashSet::new();
            for At {
                line,
                value: member,
            } in &group.value
            {
                if !seen.insert(member) {
                    twice.push((*line, format!("{member} is a member of this group twice")));
                }
                if let Some(text) = self.member_mistake(member, &rooms) {
                    mistakes.add(Some(*line), text);
                }
            }
        }
        for (line, text) in twice {
            self.warn(Some(line), text);
        }
    }

    fn member_mistake(
        &self,
        member: &Address,
        rooms: &HashMap<Domain, Arc<Room>>,
    ) -> Option<String> {
        if self.addresses.contains_key(member) {
            return None;
        }
        if !self.domains.contains_key(member.domain()) {
            if self.has_bad_domain {
                return None;
            }
            let known = self.domains.keys().map(Domain::ascii);
            let near = self.nearest(member.domain().ascii(), known);
            return Some(format!(
                "unknown member {member}: its domain belongs to no room, and it is no group{}",
                did_you_mean(near)
            ));
        }
        let room = rooms.get(member.domain())?;
        if room.has(member) {
            return None;
        }
        let near = room.nearest(member).map(|near| near.to_string());
        Some(format!(
            "unknown member {member}: it is not among the recipients of room \"{}\"{}",
            room.id,
            did_you_mean(near.as_deref())
        ))
    }

    fn check_group_circles(&self, mistakes: &Mistakes) {
        let places: HashMap<&Address, usize> = self.group_addresses.iter().zip(0..).collect();
        let edges: Vec<Vec<usize>> = self
            .groups
            .iter()
            .map(|group| {
                let members = group.value.iter();
                members
                    .filter_map(|member| places.get(&member.value).copied())
                    .collect()
            })
            .collect();
        for circle in circles(&edges) {
            let line = circle.first().and_then(|first| self.groups.get(*first));
            let names = circle.iter().filter_map(|it| self.group_addresses.get(*it));
            let text = format!("groups in a circle: {}", along(names));
            mistakes.add(line.map(|it| it.line), text);
        }
    }

    /// Redirects of different times make no circle, so each moment at which one begins or ends is
    /// looked at for itself, but only when there could be one at all.
    fn check_redirect_circles(&self, mistakes: &Mistakes) {
        let redirects: Vec<&Redirect> = self.redirects.iter().map(|it| &it.value).collect();
        if circles(&redirect_edges(&redirects)).is_empty() {
            return;
        }
        let begin = Timestamp::from_millis(i64::MIN);
        let moments: BTreeSet<Timestamp> = redirects
            .iter()
            .flat_map(|it| [it.from, it.until])
            .flatten()
            .chain([begin])
            .collect();
        let mut told = HashSet::new();
        for moment in moments {
            let open = open_at(&self.redirects, moment);
            let values: Vec<&Redirect> = open.iter().map(|it| &it.value).collect();
            for circle in circles(&redirect_edges(&values)) {
                let along_it = || circle.iter().filter_map(|it| open.get(*it));
                let line = along_it().map(|it| it.line).min();
                if told.insert(line) {
                    let names = along(along_it().map(|it| &it.value.room));
                    mistakes.add(line, format!("redirects in a circle: {names}"));
                }
            }
        }
    }

    fn written(&self) -> Written<'_> {
        Written {
            rooms: &self.rooms,
            accepts: &self.accepts,
            addresses: &self.group_addresses,
            groups: &self.groups,
            gateways: &self.gateways,
            redirects: &self.redirects,
        }
    }
}

fn did_you_mean(near: Option<&str>) -> String {
    near.map_or_else(String::new, |near| format!("; did you mean \"{near}\"?"))
}

/// `a → b → a`
fn along<T: ToString>(names: impl Iterator<Item = T>) -> String {
    let mut names: Vec<String> = names.map(|name| name.to_string()).collect();
    names.extend(names.first().cloned());
    names.join(" → ")
}

/// Redirect to redirect: each points to those of the room it leads to.
fn redirect_edges(redirects: &[&Redirect]) -> Vec<Vec<usize>> {
    let mut of: HashMap<&RoomId, Vec<usize>> = HashMap::new();
    for (place, redirect) in redirects.iter().enumerate() {
        of.entry(&redirect.room).or_default().push(place);
    }
    let next = |it: &&Redirect| of.get(&it.to).cloned().unwrap_or_default();
    redirects.iter().map(next).collect()
}

/// The redirect in force for each room at `moment`.
fn open_at(redirects: &[At<Redirect>], moment: Timestamp) -> Vec<&At<Redirect>> {
    let mut rooms = HashSet::new();
    redirects
        .iter()
        .filter(|it| it.value.is_open(moment) && rooms.insert(&it.value.room))
        .collect()
}
