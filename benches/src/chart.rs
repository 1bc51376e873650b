//! Line charts as SVG: two servers, logarithmic axes, legible on light and on dark.

use std::fmt;

use crate::numbers::{Summary, short};
use crate::subject::Rounds;

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 360.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 84.0;
const TOP: f64 = 44.0;
const BOTTOM: f64 = 48.0;

const STYLE: &str = "\
text{font:13px system-ui,sans-serif;fill:#333}.title{font-weight:600;font-size:15px}.grid{stroke:#8884;stroke-width:1}\
.line{fill:none;stroke-width:2.5}.spread{stroke-width:1.5}.bastion{stroke:#0b7285}.sshd{stroke:#c2410c}\
circle.bastion,text.bastion{fill:#0b7285;stroke:none}circle.sshd,text.sshd{fill:#c2410c;stroke:none}\
@media (prefers-color-scheme:dark){text{fill:#ccc}.bastion{stroke:#3bc9db}.sshd{stroke:#ff922b}\
circle.bastion,text.bastion{fill:#3bc9db}circle.sshd,text.sshd{fill:#ff922b}}";

/// A chart of one quantity by another.
pub(crate) struct Chart {
    title: &'static str,
    across: &'static str,
    up: &'static str,
    bastion: Vec<(f64, Summary)>,
    sshd: Vec<(f64, Summary)>,
}

impl Chart {
    pub(crate) fn lines(title: &'static str, across: &'static str, up: &'static str) -> Self {
        Self {
            title,
            across,
            up,
            bastion: Vec::new(),
            sshd: Vec::new(),
        }
    }

    /// Adds a point of each line.
    pub(crate) fn add(&mut self, x: f64, rounds: &Rounds) {
        self.bastion
            .extend(Summary::of(&rounds.bastion).map(|all| (x, all)));
        self.sshd
            .extend(Summary::of(&rounds.sshd).map(|all| (x, all)));
    }

    fn points(&self) -> impl Iterator<Item = &(f64, Summary)> {
        self.bastion.iter().chain(&self.sshd)
    }
}

/// Powers of ten (and, where few, their doubles and fives) as positions between 0 and 1.
struct Axis {
    low: f64,
    high: f64,
}

impl Axis {
    fn around(values: &[f64]) -> Self {
        let low = values.iter().copied().fold(f64::INFINITY, f64::min).log10();
        let high = values
            .iter()
            .copied()
            .fold(f64::NEG_INFINITY, f64::max)
            .log10();
        let margin = ((high - low) * 0.05).max(0.02);
        Self {
            low: low - margin,
            high: high + margin,
        }
    }

    fn at(&self, value: f64) -> f64 {
        (value.log10() - self.low) / (self.high - self.low)
    }

    fn ticks(&self) -> Vec<f64> {
        let steps: &[f64] = if self.high - self.low > 3.0 {
            &[1.0]
        } else {
            &[1.0, 2.0, 5.0]
        };
        let powers = self.low.floor() as i32..=self.high.ceil() as i32;
        let all = powers.flat_map(|power| steps.iter().map(move |step| step * 10f64.powi(power)));
        all.filter(|&value| (0.0..=1.0).contains(&self.at(value)))
            .collect()
    }
}

fn tick(value: f64) -> String {
    if value >= 1.0 {
        short(value).replace(".00", "").replace(".0", "")
    } else {
        format!("{value}")
    }
}

impl fmt::Display for Chart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.points().next().is_none() {
            return Ok(());
        }
        let across: Vec<_> = self.points().map(|(x, _)| *x).collect();
        let up: Vec<_> = self
            .points()
            .flat_map(|(_, all)| [all.least, all.most])
            .collect();
        let (x, y) = (Axis::around(&across), Axis::around(&up));
        let right = |value: f64| LEFT + x.at(value) * (WIDTH - LEFT - RIGHT);
        let down = |value: f64| HEIGHT - BOTTOM - y.at(value) * (HEIGHT - TOP - BOTTOM);
        writeln!(
            f,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\">"
        )?;
        writeln!(f, "<title>{}</title>\n<style>{STYLE}</style>", self.title)?;
        writeln!(
            f,
            "<text class=\"title\" x=\"{LEFT}\" y=\"22\">{} ({})</text>",
            self.title, self.up
        )?;
        for value in y.ticks() {
            let (at, end) = (down(value), WIDTH - RIGHT);
            writeln!(f, "<path class=\"grid\" d=\"M{LEFT} {at:.1}H{end}\"/>")?;
            writeln!(
                f,
                "<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                LEFT - 8.0,
                at + 4.5,
                tick(value)
            )?;
        }
        // The values that were measured, not round ones.
        for (value, _) in &self.bastion {
            let (at, below) = (right(*value), HEIGHT - BOTTOM + 20.0);
            writeln!(
                f,
                "<text x=\"{at:.1}\" y=\"{below}\" text-anchor=\"middle\">{}</text>",
                tick(*value)
            )?;
        }
        let middle = (LEFT + WIDTH - RIGHT) / 2.0;
        writeln!(
            f,
            "<text x=\"{middle}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
            HEIGHT - 8.0,
            self.across
        )?;
        for (name, points) in [("bastion", &self.bastion), ("sshd", &self.sshd)] {
            let Some((last_x, last)) = points.last() else {
                continue;
            };
            let path: Vec<String> = points
                .iter()
                .map(|(x, all)| format!("{:.1} {:.1}", right(*x), down(all.median)))
                .collect();
            writeln!(f, "<path class=\"line {name}\" d=\"M{}\"/>", path.join("L"))?;
            for (x, all) in points {
                let (at, from, to) = (right(*x), down(all.least), down(all.most));
                writeln!(
                    f,
                    "<path class=\"spread {name}\" d=\"M{at:.1} {from:.1}V{to:.1}\"/>"
                )?;
                writeln!(
                    f,
                    "<circle class=\"{name}\" cx=\"{at:.1}\" cy=\"{:.1}\" r=\"3.5\"/>",
                    down(all.median)
                )?;
            }
            let (at, beside) = (right(*last_x) + 10.0, down(last.median) + 4.5);
            writeln!(
                f,
                "<text class=\"{name}\" x=\"{at:.1}\" y=\"{beside:.1}\">{name}</text>"
            )?;
        }
        writeln!(f, "</svg>")
    }
}
