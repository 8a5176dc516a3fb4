//! The slow source that other tests rest on.

use mount_tests::{Call, Shape, SlowSource, wait_until};
use std::time::{Duration, Instant};

const HOUR: Duration = Duration::from_secs(3600);

#[test]
fn it_is_a_directory_like_others() {
    let source = SlowSource::new(Shape {
        directories: 3,
        files: 500,
        bytes: 10_000,
        ..Shape::default()
    });
    let names = |path: &str| {
        let entries = std::fs::read_dir(source.join(path)).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = names.collect();
        names.sort();
        names
    };
    assert_eq!(
        names(""),
        (0..3).map(SlowSource::directory).collect::<Vec<_>>()
    );
    let files: Vec<_> = (0..500)
        .map(|n| format!("d00002/{}", names("d00002")[n]))
        .collect();
    assert_eq!(
        files,
        (0..500).map(|n| SlowSource::file(2, n)).collect::<Vec<_>>()
    );
    let path = source.join(SlowSource::file(2, 499));
    let before = std::fs::read(&path).unwrap();
    assert_eq!((before.len(), &before), (10_000, &source.content(2, 499)));
    source.change(2, 499);
    assert_ne!(source.content(2, 499), before);
    assert_eq!(std::fs::read(&path).unwrap(), source.content(2, 499));
    assert!(!source.join("d00003").exists() && !source.join("d00000/f500").exists());
    assert!(source.count(Call::Open) >= 2 && source.count(Call::Read) >= 2);
}

#[test]
fn it_may_tell_no_sizes() {
    let source = SlowSource::new(Shape {
        tells_sizes: false,
        ..Shape::default()
    });
    let path = source.join(SlowSource::file(0, 0));
    assert_eq!(std::fs::metadata(&path).unwrap().len(), 0);
    assert_eq!(std::fs::read(&path).unwrap(), source.content(0, 0));
}

#[test]
fn calls_wait_beside_each_other_until_they_may_go_on() {
    let source = SlowSource::new(Shape::default());
    source.set_latency(Duration::from_millis(50));
    let began = Instant::now();
    assert_eq!(
        std::fs::read(source.join(SlowSource::file(0, 0)))
            .unwrap()
            .len(),
        4000
    );
    assert!(
        began.elapsed() >= Duration::from_millis(200),
        "lookups, open, read"
    );
    // Closing the file takes its time too, in which nobody waits.
    assert!(wait_until(
        || source.count(Call::Release) == 1 && source.waiting() == 0
    ));
    source.take_most_waiting();
    source.slow(Call::Open, HOUR);
    std::thread::scope(|scope| {
        let source = &source;
        let read = |n| move || std::fs::read(source.join(SlowSource::file(0, n)));
        let readers: Vec<_> = (0..16).map(|n| scope.spawn(read(n))).collect();
        let all_wait = wait_until(|| source.waiting() == 16);
        let most = source.take_most_waiting();
        // Before anything is asserted: who fails here would wait for the readers.
        source.set_latency(Duration::ZERO);
        assert_eq!((all_wait, most), (true, 16));
        readers.into_iter().for_each(|reader| {
            reader.join().unwrap().unwrap();
        });
    });
    assert_eq!(source.waiting(), 0);
}

#[test]
fn nobody_is_left_waiting_at_its_end() {
    let source = SlowSource::new(Shape::default());
    source.set_latency(HOUR);
    let path = source.join(SlowSource::file(0, 0));
    let reader = std::thread::spawn(move || std::fs::read(path).is_ok());
    assert!(wait_until(|| source.waiting() > 0));
    drop(source);
    reader.join().unwrap();
}
