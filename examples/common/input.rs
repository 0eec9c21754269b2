//! Files that others have written, read whole. Whatever is there, a device or a pipe: no more is held than
//! such a file has, and nobody is waited for without end.

use std::{
    fs::{self, File},
    io::{self, ErrorKind, Read},
    path::Path,
    sync::mpsc::{SyncSender, sync_channel},
    thread,
    time::Duration,
};

/// How long something that is no regular file may say nothing: a pipe without a writer says nothing for
/// ever, and the end of a pipeline is written when its beginning is done.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);

/// Bytes read at once.
const PIECE: usize = 64 << 10;

/// What is in the file.
///
/// # Errors
/// Those of the system; a folder; more than `most` bytes; and nothing for as long as `patience`, unless
/// it is a regular file.
pub(crate) fn read(path: &Path, most: u64, patience: Duration) -> io::Result<Vec<u8>> {
    let found = fs::metadata(path)?;
    if found.is_dir() {
        return Err(ErrorKind::IsADirectory.into());
    }
    let mut bytes = Vec::new();
    if found.is_file() {
        check(found.len(), most)?;
        File::open(path)?.take(most + 1).read_to_end(&mut bytes)?;
        check(bytes.len() as u64, most)?;
        return Ok(bytes);
    }
    // A thread, because opening alone may wait for ever; one that does so ends with the program.
    let (sender, pieces) = sync_channel(1);
    let path = path.to_owned();
    thread::Builder::new().name("input".to_owned()).spawn(move || {
        if let Err(error) = read_pieces(&path, &sender) {
            // Nobody waits any more.
            let _ = sender.send(Err(error));
        }
    })?;
    loop {
        let piece = pieces.recv_timeout(patience).map_err(|_| {
            let why = format!("it says nothing for {patience:?}");
            io::Error::new(ErrorKind::TimedOut, why)
        })??;
        if piece.is_empty() {
            return Ok(bytes);
        }
        bytes.extend(piece);
        check(bytes.len() as u64, most)?;
    }
}

/// Sends piece after piece, at last an empty one.
fn read_pieces(path: &Path, sender: &SyncSender<io::Result<Vec<u8>>>) -> io::Result<()> {
    let mut file = File::open(path)?;
    loop {
        let mut piece = vec![0; PIECE];
        let read = file.read(&mut piece)?;
        piece.truncate(read);
        if sender.send(Ok(piece)).is_err() || read == 0 {
            return Ok(());
        }
    }
}

fn check(len: u64, most: u64) -> io::Result<()> {
    if len <= most {
        return Ok(());
    }
    let why = format!("it has more than the {most} bytes that are read of such a file");
    Err(io::Error::new(ErrorKind::FileTooLarge, why))
}
