//! Directories that are mounted.

use std::path::Path;
use std::time::Duration;

use serde_json::json;

use super::{declare, fails, version};
use crate::courier::Courier;
use crate::lab::Lab;

/// The interval is a minute: what comes sooner was noticed.
const SOON: Duration = Duration::from_secs(5);

fn source(path: &Path) -> serde_json::Value {
    json!({"volume": {"path": path}})
}

#[test]
fn a_copy_is_taken_up_when_it_is_there() {
    let Some(lab) = Lab::enter() else { return };
    let operator = lab.operator();
    let dir = tempfile::tempdir().unwrap();
    let mut courier = Courier::new("volume");
    courier.repository.write(dir.path()).unwrap();
    declare(&lab, &courier, "volume", &source(dir.path()));
    version(&lab, "volume", 1);

    courier.refresh();
    courier.repository.write(dir.path()).unwrap();
    let took = version(&lab, "volume", 2);
    assert!(took < SOON, "{took:?}");

    // Slowly, in the worst order: a half-copied repository alarms nobody.
    courier.refresh();
    let files = courier.repository.files();
    for (name, bytes) in files.iter().rev() {
        std::fs::write(dir.path().join(name), bytes).unwrap();
        std::thread::sleep(Duration::from_millis(60));
    }
    let took = version(&lab, "volume", 3);
    assert!(took < SOON, "{took:?}");
    let warnings = lab.events("volume").into_iter().filter(|event| event["type"] == "Warning");
    assert_eq!(warnings.collect::<Vec<_>>(), Vec::<serde_json::Value>::new());
    drop(operator);
}

#[test]
fn a_directory_that_comes_goes_and_is_replaced_is_noticed() {
    let Some(lab) = Lab::enter() else { return };
    let operator = lab.operator();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("later/trust");
    let mut courier = Courier::new("later");
    declare(&lab, &courier, "later", &source(&path));
    let absent = fails(&lab, &operator, "later", "SourceUnusable", "Stalled");
    assert!(absent.message("Ready").contains(&path.display().to_string()), "{}", absent.text());

    courier.repository.write(&path).unwrap();
    let took = version(&lab, "later", 1);
    assert!(took < SOON, "{took:?}");

    // Moved away, and another one moved into its place.
    courier.refresh();
    let next = dir.path().join("later/next");
    courier.repository.write(&next).unwrap();
    std::fs::rename(&path, dir.path().join("later/before")).unwrap();
    std::fs::rename(&next, &path).unwrap();
    let took = version(&lab, "later", 2);
    assert!(took < SOON, "{took:?}");

    // And what is changed in that one is noticed, too.
    courier.refresh();
    courier.repository.write(&path).unwrap();
    let took = version(&lab, "later", 3);
    assert!(took < SOON, "{took:?}");

    // Removed and made anew, with what it lies in.
    std::fs::remove_dir_all(dir.path().join("later")).unwrap();
    lab.reason("later", "Verified", "SourceUnusable");
    courier.refresh();
    courier.repository.write(&path).unwrap();
    let took = version(&lab, "later", 4);
    assert!(took < SOON, "{took:?}");
}

#[test]
fn links_that_are_set_anew_are_noticed() {
    let Some(lab) = Lab::enter() else { return };
    let _operator = lab.operator();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("mounted");
    let mut courier = Courier::new("linked");
    // As a ConfigMap or a Secret is mounted: files are links to `..data/`, which is a link to a directory by date.
    let publish = |courier: &Courier, number: usize| {
        let data = path.join(format!("..2026_{number}"));
        courier.repository.write(&data).unwrap();
        let fresh = path.join("..data_tmp");
        std::os::unix::fs::symlink(format!("..2026_{number}"), &fresh).unwrap();
        std::fs::rename(&fresh, path.join("..data")).unwrap();
        for entry in std::fs::read_dir(&data).unwrap().flatten() {
            let link = path.join(entry.file_name());
            if link.symlink_metadata().is_err() {
                std::os::unix::fs::symlink(Path::new("..data").join(entry.file_name()), link).unwrap();
            }
        }
        if number > 1 {
            std::fs::remove_dir_all(path.join(format!("..2026_{}", number - 1))).unwrap();
        }
    };
    publish(&courier, 1);
    declare(&lab, &courier, "linked", &source(&path));
    version(&lab, "linked", 1);
    for number in [2, 3] {
        courier.refresh();
        publish(&courier, number);
        let took = version(&lab, "linked", u64::try_from(number).unwrap());
        assert!(took < SOON, "{took:?}");
    }

    // As a courier's releases: the mirror's own path is a link.
    let current = dir.path().join("current");
    for number in [4_u64, 5, 6] {
        courier.refresh();
        let release = dir.path().join(format!("releases/{number}"));
        courier.repository.write(&release).unwrap();
        let fresh = dir.path().join("fresh");
        std::os::unix::fs::symlink(&release, &fresh).unwrap();
        std::fs::rename(&fresh, &current).unwrap();
        if number == 4 {
            lab.apply(&courier.mirror_from("linked", &source(&current)));
        }
        let took = version(&lab, "linked", number);
        assert!(took < SOON, "{took:?}");
    }
}
