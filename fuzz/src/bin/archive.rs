//! Any bytes as an archive: what comes out keeps to the bounds and to plain names, and gzipped it is the same.
#![no_main]
use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use holdfast::sources::Tree;
use holdfast::sources::archive::{Allowance, Limits, is_archive, no_file_is_a_directory, plain};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let limits = Limits { packed: 1 << 16, unpacked: 1 << 15, file: 1 << 13, entries: 12, path: 64 };
    let _ = is_archive(data);
    let _ = Allowance::new(limits).gunzip(data, 100);
    let unpacked = Allowance::new(limits).unpack(data);
    if !data.starts_with(&[0x1f, 0x8b]) {
        let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
        packed.write_all(data).expect("memory");
        let packed = packed.finish().expect("memory");
        if packed.len() <= 1 << 16 && data.len() <= 1 << 16 {
            let again = Allowance::new(limits).unpack(&packed);
            assert!(again == unpacked || unpacked.is_err(), "{unpacked:?} and, gzipped, {again:?}");
        }
    }
    let Ok(files) = unpacked else { return };
    assert!(files.len() <= limits.entries);
    assert!(files.values().map(Vec::len).sum::<usize>() as u64 <= limits.unpacked);
    for (path, bytes) in &files {
        assert_eq!(plain(path, limits.path).as_ref(), Ok(path));
        assert!(bytes.len() as u64 <= limits.file);
    }
    no_file_is_a_directory(&files).expect("no file lies in a file");
    let _ = Tree::new(files);
});
