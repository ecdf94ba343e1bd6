//! "Did you mean": the closest of the names in reach. Two rules exist, one for errors found before a program runs, one
//! for those found while it runs (spec of diagnostics, suggestions).

/// The static rule: distance and length difference at most 2; least distance, then closest length, then alphabet.
pub fn static_name<'n>(name: &str, names: impl Iterator<Item = &'n str>) -> Option<String> {
    closest(name, names, 2, |it| it.chars().count().abs_diff(name.chars().count()) <= 2)
}

/// The run-time rule: 1 for names of at most 2 bytes, 2 for 3 to 5, 3 for longer ones.
pub fn runtime_name<'n>(name: &str, names: impl Iterator<Item = &'n str>) -> Option<String> {
    let most = match name.len() {
        0..=2 => 1,
        3..=5 => 2,
        _ => 3,
    };
    closest(name, names, most, |it| !it.starts_with("__"))
}

fn closest<'n>(
    name: &str,
    names: impl Iterator<Item = &'n str>,
    most: usize,
    fits: impl Fn(&str) -> bool,
) -> Option<String> {
    let mut candidates: Vec<(usize, usize, &str)> = names
        .filter(|it| *it != name && fits(it))
        .map(|it| (distance(name, it), it.chars().count().abs_diff(name.chars().count()), it))
        .filter(|(distance, ..)| *distance <= most)
        .collect();
    candidates.sort_unstable();
    candidates.first().map(|it| it.2.to_owned())
}

/// Levenshtein distance over characters.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}
