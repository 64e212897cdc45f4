// Command generate writes CRLs that are wrong in one thing each, beside good ones of the same making.
//
// A CRL is a list of encodings (RFC 5280 §5.1); a bad one has one of them replaced. Each is signed by the authority of the good ones.
// Run: go run generate.go (in this directory; Go 1.21 or later, standard library only).
package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"os"
	"strings"
)

// list is a TBSCertList as its fields.
type list struct {
	version, signature, issuer, thisUpdate, nextUpdate []byte
	entries                                            [][]byte // nothing: revokedCertificates is absent
	present                                            bool     // revokedCertificates is there all the same
	extensions                                         [][]byte
	behind                                             []byte
}

type vector struct {
	rule    string // our rule, and zlint's where zlint is true
	zlint   bool
	shard   bool   // made from the good shard, not from the good full CRL
	file    string // when one rule has several
	context bool   // the rule needs the context to be seen
	mutate  func(*list)
}

type context struct {
	DistributionPoint string `json:"distributionPoint,omitempty"`
	PublishedNumber   string `json:"publishedNumber"`
	PublishedAt       string `json:"publishedThisUpdate"`
	ListsAuthorities  bool   `json:"listsAuthorities"`
}

type entry struct {
	Rule    string  `json:"rule"`
	Zlint   bool    `json:"zlint"`
	Base    string  `json:"base"`
	Context bool    `json:"context"`
	Meant   context `json:"meant"`
}

const shardURL = "http://status.example.org/crl/issuing-1/7.crl"

var (
	name          = tlv(0x30, attribute("550406", 0x13, "CH"), attribute("55040a", 0x0c, "Example Trust"), attribute("550403", 0x0c, "Issuing 1"))
	keyIdentifier = bytes.Repeat([]byte{7}, 20)
	ecdsaSHA256   = unhex("300a06082a8648ce3d040302")
	critical      = unhex("0101ff")
)

func tlv(tag byte, parts ...[]byte) []byte {
	content := bytes.Join(parts, nil)
	switch n := len(content); {
	case n < 0x80:
		return append([]byte{tag, byte(n)}, content...)
	case n < 0x100:
		return append([]byte{tag, 0x81, byte(n)}, content...)
	default:
		return append([]byte{tag, 0x82, byte(n >> 8), byte(n)}, content...)
	}
}

func unhex(text string) []byte {
	octets, err := hex.DecodeString(text)
	if err != nil {
		panic(err)
	}
	return octets
}

func attribute(oid string, tag byte, value string) []byte {
	return tlv(0x31, tlv(0x30, tlv(0x06, unhex(oid)), tlv(tag, []byte(value))))
}

func extension(oid string, value []byte, flag []byte) []byte {
	return tlv(0x30, tlv(0x06, unhex(oid)), flag, tlv(0x04, value))
}

func utcTime(text string) []byte { return tlv(0x17, []byte(text)) }

func revoked(serial string, date []byte, extensions ...[]byte) []byte {
	fields := [][]byte{tlv(0x02, unhex(serial)), date}
	if len(extensions) > 0 {
		fields = append(fields, tlv(0x30, extensions...))
	}
	return tlv(0x30, fields...)
}

func reason(code string) []byte { return extension("551d15", unhex("0a01"+code), nil) }

func authorityKey(content ...[]byte) []byte { return extension("551d23", tlv(0x30, content...), nil) }

func number(der string) []byte { return extension("551d14", unhex(der), nil) }

func fullName(uris ...string) []byte {
	var names [][]byte
	for _, uri := range uris {
		names = append(names, tlv(0x86, []byte(uri)))
	}
	return tlv(0xa0, tlv(0xa0, names...))
}

func point(flag []byte, content ...[]byte) []byte {
	return extension("551d1c", tlv(0x30, content...), flag)
}

var (
	before = utcTime("260228120000Z")
	users  = unhex("8101ff")
	ourKey = authorityKey(tlv(0x80, keyIdentifier))
	seven  = number("020107")
)

func full() *list {
	return &list{
		version: unhex("020101"), signature: ecdsaSHA256, issuer: name,
		thisUpdate: utcTime("260301120000Z"), nextUpdate: utcTime("260302120000Z"),
		entries: [][]byte{
			revoked("4000000000000000000000000000000a", before),
			revoked("4000000000000000000000000000000b", before, reason("01")),
			revoked("7f00000000000000000000000000000c", utcTime("260301120000Z"), reason("09")),
		},
		extensions: [][]byte{ourKey, seven},
	}
}

func shard() *list {
	made := full()
	made.extensions = append(made.extensions, point(critical, fullName(shardURL), users))
	return made
}

func extensions(all ...[]byte) func(*list) { return func(l *list) { l.extensions = all } }

func last(replaced []byte) func(*list) { return func(l *list) { l.entries[2] = replaced } }

const third = "7f00000000000000000000000000000c"

var vectors = []vector{
	{rule: "e_crl_has_next_update", zlint: true, mutate: func(l *list) { l.nextUpdate = nil }},
	{rule: "e_crl_next_update_invalid", zlint: true, mutate: func(l *list) { l.nextUpdate = utcTime("260311120001Z") }},
	{rule: "e_crl_no_duplicate_extensions", zlint: true, mutate: extensions(ourKey, seven, seven)},
	{rule: "e_crl_extensions_validity", zlint: true, mutate: extensions(ourKey, seven, extension("551d12", tlv(0x30, tlv(0x82, []byte("a.example"))), nil))},
	{rule: "e_crl_extensions_validity", zlint: true, file: "critical", mutate: extensions(ourKey, extension("551d14", unhex("020107"), critical))},
	{rule: "e_crl_extensions_validity", zlint: true, shard: true, file: "point", mutate: extensions(ourKey, seven, point(nil, fullName(shardURL), users))},
	{rule: "e_crl_has_authority_key_identifier", zlint: true, mutate: extensions(seven)},
	{rule: "e_crl_auth_key_id_only_contains_keyid", zlint: true, mutate: extensions(authorityKey(tlv(0x80, keyIdentifier), tlv(0xa1, tlv(0xa4, name)), unhex("820105")), seven)},
	{rule: "e_crl_missing_crl_number", zlint: true, mutate: extensions(ourKey)},
	{rule: "e_crl_number_out_of_range", zlint: true, mutate: extensions(ourKey, number("02150080"+strings.Repeat("00", 19)))},
	{rule: "e_crl_empty_revoked_certificates", zlint: true, mutate: func(l *list) { l.entries, l.present = nil, true }},
	{rule: "e_crl_empty_extn_sequence", zlint: true, mutate: last(tlv(0x30, tlv(0x02, unhex(third)), before, unhex("3000")))},
	{rule: "e_crl_unique_revoked_certificate", zlint: true, mutate: last(revoked("4000000000000000000000000000000b", before))},
	{rule: "e_cab_crl_has_valid_reason_code", zlint: true, mutate: last(revoked(third, before, reason("06")))},
	{rule: "e_cab_crl_has_valid_reason_code", zlint: true, file: "unspecified", mutate: last(revoked(third, before, reason("00")))},
	{rule: "e_cab_crl_reason_code_not_critical", zlint: true, mutate: last(revoked(third, before, extension("551d15", unhex("0a0101"), critical)))},
	{rule: "e_crl_revocation_time_after_this_update", zlint: true, mutate: last(revoked(third, utcTime("260301120001Z"), reason("01")))},
	{rule: "chancery_crl_malformed", mutate: func(l *list) { l.behind = unhex("0500") }},
	{rule: "chancery_crl_malformed", file: "date", mutate: last(tlv(0x30, tlv(0x02, unhex(third)), utcTime("2603011200Z")))},
	{rule: "chancery_crl_version_not_2", mutate: func(l *list) { l.version = nil }},
	{rule: "chancery_crl_signature_algorithm_not_issuer", mutate: func(l *list) { l.signature = unhex("300c06082a8648ce3d0403020500") }},
	{rule: "chancery_crl_signature_algorithm_not_issuer", file: "sha384", context: true, mutate: func(l *list) { l.signature = unhex("300a06082a8648ce3d040303") }},
	{rule: "chancery_crl_issuer_not_slot", mutate: func(l *list) { l.issuer = unhex("3000") }},
	{rule: "chancery_crl_issuer_not_slot", file: "string", context: true, mutate: func(l *list) {
		l.issuer = tlv(0x30, attribute("550406", 0x13, "CH"), attribute("55040a", 0x13, "Example Trust"), attribute("550403", 0x0c, "Issuing 1"))
	}},
	{rule: "chancery_crl_time_not_rfc5280", mutate: func(l *list) { l.nextUpdate = l.thisUpdate }},
	{rule: "chancery_crl_time_not_rfc5280", file: "generalized", mutate: func(l *list) { l.nextUpdate = tlv(0x18, []byte("20260302120000Z")) }},
	{rule: "chancery_crl_authority_key_not_slot", context: true, mutate: extensions(authorityKey(tlv(0x80, bytes.Repeat([]byte{8}, 20))), seven)},
	{rule: "chancery_crl_number_not_greater", context: true, mutate: extensions(ourKey, number("020106"))},
	{rule: "chancery_crl_this_update_not_later", context: true, mutate: func(*list) {}},
	{rule: "chancery_crl_idp_not_slot_uri", shard: true, context: true, mutate: extensions(ourKey, seven, point(critical, fullName("http://status.example.org/crl/issuing-1/8.crl"), users))},
	{rule: "chancery_crl_idp_not_slot_uri", shard: true, file: "absent", context: true, mutate: extensions(ourKey, seven)},
	{rule: "chancery_crl_idp_not_slot_uri", shard: true, file: "two", context: true, mutate: extensions(ourKey, seven, point(critical, fullName(shardURL, shardURL), users))},
	{rule: "chancery_crl_idp_not_slot_uri", file: "full", context: true, mutate: extensions(ourKey, seven, point(critical, fullName(shardURL), users))},
	{rule: "chancery_crl_idp_scope_flags", shard: true, mutate: extensions(ourKey, seven, point(critical, fullName(shardURL)))},
	{rule: "chancery_crl_idp_scope_flags", shard: true, file: "both", mutate: extensions(ourKey, seven, point(critical, fullName(shardURL), users, unhex("8201ff")))},
	{rule: "chancery_crl_idp_scope_flags", shard: true, file: "indirect", mutate: extensions(ourKey, seven, point(critical, fullName(shardURL), users, unhex("8401ff")))},
	{rule: "chancery_crl_reason_missing", file: "authorities", context: true, mutate: func(*list) {}},
	{rule: "chancery_crl_entries_not_ascending", mutate: last(revoked("3f000000000000000000000000000001", before))},
	{rule: "chancery_crl_entry_not_ours", mutate: last(revoked(third, before, extension("551d18", tlv(0x18, []byte("20260101000000Z")), nil)))},
	{rule: "chancery_crl_entry_not_ours", file: "serial", mutate: func(l *list) { l.entries = [][]byte{revoked("00", before)} }},
}

func meant(v vector) context {
	made := context{PublishedNumber: "6", PublishedAt: "2026-02-28T12:00:00Z", ListsAuthorities: v.file == "authorities"}
	if v.rule == "chancery_crl_this_update_not_later" {
		made.PublishedAt = "2026-03-01T12:00:00Z"
	}
	if v.shard {
		made.DistributionPoint = shardURL
	}
	return made
}

func write(key *ecdsa.PrivateKey, file string, l *list) {
	fields := [][]byte{l.version, l.signature, l.issuer, l.thisUpdate, l.nextUpdate}
	if len(l.entries) > 0 || l.present {
		fields = append(fields, tlv(0x30, l.entries...))
	}
	fields = append(fields, tlv(0xa0, tlv(0x30, l.extensions...)), l.behind)
	tbs := tlv(0x30, fields...)
	digest := sha256.Sum256(tbs)
	signature, err := ecdsa.SignASN1(rand.Reader, key, digest[:])
	if err != nil {
		panic(err)
	}
	der := tlv(0x30, tbs, l.signature, tlv(0x03, []byte{0}, signature))
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: der}), 0o644); err != nil {
		panic(err)
	}
}

func save(file string, value any) {
	text, err := json.MarshalIndent(value, "", "  ")
	if err != nil {
		panic(err)
	}
	if err := os.WriteFile(file, append(text, '\n'), 0o644); err != nil {
		panic(err)
	}
}

func main() {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	empty := full()
	empty.entries = nil
	write(key, "good-full.pem", full())
	write(key, "good-empty.pem", empty)
	write(key, "good-shard.pem", shard())
	save("good.json", map[string]entry{
		"good-full.pem":  {Meant: meant(vector{})},
		"good-empty.pem": {Meant: meant(vector{})},
		"good-shard.pem": {Meant: meant(vector{shard: true})},
	})
	expected := map[string]entry{}
	for _, v := range vectors {
		base, made := "good-full.pem", full()
		if v.shard {
			base, made = "good-shard.pem", shard()
		}
		v.mutate(made)
		file := v.rule + ".pem"
		if v.file != "" {
			file = v.rule + "-" + v.file + ".pem"
		}
		write(key, file, made)
		expected[file] = entry{Rule: v.rule, Zlint: v.zlint, Base: base, Context: v.context, Meant: meant(v)}
	}
	save("expected.json", expected)
}
