/**
 * Whether `text` may stand in a registered name as a U-label: it is in NFC, each of its characters is one that IDNA2008 allows, where it
 * allows it, and letters of both directions do not meet. Of the characters with a rule of their own, U+200C and U+200D are not taken:
 * they are invisible, and what they may stand between takes tables that we do not have (docs/CONFORMANCE.md).
 * @see RFC 5891 §4.2; RFC 5892 §2, §3, Appendix A; RFC 5893 §2
 */
export function isUlabel(text: string): boolean {
  return (
    letterDigits.test(text) &&
    !disallowed.test(text) &&
    text.normalize("NFC") === text &&
    !ill.test(text) &&
    isInContext(text) &&
    (!rightToLeft.test(text) || isOneDirection(text))
  );
}

// RFC 5892 §2.1 (LetterDigits), the hyphen, and what §2.6 (Exceptions) adds to them.
const letterDigits = /^[\p{Ll}\p{Lu}\p{Lo}\p{Nd}\p{Lm}\p{Mn}\p{Mc}\-\u06fd\u06fe\u0f0b\u3007\u00b7\u0375\u05f3\u05f4\u30fb]+$/v;

// RFC 5892 §2.2 (Unstable, with the exceptions ß and ς), §2.3 (IgnorableProperties), §2.4 (IgnorableBlocks), §2.6, §2.9 (OldHangulJamo).
const disallowed = new RegExp(
  [
    String.raw`[\p{Changes_When_NFKC_Casefolded}--[\u00df\u03c2]]`,
    String.raw`[\p{Default_Ignorable_Code_Point}\p{White_Space}]`,
    String.raw`[\u20d0-\u20ff\u{1d100}-\u{1d24f}]`,
    String.raw`[\u0640\u07fa\u302e\u302f\u3031-\u3035\u303b]`,
    String.raw`[\u1100-\u11ff\ua960-\ua97f\ud7b0-\ud7ff]`,
  ].join("|"),
  "v",
);

// RFC 5891 §4.2.3.1, §4.2.3.2: hyphens at either end or in the third and fourth place, a combining mark in front.
const ill = /^-|-$|^..--|^\p{M}/v;

/** RFC 5892 Appendix A.3 to A.9. */
function isInContext(text: string): boolean {
  if (/(?<!l)\u00b7|\u00b7(?!l)/v.test(text)) return false;
  if (/\u0375(?!\p{Script=Greek})|(?<!\p{Script=Hebrew})[\u05f3\u05f4]/v.test(text)) return false;
  if (text.includes("\u30fb") && !/[\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Han}]/v.test(text)) return false;
  return !(/[\u0660-\u0669]/v.test(text) && /[\u06f0-\u06f9]/v.test(text));
}

// The blocks whose characters have the Bidi_Class R or AL unless they are marks or numbers (DerivedBidiClass.txt of Unicode 17).
const rightBlocks = String.raw`\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefe\u{10800}-\u{10fff}\u{1e800}-\u{1efff}`;
// Bidi_Class AN and, of those blocks, EN.
const arabicNumbers = String.raw`\u0660-\u0669\u{10d30}-\u{10d39}`;
const europeanNumbers = String.raw`\u06f0-\u06f9`;

const rightToLeft = new RegExp(String.raw`[[${rightBlocks}]--[\p{Mn}${europeanNumbers}]]`, "v");
// RFC 5893 §2, rules 1 to 3.
const oneDirection = new RegExp(
  String.raw`^[[${rightBlocks}]--[\p{Mn}${arabicNumbers}${europeanNumbers}]](?:[${rightBlocks}0-9\-\p{Mn}]*[[${rightBlocks}0-9]--\p{Mn}])?\p{Mn}*$`,
  "v",
);
// Rule 4.
const bothNumbers = new RegExp(String.raw`[${arabicNumbers}].*[0-9${europeanNumbers}]|[0-9${europeanNumbers}].*[${arabicNumbers}]`, "v");

function isOneDirection(text: string): boolean {
  return oneDirection.test(text) && !bothNumbers.test(text);
}
