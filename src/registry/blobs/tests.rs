use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use rustix::fs::{CWD, FileType, Mode, mknodat};

use super::*;

/// Bytes of one tenth of the bound that most tests have.
fn item(n: u8) -> (Digest, Vec<u8>) {
    let bytes = vec![n; 100];
    (Digest::of(&bytes), bytes)
}

const MAX: u64 = 1000;

fn fill(blobs: &Blobs, items: impl IntoIterator<Item = u8>) {
    for n in items {
        let (digest, bytes) = item(n);
        blobs.put(digest, &bytes);
    }
}

fn kept(blobs: &Blobs) -> Vec<u8> {
    (0..=u8::MAX).filter(|n| blobs.contains(item(*n).0)).collect()
}

struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    fn open(&self) -> Blobs {
        Blobs::on_disk(self.dir.path(), MAX).unwrap()
    }

    fn file(&self, digest: Digest) -> PathBuf {
        self.dir.path().join("sha256").join(digest.hex())
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.dir.path().join("sha256")).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }
}

#[test]
fn what_was_not_used_for_longest_goes_first() {
    let place = Place::new();
    for blobs in [Blobs::in_memory(MAX), place.open()] {
        fill(&blobs, 0..10);
        assert_eq!((blobs.bytes(), blobs.len()), (MAX, 10));
        assert_eq!(blobs.get(item(0).0).as_ref(), Some(&item(0).1));
        // What is there is used again when it is put again.
        fill(&blobs, [1]);
        fill(&blobs, [10, 11]);
        assert_eq!(kept(&blobs), [0, 1, 4, 5, 6, 7, 8, 9, 10, 11]);
        assert_eq!(blobs.get(item(2).0), None);
        assert_eq!((blobs.bytes(), blobs.hits(), blobs.misses(), blobs.unwritten()), (MAX, 1, 1, 0));
    }
    assert_eq!(place.names().len(), 10);
}

#[test]
fn one_large_item_does_not_push_out_all_others() {
    let place = Place::new();
    for blobs in [Blobs::in_memory(MAX), place.open()] {
        fill(&blobs, 0..10);
        let large = vec![7; 126];
        blobs.put(Digest::of(&large), &large);
        assert_eq!((blobs.len(), blobs.contains(Digest::of(&large))), (10, false));
        let largest = vec![7; 125];
        blobs.put(Digest::of(&largest), &largest);
        assert_eq!(blobs.get(Digest::of(&largest)), Some(largest));
    }
    let none = Blobs::in_memory(0);
    fill(&none, 0..3);
    assert!(none.is_empty());
}

#[test]
fn bytes_of_another_digest_are_absent() {
    let place = Place::new();
    for blobs in [Blobs::in_memory(MAX), place.open()] {
        blobs.put(item(1).0, b"other bytes");
        assert_eq!(blobs.get(item(1).0), None);
        assert!(!blobs.contains(item(1).0) && blobs.is_empty() && blobs.bytes() == 0);
        fill(&blobs, [1]);
        assert_eq!(blobs.get(item(1).0), Some(item(1).1));
    }
    for damage in [&b"short"[..], &[2; 100], &[1; 101], b""] {
        let blobs = place.open();
        fill(&blobs, [1]);
        fs::write(place.file(item(1).0), damage).unwrap();
        assert_eq!(blobs.get(item(1).0), None);
        assert!(!place.file(item(1).0).exists());
        // What is damaged before the start is found out when it is read.
        fs::write(place.file(item(1).0), damage).unwrap();
        let blobs = place.open();
        assert_eq!((blobs.len(), blobs.get(item(1).0), blobs.len()), (1, None, 0));
    }
}

#[test]
fn what_is_there_is_taken_up_again_the_oldest_first() {
    let place = Place::new();
    fill(&place.open(), 0..10);
    for n in 0..10 {
        let age = if n == 3 { 1000 } else { u64::from(n) };
        let file = fs::File::open(place.file(item(n).0)).unwrap();
        file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(10_000 - age)).unwrap();
    }
    let blobs = place.open();
    assert_eq!((blobs.len(), blobs.bytes()), (10, MAX));
    assert_eq!(blobs.get(item(9).0), Some(item(9).1));
    fill(&blobs, [20, 21]);
    assert_eq!(kept(&blobs), [0, 1, 2, 4, 5, 6, 7, 9, 20, 21]);
    // Under a lower bound less of it is kept.
    let fewer = Blobs::on_disk(place.dir.path(), 800).unwrap();
    assert_eq!((fewer.len(), place.names().len()), (8, 8));
    assert!(Blobs::on_disk(place.dir.path(), 0).unwrap().is_empty() && place.names().is_empty());
}

#[test]
fn whatever_else_lies_there_leads_nowhere() {
    let (place, outside) = (Place::new(), tempfile::tempdir().unwrap());
    let secret = outside.path().join("secret");
    fs::write(&secret, item(1).1).unwrap();
    drop(place.open());
    symlink(&secret, place.file(item(1).0)).unwrap();
    fs::create_dir(place.file(item(2).0)).unwrap();
    fs::write(place.file(item(2).0).join("x"), b"x").unwrap();
    mknodat(CWD, place.file(item(3).0), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    let beside = place.dir.path().join("sha256");
    for name in ["README", "lost+found", &item(9).0.hex()[1..], &item(9).0.hex().to_uppercase()] {
        fs::write(beside.join(name), b"foreign").unwrap();
    }
    fs::write(beside.join(".unfinished-0-0"), b"half").unwrap();
    fs::write(place.file(item(5).0), vec![5; 500]).unwrap();
    let blobs = place.open();
    assert!(blobs.is_empty(), "{:?}", kept(&blobs));
    assert!(!beside.join(".unfinished-0-0").exists() && !place.file(item(5).0).exists());
    for n in 1..4 {
        assert_eq!(blobs.get(item(n).0), None, "{n}");
    }
    fill(&blobs, 1..4);
    assert_eq!(kept(&blobs), [1, 3], "a link and a pipe make way, a directory does not");
    assert_eq!((blobs.get(item(1).0), blobs.unwritten()), (Some(item(1).1), 1));
    assert!(fs::symlink_metadata(place.file(item(1).0)).unwrap().is_file());
    // What becomes a link or a pipe while it is kept is not followed, and nobody waits for it.
    for n in [1, 3] {
        fs::remove_file(place.file(item(n).0)).unwrap();
    }
    symlink(&secret, place.file(item(1).0)).unwrap();
    mknodat(CWD, place.file(item(3).0), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    assert_eq!((blobs.get(item(1).0), blobs.get(item(3).0)), (None, None));
    assert_eq!(fs::read(&secret).unwrap(), item(1).1);
    for name in ["README", "lost+found"] {
        assert!(beside.join(name).exists());
    }
}

#[test]
fn a_directory_that_cannot_be_meant_is_refused() {
    let (dir, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    symlink(outside.path(), dir.path().join("sha256")).unwrap();
    let error = Blobs::on_disk(dir.path(), MAX).unwrap_err().to_string();
    assert!(error.contains("sha256") && error.contains("for this alone"), "{error}");
    let file = dir.path().join("file");
    fs::write(&file, b"").unwrap();
    assert!(Blobs::on_disk(&file, MAX).is_err() && Blobs::on_disk(&file.join("below"), MAX).is_err());
    assert!(Blobs::on_disk(&dir.path().join("a/b"), MAX).is_ok(), "what is missing is made");
}

#[test]
fn a_directory_that_goes_or_is_exchanged_fails_nobody() {
    let (place, outside) = (Place::new(), tempfile::tempdir().unwrap());
    let blobs = place.open();
    fill(&blobs, [1]);
    fs::rename(place.dir.path().join("sha256"), place.dir.path().join("old")).unwrap();
    symlink(outside.path(), place.dir.path().join("sha256")).unwrap();
    fill(&blobs, [2]);
    assert_eq!(kept(&blobs), [1, 2]);
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
    fs::remove_dir_all(place.dir.path().join("old")).unwrap();
    fill(&blobs, [3]);
    assert_eq!((blobs.unwritten(), blobs.get(item(1).0), blobs.bytes()), (1, None, 100));
}

#[test]
fn it_is_used_by_many_at_once_within_its_bound() {
    let place = Place::new();
    for blobs in [Blobs::in_memory(MAX), place.open()] {
        std::thread::scope(|scope| {
            for thread in 0..4_u8 {
                let blobs = &blobs;
                scope.spawn(move || {
                    for round in 0..200_u8 {
                        let n = (round.wrapping_mul(7) ^ thread) % 30;
                        fill(blobs, [n]);
                        if let Some(bytes) = blobs.get(item(n).0) {
                            assert_eq!(bytes, item(n).1);
                        }
                        assert!(blobs.bytes() <= MAX);
                    }
                });
            }
        });
        assert_eq!(blobs.bytes(), 100 * u64::try_from(blobs.len()).unwrap());
        assert!(kept(&blobs).len() == blobs.len() && blobs.len() <= 10);
    }
    assert!(place.names().len() <= 10, "{:?}", place.names());
}
