//! Binding patterns.

nodes! {
    /// `name`
    NamePattern = NAME_PATTERN,
    /// `{a, b: c}`
    DictPattern = DICT_PATTERN,
    /// `[a, b]`
    ListPattern = LIST_PATTERN,
    /// `(a, b)`
    PairPattern = PAIR_PATTERN,
}
