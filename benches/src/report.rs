//! The table, and the charts that belong to it.

use std::fmt;
use std::fs;
use std::path::Path;

use crate::chart::Chart;
use crate::numbers::{Summary, ratio, short};
use crate::subject::Rounds;

/// What is to be reached.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Target {
    /// At most so much of sshd's.
    AtMost(f64),
    /// At least so much of sshd's.
    AtLeast(f64),
    /// None: it is only reported.
    None,
}

/// All that was measured.
pub(crate) struct Report {
    /// A smoke run tells that everything works, not how well.
    judges: bool,
    rows: Vec<Row>,
    charts: Vec<(&'static str, Chart)>,
}

struct Row {
    measure: String,
    judged: bool,
    unit: &'static str,
    rounds: Rounds,
    target: Target,
}

impl Report {
    pub(crate) fn new(judges: bool) -> Self {
        Self {
            judges,
            rows: Vec::new(),
            charts: Vec::new(),
        }
    }

    /// Adds a line to the table.
    pub(crate) fn add(
        &mut self,
        measure: impl Into<String>,
        unit: &'static str,
        rounds: Rounds,
        target: Target,
    ) {
        let row = Row {
            measure: measure.into(),
            judged: self.judges,
            unit,
            rounds,
            target,
        };
        eprintln!("  {row}");
        self.rows.push(row);
    }

    /// Adds a drawing, in a file of this name.
    pub(crate) fn chart(&mut self, file: &'static str, chart: Chart) {
        self.charts.push((file, chart));
    }

    pub(crate) fn draw(&self, folder: &Path) -> anyhow::Result<()> {
        fs::create_dir_all(folder)?;
        for (file, chart) in &self.charts {
            fs::write(folder.join(file), chart.to_string())?;
        }
        Ok(())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "| measure | unit | bastion | sshd | bastion / sshd (least – most) | to reach | |"
        )?;
        writeln!(f, "| --- | --- | ---: | ---: | --- | --- | --- |")?;
        self.rows.iter().try_for_each(|row| writeln!(f, "{row}"))
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value =
            |values: &[f64]| Summary::of(values).map_or("–".into(), |all| short(all.median));
        let ratios = Summary::of(&self.rounds.ratios());
        let compared = ratios.map_or("–".into(), |all| {
            format!(
                "{} ({} – {})",
                ratio(all.median),
                ratio(all.least),
                ratio(all.most)
            )
        });
        let met = match (self.target, ratios) {
            (Target::AtMost(most), Some(all)) => Some(all.median <= most),
            (Target::AtLeast(least), Some(all)) => Some(all.median >= least),
            _ => None,
        };
        let met = met.filter(|_| self.judged);
        let target = match self.target {
            Target::AtMost(most) => format!("≤ {}", ratio(most)),
            Target::AtLeast(least) => format!("≥ {}", ratio(least)),
            Target::None => String::new(),
        };
        let met = met.map_or("", |met| if met { "reached" } else { "**missed**" });
        write!(
            f,
            "| {} | {} | {} | {} | {compared} | {target} | {met} |",
            self.measure,
            self.unit,
            value(&self.rounds.bastion),
            value(&self.rounds.sshd),
        )
    }
}
