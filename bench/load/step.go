package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"os"
	"time"
)

// step is step-ca, asked by POST /1.0/sign with a one-time token of a JWK provisioner for each request.
type step struct {
	url         string
	provisioner string
	key         *ecdsa.PrivateKey
	identifier  string
}

func newStep(url, provisioner, keyFile string) (*step, error) {
	text, err := os.ReadFile(keyFile)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, fmt.Errorf("no PEM in %s", keyFile)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, err
	}
	key, known := parsed.(*ecdsa.PrivateKey)
	if !known {
		return nil, fmt.Errorf("the provisioner's key is not an EC key")
	}
	return &step{url, provisioner, key, thumbprint(&key.PublicKey)}, nil
}

func (s *step) request(one *sample) (*http.Request, error) {
	token, err := s.token(one)
	if err != nil {
		return nil, err
	}
	body, err := json.Marshal(map[string]string{"csr": one.csr, "ott": token})
	if err != nil {
		return nil, err
	}
	request, err := http.NewRequest(http.MethodPost, s.url+"/1.0/sign", bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Content-Type", "application/json")
	return request, nil
}

func (s *step) certificate(body []byte) (string, error) {
	var answer struct {
		Certificate string `json:"crt"`
	}
	err := json.Unmarshal(body, &answer)
	return answer.Certificate, err
}

// token is a JWS in compact form, ES256 (RFC 7515, RFC 7518 §3.4).
func (s *step) token(one *sample) (string, error) {
	header, err := encoded(map[string]any{"alg": "ES256", "kid": s.identifier, "typ": "JWT"})
	if err != nil {
		return "", err
	}
	now := time.Now().Unix()
	claims, err := encoded(map[string]any{
		"iss": s.provisioner, "aud": s.url + "/1.0/sign", "sub": one.name, "sans": []string{one.name},
		"iat": now, "nbf": now - 5, "exp": now + 300, "jti": unique(),
	})
	if err != nil {
		return "", err
	}
	input := header + "." + claims
	signature, err := es256(s.key, input)
	return input + "." + signature, err
}

// es256 signs as RFC 7518 §3.4 says: r and s of 32 octets each, in base64url.
func es256(key *ecdsa.PrivateKey, input string) (string, error) {
	digest := sha256.Sum256([]byte(input))
	r, s, err := ecdsa.Sign(rand.Reader, key, digest[:])
	if err != nil {
		return "", err
	}
	signature := make([]byte, 64)
	r.FillBytes(signature[:32])
	s.FillBytes(signature[32:])
	return base64.RawURLEncoding.EncodeToString(signature), nil
}

func encoded(value any) (string, error) {
	text, err := json.Marshal(value)
	return base64.RawURLEncoding.EncodeToString(text), err
}

// thumbprint of the key (RFC 7638 §3).
func thumbprint(key *ecdsa.PublicKey) string {
	text, err := publicJwk(key)
	if err != nil {
		return ""
	}
	digest := sha256.Sum256(text)
	return base64.RawURLEncoding.EncodeToString(digest[:])
}
