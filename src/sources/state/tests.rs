use holdfast_testpki::tuf::Repository;

use holdfast_core::trust::tuf::State;

use super::*;

fn fresh() -> Held {
    let now = "2026-06-25T00:00:00Z".parse().unwrap();
    let root = Repository::new(now).files().get("1.root.json").cloned().unwrap();
    Held { state: State::bootstrap(&root, None, now).unwrap(), trusted_root: None }
}

/// What a first commit that is cut off between its renames leaves behind.
fn cut_off(path: &Path, held: &Held) {
    let dir = StateDir::create(path).unwrap();
    make_dir(&path.join(OBJECTS)).unwrap();
    dir.begin().unwrap();
    for bytes in held.state.held().values() {
        replace(&path.join(OBJECTS).join(Digest::of(bytes).hex()), bytes).unwrap();
    }
}

#[test]
fn a_first_commit_that_was_cut_off_is_begun_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state");
    cut_off(&path, &fresh());
    assert!(matches!(StateDir::look(&path), Err(StateError::Absent { .. })));
    assert!(matches!(StateDir::open(&path), Err(StateError::Absent { .. })));
    let held = fresh();
    StateDir::create(&path).unwrap().commit(&held).unwrap();
    assert_eq!(StateDir::look(&path).unwrap(), held);
    assert_eq!(entries(&path.join(OBJECTS)).count(), 1, "what the attempt left is gone");
    assert!(matches!(StateDir::create(&path), Err(StateError::Present { .. })));
}

/// The note is replaced by the memory: no state that was committed has both, so taking the memory away never brings it back.
#[test]
fn a_state_whose_memory_was_taken_away_is_damaged() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state");
    cut_off(&path, &fresh());
    StateDir::create(&path).unwrap().commit(&fresh()).unwrap();
    fs::remove_file(path.join(MEMORY)).unwrap();
    for refused in [StateDir::create(&path).err(), StateDir::look(&path).err()] {
        assert!(matches!(refused, Some(StateError::Damaged { .. })), "{refused:?}");
    }
    // Nor is the note believed beside what only follows a commit.
    replace(&path.join(MEMORY), BEGUN).unwrap();
    assert!(matches!(StateDir::create(&path), Err(StateError::Damaged { .. })));
    fs::remove_dir_all(path.join(METADATA)).unwrap();
    fs::remove_file(path.join(MEMORY)).unwrap();
    assert!(matches!(StateDir::create(&path), Err(StateError::Damaged { .. })), "objects alone");
}

#[test]
fn a_role_of_any_name_has_a_copy_of_its_own_whose_name_a_file_may_have() {
    let long = "päckchen/".repeat(100);
    let names = ["targets", "registry.npmjs.org", "../x", &long, &long[..long.len() - 1], "", "~"];
    let copies: Vec<String> = names.iter().map(|name| copy_name(name)).collect();
    let dir = std::env::temp_dir();
    for (index, copy) in copies.iter().enumerate() {
        assert!(copy.len() < 220 && !copy.contains('/') && !copies[..index].contains(copy), "{copy}");
        assert!(dir.join(copy).parent() == Some(dir.as_path()), "{copy}");
    }
}

#[test]
fn whoever_looks_while_a_state_is_committed_sees_the_one_or_the_other() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state");
    let states = [fresh(), fresh()];
    StateDir::create(&path).unwrap().commit(&states[0]).unwrap();
    std::thread::scope(|scope| {
        let committing = scope.spawn(|| {
            for state in states.iter().cycle().take(200) {
                StateDir::open(&path).unwrap().0.commit(state).unwrap();
            }
        });
        while !committing.is_finished() {
            let held = StateDir::look(&path).unwrap();
            assert!(states.contains(&held));
        }
    });
}
