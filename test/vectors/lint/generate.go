// Command generate writes certificates that are wrong in one thing each, beside good ones of the same making.
//
// A good certificate comes from crypto/x509; it is taken apart with encoding/asn1, one part is replaced, and the whole is signed again, so
// that nothing but that part is wrong. Run: go run generate.go (in this directory; Go 1.21 or later, standard library only).
package main

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"net/url"
	"os"
	"strings"
	"time"
)

// part is the TBSCertificate as a list of encodings (RFC 5280 §4.1).
type part struct {
	version, serial, algorithm, issuer, validity, subject, spki, uniqueID []byte
	extensions                                                            []extension
}

type extension struct {
	oid      asn1.ObjectIdentifier
	critical []byte // the encoding of the BOOLEAN, or nothing
	value    []byte
}

type base struct {
	parts   part
	signer  crypto.Signer
	profile string
	issuer  string
	slug    string // of the issuer, in its URLs
}

type vector struct {
	rule    string // our rule, and zlint's where zlint is true
	zlint   bool
	base    string
	mutate  func(*part)
	file    string // when one rule has several
	context bool   // the rule needs profile, issuer and names to be seen
}

type entry struct {
	Rule    string            `json:"rule"`
	Zlint   bool              `json:"zlint"`
	Base    string            `json:"base"`
	Profile string            `json:"profile"`
	Issuer  string            `json:"issuer"`
	Slug    string            `json:"slug"`
	Context bool              `json:"context"`
	Names   []json.RawMessage `json:"names"`
}

var (
	oidSKI  = asn1.ObjectIdentifier{2, 5, 29, 14}
	oidKU   = asn1.ObjectIdentifier{2, 5, 29, 15}
	oidSAN  = asn1.ObjectIdentifier{2, 5, 29, 17}
	oidBC   = asn1.ObjectIdentifier{2, 5, 29, 19}
	oidCDP  = asn1.ObjectIdentifier{2, 5, 29, 31}
	oidAKI  = asn1.ObjectIdentifier{2, 5, 29, 35}
	oidEKU  = asn1.ObjectIdentifier{2, 5, 29, 37}
	oidAIA  = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 1, 1}
	oidNoCk = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 48, 1, 5}
	oidC    = []int{2, 5, 4, 6}
	oidO    = []int{2, 5, 4, 10}
	oidCN   = []int{2, 5, 4, 3}

	// The order of RFC 5280 §4.2.
	order = []asn1.ObjectIdentifier{oidAKI, oidSKI, oidKU, oidSAN, oidBC, oidEKU, oidCDP, oidAIA, oidNoCk}

	isTrue, isFalse = []byte{1, 1, 0xff}, []byte{1, 1, 0}
	names           = []json.RawMessage{json.RawMessage(`{"type":"dns","value":"a.example.org"}`)}
)

func main() {
	bases := makeBases()
	expected := map[string]entry{}
	for _, v := range vectors() {
		b, ok := bases[v.base]
		if !ok {
			panic("no base " + v.base)
		}
		parts := b.parts
		parts.extensions = append([]extension{}, b.parts.extensions...)
		v.mutate(&parts)
		file := v.file
		if file == "" {
			file = v.rule
		}
		write(file+".pem", sign(parts, b.signer))
		if _, twice := expected[file+".pem"]; twice {
			panic("twice " + file)
		}
		expected[file+".pem"] = entry{v.rule, v.zlint, "good-" + v.base + ".pem", b.profile, b.issuer, b.slug, v.context, namesOf(b)}
	}
	writeJSON("expected.json", expected)
	good := map[string]entry{}
	for name, b := range bases {
		write("good-"+name+".pem", sign(b.parts, b.signer))
		good["good-"+name+".pem"] = entry{"", false, "good-" + name + ".pem", b.profile, b.issuer, b.slug, true, namesOf(b)}
	}
	writeJSON("good.json", good)
}

func namesOf(b base) []json.RawMessage {
	switch b.profile {
	case "server":
		return names
	case "client":
		return []json.RawMessage{json.RawMessage(`{"type":"uri","value":"spiffe://example.org/a"}`)}
	}
	return []json.RawMessage{}
}

func vectors() []vector {
	empty := sequence()
	return []vector{
		// Structure
		{rule: "e_cert_extensions_version_not_3", zlint: true, base: "server", mutate: func(p *part) { p.version = tlv(0xa0, []byte{2, 1, 1}) }},
		{rule: "e_cert_contains_unique_identifier", zlint: true, base: "server", mutate: func(p *part) { p.uniqueID = tlv(0x81, []byte{0, 1, 2, 3}) }},
		{rule: "e_ext_duplicate_extension", zlint: true, base: "server", mutate: func(p *part) { p.extensions = append(p.extensions, *p.find(oidAIA)) }},
		{rule: "e_cert_ext_invalid_der", zlint: true, base: "server", mutate: func(p *part) { p.find(oidAIA).critical = isFalse }},
		{rule: "e_ext_cannot_be_empty_sequence", zlint: true, base: "server", mutate: value(oidEKU, empty)},
		{rule: "e_ext_cannot_be_empty_sequence", file: "e_ext_cannot_be_empty_sequence-cdp", zlint: true, base: "server", mutate: value(oidCDP, empty)},
		{rule: "e_ext_cannot_be_empty_sequence", file: "e_ext_cannot_be_empty_sequence-aia", zlint: true, base: "server", mutate: value(oidAIA, empty)},
		{rule: "chancery_tbs_malformed", file: "chancery_tbs_malformed-zulu", base: "server", mutate: func(p *part) {
			p.validity = sequence(tlv(0x17, []byte("260110120000+0100")), tlv(0x17, []byte("260410115959Z")))
		}},
		{rule: "chancery_tbs_malformed", file: "chancery_tbs_malformed-fraction", base: "server", mutate: func(p *part) {
			p.validity = sequence(tlv(0x17, []byte("260110120000Z")), tlv(0x18, []byte("20500410115959.5Z")))
		}},
		{rule: "chancery_tbs_malformed", file: "chancery_tbs_malformed-boolean", base: "server", mutate: func(p *part) { p.find(oidKU).critical = []byte{1, 1, 1} }},
		{rule: "chancery_tbs_malformed", file: "chancery_tbs_malformed-trailing", base: "server", mutate: func(p *part) {
			e := p.find(oidAKI)
			e.value = concat(e.value, []byte{5, 0})
		}},

		// Serial number and validity
		{rule: "e_serial_number_not_positive", zlint: true, base: "server", mutate: func(p *part) { p.serial = tlv(2, fill(0xca, 16)) }},
		{rule: "e_serial_number_not_positive", file: "e_serial_number_not_positive-zero", zlint: true, base: "server", mutate: func(p *part) { p.serial = []byte{2, 1, 0} }},
		{rule: "e_serial_number_longer_than_20_octets", zlint: true, base: "server", mutate: func(p *part) { p.serial = tlv(2, fill(0x40, 21)) }},
		{rule: "chancery_serial_number_not_16_octets", base: "server", mutate: func(p *part) { p.serial = tlv(2, fill(0x40, 8)) }},
		{rule: "chancery_serial_number_not_16_octets", file: "chancery_serial_number_not_16_octets-first", base: "server", mutate: func(p *part) { p.serial = tlv(2, fill(0x3f, 16)) }},
		{rule: "e_validity_time_not_positive", zlint: true, base: "server", mutate: func(p *part) {
			p.validity = sequence(tlv(0x17, []byte("260410115959Z")), tlv(0x17, []byte("260110120000Z")))
		}},
		{rule: "e_wrong_time_format_pre2050", zlint: true, base: "server", mutate: func(p *part) {
			p.validity = sequence(tlv(0x17, []byte("260110120000Z")), tlv(0x18, []byte("20260410115959Z")))
		}},
		{rule: "chancery_validity_has_extra_second", context: true, base: "server", mutate: func(p *part) {
			p.validity = sequence(tlv(0x17, []byte("260110120000Z")), tlv(0x17, []byte("260410120000Z")))
		}},
		{rule: "chancery_validity_below_minimum", context: true, base: "server", mutate: func(p *part) {
			p.validity = sequence(tlv(0x17, []byte("260110120000Z")), tlv(0x17, []byte("260110125958Z")))
		}},
		{rule: "chancery_not_after_exceeds_issuer", context: true, base: "server", mutate: func(p *part) {
			p.validity = sequence(tlv(0x17, []byte("301130120000Z")), tlv(0x17, []byte("310101000000Z")))
		}},

		// Algorithms and keys
		{rule: "e_tbs_signature_rsa_encryption_parameter_not_null", zlint: true, base: "server-by-rsa", mutate: func(p *part) {
			p.algorithm = sequence(p.algorithm[2 : len(p.algorithm)-2])
		}},
		{rule: "e_spki_rsa_encryption_parameter_not_null", zlint: true, base: "server-rsa", mutate: func(p *part) {
			var spki struct {
				Algorithm pkix.AlgorithmIdentifier
				Key       asn1.BitString
			}
			parse(p.spki, &spki)
			p.spki = sequence(sequence(marshal(spki.Algorithm.Algorithm)), marshal(spki.Key))
		}},
		{rule: "chancery_signature_algorithm_not_issuer", context: true, base: "server", mutate: func(p *part) {
			p.algorithm = sequence(marshal(asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 3}))
		}},
		{rule: "chancery_public_key_not_allowed", context: true, base: "server", mutate: func(p *part) {
			p.spki = spkiOf(generateCurve(elliptic.P521()))
		}},
		{rule: "chancery_public_key_not_request", context: true, base: "server", mutate: func(p *part) { p.spki = spkiOf(generateCurve(elliptic.P256())) }},
		{rule: "chancery_public_key_not_allowed", file: "chancery_public_key_not_allowed-1024", context: true, base: "server-rsa", mutate: func(p *part) {
			// The modulus of an RSA-1024 key that nobody holds: generators refuse to make one.
			p.spki = marshal(struct {
				Algorithm pkix.AlgorithmIdentifier
				Key       asn1.BitString
			}{pkix.AlgorithmIdentifier{Algorithm: asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 1}, Parameters: asn1.NullRawValue}, bits(marshal(struct {
				N *big.Int
				E int
			}{new(big.Int).SetBytes(fill(0xc1, 128)), 65537}))})
		}},

		// Names
		{rule: "e_issuer_field_empty", zlint: true, base: "server", mutate: func(p *part) { p.issuer = empty }},
		{rule: "chancery_issuer_bytes_differ_from_ca_subject", context: true, base: "server", mutate: func(p *part) {
			p.issuer = name(printable(oidC, "CH"), printable(oidO, "Example Trust"), utf8(oidCN, "Example Issuing 1"))
		}},
		{rule: "chancery_root_not_self_issued", context: true, base: "root", mutate: func(p *part) {
			p.subject = subject("Example Root 2")
		}},
		{rule: "e_ca_subject_field_empty", zlint: true, base: "subordinate", mutate: func(p *part) { p.subject = empty }},
		{rule: "e_subject_dn_country_not_printable_string", zlint: true, base: "subordinate", mutate: func(p *part) {
			p.subject = name(utf8(oidC, "CH"), utf8(oidO, "Example Trust"), utf8(oidCN, "Example Issuing 2"))
		}},
		{rule: "e_subj_country_not_uppercase", zlint: true, base: "subordinate", mutate: func(p *part) {
			p.subject = name(printable(oidC, "ch"), utf8(oidO, "Example Trust"), utf8(oidCN, "Example Issuing 2"))
		}},
		{rule: "e_subject_common_name_max_length", zlint: true, base: "subordinate", mutate: func(p *part) {
			p.subject = name(printable(oidC, "CH"), utf8(oidO, "Example Trust"), utf8(oidCN, strings.Repeat("a", 65)))
		}},
		{rule: "e_subject_organization_name_max_length", zlint: true, base: "subordinate", mutate: func(p *part) {
			p.subject = name(printable(oidC, "CH"), utf8(oidO, strings.Repeat("a", 65)), utf8(oidCN, "Example Issuing 2"))
		}},
		{rule: "n_multiple_subject_rdn", zlint: true, base: "subordinate", mutate: func(p *part) {
			p.subject = sequence(tlv(0x31, printable(oidC, "CH"), utf8(oidO, "Example Trust"), utf8(oidCN, "Example Issuing 2")))
		}},
		{rule: "e_duplicate_subject_attribs", zlint: true, base: "subordinate", mutate: func(p *part) {
			p.subject = name(printable(oidC, "CH"), utf8(oidO, "Example Trust"), utf8(oidCN, "Example Issuing 2"), utf8(oidCN, "Example Issuing 3"))
		}},
		{rule: "e_invalid_subject_rdn_order", zlint: true, base: "server", mutate: func(p *part) {
			p.find(oidSAN).critical = nil
			p.subject = name(utf8(oidCN, "a.example.org"), utf8(oidO, "Example Trust"), printable(oidC, "CH"))
		}},
		{rule: "w_subject_dn_leading_whitespace", zlint: true, base: "subordinate", mutate: func(p *part) {
			p.subject = name(printable(oidC, "CH"), utf8(oidO, " Example Trust"), utf8(oidCN, "Example Issuing 2"))
		}},
		{rule: "w_subject_dn_trailing_whitespace", zlint: true, base: "subordinate", mutate: func(p *part) {
			p.subject = name(printable(oidC, "CH"), utf8(oidO, "Example Trust "), utf8(oidCN, "Example Issuing 2"))
		}},
		{rule: "e_subject_dn_not_printable_characters", zlint: true, base: "subordinate", mutate: func(p *part) {
			p.subject = name(printable(oidC, "CH"), utf8(oidO, "Example\x0bTrust"), utf8(oidCN, "Example Issuing 2"))
		}},
		{rule: "chancery_subject_not_profile", context: true, base: "server", mutate: func(p *part) {
			p.subject = name(utf8(oidCN, "a.example.org"))
			p.find(oidSAN).critical = nil
		}},

		// subjectAltName
		{rule: "e_subject_empty_without_san", zlint: true, base: "server", mutate: remove(oidSAN)},
		{rule: "e_ext_san_not_critical_without_subject", zlint: true, base: "server", mutate: func(p *part) { p.find(oidSAN).critical = nil }},
		{rule: "w_ext_san_critical_with_subject_dn", zlint: true, base: "server", mutate: func(p *part) { p.subject = name(utf8(oidCN, "a.example.org")) }},
		{rule: "e_ext_san_no_entries", zlint: true, base: "server", mutate: value(oidSAN, empty)},
		{rule: "e_ext_san_empty_name", zlint: true, base: "server", mutate: value(oidSAN, dns(""))},
		{rule: "e_ext_san_dns_not_ia5_string", zlint: true, base: "server", mutate: value(oidSAN, dns("b\xfccher.example.org"))},
		{rule: "e_san_dns_name_includes_null_char", zlint: true, base: "server", mutate: value(oidSAN, dns("a.example.org\x00.example.com"))},
		{rule: "e_ext_san_dns_name_too_long", zlint: true, base: "server", mutate: value(oidSAN, dns(strings.Repeat("a123456789.", 22)+"example.org"+"a"))},
		{rule: "e_rfc_dnsname_label_too_long", zlint: true, base: "server", mutate: value(oidSAN, dns(strings.Repeat("a", 64)+".example.org"))},
		{rule: "e_rfc_dnsname_empty_label", zlint: true, base: "server", mutate: value(oidSAN, dns("a..example.org"))},
		{rule: "e_san_dns_name_starts_with_period", zlint: true, base: "server", mutate: value(oidSAN, dns(".a.example.org"))},
		{rule: "e_rfc_dnsname_hyphen_in_sld", zlint: true, base: "server", mutate: value(oidSAN, dns("a.-example.org"))},
		{rule: "e_rfc_dnsname_underscore_in_sld", zlint: true, base: "server", mutate: value(oidSAN, dns("a.exam_ple.org"))},
		{rule: "e_dnsname_bad_character_in_label", zlint: true, base: "server", mutate: value(oidSAN, dns("a b.example.org"))},
		{rule: "e_ext_san_space_dns_name", zlint: true, base: "server", mutate: value(oidSAN, dns(" "))},
		{rule: "e_san_bare_wildcard", zlint: true, base: "server", mutate: value(oidSAN, dns("*"))},
		{rule: "e_san_wildcard_not_first", zlint: true, base: "server", mutate: value(oidSAN, dns("www.*.example.org"))},
		{rule: "chancery_dns_name_not_canonical", base: "server", mutate: value(oidSAN, dns("A.example.org"))},
		{rule: "n_san_dns_name_duplicate", zlint: true, base: "server", mutate: value(oidSAN, dns("a.example.org", "a.example.org"))},
		{rule: "e_ext_san_uri_relative", zlint: true, base: "client", mutate: value(oidSAN, uri("/workload/a"))},
		{rule: "e_ext_san_uri_relative", file: "e_ext_san_uri_relative-percent", zlint: true, base: "client", mutate: value(oidSAN, uri("spiffe://example.org/%zz"))},
		{rule: "e_ext_san_uri_format_invalid", zlint: true, base: "client", mutate: value(oidSAN, uri("spiffe:"))},
		{rule: "e_ext_san_uri_format_invalid", file: "e_ext_san_uri_format_invalid-query", zlint: true, base: "client", mutate: value(oidSAN, uri("spiffe:?a"))},
		{rule: "e_ext_san_uri_format_invalid", file: "e_ext_san_uri_format_invalid-percent", zlint: true, base: "client", mutate: value(oidSAN, uri("spiffe://example.org/%2"))},
		{rule: "e_ext_san_uri_host_not_fqdn_or_ip", zlint: true, base: "client", mutate: value(oidSAN, uri("spiffe:///a"))},
		{rule: "e_ext_san_uri_host_not_fqdn_or_ip", file: "e_ext_san_uri_host_not_fqdn_or_ip-label", zlint: true, base: "client", mutate: value(oidSAN, uri("spiffe://prod/a"))},
		{rule: "e_ext_san_uri_host_not_fqdn_or_ip", file: "e_ext_san_uri_host_not_fqdn_or_ip-address", zlint: true, base: "client", mutate: value(oidSAN, uri("http://[::zz]/"))},
		{rule: "e_ext_san_uri_host_not_fqdn_or_ip", file: "e_ext_san_uri_host_not_fqdn_or_ip-ports", zlint: true, base: "client", mutate: value(oidSAN, uri("http://a.example.org:1:2/"))},
		{rule: "e_ext_san_uri_host_not_fqdn_or_ip", file: "e_ext_san_uri_host_not_fqdn_or_ip-path", zlint: true, base: "client", mutate: value(oidSAN, uri("spiffe:/a"))},
		{rule: "e_ext_san_uri_not_ia5", zlint: true, base: "client", mutate: value(oidSAN, uri("spiffe://example.org/b\xc3\xbccher"))},
		{rule: "chancery_san_not_in_profile", context: true, base: "server", mutate: value(oidSAN, sequence(tlv(0x81, []byte("a@example.org"))))},
		{rule: "chancery_san_not_in_profile", file: "chancery_san_not_in_profile-uri", context: true, base: "server", mutate: value(oidSAN, sequence(tlv(0x86, []byte("spiffe://example.org/a"))))},
		{rule: "chancery_san_not_in_profile", file: "chancery_san_not_in_profile-ip", context: true, base: "server", mutate: value(oidSAN, sequence(tlv(0x87, []byte{192, 0, 2})))},
		{rule: "chancery_san_not_equal_request", context: true, base: "server", mutate: value(oidSAN, dns("a.example.org", "b.example.org"))},
		{rule: "chancery_san_not_equal_request", file: "chancery_san_not_equal_request-case", context: true, base: "server", mutate: value(oidSAN, dns("A.example.org"))},

		// Key identifiers
		{rule: "e_ext_authority_key_identifier_critical", zlint: true, base: "server", mutate: func(p *part) { p.find(oidAKI).critical = isTrue }},
		{rule: "e_ext_authority_key_identifier_no_key_identifier", zlint: true, base: "server", mutate: remove(oidAKI)},
		{rule: "e_ext_authority_key_identifier_no_key_identifier", file: "e_ext_authority_key_identifier_no_key_identifier-serial", zlint: true, base: "server",
			mutate: func(p *part) {
				p.find(oidAKI).value = sequence(tlv(0xa1, tlv(0xa4, p.issuer)), tlv(0x82, fill(0x41, 16)))
			}},
		{rule: "chancery_authority_key_identifier_not_issuer", context: true, base: "server", mutate: func(p *part) {
			p.find(oidAKI).value = sequence(tlv(0x80, fill(0x11, 20)))
		}},
		{rule: "chancery_authority_key_identifier_not_issuer", file: "chancery_authority_key_identifier_not_issuer-serial", context: true, base: "server",
			mutate: func(p *part) {
				e := p.find(oidAKI)
				e.value = sequence(e.value[2:], tlv(0xa1, tlv(0xa4, p.issuer)), tlv(0x82, fill(0x41, 16)))
			}},
		{rule: "e_ext_subject_key_identifier_critical", zlint: true, base: "subordinate", mutate: func(p *part) { p.find(oidSKI).critical = isTrue }},
		{rule: "e_ext_subject_key_identifier_missing_ca", zlint: true, base: "subordinate", mutate: remove(oidSKI)},
		{rule: "chancery_subject_key_identifier_not_of_key", base: "subordinate", mutate: value(oidSKI, tlv(4, fill(0x11, 20)))},

		// keyUsage and extendedKeyUsage
		{rule: "w_ext_key_usage_not_critical", zlint: true, base: "server", mutate: func(p *part) { p.find(oidKU).critical = nil }},
		{rule: "e_ext_key_usage_without_bits", zlint: true, base: "server", mutate: value(oidKU, []byte{3, 2, 7, 0})},
		{rule: "e_incorrect_ku_encoding", zlint: true, base: "server", mutate: value(oidKU, []byte{3, 2, 0, 0x80})},
		{rule: "e_superfluous_ku_encoding", zlint: true, base: "server", mutate: value(oidKU, []byte{3, 3, 7, 0x80, 0})},
		{rule: "e_key_usage_incorrect_length", zlint: true, base: "server", mutate: value(oidKU, []byte{3, 3, 6, 0x80, 0x40})},
		{rule: "e_ext_key_usage_cert_sign_without_ca", zlint: true, base: "server", mutate: value(oidKU, []byte{3, 2, 2, 0x84})},
		{rule: "e_ecdsa_allowed_ku", zlint: true, base: "server", mutate: value(oidKU, []byte{3, 2, 5, 0xa0})},
		{rule: "n_ecdsa_ee_invalid_ku", zlint: true, base: "server", mutate: value(oidKU, []byte{3, 2, 1, 0x82})},
		{rule: "e_rsa_allowed_ku_ee", zlint: true, base: "server-rsa", mutate: value(oidKU, []byte{3, 2, 3, 0x88})},
		{rule: "e_rsa_allowed_ku_ca", zlint: true, base: "subordinate-rsa", mutate: value(oidKU, []byte{3, 2, 1, 0x0e})},
		{rule: "e_rsa_allowed_ku_no_encipherment_ca", zlint: true, base: "subordinate-rsa", mutate: value(oidKU, []byte{3, 2, 1, 0x26})},
		{rule: "e_key_usage_and_extended_key_usage_inconsistent", zlint: true, base: "server", mutate: value(oidKU, []byte{3, 2, 6, 0x40})},
		{rule: "w_eku_critical_improperly", zlint: true, base: "server", mutate: func(p *part) {
			e := p.find(oidEKU)
			e.critical, e.value = isTrue, sequence(marshal(asn1.ObjectIdentifier{2, 5, 29, 37, 0}))
		}},
		{rule: "chancery_key_usage_not_profile", context: true, base: "server", mutate: value(oidKU, []byte{3, 2, 6, 0xc0})},
		{rule: "chancery_extended_key_usage_not_profile", context: true, base: "server", mutate: func(p *part) {
			p.find(oidEKU).value = sequence(marshal(asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 3, 1}), marshal(asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 3, 3}))
		}},

		// basicConstraints
		{rule: "e_basic_constraints_not_critical", zlint: true, base: "subordinate", mutate: func(p *part) { p.find(oidBC).critical = nil }},
		{rule: "e_basic_constr_invalid_der", zlint: true, base: "server", mutate: add(extension{oidBC, isTrue, sequence(isFalse)})},
		{rule: "e_path_len_constraint_improperly_included", zlint: true, base: "server", mutate: add(extension{oidBC, isTrue, sequence([]byte{2, 1, 0})})},
		{rule: "chancery_basic_constraints_not_profile", context: true, base: "subordinate", mutate: value(oidBC, sequence(isTrue, []byte{2, 1, 1}))},
		{rule: "chancery_basic_constraints_not_profile", file: "chancery_basic_constraints_not_profile-unlimited", context: true, base: "subordinate", mutate: value(oidBC, sequence(isTrue))},
		{rule: "chancery_basic_constraints_not_profile", file: "chancery_basic_constraints_not_profile-leaf", context: true, base: "server", mutate: add(extension{oidBC, isTrue, sequence(isTrue)})},

		// Where to ask
		{rule: "e_ext_aia_marked_critical", zlint: true, base: "server", mutate: func(p *part) { p.find(oidAIA).critical = isTrue }},
		{rule: "w_ext_aia_access_location_missing", zlint: true, base: "server", mutate: value(oidAIA, access("https://status.example.org/ocsp/issuing-1", "https://status.example.org/ca/issuing-1.cer"))},
		{rule: "w_ext_crl_distribution_marked_critical", zlint: true, base: "server", mutate: func(p *part) { p.find(oidCDP).critical = isTrue }},
		{rule: "e_distribution_point_incomplete", zlint: true, base: "server", mutate: value(oidCDP, sequence(sequence(tlv(0x81, []byte{6, 0x40}))))},
		{rule: "w_distribution_point_missing_ldap_or_uri", zlint: true, base: "server", mutate: value(oidCDP, point("https://status.example.org/crl/issuing-1.crl"))},
		{rule: "chancery_crl_distribution_point_not_issuer", context: true, base: "server", mutate: value(oidCDP, point("http://status.example.org/crl/issuing-2.crl"))},
		{rule: "chancery_authority_info_access_not_issuer", context: true, base: "server", mutate: value(oidAIA, access("http://status.example.org/ocsp/issuing-2", "http://status.example.org/ca/issuing-1.cer"))},

		// The profile's extensions, and no other
		{rule: "chancery_extension_not_in_profile", context: true, base: "server", mutate: add(extension{asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 1, 24}, nil, sequence([]byte{2, 1, 5})})},
		{rule: "chancery_extension_not_in_profile", file: "chancery_extension_not_in_profile-missing", context: true, base: "server", mutate: remove(oidCDP)},
		{rule: "chancery_extension_not_in_profile", file: "chancery_extension_not_in_profile-order", context: true, base: "server", mutate: func(p *part) {
			p.extensions[0], p.extensions[1] = p.extensions[1], p.extensions[0]
		}},
		{rule: "chancery_ocsp_nocheck_not_null", base: "responder", mutate: value(oidNoCk, empty)},
	}
}

// Bases

func makeBases() map[string]base {
	root, issuing, responder, leaf := generateCurve(elliptic.P256()), generateCurve(elliptic.P256()), generateCurve(elliptic.P256()), generateCurve(elliptic.P256())
	issuingRSA, leafRSA := generateRSA(), generateRSA()
	authority := func(cn string) *x509.Certificate {
		return &x509.Certificate{
			RawSubject: subject(cn), KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
			IsCA: true, BasicConstraintsValid: true, NotBefore: at("2026-01-01T00:00:00Z"), NotAfter: at("2030-12-30T23:59:59Z"), SerialNumber: serial(1),
		}
	}
	rootTemplate := authority("Example Root 1")
	rootTemplate.NotAfter = at("2035-12-29T23:59:59Z")
	rootTemplate.MaxPathLen = -1
	rootCertificate := create(rootTemplate, rootTemplate, root, root)
	rootTemplate.SubjectKeyId = rootCertificate.SubjectKeyId
	rootTemplate.AuthorityKeyId = rootCertificate.SubjectKeyId
	rootCertificate = create(rootTemplate, rootTemplate, root, root)

	subordinate := func(cn string, key crypto.Signer, number byte) *x509.Certificate {
		t := authority(cn)
		t.MaxPathLenZero, t.SerialNumber = true, serial(number)
		t.IssuingCertificateURL, t.CRLDistributionPoints = []string{"http://status.example.org/ca/root-1.cer"}, []string{"http://status.example.org/crl/root-1.crl"}
		return create(t, rootCertificate, key, root)
	}
	issuingCertificate := subordinate("Example Issuing 1", issuing, 2)
	rsaCertificate := subordinate("Example Issuing RSA", issuingRSA, 3)
	server := func(key, signer crypto.Signer, issuer *x509.Certificate, usage x509.KeyUsage, number byte) *x509.Certificate {
		return create(&x509.Certificate{
			SerialNumber: serial(number), NotBefore: at("2026-01-10T12:00:00Z"), NotAfter: at("2026-04-10T11:59:59Z"), KeyUsage: usage,
			ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, DNSNames: []string{"a.example.org"},
			OCSPServer: []string{"http://status.example.org/ocsp/issuing-1"}, IssuingCertificateURL: []string{"http://status.example.org/ca/issuing-1.cer"},
			CRLDistributionPoints: []string{"http://status.example.org/crl/issuing-1.crl"},
		}, issuer, key, signer)
	}
	workload, err := url.Parse("spiffe://example.org/a")
	check(err)
	client := create(&x509.Certificate{
		SerialNumber: serial(9), NotBefore: at("2026-01-10T12:00:00Z"), NotAfter: at("2026-04-10T11:59:59Z"), KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, URIs: []*url.URL{workload},
		OCSPServer: []string{"http://status.example.org/ocsp/issuing-1"}, IssuingCertificateURL: []string{"http://status.example.org/ca/issuing-1.cer"},
		CRLDistributionPoints: []string{"http://status.example.org/crl/issuing-1.crl"},
	}, issuingCertificate, leaf, issuing)
	responderID := keyID(responder)
	responderCertificate := create(&x509.Certificate{
		SerialNumber: serial(8), NotBefore: at("2026-01-10T12:00:00Z"), NotAfter: at("2026-02-09T11:59:59Z"), KeyUsage: x509.KeyUsageDigitalSignature,
		RawSubject: subject("Example Responder 1"), SubjectKeyId: responderID,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageOCSPSigning}, ExtraExtensions: []pkix.Extension{{Id: oidNoCk, Value: []byte{5, 0}}},
	}, issuingCertificate, responder, issuing)
	both := x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment
	return map[string]base{
		"root":            {split(rootCertificate), root, "root", "good-root.pem", "root-1"},
		"subordinate":     {split(issuingCertificate), root, "subordinate", "good-root.pem", "root-1"},
		"subordinate-rsa": {split(rsaCertificate), root, "subordinate", "good-root.pem", "root-1"},
		"responder":       {split(responderCertificate), issuing, "ocsp-responder", "good-subordinate.pem", "issuing-1"},
		"client":          {split(client), issuing, "client", "good-subordinate.pem", "issuing-1"},
		"server":          {split(server(leaf, issuing, issuingCertificate, x509.KeyUsageDigitalSignature, 4)), issuing, "server", "good-subordinate.pem", "issuing-1"},
		"server-rsa":      {split(server(leafRSA, issuing, issuingCertificate, both, 5)), issuing, "server", "good-subordinate.pem", "issuing-1"},
		"server-by-rsa":   {split(server(leaf, issuingRSA, rsaCertificate, x509.KeyUsageDigitalSignature, 6)), issuingRSA, "server", "good-subordinate-rsa.pem", "issuing-1"},
	}
}

func create(template, parent *x509.Certificate, key, signer crypto.Signer) *x509.Certificate {
	if template.IsCA && template.SubjectKeyId == nil {
		template.SubjectKeyId = keyID(key)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	check(err)
	certificate, err := x509.ParseCertificate(der)
	check(err)
	return certificate
}

func split(c *x509.Certificate) part {
	var tbs asn1.RawValue
	parse(c.RawTBSCertificate, &tbs)
	var fields []asn1.RawValue
	for rest := tbs.Bytes; len(rest) > 0; {
		var field asn1.RawValue
		var err error
		rest, err = asn1.Unmarshal(rest, &field)
		check(err)
		fields = append(fields, field)
	}
	p := part{version: fields[0].FullBytes, serial: fields[1].FullBytes, algorithm: fields[2].FullBytes, issuer: fields[3].FullBytes,
		validity: fields[4].FullBytes, subject: fields[5].FullBytes, spki: fields[6].FullBytes}
	for _, oid := range order {
		for _, e := range c.Extensions {
			if e.Id.Equal(oid) {
				p.extensions = append(p.extensions, extension{e.Id, boolean(e.Critical), e.Value})
			}
		}
	}
	if len(p.extensions) != len(c.Extensions) {
		panic("an extension has no place in the order")
	}
	return p
}

func sign(p part, signer crypto.Signer) []byte {
	var extensions []byte
	for _, e := range p.extensions {
		extensions = append(extensions, sequence(marshal(e.oid), e.critical, tlv(4, e.value))...)
	}
	tbs := sequence(p.version, p.serial, p.algorithm, p.issuer, p.validity, p.subject, p.spki, p.uniqueID, tlv(0xa3, sequence(extensions)))
	digest := sha256.Sum256(tbs)
	signature, err := signer.Sign(rand.Reader, digest[:], crypto.SHA256)
	check(err)
	return sequence(tbs, p.algorithm, tlv(3, []byte{0}, signature))
}

// Changes

func (p *part) find(oid asn1.ObjectIdentifier) *extension {
	for i := range p.extensions {
		if p.extensions[i].oid.Equal(oid) {
			return &p.extensions[i]
		}
	}
	panic("no extension " + oid.String())
}

func value(oid asn1.ObjectIdentifier, der []byte) func(*part) {
	return func(p *part) { p.find(oid).value = der }
}

func add(e extension) func(*part) {
	return func(p *part) { p.extensions = append(p.extensions, e) }
}

func remove(oid asn1.ObjectIdentifier) func(*part) {
	return func(p *part) {
		var kept []extension
		for _, e := range p.extensions {
			if !e.oid.Equal(oid) {
				kept = append(kept, e)
			}
		}
		p.extensions = kept
	}
}

// Encodings

func tlv(tag byte, parts ...[]byte) []byte {
	content := concat(parts...)
	header := []byte{tag, byte(len(content))}
	if len(content) > 0xff {
		header = []byte{tag, 0x82, byte(len(content) >> 8), byte(len(content))}
	} else if len(content) > 0x7f {
		header = []byte{tag, 0x81, byte(len(content))}
	}
	return concat(header, content)
}

func sequence(parts ...[]byte) []byte { return tlv(0x30, parts...) }

func concat(parts ...[]byte) []byte {
	var all []byte
	for _, p := range parts {
		all = append(all, p...)
	}
	return all
}

func fill(first byte, length int) []byte {
	all := make([]byte, length)
	for i := range all {
		all[i] = byte(i)*7 + 1
	}
	all[0] = first
	return all
}

func name(attributes ...[]byte) []byte {
	var rdns [][]byte
	for _, a := range attributes {
		rdns = append(rdns, tlv(0x31, a))
	}
	return sequence(rdns...)
}

func subject(cn string) []byte {
	return name(printable(oidC, "CH"), utf8(oidO, "Example Trust"), utf8(oidCN, cn))
}

func utf8(oid []int, text string) []byte {
	return sequence(marshal(asn1.ObjectIdentifier(oid)), tlv(0x0c, []byte(text)))
}

func printable(oid []int, text string) []byte {
	return sequence(marshal(asn1.ObjectIdentifier(oid)), tlv(0x13, []byte(text)))
}

func dns(names ...string) []byte {
	var all [][]byte
	for _, n := range names {
		all = append(all, tlv(0x82, []byte(n)))
	}
	return sequence(all...)
}

func uri(text string) []byte { return sequence(tlv(0x86, []byte(text))) }

func point(location string) []byte {
	return sequence(sequence(tlv(0xa0, tlv(0xa0, tlv(0x86, []byte(mustURL(location)))))))
}

func access(ocsp, caIssuers string) []byte {
	method := func(number int, location string) []byte {
		return sequence(marshal(asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 48, number}), tlv(0x86, []byte(mustURL(location))))
	}
	return sequence(method(1, ocsp), method(2, caIssuers))
}

func mustURL(location string) string {
	_, err := url.Parse(location)
	check(err)
	return location
}

func bits(der []byte) asn1.BitString { return asn1.BitString{Bytes: der, BitLength: len(der) * 8} }

func boolean(critical bool) []byte {
	if critical {
		return isTrue
	}
	return nil
}

func serial(number byte) *big.Int { return new(big.Int).SetBytes(append(fill(0x4a, 15), number)) }

func at(text string) time.Time {
	t, err := time.Parse(time.RFC3339, text)
	check(err)
	return t
}

func marshal(v any) []byte {
	der, err := asn1.Marshal(v)
	check(err)
	return der
}

func parse(der []byte, into any) {
	_, err := asn1.Unmarshal(der, into)
	check(err)
}

func generateCurve(c elliptic.Curve) crypto.Signer {
	key, err := ecdsa.GenerateKey(c, rand.Reader)
	check(err)
	return key
}

// SHA-1 of the BIT STRING's octets (RFC 5280 §4.2.1.2, method 1); crypto/x509 itself truncates a SHA-256.
func keyID(key crypto.Signer) []byte {
	var spki struct {
		Algorithm pkix.AlgorithmIdentifier
		Key       asn1.BitString
	}
	parse(spkiOf(key), &spki)
	digest := sha1.Sum(spki.Key.Bytes)
	return digest[:]
}

func generateRSA() crypto.Signer {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	check(err)
	return key
}

func spkiOf(key crypto.Signer) []byte {
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	check(err)
	return der
}

func write(file string, der []byte) {
	check(os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o644))
}

func writeJSON(file string, v any) {
	text, err := json.MarshalIndent(v, "", "  ")
	check(err)
	check(os.WriteFile(file, append(text, '\n'), 0o644))
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
