//! Which of the agents that have room for a task gets it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::policy::InvalidPolicy;

/// Which of the agents that have room for a task gets it. Ties go to the agent's name.
///
/// It reads as it is written: `first-fit`, `random`, `random:seed=7`.
///
/// The ones that look at GPUs are those of [Weng et al.: Beware of Fragmentation: Scheduling GPU-Sharing Workloads with
/// Fragmentation Gradient Descent, USENIX ATC 2023]. They take the resource `gpus` for it, in devices by name or merely
/// counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Placement {
    /// The first by name.
    FirstFit,
    /// The one with the least left over: the sum over all resources of what is free there, each measured against
    /// the largest agent's.
    BestFit,
    /// The one with the most left over, measured as for best fit: spreads tasks.
    WorstFit,
    /// The one whose free resources lie most in the direction of what the task asks for: the largest dot product of the two,
    /// each amount as a part of all that the agent has [Grandl et al.: Multi-Resource Packing for Cluster Schedulers, SIGCOMM
    /// 2014]. A part is counted in 1,470,268,800ths, rounded down.
    Alignment,
    /// One drawn anew for each task, all with the same chance.
    Random {
        /// Decides together with the job's id and the task's index what is drawn.
        seed: u64,
    },
    /// The one with the least cpus and gpus left over, each measured against the largest agent's: `BestFit` of the
    /// study, which leaves all else out of account.
    GpuBestFit,
    /// The one whose free cpus and gpus lie least in the direction of what the task asks for, each amount measured against
    /// the largest agent's: `DotProduct` of the study, which keeps room of the kind that is asked for together.
    DotProduct,
    /// A device in use before an idle one on an agent with some in use, before an idle agent; of devices in use the
    /// fullest, of idle agents the one with the fewest: `Packing` of the study.
    Packing,
    /// An agent whose tasks with gpus all ask for as many as this one, before one where some do, before one without such
    /// tasks, before all others; of equals the one with the least gpus free: `Clustering` of the study.
    Clustering,
    /// The one where the gpus that tasks like those submitted cannot use grow the least: fragmentation gradient descent.
    Fgd,
}

/// How the agent is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// The first that fits of an order that is the same for all tasks.
    Order,
    /// The one that costs the least, which depends on the task.
    Cost,
    /// By drawing.
    Draw,
}

const ALLOWED: &str = "`first-fit`, `best-fit`, `worst-fit`, `alignment`, `random` (or `random:seed=N`), `gpu-best-fit`, \
                       `dot-product`, `packing`, `clustering`, `fgd`";

impl Placement {
    /// One of each kind.
    pub const ALL: [Self; 10] = [
        Self::FirstFit,
        Self::BestFit,
        Self::WorstFit,
        Self::Alignment,
        Self::Random { seed: 0 },
        Self::GpuBestFit,
        Self::DotProduct,
        Self::Packing,
        Self::Clustering,
        Self::Fgd,
    ];

    fn word(self) -> &'static str {
        match self {
            Self::FirstFit => "first-fit",
            Self::BestFit => "best-fit",
            Self::WorstFit => "worst-fit",
            Self::Alignment => "alignment",
            Self::Random { .. } => "random",
            Self::GpuBestFit => "gpu-best-fit",
            Self::DotProduct => "dot-product",
            Self::Packing => "packing",
            Self::Clustering => "clustering",
            Self::Fgd => "fgd",
        }
    }

    pub(crate) fn way(self) -> Way {
        match self {
            Self::FirstFit | Self::BestFit | Self::WorstFit | Self::GpuBestFit => Way::Order,
            Self::Random { .. } => Way::Draw,
            Self::Alignment | Self::DotProduct | Self::Packing | Self::Clustering | Self::Fgd => Way::Cost,
        }
    }

    /// True where an agent that was given a task is preferred for the next one like it, as long as that fits.
    pub(crate) fn stays(self) -> bool {
        matches!(self, Self::FirstFit | Self::BestFit | Self::GpuBestFit)
    }

    /// True where what is free is measured against the largest agent's.
    pub(crate) fn has_scale(self) -> bool {
        matches!(self, Self::BestFit | Self::WorstFit | Self::GpuBestFit | Self::DotProduct)
    }
}

impl FromStr for Placement {
    type Err = InvalidPolicy;

    fn from_str(text: &str) -> Result<Self, InvalidPolicy> {
        let seed = text.strip_prefix("random:seed=").and_then(|seed| seed.parse().ok());
        let by_word = Self::ALL.into_iter().find(|placement| placement.word() == text);
        let unknown = || InvalidPolicy::unknown("placement", text, ALLOWED);
        seed.map(|seed| Self::Random { seed }).or(by_word).ok_or_else(unknown)
    }
}

impl fmt::Display for Placement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Random { seed } if *seed != 0 => f.pad(&format!("random:seed={seed}")),
            other => f.pad(other.word()),
        }
    }
}

impl TryFrom<String> for Placement {
    type Error = InvalidPolicy;

    fn try_from(text: String) -> Result<Self, InvalidPolicy> {
        text.parse()
    }
}

impl From<Placement> for String {
    fn from(placement: Placement) -> Self {
        placement.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placements_are_read_as_they_are_written() {
        let seeded = [1, 7, u64::MAX].map(|seed| Placement::Random { seed });
        for placement in Placement::ALL.into_iter().chain(seeded) {
            assert_eq!(placement.to_string().parse(), Ok(placement));
            let json = serde_json::to_string(&placement).unwrap();
            assert_eq!(serde_json::from_str::<Placement>(&json).unwrap(), placement);
        }
        assert_eq!("random:seed=0".parse(), Ok(Placement::Random { seed: 0 }));
        assert_eq!(Placement::Random { seed: 7 }.to_string(), "random:seed=7");
    }

    #[test]
    fn others_are_refused_with_the_list() {
        for text in ["bestfit", "random:seed=", "random:seed=-1", "random:7", "fgd:seed=1", ""] {
            let message = text.parse::<Placement>().unwrap_err().to_string();
            let expected = format!("there is no placement {text:?}: choose one of `first-fit`, `best-fit`");
            assert!(message.starts_with(&expected), "{message}");
            assert!(Placement::ALL.iter().all(|known| message.contains(known.word())), "{message}");
        }
    }
}
