//! CSV: rows of cells, or of dicts by the names in a first row.

use crate::strict::sized;
use csv::{ReaderBuilder, StringRecord, WriterBuilder};
use madrigal_vm::{Args, Cx, Dict, Fault, List, Outcome, Str, Value};
use std::collections::BTreeSet;

madrigal_vm::builtins! {
    /// The rows of a CSV text: lists of cells, or dicts with the option `headers`.
    "csv_parse" (text: string, options: dict) -> list = csv_parse;
    /// The CSV text of rows: lists of cells, or dicts whose keys are the columns.
    "csv_stringify" (rows: list, options: dict) -> string = csv_stringify;
}

struct Options {
    headers: bool,
    delimiter: u8,
}

impl Options {
    fn of(args: &Args<'_>) -> Options {
        let options = args.dict(1);
        let headers = options.and_then(|it| it.get("headers")).is_some_and(Value::is_truthy);
        let delimiter = options.and_then(|it| it.get("delimiter")).map(Value::display);
        Options { headers, delimiter: delimiter.and_then(|it| it.bytes().next()).unwrap_or(b',') }
    }
}

fn csv_parse(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Outcome, Fault> {
    let (text, options) = (args.string(0), Options::of(&args));
    sized(cx, "csv_parse", text.len(), move || {
        parse(&text, &options).map_err(|error| Fault::thrown(format!("csv_parse: {error}")))
    })
}

fn parse(text: &str, options: &Options) -> Result<Value, csv::Error> {
    let mut reader = ReaderBuilder::new();
    let mut reader = reader.flexible(true).has_headers(false).delimiter(options.delimiter).from_reader(text.as_bytes());
    let mut records = reader.records();
    let mut rows = Vec::new();
    if options.headers {
        let Some(names) = records.next().transpose()? else { return Ok(Value::list(rows)) };
        let names: Vec<Str> = names.iter().map(Str::from).collect();
        for record in records {
            let record: StringRecord = record?;
            let cell = |(at, name): (usize, &Str)| (name.clone(), Value::from(record.get(at).unwrap_or_default()));
            rows.push(Value::Dict(names.iter().enumerate().map(cell).collect()));
        }
    } else {
        for record in records {
            rows.push(Value::list(record?.iter().map(Value::from).collect()));
        }
    }
    Ok(Value::list(rows))
}

fn csv_stringify(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Outcome, Fault> {
    let Some(rows) = args.list(0).cloned() else {
        return Err(Fault::thrown("csv_stringify: expected a list of rows"));
    };
    let options = Options::of(&args);
    // A row counts as a few dozen bytes.
    sized(cx, "csv_stringify", rows.len().saturating_mul(64), move || stringify(&rows, &options).map(Value::from))
}

fn stringify(rows: &List, options: &Options) -> Result<String, Fault> {
    let mut out = WriterBuilder::new().delimiter(options.delimiter).from_writer(Vec::new());
    let failed = |error: csv::Error| Fault::thrown(format!("csv_stringify: {error}"));
    match rows.first() {
        None => return Ok(String::new()),
        Some(Value::Dict(_)) => {
            let dicts: Vec<&Dict> = rows.iter().map(dict_row).collect::<Result<_, _>>()?;
            let columns: BTreeSet<&Str> = dicts.iter().flat_map(|row| row.keys()).collect();
            if options.headers {
                out.write_record(columns.iter().map(|it| it.as_bytes())).map_err(failed)?;
            }
            for row in dicts {
                let cell = |column: &&Str| row.get(column).map_or_else(|| Str::from(""), Value::display);
                let cells: Vec<Str> = columns.iter().map(cell).collect();
                out.write_record(cells.iter().map(|it| it.as_bytes())).map_err(failed)?;
            }
        }
        Some(_) => {
            for row in rows.iter() {
                let cells: Vec<Str> = list_row(row)?.iter().map(Value::display).collect();
                out.write_record(cells.iter().map(|it| it.as_bytes())).map_err(failed)?;
            }
        }
    }
    let bytes = out.into_inner().map_err(|error| Fault::thrown(format!("csv_stringify: {error}")))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn dict_row(row: &Value) -> Result<&Dict, Fault> {
    match row {
        Value::Dict(it) => Ok(it),
        other => Err(wrong_row(matches!(other, Value::List(_)))),
    }
}

fn list_row(row: &Value) -> Result<&List, Fault> {
    match row {
        Value::List(it) => Ok(it),
        other => Err(wrong_row(matches!(other, Value::Dict(_)))),
    }
}

fn wrong_row(mixed: bool) -> Fault {
    Fault::thrown(if mixed {
        "csv_stringify: mixed list/dict rows are not supported"
    } else {
        "csv_stringify: each row must be a list of cells (or use dict rows)"
    })
}
