//! Shapes: what tasks ask for, each kept once however many jobs ask for it, and whether it is worth looking for a
//! place for it now.

use std::collections::BTreeMap;
use std::sync::Arc;

use allot_model::{Constraint, Request, Resources};

use crate::bits::Bits;
use crate::dims::{Dims, Need};
use crate::ranked::Summary;
use crate::slab::Slab;

/// Resources and constraints that some job asks for.
#[derive(Debug, Clone, Default)]
pub(crate) struct Shape {
    pub(crate) request: Request,
    /// What a task gets on an agent that counts all that is asked for.
    pub(crate) slice: Resources,
    pub(crate) need: Need,
    /// Its constraints, as one of the [`Classes`].
    pub(crate) class: u32,
    /// Set where tasks have to be placed together.
    pub(crate) gang: Option<Gang>,
    pub(crate) hope: Hope,
    /// Its bit in the sieve, once it has been looked for often enough to have one.
    pub(crate) bit: Option<u32>,
    /// How many agents and groups of agents were looked at for it so far.
    effort: u64,
    users: u64,
}

/// How many tasks have to be placed together, if any are, and the attribute that their agents have to have in common.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Gang {
    pub(crate) tasks: u32,
    pub(crate) same: Option<Arc<str>>,
}

impl Shape {
    /// How many tasks are placed at a time at least.
    pub(crate) fn count(&self) -> u64 {
        self.gang.as_ref().map_or(1, |gang| u64::from(gang.tasks))
    }

    /// The attribute that all agents of a gang have to have in common.
    pub(crate) fn same(&self) -> Option<&str> {
        self.gang.as_ref()?.same.as_deref()
    }
}

/// Where a shape may fit.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) enum Hope {
    /// Nowhere, until something is offered that has room for it.
    #[default]
    None,
    /// On one of these agents or nowhere: what was offered since it was found to fit nowhere.
    Among(Few),
    /// Anywhere.
    Anywhere,
}

/// More agents than these are better searched through the index.
const FEW: usize = 8;

/// A few agents. Hope comes and goes with every task that ends, so that it needs no list of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Few {
    agents: [u32; FEW],
    count: usize,
}

impl std::ops::Deref for Few {
    type Target = [u32];
    fn deref(&self) -> &[u32] {
        self.agents.get(..self.count).unwrap_or_default()
    }
}

impl Few {
    /// The same with one more, where there is room for it.
    fn with(mut self, agent: u32) -> Option<Self> {
        *self.agents.get_mut(self.count)? = agent;
        self.count += 1;
        Some(self)
    }
}

/// A set of shapes as bits, where two shapes may share a bit: what it rules out is certain, what it lets pass is
/// not. Exact for up to 128 shapes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Mask(u128);

impl Mask {
    /// Every shape there may be.
    pub(crate) const ALL: Self = Self(u128::MAX);

    /// How many there are.
    pub(crate) const BITS: usize = 128;

    /// The place of a shape's bit.
    pub(crate) fn place(shape: u32) -> usize {
        shape as usize % Self::BITS
    }

    pub(crate) fn of(shape: u32) -> Self {
        Self(1 << Self::place(shape))
    }

    pub(crate) fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// The bits that both have.
    pub(crate) fn meet(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// The places of its bits.
    pub(crate) fn places(self) -> impl Iterator<Item = usize> {
        let rest = |bits: &u128| Some(bits & (bits - 1)).filter(|bits| *bits != 0);
        let bits = std::iter::successors(Some(self.0).filter(|bits| *bits != 0), rest);
        bits.map(|bits| bits.trailing_zeros() as usize)
    }

    /// Those of its bits that the other does not have.
    pub(crate) fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }
}

impl Summary for Mask {
    fn join(&mut self, other: &Self) {
        self.0 |= other.0;
    }
}

/// All shapes in use.
#[derive(Debug, Clone)]
pub(crate) struct Shapes {
    shapes: Slab<Shape>,
    /// By what is asked for, then by class and by how many have to be placed together.
    by_ask: BTreeMap<Request, BTreeMap<(u32, Option<Gang>), u32>>,
    /// The shapes with hope; those without are not looked at until one of them gets some.
    open: Mask,
    open_per_bit: [u32; Mask::BITS],
    /// The same, each for itself.
    hoping: Bits,
    /// The shapes that do not hope for any agent.
    guarded: Bits,
    /// Those of them that hope for a few.
    picky: Bits,
    /// How many shapes in use have each bit of a [`Mask`].
    per_bit: [u32; Mask::BITS],
}

impl Shapes {
    pub(crate) fn new() -> Self {
        Self {
            shapes: Slab::default(),
            by_ask: BTreeMap::new(),
            open: Mask::default(),
            open_per_bit: [0; Mask::BITS],
            hoping: Bits::default(),
            guarded: Bits::default(),
            picky: Bits::default(),
            per_bit: [0; Mask::BITS],
        }
    }

    pub(crate) fn get(&self, shape: u32) -> &Shape {
        &self.shapes[shape]
    }

    /// Which shapes may fit somewhere.
    pub(crate) fn open(&self) -> Mask {
        self.open
    }

    /// The shapes that may fit somewhere.
    pub(crate) fn hoping(&self) -> &Bits {
        &self.hoping
    }

    pub(crate) fn is_open(&self, shape: u32) -> bool {
        self.open.meets(Mask::of(shape)) && self.shapes[shape].hope != Hope::None
    }

    /// True where no other shape in use has the same bit of a [`Mask`].
    pub(crate) fn is_alone(&self, shape: u32) -> bool {
        self.per_bit[Mask::place(shape)] <= 1
    }

    /// The shape of these asks for one more user.
    pub(crate) fn use_for(
        &mut self,
        request: &Request,
        class: u32,
        gang: Option<Gang>,
        dims: &mut Dims,
    ) -> u32 {
        let ask = (class, gang);
        if let Some(shape) = self.by_ask.get(request).and_then(|asks| asks.get(&ask)).copied() {
            self.shapes[shape].users += 1;
            return shape;
        }
        let (slice, need) = (request.as_scalars(), dims.need(request));
        let gang = ask.1.clone();
        let shape =
            Shape { request: request.clone(), slice, need, class, gang, users: 1, ..Shape::default() };
        let shape = self.shapes.insert(shape);
        self.by_ask.entry(request.clone()).or_default().insert(ask, shape);
        self.per_bit[Mask::place(shape)] += 1;
        self.set_hope(shape, Hope::Anywhere);
        shape
    }

    /// One user more of a shape that has some.
    pub(crate) fn share(&mut self, shape: u32) {
        self.shapes[shape].users += 1;
    }

    /// One user less; true where it was the last and the shape is forgotten.
    pub(crate) fn release(&mut self, shape: u32) -> bool {
        let users = &mut self.shapes[shape].users;
        *users = users.saturating_sub(1);
        let forgotten = *users == 0;
        if forgotten {
            self.set_hope(shape, Hope::None);
            self.guarded.set(shape, false);
            let gone = self.shapes.remove(shape);
            self.per_bit[Mask::place(shape)] -= 1;
            if let Some(asks) = self.by_ask.get_mut(&gone.request) {
                asks.remove(&(gone.class, gone.gang));
                if asks.is_empty() {
                    self.by_ask.remove(&gone.request);
                }
            }
        }
        forgotten
    }

    /// Notes what a search for the shape took; returns what all of them took so far.
    pub(crate) fn note_effort(&mut self, shape: u32, looked_at: u64) -> u64 {
        let effort = &mut self.shapes[shape].effort;
        *effort = effort.saturating_add(looked_at);
        *effort
    }

    /// The shape has this bit in the sieve from now on.
    pub(crate) fn set_bit(&mut self, shape: u32, bit: u32) {
        self.shapes[shape].bit = Some(bit);
    }

    pub(crate) fn set_hope(&mut self, shape: u32, hope: Hope) {
        let bit = Mask::place(shape);
        let (was, is) = (self.shapes[shape].hope != Hope::None, hope != Hope::None);
        self.guarded.set(shape, hope != Hope::Anywhere);
        self.picky.set(shape, matches!(hope, Hope::Among(_)));
        self.shapes[shape].hope = hope;
        self.hoping.set(shape, is);
        match (was, is) {
            (false, true) => self.open_per_bit[bit] += 1,
            (true, false) => self.open_per_bit[bit] -= 1,
            _ => {}
        }
        if self.open_per_bit[bit] > 0 {
            self.open.join(&Mask::of(shape));
        } else {
            self.open.0 &= !Mask::of(shape).0;
        }
    }

    /// Something was offered on `agent`: the shapes that `fits` says have room there get hope.
    pub(crate) fn offered(&mut self, agent: u32, fits: impl Fn(&Shape) -> bool) {
        let mut from = 0;
        while let Some(shape) = self.guarded.next(from) {
            from = shape + 1;
            let known = &self.shapes[shape];
            if !fits(known) {
                continue;
            }
            if known.gang.is_some() {
                // Where one task fits now, all of them may fit with what is free elsewhere.
                self.set_hope(shape, Hope::Anywhere);
                continue;
            }
            let few = match &known.hope {
                Hope::Among(few) if few.contains(&agent) => continue,
                Hope::Among(few) => *few,
                _ => Few::default(),
            };
            self.set_hope(shape, few.with(agent).map_or(Hope::Anywhere, Hope::Among));
        }
    }

    /// What was offered on `agent` was taken in part: the shapes that hoped for it alone and do not fit any more
    /// lose their hope.
    pub(crate) fn taken(&mut self, agent: u32, fits: impl Fn(&Shape) -> bool) {
        let mut from = 0;
        while let Some(shape) = self.picky.next(from) {
            from = shape + 1;
            let known = &self.shapes[shape];
            if matches!(&known.hope, Hope::Among(few) if few[..] == [agent]) && !fits(known) {
                self.set_hope(shape, Hope::None);
            }
        }
    }

    /// All shapes in use.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &Shape)> {
        self.shapes.iter().filter(|(_, shape)| shape.users > 0)
    }

    /// The number of users of a shape, for checks.
    pub(crate) fn users(&self, shape: u32) -> u64 {
        self.shapes[shape].users
    }
}

/// The class of no constraints at all.
pub(crate) const UNCONSTRAINED: u32 = 0;

/// Sets of constraints, each kept once.
#[derive(Debug, Clone)]
pub(crate) struct Classes {
    classes: Slab<Class>,
    by_text: BTreeMap<Vec<String>, u32>,
}

/// A set of constraints that some users of shapes have.
#[derive(Debug, Clone, Default)]
struct Class {
    constraints: Vec<Constraint>,
    users: u64,
}

impl Classes {
    pub(crate) fn new() -> Self {
        let mut classes = Slab::default();
        classes.insert(Class::default());
        Self { classes, by_text: BTreeMap::new() }
    }

    pub(crate) fn get(&self, class: u32) -> &[Constraint] {
        &self.classes[class].constraints
    }

    /// The class of these constraints for one more user, and whether it is new.
    pub(crate) fn use_for(&mut self, constraints: &[Constraint]) -> (u32, bool) {
        if constraints.is_empty() {
            return (UNCONSTRAINED, false);
        }
        let text = texts(constraints);
        if let Some(class) = self.by_text.get(&text).copied() {
            self.share(class);
            return (class, false);
        }
        let class = self.classes.insert(Class { constraints: constraints.to_vec(), users: 1 });
        self.by_text.insert(text, class);
        (class, true)
    }

    /// One user more of a class that has some.
    pub(crate) fn share(&mut self, class: u32) {
        self.classes[class].users += 1;
    }

    /// One user less; true where it was the last and the class is forgotten.
    pub(crate) fn release(&mut self, class: u32) -> bool {
        let users = &mut self.classes[class].users;
        *users = users.saturating_sub(1);
        if *users > 0 || class == UNCONSTRAINED {
            return false;
        }
        let gone = self.classes.remove(class);
        self.by_text.remove(&texts(&gone.constraints));
        true
    }

    /// The classes in use other than that of no constraints.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &[Constraint])> {
        let used = self.classes.iter().filter(|(_, class)| !class.constraints.is_empty());
        used.map(|(slot, class)| (slot, &class.constraints[..]))
    }
}

fn texts(constraints: &[Constraint]) -> Vec<String> {
    constraints.iter().map(ToString::to_string).collect()
}
