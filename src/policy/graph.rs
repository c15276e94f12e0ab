//! Circles among things that point to each other.

/// Every circle that a walk comes upon, as the places along it. `edges[a]` lists where `a` points.
pub fn circles(edges: &[Vec<usize>]) -> Vec<Vec<usize>> {
    let mut found = Vec::new();
    let mut done = vec![false; edges.len()];
    for start in 0..edges.len() {
        walk(start, edges, &mut done, &mut found);
    }
    found
}

/// Depth first, without recursion: a table may be as deep as its author likes.
fn walk(start: usize, edges: &[Vec<usize>], done: &mut [bool], found: &mut Vec<Vec<usize>>) {
    let after = |place: usize| edges.get(place).map_or(&[][..], Vec::as_slice).iter();
    let is_done = |done: &[bool], place: usize| done.get(place).copied().unwrap_or(true);
    if is_done(done, start) {
        return;
    }
    let mut path = vec![(start, after(start))];
    while let Some((place, rest)) = path.last_mut() {
        let Some(&next) = rest.next() else {
            if let Some(mark) = done.get_mut(*place) {
                *mark = true;
            }
            path.pop();
            continue;
        };
        match path.iter().position(|(place, _)| *place == next) {
            Some(at) => found.push(path.iter().skip(at).map(|(place, _)| *place).collect()),
            None if !is_done(done, next) => path.push((next, after(next))),
            None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Graph = Vec<Vec<usize>>;

    #[test]
    fn finds_circles_and_nothing_else() {
        #[rustfmt::skip]
        let cases: [(Graph, Graph); 6] = [
            (vec![],                                vec![]),
            (vec![vec![1], vec![2], vec![]],        vec![]),
            (vec![vec![1, 2], vec![2], vec![]],     vec![]),
            (vec![vec![0]],                         vec![vec![0]]),
            (vec![vec![1], vec![2], vec![1]],       vec![vec![1, 2]]),
            (vec![vec![1], vec![0], vec![3], vec![2]], vec![vec![0, 1], vec![2, 3]]),
        ];
        for (edges, found) in cases {
            assert_eq!(circles(&edges), found, "{edges:?}");
        }
        let deep: Vec<Vec<usize>> = (1..=10_000).map(|next| vec![next]).collect();
        assert!(circles(&deep).is_empty());
    }
}
