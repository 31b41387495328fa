//! `growth.svg`: what a record costs as partitions and connections grow, a curve for each subject.

use std::fmt::{self, Write};

use crate::{
    fleet::Subject,
    plan::{Along, Growth, Scenario},
    samples::{Metric, Samples},
};

const PANEL_WIDTH: f64 = 400.0;
const HEIGHT: f64 = 340.0;
const LEFT: f64 = 50.0;
const TOP: f64 = 50.0;
const PLOT_WIDTH: f64 = PANEL_WIDTH - LEFT - 20.0;
const PLOT_HEIGHT: f64 = HEIGHT - TOP - 50.0;
const COUNTS: [u32; 4] = [1, 10, 100, 1_000];

pub(crate) fn growth(samples: &Samples) -> Result<String, fmt::Error> {
    let panels = [(Along::Partitions, "partitions"), (Along::Connections, "connections")];
    let scenarios = samples.began.extent.scenarios();
    let curves = panels.map(|(along, _)| curves(samples, &scenarios, along));
    let values = curves.iter().flatten().flat_map(|(_, points)| points).map(|(_, cpu)| *cpu);
    let top = nice_above(values.fold(0.0, f64::max));
    let width = PANEL_WIDTH * 2.0;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {HEIGHT}\" font-family=\"sans-serif\" \
         font-size=\"12\">\n<rect width=\"{width}\" height=\"{HEIGHT}\" fill=\"white\"/>\n"
    );
    for (index, ((_, title), curves)) in panels.iter().zip(&curves).enumerate() {
        panel(&mut svg, PANEL_WIDTH * index as f64, title, top, curves)?;
    }
    legend(&mut svg, &curves[0])?;
    Ok(svg + "</svg>\n")
}

type Curve = (Subject, Vec<(u32, f64)>);

fn curves(samples: &Samples, scenarios: &[Scenario], along: Along) -> Vec<Curve> {
    let points = |subject| {
        let points = scenarios.iter().filter_map(|scenario| match scenario {
            Scenario::Growth(Growth { along: its, count }) if *its == along => {
                Some((*count, samples.median(*scenario, subject, Metric::ProduceCpu)?))
            }
            _ => None,
        });
        points.collect::<Vec<_>>()
    };
    Subject::ALL
        .map(|subject| (subject, points(subject)))
        .into_iter()
        .filter(|(_, p)| !p.is_empty())
        .collect()
}

fn panel(svg: &mut String, offset: f64, title: &str, top: f64, curves: &[Curve]) -> fmt::Result {
    let left = offset + LEFT;
    let (right, bottom) = (left + PLOT_WIDTH, TOP + PLOT_HEIGHT);
    let x = |count: u32| left + PLOT_WIDTH * f64::from(count).log10() / 3.0;
    let y = |cpu: f64| bottom - PLOT_HEIGHT * cpu / top;
    for step in 0..=4 {
        let cpu = top * f64::from(step) / 4.0;
        let at = y(cpu);
        writeln!(svg, "<line x1=\"{left}\" y1=\"{at:.1}\" x2=\"{right}\" y2=\"{at:.1}\" stroke=\"#ddd\"/>")?;
        let text = left - 6.0;
        writeln!(svg, "<text x=\"{text}\" y=\"{:.1}\" text-anchor=\"end\">{cpu:.2}</text>", at + 4.0)?;
    }
    for count in COUNTS {
        let (at, below) = (x(count), bottom + 18.0);
        writeln!(svg, "<text x=\"{at:.1}\" y=\"{below}\" text-anchor=\"middle\">{count}</text>")?;
    }
    let (middle, below) = (left + PLOT_WIDTH / 2.0, bottom + 38.0);
    writeln!(svg, "<text x=\"{middle}\" y=\"{below}\" text-anchor=\"middle\">{title}</text>")?;
    for (subject, points) in curves {
        let colour = colour(*subject);
        let path: Vec<String> =
            points.iter().map(|(count, cpu)| format!("{:.1},{:.1}", x(*count), y(*cpu))).collect();
        let path = path.join(" ");
        writeln!(svg, "<polyline points=\"{path}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>")?;
        for (count, cpu) in points {
            let (x, y) = (x(*count), y(*cpu));
            let tip = format!("{subject}, {count} {title}: {cpu:.3} s");
            writeln!(
                svg,
                "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3.5\" fill=\"{colour}\"><title>{tip}</title></circle>"
            )?;
        }
    }
    Ok(())
}

fn legend(svg: &mut String, curves: &[Curve]) -> fmt::Result {
    writeln!(svg, "<text x=\"10\" y=\"18\">seconds of the broker's CPU for a million records</text>")?;
    for (index, (subject, _)) in curves.iter().enumerate() {
        let x = 350.0 + 115.0 * index as f64;
        let colour = colour(*subject);
        writeln!(svg, "<rect x=\"{x}\" y=\"9\" width=\"10\" height=\"10\" fill=\"{colour}\"/>")?;
        let name =
            if *subject == Subject::MillstreamOs { "durability os".into() } else { subject.to_string() };
        writeln!(svg, "<text x=\"{}\" y=\"18\">{name}</text>", x + 15.0)?;
    }
    Ok(())
}

fn colour(subject: Subject) -> &'static str {
    match subject {
        Subject::Millstream => "#0b6e99",
        Subject::MillstreamOs => "#7fc4dd",
        Subject::Kafka => "#d9480f",
        Subject::KafkaFlushing => "#f4a261",
        Subject::Floor => "#868e96",
    }
}

/// 1, 2 or 5 times a power of ten.
pub(crate) fn nice_above(value: f64) -> f64 {
    let power = 10_f64.powf(value.max(1e-3).log10().floor());
    [1.0, 2.0, 5.0, 10.0].into_iter().map(|step| step * power).find(|top| *top >= value).unwrap_or(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scale_ends_at_a_round_number_above_all() {
        assert_eq!(nice_above(0.3), 0.5);
        assert_eq!(nice_above(1.0), 1.0);
        assert_eq!(nice_above(6.1), 10.0);
    }
}
