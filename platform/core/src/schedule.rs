//! A weekly calendar in a time zone: when a rule looks, or when a person wants quiet.
//!
//! **The clock on the wall decides.** A moment is within a window if a clock of the zone shows a time within it. So on the
//! days when the clocks change:
//! * A wall time that is skipped never comes: a window of 02:00–03:00 does not happen on the night when 02:00 becomes 03:00,
//!   and one of 02:30–05:00 begins with that change, at 03:00.
//! * A wall time that occurs twice counts both times: a window of 02:00–02:30 happens twice in the night when 03:00 becomes
//!   02:00, and one of 22:00–06:00 is an hour longer.
//!
//! Zone rules come with the program, never from files of the machine: the same schedule means the same everywhere.

use jiff::Timestamp;
use jiff::civil::{Date, DateTime, Time};
use jiff::tz::{AmbiguousOffset, TimeZone, TimeZoneDatabase};
use std::fmt;

/// Most windows of one schedule.
pub const WINDOWS_MAX: usize = 32;
/// Longest name of a zone, in bytes; the longest of the data base has 32.
pub const ZONE_BYTES_MAX: usize = 64;

const DAY_MINUTES: u16 = 24 * 60;
const WEEK_MINUTES: u16 = 7 * DAY_MINUTES;
/// A window of a weekly schedule may be skipped by a change of the clocks, and by a zone that leaves out a day; never thrice.
const HORIZON_DAYS: i32 = 28;
const DAY_NAMES: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

/// A stretch of some days of the week.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Window {
    /// The days on which it begins, Monday first.
    pub days: [bool; 7],
    /// When it begins, minutes after midnight, 0 to 1439.
    pub from: u16,
    /// When it is over, minutes after midnight, 0 to 1440; this minute is not within it any more. Not after `from` means: of
    /// the next day. Never the same as `from`: a whole day is 0 to 1440.
    pub to: u16,
}

/// Why there can be no such schedule. The message names what is wrong and what would do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScheduleError {
    /// No zone has this name.
    #[error("zone {given:?} is not known: {}", hint(.nearest))]
    Zone {
        /// As given, cut.
        given: String,
        /// Names that look like it, the nearest first; at most three.
        nearest: Vec<String>,
    },
    /// A window that means nothing.
    #[error("window {number} ({given}) is not valid: {problem}")]
    Window {
        /// Counted from 1.
        number: usize,
        /// As people write it, cut.
        given: String,
        /// What is wrong and what is allowed.
        problem: &'static str,
    },
    /// Too many windows, or none.
    #[error("{given} windows are given; 1 to {WINDOWS_MAX} are allowed")]
    Count {
        /// How many.
        given: usize,
    },
}

fn hint(nearest: &[String]) -> String {
    match nearest {
        [] => "a name of the IANA time zone data base is wanted, such as Europe/Berlin or UTC".to_owned(),
        names => format!("did you mean {}?", names.join(", ")),
    }
}

/// See the module.
#[derive(Debug, Clone, PartialEq)]
pub struct Schedule {
    name: String,
    zone: TimeZone,
    windows: Vec<Window>,
    /// The windows as minutes of the week, from Monday 00:00: sorted, apart from each other, `from` < `to` ≤ a week.
    covered: Vec<(u16, u16)>,
}

impl Window {
    /// Reads `mon-fri 08:00-18:00`, `sat,sun 00:00-24:00` or `daily 22:00-06:00`.
    ///
    /// # Errors
    /// What is wrong with the text, and what is wanted.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let (days, times) =
            text.trim().split_once(' ').ok_or("days and times are wanted, such as mon-fri 08:00-18:00")?;
        let (from, to) = times.trim().split_once('-').ok_or("times are wanted as 08:00-18:00")?;
        let window = Self { days: parse_days(days)?, from: parse_minutes(from)?, to: parse_minutes(to)? };
        window.check()?;
        Ok(window)
    }

    fn check(&self) -> Result<(), &'static str> {
        if !self.days.contains(&true) {
            return Err("at least one day is wanted");
        }
        if self.from >= DAY_MINUTES {
            return Err("a window begins between 00:00 and 23:59");
        }
        if self.to > DAY_MINUTES {
            return Err("a window ends between 00:00 and 24:00");
        }
        if self.from == self.to {
            return Err("it begins and ends at the same time; a whole day is 00:00-24:00");
        }
        Ok(())
    }

    /// Adds its minutes of the week to `covered`.
    fn cover(&self, covered: &mut Vec<(u16, u16)>) {
        let length = if self.from < self.to { self.to - self.from } else { DAY_MINUTES - self.from + self.to };
        for day in (0u16..7).filter(|day| self.days[usize::from(*day)]) {
            let from = day * DAY_MINUTES + self.from;
            let to = from + length;
            covered.push((from, to.min(WEEK_MINUTES)));
            if to > WEEK_MINUTES {
                covered.push((0, to - WEEK_MINUTES));
            }
        }
    }
}

impl fmt::Display for Window {
    /// As [`Window::parse`] reads it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.days == [true; 7] {
            f.write_str("daily")?;
        } else {
            f.write_str(&days_text(self.days))?;
        }
        write!(f, " {:02}:{:02}-{:02}:{:02}", self.from / 60, self.from % 60, self.to / 60, self.to % 60)
    }
}

/// Three days in a row and more are written as people do: `mon-fri`.
fn days_text(days: [bool; 7]) -> String {
    let mut texts = Vec::new();
    let mut day = 0;
    while day < days.len() {
        let run = days[day..].iter().take_while(|on| **on).count();
        match run {
            0 => {}
            1 | 2 => texts.extend(DAY_NAMES[day..day + run].iter().map(|name| (*name).to_owned())),
            _ => texts.push(format!("{}-{}", DAY_NAMES[day], DAY_NAMES[day + run - 1])),
        }
        day += run.max(1);
    }
    texts.join(",")
}

fn parse_days(text: &str) -> Result<[bool; 7], &'static str> {
    const WANTED: &str = "days are wanted as daily, mon-fri or sat,sun";
    if text.eq_ignore_ascii_case("daily") {
        return Ok([true; 7]);
    }
    let day = |name: &str| DAY_NAMES.iter().position(|d| d.eq_ignore_ascii_case(name)).ok_or(WANTED);
    let mut days = [false; 7];
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (mut at, last) = (day(first)?, day(last)?);
        // fri-mon goes over the end of the week.
        loop {
            days[at] = true;
            if at == last {
                break;
            }
            at = (at + 1) % 7;
        }
    }
    Ok(days)
}

fn parse_minutes(text: &str) -> Result<u16, &'static str> {
    const WANTED: &str = "times are wanted as 00:00 to 24:00";
    let (hours, minutes) = text.trim().split_once(':').ok_or(WANTED)?;
    let number = |digits: &str, max: u16| match digits.len() == 2 && digits.bytes().all(|b| b.is_ascii_digit()) {
        true => digits.parse::<u16>().ok().filter(|n| *n <= max).ok_or(WANTED),
        false => Err(WANTED),
    };
    let of_day = number(hours, 24)? * 60 + number(minutes, 59)?;
    if of_day <= DAY_MINUTES { Ok(of_day) } else { Err(WANTED) }
}

impl Schedule {
    /// Checks zone and windows. Names of zones are those of the IANA data base, in any case.
    ///
    /// # Errors
    /// [`ScheduleError`].
    pub fn parse(zone: &str, windows: Vec<Window>) -> Result<Self, ScheduleError> {
        let zone = find_zone(zone)?;
        if windows.is_empty() || windows.len() > WINDOWS_MAX {
            return Err(ScheduleError::Count { given: windows.len() });
        }
        let mut covered = Vec::new();
        for (i, window) in windows.iter().enumerate() {
            window.check().map_err(|problem| ScheduleError::Window {
                number: i + 1,
                given: window.to_string(),
                problem,
            })?;
            window.cover(&mut covered);
        }
        let name = zone.iana_name().unwrap_or("UTC").to_owned();
        Ok(Self { name, zone, windows, covered: merge(covered) })
    }

    /// As [`parse`](Self::parse), with windows as people write them.
    ///
    /// # Errors
    /// [`ScheduleError`].
    pub fn parse_texts(zone: &str, windows: &[&str]) -> Result<Self, ScheduleError> {
        if windows.len() > WINDOWS_MAX {
            return Err(ScheduleError::Count { given: windows.len() });
        }
        let read = windows.iter().enumerate().map(|(i, text)| {
            let cut = || format!("{:?}", text.chars().take(80).collect::<String>());
            Window::parse(text).map_err(|problem| ScheduleError::Window { number: i + 1, given: cut(), problem })
        });
        Self::parse(zone, read.collect::<Result<_, _>>()?)
    }

    /// The zone's name, as the data base spells it.
    pub fn zone(&self) -> &str {
        &self.name
    }

    /// As given.
    pub fn windows(&self) -> &[Window] {
        &self.windows
    }

    /// True if the moment, in µs since the Unix epoch, is within a window. Moments outside the years −9999 to 9999 count as
    /// the nearest one inside.
    pub fn contains(&self, time_us: i64) -> bool {
        self.contains_at(timestamp(time_us))
    }

    fn contains_at(&self, at: Timestamp) -> bool {
        let wall = self.zone.to_datetime(at);
        let day = u16::try_from(wall.weekday().to_monday_zero_offset()).unwrap_or(0);
        let minute = day * DAY_MINUTES
            + u16::try_from(wall.hour()).unwrap_or(0) * 60
            + u16::try_from(wall.minute()).unwrap_or(0);
        let next = self.covered.partition_point(|(from, _)| *from <= minute);
        next.checked_sub(1).and_then(|i| self.covered.get(i)).is_some_and(|(_, to)| minute < *to)
    }

    /// The first moment after `time_us` at which [`contains`](Self::contains) answers otherwise; None if the windows leave
    /// no gap, or at the end of the calendar.
    pub fn next_change_us(&self, time_us: i64) -> Option<i64> {
        if self.covered == [(0, WEEK_MINUTES)] {
            return None;
        }
        let now = timestamp(time_us);
        let within = self.contains_at(now);
        // What the wall shows crosses an edge of a window only at that edge, or where the clocks change.
        let mut moments = Vec::new();
        let today = self.zone.to_datetime(now).date();
        for ahead in -1..=HORIZON_DAYS {
            let Ok(date) = today.checked_add(jiff::Span::new().days(ahead)) else { continue };
            for minute in self.edges_of(date) {
                self.moments_of(date, minute, &mut moments);
            }
            // Most questions are answered by today's edges, so one looks after each day. Where clocks go back over midnight, moments
            // of one day come after some of the next; but what they show was shown before, so they are never the first change.
            if ahead >= 1 {
                self.clock_changes(now, date, &mut moments);
                moments.sort_unstable();
                let change = moments.iter().find(|at| **at > now && self.contains_at(**at) != within);
                if let Some(at) = change {
                    return Some(at.as_microsecond());
                }
            }
        }
        None
    }

    /// Minutes after the midnight of a date at which a covered stretch begins or ends.
    fn edges_of(&self, date: Date) -> impl Iterator<Item = u16> {
        let day = u16::try_from(date.weekday().to_monday_zero_offset()).unwrap_or(0) * DAY_MINUTES;
        let edges = self.covered.iter().flat_map(|(from, to)| [*from, *to % WEEK_MINUTES]);
        edges.filter(move |edge| (day..day + DAY_MINUTES).contains(edge)).map(move |edge| edge - day)
    }

    /// The moments at which the wall shows this minute: none, one or two.
    fn moments_of(&self, date: Date, minute: u16, moments: &mut Vec<Timestamp>) {
        let (Ok(hour), Ok(minute)) = (i8::try_from(minute / 60), i8::try_from(minute % 60)) else { return };
        let Ok(time) = Time::new(hour, minute, 0, 0) else { return };
        let wall = DateTime::from_parts(date, time);
        let offsets = match self.zone.to_ambiguous_timestamp(wall).offset() {
            AmbiguousOffset::Unambiguous { offset } => [Some(offset), None],
            AmbiguousOffset::Gap { .. } => [None, None],
            AmbiguousOffset::Fold { before, after } => [Some(before), Some(after)],
        };
        moments.extend(offsets.into_iter().flatten().filter_map(|offset| offset.to_timestamp(wall).ok()));
    }

    /// Changes of the clocks after `now`, up to the end of a date.
    fn clock_changes(&self, now: Timestamp, until: Date, moments: &mut Vec<Timestamp>) {
        let changes = self.zone.following(now).map(|change| change.timestamp());
        moments.extend(changes.take_while(|at| self.zone.to_datetime(*at).date() <= until));
    }
}

fn timestamp(time_us: i64) -> Timestamp {
    let nearest = if time_us < 0 { Timestamp::MIN } else { Timestamp::MAX };
    Timestamp::from_microsecond(time_us).unwrap_or(nearest)
}

fn merge(mut covered: Vec<(u16, u16)>) -> Vec<(u16, u16)> {
    covered.sort_unstable();
    let mut merged: Vec<(u16, u16)> = Vec::with_capacity(covered.len());
    for (from, to) in covered {
        match merged.last_mut() {
            Some(last) if from <= last.1 => last.1 = last.1.max(to),
            _ => merged.push((from, to)),
        }
    }
    merged
}

fn find_zone(name: &str) -> Result<TimeZone, ScheduleError> {
    let zones = TimeZoneDatabase::bundled();
    let short = (name.len() <= ZONE_BYTES_MAX).then_some(name);
    short.and_then(|name| zones.get(name).ok()).ok_or_else(|| {
        let given: String = name.chars().take(ZONE_BYTES_MAX).collect();
        let names = zones.available().map(|known| known.as_str().to_owned());
        ScheduleError::Zone { nearest: nearest(&given, names), given }
    })
}

/// Up to three names that look like `given`. A city alone finds its zone.
fn nearest(given: &str, names: impl Iterator<Item = String>) -> Vec<String> {
    let given = given.to_ascii_lowercase().replace(' ', "_");
    let city = |name: &str| name.rsplit('/').next().unwrap_or_default().to_owned();
    let mut near: Vec<(usize, String)> = names
        .filter_map(|name| {
            let known = name.to_ascii_lowercase();
            let whole = distance(&given, &known);
            let far = whole.min(distance(&city(&given), &city(&known)) + usize::from(whole > 0));
            (far <= 1 + given.len() / 4).then_some((far, name))
        })
        .collect();
    near.sort();
    near.truncate(3);
    near.into_iter().map(|(_, name)| name).collect()
}

/// Levenshtein's distance, over bytes: names of zones are ASCII.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut corner = i;
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let replaced = corner + usize::from(x != y);
            corner = row[j + 1];
            row[j + 1] = replaced.min(corner + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MINUTE: i64 = 60_000_000;

    fn us(utc: &str) -> i64 {
        format!("{utc}:00Z").parse::<Timestamp>().expect("a time").as_microsecond()
    }

    fn utc(time_us: i64) -> String {
        Timestamp::from_microsecond(time_us).expect("in range").strftime("%Y-%m-%dT%H:%M").to_string()
    }

    fn schedule(zone: &str, windows: &[&str]) -> Schedule {
        Schedule::parse_texts(zone, windows).expect("valid")
    }

    /// The stretches within windows that begin in [from, until), in UTC.
    fn stretches(schedule: &Schedule, from: &str, until: &str) -> Vec<(String, String)> {
        let mut found = Vec::new();
        let mut at = us(from);
        while let Some(begin) = schedule.next_change_us(at).filter(|begin| *begin < us(until)) {
            assert!(schedule.contains(begin) && !schedule.contains(begin - 1), "{}", utc(begin));
            let end = schedule.next_change_us(begin).expect("it ends");
            assert!(!schedule.contains(end) && schedule.contains(end - 1), "{}", utc(end));
            found.push((utc(begin)[5..].to_owned(), utc(end)[5..].to_owned()));
            at = end;
        }
        found
    }

    fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
        expected.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect()
    }

    #[test]
    fn working_hours_move_with_the_clocks_of_berlin() {
        let work = schedule("Europe/Berlin", &["mon-fri 08:00-18:00"]);
        // 2026-03-29 is the change to summer time; the 27th is a Friday.
        let found = stretches(&work, "2026-03-27T00:00", "2026-03-31T00:00");
        assert_eq!(found, pairs(&[("03-27T07:00", "03-27T17:00"), ("03-30T06:00", "03-30T16:00")]));
    }

    #[test]
    fn a_wall_time_that_is_skipped_never_comes() {
        // In Berlin, 02:00 becomes 03:00 at 01:00 UTC.
        let (before, after) = ("2026-03-28T12:00", "2026-03-29T12:00");
        let berlin = |window| stretches(&schedule("Europe/Berlin", &[window]), before, after);
        assert_eq!(berlin("daily 02:00-03:00"), []);
        assert_eq!(berlin("daily 02:30-05:00"), pairs(&[("03-29T01:00", "03-29T03:00")]));
        assert_eq!(berlin("daily 01:00-02:30"), pairs(&[("03-29T00:00", "03-29T01:00")]));
        assert_eq!(berlin("daily 22:00-06:00"), pairs(&[("03-28T21:00", "03-29T04:00")]), "seven hours");
        // A window of Sundays alone is skipped for a week; the next one is found.
        let sundays = schedule("Europe/Berlin", &["sun 02:00-03:00"]);
        assert_eq!(sundays.next_change_us(us("2026-03-22T02:00")), Some(us("2026-04-05T00:00")));
        // In New York, 02:00 becomes 03:00 on 2026-03-08 at 07:00 UTC.
        let york =
            stretches(&schedule("America/New_York", &["sun 01:30-03:30"]), "2026-03-07T12:00", "2026-03-09T00:00");
        assert_eq!(york, pairs(&[("03-08T06:30", "03-08T07:30")]));
    }

    #[test]
    fn a_wall_time_that_occurs_twice_counts_both_times() {
        // In Berlin, 03:00 becomes 02:00 on 2026-10-25 at 01:00 UTC.
        let (before, after) = ("2026-10-24T12:00", "2026-10-25T12:00");
        let berlin = |window| stretches(&schedule("Europe/Berlin", &[window]), before, after);
        assert_eq!(
            berlin("daily 02:00-02:30"),
            pairs(&[("10-25T00:00", "10-25T00:30"), ("10-25T01:00", "10-25T01:30")])
        );
        assert_eq!(
            berlin("daily 02:30-04:00"),
            pairs(&[("10-25T00:30", "10-25T01:00"), ("10-25T01:30", "10-25T03:00")])
        );
        assert_eq!(berlin("daily 22:00-06:00"), pairs(&[("10-24T20:00", "10-25T05:00")]), "nine hours");
        // In New York, 02:00 becomes 01:00 on 2026-11-01 at 06:00 UTC.
        let york =
            stretches(&schedule("America/New_York", &["sun 00:30-01:15"]), "2026-10-31T12:00", "2026-11-02T00:00");
        assert_eq!(york, pairs(&[("11-01T04:30", "11-01T05:15"), ("11-01T06:00", "11-01T06:15")]));
    }

    #[test]
    fn leap_days_and_half_hour_zones_are_days_and_zones_like_others() {
        // 2028-02-29 is a Tuesday.
        let tuesdays = schedule("UTC", &["tue 00:00-24:00"]);
        let found = stretches(&tuesdays, "2028-02-28T00:00", "2028-03-06T00:00");
        assert_eq!(found, pairs(&[("02-29T00:00", "03-01T00:00")]));
        let india = stretches(&schedule("Asia/Kolkata", &["mon 09:00-17:30"]), "2026-11-22T00:00", "2026-11-24T00:00");
        assert_eq!(india, pairs(&[("11-23T03:30", "11-23T12:00")]));
        // Lord Howe Island changes its clocks by half an hour: 02:00 becomes 01:30 on 2026-04-05 at 15:00 UTC of the 4th.
        let island = schedule("Australia/Lord_Howe", &["sun 01:00-01:45"]);
        let found = stretches(&island, "2026-04-04T00:00", "2026-04-06T00:00");
        assert_eq!(found, pairs(&[("04-04T14:00", "04-04T14:45"), ("04-04T15:00", "04-04T15:15")]));
        // Samoa left out Friday, 2011-12-30.
        let samoa = schedule("Pacific/Apia", &["fri 00:00-24:00"]);
        assert_eq!(samoa.next_change_us(us("2011-12-25T00:00")), Some(us("2012-01-05T10:00")));
    }

    #[test]
    fn windows_over_midnight_and_over_the_end_of_the_week_belong_to_the_day_they_begin_on() {
        let night = schedule("UTC", &["sun 22:00-06:00"]);
        // 2026-11-22 is a Sunday.
        assert!(night.contains(us("2026-11-22T22:00")) && night.contains(us("2026-11-23T05:59")));
        assert!(!night.contains(us("2026-11-23T06:00")) && !night.contains(us("2026-11-22T05:00")));
        let until_midnight = schedule("UTC", &["fri 20:00-00:00"]);
        assert_eq!(until_midnight.covered, schedule("UTC", &["fri 20:00-24:00"]).covered);
    }

    #[test]
    fn windows_without_a_gap_never_change() {
        let always = schedule("Europe/Berlin", &["daily 00:00-12:00", "daily 11:00-24:00"]);
        assert!(always.contains(0) && always.next_change_us(0).is_none());
        let night = schedule("Europe/Berlin", &["daily 22:00-06:00"]);
        assert_eq!(night.next_change_us(i64::MAX), None, "the end of the calendar");
        assert!(night.next_change_us(i64::MIN).is_some());
        let _ = (night.contains(i64::MIN), night.contains(i64::MAX));
    }

    #[test]
    fn errors_name_the_zone_or_the_window_and_what_would_do() {
        let error =
            |zone: &str, windows: &[&str]| Schedule::parse_texts(zone, windows).expect_err("refused").to_string();
        assert!(error("Europe/Berln", &["daily 00:00-01:00"]).contains("did you mean Europe/Berlin"));
        assert!(error("new york", &["daily 00:00-01:00"]).contains("America/New_York"));
        let nothing_like_it = error("xqzwvxqzwv", &["daily 00:00-01:00"]);
        assert!(nothing_like_it.contains("such as Europe/Berlin"), "{nothing_like_it}");
        assert!(error(&"é".repeat(500), &["daily 00:00-01:00"]).len() < 300);
        assert_eq!(
            error("UTC", &["daily 00:00-01:00", "mon 08:00-08:00"]),
            "window 2 (\"mon 08:00-08:00\") is not valid: it begins and ends at the same time; a whole day is 00:00-24:00"
        );
        for bad in ["", "mon", "mon 8-9", "xyz 08:00-09:00", "mon 24:00-01:00", "mon 00:00-24:01", "mon +1:00-02:00"] {
            assert!(error("UTC", &[bad]).starts_with("window 1"), "{bad}");
        }
        assert!(error("UTC", &[]).contains("1 to 32"));
        assert!(error("UTC", &["daily 00:00-01:00"; 33]).contains("33 windows"));
        let no_day = Window { days: [false; 7], from: 0, to: 60 };
        assert!(Schedule::parse("UTC", vec![no_day]).expect_err("no day").to_string().contains("at least one day"));
        assert_eq!(schedule("europe/berlin", &["daily 00:00-01:00"]).zone(), "Europe/Berlin");
    }

    fn windows() -> impl Strategy<Value = Vec<Window>> {
        let window = (any::<[bool; 7]>(), 0..DAY_MINUTES, 0..=DAY_MINUTES)
            .prop_map(|(days, from, to)| Window { days, from, to })
            .prop_filter("valid", |window| window.check().is_ok());
        proptest::collection::vec(window, 1..6)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn the_next_change_is_the_first_minute_that_differs(
            windows in windows(),
            zone in proptest::sample::select(vec![
                "Europe/Berlin", "America/New_York", "America/St_Johns", "Asia/Kolkata", "Australia/Lord_Howe",
            ]),
            // Days before changes of the clocks in these zones (St. John's went back over midnight in 2010), and any other.
            day in prop_oneof![
                proptest::sample::select(vec![20_540i64, 20_750, 20_519, 20_757, 20_547, 14_918, 14_919]),
                20_000..21_000i64,
            ],
            minute in 0..1440i64,
        ) {
            let schedule = Schedule::parse(zone, windows).expect("valid");
            let start = day * 1440 * MINUTE + minute * MINUTE;
            let within = schedule.contains(start);
            let by_minutes = (1..=3 * 1440).map(|m| start + m * MINUTE).find(|at| schedule.contains(*at) != within);
            match (schedule.next_change_us(start), by_minutes) {
                (found, Some(at)) => prop_assert_eq!(found, Some(at)),
                (Some(found), None) => prop_assert!(found >= start + 3 * 1440 * MINUTE),
                (None, None) => {}
            }
        }

        #[test]
        fn a_window_reads_back_as_it_is_printed(windows in windows()) {
            for window in windows {
                prop_assert_eq!(Window::parse(&window.to_string()), Ok(window));
            }
        }
    }
}
