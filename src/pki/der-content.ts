/**
 * What is wrong with the content octets of a universal type, as the end of a sentence ("is not minimal"), or undefined: the rules that
 * DER and RFC 5280 set for each type whatever the structure around it.
 * @see X.690 §8, §10.2, §11.1–§11.8; RFC 5280 §4.1.2.5
 */
export function contentProblem(identifier: number, source: Uint8Array, start: number, end: number): string | undefined {
  const rule = rules[identifier];
  if (rule === undefined)
    return stringTypes.has(identifier & 0x1f) ? "is a constructed string" : "is of a type that no X.509 structure uses";
  return rule(source, start, end);
}

// Longest OBJECT IDENTIFIER taken, in content octets: real ones need fewer than 32.
const maximumOidOctets = 64;

type Rule = (source: Uint8Array, start: number, end: number) => string | undefined;

const constructedRule: Rule = () => undefined;

const rules: { readonly [identifier: number]: Rule } = {
  0x01: (source, start, end) =>
    end - start === 1 && (source[start] === 0x00 || source[start] === 0xff) ? undefined : "is a BOOLEAN that is neither 00 nor FF",
  0x02: integerProblem,
  0x03: bitStringProblem,
  0x04: () => undefined,
  0x05: (_source, start, end) => (end === start ? undefined : "is a NULL with content"),
  0x06: oidProblem,
  0x0a: integerProblem,
  0x0c: utf8Problem,
  0x12: characters("NumericString", (octet) => octet === 0x20 || isDigit(octet)),
  0x13: characters("PrintableString", (octet) => printable.has(octet)),
  // TeletexString: its repertoire is not checked; a name that holds one is compared as bytes only.
  0x14: () => undefined,
  0x16: characters("IA5String", (octet) => octet < 0x80),
  0x17: timeProblem(13),
  0x18: timeProblem(15),
  0x1a: characters("VisibleString", (octet) => octet >= 0x20 && octet < 0x7f),
  0x1b: characters("GeneralString", (octet) => octet < 0x80),
  0x1c: (_source, start, end) => ((end - start) % 4 === 0 ? undefined : "is a UniversalString of a broken length"),
  0x1e: (_source, start, end) => ((end - start) % 2 === 0 ? undefined : "is a BMPString of a broken length"),
  0x30: constructedRule,
  0x31: constructedRule,
};

const stringTypes = new Set([0x03, 0x04, 0x0c, 0x12, 0x13, 0x14, 0x16, 0x17, 0x18, 0x1a, 0x1b, 0x1c, 0x1e]);
const printable = new Set(new TextEncoder().encode("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789 '()+,-./:=?"));

// X.690 §8.3.2: the first nine bits are neither all 0 nor all 1.
function integerProblem(source: Uint8Array, start: number, end: number): string | undefined {
  if (end === start) return "is an INTEGER without content";
  const [first, second] = [source[start] ?? 0, source[start + 1] ?? 0];
  const spare = end - start > 1 && ((first === 0x00 && second < 0x80) || (first === 0xff && second >= 0x80));
  return spare ? "is an INTEGER that is not minimal" : undefined;
}

// X.690 §11.2.1: unused bits are zero.
function bitStringProblem(source: Uint8Array, start: number, end: number): string | undefined {
  const unused = source[start] ?? 8;
  if (end === start || unused > 7 || (unused > 0 && end - start === 1)) return "is a BIT STRING with a wrong count of unused bits";
  return ((source[end - 1] ?? 0) & ((1 << unused) - 1)) !== 0 && unused > 0 ? "is a BIT STRING whose unused bits are not zero" : undefined;
}

// X.690 §8.19.2: each subidentifier in the fewest octets, the last octet of each with bit 8 clear.
function oidProblem(source: Uint8Array, start: number, end: number): string | undefined {
  if (end === start) return "is an OBJECT IDENTIFIER without content";
  if (end - start > maximumOidOctets) return `is an OBJECT IDENTIFIER of more than ${maximumOidOctets} octets`;
  let begins = true;
  for (let index = start; index < end; index++) {
    const octet = source[index] ?? 0;
    if (begins && octet === 0x80) return "is an OBJECT IDENTIFIER with an arc that is not minimal";
    begins = octet < 0x80;
  }
  return begins ? undefined : "is an OBJECT IDENTIFIER that ends inside an arc";
}

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

function utf8Problem(source: Uint8Array, start: number, end: number): string | undefined {
  try {
    utf8.decode(source.subarray(start, end));
    return undefined;
  } catch {
    return "is a UTF8String that is not UTF-8";
  }
}

function characters(type: string, allowed: (octet: number) => boolean): Rule {
  return (source, start, end) => {
    for (let index = start; index < end; index++) {
      const octet = source[index] ?? 0;
      if (!allowed(octet)) return `is a ${type} that holds the octet ${octet.toString(16).padStart(2, "0")}`;
    }
    return undefined;
  };
}

// RFC 5280 §4.1.2.5: YYMMDDHHMMSSZ or YYYYMMDDHHMMSSZ, seconds present, no fraction. The calendar is judged by who reads the value.
function timeProblem(length: number): Rule {
  return (source, start, end) => {
    let digits = end - start === length && source[end - 1] === 0x5a;
    for (let index = start; index < end - 1; index++) digits &&= isDigit(source[index] ?? 0);
    return digits ? undefined : "is a time that is not in the form of RFC 5280";
  };
}

function isDigit(octet: number): boolean {
  return octet >= 0x30 && octet <= 0x39;
}
