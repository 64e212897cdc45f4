package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
)

// A sample is a P-256 key and a certification request of its own.
type sample struct {
	name string
	key  *ecdsa.PrivateKey
	// csr in PEM; der is the same in DER.
	csr string
	der []byte
}

func newSamples(count int) ([]*sample, error) {
	samples := make([]*sample, count)
	for index := range samples {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return nil, err
		}
		name := "host-" + unique() + ".example.org"
		// The common name repeats the only subjectAltName: step-ca refuses a request without one.
		template := x509.CertificateRequest{Subject: pkix.Name{CommonName: name}, DNSNames: []string{name}}
		der, err := x509.CreateCertificateRequest(rand.Reader, &template, key)
		if err != nil {
			return nil, err
		}
		csr := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}))
		samples[index] = &sample{name: name, key: key, csr: csr, der: der}
	}
	return samples, nil
}

func (s *sample) csrBase64url() string { return base64.RawURLEncoding.EncodeToString(s.der) }

func unique() string {
	octets := make([]byte, 16)
	rand.Read(octets)
	return hex.EncodeToString(octets)
}
