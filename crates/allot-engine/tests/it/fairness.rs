//! What dominant resource fairness promises [Ghodsi et al., NSDI 2011, §3], on pools that are large beside tasks. With whole
//! tasks each promise holds but for one task.

use proptest::prelude::*;

use crate::support::{Cluster, cases, policy};

/// None of these is below another.
const QUEUES: [&str; 4] = ["a", "b", "b-c", "c"];

type Need = (u64, u64);

fn needs() -> impl Strategy<Value = Vec<Need>> {
    proptest::collection::vec((0_u64..9, 1_u64..9), 2..4)
}

/// How many tasks each queue gets that wants as many as it can have, by name of the policy.
fn share_out(name: &str, pool: Need, needs: &[Need]) -> Vec<u64> {
    let mut cluster = Cluster::new(policy(name));
    cluster.agent("m", &format!("cpus={} mem={}", pool.0, pool.1));
    for (id, (cpus, mem)) in (1..).zip(needs) {
        cluster.job(id, QUEUES[usize::try_from(id).unwrap() - 1], 100_000, &format!("cpus={cpus} mem={mem}"));
    }
    cluster.pass();
    (1..).zip(needs).map(|(id, _)| cluster.running(id)).collect()
}

/// How many tasks of this need fit into so much.
fn tasks_in(bundle: Need, need: Need) -> u64 {
    let times = |some: u64, asked: u64| some.checked_div(asked).unwrap_or(u64::MAX);
    times(bundle.0, need.0).min(times(bundle.1, need.1))
}

proptest! {
    #![proptest_config(cases(200))]

    #[test]
    fn sharing_incentive_nobody_has_less_than_an_equal_part_would_give(pool in (500_u64..900, 500_u64..900), needs in needs()) {
        for name in ["drf", "hdrf"] {
            let tasks = share_out(name, pool, &needs);
            let parts = needs.len() as u64;
            for (has, need) in tasks.iter().zip(&needs) {
                // A task of another queue may be in the way that is as large as the largest.
                let whole = (pool.0.saturating_sub(9 * parts) / parts, pool.1.saturating_sub(9 * parts) / parts);
                prop_assert!(*has + 1 >= tasks_in(whole, *need), "{name}: {has} tasks of {need:?}");
            }
        }
    }

    #[test]
    fn envy_freeness_nobody_would_rather_have_what_another_has(pool in (500_u64..900, 500_u64..900), needs in needs()) {
        for name in ["drf", "hdrf"] {
            let tasks = share_out(name, pool, &needs);
            for (own, need) in tasks.iter().zip(&needs) {
                for (other, theirs) in tasks.iter().zip(&needs) {
                    let others = other.saturating_sub(1);
                    let could = tasks_in((others * theirs.0, others * theirs.1), *need);
                    prop_assert!(*own + 1 >= could, "{name}: {own} tasks of {need:?}, and {could} with what {theirs:?} has");
                }
            }
        }
    }

    #[test]
    fn pareto_efficiency_nobody_can_have_more_without_another_having_less(pool in (500_u64..900, 500_u64..900), needs in needs()) {
        for name in ["drf", "hdrf", "fair", "asset", "usage", "lottery", "karma"] {
            let tasks = share_out(name, pool, &needs);
            let used = |of: fn(&Need) -> u64| tasks.iter().zip(&needs).map(|(tasks, need)| tasks * of(need)).sum::<u64>();
            let left = (pool.0 - used(|need| need.0), pool.1 - used(|need| need.1));
            prop_assert!(needs.iter().all(|need| tasks_in(left, *need) == 0), "{name}: {left:?} is left");
        }
    }

    #[test]
    fn strategy_proofness_asking_for_more_than_is_needed_gives_no_more(
        pool in (500_u64..900, 500_u64..900),
        needs in needs(),
        more in (0_u64..5, 0_u64..5),
    ) {
        let honest = share_out("drf", pool, &needs)[0];
        let mut told = needs.clone();
        told[0] = (told[0].0 + more.0, told[0].1 + more.1);
        let lying = share_out("drf", pool, &told)[0];
        prop_assert!(lying <= honest + 1, "{lying} tasks instead of {honest}");
    }
}
