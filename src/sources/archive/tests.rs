use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use tar::{EntryType, Header};

use super::*;

const SMALL: Limits = Limits { packed: 1 << 20, unpacked: 1 << 20, file: 64 * 1024, entries: 20, path: 300 };

/// One entry, with whatever name: what the builder refuses to write, too.
fn entry(kind: EntryType, name: impl AsRef<[u8]>, bytes: &[u8]) -> Vec<u8> {
    let name = name.as_ref();
    let mut header = Header::new_ustar();
    header.as_old_mut().name[..name.len()].copy_from_slice(name);
    header.set_entry_type(kind);
    header.set_size(bytes.len() as u64);
    if matches!(kind, EntryType::Symlink | EntryType::Link) {
        header.set_link_name("timestamp.json").unwrap();
    }
    header.set_cksum();
    let mut out = header.as_bytes().to_vec();
    out.extend_from_slice(bytes);
    out.resize(out.len().div_ceil(512) * 512, 0);
    out
}

fn ended(entries: &[Vec<u8>]) -> Vec<u8> {
    let mut out = entries.concat();
    out.extend_from_slice(&[0; 1024]);
    out
}

/// A tar archive of these files.
pub(crate) fn tar(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, bytes) in files {
        let mut header = Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, name, *bytes).unwrap();
    }
    builder.into_inner().unwrap()
}

/// The same bytes, gzipped.
pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn unpack(bytes: &[u8]) -> Result<Files, ArchiveError> {
    Allowance::new(SMALL).unpack(bytes)
}

#[test]
fn what_is_packed_comes_out_the_same() {
    let long = format!("{}/a.json", "directory/".repeat(20).trim_end_matches('/'));
    let files: &[(&str, &[u8])] = &[("./metadata/timestamp.json", b"{}"), (&long, b"long"), ("targets/x", b"")];
    let plain = tar(files);
    let twice = [gzip(&plain[..700]), gzip(&plain[700..])].concat();
    for packed in [plain.clone(), gzip(&plain), twice] {
        let unpacked = unpack(&packed).unwrap();
        assert_eq!(unpacked["metadata/timestamp.json"], b"{}");
        assert_eq!(unpacked[&long], b"long");
        assert_eq!(unpacked.len(), 3);
    }
}

#[test]
fn directories_and_a_comment_of_git_are_passed_over() {
    let comment = b"16 comment=abcd\n";
    let archive = ended(&[
        entry(EntryType::XGlobalHeader, "pax_global_header", comment),
        entry(EntryType::Directory, "./", b""),
        entry(EntryType::Directory, "metadata/", b""),
        entry(EntryType::Regular, "metadata/timestamp.json", b"{}"),
    ]);
    assert_eq!(unpack(&archive).unwrap().keys().collect::<Vec<_>>(), ["metadata/timestamp.json"]);
    let path = ended(&[
        entry(EntryType::XGlobalHeader, "pax_global_header", b"10 path=x\n"),
        entry(EntryType::Regular, "timestamp.json", b"{}"),
    ]);
    assert!(unpack(&path).unwrap_err().to_string().contains("`path`"));
}

#[test]
fn only_files_and_directories_are_taken() {
    for (kind, words) in [
        (EntryType::Symlink, "a symbolic link"),
        (EntryType::Link, "a hard link"),
        (EntryType::Char, "a device"),
        (EntryType::Block, "a device"),
        (EntryType::Fifo, "a named pipe"),
        (EntryType::Continuous, "an unknown kind"),
        (EntryType::new(b'Z'), "an unknown kind"),
    ] {
        let error = unpack(&ended(&[entry(kind, "metadata/2.root.json", b"")])).unwrap_err();
        assert!(matches!(&error, ArchiveError::Entry { path, .. } if path == "metadata/2.root.json"), "{error}");
        assert!(error.to_string().contains(words), "{error}");
    }
    let record = b"22 GNU.sparse.major=1\n";
    let sparse = ended(&[entry(EntryType::XHeader, "pax", record), entry(EntryType::Regular, "timestamp.json", b"{}")]);
    assert!(unpack(&sparse).unwrap_err().to_string().contains("a sparse file"));
    // Sparse files of the older kind are met in their header.
    let mut header = Header::new_gnu();
    header.set_entry_type(EntryType::GNUSparse);
    header.set_path("timestamp.json").unwrap();
    header.set_size(0);
    header.as_gnu_mut().unwrap().set_real_size(0);
    header.set_cksum();
    let error = unpack(&ended(&[header.as_bytes().to_vec()])).unwrap_err();
    assert!(error.to_string().contains("a sparse file"), "{error}");
}

#[test]
fn a_name_has_one_reading() {
    let cases =
        ["/etc/passwd", "../a", "a/../../b", "a//b", "a/./b", "a/..", "..", ".", "./", "a\\b", "a\u{7}b", "a/", ".//a"];
    for name in cases {
        let error = unpack(&ended(&[entry(EntryType::Regular, name, b"1")])).unwrap_err();
        assert!(matches!(error, ArchiveError::Entry { .. }), "{name}: {error}");
    }
    let not_text = entry(EntryType::Regular, b"a\xff", b"1");
    assert!(unpack(&ended(&[not_text])).unwrap_err().to_string().contains("not UTF-8"));
    let long = "a/".repeat(200) + "b";
    assert!(unpack(&tar(&[(&long, b"1")])).unwrap_err().to_string().contains("more than the 300"));
}

#[test]
fn a_path_is_there_once() {
    let a = |name: &str| entry(EntryType::Regular, name, b"1");
    for doubled in [
        vec![a("a/b"), a("a/b")],
        vec![a("./a"), a("a")],
        vec![a("a"), a("a/b")],
        vec![a("a/b"), a("a")],
        vec![a("a"), entry(EntryType::Directory, "a/", b"")],
    ] {
        assert!(matches!(unpack(&ended(&doubled)), Err(ArchiveError::Entry { .. })));
    }
    let again = [entry(EntryType::Directory, "a/", b""), entry(EntryType::Directory, "a", b""), a("a/b")];
    assert_eq!(unpack(&ended(&again)).unwrap().len(), 1);
}

#[test]
fn what_is_too_large_stops_at_the_bound() {
    let too_large = |of| Err(ArchiveError::TooLarge { max: 1 << 20, of });
    // A gigabyte of zeros takes a megabyte packed; it is read as a stream and left at the bound.
    let zeros = vec![0; 1 << 20];
    let mut bomb = GzEncoder::new(Vec::new(), Compression::best());
    bomb.write_all(&entry(EntryType::Regular, "a", b"1")).unwrap();
    for _ in 0..64 {
        bomb.write_all(&zeros).unwrap();
    }
    let bomb = bomb.finish().unwrap();
    assert!(bomb.len() < 1 << 20);
    assert_eq!(unpack(&bomb), too_large("of what is unpacked, all together"));
    assert_eq!(unpack(&vec![0; (1 << 20) + 1]), too_large("of what is packed"));

    let many: Vec<_> = (0..21).map(|n| entry(EntryType::Regular, format!("{n}"), b"")).collect();
    assert_eq!(unpack(&ended(&many)), Err(ArchiveError::TooManyEntries { max: 20 }));
    let large = vec![0; 64 * 1024 + 1];
    assert!(matches!(unpack(&tar(&[("large", &large)])), Err(ArchiveError::Entry { path, .. }) if path == "large"));

    // A name of a gigabyte is not made room for.
    let mut name = Header::new_gnu();
    name.set_entry_type(EntryType::GNULongName);
    name.set_size(1 << 30);
    name.set_cksum();
    assert_eq!(unpack(&[name.as_bytes().as_slice(), &zeros].concat()), too_large("of what is packed"));
    assert!(unpack(&[name.as_bytes().as_slice(), &zeros[..2048]].concat()).is_err());
    assert_eq!(
        unpack(&gzip(&[name.as_bytes().as_slice(), &zeros].concat())),
        too_large("of what is unpacked, all together")
    );
}

#[test]
fn several_archives_share_one_allowance() {
    let mut allowance = Allowance::new(SMALL);
    let archive = gzip(&tar(&[("a", &vec![0; 60 * 1024])]));
    let fit = (0..100).take_while(|_| allowance.unpack(&archive).is_ok()).count();
    assert_eq!(fit, 16);
    let mut allowance = Allowance::new(SMALL);
    let fit = (0..100).take_while(|_| allowance.count(b"1").is_ok()).count();
    assert_eq!(fit, 20);
}

#[test]
fn what_is_cut_off_or_damaged_is_no_archive() {
    let plain = tar(&[("a", &[7; 5000]), ("b", b"2")]);
    let packed = gzip(&plain);
    assert_eq!(unpack(&plain[..1200]), Err(ArchiveError::CutOff));
    assert_eq!(unpack(&plain[..5300]), Err(ArchiveError::CutOff));
    for end in [packed.len() - 1, packed.len() - 8, packed.len() / 2, 11] {
        assert!(unpack(&packed[..end]).is_err(), "{end}");
    }
    let mut bent = packed.clone();
    let at = bent.len() - 6;
    bent[at] ^= 1;
    assert!(matches!(unpack(&bent), Err(ArchiveError::Damaged { .. })), "its checksum counts");
    let followed = [packed.as_slice(), b"what follows"].concat();
    assert!(matches!(unpack(&followed), Err(ArchiveError::Damaged { .. })));
    assert!(matches!(unpack(b"{\"not\": \"an archive\"}"), Err(ArchiveError::Damaged { .. } | ArchiveError::CutOff)));
    assert!(matches!(unpack(&[b'x'; 4096]), Err(ArchiveError::Damaged { .. })));
}

#[test]
fn other_packings_are_refused_by_name() {
    for (magic, name) in [
        (&[0x28, 0xb5, 0x2f, 0xfd, 0, 0][..], "zstd"),
        (b"BZh91AY", "bzip2"),
        (b"\xfd7zXZ\0\0", "xz"),
        (b"PK\x03\x04", "zip"),
    ] {
        let error = unpack(magic).unwrap_err();
        assert_eq!(error, ArchiveError::Compression { compression: name });
        assert!(error.to_string().contains(name) && is_archive(magic));
    }
    assert!(is_archive(&tar(&[("a", b"1")])) && is_archive(&gzip(b"")) && !is_archive(b"{}"));
}

#[test]
fn one_file_is_unpacked_up_to_its_bound() {
    let mut allowance = Allowance::new(SMALL);
    assert_eq!(allowance.gunzip(&gzip(b"{}"), 10).unwrap(), b"{}");
    assert_eq!(allowance.gunzip(&gzip(&[b' '; 11]), 10), Err(ArchiveError::TooLarge { max: 10, of: "of one file" }));
    assert!(matches!(allowance.gunzip(b"{}", 10), Err(ArchiveError::Damaged { .. })));
    let packed = gzip(b"something");
    assert_eq!(allowance.gunzip(&packed[..packed.len() - 3], 100), Err(ArchiveError::CutOff));
}

proptest::proptest! {
    /// Whatever is done to an archive, what comes out has plain names and is within its bounds.
    #[test]
    fn a_bent_archive_yields_nothing_odd(changes in proptest::collection::vec((0..6144_usize, proptest::num::u8::ANY), 1..12), end in 0..6145_usize) {
        let long = "directory/".repeat(15);
        let mut archive = tar(&[("a/timestamp.json", b"{}"), (&format!("{long}x"), b"long"), ("b", &[7; 700])]);
        archive.resize(6144, 0);
        for (at, byte) in changes {
            archive[at] = byte;
        }
        // Changes of headers are meant to get past their checksums.
        for block in archive.chunks_mut(512).filter(|block| block[257..262] == *b"ustar") {
            let mut header = Header::from_byte_slice(block).clone();
            header.set_cksum();
            block.copy_from_slice(header.as_bytes());
        }
        for bytes in [archive[..end].to_vec(), gzip(&archive)] {
            if let Ok(files) = unpack(&bytes) {
                proptest::prop_assert!(files.keys().all(|path| plain(path, SMALL.path).as_ref() == Ok(path)));
                proptest::prop_assert!(files.values().all(|file| file.len() as u64 <= SMALL.file));
            }
        }
    }
}
