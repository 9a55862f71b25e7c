//! `allot submit` of several jobs, to an inbox without a dispatcher.

use crate::World;
use allot_bus::Stream;

#[tokio::test]
async fn several_files_are_several_jobs_and_none_where_one_is_wrong() {
    let world = World::new().await;
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        std::fs::write(dir.path().join(name), text).unwrap();
        dir.path().join(name).display().to_string()
    };
    let good = write("a.toml", "command = ['true']\n");
    let also = write("b.yaml", "command: ['true']\nqueue: research\n");
    let bad = write("c.json", "{\"command\": [\"true\"],\n \"tasks\": 0}");
    let said = world.allot(&["submit", &good, &bad]).await;
    assert_eq!((said.code, said.out.as_str()), (2, ""), "{said:?}");
    let shown = "c.json:2:2: tasks: the number `0` is given: write a whole number from 1 to 10,000,000\n  2 |  \"tasks\": 0}\n    |  ^\n";
    assert!(said.err.ends_with(shown), "{}", said.err);
    let said = world.allot(&["submit", &good, &also, "--id", "x"]).await;
    assert!(said.code == 2 && said.err.contains("--id is for one job, and 2 are given"), "{said:?}");
    let said = world.allot(&["submit", &good, &also, "--tasks", "2"]).await;
    assert_eq!((said.code, said.out.as_str()), (0, "1\n2\n"), "{said:?}");
    let stream = world.bus.jetstream().get_stream(Stream::Inbox.name()).await.unwrap();
    assert_eq!(stream.get_raw_message(2).await.unwrap().subject.as_str(), "allot.v1.submit.research");
}

#[tokio::test]
async fn thousands_of_lines_are_as_many_jobs_in_their_order() {
    let world = World::new().await;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("jobs.jsonl");
    let lines: String =
        (0..2_345).map(|n| format!("{{\"command\": [\"true\"], \"name\": \"n{n}\"}}\n")).collect();
    std::fs::write(&path, lines).unwrap();
    let said = world.allot(&["submit", "--lines", &path.display().to_string()]).await;
    let ids: Vec<u64> = said.out.lines().map(|line| line.parse().unwrap()).collect();
    assert_eq!((said.code, ids), (0, (1..=2_345).collect()));
    let stream = world.bus.jetstream().get_stream(Stream::Inbox.name()).await.unwrap();
    let last = String::from_utf8(stream.get_raw_message(2_345).await.unwrap().payload.to_vec()).unwrap();
    assert!(last.contains("\"n2344\""), "{last}");
}
