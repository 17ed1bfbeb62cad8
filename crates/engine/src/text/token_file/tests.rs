use super::*;
use crate::text::dataset;
use crate::train::checkpoint::checksum;

const ORIGIN: Origin = Origin { tokenizer: 1, text: 2, documents: 3, bytes: 4, from: 5, to: 6 };

fn written(path: &Path, ids: &[u32], origin: Option<Origin>) -> TokenFile {
    let mut writer = TokenWriter::create(path).unwrap();
    ids.chunks(7).for_each(|ids| writer.push(ids).unwrap());
    assert_eq!(writer.len(), ids.len() as u64);
    writer.finish(origin).unwrap()
}

#[test]
fn ids_and_what_the_file_says_of_them() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("dataset.bin");
    let ids: Vec<u32> = (0..20_000).map(|i| i * i % 997).collect();
    for origin in [None, Some(ORIGIN)] {
        let file = written(&path, &ids, origin);
        assert_eq!((file.len(), file.origin()), (ids.len(), origin.as_ref()));
        assert_eq!(file.checksum(), checksum(&ids));
        let counted = |id| ids.iter().filter(|&&other| other == id).count() as u64;
        for id in [0, 1, 996] {
            assert_eq!(file.counts()[id as usize], counted(id));
        }
        assert_eq!(file.counts().iter().sum::<u64>(), ids.len() as u64);
        file.verify().unwrap();
        let mut some = vec![0; 9000];
        file.read(10_000, &mut some).unwrap();
        assert_eq!(some, ids[10_000..19_000]);
        assert!(file.read(11_001, &mut some).is_err() && file.read(usize::MAX, &mut some).is_err());
        // What reads the format as it was reads it still.
        assert_eq!(crate::text::Dataset::read(&path).unwrap().ids(), ids);
    }
    // And what was written in that way is read.
    dataset::write(&path, &ids).unwrap();
    let file = TokenFile::open(&path).unwrap();
    assert_eq!((file.checksum(), file.origin()), (checksum(&ids), None));
    file.verify().unwrap();
}

#[test]
fn other_bytes_behind_the_ids_are_not_taken_for_a_record() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("dataset.bin");
    written(&path, &[5, 6, 5], Some(ORIGIN));
    let whole = std::fs::read(&path).unwrap();
    for cut in 20..=whole.len() {
        std::fs::write(&path, &whole[..cut]).unwrap();
        let file = TokenFile::open(&path).unwrap();
        assert_eq!((file.len(), file.checksum()), (3, checksum(&[5, 6, 5])));
        assert_eq!(file.origin().is_some(), cut == whole.len());
    }
    for at in 20..whole.len() {
        let mut damaged = whole.clone();
        damaged[at] ^= 1;
        std::fs::write(&path, &damaged).unwrap();
        assert_eq!(TokenFile::open(&path).unwrap().origin(), None, "byte {at}");
    }
    // An id that is not the one of the checksum.
    let mut damaged = whole.clone();
    damaged[8] ^= 1;
    std::fs::write(&path, &damaged).unwrap();
    let error = TokenFile::open(&path).unwrap().verify().unwrap_err().to_string();
    assert!(error.contains("is damaged"), "{error}");
    for len in 0..20 {
        std::fs::write(&path, &whole[..len]).unwrap();
        assert!(TokenFile::open(&path).is_err(), "{len} bytes");
    }
}

#[test]
fn ids_that_a_model_does_not_have() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("dataset.bin");
    let file = written(&path, &[1, 9, 2, u32::MAX, 9], None);
    assert_eq!(file.foreign(3).unwrap(), Some(Foreign { count: 3, first: 9, position: 1 }));
    let last = Foreign { count: 1, first: u32::MAX, position: 3 };
    assert_eq!(file.foreign(10).unwrap(), Some(last));
    assert_eq!(file.foreign(1 << 31).unwrap(), Some(last));
    assert_eq!(written(&path, &[1, 2], None).foreign(3).unwrap(), None);
}

#[test]
fn a_writer_that_does_not_finish_leaves_the_old_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("dataset.bin");
    written(&path, &[1, 2], None);
    let mut writer = TokenWriter::create(&path).unwrap();
    writer.push(&[3; 600_000]).unwrap();
    assert!(dir.path().join("dataset.bin.partial").exists());
    assert_eq!(TokenFile::open(&path).unwrap().len(), 2);
    // What an ended process leaves is no whole file of fewer ids.
    std::fs::copy(dir.path().join("dataset.bin.partial"), dir.path().join("half")).unwrap();
    assert!(TokenFile::open(dir.path().join("half")).unwrap().is_empty());
    assert!(TokenWriter::create(&path).is_err());
    drop(writer);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2);
    assert_eq!(TokenFile::open(&path).unwrap().len(), 2);
}

/// Places beyond 2^31 ids, of which a file system keeps none.
#[test]
fn places_beyond_two_thousand_million() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("dataset.bin");
    let count = (1u64 << 31) + 1000;
    let file = File::create(&path).unwrap();
    file.write_all_at(&count.to_le_bytes(), 0).unwrap();
    file.set_len(HEADER + 4 * count).unwrap();
    file.write_all_at(&[42, 0, 0, 0], HEADER + 4 * (count - 1)).unwrap();
    // Its own record, so that nobody reads it through.
    let mut tally = Tally::default();
    tally.add(&[0, 42]).unwrap();
    tally.counts[0] = count - 1;
    let record = Record { tally, origin: None }.bytes(count).unwrap();
    file.write_all_at(&record, HEADER + 4 * count).unwrap();
    let file = TokenFile::open(&path).unwrap();
    let mut ids = [0; 2];
    file.read(count as usize - 2, &mut ids).unwrap();
    assert_eq!((file.len() as u64, ids), (count, [0, 42]));
    let corpus = crate::train::Corpus::new(&file, 1, 10).unwrap();
    let mut windows = Default::default();
    let last = corpus.batches() * 10 - 10;
    assert!(last > i32::MAX as usize);
    let batch = corpus.draw(0, last, &mut windows).unwrap().unwrap();
    assert_eq!(batch.targets.ids.len(), 10);
}
