package main

import (
	"context"
	"crypto"
	"errors"
	"os"
	"time"

	"github.com/go-acme/lego/v5/acme"
	"github.com/go-acme/lego/v5/certcrypto"
	"github.com/go-acme/lego/v5/certificate"
	"github.com/go-acme/lego/v5/challenge/dns01"
	"github.com/go-acme/lego/v5/challenge/http01"
	"github.com/go-acme/lego/v5/challenge/tlsalpn01"
	"github.com/go-acme/lego/v5/lego"
	"github.com/go-acme/lego/v5/registration"
)

type legoUser struct {
	key     crypto.Signer
	account *acme.ExtendedAccount
}

func (u *legoUser) GetEmail() string                       { return "lego@acme.test" }
func (u *legoUser) GetRegistration() *acme.ExtendedAccount { return u.account }
func (u *legoUser) GetPrivateKey() crypto.Signer           { return u.key }

// legoWalk takes lego 5 over its abilities. It finds the server's roots in LEGO_CA_CERTIFICATES, as its command does.
func legoWalk(w *walk) {
	_ = os.Setenv("LEGO_CA_CERTIFICATES", w.transportRoots)
	user := &legoUser{key: newKey()}
	client, err := legoClient(w, user)
	if err != nil {
		panic(err)
	}
	order := func(challenge, label string, names ...string) func(context.Context) (*obtained, error) {
		return func(ctx context.Context) (*obtained, error) {
			if err := legoChallenge(w, client, challenge); err != nil {
				return nil, err
			}
			request := certificate.ObtainRequest{Domains: names, KeyType: certcrypto.EC256, Bundle: true}
			resource, err := client.Certificate.Obtain(ctx, request)
			if err != nil {
				return nil, err
			}
			return saveText(label, names, resource.Certificate)
		}
	}

	w.can("register", func(ctx context.Context) (*obtained, error) {
		user.account, err = client.Registration.Register(ctx, registration.RegisterOptions{TermsOfServiceAgreed: true})
		if err != nil {
			return nil, err
		}
		// A client made for an account that exists sends its URL from the start.
		client, err = legoClient(w, user)
		return nil, err
	})
	w.can("EAB", func(ctx context.Context) (*obtained, error) {
		bound, err := legoClient(w, &legoUser{key: newKey()})
		if err != nil {
			return nil, err
		}
		options := registration.RegisterEABOptions{TermsOfServiceAgreed: true, Kid: w.kid, HmacEncoded: w.macKey}
		_, err = bound.Registration.RegisterWithExternalAccountBinding(ctx, options)
		return nil, err
	})
	w.can("http-01", order("http-01", "http", w.name("http")))
	w.can("several names", order("http-01", "several", w.name("a"), w.name("b"), w.name("c")))
	w.can("IP", order("http-01", "address", w.address))
	w.can("dns-01", order("dns-01", "dns", w.name("dns")))
	w.can("wildcard", order("dns-01", "wildcard", "*."+w.name("wild"), w.name("wild")))
	w.can("tls-alpn-01", order("tls-alpn-01", "alpn", w.name("alpn")))
	w.can("ARI", func(ctx context.Context) (*obtained, error) { return legoRenew(ctx, w, client) })
	w.can("key roll-over", func(ctx context.Context) (*obtained, error) {
		key := newKey()
		if err := client.Registration.KeyRollover(ctx, key); err != nil {
			return nil, err
		}
		user.key = key
		if client, err = legoClient(w, user); err != nil {
			return nil, err
		}
		return order("http-01", "rolled", w.name("rolled"))(ctx)
	})
	w.can("revoke", func(ctx context.Context) (*obtained, error) {
		text, err := os.ReadFile("http.pem")
		if err != nil {
			return nil, err
		}
		return nil, client.Certificate.Revoke(ctx, text)
	})
	w.can("deactivate", func(ctx context.Context) (*obtained, error) { return nil, client.Registration.DeleteRegistration(ctx) })
}

func legoClient(w *walk, user *legoUser) (*lego.Client, error) {
	configuration := lego.NewConfig(user)
	configuration.CADirURL = w.directory
	return lego.NewClient(configuration)
}

func legoChallenge(w *walk, client *lego.Client, challenge string) error {
	client.Challenge.ResetSolvers()
	switch challenge {
	case "http-01":
		return client.Challenge.SetHTTP01Provider(http01.NewProviderServer(w.address, "80"))
	case "dns-01":
		// The stage's resolver keeps nothing, so there is no propagation to wait for.
		return client.Challenge.SetDNS01Provider(&legoDNS{w}, dns01.PropagationWait(time.Millisecond, true))
	default:
		return client.Challenge.SetTLSALPN01Provider(tlsalpn01.NewProviderServer(w.address, "443"))
	}
}

func legoRenew(ctx context.Context, w *walk, client *lego.Client) (*obtained, error) {
	leaf, err := leafOf("http.pem")
	if err != nil {
		return nil, err
	}
	information, err := client.Certificate.GetRenewalInfo(ctx, leaf)
	if err != nil {
		return nil, err
	}
	if information.ShouldRenewAt(time.Now(), 0) != nil {
		return nil, errors.New("a certificate is to be renewed as soon as it is issued")
	}
	if err := legoChallenge(w, client, "http-01"); err != nil {
		return nil, err
	}
	text, err := os.ReadFile("http.pem")
	if err != nil {
		return nil, err
	}
	resource := certificate.Resource{Domains: []string{w.name("http")}, KeyType: certcrypto.EC256, Certificate: text}
	renewed, err := client.Certificate.Renew(ctx, resource, &certificate.RenewOptions{Bundle: true, UseARICertID: true, KeyType: certcrypto.EC256})
	if err != nil {
		return nil, err
	}
	return saveText("renewed", []string{w.name("http")}, renewed.Certificate)
}

// legoDNS sets TXT records by the stage's hook.
type legoDNS struct{ walk *walk }

func (d *legoDNS) Present(ctx context.Context, domain, _, keyAuthorization string) error {
	return d.walk.dns(ctx, "add", domain, dns01.GetChallengeInfo(ctx, domain, keyAuthorization).Value)
}

func (d *legoDNS) CleanUp(ctx context.Context, domain, _, keyAuthorization string) error {
	return d.walk.dns(ctx, "remove", domain, dns01.GetChallengeInfo(ctx, domain, keyAuthorization).Value)
}
