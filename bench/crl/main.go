// Command crl makes a CRL of the entries of an OpenSSL index with crypto/x509 and a key in memory, and writes it to a file.
//
// Parameters: the index, the file. Prints the seconds that crypto/x509 took, reading and writing left out.
package main

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"os"
	"strings"
	"time"
)

var reasons = map[string]int{"keyCompromise": 1, "affiliationChanged": 3, "superseded": 4, "cessationOfOperation": 5}

func main() {
	if err := run(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(index, file string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	entries, err := read(index)
	if err != nil {
		return err
	}
	issuer := &x509.Certificate{Subject: pkix.Name{CommonName: "issuing-1"}, SubjectKeyId: make([]byte, 20), KeyUsage: x509.KeyUsageCRLSign}
	begun := time.Now()
	template := &x509.RevocationList{Number: big.NewInt(1), ThisUpdate: begun, NextUpdate: begun.Add(24 * time.Hour), RevokedCertificateEntries: entries}
	der, err := x509.CreateRevocationList(rand.Reader, template, issuer, key)
	if err != nil {
		return err
	}
	fmt.Println(time.Since(begun).Seconds())
	return os.WriteFile(file, der, 0o644)
}

func read(index string) ([]x509.RevocationListEntry, error) {
	opened, err := os.Open(index)
	if err != nil {
		return nil, err
	}
	defer opened.Close()
	var entries []x509.RevocationListEntry
	lines := bufio.NewScanner(opened)
	for lines.Scan() {
		fields := strings.Split(lines.Text(), "\t")
		date, reason, _ := strings.Cut(fields[2], ",")
		revoked, err := time.Parse("060102150405Z", date)
		if err != nil {
			return nil, err
		}
		serial, valid := new(big.Int).SetString(fields[3], 16)
		if !valid {
			return nil, fmt.Errorf("%s is no serial number", fields[3])
		}
		entries = append(entries, x509.RevocationListEntry{SerialNumber: serial, RevocationTime: revoked, ReasonCode: reasons[reason]})
	}
	return entries, lines.Err()
}
