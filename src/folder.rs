//! Folders of files that have to last.

use std::{io, path::Path};

/// Makes the file's name in its folder survive a power cut, not only the bytes of the file.
///
/// # Errors
/// The system's. It is none where folders cannot be synced (FUSE, CIFS): there a name lasts as well as
/// it can.
#[cfg(unix)]
pub(crate) fn sync_name(file: &Path) -> io::Result<()> {
    let folder = match file.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    let synced = std::fs::File::open(folder)?.sync_all();
    synced.or_else(|error| if is_no_fault(&error) { Ok(()) } else { Err(error) })
}

/// Elsewhere a folder is no file that could be synced.
#[cfg(not(unix))]
pub(crate) fn sync_name(_: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(unix)]
fn is_no_fault(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_cannot_be_synced_is_no_error() {
        // EINVAL, EOPNOTSUPP, ENOSYS; EIO, ENOSPC.
        for (number, expected) in [(22, true), (95, true), (38, true), (5, false), (28, false)] {
            let error = io::Error::from_raw_os_error(number);
            assert_eq!(is_no_fault(&error), expected, "{error}");
        }
        sync_name(&std::env::temp_dir().join("file")).unwrap();
        sync_name(Path::new("file")).unwrap();
        assert!(sync_name(Path::new("/not/there/file")).is_err());
    }
}
