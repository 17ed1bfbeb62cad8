//! The picture of a run: losses above, learning rate below, over the same steps.

use super::history::{History, Point};
use crate::error::{Error, Result};
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use std::ops::Range;

const SIZE: (u32, u32) = (900, 620);
/// How every picture begins; by this it is known.
pub const OPENING: &str = "<svg width=\"900\" height=\"620\" viewBox=\"0 0 900 620\" \
                           xmlns=\"http://www.w3.org/2000/svg\">";
/// Height of the part with the losses.
const LOSSES: u32 = 430;
/// Space for the numbers at the left, the same in both parts so that their steps agree.
const LEFT: u32 = 70;
/// Most points of a line: more than there are pixels to tell them apart.
const MOST_POINTS: usize = 800;
/// The smooth line's window is this part of a run; shorter runs than this many points have none.
const WINDOWS: usize = 40;

const PALE: RGBColor = RGBColor(158, 196, 232);
const BLUE: RGBColor = RGBColor(23, 93, 160);
const ORANGE: RGBColor = RGBColor(214, 97, 16);
/// Bits of a byte of which nothing is known.
const UNIFORM: f64 = 8.0;
/// Where along their lines the marks are named: right of where a loss falls, left of the legend.
const MARKS_NAMED: f64 = 0.4;
const GREY: RGBColor = RGBColor(90, 90, 90);
const LINES: RGBColor = RGBColor(225, 225, 225);

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// The picture as SVG, in itself complete. An error where there is no loss to be drawn.
pub fn svg(history: &History) -> Result<String> {
    if history.training.is_empty() && history.validation.is_empty() {
        return Err(Error::state("there is no loss to draw"));
    }
    let mut text = String::new();
    draw(history, &mut text).map_err(|e| Error::state(format!("the chart: {e}")))?;
    Ok(text)
}

fn draw(history: &History, text: &mut String) -> Result<(), Box<dyn std::error::Error>> {
    let root = SVGBackend::with_string(text, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let steps = span(history.training.iter().chain(&history.validation).map(|p| p.0), 0.0);
    let unit = if history.by_epoch { "epoch" } else { "step" };
    if history.learning_rate.is_empty() {
        losses(&root, history, steps, Some(unit))?;
    } else {
        let (above, below) = root.split_vertically(LOSSES);
        losses(&above, history, steps.clone(), None)?;
        learning_rate(&below, history, steps, unit)?;
    }
    root.present()?;
    Ok(())
}

fn losses(
    area: &Area,
    history: &History,
    steps: Range<f64>,
    unit: Option<&str>,
) -> Result<(), Box<dyn std::error::Error>> {
    // Bits per byte compare runs of different tokens: they have the lines, nats the numbers at the right.
    let nats = nats_per_bit(history);
    let (training, validation, y_unit) = match nats {
        Some(_) => (&history.training_bits, &history.validation_bits, "bits per byte"),
        None => (&history.training, &history.validation, "nats per token"),
    };
    let best = validation.iter().copied().min_by(|a, b| a.1.total_cmp(&b.1));
    let smooth = smoothed(training);
    let training = thinned(training);
    let marks = marks(history, steps.clone());
    let values = training.iter().chain(&smooth).chain(validation).map(|p| p.1);
    let range = span(values.chain(marks.iter().map(|mark| mark.1)), 0.05);
    let scale = nats.unwrap_or(1.0);
    let mut chart = ChartBuilder::on(area)
        .caption("Loss", ("sans-serif", 20))
        .margin(12)
        .margin_right(24)
        .set_label_area_size(LabelAreaPosition::Right, if nats.is_some() { LEFT } else { 0 })
        .set_label_area_size(LabelAreaPosition::Left, LEFT)
        .set_label_area_size(LabelAreaPosition::Bottom, if unit.is_some() { 45 } else { 25 })
        .build_cartesian_2d(steps.clone(), range.clone())?
        .set_secondary_coord(steps, range.start * scale..range.end * scale);
    let mut mesh = chart.configure_mesh();
    mesh.light_line_style(TRANSPARENT)
        .bold_line_style(LINES)
        .axis_style(GREY)
        .label_style(("sans-serif", 14))
        .axis_desc_style(("sans-serif", 15))
        .x_labels(10)
        .x_label_formatter(&whole)
        .y_label_formatter(&decimal)
        .y_desc(y_unit);
    if let Some(unit) = unit {
        mesh.x_desc(unit);
    }
    mesh.draw()?;
    if nats.is_some() {
        chart
            .configure_secondary_axes()
            .axis_style(GREY)
            .label_style(("sans-serif", 14))
            .axis_desc_style(("sans-serif", 15))
            .y_label_formatter(&decimal)
            .y_desc("nats per token")
            .draw()?;
    }

    // Each is named where it is: both look alike, and the legend would cover the upper one's name.
    let named =
        ("sans-serif", 14).into_font().color(&GREY).pos(Pos::new(HPos::Center, VPos::Bottom));
    for (name, height, line) in &marks {
        chart.draw_series(DashedLineSeries::new(
            line.iter().copied(),
            6,
            6,
            GREY.stroke_width(1),
        ))?;
        let place = (line[0].0 + MARKS_NAMED * (line[1].0 - line[0].0), *height);
        let name = format!("{name}: {}", decimal(&((height * 100.0).round() / 100.0)));
        chart.draw_series([EmptyElement::at(place) + Text::new(name, (0, -2), named.clone())])?;
    }
    let colour = if smooth.is_empty() { BLUE } else { PALE };
    let drawn =
        chart.draw_series(LineSeries::new(training.iter().copied(), colour.stroke_width(1)))?;
    if smooth.is_empty() {
        drawn.label("training").legend(|at| sample(at, BLUE));
        // A line of one point can't be seen.
        if let [point] = training[..] {
            chart.draw_series([Circle::new(point, 3, BLUE.filled())])?;
        }
    } else {
        drawn.label("training").legend(|at| sample(at, PALE));
        chart
            .draw_series(LineSeries::new(smooth, BLUE.stroke_width(2)))?
            .label("training, running mean")
            .legend(|at| sample(at, BLUE));
    }
    if !validation.is_empty() {
        let validation = thinned(validation);
        chart
            .draw_series(LineSeries::new(validation.iter().copied(), ORANGE.stroke_width(2)))?
            .label("validation")
            .legend(|at| sample(at, ORANGE));
        if validation.len() <= MOST_POINTS / 8 {
            chart.draw_series(validation.iter().map(|&p| Circle::new(p, 4, ORANGE.filled())))?;
        }
    }
    if let (Some(best), true) = (best, validation.len() > 1) {
        chart
            .draw_series([Circle::new(best, 7, ORANGE.stroke_width(2))])?
            .label(format!("best: {}", decimal(&((best.1 * 1e4).round() / 1e4))))
            .legend(|(x, y)| Circle::new((x + 10, y), 5, ORANGE.stroke_width(2)));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperRight)
        .label_font(("sans-serif", 15))
        .background_style(WHITE.mix(0.85))
        .border_style(LINES)
        .draw()?;
    Ok(())
}

/// What a model that has learnt nothing, or only how often each byte comes, would have: its name, its
/// height, its line. Only for losses in bits per byte.
fn marks(history: &History, steps: Range<f64>) -> Vec<(&'static str, f64, [Point; 2])> {
    let Some(order0) = history.order0.filter(|_| nats_per_bit(history).is_some()) else {
        return Vec::new();
    };
    let mark = |name, bits| (name, bits, [(steps.start, bits), (steps.end, bits)]);
    vec![mark("uniform bytes", UNIFORM), mark("order-0 entropy", order0)]
}

/// Nats per token for a bit per byte of the training text; `None` where the record has no bits.
fn nats_per_bit(history: &History) -> Option<f64> {
    let (nats, bits) = (history.training.last()?.1, history.training_bits.last()?.1);
    let ratio = nats / bits;
    (bits > 0.0 && ratio.is_finite() && ratio > 0.0).then_some(ratio)
}

fn learning_rate(
    area: &Area,
    history: &History,
    steps: Range<f64>,
    unit: &str,
) -> Result<(), Box<dyn std::error::Error>> {
    let points = thinned(&history.learning_rate);
    // From zero on: what matters is how much of the full rate there is.
    let top = span(points.iter().map(|p| p.1), 0.1);
    let mut chart = ChartBuilder::on(area)
        .caption("Learning rate", ("sans-serif", 16))
        .margin(12)
        .margin_top(0)
        .margin_right(24)
        .set_label_area_size(
            LabelAreaPosition::Right,
            if nats_per_bit(history).is_some() { LEFT } else { 0 },
        )
        .set_label_area_size(LabelAreaPosition::Left, LEFT)
        .set_label_area_size(LabelAreaPosition::Bottom, 45)
        .build_cartesian_2d(steps, top.start.min(0.0)..top.end)?;
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(LINES)
        .axis_style(GREY)
        .label_style(("sans-serif", 14))
        .axis_desc_style(("sans-serif", 15))
        .x_labels(10)
        .y_labels(4)
        .x_label_formatter(&whole)
        .y_label_formatter(&decimal)
        .x_desc(unit)
        .draw()?;
    chart.draw_series(LineSeries::new(points.iter().copied(), GREY.stroke_width(2)))?;
    if let [point] = points[..] {
        chart.draw_series([Circle::new(point, 3, GREY.filled())])?;
    }
    Ok(())
}

/// A piece of a line for the legend.
fn sample((x, y): (i32, i32), colour: RGBColor) -> PathElement<(i32, i32)> {
    PathElement::new([(x, y), (x + 20, y)], colour.stroke_width(3))
}

/// The range of values with a margin on both sides, never empty.
fn span(values: impl Iterator<Item = f64>, margin: f64) -> Range<f64> {
    let (least, most) =
        values.fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), x| (a.min(x), b.max(x)));
    let size = least.abs().max(most.abs()).max(1e-30);
    let margin = if most - least > 1e-4 * size { margin * (most - least) } else { 0.1 * size };
    least - margin..most + margin
}

/// At most [`MOST_POINTS`], each the mean of its neighbours in the file.
fn thinned(points: &[Point]) -> Vec<Point> {
    let each = points.len().div_ceil(MOST_POINTS).max(1);
    points.chunks(each).map(mean).collect()
}

/// Means over a moving window; nothing where there are too few points for it.
fn smoothed(points: &[Point]) -> Vec<Point> {
    let half = points.len() / WINDOWS / 2;
    if half == 0 {
        return Vec::new();
    }
    let each = points.len().div_ceil(MOST_POINTS);
    (0..points.len())
        .step_by(each)
        .map(|i| {
            let around = half.min(i).min(points.len() - 1 - i); // symmetric, shorter at the ends
            (points[i].0, mean(&points[i - around..=i + around]).1)
        })
        .collect()
}

fn mean(points: &[Point]) -> Point {
    let n = points.len() as f64;
    let sum = points.iter().fold((0.0, 0.0), |sum, p| (sum.0 + p.0, sum.1 + p.1));
    (sum.0 / n, sum.1 / n)
}

/// A step; nothing between whole ones.
fn whole(x: &f64) -> String {
    if x.fract() == 0.0 { format!("{x}") } else { String::new() }
}

/// A few significant digits, without zeros at the end.
fn decimal(y: &f64) -> String {
    let size = y.abs();
    if size != 0.0 && !(1e-4..1e6).contains(&size) {
        return format!("{:.1e}", y);
    }
    let text = format!("{y:.5}");
    text.trim_end_matches('0').trim_end_matches('.').to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn run(n: usize) -> History {
        let points = |f: fn(f64) -> f64| (1..=n).map(|i| (i as f64, f(i as f64))).collect();
        History {
            by_epoch: false,
            training: points(|x| 5.0 + 4.0 / x),
            validation: vec![(n as f64, 6.0)],
            learning_rate: points(|x| 1e-3 * (x / 50.0).min(1.0)),
            ..History::default()
        }
    }

    #[test]
    fn bits_per_byte_have_the_lines_where_they_are_known() {
        let mut history = run(200);
        assert!(!svg(&history).unwrap().contains("bits per byte"));
        history.validation = vec![(100.0, 4.5), (200.0, 6.0)];
        history.training_bits = history.training.iter().map(|p| (p.0, p.1 / 2.0)).collect();
        history.validation_bits = history.validation.iter().map(|p| (p.0, p.1 / 2.0)).collect();
        let text = svg(&history).unwrap();
        for words in ["bits per byte", "nats per token", "best: 2.25"] {
            assert!(text.contains(words), "{words}");
        }
        assert!(!text.contains("uniform bytes"));
        history.order0 = Some(4.768);
        let text = svg(&history).unwrap();
        for words in ["uniform bytes: 8", "order-0 entropy: 4.77"] {
            assert!(text.contains(words), "{words}");
        }
        history.training_bits.iter_mut().for_each(|p| p.1 = 0.0);
        let text = svg(&history).unwrap();
        assert!(!text.contains("bits per byte") && !text.contains("uniform bytes"));
    }

    #[test]
    fn a_picture_names_what_it_shows() {
        let text = svg(&run(200)).unwrap();
        for words in
            ["Loss", "Learning rate", "nats per token", "running mean", "validation", "step"]
        {
            assert!(text.contains(words), "{words}");
        }
        assert!(text.starts_with(OPENING) && text.trim_end().ends_with("</svg>"));
        // Self-contained: no links besides the name space.
        assert_eq!(
            text.matches("http").count(),
            text.matches("http://www.w3.org/2000/svg").count()
        );
    }

    #[test]
    fn only_what_is_there() {
        let mut history = run(10);
        assert!(!svg(&history).unwrap().contains("running mean"));
        history.learning_rate.clear();
        history.validation.clear();
        history.by_epoch = true;
        let text = svg(&history).unwrap();
        assert!(!text.contains("Learning rate") && !text.contains("validation"));
        assert!(text.contains("epoch"));
        history.training.truncate(1);
        assert!(svg(&history).unwrap().contains("<circle"));
        history.training.clear();
        assert!(svg(&history).is_err());
    }

    #[test]
    fn a_long_run_makes_no_larger_picture() {
        let (short, long) = (svg(&run(2_000)).unwrap(), svg(&run(200_000)).unwrap());
        assert!(long.len() < 2 * short.len(), "{} {}", short.len(), long.len());
        assert!(long.len() < 100_000, "{}", long.len());
    }

    #[test]
    fn means() {
        let points: Vec<Point> = (0..8_000).map(|i| (f64::from(i), f64::from(i % 2))).collect();
        let thin = thinned(&points);
        assert_eq!((thin.len(), thin[0]), (800, (4.5, 0.5)));
        let smooth = smoothed(&points);
        assert_eq!((smooth[0], smooth.len()), ((0.0, 0.0), 800));
        assert!(smooth[20..780].iter().all(|p| (p.1 - 0.5).abs() < 0.01));
        assert!(smoothed(&points[..79]).is_empty());
    }

    #[test]
    fn labels() {
        assert_eq!(decimal(&0.001), "0.001");
        assert_eq!(decimal(&10.0), "10");
        assert_eq!(decimal(&0.0), "0");
        assert_eq!(decimal(&2.5e-6), "2.5e-6");
        assert_eq!(whole(&1000.0), "1000");
        assert_eq!(whole(&0.5), "");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]
        #[test]
        fn any_numbers_can_be_drawn(
            points in proptest::collection::vec((any::<i32>(), any::<f32>(), any::<f32>()), 1..60),
            scale in -40..40i32,
        ) {
            let scale = 2f64.powi(scale);
            let points: Vec<_> =
                points.iter().filter(|p| p.1.is_finite() && p.2.is_finite()).collect();
            prop_assume!(!points.is_empty());
            let column = |f: fn(&(i32, f32, f32)) -> f32| -> Vec<Point> {
                points.iter().map(|p| (f64::from(p.0), f64::from((f64::from(f(p)) * scale) as f32)))
                    .filter(|p| p.1.is_finite()).collect()
            };
            let history = History {
                by_epoch: false,
                training: column(|p| p.1),
                validation: column(|p| p.2),
                learning_rate: column(|p| p.2),
                training_bits: column(|p| p.1),
                validation_bits: column(|p| p.2),
                order0: column(|p| p.1).first().map(|p| p.1),
            };
            if !history.training.is_empty() {
                let text = svg(&history).unwrap();
                prop_assert!(!text.contains("NaN") && !text.contains("inf"));
            }
        }
    }
}
