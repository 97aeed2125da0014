use shared::archive::layout::Run;
use shared::archive::manifest::File;
use shared::ids::{BackupId, TimelineId};
use shared::units::Lsn;

use super::*;

/// A part with these files, and its stream.
fn part(files: &[(&str, &[u8])]) -> (Part, Vec<u8>) {
    let mut stream = Vec::new();
    for (path, content) in files {
        let mut header = tar::Header::new_ustar();
        header.set_path(path).unwrap();
        header.set_size(u64::try_from(content.len()).unwrap());
        header.set_mode(0o600);
        header.set_cksum();
        stream.extend_from_slice(header.as_bytes());
        stream.extend_from_slice(content);
        stream.resize(stream.len().next_multiple_of(512), 0);
    }
    stream.resize(stream.len() + 1024, 0);
    let files = files.iter().map(|(path, content)| File {
        path: (*path).to_owned(),
        bytes: u64::try_from(content.len()).unwrap(),
    });
    let part = Part {
        pieces: vec![1, 2],
        bytes: u64::try_from(stream.len()).unwrap(),
        files: files.collect(),
    };
    (part, stream)
}

fn manifest(directories: &[&str], files: &[&str]) -> Manifest {
    let files = files.iter().map(|path| File {
        path: (*path).to_owned(),
        bytes: 0,
    });
    let part = Part {
        pieces: vec![1],
        bytes: 0,
        files: files.collect(),
    };
    Manifest {
        backup: BackupId::from_uuid(uuid::Uuid::from_u128(1)),
        timeline: TimelineId::from_uuid(uuid::Uuid::from_u128(2)),
        system_identifier: 7,
        run: Run { epoch: 1, tli: 1 },
        start_lsn: Lsn::from_bytes(1),
        stop_lsn: Lsn::from_bytes(2),
        started_at: chrono::DateTime::UNIX_EPOCH,
        stopped_at: chrono::DateTime::UNIX_EPOCH,
        postgres_version: "15.18".to_owned(),
        wal_segment_bytes: 1 << 20,
        backup_label: String::new(),
        directories: directories.iter().map(|path| (*path).to_owned()).collect(),
        parts: vec![part],
        damaged_pages: Vec::new(),
    }
}

#[test]
fn a_stream_is_unpacked_wherever_it_is_cut_and_however_often() {
    let directory = tempfile::tempdir().unwrap();
    let large: Vec<u8> = (0..5000u32).map(|number| number.to_le_bytes()[0]).collect();
    let files: [(&str, &[u8]); 4] = [
        ("a", b"x"),
        ("empty", b""),
        ("b", &large),
        ("c", &large[..512]),
    ];
    let (part, stream) = part(&files);
    let account = Account::current();
    for cut in (0..=stream.len()).step_by(512) {
        let data = directory.path().join(cut.to_string());
        fs::create_dir(&data).unwrap();
        let unpacking = Unpacking {
            part: &part,
            data: data.clone(),
            account: &account,
        };
        let offset = u64::try_from(cut).unwrap();
        let (first, second) = stream.split_at(cut);
        unpacking.write(first, 0).unwrap();
        unpacking.write(second, offset).unwrap();
        unpacking.write(second, offset).unwrap();
        unpacking.finish().unwrap();
        for (path, content) in files {
            assert_eq!(
                fs::read(data.join(path)).unwrap(),
                content,
                "{path} at {cut}"
            );
        }
    }
    assert_eq!(file_bytes(&part, 0), 0);
    assert_eq!(file_bytes(&part, 1024 + 512 + 512 + 700), 701);
    assert_eq!(file_bytes(&part, part.bytes), 1 + 5000 + 512);
}

#[test]
fn a_stream_that_is_not_what_the_manifest_says_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let (part, stream) = part(&[("a", b"x"), ("b", b"y")]);
    let account = Account::current();
    let unpacking = Unpacking {
        part: &part,
        data: directory.path().to_owned(),
        account: &account,
    };
    let refused = |stream: &[u8], offset| unpacking.write(stream, offset).unwrap_err().to_string();
    assert!(refused(&stream[1024..2048], 0).contains("where the manifest has a"));
    assert!(refused(&stream, 512).contains("does not fit"));
    assert!(refused(&stream[..700], 0).contains("does not fit"));
    let mut more = stream.clone();
    *more.last_mut().unwrap() = 1;
    assert!(refused(&more, 0).contains("behind the last file"));
    more[600] = 1;
    assert!(refused(&more, 0).contains("behind a"));
    let mut longer = part.clone();
    longer.files[1].bytes = 2;
    let longer = Unpacking {
        part: &longer,
        ..unpacking
    };
    assert!(
        longer
            .finish()
            .unwrap_err()
            .to_string()
            .contains("bytes, not 2")
    );
}

#[test]
fn nothing_is_written_outside_of_the_data_directory() {
    let refused = |directories: &[&str], files: &[&str]| {
        check(&manifest(directories, files))
            .unwrap_err()
            .to_string()
    };
    check(&manifest(&["base", "base/1", "pg_tblspc"], &["base/1/2"])).unwrap();
    for path in ["../x", "/etc/passwd", "a/../../b", "", "./x"] {
        assert!(refused(&[], &[path]).contains("not below"), "{path}");
        assert!(refused(&[path], &[]).contains("not below"), "{path}");
    }
    let tablespace = refused(&["pg_tblspc/16400"], &[]);
    assert!(tablespace.contains("tablespace"), "{tablespace}");
}
