//! One ordered tree with summaries: queues by share, agents by fit.
//!
//! Members are slots, ordered by key; each has a summary, and each subtree has the joined summary of its members.
//! The first member in order that satisfies a condition is found without looking at subtrees whose summary rules
//! it out. It is a treap whose heap order is a fixed hash of the slot, so that equal input makes equal trees.

/// What a subtree says about its members. The default says that there are none, and changes nothing when joined; the order in
/// which members are joined makes no difference.
pub(crate) trait Summary: Copy + Default + PartialEq + std::fmt::Debug {
    /// What both say together.
    fn join(&mut self, other: &Self);
}

const NONE: u32 = u32::MAX;

/// Slots in order of their keys. No two keys may be equal.
#[derive(Debug, Clone)]
pub(crate) struct Ranked<K, S> {
    /// Apart from the nodes, which are all that most searches look at.
    keys: Vec<K>,
    nodes: Vec<Node<S>>,
    root: u32,
}

#[derive(Debug, Clone, Copy)]
struct Node<S> {
    /// What it and everything below it say.
    all: S,
    /// What the member itself says.
    own: S,
    left: u32,
    right: u32,
    parent: u32,
    /// Larger is nearer to the root.
    height: u32,
    linked: bool,
}

impl<K, S> Default for Ranked<K, S> {
    fn default() -> Self {
        Self { keys: Vec::new(), nodes: Vec::new(), root: NONE }
    }
}

/// Spreads slots over the numbers, so that the tree is flat.
fn spread(slot: u32) -> u32 {
    let mut bits = slot.wrapping_mul(0x9E37_79B9) ^ 0x5bd1_e995;
    bits = (bits ^ (bits >> 16)).wrapping_mul(0x85eb_ca6b);
    bits = (bits ^ (bits >> 13)).wrapping_mul(0xc2b2_ae35);
    bits ^ (bits >> 16)
}

impl<K: Ord + Default, S: Summary> Ranked<K, S> {
    /// True where the slot is a member.
    pub(crate) fn contains(&self, slot: u32) -> bool {
        self.nodes.get(slot as usize).is_some_and(|node| node.linked)
    }

    /// The key of a member.
    pub(crate) fn key(&self, slot: u32) -> Option<&K> {
        self.keys.get(slot as usize).filter(|_| self.contains(slot))
    }

    /// What a member says.
    pub(crate) fn says(&self, slot: u32) -> S {
        self.nodes.get(slot as usize).filter(|node| node.linked).map_or_else(S::default, |node| node.own)
    }

    /// The first member in order.
    pub(crate) fn first(&self) -> Option<u32> {
        let mut first = None;
        let mut next = self.root;
        while let Some(node) = self.nodes.get(next as usize) {
            first = Some(next);
            next = node.left;
        }
        first
    }

    /// What all members say together.
    pub(crate) fn all(&self) -> S {
        self.nodes.get(self.root as usize).map_or_else(S::default, |node| node.all)
    }

    /// Makes the slot a member, or moves it to where its new key belongs.
    pub(crate) fn set(&mut self, slot: u32, key: K, own: S) {
        self.remove(slot);
        while self.nodes.len() <= slot as usize {
            let height = spread(u32::try_from(self.nodes.len()).unwrap_or(NONE));
            let (own, all) = (S::default(), S::default());
            let (left, right, parent) = (NONE, NONE, NONE);
            self.nodes.push(Node { all, own, left, right, parent, height, linked: false });
            self.keys.push(K::default());
        }
        self.keys[slot as usize] = key;
        self.nodes[slot as usize].own = own;
        self.link(slot);
    }

    /// Moves a member to where its changed key belongs. Does nothing where the slot is no member.
    pub(crate) fn update(&mut self, slot: u32, own: S, change: impl FnOnce(&mut K)) {
        if !self.contains(slot) {
            return;
        }
        self.unlink(slot);
        change(&mut self.keys[slot as usize]);
        self.nodes[slot as usize].own = own;
        self.link(slot);
    }

    /// Has every member say something new.
    pub(crate) fn restate(&mut self, own: impl Fn(u32) -> S) {
        for slot in self.in_order() {
            self.nodes[slot as usize].own = own(slot);
        }
        self.pull_below(self.root);
    }

    fn pull_below(&mut self, root: u32) {
        if root != NONE {
            let Node { left, right, .. } = self.nodes[root as usize];
            self.pull_below(left);
            self.pull_below(right);
            self.pull(root);
        }
    }

    /// Takes the slot out, if it is a member.
    pub(crate) fn remove(&mut self, slot: u32) {
        if self.contains(slot) {
            self.unlink(slot);
        }
    }

    /// The first member in order that `accept` takes, among those whose subtrees' summaries pass `enter`.
    pub(crate) fn find(
        &self,
        enter: impl Fn(&S) -> bool,
        mut accept: impl FnMut(u32) -> bool,
    ) -> Option<u32> {
        let root = self.entered(self.root, &enter)?;
        self.find_below(root, &enter, &mut accept)
    }

    /// The root of a subtree, where there is one that passes.
    fn entered(&self, root: u32, enter: &impl Fn(&S) -> bool) -> Option<u32> {
        self.nodes.get(root as usize).filter(|node| enter(&node.all)).map(|_| root)
    }

    fn find_below(
        &self,
        mut root: u32,
        enter: &impl Fn(&S) -> bool,
        accept: &mut impl FnMut(u32) -> bool,
    ) -> Option<u32> {
        loop {
            let node = &self.nodes[root as usize];
            let left = self.entered(node.left, enter);
            if let Some(earlier) = left.and_then(|left| self.find_below(left, enter, accept)) {
                return Some(earlier);
            }
            if enter(&node.own) && accept(root) {
                return Some(root);
            }
            root = self.entered(node.right, enter)?;
        }
    }

    /// The member that so many others come before. `count` says of how many members a summary is.
    pub(crate) fn nth(&self, place: u64, count: impl Fn(&S) -> u64) -> Option<u32> {
        let (mut before, mut next) = (place, self.root);
        while let Some(node) = self.nodes.get(next as usize) {
            let left = self.nodes.get(node.left as usize).map_or(0, |left| count(&left.all));
            if before == left {
                return Some(next);
            }
            (before, next) =
                if before < left { (before, node.left) } else { (before - left - 1, node.right) };
        }
        None
    }

    /// The first member in order with which `reached` holds of all up to and including it, taken together. What holds of
    /// some members has to hold of more, and must not hold of none.
    pub(crate) fn seek(&self, mut reached: impl FnMut(&S) -> bool) -> Option<u32> {
        let (mut before, mut at) = (S::default(), self.root);
        while let Some(node) = self.nodes.get(at as usize) {
            let mut left = before;
            if let Some(child) = self.nodes.get(node.left as usize) {
                left.join(&child.all);
                if reached(&left) {
                    at = node.left;
                    continue;
                }
            }
            left.join(&node.own);
            if reached(&left) {
                return Some(at);
            }
            (before, at) = (left, node.right);
        }
        None
    }

    /// What the members up to and including this key say together.
    pub(crate) fn up_to(&self, key: &K) -> S {
        let (mut all, mut at) = (S::default(), self.root);
        while let Some(node) = self.nodes.get(at as usize) {
            if self.keys[at as usize] > *key {
                at = node.left;
                continue;
            }
            if let Some(child) = self.nodes.get(node.left as usize) {
                all.join(&child.all);
            }
            all.join(&node.own);
            at = node.right;
        }
        all
    }

    /// All members in order.
    pub(crate) fn in_order(&self) -> Vec<u32> {
        let mut slots = Vec::new();
        self.find(
            |_| true,
            |slot| {
                slots.push(slot);
                false
            },
        );
        slots
    }

    /// What a member and everything below it say.
    fn pulled(&self, slot: u32) -> S {
        let node = &self.nodes[slot as usize];
        let mut all = node.own;
        for child in [node.left, node.right] {
            if let Some(child) = self.nodes.get(child as usize) {
                all.join(&child.all);
            }
        }
        all
    }

    fn pull(&mut self, slot: u32) {
        self.nodes[slot as usize].all = self.pulled(slot);
    }

    /// Brings what is said above a changed subtree up to date, as far up as it makes a difference.
    fn pull_up(&mut self, mut at: u32) {
        while at != NONE {
            let all = self.pulled(at);
            let node = &mut self.nodes[at as usize];
            if node.all == all {
                return;
            }
            (node.all, at) = (all, node.parent);
        }
    }

    fn is_before(&self, left: u32, right: u32) -> bool {
        self.keys[left as usize] < self.keys[right as usize]
    }

    fn set_left(&mut self, slot: u32, child: u32) {
        self.nodes[slot as usize].left = child;
        self.set_parent(child, slot);
    }

    fn set_right(&mut self, slot: u32, child: u32) {
        self.nodes[slot as usize].right = child;
        self.set_parent(child, slot);
    }

    fn set_parent(&mut self, child: u32, parent: u32) {
        if let Some(node) = self.nodes.get_mut(child as usize) {
            node.parent = parent;
        }
    }

    /// Puts a slot where its key belongs: below those that are nearer to the root, above the others.
    fn link(&mut self, slot: u32) {
        let Node { own, height, .. } = self.nodes[slot as usize];
        let (mut parent, mut at, mut is_left) = (NONE, self.root, false);
        while let Some(node) = self.nodes.get_mut(at as usize).filter(|node| node.height > height) {
            node.all.join(&own);
            let (left, right) = (node.left, node.right);
            is_left = self.is_before(slot, at);
            (parent, at) = (at, if is_left { left } else { right });
        }
        let (before, after) = self.split(at, slot);
        self.set_left(slot, before);
        self.set_right(slot, after);
        self.pull(slot);
        self.nodes[slot as usize].linked = true;
        match parent {
            NONE => {
                self.root = slot;
                self.set_parent(slot, NONE);
            }
            parent if is_left => self.set_left(parent, slot),
            parent => self.set_right(parent, slot),
        }
    }

    /// Takes a member out.
    fn unlink(&mut self, slot: u32) {
        let Node { left, right, parent, .. } = self.nodes[slot as usize];
        self.nodes[slot as usize].linked = false;
        let rest = self.merge(left, right);
        match self.nodes.get(parent as usize) {
            None => {
                self.root = rest;
                self.set_parent(rest, NONE);
            }
            Some(above) if above.left == slot => self.set_left(parent, rest),
            Some(_) => self.set_right(parent, rest),
        }
        self.pull_up(parent);
    }

    /// The members under `root` before and after the key of `slot`.
    fn split(&mut self, root: u32, slot: u32) -> (u32, u32) {
        if root == NONE {
            return (NONE, NONE);
        }
        let Node { left, right, .. } = self.nodes[root as usize];
        let halves = if self.is_before(root, slot) {
            let (before, after) = self.split(right, slot);
            self.set_right(root, before);
            (root, after)
        } else {
            let (before, after) = self.split(left, slot);
            self.set_left(root, after);
            (before, root)
        };
        self.pull(root);
        halves
    }

    /// One tree of two, all of the first before all of the second.
    fn merge(&mut self, first: u32, second: u32) -> u32 {
        if first == NONE || second == NONE {
            return first.min(second);
        }
        let top = if self.nodes[first as usize].height >= self.nodes[second as usize].height {
            let right = self.merge(self.nodes[first as usize].right, second);
            self.set_right(first, right);
            first
        } else {
            let left = self.merge(first, self.nodes[second as usize].left);
            self.set_left(second, left);
            second
        };
        self.pull(top);
        top
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    /// Some bits, and of how many members.
    #[derive(Debug, Clone, Copy, Default, PartialEq)]
    struct Bits(u8, u64);

    impl Summary for Bits {
        fn join(&mut self, other: &Self) {
            self.0 |= other.0;
            self.1 += other.1;
        }
    }

    proptest! {
        #[test]
        fn the_tree_equals_a_sorted_list(ops in proptest::collection::vec((0_u32..24, 0_u16..500, 0_u8..9), 1..120)) {
            let mut tree: Ranked<(u16, u32), Bits> = Ranked::default();
            let mut plain: BTreeMap<u32, (u16, u8)> = BTreeMap::new();
            for (slot, key, bit) in ops {
                if bit == 8 {
                    tree.remove(slot);
                    plain.remove(&slot);
                } else if plain.contains_key(&slot) && key % 2 == 0 {
                    tree.update(slot, Bits(1 << bit, 1), |k| k.0 = key);
                    plain.insert(slot, (key, 1 << bit));
                } else {
                    tree.set(slot, (key, slot), Bits(1 << bit, 1));
                    plain.insert(slot, (key, 1 << bit));
                }
                let mut sorted: Vec<(u16, u32, u8)> = plain.iter().map(|(s, (k, b))| (*k, *s, *b)).collect();
                sorted.sort_unstable();
                prop_assert_eq!(tree.in_order(), sorted.iter().map(|m| m.1).collect::<Vec<_>>());
                let nth = (0..sorted.len() as u64 + 1).map(|place| tree.nth(place, |bits| bits.1));
                let expected = sorted.iter().map(|m| Some(m.1)).chain([None]);
                prop_assert_eq!(nth.collect::<Vec<_>>(), expected.collect::<Vec<_>>());
                prop_assert_eq!(tree.first(), sorted.first().map(|m| m.1));
                prop_assert_eq!(tree.all().0, sorted.iter().fold(0, |all, m| all | m.2));
                let wanted = 1_u8 << (key % 8);
                let found = tree.find(|s| s.0 & wanted != 0, |_| true);
                prop_assert_eq!(found, sorted.iter().find(|m| m.2 & wanted != 0).map(|m| m.1));
                prop_assert_eq!(tree.seek(|s| s.0 & wanted != 0), found, "the first with which the bit is among all");
                let before = sorted.iter().filter(|m| (m.0, m.1) <= (key, slot));
                prop_assert_eq!(tree.up_to(&(key, slot)).0, before.fold(0, |all, m| all | m.2));
            }
        }
    }
}
