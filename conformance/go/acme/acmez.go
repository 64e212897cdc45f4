package main

import (
	"context"
	"crypto"
	"crypto/x509"
	"errors"
	"time"

	"github.com/mholt/acmez/v3"
	"github.com/mholt/acmez/v3/acme"
)

// acmezWalk takes acmez, Caddy's library, over its abilities.
func acmezWalk(w *walk) {
	transport, err := w.httpClient(nil)
	if err != nil {
		panic(err)
	}
	low := &acme.Client{Directory: w.directory, HTTPClient: transport}
	account := acme.Account{Contact: []string{"mailto:acmez@acme.test"}, TermsOfServiceAgreed: true, PrivateKey: newKey()}
	order := func(challenge, label string, names ...string) func(context.Context) (*obtained, error) {
		return func(ctx context.Context) (*obtained, error) {
			return acmezOrder(ctx, w, low, account, acmezWanted{challenge: challenge, label: label, names: names})
		}
	}

	w.can("register", func(ctx context.Context) (*obtained, error) {
		created, err := low.NewAccount(ctx, account)
		if err == nil {
			account = created
		}
		return nil, err
	})
	w.can("EAB", func(ctx context.Context) (*obtained, error) {
		bound := acme.Account{TermsOfServiceAgreed: true, PrivateKey: newKey()}
		if err := bound.SetExternalAccountBinding(ctx, low, acme.EAB{KeyID: w.kid, MACKey: w.macKey}); err != nil {
			return nil, err
		}
		_, err := low.NewAccount(ctx, bound)
		return nil, err
	})
	w.can("http-01", order("http-01", "http", w.name("http")))
	w.can("several names", order("http-01", "several", w.name("a"), w.name("b"), w.name("c")))
	w.can("IP", order("http-01", "address", w.address))
	w.can("dns-01", order("dns-01", "dns", w.name("dns")))
	w.can("wildcard", order("dns-01", "wildcard", "*."+w.name("wild"), w.name("wild")))
	w.can("tls-alpn-01", order("tls-alpn-01", "alpn", w.name("alpn")))
	w.can("ARI", func(ctx context.Context) (*obtained, error) {
		leaf, err := leafOf("http.pem")
		if err != nil {
			return nil, err
		}
		information, err := low.GetRenewalInfo(ctx, leaf)
		if err != nil {
			return nil, err
		}
		if window := information.SuggestedWindow; !window.Start.Before(window.End) || !window.Start.After(time.Now()) {
			return nil, errors.New("the window of a new certificate does not lie ahead")
		}
		return acmezOrder(ctx, w, low, account, acmezWanted{"http-01", "renewed", []string{w.name("http")}, leaf})
	})
	w.can("key roll-over", func(ctx context.Context) (*obtained, error) {
		changed, err := low.AccountKeyRollover(ctx, account, newKey())
		if err != nil {
			return nil, err
		}
		account = changed
		return order("http-01", "rolled", w.name("rolled"))(ctx)
	})
	w.can("revoke", func(ctx context.Context) (*obtained, error) {
		leaf, err := leafOf("http.pem")
		if err != nil {
			return nil, err
		}
		return nil, low.RevokeCertificate(ctx, account, leaf, nil, acme.ReasonSuperseded)
	})
	w.can("deactivate", func(ctx context.Context) (*obtained, error) {
		ended := account
		ended.Status = "deactivated"
		_, err := low.UpdateAccount(ctx, ended)
		return nil, err
	})
}

type acmezWanted struct {
	challenge, label string
	names            []string
	replaces         *x509.Certificate
}

func acmezOrder(ctx context.Context, w *walk, low *acme.Client, account acme.Account, wanted acmezWanted) (*obtained, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	solver := &acmezSolver{walk: w, served: ctx, answers: map[string]string{}}
	client := &acmez.Client{Client: low, ChallengeSolvers: map[string]acmez.Solver{wanted.challenge: solver}}
	var key crypto.Signer = newKey()
	csr, err := acmez.NewCSR(key, wanted.names)
	if err != nil {
		return nil, err
	}
	parameters, err := acmez.OrderParametersFromCSR(account, csr)
	if err != nil {
		return nil, err
	}
	parameters.Replaces = wanted.replaces
	chains, err := client.ObtainCertificate(ctx, parameters)
	if err != nil {
		return nil, err
	}
	return saveText(wanted.label, wanted.names, chains[0].ChainPEM)
}

// acmezSolver answers challenges while `served` lasts.
type acmezSolver struct {
	walk    *walk
	served  context.Context
	answers map[string]string
}

func (s *acmezSolver) Present(ctx context.Context, challenge acme.Challenge) error {
	switch challenge.Type {
	case "http-01":
		listening := len(s.answers) > 0
		s.answers[challenge.HTTP01ResourcePath()] = challenge.KeyAuthorization
		if listening {
			return nil
		}
		return s.walk.serveHTTP(s.served, s.answers)
	case "dns-01":
		return s.walk.dns(ctx, "add", challenge.Identifier.Value, challenge.DNS01KeyAuthorization())
	default:
		certificate, err := acmez.TLSALPN01ChallengeCert(challenge)
		if err != nil {
			return err
		}
		return s.walk.serveALPN(s.served, *certificate)
	}
}

func (s *acmezSolver) CleanUp(ctx context.Context, challenge acme.Challenge) error {
	if challenge.Type != "dns-01" {
		return nil
	}
	return s.walk.dns(ctx, "remove", challenge.Identifier.Value, challenge.DNS01KeyAuthorization())
}
