//! The functions of the language.

/// What can be called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Function {
    Avg,
    Sum,
    Min,
    Max,
    Count,
    Stddev,
    /// 1 to 99.
    Percentile(u8),
    Rate,
    Delta,
    Changed,
    Missing,
    Age,
    Distance,
    Outside,
    Abs,
    Round,
    Floor,
    Ceil,
    Sqrt,
    Log,
    Pow,
    Clamp,
    Tag,
    Group,
    Device,
    Firmware,
}

/// Every function but the percentiles: its name, and how it is called.
pub(super) const FUNCTIONS: [(&str, Function, &str); 25] = [
    ("avg", Function::Avg, "avg(metric, 10m)"),
    ("sum", Function::Sum, "sum(metric, 10m)"),
    ("min", Function::Min, "min(metric, 10m) or min(a, b)"),
    ("max", Function::Max, "max(metric, 10m) or max(a, b)"),
    ("count", Function::Count, "count(metric, 10m)"),
    ("stddev", Function::Stddev, "stddev(metric, 10m)"),
    ("rate", Function::Rate, "rate(counter, 5m)"),
    ("delta", Function::Delta, "delta(metric, 5m)"),
    ("changed", Function::Changed, "changed(metric) or changed(metric, 10m)"),
    ("missing", Function::Missing, "missing(metric) or missing(metric, 5m)"),
    ("age", Function::Age, "age(metric)"),
    ("distance", Function::Distance, "distance(lat, lon, 48.13, 11.57)"),
    ("outside", Function::Outside, "outside(lat, lon, 48.13, 11.57, 500)"),
    ("abs", Function::Abs, "abs(x)"),
    ("round", Function::Round, "round(x)"),
    ("floor", Function::Floor, "floor(x)"),
    ("ceil", Function::Ceil, "ceil(x)"),
    ("sqrt", Function::Sqrt, "sqrt(x)"),
    ("log", Function::Log, "log(x)"),
    ("pow", Function::Pow, "pow(x, y)"),
    ("clamp", Function::Clamp, "clamp(x, low, high)"),
    ("tag", Function::Tag, "tag(\"limit\")"),
    ("group", Function::Group, "group()"),
    ("device", Function::Device, "device()"),
    ("firmware", Function::Firmware, "firmware()"),
];

impl Function {
    /// The function with this name.
    pub fn named(name: &str) -> Option<Self> {
        if let Some((_, function, _)) = FUNCTIONS.iter().find(|(own, ..)| *own == name) {
            return Some(*function);
        }
        let figure = name.strip_prefix('p')?;
        let plain = !figure.starts_with('0') && figure.len() <= 2 && figure.bytes().all(|b| b.is_ascii_digit());
        figure.parse().ok().filter(|percent| plain && (1..=99).contains(percent)).map(Self::Percentile)
    }

    /// Its name.
    pub fn name(self) -> String {
        match self {
            Self::Percentile(percent) => format!("p{percent}"),
            _ => {
                FUNCTIONS.iter().find(|(_, f, _)| *f == self).map_or_else(String::new, |(name, ..)| (*name).to_owned())
            }
        }
    }

    /// How it is called.
    pub fn usage(self) -> String {
        match self {
            Self::Percentile(percent) => format!("p{percent}(metric, 10m)"),
            _ => FUNCTIONS.iter().find(|(_, f, _)| *f == self).map_or_else(String::new, |(.., how)| (*how).to_owned()),
        }
    }

    /// True if it looks at the samples of a window; `min` and `max` do with a duration only.
    pub fn is_aggregate(self) -> bool {
        use Function::{Avg, Count, Delta, Max, Min, Percentile, Rate, Stddev, Sum};
        matches!(self, Avg | Sum | Min | Max | Count | Stddev | Percentile(_) | Rate | Delta)
    }

    /// What to say of a function that does not exist.
    pub fn remedy(unknown: &str) -> String {
        let percentile = unknown.strip_prefix(['p', 'P']).is_some_and(|f| f.starts_with(|c: char| c.is_ascii_digit()));
        if percentile {
            return "percentiles are p1 to p99".to_owned();
        }
        let lower = unknown.to_ascii_lowercase();
        let alias = match lower.as_str() {
            "mean" | "average" | "avg_over_time" => Some("avg"),
            "increase" | "diff" | "difference" => Some("delta"),
            "absent" | "nodata" | "no_data" | "stale" => Some("missing"),
            "median" => Some("p50"),
            "std" | "stdev" => Some("stddev"),
            "ln" => Some("log"),
            "len" | "size" => Some("count"),
            "trunc" | "int" => Some("floor"),
            "geofence" | "inside" => Some("outside"),
            "label" | "attribute" => Some("tag"),
            _ => None,
        };
        let nearest = alias.or_else(|| {
            let scored = FUNCTIONS.iter().map(|(name, ..)| (edits(&lower, name), *name));
            let near = if lower.len() <= 4 { 1 } else { 2 };
            scored.min().filter(|(edits, _)| *edits <= near).map(|(_, name)| name)
        });
        match nearest {
            Some(name) => format!("did you mean {name}?"),
            None => {
                let names: Vec<_> = FUNCTIONS.iter().map(|(name, ..)| *name).collect();
                format!("there are {} and p1 to p99", names.join(", "))
            }
        }
    }
}

/// How many letters have to be changed, added, removed or swapped with their neighbour. Both texts are short.
fn edits(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().take(32).collect(), b.chars().collect());
    let mut rows = vec![(0..=b.len()).collect::<Vec<_>>()];
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let same = usize::from(a[i - 1] != b[j - 1]);
            row[j] = (rows[i - 1][j] + 1).min(row[j - 1] + 1).min(rows[i - 1][j - 1] + same);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(rows[i - 2][j - 2] + 1);
            }
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}
