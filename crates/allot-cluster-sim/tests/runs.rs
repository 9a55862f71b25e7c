//! What every run has to be: the same each time, and another for another seed.

use allot_cluster_sim::{Options, Outcome, run, run_told};

fn outcome(seed: u64) -> Outcome {
    run(Options::drawn(seed))
}

#[test]
fn a_seed_goes_the_same_way_each_time_and_whoever_listens() {
    for seed in 1..4 {
        let silent = outcome(seed);
        let mut lines = 0_u64;
        let told = run_told(Options::drawn(seed), &mut |_| lines += 1);
        assert_eq!(silent, told);
        assert_eq!(silent.broken, None);
        assert!(lines > silent.steps / 2, "{lines} lines tell of {} events", silent.steps);
    }
}

#[test]
fn seeds_go_ways_of_their_own() {
    assert_ne!(outcome(1).digest, outcome(2).digest);
}

#[test]
fn a_seed_that_is_told_names_all_that_was_drawn() {
    let text = Options::drawn(7).to_string();
    assert!(text.starts_with("seed 7 ") && text.contains("loss") && text.contains("agents"), "{text}");
}
