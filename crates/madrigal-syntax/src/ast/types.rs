//! Types.

nodes! {
    /// `Name<..>`
    NamedType = NAMED_TYPE,
    /// `[T]`
    ListType = LIST_TYPE,
    /// `{field: T}`
    ShapeType = SHAPE_TYPE,
    /// `fn(..) -> T`
    FnType = FN_TYPE,
    /// `A | B`
    UnionType = UNION_TYPE,
}
