//! Policies that are tried beside the one that decides.

use allot_model::AllocatorMode;
use allot_model::view::CompareView;
use allot_testkit::{PATIENCE, eventually};
use serde_json::json;

use crate::cluster::Cluster;

#[tokio::test]
async fn a_shadow_tells_how_it_compares_and_never_decides() {
    let mut cluster = Cluster::of("fifo", 1, 2).await;
    let settings = ["mode=shadow".to_owned()];
    cluster.programs.spawn("shadow", "allot-allocator-shortest", &settings).unwrap();
    // What is placed from then on is compared.
    let compared = async || -> Option<CompareView> {
        let said = cluster.allot(&["policy", "compare", "shortest", "-o", "json"]).await;
        let views: Vec<CompareView> = serde_json::from_str(&said.out).ok()?;
        views.into_iter().next().filter(|view| view.unknown.is_none())
    };
    eventually("the shadow follows", PATIENCE, &compared).await;
    let gate = cluster.scratch("gate");
    let two = json!({"cpus": 2});
    let blocker = cluster.wait_for(&gate, json!({"resources": two, "estimate": "10m"})).await;
    cluster.runs(blocker, 1).await;
    let long = cluster.shell("true", json!({"resources": two, "estimate": "1h"})).await;
    let short = cluster.shell("true", json!({"resources": two, "estimate": "1s"})).await;
    eventually("both wait", PATIENCE, || async {
        cluster.queue("default").await.filter(|view| view.pending == 2)
    })
    .await;
    std::fs::write(&gate, "").unwrap();
    cluster.over(long).await;
    cluster.over(short).await;
    let view = eventually("all was compared", PATIENCE, || async {
        compared().await.filter(|view| view.placed == 3)
    })
    .await;
    assert_eq!((view.same_job, view.same_agent, view.all.active.placed), (2, 2, 3), "{view:?}");
    let difference = &view.differences[0];
    let instead = difference.instead.as_ref().map(|instead| instead.job);
    assert_eq!((difference.job, instead), (long, Some(short)), "{view:?}");
    assert_eq!(view.queues[0].queue.as_str(), "default");

    let chosen = cluster.allot(&["policy", "use", "shortest"]).await;
    assert!(chosen.out.contains("is a shadow, which never decides"), "{chosen:?}");
    let refused = cluster.allot(&["policy", "use", "shortest", "--wait"]).await;
    assert_eq!(refused.code, 1, "{refused:?}");
    let there = cluster.policy().await.unwrap();
    let roles: Vec<_> =
        there.allocators.iter().map(|one| (one.policy.as_str(), one.active, one.mode)).collect();
    assert_eq!(roles, [("fifo", true, AllocatorMode::Standby), ("shortest", false, AllocatorMode::Shadow)]);
    let shown = cluster.allot(&["policy", "show", "shortest"]).await;
    assert!(shown.out.contains("shadow: it never decides"), "{shown:?}");
    let text = cluster.allot(&["policy", "compare"]).await;
    assert!(text.out.contains("shortest beside fifo") && text.out.contains("WOULD BE"), "{text:?}");
}
