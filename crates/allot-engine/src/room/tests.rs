use super::*;
use proptest::prelude::*;

fn resources(cpus: u64, gpus: &[u64], ports: u64) -> Resources {
    let named = |name: &str| ResourceName::new(name).unwrap();
    let items = (0..).zip(gpus).map(|(id, left): (u32, _)| (id.to_string(), *left)).collect();
    let mut numbers = allot_model::Ranges::new();
    assert!(ports == 0 || numbers.insert(1, ports));
    Resources::from_iter([
        (named("cpus"), Amount::Scalar(cpus)),
        (named("gpus"), Amount::Items(items)),
        (named("ports"), Amount::Ranges(numbers)),
    ])
}

/// What is left of each device, the fullest first.
fn left(free: &Free) -> Vec<u64> {
    let mut devices = Vec::new();
    free.gpus(&mut devices);
    devices
}

fn amount() -> impl Strategy<Value = u64> {
    prop_oneof![Just(0_u64), Just(250), Just(500), Just(1_000), Just(1_500), Just(2_000), 0_u64..4_000]
}

fn part() -> impl Strategy<Value = u64> {
    prop_oneof![Just(0_u64), Just(250), Just(500), Just(1_000), 1_u64..1_000]
}

proptest! {
    #[test]
    fn what_fits_and_what_is_left_is_as_by_taking_from_the_resources_themselves(
        gpus in proptest::collection::vec(part(), 0..5),
        ports in 0_u64..4,
        asks in proptest::collection::vec((0_u64..5, amount(), amount()), 1..8),
    ) {
        let (mut dims, mut sieve) = (Dims::new(), crate::sieve::Sieve::default());
        let mut free = Free::of(&resources(4, &gpus, ports), &mut dims);
        let mut whole = resources(4, &gpus, ports);
        for (id, (cpus, gpus, ports)) in (0..).zip(asks) {
            let request: Request = [("cpus", cpus), ("gpus", gpus), ("ports", ports)]
                .map(|(name, amount)| (ResourceName::new(name).unwrap(), amount))
                .into_iter()
                .collect();
            let mut shape = Shape::default();
            (shape.need, shape.request) = (dims.need(&request), request);
            let bit = sieve.add(id, &shape.need, UNCONSTRAINED);
            let slice = whole.take(&shape.request);
            prop_assert_eq!(free.holds(&shape), slice.is_some(), "{:?} of {}", shape.request, whole);
            prop_assert_eq!(sieve.fitting(&free) >> bit & 1 == 1, slice.is_some(), "{:?} of {}", shape.request, whole);
            let Some(slice) = slice else { continue };
            let (mut expected, before) = (Vec::new(), left(&free));
            without(&before, if gpus == 0 { 1_000_000 } else { gpus }, &mut expected);
            let named = free.take(&shape.request);
            prop_assert_eq!(named.clone().unwrap_or_default(), named_part(&slice));
            free.subtract(&shape.need, 1, named.as_ref());
            whole.subtract(&slice).unwrap();
            prop_assert_eq!(left(&free), if gpus == 0 { before } else { expected });
            let told = Free::of(&whole, &mut dims);
            prop_assert_eq!((&free.named, &free.pieces), (&told.named, &told.pieces));
        }
    }
}

#[test]
fn gpus_that_are_counted_are_whole_ones_and_a_part_of_one() {
    let mut dims = Dims::new();
    let counted = |gpus: u64, dims: &mut Dims| {
        Free::of(&Resources::from_iter([("gpus".parse().unwrap(), Amount::Scalar(gpus))]), dims)
    };
    assert_eq!(left(&counted(2_300, &mut dims)), [300, 1_000, 1_000]);
    assert_eq!(left(&counted(0, &mut dims)), [0_u64; 0]);
    assert_eq!(left(&counted(u64::MAX, &mut dims)).len(), 1_025, "only so many are looked at one by one");
}
