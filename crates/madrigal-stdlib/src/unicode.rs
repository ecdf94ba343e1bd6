//! Text by what readers take for characters (grapheme clusters), and normal forms.

use madrigal_vm::{Args, Cx, Fault, Str, Value, methods};
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

fn unicode_normalize(_: &mut Cx<'_>, args: Args<'_>) -> Result<String, Fault> {
    let text = args.string(0);
    match text_or(&args, 1, "NFC").to_uppercase().as_str() {
        "NFC" => Ok(text.nfc().collect()),
        "NFD" => Ok(text.nfd().collect()),
        "NFKC" => Ok(text.nfkc().collect()),
        "NFKD" => Ok(text.nfkd().collect()),
        _ => Err(Fault::runtime("unicode_normalize: form must be NFC, NFD, NFKC, or NFKD")),
    }
}

fn unicode_graphemes(_: &mut Cx<'_>, args: Args<'_>) -> Result<Value, Fault> {
    Ok(Value::list(args.string(0).graphemes(true).map(Value::from).collect()))
}
