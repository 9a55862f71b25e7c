//! The openb lists: the nodes and pods of a GPU cluster with whole and shared GPUs.
//!
//! [Weng et al.: Beware of Fragmentation: Scheduling GPU-Sharing Workloads with Fragmentation Gradient Descent, USENIX ATC
//! 2023] publish them and measure with them how much of the GPUs a placement brings to use: pods arrive one after the
//! other, in a shuffled order and drawn again until they ask for more than there is, and stay. [`arrivals`] is that order.

use std::collections::BTreeMap;

use allot_model::resources::WHOLE;
use allot_model::{Amount, Attributes, Constraint, Request, ResourceName, Resources};

use crate::random::SplitMix64;
use crate::swf::{InvalidLog, uncompressed};

/// The attribute that says which GPUs an agent has.
pub const MODEL: &str = "gpu_model";

/// One machine.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Node {
    /// Its name.
    pub name: String,
    /// Thousandths of a processor.
    pub cpu_milli: u64,
    /// Memory.
    pub memory_mib: u64,
    /// How many GPUs.
    pub gpus: u64,
    /// Which GPUs; empty where there are none.
    pub model: String,
}

/// One task that was submitted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Pod {
    /// Its name.
    pub name: String,
    /// Thousandths of a processor.
    pub cpu_milli: u64,
    /// Memory.
    pub memory_mib: u64,
    /// Thousandths of a GPU, of all its GPUs together: less than 1,000 is a share of one, else it is a multiple of 1,000.
    pub gpu_milli: u64,
    /// The GPUs it may have; empty where it may have any.
    pub models: Vec<String>,
}

/// Why a list cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {message}")]
pub struct InvalidList {
    /// The line, counted from 1; 0 for the file as a whole.
    pub line: usize,
    /// What is wrong with it.
    pub message: String,
}

/// The most GPUs that a node may have.
const MOST_GPUS: u64 = 1_024;

/// Reads a list of nodes: CSV with the columns `sn`, `cpu_milli`, `memory_mib`, `gpu`, `model`, in any order, among
/// others, plain or gzip.
///
/// # Errors
/// [`InvalidList`], which names the line and the column; also where two nodes have the same name.
pub fn parse_nodes(bytes: &[u8]) -> Result<Vec<Node>, InvalidList> {
    let table = Table::read(bytes)?;
    let [name, cpu, memory, gpus, model] =
        table.columns(["sn", "cpu_milli", "memory_mib", "gpu", "model"])?;
    let mut lines: BTreeMap<String, usize> = BTreeMap::new();
    let mut node = |row: &Row<'_>| {
        if let Some(line) = lines.insert(row.text(name).to_owned(), row.line) {
            let given = quoted(row.text(name));
            return Err(
                row.wrong(format!("sn: {given} is the node of line {line} already: give each its own"))
            );
        }
        Ok(Node {
            name: row.text(name).to_owned(),
            cpu_milli: row.number(cpu)?,
            memory_mib: row.number(memory)?,
            gpus: row.devices(gpus)?,
            model: row.text(model).to_owned(),
        })
    };
    table.rows().map(|row| node(&row?)).collect()
}

/// Reads a list of pods: CSV with the columns `name`, `cpu_milli`, `memory_mib`, `num_gpu`, `gpu_milli` and, where some may
/// not have any GPU, `gpu_spec`, in any order, among others, plain or gzip.
///
/// # Errors
/// [`InvalidList`], which names the line and the column.
pub fn parse_pods(bytes: &[u8]) -> Result<Vec<Pod>, InvalidList> {
    let table = Table::read(bytes)?;
    let wanted = ["name", "cpu_milli", "memory_mib", "num_gpu", "gpu_milli"];
    let [name, cpu, memory, count, share] = table.columns(wanted)?;
    let models = table.columns(["gpu_spec"]).ok().map(|[models]| models);
    let pod = |row: &Row<'_>| {
        Ok(Pod {
            name: row.text(name).to_owned(),
            cpu_milli: row.number(cpu)?,
            memory_mib: row.number(memory)?,
            gpu_milli: row.gpus(count, share)?,
            models: row.list(models),
        })
    };
    table.rows().map(|row| pod(&row?)).collect()
}

/// All GPUs of the nodes, in thousandths of one.
#[must_use]
pub fn gpu_capacity_milli(nodes: &[Node]) -> u64 {
    nodes.iter().fold(0, |sum, node| sum.saturating_add(node.gpus.saturating_mul(WHOLE)))
}

/// The order in which pods arrive, as their places in the list: first all of them, shuffled, then pods drawn with
/// replacement, until those that arrived ask for `wanted_milli` thousandths of a GPU or more. Where none asks for any, each
/// arrives once.
///
/// [`SplitMix64`] of the seed does both: first [`SplitMix64::shuffle`], then one [`SplitMix64::below`] a draw.
#[must_use]
pub fn arrivals(pods: &[Pod], wanted_milli: u64, seed: u64) -> Vec<usize> {
    let mut random = SplitMix64::new(seed);
    let mut order: Vec<usize> = (0..pods.len()).collect();
    random.shuffle(&mut order);
    if pods.iter().all(|pod| pod.gpu_milli == 0) {
        return order;
    }
    let (mut arrived, mut asked) = (Vec::new(), 0_u64);
    let mut listed = order.into_iter();
    while asked < wanted_milli {
        let place = listed.next().unwrap_or_else(|| random.below(pods.len()));
        asked = asked.saturating_add(pods.get(place).map_or(0, |pod| pod.gpu_milli));
        arrived.push(place);
    }
    arrived
}

/// What was given, in messages.
fn quoted(text: &str) -> String {
    format!("{:?}", text.chars().take(40).collect::<String>())
}

fn mib(count: u64) -> u64 {
    count.saturating_mul(1 << 20)
}

fn amounts(cpu_milli: u64, memory_mib: u64) -> Vec<(ResourceName, u64)> {
    let memory = ResourceName::new("mem").ok().map(|name| (name, mib(memory_mib)));
    [(ResourceName::cpus(), cpu_milli)].into_iter().chain(memory).collect()
}

impl Node {
    /// What an agent like it has. Its GPUs are `0`, `1` and so on.
    #[must_use]
    pub fn resources(&self) -> Resources {
        let scalars = amounts(self.cpu_milli, self.memory_mib);
        let mut all: Resources =
            scalars.into_iter().map(|(name, amount)| (name, Amount::Scalar(amount))).collect();
        if let Ok(gpus) = ResourceName::new("gpus") {
            all.set(gpus, Amount::Items((0..self.gpus).map(|gpu| (gpu.to_string(), WHOLE)).collect()));
        }
        all
    }

    /// What an agent like it says of itself.
    #[must_use]
    pub fn attributes(&self) -> Attributes {
        let model = Some(&self.model).filter(|model| !model.is_empty());
        model.map(|model| (MODEL.to_owned(), model.clone())).into_iter().collect()
    }
}

impl Pod {
    /// What a task like it asks for.
    #[must_use]
    pub fn request(&self) -> Request {
        let mut asks: Request = amounts(self.cpu_milli, self.memory_mib).into_iter().collect();
        if let Ok(gpus) = ResourceName::new("gpus") {
            asks.set(gpus, self.gpu_milli);
        }
        asks
    }

    /// What an agent for it must be like: one with a model it may have, in the order of their names; any where it asks for no
    /// GPU.
    #[must_use]
    pub fn constraints(&self) -> Vec<Constraint> {
        let mut models: Vec<String> = self.models.iter().map(|model| format!("\"{model}\"")).collect();
        models.sort();
        models.dedup();
        let text = format!("{MODEL} in ({})", models.join(", "));
        let any_will_do = models.is_empty() || self.gpu_milli == 0;
        if any_will_do { Vec::new() } else { Constraint::parse(&text).into_iter().collect() }
    }
}

/// A table with a line of names above it.
struct Table {
    text: String,
}

/// One line of it.
struct Row<'a> {
    line: usize,
    fields: Vec<&'a str>,
}

/// A column and its name, for messages.
#[derive(Debug, Clone, Copy)]
struct Column {
    place: usize,
    name: &'static str,
}

impl Table {
    fn read(bytes: &[u8]) -> Result<Self, InvalidList> {
        let unreadable = |InvalidLog { line, message }| InvalidList { line, message };
        let plain = uncompressed(bytes).map_err(unreadable)?;
        Ok(Self { text: String::from_utf8_lossy(&plain).into_owned() })
    }

    /// The lines that are not empty, each with its number.
    fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        (1..).zip(self.text.lines()).filter(|(_, line)| !line.trim().is_empty())
    }

    fn columns<const N: usize>(&self, names: [&'static str; N]) -> Result<[Column; N], InvalidList> {
        let (line, header) = self.lines().next().unwrap_or((1, ""));
        let there: Vec<&str> = header.split(',').map(str::trim).collect();
        let mut columns = names.map(|name| Column { place: 0, name });
        for column in &mut columns {
            let place = there.iter().position(|name| *name == column.name);
            let missing = || {
                let message = format!(
                    "there is no column `{}`: the list has to name {}",
                    column.name,
                    names.join(", ")
                );
                InvalidList { line, message }
            };
            column.place = place.ok_or_else(missing)?;
        }
        Ok(columns)
    }

    fn rows(&self) -> impl Iterator<Item = Result<Row<'_>, InvalidList>> {
        let width = self.lines().next().map_or(0, |(_, header)| header.split(',').count());
        self.lines().skip(1).map(move |(line, text)| {
            let fields: Vec<&str> = text.split(',').map(str::trim).collect();
            let message = format!("{} fields are given: the first line names {width}", fields.len());
            if fields.len() == width { Ok(Row { line, fields }) } else { Err(InvalidList { line, message }) }
        })
    }
}

impl Row<'_> {
    fn text(&self, column: Column) -> &str {
        self.fields.get(column.place).copied().unwrap_or_default()
    }

    /// What stands between bars; nothing where there is no such column.
    fn list(&self, column: Option<Column>) -> Vec<String> {
        let text = column.map_or("", |column| self.text(column));
        text.split('|').map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect()
    }

    fn number(&self, column: Column) -> Result<u64, InvalidList> {
        let text = self.text(column);
        text.parse().map_err(|_| {
            self.wrong(format!("{}: {} is not a whole number, or too large", column.name, quoted(text)))
        })
    }

    /// The GPUs of a node, each of which is a device of its own.
    fn devices(&self, column: Column) -> Result<u64, InvalidList> {
        match self.number(column)? {
            count @ ..=MOST_GPUS => Ok(count),
            count => {
                Err(self
                    .wrong(format!("{}: {count} is given, and a node has {MOST_GPUS} at most", column.name)))
            }
        }
    }

    /// `count` whole GPUs, or the `share` of one.
    fn gpus(&self, count: Column, share: Column) -> Result<u64, InvalidList> {
        match (self.number(count)?, self.number(share)?) {
            (0, _) => Ok(0),
            (1, milli) if milli <= WHOLE => Ok(milli),
            (count, WHOLE) => count
                .checked_mul(WHOLE)
                .ok_or_else(|| self.wrong("num_gpu: that many GPUs cannot be counted".to_owned())),
            (count, milli) => Err(self.wrong(format!(
                "num_gpu = {count}, gpu_milli = {milli}: a share is of one GPU, and at most {WHOLE}"
            ))),
        }
    }

    fn wrong(&self, message: String) -> InvalidList {
        InvalidList { line: self.line, message }
    }
}

#[cfg(test)]
mod tests;
