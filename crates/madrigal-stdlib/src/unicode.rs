//! Text by what readers take for characters (grapheme clusters), and normal forms.

use crate::strict::sized;
use madrigal_vm::{Args, Cx, Fault, Outcome, Str, Value, methods};
use unicode_normalization::UnicodeNormalization;
use unicode_segmentation::UnicodeSegmentation;

madrigal_vm::builtins! {
    /// `text` filled up to `width` characters on a side: `left`, `right` or `both`.
    "str_pad" (text: string, width: int, fill: string = " ", side: string = "right") -> string = str_pad;
    /// `text` in a normal form: NFC, NFD, NFKC or NFKD.
    "unicode_normalize" (text: string, form: string = "NFC") -> string = unicode_normalize;
    /// What readers take for the characters of `text`.
    "unicode_graphemes" (text: string) -> list = unicode_graphemes;
}

/// The text of an argument, or `default` when it was not passed.
fn text_or(args: &Args<'_>, index: usize, default: &str) -> Str {
    if args.get(index).is_nil() { Str::from(default) } else { args.string(index) }
}

fn str_pad(_: &mut Cx<'_>, args: Args<'_>) -> Result<String, Fault> {
    let (text, fill, side) = (args.string(0), text_or(&args, 2, " "), text_or(&args, 3, "right"));
    let width = usize::try_from(args.int(1).unwrap_or(0)).unwrap_or(0);
    let missing = width.saturating_sub(text.graphemes(true).count());
    let before = match side.as_str() {
        "left" => missing,
        "right" => 0,
        "both" => missing / 2,
        _ => return Err(Fault::runtime("str_pad: side must be left, right, or both")),
    };
    let fill = fill.graphemes(true).next().unwrap_or_default();
    methods::check_bytes("str_pad", missing.checked_mul(fill.len()))?;
    Ok(format!("{}{text}{}", fill.repeat(before), fill.repeat(missing - before)))
}

fn unicode_normalize(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Outcome, Fault> {
    let normal: fn(&str) -> String = match text_or(&args, 1, "NFC").to_uppercase().as_str() {
        "NFC" => |it| it.nfc().collect(),
        "NFD" => |it| it.nfd().collect(),
        "NFKC" => |it| it.nfkc().collect(),
        "NFKD" => |it| it.nfkd().collect(),
        _ => return Err(Fault::runtime("unicode_normalize: form must be NFC, NFD, NFKC, or NFKD")),
    };
    let text = args.string(0);
    sized(cx, "unicode_normalize", text.len(), move || Ok(Value::from(normal(&text))))
}

fn unicode_graphemes(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Outcome, Fault> {
    let text = args.string(0);
    sized(cx, "unicode_graphemes", text.len(), move || Ok(Value::list(text.graphemes(true).map(Value::from).collect())))
}
