//! Plots: for each line of a table a mark at the median and a bar from the lowest to the highest
//! round of each directory, over a logarithmic axis of time.

use super::table::{Cell, Line, Table, Unit};
use plotters::coord::Shift;
use plotters::coord::combinators::WithKeyPoints;
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use std::error::Error;
use std::ops::Range;

/// Narrow enough to be read on a phone without scrolling.
const WIDTH: u32 = 420;
const MARGIN: i32 = 8;
/// Where the loads stand.
const LEFT: i32 = 70;
const HEADER: i32 = 26;
const ROW: i32 = 17;
const LEGEND: i32 = 20;
const AXIS: i32 = 46;
/// How many times stand at the axis, at most.
const TICKS: usize = 6;
/// Plotters' sizes are larger than the font's by its line spacing.
const TEXT: f64 = 16.0;
/// The page gives this colour its own meaning, in light and in dark.
const INK: RGBColor = BLACK;
/// To be told apart on white and on black, and with the shapes also without colour.
const COLOURS: [RGBColor; 6] = [
    RGBColor(0x3b, 0x82, 0xd6),
    RGBColor(0xe0, 0x70, 0x1c),
    RGBColor(0x2a, 0x9d, 0x5c),
    RGBColor(0xb8, 0x5c, 0xc8),
    RGBColor(0xb8, 0x90, 0x10),
    RGBColor(0xd9, 0x4a, 0x5a),
];

type Failure = Box<dyn Error + Send + Sync>;
type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Ticks = WithKeyPoints<LogCoord<f64>>;
type Axes<'a, 'b> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<Ticks, RangedCoordf64>>;

/// Where a line of the table lies in the plot.
struct Place<'a> {
    /// The height of the operation's name, if the line is its first.
    header: Option<i32>,
    /// The height of the marks.
    marks: i32,
    line: &'a Line,
    cells: &'a [Option<Cell>],
}

/// One block of a table as an SVG element; `None` if nothing was measured.
pub fn chart(table: &Table, block: usize) -> Result<Option<String>, Failure> {
    let number = table.places.len();
    let columns = block * number..(block + 1) * number;
    let (places, height) = lay_out(&table.lines, columns);
    let cells = || places.iter().flat_map(|place| place.cells).flatten();
    let Some(range) = range(cells()) else {
        return Ok(None);
    };
    let mut svg = String::new();
    {
        let top = MARGIN + LEGEND * i32::try_from(number)?;
        let size = (WIDTH, u32::try_from(top + height + AXIS)?);
        let root = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        legend(&root, &table.places)?;
        let ticks = ticks(&range);
        let time = LogCoord::from(range.log_scale()).with_key_points(ticks);
        let mut axes = ChartBuilder::on(&root)
            .margin_top(top)
            .margin_right(MARGIN + 18)
            .x_label_area_size(AXIS)
            .y_label_area_size(LEFT)
            .build_cartesian_2d(time, f64::from(height)..0.0)?;
        let unit = table.unit;
        axes.configure_mesh()
            .disable_y_mesh()
            .disable_y_axis()
            .x_labels(TICKS)
            .label_style(text())
            .axis_desc_style(text())
            .x_desc(match unit {
                Unit::Nanoseconds => "time of one operation, logarithmic",
                Unit::Milliseconds => "time of one run, logarithmic",
            })
            .x_label_formatter(&|time| tick(*time, unit))
            .draw()?;
        for place in &places {
            draw(&root, &mut axes, place)?;
        }
        root.present()?;
    }
    Ok(Some(svg))
}

/// The lines from top to bottom, and the height they take.
fn lay_out(lines: &[Line], columns: Range<usize>) -> (Vec<Place<'_>>, i32) {
    let (mut height, mut above) = (0, None);
    let mut places = Vec::new();
    for line in lines {
        let cells = &line.cells[columns.clone()];
        if cells.iter().all(Option::is_none) {
            continue;
        }
        let header = (above != Some(&line.label)).then(|| {
            height += HEADER;
            height - HEADER / 2 + 4
        });
        above = Some(&line.label);
        places.push(Place {
            header,
            marks: height + ROW / 2,
            line,
            cells,
        });
        height += ROW;
    }
    (places, height)
}

/// From a round number below all times to one above.
fn range<'a>(cells: impl Iterator<Item = &'a Cell>) -> Option<Range<f64>> {
    let outermost = |range: Option<Range<f64>>, cell: &Cell| {
        let range = range.unwrap_or(cell.lowest..cell.highest);
        Some(range.start.min(cell.lowest)..range.end.max(cell.highest))
    };
    let found = cells.fold(None, outermost)?;
    let sensible = found.start > 0.0 && found.end.is_finite();
    sensible.then(|| round_down(found.start)..round_up(found.end))
}

/// The last of 1, 2, 5 times a power of ten that is not above.
fn round_down(value: f64) -> f64 {
    let steps = round_numbers(value.log10().floor(), [1.0, 2.0, 5.0]);
    steps.filter(|step| *step <= value).last().unwrap_or(value)
}

/// The first one above.
fn round_up(value: f64) -> f64 {
    let mut steps = round_numbers(value.log10().floor(), [1.0, 2.0, 5.0, 10.0]);
    steps.find(|step| *step > value).unwrap_or(value)
}

fn round_numbers<const N: usize>(power: f64, of: [f64; N]) -> impl Iterator<Item = f64> {
    of.into_iter().map(move |step| step * 10f64.powf(power))
}

/// The round numbers in a range; powers of ten only, or of a thousand, where that are too many.
fn ticks(range: &Range<f64>) -> Vec<f64> {
    let powers = || (range.start.log10().floor() as i32)..=(range.end.log10().ceil() as i32);
    let inside = |time: &f64| (range.start * 0.999..range.end * 1.001).contains(time);
    let all = powers().flat_map(|power| round_numbers(power.into(), [1.0, 2.0, 5.0]));
    let all: Vec<_> = all.filter(inside).collect();
    if all.len() <= TICKS {
        return all;
    }
    let tens = |every| powers().filter(move |power| power % every == 0);
    let tens = |every| tens(every).map(|power| 10f64.powi(power)).filter(inside);
    match tens(1).count() <= TICKS {
        true => tens(1).collect(),
        false => tens(3).collect(),
    }
}

fn text() -> TextStyle<'static> {
    ("sans-serif", TEXT).into_font().color(&INK)
}

fn tick(time: f64, unit: Unit) -> String {
    let nanoseconds = match unit {
        Unit::Nanoseconds => time,
        Unit::Milliseconds => time * 1e6,
    };
    let steps = [(1e9, "s"), (1e6, "ms"), (1e3, "µs")];
    let (scale, name) = steps
        .into_iter()
        .find(|(scale, _)| nanoseconds >= *scale * 0.999)
        .unwrap_or((1.0, "ns"));
    format!("{} {name}", (nanoseconds / scale * 100.0).round() / 100.0)
}

fn legend(root: &Area, labels: &[String]) -> Result<(), Failure> {
    for (number, label) in labels.iter().enumerate() {
        let height = MARGIN + LEGEND * i32::try_from(number)? + LEGEND / 2;
        root.draw(&mark(number, (MARGIN + 6, height)))?;
        let style = text().pos(Pos::new(HPos::Left, VPos::Center));
        root.draw_text(label, &style, (MARGIN + 18, height))?;
    }
    Ok(())
}

fn draw(root: &Area, axes: &mut Axes, place: &Place) -> Result<(), Failure> {
    let (_, top) = axes.backend_coord(&(1.0, 0.0));
    if let Some(height) = place.header {
        let style = ("sans-serif", TEXT, FontStyle::Bold)
            .into_font()
            .color(&INK);
        let style = style.pos(Pos::new(HPos::Left, VPos::Center));
        root.draw_text(&place.line.label, &style, (MARGIN, top + height))?;
    }
    if let Some(load) = &place.line.load {
        let style = text().pos(Pos::new(HPos::Left, VPos::Center));
        root.draw_text(load, &style, (MARGIN, top + place.marks))?;
    }
    for (number, cell) in place.cells.iter().enumerate() {
        let Some(cell) = cell else {
            continue;
        };
        let at = |time| (axes.backend_coord(&(time, 0.0)).0, top + place.marks);
        let spread = vec![at(cell.lowest), at(cell.highest)];
        root.draw(&PathElement::new(spread, colour(number).stroke_width(2)))?;
        root.draw(&mark(number, at(cell.median)))?;
    }
    Ok(())
}

fn colour(number: usize) -> RGBColor {
    COLOURS[number % COLOURS.len()]
}

/// A directory's mark.
fn mark<'a>(number: usize, at: (i32, i32)) -> DynElement<'a, SVGBackend<'a>, (i32, i32)> {
    let style = colour(number).filled();
    match number % 4 {
        0 => Circle::new(at, 4, style).into_dyn(),
        1 => Rectangle::new([(at.0 - 4, at.1 - 4), (at.0 + 4, at.1 + 4)], style).into_dyn(),
        2 => TriangleMarker::new(at, 6, style).into_dyn(),
        _ => Cross::new(at, 4, colour(number).stroke_width(2)).into_dyn(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::table::tables;
    use super::super::testing::report;
    use super::*;

    #[test]
    fn a_plot_has_a_name_and_marks_for_each_line() {
        let report = report();
        let tables = tables(&report);
        let svg = chart(&tables[0], 0).unwrap().unwrap();
        let count = |what: &str| svg.matches(what).count();
        // One in the legend, and one for each of the two lines.
        assert_eq!(count("<circle"), 3, "{svg}");
        for text in [
            "stat",
            "1 pinned",
            "2 free",
            "one",
            "two &lt;b&gt;",
            "time of one operation",
        ] {
            assert!(svg.contains(text), "{text}: {svg}");
        }
        let commands = tables.last().unwrap();
        let cold = chart(commands, 1).unwrap().unwrap();
        assert!(
            cold.contains("git status") && cold.contains(" ms"),
            "{cold}"
        );
    }

    #[test]
    fn nothing_measured_is_no_plot() {
        let mut report = report();
        report.rows.pop();
        let commands = tables(&report).pop().unwrap();
        assert!(chart(&commands, 1).unwrap().is_none());
    }

    #[test]
    fn ranges_are_round() {
        assert_eq!((round_down(340.0), round_up(340.0)), (200.0, 500.0));
        assert_eq!((round_down(0.7), round_up(60.0)), (0.5, 100.0));
    }

    #[test]
    fn there_is_room_for_the_ticks() {
        assert_eq!(ticks(&(200.0..1000.0)), [200.0, 500.0, 1000.0]);
        let wide = ticks(&(500.0..2e6));
        assert_eq!(wide, [1e3, 1e4, 1e5, 1e6]);
        assert_eq!(ticks(&(1.0..1e9)), [1.0, 1e3, 1e6, 1e9]);
    }

    #[test]
    fn ticks_have_units() {
        let shown = [500.0, 1e3, 2e4, 5e6].map(|time| tick(time, Unit::Nanoseconds));
        assert_eq!(shown, ["500 ns", "1 µs", "20 µs", "5 ms"]);
        assert_eq!(tick(0.2, Unit::Milliseconds), "200 µs");
    }
}
