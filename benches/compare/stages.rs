//! Where Pixgate's own time goes: the stages it tells of in `Server-Timing` (W3C), of the cold pictures asked for one at
//! a time.

use std::collections::BTreeMap;

use super::client::Answer;
use super::peers::Format;
use super::pictures::Class;
use super::report::{Report, shown};
use super::{mean, median};

const STAGES: [&str; 5] = ["fetch", "queue", "decode", "resize", "encode"];

/// Milliseconds of each stage, by format and class.
#[derive(Default)]
pub(crate) struct Stages(BTreeMap<(Format, Class), Vec<[f64; STAGES.len()]>>);

impl Stages {
    pub(crate) fn note(&mut self, format: Format, class: Class, answers: &[Option<Answer>]) {
        let of = |answer: &Answer| {
            let field = answer.header("server-timing")?.to_owned();
            Some(STAGES.map(|stage| duration(&field, stage).unwrap_or(0.0)))
        };
        self.0.entry((format, class)).or_default().extend(answers.iter().flatten().filter_map(of));
    }

    pub(crate) fn table(&self, report: &mut Report) {
        report.line("");
        report.line("**Pixgate's stages, mean ms of a picture, 1 at once** (as `Server-Timing` has them)");
        report.line("");
        report.table(&["", "format", "fetch", "queue", "decode", "resize", "encode", "median of the sum"]);
        for ((format, class), answers) in &self.0 {
            let mut cells = vec![class.name().to_owned(), format.name().to_owned()];
            cells.extend((0..STAGES.len()).map(|stage| shown(mean(answers.iter().map(|times| times[stage])))));
            cells.push(shown(median(answers.iter().map(|times| times.iter().sum()).collect())));
            report.row(&cells);
        }
    }
}

/// `decode;dur=12.5` among the parts of the field.
fn duration(field: &str, stage: &str) -> Option<f64> {
    let part = field.split(',').find_map(|part| part.trim().strip_prefix(stage)?.strip_prefix(";dur="))?;
    part.split(';').next()?.parse().ok()
}
