//! Where templates lie: beside the source file or the including template, or below the project root (`@/..`,
//! `@alias/..`).

use crate::environment::project_root_of;
use std::path::{Component, Path, PathBuf};

/// A reference resolved to a file.
pub(super) struct Located {
    pub path: PathBuf,
    /// It named the project root or an alias: such files may lie outside of the template's directory.
    pub exempt: bool,
}

/// The file that `reference` means in a template or source file of `directory`.
pub(super) fn locate(reference: &str, directory: &Path) -> Result<Located, String> {
    let Some(asset) = reference.strip_prefix('@') else {
        return Ok(Located { path: directory.join(reference), exempt: false });
    };
    let root = project_root_of(directory).ok_or_else(|| {
        let directory = directory.display();
        format!("package-root prompt path '{reference}' has no project root: no harn.toml found above {directory}")
    })?;
    let (alias, rel) = asset.split_once('/').unwrap_or((asset, ""));
    if alias.is_empty() {
        if !is_plain(rel) {
            return Err(format!("invalid project-root asset path '@/{rel}'"));
        }
        return Ok(Located { path: root.join(rel), exempt: true });
    }
    if !is_plain(rel) {
        return Err(format!("invalid asset path '@{alias}/{rel}'"));
    }
    let manifest = root.join("harn.toml");
    let unknown = || format!("asset alias '{alias}' is not defined in [asset_roots] of {}", manifest.display());
    let folder = asset_root(&manifest, alias).ok_or_else(unknown)?;
    Ok(Located { path: root.join(folder).join(rel), exempt: true })
}

/// Relative, downwards and without backslashes.
fn is_plain(rel: &str) -> bool {
    let downwards = Path::new(rel).components().all(|it| matches!(it, Component::Normal(_) | Component::CurDir));
    !rel.is_empty() && !rel.contains('\\') && downwards
}

/// The directory an alias stands for in a manifest.
fn asset_root(manifest: &Path, alias: &str) -> Option<String> {
    let text = std::fs::read_to_string(manifest).ok()?;
    let document: toml::Table = text.parse().ok()?;
    Some(document.get("asset_roots")?.get(alias)?.as_str()?.to_owned())
}

/// The path without links, or at least without `..` where there is no file.
pub(super) fn canonical(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| {
        let mut plain = PathBuf::new();
        for component in path.components() {
            match component {
                Component::ParentDir => {
                    plain.pop();
                }
                Component::CurDir => {}
                other => plain.push(other),
            }
        }
        plain
    })
}
