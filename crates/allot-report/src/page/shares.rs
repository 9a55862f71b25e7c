//! What the queues held over time.

use maud::{Markup, html};

use super::{QueueTold, Story, Told, head, key};
use crate::chart::{Detail, Frame, Line, Scale, is_dense, small_shares, steps, times};
use crate::history::Series;
use crate::words;

/// The height of a drawing of all queues, and of one queue, in pixels.
const HEIGHT: u64 = 160;
const STRIP: u64 = 44;

pub(super) fn section(story: &Story<'_>) -> Markup {
    let others = story.queue_count - story.queues.len();
    let is_dense = story.shares_are_dense();
    html! {
        @if story.queue_count > 1 {
            section id="shares" {
                h2 { "Dominant share of each queue over time" }
                p.note {
                    "The largest part that the tasks of a queue hold of any resource."
                    @if others > 0 {
                        " The " (story.queues.len()) " queues with the largest mean shares; " (words::count(u64::try_from(others).unwrap_or(u64::MAX)))
                        " more are not drawn."
                    }
                    @if is_dense { " A strip for each queue, all to one scale; bands as above." }
                }
                @if !is_dense { p.keys { @for queue in &story.queues { (key(&queue.class, &queue.name)) } } }
                div.stack.abreast[is_dense] { @for (place, run) in story.runs.iter().enumerate() { (story.of_run((place, run), is_dense)) } }
            }
        }
    }
}

impl Story<'_> {
    /// True where lines over each other could not be told apart.
    fn shares_are_dense(&self) -> bool {
        let dense = |run: &Told<'_>| self.queues.iter().any(|queue| is_dense(run.share(queue), self.window));
        self.runs.iter().any(dense)
    }

    fn share_scale(&self) -> Scale {
        let shares = self.runs.iter().flat_map(|run| self.queues.iter().map(|queue| run.share(queue)));
        small_shares(shares.map(|share| share.over(self.window).high).max().unwrap_or(0))
    }

    fn of_run(&self, (place, run): (usize, &Told<'_>), is_dense: bool) -> Markup {
        html! {
            figure {
                figcaption { (key(&run.class, &run.policy)) }
                @if is_dense {
                    @for (queue_place, queue) in self.queues.iter().enumerate() { (self.strip((place, run), (queue_place, queue))) }
                } @else { (self.overlay((place, run))) }
            }
        }
    }

    /// All queues in one drawing.
    fn overlay(&self, (place, run): (usize, &Told<'_>)) -> Markup {
        let (scale, columns) = (self.share_scale(), times(self.window));
        let means: Vec<String> =
            self.queues.iter().map(|queue| format!("{} {}", queue.name, run.mean_share(queue))).collect();
        let frame = Frame {
            id: format!("shares-{place}"),
            title: format!("Dominant shares of the queues over time under {}", run.policy),
            description: format!("On average: {}.", words::listed(&means)),
            height: HEIGHT,
            rows: &scale.ticks,
            columns: &columns,
            has_column_labels: true,
        };
        let line = |queue: &QueueTold| Line {
            class: queue.class.clone(),
            series: run.share(queue),
            is_filled: false,
            detail: Detail::Steps,
        };
        let lines: Vec<Line<'_>> = self.queues.iter().map(line).collect();
        frame.around(&steps(&lines, self.window, scale.top, HEIGHT))
    }

    /// One queue in a drawing of its own.
    fn strip(&self, (place, run): (usize, &Told<'_>), (queue_place, queue): (usize, &QueueTold)) -> Markup {
        let (mut scale, columns) = (self.share_scale(), times(self.window));
        let last = scale.ticks.len() - 1;
        scale.ticks = scale
            .ticks
            .into_iter()
            .enumerate()
            .filter(|(tick, _)| [0, last].contains(tick))
            .map(|(_, tick)| tick)
            .collect();
        let peak = words::percent(run.share(queue).over(run.history.window).high);
        let mean = run.mean_share(queue);
        let frame = Frame {
            id: format!("shares-{place}-{queue_place}"),
            title: format!("Dominant share of {} over time under {}", queue.name, run.policy),
            description: format!(
                "From {} to {}: {mean} on average, {peak} at most.",
                head::moment(run.history.window.from),
                head::moment(run.history.window.to)
            ),
            height: STRIP,
            rows: &scale.ticks,
            columns: &columns,
            has_column_labels: queue_place + 1 == self.queues.len(),
        };
        let line = Line {
            class: queue.class.clone(),
            series: run.share(queue),
            is_filled: true,
            detail: Detail::HalfColumns,
        };
        html! {
            p.strip { (key(&queue.class, &queue.name)) span.aside { "mean " (mean) ", peak " (peak) } }
            (frame.around(&steps(&[line], self.window, scale.top, STRIP)))
        }
    }
}

/// Nothing, of a queue that there is not.
static NOTHING: Series = Series::NOTHING;

impl Told<'_> {
    fn share(&self, queue: &QueueTold) -> &Series {
        self.history.shares.get(queue.number as usize).unwrap_or(&NOTHING)
    }

    /// The mean dominant share of a queue as it reads.
    pub(super) fn mean_share(&self, queue: &QueueTold) -> String {
        words::percent(self.share(queue).over(self.history.window).mean)
    }
}
