// Command conformance asks crypto/x509 what it makes of a list of certificates.
//
// One line of standard input a question: purpose, name or "-", root, certificate, intermediates or "-" (PEM files), divided by tabs.
// One line of standard output an answer: "accepted", or "refused" and the reason.
package main

import (
	"bufio"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"strings"
)

var purposes = map[string]x509.ExtKeyUsage{
	"serverAuth":  x509.ExtKeyUsageServerAuth,
	"clientAuth":  x509.ExtKeyUsageClientAuth,
	"ocspSigning": x509.ExtKeyUsageOCSPSigning,
	"any":         x509.ExtKeyUsageAny,
}

func main() {
	input := bufio.NewScanner(os.Stdin)
	for input.Scan() {
		if err := verify(strings.Split(input.Text(), "\t")); err != nil {
			fmt.Println("refused", strings.ReplaceAll(err.Error(), "\n", " "))
		} else {
			fmt.Println("accepted")
		}
	}
}

func verify(question []string) error {
	if len(question) != 5 {
		return errors.New("a question has five fields")
	}
	purpose, known := purposes[question[0]]
	if !known {
		return fmt.Errorf("unknown purpose %q", question[0])
	}
	leaf, err := certificates(question[3])
	if err != nil {
		return err
	}
	options := x509.VerifyOptions{Roots: x509.NewCertPool(), Intermediates: x509.NewCertPool(), KeyUsages: []x509.ExtKeyUsage{purpose}}
	if question[1] != "-" {
		options.DNSName = question[1]
	}
	if err := add(options.Roots, question[2]); err != nil {
		return err
	}
	if question[4] != "-" {
		if err := add(options.Intermediates, question[4]); err != nil {
			return err
		}
	}
	_, err = leaf[0].Verify(options)
	return err
}

func add(pool *x509.CertPool, file string) error {
	found, err := certificates(file)
	for _, certificate := range found {
		pool.AddCert(certificate)
	}
	return err
}

func certificates(file string) ([]*x509.Certificate, error) {
	rest, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var found []*x509.Certificate
	for {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		found = append(found, certificate)
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("no certificate in %s", file)
	}
	return found, nil
}
