// Command revocation asks crypto/x509 and golang.org/x/crypto/ocsp about certificates.
//
// Questions and answers are lines as conformance/revocation/tool.ts describes them. crypto/x509 has no path validation with CRLs: the CRL of the
// question is parsed, its signature and its times are checked, and the certificate is looked for. OCSP requests for GET and POST are made and sent
// here; for a batch the response comes with the question.
package main

import (
	"bufio"
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"golang.org/x/crypto/ocsp"
)

// RFC 5280 §5.3.1
var reasons = map[int]string{
	0: "unspecified", 1: "keyCompromise", 2: "cACompromise", 3: "affiliationChanged", 4: "superseded", 5: "cessationOfOperation",
	6: "certificateHold", 8: "removeFromCRL", 9: "privilegeWithdrawn", 10: "aACompromise",
}

var errExpired = errors.New("expired")

func main() {
	input := bufio.NewScanner(os.Stdin)
	for input.Scan() {
		verdict, err := judge(strings.Split(input.Text(), "\t"))
		var unsigned ocsp.ResponseError
		switch {
		case errors.Is(err, errExpired):
			verdict = "expired"
		case errors.As(err, &unsigned):
			verdict = "undetermined " + unsigned.Error()
		case err != nil:
			verdict = "refused " + strings.ReplaceAll(err.Error(), "\n", " ")
		}
		fmt.Println(verdict)
	}
}

func judge(question []string) (string, error) {
	if len(question) != 7 {
		return "", errors.New("a question has seven fields")
	}
	method, crl, response, responder := question[0], question[4], question[5], question[6]
	leaf, err := certificate(question[1])
	if err != nil {
		return "", err
	}
	issuer, err := certificate(question[2])
	if err != nil {
		return "", err
	}
	root, err := certificate(question[3])
	if err != nil {
		return "", err
	}
	if err := path(leaf, issuer, root); err != nil {
		return "", err
	}
	if strings.HasSuffix(method, "CRL") {
		return listed(crl, leaf, issuer)
	}
	answer, err := ask(method, responder, response, leaf, issuer)
	if err != nil {
		return "", err
	}
	return status(answer, leaf, issuer)
}

func path(leaf, issuer, root *x509.Certificate) error {
	roots, intermediates := x509.NewCertPool(), x509.NewCertPool()
	roots.AddCert(root)
	intermediates.AddCert(issuer)
	_, err := leaf.Verify(x509.VerifyOptions{Roots: roots, Intermediates: intermediates, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}})
	var invalid x509.CertificateInvalidError
	if errors.As(err, &invalid) && invalid.Reason == x509.Expired {
		return errExpired
	}
	return err
}

func listed(file string, leaf, issuer *x509.Certificate) (string, error) {
	der, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	crl, err := x509.ParseRevocationList(der)
	if err != nil {
		return "", err
	}
	if !bytes.Equal(crl.RawIssuer, leaf.RawIssuer) {
		return "undetermined the CRL is another issuer's", nil
	}
	if err := crl.CheckSignatureFrom(issuer); err != nil {
		return "", err
	}
	if now := time.Now(); now.Before(crl.ThisUpdate) || now.After(crl.NextUpdate) {
		return "undetermined the CRL is out of date", nil
	}
	for _, entry := range crl.RevokedCertificateEntries {
		if entry.SerialNumber.Cmp(leaf.SerialNumber) == 0 {
			return "revoked " + reasons[entry.ReasonCode], nil
		}
	}
	return "good", nil
}

func ask(method, responder, file string, leaf, issuer *x509.Certificate) ([]byte, error) {
	if file != "-" {
		return os.ReadFile(file)
	}
	// The hash that RFC 9919 §3.1.1 wants of new clients in one, that of old clients in the other.
	hash := crypto.SHA256
	if method == "OCSP GET" {
		hash = crypto.SHA1
	}
	request, err := ocsp.CreateRequest(leaf, issuer, &ocsp.RequestOptions{Hash: hash})
	if err != nil {
		return nil, err
	}
	var answer *http.Response
	if method == "OCSP GET" {
		answer, err = http.Get(responder + "/" + url.PathEscape(base64.StdEncoding.EncodeToString(request)))
	} else {
		answer, err = http.Post(responder, "application/ocsp-request", bytes.NewReader(request))
	}
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("HTTP status %s", answer.Status)
	}
	return io.ReadAll(answer.Body)
}

func status(answer []byte, leaf, issuer *x509.Certificate) (string, error) {
	response, err := ocsp.ParseResponseForCert(answer, leaf, issuer)
	if err != nil {
		return "", err
	}
	if now := time.Now(); now.Before(response.ThisUpdate) || now.After(response.NextUpdate) {
		return "undetermined the response is out of date", nil
	}
	switch response.Status {
	case ocsp.Good:
		return "good", nil
	case ocsp.Revoked:
		return "revoked " + reasons[response.RevocationReason], nil
	default:
		return "undetermined unknown", nil
	}
}

func certificate(file string) (*x509.Certificate, error) {
	content, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(content)
	if block == nil {
		return nil, fmt.Errorf("no certificate in %s", file)
	}
	return x509.ParseCertificate(block.Bytes)
}
