// Command acme takes an ACME library over what it can do against a server, one ability after the other.
//
//	acme LIBRARY
//
// LIBRARY is acmez, cert-manager, lego or x/crypto/acme. The environment says where: ACME_DIRECTORY (URL), ACME_TRANSPORT_ROOTS (PEM file),
// ACME_ADDRESS (where challenges are answered on ports 80 and 443), ACME_SUFFIX (of every name), ACME_DNS_HOOK (program), ACME_EAB_KID,
// ACME_EAB_KEY, ACME_ABILITIES (divided by commas); ACME_AWAY_HOOK where the server's token is to be taken away (program). One line of JSON on standard output tells of each ability; files lie in the working directory.
package main

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"
)

var walks = map[string]func(*walk){
	"acmez":         acmezWalk,
	"cert-manager":  certManagerWalk,
	"lego":          legoWalk,
	"x/crypto/acme": xCryptoWalk,
}

func main() {
	if len(os.Args) == 3 && os.Args[1] == finalizeCommand {
		finalizeAndDie(os.Args[2])
		return
	}
	if len(os.Args) != 2 || walks[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "usage: acme acmez|cert-manager|lego|x/crypto/acme")
		os.Exit(2)
	}
	walks[os.Args[1]](newWalk())
}

// walk is one library's way over the stage.
type walk struct {
	directory, transportRoots, address, suffix, dnsHook, awayHook string
	kid, macKey                                                   string
	abilities                                                     []string
}

func newWalk() *walk {
	return &walk{
		directory:      os.Getenv("ACME_DIRECTORY"),
		transportRoots: os.Getenv("ACME_TRANSPORT_ROOTS"),
		address:        os.Getenv("ACME_ADDRESS"),
		suffix:         os.Getenv("ACME_SUFFIX"),
		dnsHook:        os.Getenv("ACME_DNS_HOOK"),
		awayHook:       os.Getenv("ACME_AWAY_HOOK"),
		kid:            os.Getenv("ACME_EAB_KID"),
		macKey:         os.Getenv("ACME_EAB_KEY"),
		abilities:      strings.Split(os.Getenv("ACME_ABILITIES"), ","),
	}
}

// obtained is a certificate chain in a file, and the identifiers that it must stand for.
type obtained struct {
	file  string
	names []string
}

// can tries one ability, for a minute at most, and tells how it went.
func (w *walk) can(ability string, act func(context.Context) (*obtained, error)) {
	w.canAs(ability, ability, act)
}

// canAs is can for one of several checks of an ability.
func (w *walk) canAs(ability, check string, act func(context.Context) (*obtained, error)) {
	if !slices.Contains(w.abilities, ability) {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	outcome := map[string]any{"ability": ability, "check": check}
	if got, err := act(ctx); err != nil {
		outcome["complaint"] = err.Error()
	} else if got != nil {
		outcome["certificate"], outcome["names"] = got.file, got.names
	}
	line, _ := json.Marshal(outcome)
	fmt.Println(string(line))
}

func (w *walk) name(label string) string { return label + "." + w.suffix }

// save writes a chain, the certificate first, into a file of its own.
func save(label string, names []string, chain [][]byte) (*obtained, error) {
	var text []byte
	for _, der := range chain {
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
	}
	return &obtained{label + ".pem", names}, os.WriteFile(label+".pem", text, 0o600)
}

func newKey() crypto.Signer {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	return key
}

// leafOf parses the first certificate of a PEM file.
func leafOf(file string) (*x509.Certificate, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, fmt.Errorf("no PEM in %s", file)
	}
	return x509.ParseCertificate(block.Bytes)
}

// saveText writes a chain that is PEM already.
func saveText(label string, names []string, chain []byte) (*obtained, error) {
	return &obtained{label + ".pem", names}, os.WriteFile(label+".pem", chain, 0o600)
}
