use super::*;
use proptest::prelude::*;

const NODES: &str = "sn,cpu_milli,memory_mib,gpu,model\nn0,64000,262144,2,P100\r\n\nn1,8000,4096,0,\n";
const PODS: &str = "name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec,qos\n\
    p0,4000,1024,0,0,,LS\np1,6000,12288,1,460,,BE\np2,1000,1,8,1000,V100M32|V100M16,LS\np3,1000,1,1,1000,T4,LS\n";

#[test]
fn nodes_are_agents_with_numbered_gpus_and_a_model() {
    let nodes = parse_nodes(NODES.as_bytes()).unwrap();
    assert_eq!(nodes[0].resources().to_string(), "cpus 64, gpus {0,1}, mem 256GiB");
    assert_eq!(nodes[0].attributes(), [(MODEL.to_owned(), "P100".to_owned())].into());
    assert_eq!(
        (nodes[1].resources().to_string().as_str(), nodes[1].attributes().len()),
        ("cpus 8, mem 4GiB", 0)
    );
    assert_eq!(gpu_capacity_milli(&nodes), 2_000);
}

#[test]
fn pods_are_tasks_with_a_share_or_whole_gpus_of_some_model() {
    let pods = parse_pods(PODS.as_bytes()).unwrap();
    let told: Vec<(u64, String)> = pods
        .iter()
        .map(|pod| (pod.gpu_milli, pod.constraints().iter().map(ToString::to_string).collect()))
        .collect();
    let expected =
        [(0, ""), (460, ""), (8_000, "gpu_model in (V100M16, V100M32)"), (1_000, "gpu_model in (T4)")];
    assert_eq!(told, expected.map(|(gpus, text)| (gpus, text.to_owned())));
    let without_models = parse_pods(b"name,cpu_milli,memory_mib,num_gpu,gpu_milli\np,1,1,1,5\n").unwrap();
    assert_eq!((without_models[0].gpu_milli, without_models[0].constraints().len()), (5, 0));
    assert_eq!(pods[1].request().as_scalars().to_string(), "cpus 6, gpus 0.46, mem 12GiB");
}

#[test]
fn errors_name_the_line_and_the_column() {
    let cases = [
        (String::new(), "line 1: there is no column `name`: the list has to name name, cpu_milli"),
        (PODS.replace("num_gpu", "gpus"), "line 1: there is no column `num_gpu`"),
        (PODS.replace("6000", "six"), "line 3: cpu_milli: \"six\" is not a whole number"),
        (PODS.replace(",BE", ""), "line 3: 6 fields are given: the first line names 7"),
        (PODS.replace("8,1000", "8,500"), "line 4: num_gpu = 8, gpu_milli = 500: a share is of one GPU"),
        (PODS.replace("460", "1460"), "line 3: num_gpu = 1, gpu_milli = 1460"),
    ];
    for (text, message) in cases {
        let error = parse_pods(text.as_bytes()).expect_err(message).to_string();
        assert!(error.starts_with(message), "{error}");
    }
    let many = parse_nodes(NODES.replace(",2,P100", ",24424342,P100").as_bytes()).unwrap_err();
    assert_eq!(many.to_string(), "line 2: gpu: 24424342 is given, and a node has 1024 at most");
    assert!(parse_nodes(&[0x1f, 0x8b, 0]).unwrap_err().to_string().starts_with("line 0: the file cannot be"));
}

#[test]
fn a_node_that_is_listed_twice_is_told_with_both_lines() {
    let twice = format!("{NODES}n0,1,1,0,\n");
    let error = parse_nodes(twice.as_bytes()).unwrap_err().to_string();
    assert_eq!(error, "line 5: sn: \"n0\" is the node of line 2 already: give each its own");
}

#[test]
fn all_pods_arrive_and_then_some_again_until_enough_is_asked_for() {
    let pods = parse_pods(PODS.as_bytes()).unwrap();
    let asked = |order: &[usize]| order.iter().map(|place| pods[*place].gpu_milli).sum::<u64>();
    let order = arrivals(&pods, 130_000, 42);
    assert_eq!(order, arrivals(&pods, 130_000, 42), "the same for the same seed");
    assert_ne!(order, arrivals(&pods, 130_000, 43));
    let mut first = order[..4].to_vec();
    first.sort_unstable();
    assert_eq!(first, [0, 1, 2, 3]);
    let before = asked(&order[..order.len() - 1]);
    assert!(asked(&order) >= 130_000 && before < 130_000, "{before} of 130000 before the last");
    let few = arrivals(&pods, 1, 42);
    assert!(order.starts_with(&few) && asked(&few) > 0 && few.len() <= 2, "{few:?}");
    assert_eq!(arrivals(&pods[..1], 1_300, 42), [0], "nobody asks for any");
    assert_eq!(arrivals(&[], 1_300, 42), [0; 0]);
}

proptest! {
    #[test]
    fn any_bytes_are_a_list_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = parse_nodes(&bytes);
        let _ = parse_pods(&[PODS.as_bytes(), &bytes].concat());
    }
}
