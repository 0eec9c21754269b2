//! Which file system a file is on.

use std::path::Path;

/// File systems whose files other machines have, too. SQLite's log needs memory that all who have the
/// file share, which they do not.
const SHARED: [&str; 12] = [
    "nfs",
    "nfs4",
    "cifs",
    "smb3",
    "smbfs",
    "ncpfs",
    "afs",
    "ceph",
    "fuse.sshfs",
    "fuse.glusterfs",
    "fuse.ceph",
    "fuse.s3fs",
];

/// The kind of the file system of this file, which is given by its one absolute path, if other
/// machines have it, too. `mountinfo` is what `/proc/self/mountinfo` says (proc(5)).
pub(super) fn shared_file_system<'a>(mountinfo: &'a str, path: &Path) -> Option<&'a str> {
    let mounts = mountinfo.lines().filter_map(|line| {
        let (before, after) = line.split_once(" - ")?;
        let (point, kind) = (before.split(' ').nth(4)?, after.split(' ').next()?);
        Some((unescaped(point), kind))
    });
    let of_path = mounts.filter(|(point, _)| path.starts_with(point));
    // Of several at one place the last one covers the others.
    let (_, kind) = of_path.max_by_key(|(point, _)| point.len())?;
    SHARED.contains(&kind).then_some(kind)
}

/// Spaces and the like are written in octal.
fn unescaped(point: &str) -> String {
    [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")]
        .iter()
        .fold(point.to_owned(), |text, (escaped, meant)| text.replace(escaped, meant))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "\
22 27 0:21 / /proc rw,relatime - proc proc rw
27 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
40 27 0:50 / /home rw shared:5 master:2 - nfs4 server:/home rw,vers=4.2
41 40 8:2 / /home/local rw - xfs /dev/sdb rw
42 27 0:51 / /mnt/a\\040share rw - cifs //server/share rw
43 27 0:52 / /over rw - nfs server:/x rw
44 43 8:3 / /over rw - ext4 /dev/sdc rw
nonsense";

    #[test]
    fn the_innermost_mount_decides() {
        for (path, expected) in [
            ("/var/book.db", None),
            ("/home/x/book.db", Some("nfs4")),
            ("/homes/book.db", None),
            ("/home/local/book.db", None),
            ("/mnt/a share/book.db", Some("cifs")),
            ("/over/book.db", None),
        ] {
            assert_eq!(shared_file_system(MOUNTS, Path::new(path)), expected, "{path}");
        }
        assert_eq!(shared_file_system("", Path::new("/x")), None);
    }
}
