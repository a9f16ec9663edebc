//! Figures as pictures: bars of two parts, in SVG that is readable on light and on dark pages.

use std::fmt::Write;

/// Bars below each other, each of two parts.
#[derive(Debug)]
pub(crate) struct Chart {
    /// What is shown.
    pub(crate) title: &'static str,
    /// What the parts are.
    pub(crate) parts: [&'static str; 2],
    /// Behind each sum.
    pub(crate) unit: &'static str,
    /// From top to bottom: a name and the sizes of the parts.
    pub(crate) bars: Vec<(String, [f64; 2])>,
}

impl Chart {
    /// The whole picture.
    pub(crate) fn svg(&self) -> String {
        let sums = self.bars.iter().map(|(_, parts)| sum(parts));
        let scale = BAR / sums.fold(f64::MIN_POSITIVE, f64::max);
        let mut bars = String::new();
        let mut told = String::new();
        for (number, (name, parts)) in self.bars.iter().enumerate() {
            let top = HEAD + STEP * number;
            let [first, second] = parts.map(|part| part * scale);
            let (text, whole) = (top + 15, sum(parts));
            let unit = self.unit;
            let end = LEFT + first + second + 8.0;
            // Writing to a text does not fail.
            let _ = write!(
                bars,
                "  <text class=\"name\" x=\"{:.0}\" y=\"{text}\">{name}</text>\n  \
                 <rect class=\"first\" x=\"{LEFT:.0}\" y=\"{top}\" width=\"{first:.1}\" height=\"20\"/>\n  \
                 <rect class=\"second\" x=\"{:.1}\" y=\"{top}\" width=\"{second:.1}\" height=\"20\"/>\n  \
                 <text x=\"{end:.1}\" y=\"{text}\">{whole:.2} {unit}</text>\n",
                LEFT - 10.0,
                LEFT + first,
            );
            let _ = write!(told, " {name}: {whole:.2} {unit}.");
        }
        let Self { title, parts, .. } = self;
        let [first, second] = parts;
        let height = HEAD + STEP * self.bars.len() + 8;
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" \
             aria-labelledby=\"title desc\">\n  \
             <title id=\"title\">{title}</title>\n  \
             <desc id=\"desc\">{title}.{told}</desc>\n\
             {STYLE}  \
             <rect class=\"paper\" width=\"{WIDTH}\" height=\"{height}\" rx=\"8\"/>\n  \
             <text class=\"title\" x=\"20\" y=\"30\">{title}</text>\n  \
             <rect class=\"first\" x=\"20\" y=\"46\" width=\"12\" height=\"12\"/>\n  \
             <text x=\"38\" y=\"57\">{first}</text>\n  \
             <rect class=\"second\" x=\"320\" y=\"46\" width=\"12\" height=\"12\"/>\n  \
             <text x=\"338\" y=\"57\">{second}</text>\n\
             {bars}</svg>\n"
        )
    }
}

fn sum(parts: &[f64; 2]) -> f64 {
    parts.iter().sum()
}

const WIDTH: u32 = 720;
/// Where bars begin, and how long the longest is.
const LEFT: f64 = 150.0;
const BAR: f64 = 460.0;
/// Where the first bar is, and how far it is to the next.
const HEAD: usize = 78;
const STEP: usize = 32;
const STYLE: &str = "  \
<style>
    .paper { fill: #f7f9fb }
    .first { fill: #2f6fba }
    .second { fill: #d79a2b }
    text { font: 13px system-ui, sans-serif; fill: #1e2833 }
    .title { font-size: 15px; font-weight: 600 }
    .name { text-anchor: end }
    @media (prefers-color-scheme: dark) {
      .paper { fill: #1b2129 }
      .first { fill: #5b9be6 }
      .second { fill: #d3a448 }
      text { fill: #e6ebf0 }
    }
  </style>
";
