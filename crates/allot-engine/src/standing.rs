//! What some ranks keep of queues beside what these hold, kept up to date as time passes and tasks are served.

use allot_model::{QueueName, Time};

use crate::branch::{Member, Tree, WHOLE};
use crate::dims::Vector;
use crate::lane::Lane;
use crate::queues::Queues;
use crate::rank::usage::{self, Moment, Usage};
use crate::rank::{Measure, Rank, Standing, karma};

/// More quanta than these at once make no difference to who has more credits than whom.
const MOST_QUANTA: u64 = 1_000;

/// The time, as far as ranks go by it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Clock {
    now: Time,
    /// For `usage`: the time on the scale of decay.
    moment: Moment,
    /// The last whole second, or the last quantum, that was taken into account.
    ticks: u64,
    /// For `karma`: true where parts have to be worked out anew.
    regroup: bool,
}

/// What is remembered of queues across a resync.
#[derive(Debug, Clone, Default)]
pub(crate) struct Memory {
    clock: Clock,
    lanes: Vec<(QueueName, Standing)>,
    branches: Vec<(QueueName, Standing)>,
}

impl Queues {
    /// True where what a queue holds decides its place, so that it grows with each task and with nothing else.
    pub(crate) fn shares_grow(&self) -> bool {
        match self.rank {
            Rank::Line | Rank::Fair { .. } | Rank::Drf | Rank::Asset | Rank::Karma { .. } => true,
            Rank::Hdrf => !self.tree.is_mixed(),
            Rank::Usage { .. } | Rank::Lottery { .. } => false,
        }
    }

    /// True where who is next has to be asked for each single task.
    pub(crate) fn goes_one_by_one(&self) -> bool {
        matches!(self.rank, Rank::Hdrf | Rank::Lottery { .. }) && !self.shares_grow()
    }

    /// True where nothing is to be remembered of a lane.
    pub(crate) fn is_forgotten(&self, lane: u32) -> bool {
        match &self.lane(lane).standing {
            Standing::Usage(usage) => usage.is_nothing(),
            Standing::Account(_) => false,
            _ => true,
        }
    }

    /// What is to be kept of a new member of a branch.
    fn opening(&self, branch: u32, name: &str, weight: u32) -> Standing {
        match &self.rank {
            Rank::Line | Rank::Fair { .. } | Rank::Drf | Rank::Asset => Standing::Nothing,
            Rank::Hdrf => Standing::Direction(Vec::new()),
            Rank::Usage { .. } => Standing::Usage(Usage::since(self.clock.moment)),
            Rank::Lottery { seed } => Standing::Ticket(self.tree.get(branch).draws.next(*seed, name, weight)),
            Rank::Karma { .. } => {
                let others = self.tree.get(branch).members().filter_map(|(_, other)| self.account(other));
                Standing::Account(karma::Account::of_newcomer(others))
            }
        }
    }

    fn standing(&self, member: Member) -> &Standing {
        match member {
            Member::Lane(lane) => &self.lane(lane).standing,
            Member::Branch(branch) => &self.tree.get(branch).standing,
        }
    }

    fn account(&self, member: Member) -> Option<&karma::Account> {
        match self.standing(member) {
            Standing::Account(account) => Some(account),
            _ => None,
        }
    }

    fn name(&self, member: Member) -> &str {
        let queue = match member {
            Member::Lane(lane) => &self.lane(lane).queue,
            Member::Branch(branch) => &self.tree.get(branch).queue,
        };
        queue.as_ref().map_or("", QueueName::as_str)
    }

    /// A lane is new.
    pub(crate) fn open_standing(&mut self, lane: u32, capacity: &Vector) {
        let Lane { branch, weight, .. } = self.lanes[lane];
        let standing = self.opening(branch, self.name(Member::Lane(lane)), weight);
        if standing != Standing::Nothing {
            self.lanes[lane].standing = standing;
            self.clock.regroup = true;
            self.measure_lane(lane, capacity);
        }
    }

    /// A branch is new: it begins as the lane of the same queue stands, where there is one, else as anyone.
    pub(crate) fn open_branch_standing(&mut self, branch: u32) {
        let here = self.tree.get(branch);
        let own = here.queue.as_ref().and_then(|queue| self.lane_of(queue));
        let new = || self.opening(here.place().0, self.name(Member::Branch(branch)), here.weight);
        let standing = own.map_or_else(new, |lane| self.lane(lane).standing.clone());
        self.tree.get_mut(branch).standing = standing;
        self.clock.regroup = true;
    }

    /// Branches that were there before the tree was grown anew stand as before.
    pub(crate) fn take_standings(&mut self, before: &Tree, capacity: &Vector) {
        self.tree.get_mut(WHOLE).draws = before.get(WHOLE).draws.clone();
        for branch in self.tree.parts() {
            let old = self.tree.get(branch).queue.as_ref().and_then(|queue| before.find(queue));
            if let Some(old) = old.map(|old| before.get(old)) {
                let here = self.tree.get_mut(branch);
                (here.standing, here.draws) = (old.standing.clone(), old.draws.clone());
            }
        }
        self.measure_anew(capacity);
    }

    /// A queue was named: with credits it earns some from now on, whether it has jobs or not.
    pub(crate) fn heard_of(&mut self, queue: &QueueName, capacity: &Vector) {
        if let Rank::Karma { .. } = self.rank {
            self.lane_for(queue, capacity);
        }
    }

    /// The weight of a queue is another. As turns have no memory, the time of its next one is drawn anew.
    pub(crate) fn reweighed(&mut self, queue: &QueueName) {
        self.clock.regroup = true;
        self.tree.counted.all = true;
        if let Rank::Lottery { .. } = self.rank {
            let branch = self.tree.find(queue).map(Member::Branch);
            let member = branch.or_else(|| self.lane_of(queue).map(Member::Lane));
            member.into_iter().for_each(|member| self.draw(member));
        }
    }

    /// The time is this now, and has not been told before anything that happens at it.
    pub(crate) fn advance(&mut self, now: Time, capacity: &Vector) {
        if now <= self.clock.now {
            return;
        }
        self.clock.now = now;
        match self.rank {
            Rank::Usage { half_life } => self.clock.moment = Moment::of(now, half_life),
            Rank::Karma { quantum, .. } => {
                let ticks = now.as_micros() / quantum.as_micros().max(1);
                let over = ticks.saturating_sub(std::mem::replace(&mut self.clock.ticks, ticks));
                self.regroup(capacity);
                (0..over.min(MOST_QUANTA)).for_each(|_| self.settle_accounts(capacity));
                if over > 0 {
                    self.measure_anew(capacity);
                }
            }
            _ => {}
        }
    }

    /// Brings up to date what time alone changes, before decisions are made.
    pub(crate) fn tick(&mut self, capacity: &Vector) {
        self.regroup(capacity);
        let second = self.clock.now.as_micros() / 1_000_000 + 1;
        if let Rank::Usage { .. } = self.rank
            && std::mem::replace(&mut self.clock.ticks, second) < second
        {
            self.accrue_all(capacity);
            self.tell_usage();
            self.measure_anew(capacity);
            let slots: Vec<u32> = self.by_queue.values().copied().collect();
            slots.into_iter().for_each(|slot| self.retire(slot));
        }
    }

    fn tell_usage(&mut self) {
        let slots: Vec<u32> = self.by_queue.values().copied().collect();
        let lanes = slots.into_iter().map(Member::Lane);
        for member in lanes.chain(self.tree.parts().into_iter().map(Member::Branch)) {
            if let Standing::Usage(usage) = self.standing_mut(member) {
                usage.tell();
            }
        }
    }

    fn standing_mut(&mut self, member: Member) -> &mut Standing {
        match member {
            Member::Lane(lane) => &mut self.lanes[lane].standing,
            Member::Branch(branch) => &mut self.tree.get_mut(branch).standing,
        }
    }

    /// The dominant share of a member, in parts of `all`.
    fn parts(&self, member: Member, capacity: &Vector, all: u64) -> u64 {
        let measure = self.measure(capacity);
        match member {
            Member::Lane(lane) => measure.parts(&self.lane(lane).held.used, all),
            Member::Branch(branch) => measure.parts(&self.tree.get(branch).held, all),
        }
    }

    /// What a lane has used so far is noted, before what it holds changes.
    pub(crate) fn accrue(&mut self, lane: u32, capacity: &Vector) {
        if let Rank::Usage { .. } = self.rank {
            self.accrue_member(Member::Lane(lane), capacity);
            let above: Vec<u32> = self.tree.up_from(self.lane(lane).branch).collect();
            above.into_iter().for_each(|branch| self.accrue_member(Member::Branch(branch), capacity));
        }
    }

    fn accrue_member(&mut self, member: Member, capacity: &Vector) {
        let (held, moment) = (self.parts(member, capacity, 1 << usage::BITS), self.clock.moment);
        if let Standing::Usage(usage) = self.standing_mut(member) {
            usage.accrue(held, moment);
        }
    }

    /// What all have used so far is noted, before what there is changes.
    pub(crate) fn accrue_all(&mut self, capacity: &Vector) {
        if let Rank::Usage { .. } = self.rank {
            let slots: Vec<u32> = self.by_queue.values().copied().collect();
            let branches = self.tree.parts().into_iter().map(Member::Branch);
            for member in slots.into_iter().map(Member::Lane).chain(branches) {
                self.accrue_member(member, capacity);
            }
        }
    }

    /// A lane was served a task: with lots, its next turn and those of what it is in are drawn.
    pub(crate) fn served(&mut self, lane: u32) {
        if let Rank::Lottery { .. } = self.rank {
            self.turns_of(lane).into_iter().for_each(|member| {
                let (Standing::Ticket(at), (branch, _)) = (self.standing(member), self.seat_of(member))
                else {
                    return;
                };
                let at = *at;
                // Where a queue was served later than its turn came, others had theirs meanwhile.
                let last = &mut self.tree.get_mut(branch).draws.at;
                *last = at.max(*last);
                self.draw(member);
                self.rewind(branch);
            });
        }
    }

    /// Draws the turns anew that went by while a lane, or what it is in, had nothing to place. True where there were some.
    pub(crate) fn draw_again(&mut self, lane: u32) -> bool {
        if !matches!(self.rank, Rank::Lottery { .. }) {
            return false;
        }
        let mut drawn = false;
        for member in self.turns_of(lane) {
            let (branch, _) = self.seat_of(member);
            if matches!(self.standing(member), Standing::Ticket(at) if *at < self.tree.get(branch).draws.at) {
                self.draw(member);
                drawn = true;
            }
        }
        drawn
    }

    /// A lane and all that it is in, from itself up.
    fn turns_of(&self, lane: u32) -> Vec<Member> {
        let above = self.tree.up_from(self.lane(lane).branch).map(Member::Branch);
        std::iter::once(Member::Lane(lane)).chain(above).collect()
    }

    /// The branch that a member is in, and its seat there.
    fn seat_of(&self, member: Member) -> (u32, u32) {
        match member {
            Member::Lane(lane) => (self.lane(lane).branch, self.lane(lane).seat),
            Member::Branch(branch) => self.tree.get(branch).place(),
        }
    }

    /// Draws the next turn of a member.
    fn draw(&mut self, member: Member) {
        let Rank::Lottery { seed } = self.rank else { return };
        let weight = match member {
            Member::Lane(lane) => self.lane(lane).weight,
            Member::Branch(branch) => self.tree.get(branch).weight,
        };
        let draws = &self.tree.get(self.seat_of(member).0).draws;
        let next = draws.next(seed, self.name(member), weight);
        self.set_turn(member, next);
    }

    fn set_turn(&mut self, member: Member, at: u64) {
        *self.standing_mut(member) = Standing::Ticket(at);
        // The capacity does not matter to turns.
        let nothing = Vector::default();
        let measure = Measure { rank: &self.rank, dim: 0, capacity: &nothing };
        match member {
            Member::Lane(lane) => {
                self.lanes[lane].measure(&measure);
                self.place(lane);
            }
            Member::Branch(branch) => self.tree.measure(branch, &measure),
        }
    }

    /// Counts the time of turns in a branch from the beginning again, before it does not fit any more.
    fn rewind(&mut self, branch: u32) {
        if !self.tree.get(branch).draws.are_far() {
            return;
        }
        let back = self.tree.get_mut(branch).draws.rewind();
        let members: Vec<Member> = self.tree.get(branch).members().map(|(_, member)| member).collect();
        for member in members {
            if let Standing::Ticket(at) = self.standing(member) {
                self.set_turn(member, at.saturating_sub(back));
            }
        }
    }

    /// With credits: works out what everyone is entitled to, where queues came or weights changed.
    fn regroup(&mut self, capacity: &Vector) {
        let Rank::Karma { alpha, .. } = self.rank else { return };
        if !std::mem::take(&mut self.clock.regroup) {
            return;
        }
        for branch in self.branches_from_above() {
            let all = match &self.tree.get(branch).standing {
                Standing::Account(account) if branch != WHOLE => account.entitled(),
                _ => karma::WHOLE,
            };
            let members: Vec<Member> = self.tree.get(branch).members().map(|(_, member)| member).collect();
            let weights: u64 = members.iter().map(|member| u64::from(self.weight(*member))).sum();
            for member in members {
                let weight = self.weight(member);
                if let Standing::Account(account) = self.standing_mut(member) {
                    account.entitle(all, weight, weights, alpha);
                }
            }
        }
        self.measure_anew(capacity);
    }

    fn weight(&self, member: Member) -> u32 {
        match member {
            Member::Lane(lane) => self.lane(lane).weight,
            Member::Branch(branch) => self.tree.get(branch).weight,
        }
    }

    /// The whole and all branches, each after what it is in.
    fn branches_from_above(&self) -> Vec<u32> {
        // In the order of names a queue comes before those below it.
        std::iter::once(WHOLE).chain(self.tree.parts()).collect()
    }

    /// With credits: a quantum ends.
    fn settle_accounts(&mut self, capacity: &Vector) {
        for branch in self.branches_from_above() {
            let mut members: Vec<Member> =
                self.tree.get(branch).members().map(|(_, member)| member).collect();
            members.sort_by(|left, right| self.name(*left).cmp(self.name(*right)));
            let mut accounts: Vec<karma::Member> = members
                .iter()
                .map(|member| karma::Member {
                    account: self.account(*member).copied().unwrap_or_default(),
                    weight: self.weight(*member),
                    held: self.parts(*member, capacity, karma::WHOLE),
                    wants: self.wants(*member),
                })
                .collect();
            karma::settle(&mut accounts);
            for (member, settled) in members.into_iter().zip(accounts) {
                *self.standing_mut(member) = Standing::Account(settled.account);
            }
        }
    }

    /// True where something waits in a member.
    fn wants(&self, member: Member) -> bool {
        let (branch, seat) = self.seat_of(member);
        self.tree.get(branch).ranking.contains(seat)
    }

    /// What is to be remembered across a resync, which tells everything but the past.
    pub(crate) fn remember(&mut self, capacity: &Vector) -> Memory {
        self.accrue_all(capacity);
        if !self.rank.remembers() {
            return Memory { clock: self.clock.clone(), ..Memory::default() };
        }
        let named = |queue: &Option<QueueName>, standing: &Standing| Some((queue.clone()?, standing.clone()));
        let branches = self.tree.iter().filter_map(|(_, branch)| named(&branch.queue, &branch.standing));
        let lanes = self.lanes().filter_map(|(_, lane)| named(&lane.queue, &lane.standing));
        Memory { clock: self.clock.clone(), lanes: lanes.collect(), branches: branches.collect() }
    }

    /// Takes over what was remembered.
    pub(crate) fn recall(&mut self, memory: Memory, capacity: &Vector) {
        self.clock = Clock { regroup: true, ..memory.clock };
        for (queue, standing) in memory.lanes {
            let lane = self.lane_for(&queue, capacity);
            self.lanes[lane].standing = standing;
            self.retire(lane);
        }
        for (queue, standing) in memory.branches {
            if let Some(branch) = self.tree.find(&queue) {
                self.tree.get_mut(branch).standing = standing;
            }
        }
        self.measure_anew(capacity);
    }
}
