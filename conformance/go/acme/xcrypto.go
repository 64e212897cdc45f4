package main

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"net"
	"strings"

	"golang.org/x/crypto/acme"
)

// xCryptoWalk takes golang.org/x/crypto/acme over its abilities.
func xCryptoWalk(w *walk) {
	transport, err := w.httpClient(nil)
	if err != nil {
		panic(err)
	}
	client := &acme.Client{Key: newKey(), DirectoryURL: w.directory, HTTPClient: transport}
	order := func(challenge, label string, names ...string) func(context.Context) (*obtained, error) {
		return func(ctx context.Context) (*obtained, error) {
			return xCryptoOrder(ctx, w, client, challenge, label, names)
		}
	}

	w.can("register", func(ctx context.Context) (*obtained, error) {
		account := &acme.Account{Contact: []string{"mailto:xcrypto@acme.test"}}
		if _, err := client.Register(ctx, account, acme.AcceptTOS); err != nil {
			return nil, err
		}
		// The key alone leads to the account again (RFC 8555 §7.3.1).
		_, err := client.GetReg(ctx, "")
		return nil, err
	})
	w.can("EAB", func(ctx context.Context) (*obtained, error) {
		key, err := base64.RawURLEncoding.DecodeString(w.macKey)
		if err != nil {
			return nil, err
		}
		bound := &acme.Client{Key: newKey(), DirectoryURL: w.directory, HTTPClient: transport}
		account := &acme.Account{ExternalAccountBinding: &acme.ExternalAccountBinding{KID: w.kid, Key: key}}
		_, err = bound.Register(ctx, account, acme.AcceptTOS)
		return nil, err
	})
	w.can("http-01", order("http-01", "http", w.name("http")))
	w.can("several names", order("http-01", "several", w.name("a"), w.name("b"), w.name("c")))
	w.can("IP", order("http-01", "address", w.address))
	w.can("dns-01", order("dns-01", "dns", w.name("dns")))
	w.can("wildcard", order("dns-01", "wildcard", "*."+w.name("wild"), w.name("wild")))
	w.can("tls-alpn-01", order("tls-alpn-01", "alpn", w.name("alpn")))
	w.can("key roll-over", func(ctx context.Context) (*obtained, error) {
		if err := client.AccountKeyRollover(ctx, newKey()); err != nil {
			return nil, err
		}
		return xCryptoOrder(ctx, w, client, "http-01", "rolled", []string{w.name("rolled")})
	})
	w.can("revoke", func(ctx context.Context) (*obtained, error) {
		leaf, err := leafOf("http.pem")
		if err != nil {
			return nil, err
		}
		return nil, client.RevokeCert(ctx, nil, leaf.Raw, acme.CRLReasonSuperseded)
	})
	w.can("deactivate", func(ctx context.Context) (*obtained, error) { return nil, client.DeactivateReg(ctx) })
}

func xCryptoOrder(ctx context.Context, w *walk, client *acme.Client, challenge, label string, names []string) (*obtained, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	request := &x509.CertificateRequest{}
	identifiers := acme.DomainIDs(names...)
	if address := net.ParseIP(names[0]); address != nil {
		identifiers, request.IPAddresses = acme.IPIDs(names...), []net.IP{address}
	} else {
		request.DNSNames = names
	}
	order, err := client.AuthorizeOrder(ctx, identifiers)
	if err != nil {
		return nil, err
	}
	answers := map[string]string{}
	if challenge == "http-01" {
		if err := w.serveHTTP(ctx, answers); err != nil {
			return nil, err
		}
	}
	for _, url := range order.AuthzURLs {
		if err := xCryptoAuthorize(ctx, w, client, challenge, url, answers); err != nil {
			return nil, err
		}
	}
	if order, err = client.WaitOrder(ctx, order.URI); err != nil {
		return nil, err
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, request, newKey())
	if err != nil {
		return nil, err
	}
	chain, _, err := client.CreateOrderCert(ctx, order.FinalizeURL, csr, true)
	if err != nil {
		return nil, err
	}
	return save(label, names, chain)
}

func xCryptoAuthorize(ctx context.Context, w *walk, client *acme.Client, kind, url string, answers map[string]string) error {
	authorization, err := client.GetAuthorization(ctx, url)
	if err != nil || authorization.Status == acme.StatusValid {
		return err
	}
	name := authorization.Identifier.Value
	var challenge *acme.Challenge
	for _, offered := range authorization.Challenges {
		if offered.Type == kind {
			challenge = offered
		}
	}
	if challenge == nil {
		return fmt.Errorf("no %s is offered for %s", kind, name)
	}
	switch kind {
	case "http-01":
		answers[client.HTTP01ChallengePath(challenge.Token)], err = client.HTTP01ChallengeResponse(challenge.Token)
	case "dns-01":
		var value string
		if value, err = client.DNS01ChallengeRecord(challenge.Token); err == nil {
			defer func() { _ = w.dns(context.WithoutCancel(ctx), "remove", name, value) }()
			err = w.dns(ctx, "add", name, value)
		}
	case "tls-alpn-01":
		certificate, failure := client.TLSALPN01ChallengeCert(challenge.Token, strings.TrimPrefix(name, "*."))
		if err = failure; err == nil {
			err = w.serveALPN(ctx, certificate)
		}
	}
	if err != nil {
		return err
	}
	if _, err := client.Accept(ctx, challenge); err != nil {
		return err
	}
	_, err = client.WaitAuthorization(ctx, url)
	return err
}
