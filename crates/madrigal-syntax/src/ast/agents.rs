//! `tool`, `skill`, `eval_pack`.

nodes! {
    /// `tool name(..) { }`
    ToolDecl = TOOL_DECL,
    /// `skill Name { }`
    SkillDecl = SKILL_DECL,
    /// `eval_pack name { }`
    EvalPackDecl = EVAL_PACK_DECL,
}
