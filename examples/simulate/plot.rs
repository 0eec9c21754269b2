//! Pictures of what was found, as SVG.

use std::path::Path;

use plotters::{
    coord::{Shift, ranged1d::Ranged},
    prelude::*,
};

/// A line, or a group of bars.
pub(crate) struct Series {
    pub(crate) name: String,
    pub(crate) points: Vec<(f64, f64)>,
}

/// What is drawn, and what the axes say.
pub(crate) struct Plot<'a> {
    pub(crate) title: &'a str,
    pub(crate) x: &'a str,
    pub(crate) y: &'a str,
    pub(crate) series: Vec<Series>,
}

const SIZE: (u32, u32) = (800, 420);
/// Told apart by who sees few colours, too.
const COLORS: [RGBColor; 6] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(86, 180, 233),
    RGBColor(230, 159, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
];

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Drawn = Result<(), Box<dyn std::error::Error>>;

fn color(number: usize) -> RGBColor {
    COLORS[number % COLORS.len()]
}

/// Up to which an axis goes.
fn end(values: impl Iterator<Item = f64>) -> f64 {
    let most = values.fold(0.0, f64::max);
    if most > 0.0 { most * 1.05 } else { 1.0 }
}

/// Which colour is what.
fn legend<'a, X, Y>(
    chart: &mut ChartContext<'a, SVGBackend<'a>, Cartesian2d<X, Y>>,
    position: SeriesLabelPosition,
) -> Drawn
where
    X: Ranged,
    Y: Ranged,
{
    let mut labels = chart.configure_series_labels();
    let labels = labels.background_style(WHITE.mix(0.85)).border_style(BLACK.mix(0.3));
    labels.position(position).draw()?;
    Ok(())
}

impl Plot<'_> {
    /// The title, and room for what the axes say.
    fn on<'a, 'b>(&self, root: &'a Area<'b>) -> ChartBuilder<'a, 'b, SVGBackend<'b>> {
        let mut chart = ChartBuilder::on(root);
        chart.caption(self.title, ("sans-serif", 18)).margin(12);
        chart.x_label_area_size(40).y_label_area_size(60);
        chart
    }

    /// Lines over numbers.
    pub(crate) fn lines(&self, file: &Path) -> Drawn {
        let all = || self.series.iter().flat_map(|series| &series.points);
        let (x, y) = (end(all().map(|(x, _)| *x)), end(all().map(|(_, y)| *y)));
        let root = SVGBackend::new(file, SIZE).into_drawing_area();
        root.fill(&WHITE)?;
        let mut chart = self.on(&root).build_cartesian_2d(0.0..x, 0.0..y)?;
        chart.configure_mesh().light_line_style(WHITE).x_desc(self.x).y_desc(self.y).draw()?;
        for (number, series) in self.series.iter().enumerate() {
            let style = color(number).stroke_width(2);
            let line = LineSeries::new(series.points.iter().copied(), style);
            let drawn = chart.draw_series(line)?.label(&series.name);
            drawn.legend(move |(x, y)| PathElement::new(vec![(x, y), (x + 18, y)], style));
        }
        legend(&mut chart, SeriesLabelPosition::LowerRight)?;
        root.present()?;
        Ok(())
    }

    /// Groups of bars, one group for each of `names`; the number of a point is that of its group.
    pub(crate) fn bars(&self, file: &Path, names: &[String]) -> Drawn {
        let all = || self.series.iter().flat_map(|series| &series.points);
        let y = end(all().map(|(_, y)| *y));
        let root = SVGBackend::new(file, SIZE).into_drawing_area();
        root.fill(&WHITE)?;
        let groups = names.len() as f64;
        let mut chart = self.on(&root).build_cartesian_2d(-0.5..groups - 0.5, 0.0..y)?;
        let label = |x: &f64| {
            let is_whole = (x - x.round()).abs() < 0.01 && *x >= -0.1;
            let name = is_whole.then(|| names.get(x.round() as usize)).flatten();
            name.cloned().unwrap_or_default()
        };
        chart
            .configure_mesh()
            .disable_x_mesh()
            .light_line_style(WHITE)
            .x_labels(names.len() * 2)
            .x_label_formatter(&label)
            .x_desc(self.x)
            .y_desc(self.y)
            .draw()?;
        let width = 0.8 / self.series.len() as f64;
        for (number, series) in self.series.iter().enumerate() {
            let style = color(number).filled();
            let bars = series.points.iter().map(|(group, value)| {
                let left = group - 0.4 + width * number as f64;
                Rectangle::new([(left, 0.0), (left + width * 0.9, *value)], style)
            });
            let drawn = chart.draw_series(bars)?.label(&series.name);
            drawn.legend(move |(x, y)| Rectangle::new([(x, y - 5), (x + 12, y + 5)], style));
        }
        legend(&mut chart, SeriesLabelPosition::UpperLeft)?;
        root.present()?;
        Ok(())
    }
}
