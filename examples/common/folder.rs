//! Folders that a program makes, and links to nothing in their place.

use std::{fs, io, path::Path};

/// Makes the folder and those above it, if they are not there. An error says what to do.
pub(crate) fn make(folder: &Path) -> Result<(), String> {
    fs::create_dir_all(folder).map_err(|error| cannot_make(folder, &error))
}

/// That a folder could not be made, and why.
pub(crate) fn cannot_make(folder: &Path, error: &io::Error) -> String {
    dangling(folder).unwrap_or_else(|| format!("cannot make {}: {error}", folder.display()))
}

/// What is wrong with this path, if it leads over a link to nothing: the system says of such a one
/// that it is there, and that it is not.
pub(crate) fn dangling(path: &Path) -> Option<String> {
    path.ancestors().find_map(|path| {
        let target = fs::read_link(path).ok()?;
        let (path_shown, target) = (path.display(), target.display());
        let why = format!(
            "{path_shown} is a link to {target}, which is not there; make that, or correct the link"
        );
        (!path.exists()).then_some(why)
    })
}
