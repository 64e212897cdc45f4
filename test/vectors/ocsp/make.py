"""Writes requests.json, unusual.json and malformed.json: see SOURCE.md. Parameters: the jars of BouncyCastle (bcprov, bcutil, bcpkix)."""

import base64
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp

here = Path(__file__).parent
work = Path(tempfile.mkdtemp())


def run(*words: str) -> str:
    return subprocess.run(words, cwd=work, check=True, capture_output=True, text=True).stdout


# An authority, a responder of its own and three certificates: a serial number of one octet, of 16 with the first bit set, and of 20.
serials = {"small": "05", "usual": "9a080f161d242b323940474e555c6304", "long": "7f" + "11" * 19}
run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/C=CH/O=Example Trust/CN=Example Issuing 1",
    "-days", "3650", "-keyout", "issuer.key", "-out", "issuer.pem")
for name, serial in serials.items():
    run("openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", f"/CN={name}.example.org",
        "-keyout", f"{name}.key", "-out", f"{name}.csr")
    run("openssl", "x509", "-req", "-in", f"{name}.csr", "-CA", "issuer.pem", "-CAkey", "issuer.key", "-set_serial", f"0x{serial}", "-days", "30", "-out", f"{name}.pem")


def by_openssl(out: str, *words: str) -> None:
    run("openssl", "ocsp", "-issuer", "issuer.pem", *words, "-reqout", out)


by_openssl("openssl-sha1", "-cert", "usual.pem", "-no_nonce")
by_openssl("openssl-sha256", "-sha256", "-cert", "usual.pem", "-no_nonce")
by_openssl("openssl-nonce", "-cert", "usual.pem")
by_openssl("openssl-sha256-nonce", "-sha256", "-cert", "long.pem")
by_openssl("openssl-several", "-cert", "small.pem", "-sha256", "-cert", "usual.pem", "-cert", "long.pem", "-no_nonce")
by_openssl("openssl-signed", "-cert", "usual.pem", "-signer", "small.pem", "-signkey", "small.key")
run("ocsptool", "--generate-request", "--load-cert=usual.pem", "--load-issuer=issuer.pem", "--outfile=gnutls")

issuer = x509.load_pem_x509_certificate((work / "issuer.pem").read_bytes())
usual = x509.load_pem_x509_certificate((work / "usual.pem").read_bytes())
for name, algorithm in {"sha1": hashes.SHA1(), "sha256": hashes.SHA256()}.items():
    built = ocsp.OCSPRequestBuilder().add_certificate(usual, issuer, algorithm)
    (work / f"cryptography-{name}").write_bytes(built.build().public_bytes(Encoding.DER))
    built = built.add_extension(x509.OCSPNonce(bytes(range(32))), critical=False)
    (work / f"cryptography-{name}-nonce").write_bytes(built.build().public_bytes(Encoding.DER))

(work / "Ask.java").write_text("""
import java.io.*; import java.nio.file.*; import java.security.cert.*; import java.security.cert.Extension; import java.util.*; import sun.security.provider.certpath.*; import sun.security.x509.*;
class Ask {
  public static void main(String[] words) throws Exception {
    CertificateFactory factory = CertificateFactory.getInstance("X.509");
    X509CertImpl issuer = X509CertImpl.toImpl((X509Certificate) factory.generateCertificate(new FileInputStream("issuer.pem")));
    X509CertImpl usual = X509CertImpl.toImpl((X509Certificate) factory.generateCertificate(new FileInputStream("usual.pem")));
    CertId id = new CertId(issuer, usual.getSerialNumberObject());
    Files.write(Path.of("java"), encoded(id, List.of()));
    Files.write(Path.of("java-nonce"), encoded(id, List.of((Extension) made("OCSPNonceExtension", new Class<?>[] { int.class }, 16))));
  }
  static byte[] encoded(CertId id, List<Extension> extensions) throws Exception {
    Object request = made("OCSPRequest", new Class<?>[] { List.class, List.class }, List.of(id), extensions);
    var encode = request.getClass().getDeclaredMethod("encodeBytes");
    encode.setAccessible(true);
    return (byte[]) encode.invoke(request);
  }
  static Object made(String name, Class<?>[] types, Object... values) throws Exception {
    var constructor = Class.forName("sun.security.provider.certpath." + name).getDeclaredConstructor(types);
    constructor.setAccessible(true);
    return constructor.newInstance(values);
  }
}""")
opened = [word for package in ("provider.certpath", "x509") for word in ("--add-exports", f"java.base/sun.security.{package}=ALL-UNNAMED")]
run("java", *opened, "--add-opens", "java.base/sun.security.provider.certpath=ALL-UNNAMED", "Ask.java")

jars = ":".join(sys.argv[1:])
(work / "Bouncy.java").write_text("""
import java.io.*; import java.nio.file.*; import java.security.cert.CertificateFactory; import java.security.cert.X509Certificate; import org.bouncycastle.asn1.*; import org.bouncycastle.asn1.ocsp.*; import org.bouncycastle.asn1.x509.*;
import org.bouncycastle.cert.*; import org.bouncycastle.cert.ocsp.*; import org.bouncycastle.operator.jcajce.*;
class Bouncy {
  public static void main(String[] words) throws Exception {
    X509CertificateHolder issuer = new X509CertificateHolder(((X509Certificate) CertificateFactory.getInstance("X.509").generateCertificate(new FileInputStream("issuer.pem"))).getEncoded());
    X509CertificateHolder usual = new X509CertificateHolder(((X509Certificate) CertificateFactory.getInstance("X.509").generateCertificate(new FileInputStream("usual.pem"))).getEncoded());
    CertificateID id = new CertificateID(new JcaDigestCalculatorProviderBuilder().build().get(CertificateID.HASH_SHA1), issuer, usual.getSerialNumber());
    Files.write(Path.of("bouncycastle"), new OCSPReqBuilder().addRequest(id).build().getEncoded());
    ASN1Encodable locator = new DERSequence(issuer.getSubject());
    Extensions single = new Extensions(new Extension(OCSPObjectIdentifiers.id_pkix_ocsp_service_locator, false, new DEROctetString(locator)));
    Extensions all = new Extensions(new Extension[] {
      new Extension(OCSPObjectIdentifiers.id_pkix_ocsp_response, false, new DEROctetString(new DERSequence(OCSPObjectIdentifiers.id_pkix_ocsp_basic))),
      new Extension(OCSPObjectIdentifiers.id_pkix_ocsp_nonce, true, new DEROctetString(new DEROctetString(new byte[20]))) });
    Files.write(Path.of("bouncycastle-extensions"), new OCSPReqBuilder().addRequest(id, single).setRequestExtensions(all).setRequestorName(usual.getSubject()).build().getEncoded());
  }
}""")
run("java", "-cp", jars, "Bouncy.java")


def reading(path: Path) -> dict:
    """What `openssl ocsp -req_text` reads in a request."""
    text = run("openssl", "ocsp", "-reqin", str(path), "-req_text")
    entries = re.findall(r"Hash Algorithm: (\w+)\s+Issuer Name Hash: (\w+)\s+Issuer Key Hash: (\w+)\s+Serial Number: (\w+)", text)
    nonce = re.search(r"OCSP Nonce: (?:critical)?\s+([0-9A-F\s:]+)", text)
    return {
        "entries": [{"hashAlgorithm": a, "issuerNameHash": n.lower(), "issuerKeyHash": k.lower(), "serial": s.lower()} for a, n, k, s in entries],
        # OpenSSL shows the content of extnValue: the OCTET STRING with its identifier and length.
        "nonce": re.sub(r"[^0-9a-f]", "", nonce.group(1).lower()) if nonce else None,
    }


kinds = ("openssl", "gnutls", "cryptography", "java", "bouncycastle")
made = sorted(path for path in work.iterdir() if path.name.split("-")[0] in kinds and path.suffix == "")
requests = [{"name": path.name, "der": base64.b64encode(path.read_bytes()).decode(), **reading(path)} for path in made]


# A DER writer of its own, so that one thing at a time can be unusual or wrong.
def tlv(tag: int, *parts: bytes) -> bytes:
    content = b"".join(parts)
    n = len(content)
    head = bytes([n]) if n < 128 else bytes([0x81, n]) if n < 256 else bytes([0x82, n >> 8, n & 255])
    return bytes([tag]) + head + content


def oid(dotted: str) -> bytes:
    first, second, *rest = map(int, dotted.split("."))
    out = b""
    for arc in [first * 40 + second, *rest]:
        octets = [arc & 127]
        while arc := arc >> 7:
            octets.insert(0, arc & 127 | 128)
        out += bytes(octets)
    return tlv(6, out)


SEQ, OCT, INT, NULL, TRUE, FALSE = 0x30, 0x04, 0x02, b"\x05\x00", b"\x01\x01\xff", b"\x01\x01\x00"
SHA1, SHA256, SHA384 = "1.3.14.3.2.26", "2.16.840.1.101.3.4.2.1", "2.16.840.1.101.3.4.2.2"
NONCE, LOCATOR, FOREIGN = "1.3.6.1.5.5.7.48.1.2", "1.3.6.1.5.5.7.48.1.7", "1.3.6.1.4.1.32473.1"
name_hash, key_hash, serial = bytes(range(20)), bytes(range(20, 40)), bytes.fromhex("5a080f161d242b323940474e555c6304")


def cert_id(algorithm=SHA1, parameters=NULL, number=serial, name=name_hash, key=key_hash, more=b"", integer=INT):
    return tlv(SEQ, tlv(SEQ, oid(algorithm), parameters), tlv(OCT, name), tlv(OCT, key), tlv(integer, number), more)


def one(identifier=None, single=b""):
    return tlv(SEQ, cert_id() if identifier is None else identifier, single)


def extension(kind, value, critical=b""):
    return tlv(SEQ, oid(kind), critical, tlv(OCT, value))


def request(*entries, version=b"", requestor=b"", extensions=None, after=b"", signature=b"", listed=SEQ):
    tail = b"" if extensions is None else tlv(0xA2, tlv(SEQ, *extensions))
    tbs = tlv(SEQ, version, requestor, tlv(listed, *(entries or [one()])), tail, after)
    return tlv(SEQ, tbs, signature)


def nonce(length, critical=b""):
    return request(extensions=[extension(NONCE, tlv(OCT, bytes(length)), critical)])


def long(octets):
    """A request of so many octets, most of them the value of an unknown extension."""
    rest = octets - len(request(extensions=[extension(FOREIGN, bytes(1000))])) + 1000
    return request(extensions=[extension(FOREIGN, bytes(rest))])


directory_name = tlv(0xA4, tlv(SEQ, tlv(0x31, tlv(SEQ, oid("2.5.4.3"), tlv(0x0C, b"client")))))
rubbish = tlv(0xA0, tlv(SEQ, tlv(SEQ, oid("1.2.840.10045.4.3.2")), tlv(3, b"\x00" + bytes(8))))
assert (len(long(2048)), len(long(2049))) == (2048, 2049)
unusual = [
    *[(f"a nonce of {n} octets", nonce(n), {"nonce": tlv(OCT, bytes(n)).hex()}, "RFC 9654 §2.1") for n in (1, 15, 16, 32, 33, 128)],
    ("a critical nonce", nonce(16, TRUE), {"nonce": tlv(OCT, bytes(16)).hex()}, "RFC 6960 §4.1.2"),
    ("ten certificates", request(*[one(cert_id(number=bytes([n + 1]))) for n in range(10)]), {"serials": [f"{n + 1:02x}" for n in range(10)]}, "XO-2"),
    ("2,048 octets", long(2048), {}, "XO-2"),
    ("a requestorName", request(requestor=tlv(0xA1, directory_name)), {}, "RFC 9919 §3.1.2"),
    ("a signature that is none", request(signature=rubbish), {}, "RFC 9919 §3.1.2"),
    ("an unknown extension of the request", request(extensions=[extension(FOREIGN, NULL)]), {}, "RFC 6960 §4.1.2"),
    ("an unknown extension of the request whose value is not DER", request(extensions=[extension(FOREIGN, b"\xff")]), {}, "RFC 6960 §4.1.2"),
    ("an unknown extension of one certificate", request(one(single=tlv(0xA0, tlv(SEQ, extension(LOCATOR, NULL))))), {}, "RFC 6960 §4.1.2"),
    ("SHA-1 without parameters", request(one(cert_id(parameters=b""))), {}, "RFC 4055 §2.1"),
    ("SHA-256 with NULL", request(one(cert_id(SHA256, name=bytes(32), key=bytes(32)))), {"hashAlgorithm": "sha256"}, "RFC 4055 §2.1"),
    ("SHA-256 without parameters", request(one(cert_id(SHA256, b"", name=bytes(32), key=bytes(32)))), {"hashAlgorithm": "sha256"}, "RFC 4055 §2.1"),
    ("SHA-384", request(one(cert_id(SHA384, b"", name=bytes(48), key=bytes(48)))), {"hashAlgorithm": None}, "RFC 6960 §4.3"),
    ("SHA-1 with other parameters", request(one(cert_id(parameters=tlv(INT, b"\x01")))), {"hashAlgorithm": None}, "RFC 4055 §2.1"),
    ("a serial number of 20 octets", request(one(cert_id(number=b"\x7f" + bytes(19)))), {"serials": ["7f" + "00" * 19]}, "RFC 5280 §4.1.2.2"),
    ("a serial number with the first bit set", request(one(cert_id(number=b"\x00\xff"))), {"serials": ["ff"]}, "RFC 5280 §4.1.2.2"),
    ("a serial number of 21 octets", request(one(cert_id(number=b"\x7f" + bytes(20)))), {"serials": [None]}, "RFC 5280 §4.1.2.2"),
    ("the serial number 0", request(one(cert_id(number=b"\x00"))), {"serials": [None]}, "RFC 5280 §4.1.2.2"),
    ("a negative serial number", request(one(cert_id(number=b"\xff"))), {"serials": [None]}, "RFC 5280 §4.1.2.2"),
]

plain = request()
malformed = [
    ("nothing", b"", "a value is missing"),
    ("one octet", b"\x30", "has no length"),
    ("a NULL", NULL, "not 0x30"),
    ("an empty SEQUENCE", tlv(SEQ), "ends before tbsRequest"),
    ("an octet more", plain + b"\x00", "followed by 1 more"),
    ("an octet less", plain[:-1], "longer than what holds it"),
    ("an indefinite length", b"\x30\x80" + plain[2:] + b"\x00\x00", "indefinite length"),
    ("a length in more octets than it needs", b"\x30\x81" + plain[1:], "not encoded in the fewest octets"),
    ("v1 encoded", request(version=tlv(0xA0, tlv(INT, b"\x00"))), "version is encoded"),
    ("version 2", request(version=tlv(0xA0, tlv(INT, b"\x01"))), "version is encoded"),
    ("no certificate", tlv(SEQ, tlv(SEQ, tlv(SEQ))), "asks for 0 certificates"),
    ("eleven certificates", request(*[one(cert_id(number=bytes([n + 1]))) for n in range(11)]), "asks for 11 certificates"),
    ("a SET OF certificates", request(listed=0x31), "requestList has identifier octet 0x31"),
    ("a field behind the extensions", request(after=tlv(0xA3, NULL)), "unexpected field"),
    ("a field behind the signature", tlv(SEQ, plain[2:], rubbish, NULL), "unexpected field"),
    ("a critical extension of the request that is unknown", request(extensions=[extension(FOREIGN, NULL, TRUE)]), "1.3.6.1.4.1.32473.1 is not understood"),
    ("a critical extension of one certificate", request(one(single=tlv(0xA0, tlv(SEQ, extension(LOCATOR, NULL, TRUE))))), "1.3.6.1.5.5.7.48.1.7 is not understood"),
    ("a critical nonce of one certificate", request(one(single=tlv(0xA0, tlv(SEQ, extension(NONCE, tlv(OCT, bytes(16)), TRUE))))), "ocspNonce is not understood"),
    ("critical FALSE encoded", request(extensions=[extension(NONCE, tlv(OCT, bytes(16)), FALSE)]), "default value FALSE"),
    ("no extension in the list", request(extensions=[]), "requestExtensions is empty"),
    ("two lists of extensions", tlv(SEQ, tlv(SEQ, tlv(SEQ, one()), tlv(0xA2, tlv(SEQ, extension(FOREIGN, NULL)), tlv(SEQ, extension(LOCATOR, NULL))))), "more than one value"),
    ("two nonces", request(extensions=[extension(NONCE, tlv(OCT, bytes(16)))] * 2), "ocspNonce occurs twice"),
    ("a nonce of 0 octets", nonce(0), "the nonce has 0 octets"),
    ("a nonce of 129 octets", nonce(129), "the nonce has 129 octets"),
    ("a nonce that is not wrapped", request(extensions=[extension(NONCE, b"\x11" * 16)]), "is longer than what holds it"),
    ("a nonce that is an INTEGER", request(extensions=[extension(NONCE, tlv(INT, b"\x01"))]), "the nonce has identifier octet 0x02"),
    ("a nonce with an octet behind it", request(extensions=[extension(NONCE, tlv(OCT, bytes(16)) + b"\x00")]), "the nonce is followed by 1 more"),
    ("an empty extnValue of the nonce", request(extensions=[extension(NONCE, b"")]), "a value is missing"),
    ("a serial number with a spare octet", request(one(cert_id(number=b"\x00\x05"))), "is not minimal"),
    ("an empty serial number", request(one(cert_id(number=b""))), "without content"),
    ("a serial number that is an OCTET STRING", request(one(cert_id(integer=OCT))), "serialNumber has identifier octet 0x04"),
    ("a CertID that ends early", request(one(tlv(SEQ, tlv(SEQ, oid(SHA1), NULL), tlv(OCT, name_hash), tlv(OCT, key_hash)))), "ends before serialNumber"),
    ("a CertID with a fifth field", request(one(cert_id(more=NULL))), "unexpected field"),
    ("a hashAlgorithm with a third field", request(one(cert_id(parameters=NULL + NULL))), "hashAlgorithm has more"),
    ("a hashAlgorithm without an OBJECT IDENTIFIER", request(one(tlv(SEQ, tlv(SEQ), tlv(OCT, name_hash), tlv(OCT, key_hash), tlv(INT, serial)))), "hashAlgorithm is missing"),
    ("a constructed OCTET STRING", request(one(tlv(SEQ, tlv(SEQ, oid(SHA1), NULL), tlv(0x24, tlv(OCT, name_hash)), tlv(OCT, key_hash), tlv(INT, serial)))), "constructed string"),
    ("a certificate that is a SET", request(tlv(0x31, cert_id())), "Request has identifier octet 0x31"),
    ("2,049 octets", long(2049), "at most 2048"),
    ("values nested 20 deep", request(requestor=tlv(0xA1, (nest := lambda n: tlv(SEQ, nest(n - 1)) if n else NULL)(20))), "nested deeper"),
    ("an OCSP response", bytes.fromhex("30030a0101"), "has identifier octet 0x0a"),
]


def write(name: str, value) -> None:
    (here / name).write_text(json.dumps(value, indent=1) + "\n")


write("requests.json", requests)
write("unusual.json", [{"name": n, "der": base64.b64encode(d).decode(), "rule": r, **e} for n, d, e, r in unusual])
write("malformed.json", [{"name": n, "der": base64.b64encode(d).decode(), "detail": t} for n, d, t in malformed])
