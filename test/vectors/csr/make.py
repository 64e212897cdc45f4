"""Makes malformed.json (this folder) and ../keys/*.json with Python's `cryptography` and a DER writer of its own.

    python3 make.py        (cryptography 48; the same files again on every run)
"""
import base64, hashlib, json, math, os, random
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, ed448, padding, rsa, x25519, x448
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

HERE = os.path.dirname(os.path.abspath(__file__))
rng = random.Random("malformed certification requests")


# DER, written by hand so that it can be written wrongly.
def length(n, octets=None):
    if octets is None:
        if n < 128: return bytes([n])
        octets = (n.bit_length() + 7) // 8
    return bytes([0x80 | octets]) + n.to_bytes(octets, "big")


def tlv(tag, *parts, octets=None):
    body = b"".join(parts)
    return bytes([tag]) + length(len(body), octets) + body


def seq(*parts, **kw): return tlv(0x30, *parts, **kw)
def sets(*parts): return tlv(0x31, *parts)
def oid(dotted):
    first, second, *rest = map(int, dotted.split("."))
    out = b""
    for arc in [first * 40 + second, *rest]:
        chunk = [arc & 0x7F]
        while arc := arc >> 7: chunk.insert(0, arc & 0x7F | 0x80)
        out += bytes(chunk)
    return tlv(6, out)
def integer(n): return tlv(2, n.to_bytes(n.bit_length() // 8 + 1, "big", signed=True) if n else b"\0")
def bits(body, unused=0): return tlv(3, bytes([unused]), body)
def octets(*parts): return tlv(4, *parts)
def utf8(text): return tlv(0x0C, text if isinstance(text, bytes) else text.encode())


# Keys: fixed scalars, primes from the seeded generator.
def ec_key(label, curve=ec.SECP256R1()):
    return ec.derive_private_key(int.from_bytes(hashlib.sha256(label.encode()).digest(), "big") >> 1, curve)
def spki_of(public): return public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
SMALL = [m for m in range(2, 1000) if all(m % d for d in range(2, math.isqrt(m) + 1))]
PRIMORIAL = math.prod(SMALL)
def is_prime(n):
    if math.gcd(n, PRIMORIAL) != 1: return n < 1000 and n in SMALL
    if pow(2, n - 1, n) != 1: return False
    d, s = n - 1, 0
    while d % 2 == 0: d, s = d // 2, s + 1
    for _ in range(12):
        x = pow(rng.randrange(2, n - 1), d, n)
        if x in (1, n - 1): continue
        for _ in range(s - 1):
            x = x * x % n
            if x == n - 1: break
        else: return False
    return True
def next_prime(n):
    n |= 1
    while not is_prime(n): n += 2
    return n
def prime(size):
    while True:
        p = next_prime(rng.getrandbits(size) | 3 << (size - 2))
        if p.bit_length() == size and (p - 1) % 65537: return p
RSA = bytes.fromhex("300d06092a864886f70d0101010500")
def rsa_spki(n, e=65537, algorithm=RSA, tail=b""): return seq(algorithm, bits(seq(integer(n), integer(e), tail)))
P256 = bytes.fromhex("301306072a8648ce3d020106082a8648ce3d030107")
P384 = bytes.fromhex("301006072a8648ce3d020106052b81040022")
def ec_spki(algorithm, point): return seq(algorithm, bits(point))


EC = ec_key("request")
EC384 = ec_key("request 384", ec.SECP384R1())
SPKI = spki_of(EC.public_key())
ECDSA256 = seq(oid("1.2.840.10045.4.3.2"))
RSA256 = seq(oid("1.2.840.113549.1.1.11"), tlv(5))
def ecdsa(key, tbs, hash=hashes.SHA256()): return key.sign(tbs, ec.ECDSA(hash, deterministic_signing=True))

SAN, BC, KU, EKU, NC = "2.5.29.17", "2.5.29.19", "2.5.29.15", "2.5.29.37", "2.5.29.30"
def dns(name): return tlv(0x82, name if isinstance(name, bytes) else name.encode())
def ext(type, value, critical=None): return seq(oid(type), b"" if critical is None else tlv(1, critical), octets(value))
def san(*names): return ext(SAN, seq(*names))
def attribute(type, *values): return seq(oid(type), sets(*values))
def request_extensions(*extensions): return attribute("1.2.840.113549.1.9.14", seq(*extensions))
def cn(value, tag=None): return seq(sets(seq(oid("2.5.4.3"), value)))
def info(*, version=integer(0), subject=seq(), spki=SPKI, attributes=None, extensions=None):
    if attributes is None: attributes = tlv(0xA0, request_extensions(*(extensions or [san(dns("a.example.org"))])))
    return seq(version, subject, spki, attributes)
def csr(tbs=None, *, key=EC, algorithm=ECDSA256, signature=None, wrap=seq, **kw):
    tbs = tbs or info(**kw)
    signature = ecdsa(key, tbs) if signature is None else signature
    return wrap(tbs, algorithm, bits(signature))
def sig(r, s): return seq(integer(r), integer(s))
N256 = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551

rows = []
def row(rule, name, detail, der, code="badCSR"):
    rows.append({"rule": rule, "name": name, "code": code, "detail": detail, "der": base64.b64encode(der).decode()})


good = csr()
row("XG-3 a", "bytes after the outer SEQUENCE", "is followed by 2 more octets", good + b"\0\0")
row("XG-3 a", "a second CSR after the first", "more octets", good + good)
row("XG-3 b", "a four-byte length where one does", "fewest octets", csr(wrap=lambda *p: seq(*p, octets=4)))
row("XG-3 b", "a two-byte length inside the request", "fewest octets", csr(extensions=[seq(oid(SAN), tlv(4, seq(dns("a.example.org")), octets=2))]))
row("XG-3 b", "a length of five octets", "length of 5 octets", csr(wrap=lambda *p: seq(*p, octets=5)))
row("XG-3 b", "a length of 0xff", "length of 127 octets", b"\x30\xff" + good[3:])
row("XG-3 c", "version 1", "version is 1", csr(version=integer(1)))
row("XG-3 c", "version of nine octets", "version", csr(version=integer(1 << 64)))
row("XG-3 d", "two extensionRequest attributes", "extensionRequest occurs twice",
    csr(attributes=tlv(0xA0, *sorted([request_extensions(san(dns("a.example.org"))), request_extensions(san(dns("b.example.org")))]))))
row("XG-3 e", "extensionRequest with two values", "more than one value",
    csr(attributes=tlv(0xA0, attribute("1.2.840.113549.1.9.14", *sorted([seq(san(dns("a.example.org"))), seq(san(dns("b.example.org")))])))))

x, y = EC.public_key().public_numbers().x, EC.public_key().public_numbers().y
xy = x.to_bytes(32, "big") + y.to_bytes(32, "big")
off = ec_spki(P256, b"\x04" + xy[:-1] + bytes([xy[-1] ^ 1]))
row("XG-3 f", "a point off the curve", "not a point of P-256", csr(spki=off))
row("XG-3 f", "a compressed point", "compressed", csr(spki=ec_spki(P256, bytes([2 + y % 2]) + xy[:32])))
row("XG-3 f", "the point at infinity", "infinity", csr(spki=ec_spki(P256, b"\0")))
row("XG-3 f", "a hybrid point", "uncompressed", csr(spki=ec_spki(P256, bytes([6 + y % 2]) + xy)))

row("XG-3 g", "extensionRequest with an empty SET", "no value", csr(attributes=tlv(0xA0, attribute("1.2.840.113549.1.9.14"))))
row("XG-3 g", "extensionRequest with an empty SEQUENCE", "extensionRequest is empty", csr(attributes=tlv(0xA0, attribute("1.2.840.113549.1.9.14", seq()))))
row("XG-3 g", "an empty subjectAltName", "subjectAltName is empty", csr(extensions=[san()]))
row("XG-3 g", "an empty attribute", "ends before", csr(attributes=tlv(0xA0, seq())))
row("XG-3 g", "an empty extension", "ends before", csr(extensions=[seq()]))
row("XG-3 g", "an extension value that is empty", "is missing at octet", csr(extensions=[ext(SAN, b"")]))
row("XG-3 h", "subjectAltName twice", "subjectAltName occurs twice", csr(extensions=[san(dns("a.example.org")), san(dns("b.example.org"))]))
row("XG-3 h", "basicConstraints twice", "basicConstraints occurs twice", csr(extensions=[ext(BC, seq()), ext(BC, seq())]))

row("XG-3 i", "NUL in a dNSName", "no host name", csr(extensions=[san(dns("a.example.org\0.evil.example"))]))
row("XG-3 i", "NUL in the CN", "control character", csr(subject=cn(utf8("a.example.org\0.evil.example"))))
row("XG-3 i", "CR and LF in the CN", "control character", csr(subject=cn(utf8("a.example.org\r\nb"))))
row("XG-3 i", "CR and LF in a dNSName", "no host name", csr(extensions=[san(dns("a.example.org\r\n"))]))
row("XG-3 j", "an iPAddress of 3 bytes", "iPAddress has 3 octets", csr(extensions=[san(tlv(0x87, b"\x0a\0\x01"))]))
row("XG-3 j", "an iPAddress with a mask", "iPAddress has 8 octets", csr(extensions=[san(tlv(0x87, b"\x0a\0\0\0\xff\0\0\0"))]))
row("XG-3 j", "an empty iPAddress", "iPAddress has 0 octets", csr(extensions=[san(tlv(0x87, b""))]))
row("XG-3 j", "a dNSName in Latin-1", "octet above 127", csr(extensions=[san(dns(b"m\xfcnchen.example"))]))
row("XG-3 j", "a dNSName in UTF-8", "octet above 127", csr(extensions=[san(dns("münchen.example"))]))
for name in ["", ".", "a..example", "a.example.", "-a.example", "a-.example", "a_b.example", "*", "a.*.example", "*a.example", "1.2.3.4", "0x7f.0.0.1",
             "2130706433", "xn--a.example", "xn--abc-.example", "ab--c.example", "a b.example", "a" * 64 + ".example", ".".join(["a" * 63] * 4)]:
    row("XP-5", f"the dNSName {name[:20]!r}", "no host name", csr(extensions=[san(dns(name))]))
def uri(text): return san(tlv(0x86, text.encode()))
row("XP-5", "a relative URI", "has no scheme", csr(extensions=[uri("/path")]))
row("XP-5", "a URI with a space", "holds what RFC 3986 does not allow", csr(extensions=[uri("https://a.example/ b")]))
for text in ["x:[", "foo:a#b#c", "spiffe://a.example/[x]", "spiffe://a.example/%2", "spiffe://a.example/%zz", "foo:a?b]"]:
    row("XP-5", f"the URI {text!r}", "holds what RFC 3986 does not allow", csr(extensions=[uri(text)]))
for text in ["x:", "x:?", "a:#", "foo:?a", "foo:#a"]:
    row("XP-5", f"the URI {text!r}", "has nothing behind its scheme", csr(extensions=[uri(text)]))
for text in ["http://", "http:///x", "spiffe:///a", "http://[::zz]/", "http://[192.0.2.1]/", "http://[v1.a]/", "http://2001:db8::1/", "http://a:b:c/", "http://exa%20mple",
             "http://exa%2ample.org/", "spiffe://prod/a", "http://localhost/", "http://a_b.example/", "http://*.example.org/", "http://a.example:/",
             "http://a.example:65536/", "http://a.example:080/", "http://127.1/", "http://a.example./", "http://user@a.example/", "http://a.example@evil.example/"]:
    row("XP-5", f"the URI {text!r}", "needs a fully qualified domain name or an IP address as its host", csr(extensions=[uri(text)]))
row("XP-5", "the URI 'foo:/a'", "begins with a slash, and no host", csr(extensions=[uri("foo:/a")]))
row("XP-5", "a URI of 2,049 octets", "more than 2048", csr(extensions=[uri("urn:" + "a" * 2045)]))
row("XG-3 k", "a CN of type INTEGER", "CN is not a DirectoryString", csr(subject=cn(integer(5))))
row("XG-3 k", "a CN of type OCTET STRING", "CN is not a DirectoryString", csr(subject=cn(octets(b"a.example.org"))))
row("XG-3 k", "a CN that is a SEQUENCE", "CN is not a DirectoryString", csr(subject=cn(seq(utf8("a.example.org")))))

p, q = prime(1024), prime(1024)
n = p * q
d = pow(65537, -1, (p - 1) * (q - 1))
RSAKEY = rsa.RSAPrivateNumbers(p, q, d, d % (p - 1), d % (q - 1), pow(q, -1, p), rsa.RSAPublicNumbers(65537, n)).private_key()
def rsa_csr(spki=rsa_spki(n), algorithm=RSA256, **kw):
    tbs = info(spki=spki)
    return seq(tbs, algorithm, bits(RSAKEY.sign(tbs, padding.PKCS1v15(), hashes.SHA256())))
for e, words in [(1, "exponent is 1"), (2, "exponent is 2"), (65536, "exponent is 65536"), (0, "exponent is 0"), (-1, "publicExponent is negative"), (3, "exponent is 3"), (1 << 256 | 1, "exponent is of 257 bits")]:
    row("XG-3 l", f"the RSA exponent {'of 257 bits' if e > 1 << 100 else e}", words, rsa_csr(rsa_spki(n, e)))
# With e = 1 every signature is its own padding: this request proves possession to a verifier that does not look at e.
tbs1 = info(spki=rsa_spki(n, 1))
em = b"\0\1" + b"\xff" * (256 - 3 - 51) + b"\0" + bytes.fromhex("3031300d060960864801650304020105000420") + hashlib.sha256(tbs1).digest()
row("XG-3 l", "the RSA exponent 1, with a signature that verifies", "exponent is 1", seq(tbs1, RSA256, bits(em)))
row("XG-3 m", "an RSA modulus of 65,536 bits and an exponent of 65,528", "at most 16384",
    csr(tbs=info(spki=rsa_spki(rng.getrandbits(65536) | 1 << 65535 | 1, rng.getrandbits(65528) | 1 << 65527 | 1))), code="tooLarge")
row("XG-3 m", "an RSA modulus of 65,536 bits", "modulus has 65536 bits", csr(tbs=info(spki=rsa_spki(rng.getrandbits(65536) | 1 << 65535 | 1))))
row("XG-3 m", "an RSA modulus of 1,024 bits", "modulus has 1024 bits", csr(tbs=info(spki=rsa_spki(prime(512) * prime(512)))))
row("XG-3 n", "an empty SubjectPublicKeyInfo", "ends before", csr(spki=seq()))
row("XG-3 n", "an Ed25519 key", "ed25519", csr(spki=spki_of(ed25519.Ed25519PrivateKey.from_private_bytes(b"\1" * 32).public_key())))
row("XG-3 n", "a key of an unknown algorithm", "1.2.3.4", csr(spki=seq(seq(oid("1.2.3.4")), bits(b"\0"))))
row("XG-3 n", "a P-521 key", "secp521r1", csr(spki=spki_of(ec_key("521", ec.SECP521R1()).public_key())))

row("XG-3 o", "an indefinite length", "indefinite", b"\x30\x80" + good[2:] + b"\0\0")
row("XG-3 o", "an indefinite length inside", "indefinite", csr(subject=b"\x30\x80\0\0"))
def nest(levels):
    value = tlv(5)
    for _ in range(levels): value = seq(value)
    return value
row("XG-3 o", "16 nested SEQUENCEs more than there may be", "deeper than 16", csr(attributes=tlv(0xA0, attribute("1.2.3", nest(16)))))
row("XG-3 o", "4,000 nested SEQUENCEs", "deeper than 16", csr(attributes=tlv(0xA0, attribute("1.2.3", nest(4000)))))
row("XG-3 o", "5,000 nested SEQUENCEs", "at most 16384", csr(attributes=tlv(0xA0, attribute("1.2.3", nest(5000)))), code="tooLarge")
row("XG-3 o", "20,000 opened SEQUENCEs and no end", "at most 16384", b"\x30\x80" * 20000, code="tooLarge")
row("XG-3 o", "8,000 opened SEQUENCEs and no end", "indefinite", b"\x30\x80" * 8000)
row("XG-3 o", "an OID of 15 KB", "OBJECT IDENTIFIER of more than", csr(attributes=tlv(0xA0, seq(tlv(6, b"\x2a" * 15000), sets(tlv(5))))))
row("XG-3 o", "an OID arc of 15 KB", "OBJECT IDENTIFIER of more than", csr(attributes=tlv(0xA0, seq(tlv(6, b"\x2a" + b"\x81" * 15000 + b"\1"), sets(tlv(5))))))
row("XG-3 o", "an OID of 32 KB", "at most 16384", csr(attributes=tlv(0xA0, seq(tlv(6, b"\x2a" * 32000), sets(tlv(5))))), code="tooLarge")
row("XG-3 p", "10,000 names", "at most 16384", csr(extensions=[san(*[dns("a")] * 10000)]), code="tooLarge")
row("XG-3 p", "2,400 names in 16 KB", "too many values", csr(extensions=[san(*[dns("a%d" % (i % 100)) for i in range(2400)])]))
row("XG-3 p", "101 names", "at most 100", csr(extensions=[san(*[dns("a%d.example" % i) for i in range(101)])]))
row("XG-3 p", "800 RDNs", "too many values", csr(subject=seq(*[sets(seq(oid("2.5.4.10"), utf8("a")))] * 800)))

def flip(der, index): return der[:index] + bytes([der[index] ^ 1]) + der[index + 1:]
row("XG-3 q", "a signature with one bit flipped", "the signature is not one that this key made", flip(good, len(good) - 1))
row("XG-3 q", "a signature over another request", "the signature is not one that this key made", csr(signature=ecdsa(EC, info(extensions=[san(dns("b.example.org"))]))))
row("XG-3 q", "a signature of another key", "the signature is not one that this key made", csr(key=ec_key("another")))
row("XG-3 q", "an RSA algorithm for an EC key", "does not fit the key", csr(algorithm=RSA256))
row("XG-3 q", "an ECDSA algorithm for an RSA key", "does not fit the key", rsa_csr(algorithm=ECDSA256))
row("XG-3 q", "ECDSA with SHA-1", "1.2.840.10045.4.1", csr(algorithm=seq(oid("1.2.840.10045.4.1"))))
row("XG-3 q", "RSA with SHA-1", "1.2.840.113549.1.1.5", rsa_csr(algorithm=seq(oid("1.2.840.113549.1.1.5"), tlv(5))))
row("XG-3 q", "RSASSA-PSS", "rsassaPss", rsa_csr(algorithm=bytes.fromhex("304106092a864886f70d01010a3034a00f300d06096086480165030402010500a11c301a06092a864886f70d010108300d06096086480165030402010500a203020120")))
row("XG-3 q", "ECDSA with NULL parameters", "ecdsaWithSHA256", csr(algorithm=seq(oid("1.2.840.10045.4.3.2"), tlv(5))))
row("XG-3 q", "RSA without parameters", "sha256WithRSAEncryption", rsa_csr(algorithm=seq(oid("1.2.840.113549.1.1.11"))))
row("XG-3 q", "a hash that the algorithm does not name", "the signature is not one that this key made", csr(algorithm=seq(oid("1.2.840.10045.4.3.3"))))
row("XG-3 q", "an empty signature", "the signature is not one that this key made", csr(signature=b""))
tbs = info()
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
r, s = decode_dss_signature(ecdsa(EC, tbs))
for name, bad in [("r = 0", sig(0, s)), ("s = 0", sig(r, 0)), ("r and s 0", sig(0, 0)), ("r = n", sig(N256, s)), ("s = n", sig(r, N256)), ("s + n", sig(r, s + N256)), ("r + n", sig(r + N256, s)), ("-s", sig(r, -s)),
                  ("r with a spare zero octet", seq(tlv(2, b"\0" + integer(r)[2:]), integer(s))), ("bytes after s", seq(integer(r), integer(s), tlv(5))),
                  ("bytes after the SEQUENCE", sig(r, s) + b"\0"), ("r without s", seq(integer(r))), ("a long length", seq(integer(r), integer(s), octets=2)), ("r ‖ s", r.to_bytes(32, "big") + s.to_bytes(32, "big"))]:
    row("XG-3 r", f"an ECDSA signature with {name}", "the signature is not one that this key made", csr(tbs=tbs, signature=bad))

row("XG-1", "a BOOLEAN TRUE of 01", "neither 00 nor FF", csr(extensions=[ext(BC, seq(tlv(1, b"\1"))), san(dns("a.example.org"))]))
row("XG-1", "critical FALSE, written out", "default value FALSE", csr(extensions=[ext(SAN, seq(dns("a.example.org")), critical=b"\0")]))
row("XG-1", "critical TRUE of 01", "neither 00 nor FF", csr(extensions=[ext(SAN, seq(dns("a.example.org")), critical=b"\1")]))
row("XG-1", "a version with a spare octet", "not minimal", csr(version=b"\x02\x02\0\0"))
row("XG-1", "an empty version", "without content", csr(version=b"\x02\0"))
row("XG-1", "a constructed OCTET STRING", "constructed string", csr(extensions=[seq(oid(SAN), tlv(0x24, octets(seq(dns("a.example.org")))))]))
row("XG-1", "a constructed UTF8String", "constructed string", csr(subject=cn(tlv(0x2C, utf8("a.example.org")))))
row("XG-1", "a constructed dNSName", "that does not exist", csr(extensions=[san(tlv(0xA2, octets(b"a.example.org")))]))
row("XG-1", "attributes out of order", "ascending order", csr(attributes=tlv(0xA0, *sorted([request_extensions(san(dns("a.example.org"))), attribute("1.2.840.113549.1.9.7", utf8("x"))], reverse=True))))
row("XG-1", "an RDN out of order", "ascending order", csr(subject=seq(sets(*sorted([seq(oid("2.5.4.3"), utf8("a.example.org")), seq(oid("2.5.4.10"), utf8("x"))], reverse=True)))))
row("XG-1", "an OID arc with a leading 80", "not minimal", csr(attributes=tlv(0xA0, seq(tlv(6, b"\x2a\x80\x01"), sets(tlv(5))))))
row("XG-1", "an OID that ends inside an arc", "ends inside an arc", csr(attributes=tlv(0xA0, seq(tlv(6, b"\x2a\x81"), sets(tlv(5))))))
row("XG-1", "an empty OID", "without content", csr(attributes=tlv(0xA0, seq(tlv(6), sets(tlv(5))))))
row("XG-1", "a NULL with content", "NULL with content", csr(attributes=tlv(0xA0, attribute("1.2.3", tlv(5, b"\0")))))
row("XG-1", "a UTF8String that is not UTF-8", "not UTF-8", csr(subject=cn(utf8(b"\xc0\x80"))))
row("XG-1", "a surrogate in a UTF8String", "not UTF-8", csr(subject=cn(utf8(b"\xed\xa0\x80"))))
row("XG-1", "an asterisk in a PrintableString", "PrintableString that holds the octet 2a", csr(subject=cn(tlv(0x13, b"*.example.org"))))
row("XG-1", "an IA5String with an octet above 127", "IA5String that holds the octet e9", csr(subject=seq(sets(seq(oid("1.2.840.113549.1.9.1"), tlv(0x16, b"\xe9"))))))
row("XG-1", "a high tag number", "tag number above 30", csr(attributes=tlv(0xA0, seq(oid("1.2.3"), sets(b"\x9f\x1f\0")))))
row("XG-1", "an APPLICATION tag", "class that no X.509", csr(attributes=tlv(0xA0, attribute("1.2.3", tlv(0x60, tlv(5))))))
row("XG-1", "a REAL", "type that no X.509", csr(attributes=tlv(0xA0, attribute("1.2.3", tlv(9, b"\x80\0\1")))))
row("XG-1", "a UTCTime without seconds", "form of RFC 5280", csr(attributes=tlv(0xA0, attribute("1.2.840.113549.1.9.5", tlv(0x17, b"2601010000Z")))))
row("XG-1", "a GeneralizedTime with a fraction", "form of RFC 5280", csr(attributes=tlv(0xA0, attribute("1.2.840.113549.1.9.5", tlv(0x18, b"20260101000000.5Z")))))
row("XG-1", "a BIT STRING of 9 unused bits", "count of unused bits", csr(extensions=[san(dns("a.example.org")), ext(KU, tlv(3, b"\x09\x80"))]))
row("XG-1", "a BIT STRING whose unused bits are not zero", "unused bits are not zero", csr(extensions=[san(dns("a.example.org")), ext(KU, tlv(3, b"\x07\xff"))]))
row("XG-1", "keyUsage with trailing zero bits", "trailing zero bits", csr(extensions=[san(dns("a.example.org")), ext(KU, tlv(3, b"\x00\x80"))]))
row("XG-1", "bytes after an extension's value", "inside its OCTET STRING", csr(extensions=[ext(SAN, seq(dns("a.example.org")) + b"\5\0")]))
row("XG-1", "a signature with unused bits", "whole octets", seq(tbs, ECDSA256, bits(ecdsa(EC, tbs) + b"\0", 1)))
row("XG-1", "a SEQUENCE that is not constructed", "type that no X.509", b"\x10" + good[1:])
row("XG-1", "a child that is longer than its parent", "longer than what holds it", csr(subject=b"\x30\x02\x31\x05"))
row("XG-1", "the first half", "longer than what holds it", good[: len(good) // 2])
row("XG-1", "no octets", "a value is missing", b"")
row("XG-1", "one octet", "no length", b"\x30")
row("XG-1", "an empty SEQUENCE", "ends before certificationRequestInfo", b"\x30\0")
row("XG-1", "a PEM text instead of DER", "", b"-----BEGIN CERTIFICATE REQUEST-----\n")
row("XG-1", "a fourth field", "unexpected field", seq(tbs, ECDSA256, bits(ecdsa(EC, tbs)), tlv(5)))
row("XG-1", "no attributes", "ends before attributes", csr(tbs=seq(integer(0), seq(), SPKI)))
row("XG-1", "attributes under the wrong tag", "attributes has identifier octet 0xa1", csr(attributes=tlv(0xA1, request_extensions(san(dns("a.example.org"))))))
row("XG-1", "an empty RDN", "RDN has no attribute", csr(subject=seq(sets())))
row("XG-1", "a subject that is a SET", "Name has identifier octet 0x31", csr(subject=sets()))

for name, value, words in [("otherName", tlv(0xA0, oid("1.3.6.1.4.1.311.20.2.3"), tlv(0xA0, utf8("a@b"))), "otherName"), ("rfc822Name", tlv(0x81, b"a@b.example"), "rfc822Name"),
                           ("x400Address", tlv(0xA3, b""), "x400Address"), ("directoryName", tlv(0xA4, cn(utf8("a"))), "directoryName"), ("ediPartyName", tlv(0xA5, tlv(0x81, b"a")), "ediPartyName"), ("registeredID", tlv(0x88, b"\x2a\3"), "registeredID"),
                           ("no type that exists", tlv(0x89, b"a"), "that does not exist")]:
    row("S-22", f"a name of type {name}", words, csr(extensions=[san(dns("a.example.org"), value)]))
row("S-22", "a CN that is not in subjectAltName", "in subjectAltName", csr(subject=cn(utf8("b.example.org"))))
row("S-22", "a CN without subjectAltName", "in subjectAltName", csr(subject=cn(utf8("a.example.org")), attributes=tlv(0xA0)))
row("S-22", "a second CN that is not in subjectAltName", "in subjectAltName", csr(subject=seq(sets(seq(oid("2.5.4.3"), utf8("a.example.org"))), sets(seq(oid("2.5.4.3"), utf8("b.example.org"))))))
row("S-22", "a CN of 65 characters", "more than 64 characters", csr(subject=cn(utf8("a." * 28 + "a.example"))))
row("S-22", "an empty CN", "in subjectAltName", csr(subject=cn(utf8(""))))
row("XG-4", "critical nameConstraints", "nameConstraints is not accepted", csr(extensions=[san(dns("a.example.org")), ext(NC, seq(tlv(0xA0, seq(dns("example.org")))), critical=b"\xff")]))
row("XG-4", "an unknown critical extension", "1.2.3.4 is not accepted", csr(extensions=[san(dns("a.example.org")), ext("1.2.3.4", tlv(5), critical=b"\xff")]))

with open(os.path.join(HERE, "malformed.json"), "w") as file: json.dump(rows, file, indent=1, ensure_ascii=False); file.write("\n")

# Requests that are right, though rarely seen.
fine = []
def accept(name, names, der): fine.append({"name": name, "names": names, "der": base64.b64encode(der).decode()})
accept("no subject, one name", ["a.example.org"], good)
accept("no attribute at all", [], csr(attributes=tlv(0xA0)))
accept("CA TRUE, keyCertSign and codeSigning, all critical: ignored", ["a.example.org"], csr(extensions=[ext(BC, seq(tlv(1, b"\xff")), b"\xff"), ext(KU, tlv(3, b"\1\6"), b"\xff"), ext(EKU, seq(oid("1.3.6.1.5.5.7.3.3")), b"\xff"), san(dns("a.example.org"))]))
accept("certificatePolicies and nameConstraints, not critical: ignored", ["a.example.org"], csr(extensions=[ext("2.5.29.32", seq(seq(oid("2.5.29.32.0")))), ext(NC, seq(tlv(0xA0, seq(dns("example.org"))))), san(dns("a.example.org"))]))
accept("an unknown extension whose value is no DER, not critical", ["a.example.org"], csr(extensions=[ext("1.2.3.4", b"\xff\xff"), san(dns("a.example.org"))]))
accept("upper case, folded", ["a.example.org", "b.example.org"], csr(extensions=[san(dns("A.Example.ORG"), dns("b.example.org"))]))
accept("a name twice, kept once", ["a.example.org"], csr(extensions=[san(dns("a.example.org"), dns("A.EXAMPLE.org"))]))
accept("a wildcard, addresses and a URI", ["*.example.org", "10.0.0.1", "2001:db8::1", "spiffe://example.org/a"], csr(extensions=[san(dns("*.example.org"), tlv(0x87, bytes([10, 0, 0, 1])), tlv(0x87, bytes.fromhex("20010db8" + "0" * 23 + "1")), tlv(0x86, b"spiffe://example.org/a"))]))
for given, kept in [("spiffe://example.org", None), ("spiffe://example.org/ns/a%20b?c=/?#d?/", None), ("urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6", None), ("a:b", None),
                    ("mailto:a@b.example", None), ("https://a.example:8443/x", None), ("http://192.0.2.1:80/", None), ("http://[2001:db8::1]:0/", None),
                    ("SPIFFE://Example.ORG/A", "spiffe://example.org/A"), ("http://[2001:DB8:0::1]/", "http://[2001:db8::1]/"), ("URN:A:B", "urn:A:B"),
                    ("http://xn--mnchen-3ya.example?q", None), ("urn:" + "a" * 2044, None)]:
    accept(f"the URI {given[:60]}", [kept or given], csr(extensions=[uri(given)]))
accept("a CN that is an address of subjectAltName", ["10.0.0.1"], csr(subject=cn(utf8("10.0.0.1")), extensions=[san(tlv(0x87, bytes([10, 0, 0, 1])))]))
accept("a CN in other case than in subjectAltName", ["a.example.org"], csr(subject=cn(tlv(0x13, b"A.example.org"))))
accept("a CN in BMPString", ["a.example.org"], csr(subject=cn(tlv(0x1E, "a.example.org".encode("utf-16-be")))))
accept("a CN of 64 characters", ["a." * 27 + "ab.example"], csr(subject=cn(utf8("a." * 27 + "ab.example")), extensions=[san(dns("a." * 27 + "ab.example"))]))
accept("100 names", ["a%d.example" % i for i in range(100)], csr(extensions=[san(*[dns("a%d.example" % i) for i in range(100)])]))
accept("a subject with e-mail, organization and unknown attributes: ignored", ["a.example.org"], csr(subject=seq(sets(seq(oid("2.5.4.6"), tlv(0x13, b"DE"))), sets(seq(oid("2.5.4.10"), utf8("Example"))), sets(seq(oid("1.2.840.113549.1.9.1"), tlv(0x16, b"a@b.example"))), sets(seq(oid("1.2.3.4"), integer(7))))))
accept("a challengePassword beside the names", ["a.example.org"], csr(attributes=tlv(0xA0, *sorted([request_extensions(san(dns("a.example.org"))), attribute("1.2.840.113549.1.9.7", utf8("x"))]))))
accept("an A-label", ["xn--mnchen-3ya.example"], csr(extensions=[san(dns("xn--mnchen-3ya.example"))]))
accept("P-256 with SHA-384", ["a.example.org"], csr(algorithm=seq(oid("1.2.840.10045.4.3.3")), signature=ecdsa(EC, info(), hashes.SHA384())))
tbs384 = info(spki=spki_of(EC384.public_key()))
accept("P-384 with SHA-512", ["a.example.org"], csr(tbs=tbs384, algorithm=seq(oid("1.2.840.10045.4.3.4")), signature=ecdsa(EC384, tbs384, hashes.SHA512())))
tbsr = info(spki=rsa_spki(n))
for h, arc in [(hashes.SHA384(), 12), (hashes.SHA512(), 13)]:
    accept(f"RSA-2048 with {h.name}", ["a.example.org"], seq(tbsr, seq(oid(f"1.2.840.113549.1.1.{arc}"), tlv(5)), bits(RSAKEY.sign(tbsr, padding.PKCS1v15(), h))))
with open(os.path.join(HERE, "unusual.json"), "w") as file: json.dump(fine, file, indent=1, ensure_ascii=False); file.write("\n")

# Keys that are refused, as SubjectPublicKeyInfo.
bad = []
def bad_key(name, words, spki): bad.append({"name": name, "detail": words, "spki": spki.hex()})
for e in (1, 2, 3, 4, 17, 35, 65535, 65536, 65539, 0, 1 << 255 | 1, 1 << 256 | 1): bad_key(f"RSA, exponent {e if e < 1 << 60 else f'of {e.bit_length()} bits'}", "exponent", rsa_spki(n, e))
bad_key("RSA, exponent -3", "negative", rsa_spki(n, -3))
for size in (512, 1024, 2040, 2047): bad_key(f"RSA, {size} bits", f"has {size} bits", rsa_spki(prime(size // 2) * prime(size - size // 2) if size != 2047 else (1 << 2046) | n >> 1 | 1))
for size in (2049, 2052, 3070, 4095):
    m = prime(size // 2) * prime(size - size // 2)
    bad_key(f"RSA, {m.bit_length()} bits", "multiple of 8", rsa_spki(m))
bad_key("RSA, 4104 bits", "has 4104 bits", rsa_spki((1 << 4103) | rng.getrandbits(4000) | 1))
bad_key("RSA, 8192 bits", "has 8192 bits", rsa_spki((1 << 8191) | rng.getrandbits(8000) | 1))
bad_key("RSA, 65,536 bits", "has 65536 bits", rsa_spki((1 << 65535) | rng.getrandbits(65000) | 1))
def with_factor(f):
    size = 2048 - f.bit_length() + (f & (f - 1) == 0)
    while (m := f * prime(size)).bit_length() != 2048: size += m.bit_length() < 2047 or rng.random() < 0.2
    return m
for f in (2, 3, 5, 743, 751): bad_key(f"RSA, modulus with the factor {f}", f"factor {f}", rsa_spki(with_factor(f)))
bad_key("RSA, modulus a square", "too close", rsa_spki(p * p))
near = next_prime(p + 2)
bad_key("RSA, the next prime", "too close", rsa_spki(p * near))
def fermat(rounds):
    # (q - p)² / 8√n rounds, at about √n = 2^1023.
    gap = math.isqrt(rounds * 8 * p)
    return p * next_prime(p + gap)
bad_key("RSA, primes that Fermat finds in 50 rounds", "too close", rsa_spki(fermat(50)))
bad_key("RSA, primes that Fermat finds in 100 rounds", "too close", rsa_spki(fermat(100)))
def roca_prime(size, count):
    product = 1
    for m in SMALL[:count]: product *= m
    while True:
        k = rng.getrandbits(size - product.bit_length() + 1) | 1 << (size - product.bit_length())
        m = k * product + pow(65537, rng.getrandbits(64), product)
        if m.bit_length() == size and m >> (size - 2) == 3 and is_prime(m): return m
bad_key("RSA, ROCA 2048", "ROCA", rsa_spki(roca_prime(1024, 126) * roca_prime(1024, 126)))
bad_key("RSA, ROCA 3072", "ROCA", rsa_spki(roca_prime(1536, 126) * roca_prime(1536, 126)))
bad_key("RSA, negative modulus", "negative", rsa_spki(-n))
bad_key("RSA, modulus 0", "has", rsa_spki(0))
bad_key("RSA, modulus with a spare octet", "not minimal", seq(RSA, bits(seq(tlv(2, b"\0\0" + n.to_bytes(256, "big")), integer(65537)))))
bad_key("RSA, parameters absent", "with these parameters", rsa_spki(n, algorithm=seq(oid("1.2.840.113549.1.1.1"))))
bad_key("RSA, a third number", "unexpected field", rsa_spki(n, tail=integer(5)))
bad_key("RSASSA-PSS key", "rsassaPss", rsa_spki(n, algorithm=seq(oid("1.2.840.113549.1.1.10"))))
bad_key("RSA, bytes after RSAPublicKey", "more octets", seq(RSA, bits(seq(integer(n), integer(65537)) + b"\0")))
prime256 = 0xFFFFFFFF00000001000000000000000000000000FFFFFFFFFFFFFFFFFFFFFFFF
def pt(x, y, size=32): return b"\4" + x.to_bytes(size, "big") + y.to_bytes(size, "big")
bad_key("P-256, off the curve", "not a point", off)
bad_key("P-256, (0, 0)", "not a point", ec_spki(P256, pt(0, 0)))
bad_key("P-256, y of the twist", "not a point", ec_spki(P256, pt(x, (y + 1) % prime256)))
bad_key("P-256, x = p", "not below the prime", ec_spki(P256, pt(prime256, y)))
b256 = 0x5AC635D8AA3A93E7B3EBBD55769886BC651D06B0CC53B0F63BCE3C3E27D2604B
root = pow(b256, (prime256 + 1) // 4, prime256)
assert root * root % prime256 == b256
bad_key("P-256, x = p where x = 0 would be on the curve", "not below the prime", ec_spki(P256, pt(prime256, root)))
bad_key("P-256, y = 2^256 - 1", "not below the prime", ec_spki(P256, pt(x, 2 ** 256 - 1)))
bad_key("P-256, infinity", "infinity", ec_spki(P256, b"\0"))
bad_key("P-256, infinity of full length", "uncompressed", ec_spki(P256, bytes(65)))
bad_key("P-256, no point", "uncompressed", ec_spki(P256, b""))
bad_key("P-256, compressed", "compressed", ec_spki(P256, bytes([2 + y % 2]) + xy[:32]))
bad_key("P-256, hybrid", "uncompressed", ec_spki(P256, bytes([6 + y % 2]) + xy))
bad_key("P-256, one octet short", "uncompressed", ec_spki(P256, b"\4" + xy[:-1]))
bad_key("P-256, one octet more", "uncompressed", ec_spki(P256, b"\4" + xy + b"\0"))
bad_key("P-384 with a point of P-256", "uncompressed", ec_spki(P384, b"\4" + xy))
x384 = EC384.public_key().public_numbers()
bad_key("P-384, off the curve", "not a point", ec_spki(P384, pt(x384.x, x384.y ^ 1, 48)))
for curve in (ec.SECP224R1(), ec.SECP256K1(), ec.SECP521R1(), ec.BrainpoolP256R1()): bad_key(f"EC, {curve.name}", "not accepted", spki_of(ec_key(curve.name, curve).public_key() if curve.key_size > 255 else ec.derive_private_key(12345678901234567890, curve).public_key()))
G = (0x6B17D1F2E12C4247F8BCE6E563A440F277037D812DEB33A0F4A13945D898C296, 0x4FE342E2FE1A7F9B8EE7EB4A7C0F9E162BCE33576B315ECECBB6406837BF51F5)
def explicit(gx, gy):
    field = seq(oid("1.2.840.10045.1.1"), integer(prime256))
    curve = seq(octets((prime256 - 3).to_bytes(32, "big")), octets(b256.to_bytes(32, "big")))
    return seq(oid("1.2.840.10045.2.1"), seq(integer(1), field, curve, octets(pt(gx, gy)), integer(N256), integer(1)))
bad_key("EC, explicit parameters of P-256", "not accepted", ec_spki(explicit(*G), b"\4" + xy))
bad_key("EC, explicit parameters with the key as generator (CVE-2020-0601)", "not accepted", ec_spki(explicit(x, y), b"\4" + xy))
bad_key("EC, implicit parameters", "not accepted", ec_spki(seq(oid("1.2.840.10045.2.1"), tlv(5)), b"\4" + xy))
bad_key("EC, no parameters", "not accepted", ec_spki(seq(oid("1.2.840.10045.2.1")), b"\4" + xy))
for name, key in [("Ed25519", ed25519.Ed25519PrivateKey), ("X25519", x25519.X25519PrivateKey)]: bad_key(name, "not accepted", spki_of(key.from_private_bytes(b"\1" * 32).public_key()))
bad_key("Ed448", "not accepted", spki_of(ed448.Ed448PrivateKey.from_private_bytes(b"\1" * 57).public_key()))
bad_key("X448", "not accepted", spki_of(x448.X448PrivateKey.from_private_bytes(b"\1" * 56).public_key()))
bad_key("DSA", "not accepted", seq(seq(oid("1.2.840.10040.4.1"), seq(integer(p), integer(prime(256)), integer(2))), bits(integer(n % p))))
bad_key("ML-DSA-44", "not accepted", seq(seq(oid("2.16.840.1.101.3.4.3.17")), bits(bytes(1312))))
bad_key("an unknown algorithm", "not accepted", seq(seq(oid("1.2.3.4")), bits(b"\0")))
bad_key("an empty SEQUENCE", "ends before", seq())
bad_key("an empty algorithm", "ends before", seq(seq(), bits(b"\0")))
bad_key("a key with unused bits", "whole octets", seq(P256, bits(b"\4" + xy[:-1] + b"\0", 1)))
bad_key("a key of no octets", "is missing", b"")
with open(os.path.join(HERE, "../keys/bad.json"), "w") as file: json.dump(bad, file, indent=1, ensure_ascii=False); file.write("\n")
# The one rule that is asked apart: whether the modulus is itself a prime, with a request that proves possession of such a key.
pm = prime(2048)
dm = pow(65537, -1, pm - 1)
tbsp = info(spki=rsa_spki(pm))
emp = b"\0\1" + b"\xff" * (256 - 3 - 51) + b"\0" + bytes.fromhex("3031300d060960864801650304020105000420") + hashlib.sha256(tbsp).digest()
der = seq(tbsp, RSA256, bits(pow(int.from_bytes(emp, "big"), dm, pm).to_bytes(256, "big")))
with open(os.path.join(HERE, "prime-modulus.json"), "w") as file: json.dump({"spki": rsa_spki(pm).hex(), "der": base64.b64encode(der).decode()}, file, indent=1); file.write("\n")
