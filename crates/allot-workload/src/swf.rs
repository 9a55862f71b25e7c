//! The Standard Workload Format of the Parallel Workloads Archive: comments, then 18 numbers a job.

use std::borrow::Cow;
use std::io::{BufRead, BufReader, Read};

use flate2::read::MultiGzDecoder;

/// The names of a row's fields, for messages.
const FIELDS: [&str; 18] = [
    "job",
    "submit time",
    "wait time",
    "run time",
    "allocated processors",
    "average CPU time",
    "used memory",
    "requested processors",
    "requested time",
    "requested memory",
    "status",
    "user",
    "group",
    "executable",
    "queue",
    "partition",
    "preceding job",
    "think time",
];

/// The one field that may have decimals: the average CPU time.
const FIELD_WITH_DECIMALS: usize = 5;

/// How much of a compressed file is uncompressed at a time.
const BUFFER_BYTES: usize = 1 << 16;

/// What a compressed file begins with.
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// A log as it stands in its file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Log {
    /// How many processors the machine had, where the comments say so.
    pub machine_procs: Option<u64>,
    /// The jobs, in the order of the file.
    pub rows: Vec<Row>,
}

/// One job of a log. A negative number, mostly -1, means that the value is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Row {
    /// Its number in the log.
    pub job: i64,
    /// When it was submitted, seconds since the log begins.
    pub submit_s: i64,
    /// How long it waited then.
    pub wait_s: i64,
    /// How long it ran.
    pub run_s: i64,
    /// How many processors it was given.
    pub allocated_procs: i64,
    /// How much CPU time each of them spent on it, decimals cut off.
    pub average_cpu_s: i64,
    /// How much memory each of them used for it.
    pub used_mem_kb: i64,
    /// How many processors it asked for.
    pub requested_procs: i64,
    /// How long it was said to run.
    pub requested_time_s: i64,
    /// How much memory it asked for on each of them.
    pub requested_mem_kb: i64,
    /// 1 where it was completed, 0 where it failed, 5 where it was cancelled.
    pub status: i64,
    /// Who submitted it.
    pub user: i64,
    /// Which group that user is of.
    pub group: i64,
    /// What it ran.
    pub executable: i64,
    /// Which queue it was submitted to.
    pub queue: i64,
    /// Which part of the machine it ran on.
    pub partition: i64,
    /// The job that it waited for.
    pub preceding_job: i64,
    /// How long after that one's end it was submitted.
    pub think_time_s: i64,
}

/// Why bytes are not a log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {message}")]
pub struct InvalidLog {
    /// Counted from 1; 0 where the whole cannot be read.
    pub line: usize,
    /// What was given there, what is expected.
    pub message: String,
}

impl Log {
    /// The largest log, uncompressed.
    pub const MOST_BYTES: u64 = 1 << 30;

    /// Reads a log, compressed with gzip or not.
    ///
    /// # Errors
    /// [`InvalidLog`], which names the line.
    pub fn parse(bytes: &[u8]) -> Result<Self, InvalidLog> {
        let mut rows = Vec::new();
        let machine_procs = read(bytes, |row, _| rows.push(row))?;
        Ok(Self { machine_procs, rows })
    }
}

/// Hands over each row of a log, compressed with gzip or not, with the number of processors of the machine as far as the
/// lines before it say. Never holds more than a line of it. Returns that number as the whole log says it.
///
/// # Errors
/// [`InvalidLog`], which names the line.
pub fn read(bytes: &[u8], row: impl FnMut(Row, Option<u64>)) -> Result<Option<u64>, InvalidLog> {
    if bytes.starts_with(&GZIP) {
        let plain = MultiGzDecoder::new(bytes).take(Log::MOST_BYTES + 1);
        return read_lines(BufReader::with_capacity(BUFFER_BYTES, plain), row);
    }
    read_lines(bytes, row)
}

/// The bytes themselves, or what they are compressed with gzip.
///
/// # Errors
/// [`InvalidLog`] where they cannot be uncompressed, or are too many.
pub fn uncompressed(bytes: &[u8]) -> Result<Cow<'_, [u8]>, InvalidLog> {
    if !bytes.starts_with(&GZIP) {
        return Ok(Cow::Borrowed(bytes));
    }
    let mut plain = Vec::new();
    let read = MultiGzDecoder::new(bytes).take(Log::MOST_BYTES + 1).read_to_end(&mut plain);
    read.map_err(|error| unreadable(format!("the file cannot be uncompressed: {error}")))?;
    if plain.len() as u64 > Log::MOST_BYTES {
        return Err(unreadable(format!("the file is larger than {} bytes", Log::MOST_BYTES)));
    }
    Ok(Cow::Owned(plain))
}

fn unreadable(message: String) -> InvalidLog {
    InvalidLog { line: 0, message }
}

fn read_lines(
    mut text: impl BufRead,
    mut take: impl FnMut(Row, Option<u64>),
) -> Result<Option<u64>, InvalidLog> {
    let (mut procs, mut nodes) = (None, None);
    let (mut line, mut number, mut length) = (Vec::new(), 0, 0);
    loop {
        line.clear();
        let read = text.read_until(b'\n', &mut line);
        let read = read.map_err(|error| unreadable(format!("the file cannot be uncompressed: {error}")))?;
        if read == 0 {
            return Ok(procs.or(nodes));
        }
        (number, length) = (number + 1, length + read as u64);
        if length > Log::MOST_BYTES {
            return Err(unreadable(format!("the log is larger than {} bytes", Log::MOST_BYTES)));
        }
        let text = line.trim_ascii();
        if let Some(comment) = text.strip_prefix(b";") {
            let comment = String::from_utf8_lossy(comment);
            procs = procs.or_else(|| header(&comment, "MaxProcs"));
            nodes = nodes.or_else(|| header(&comment, "MaxNodes"));
        } else if !text.is_empty() {
            let row = read_row(text).map_err(|message| InvalidLog { line: number, message })?;
            take(row, procs.or(nodes));
        }
    }
}

/// The number in a comment such as ` MaxProcs: 100`.
fn header(comment: &str, name: &str) -> Option<u64> {
    let (key, value) = comment.split_once(':')?;
    let number = value.split_whitespace().next()?;
    (key.trim() == name).then(|| number.parse().ok())?
}

fn read_row(line: &[u8]) -> Result<Row, String> {
    let mut values = [0_i64; 18];
    let mut count = 0;
    for text in line.split(u8::is_ascii_whitespace).filter(|text| !text.is_empty()) {
        if let Some(value) = values.get_mut(count) {
            *value = read_value(count, text)?;
        }
        count += 1;
    }
    if count == values.len() {
        Ok(row(values))
    } else {
        Err(format!("{count} fields are given: a job has 18"))
    }
}

fn read_value(index: usize, text: &[u8]) -> Result<i64, String> {
    let mut whole = text;
    if index == FIELD_WITH_DECIMALS
        && let Some(point) = text.iter().position(|byte| *byte == b'.')
        && let (before, [_, decimals @ ..]) = text.split_at(point)
        && decimals.iter().all(u8::is_ascii_digit)
    {
        whole = before;
    }
    let name = FIELDS.get(index).copied().unwrap_or_default();
    whole_number(whole).ok_or_else(|| {
        let given: String = String::from_utf8_lossy(text).chars().take(40).collect();
        format!("field {} ({name}): {given:?} is not a whole number, or too large", index + 1)
    })
}

/// A number that may have a sign. Most have few digits, which cannot be too large.
fn whole_number(text: &[u8]) -> Option<i64> {
    if text.len() > 18 {
        return std::str::from_utf8(text).ok()?.parse().ok();
    }
    let (digits, sign) = match text {
        [b'-', digits @ ..] => (digits, -1),
        [b'+', digits @ ..] => (digits, 1),
        digits => (digits, 1),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(sign * digits.iter().fold(0, |number, digit| number * 10 + i64::from(digit - b'0')))
}

fn row(values: [i64; 18]) -> Row {
    let [
        job,
        submit_s,
        wait_s,
        run_s,
        allocated_procs,
        average_cpu_s,
        used_mem_kb,
        requested_procs,
        requested_time_s,
        rest @ ..,
    ] = values;
    let [requested_mem_kb, status, user, group, executable, queue, partition, preceding_job, think_time_s] =
        rest;
    Row {
        job,
        submit_s,
        wait_s,
        run_s,
        allocated_procs,
        average_cpu_s,
        used_mem_kb,
        requested_procs,
        requested_time_s,
        requested_mem_kb,
        status,
        user,
        group,
        executable,
        queue,
        partition,
        preceding_job,
        think_time_s,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::Write;

    const LOG: &str = "; Version: 2\r\n;  MaxNodes: 64\n; MaxProcs: 128 (two a node)\n;MaxProcs: 7\n\n\
        1 10 5 60 4 7.38 -1 8 120 -1 1 2 3 4 5 6 -1 -1\r\n   2\t20 -1 0 1 -1 -1 -1 -1 -1 0 -1 -1 -1 -1 -1 1 30\n";

    #[test]
    fn a_log_is_read_row_by_row() {
        let log = Log::parse(LOG.as_bytes()).unwrap();
        assert_eq!(log.machine_procs, Some(128));
        assert_eq!(log.rows[0], row([1, 10, 5, 60, 4, 7, -1, 8, 120, -1, 1, 2, 3, 4, 5, 6, -1, -1]));
        assert_eq!((log.rows[0].partition, log.rows[1].preceding_job, log.rows[1].think_time_s), (6, 1, 30));
        assert_eq!(log.rows.len(), 2);
    }

    #[test]
    fn a_compressed_log_is_read_as_the_plain_one() {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(LOG.as_bytes()).unwrap();
        let bytes = gzip.finish().unwrap();
        assert_eq!(Log::parse(&bytes), Log::parse(LOG.as_bytes()));
        let error = Log::parse(&bytes[..bytes.len() / 2]).unwrap_err().to_string();
        assert!(error.starts_with("line 0: the file cannot be uncompressed"), "{error}");
    }

    #[test]
    fn nodes_stand_for_processors_where_the_log_counts_only_those() {
        assert_eq!(Log::parse(b"; MaxNodes: 256\n").unwrap().machine_procs, Some(256));
        assert_eq!(Log::parse(b"").unwrap(), Log::default());
    }

    #[test]
    fn errors_name_the_line_and_the_field() {
        let row = "1 10 5 60 4 7.38 -1 8 120 -1 1 2 3 4 5 6 -1 -1";
        let cases = [
            (format!("{row}\n\n1 2 3\n"), "line 3: 3 fields are given: a job has 18"),
            (format!("; x\n{row} 19"), "line 2: 19 fields are given: a job has 18"),
            (row.replace("60", "x"), "line 1: field 4 (run time): \"x\" is not a whole number, or too large"),
            (row.replace("60", "6.5"), "line 1: field 4 (run time): \"6.5\" is not a whole number"),
            (row.replace("7.38", "7.x"), "line 1: field 6 (average CPU time): \"7.x\" is not a whole number"),
            (row.replace("60", "99999999999999999999"), "line 1: field 4 (run time)"),
            ("\u{0}\u{1}".to_owned(), "line 1: field 1 (job)"),
        ];
        for (text, message) in cases {
            let error = Log::parse(text.as_bytes()).expect_err(message).to_string();
            assert!(error.starts_with(message), "{error}");
        }
        assert_eq!(Log::parse(b"\xff").unwrap_err().line, 1);
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_log_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Log::parse(&bytes);
            let _ = Log::parse(&[&GZIP, bytes.as_slice()].concat());
        }

        #[test]
        fn any_numbers_are_a_row(values in proptest::array::uniform18(any::<i64>())) {
            let text = values.map(|value| value.to_string()).join(" ");
            let log = Log::parse(text.as_bytes()).unwrap();
            prop_assert_eq!(&log.rows, &[row(values)]);
            for filter in [crate::Filter::Raw, crate::Filter::Strong] {
                let _ = filter.jobs(&log, 64);
            }
        }
    }
}
