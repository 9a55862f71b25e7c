//! Commands of operators.

use allot_model::{AgentId, Answer, Done, DrainCommand, Refusal, RefusalKind, RegistryRecord, ReplyTo, Time};

use crate::agent::{Agent, Drain};
use crate::{Output, RegistryCore};

type Verdict = Result<(Option<RegistryRecord>, String), Refusal>;

impl RegistryCore {
    pub(crate) fn on_drain(
        &mut self,
        now: Time,
        reply: ReplyTo,
        id: &AgentId,
        command: DrainCommand,
        out: &mut Vec<Output>,
    ) {
        let kill = command.kill;
        let verdict = self.present(id).map(|agent| match agent.drain {
            Drain::Over { .. } => (None, format!("agent {id} is drained already")),
            Drain::Under { kill: before } if before || !kill => {
                (None, format!("agent {id} is draining already"))
            }
            _ => {
                let what = if kill { "its tasks are killed" } else { "its tasks may finish" };
                let message = format!("agent {id} takes nothing new; {what}: {} of them now", agent.attempts);
                (Some(RegistryRecord::AgentDraining { agent: id.clone(), kill }), message)
            }
        });
        self.carry_out(now, reply, verdict, out);
    }

    pub(crate) fn on_undrain(&mut self, now: Time, reply: ReplyTo, id: &AgentId, out: &mut Vec<Output>) {
        let verdict = self.present(id).and_then(|agent| match agent.drain {
            Drain::No => Ok((None, format!("agent {id} is not draining"))),
            // What is being killed cannot be called back, so what this was meant to save is lost already.
            Drain::Under { kill: true } => Err(Refusal {
                code: RefusalKind::Conflict,
                message: format!(
                    "agent {id} is draining and its tasks are being killed, of which it has {} left: let it work again once \
                     `allot agents` says that it is drained",
                    agent.attempts
                ),
            }),
            Drain::Under { kill: false } | Drain::Over { .. } => {
                let record = RegistryRecord::AgentUndrained { agent: id.clone() };
                Ok((Some(record), format!("agent {id} takes tasks again")))
            }
        });
        self.carry_out(now, reply, verdict, out);
    }

    pub(crate) fn on_gone(&mut self, now: Time, reply: ReplyTo, id: &AgentId, out: &mut Vec<Output>) {
        let verdict = self.present(id).map(|agent| {
            let record = RegistryRecord::AgentGone { agent: id.clone() };
            (Some(record), format!("agent {id} is gone, and its attempts are given up: {}", agent.attempts))
        });
        self.carry_out(now, reply, verdict, out);
    }

    fn carry_out(&mut self, now: Time, reply: ReplyTo, verdict: Verdict, out: &mut Vec<Output>) {
        let answer = match verdict {
            Ok((record, message)) => {
                if let Some(record) = record {
                    self.append(now, record, out);
                }
                Answer::Ok(Done { message })
            }
            Err(refusal) => Answer::Error(refusal),
        };
        out.push(Output::Done(reply, answer));
        self.react(now, out);
    }

    /// The agent, where it is one that can still be told something.
    fn present(&self, id: &AgentId) -> Result<&Agent, Refusal> {
        let refusal = |code, message| Refusal { code, message };
        match self.agents.get(id) {
            None => Err(refusal(
                RefusalKind::NotFound,
                format!("there is no agent {id}: `allot agents` lists those there are"),
            )),
            Some(agent) if agent.gone => {
                Err(refusal(RefusalKind::Conflict, format!("agent {id} was declared gone already")))
            }
            Some(agent) => Ok(agent),
        }
    }
}
