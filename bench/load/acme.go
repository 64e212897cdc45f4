package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"time"
)

// pollEvery is how long a caller waits before it looks again, whatever Retry-After says: the same for every server.
const pollEvery = 5 * time.Millisecond

// orderLimit is how long one certificate may take before the server counts as hung.
const orderLimit = 30 * time.Second

type acmeOptions struct {
	directory, challenges, dns string
	callers                    int
}

// acme goes the whole way of RFC 8555 for each certificate: order, authorization, http-01, finalize, download. Every caller has an
// account of its own.
type acme struct {
	client    *http.Client
	samples   []*sample
	accounts  []*account
	responder *responder
	sent      atomic.Int64

	newNonce, newAccount, newOrder string
}

// An account belongs to one caller, so it keeps the one nonce that the last answer gave.
type account struct {
	key        *ecdsa.PrivateKey
	jwk        json.RawMessage
	url        string
	thumbprint string
	nonce      string
}

type order struct {
	Status         string   `json:"status"`
	Authorizations []string `json:"authorizations"`
	Finalize       string   `json:"finalize"`
	Certificate    string   `json:"certificate"`
	Error          *problem `json:"error"`
}

type authorization struct {
	Challenges []challenge `json:"challenges"`
}

type challenge struct {
	Type   string `json:"type"`
	URL    string `json:"url"`
	Token  string `json:"token"`
	Status string `json:"status"`
}

type problem struct {
	Type   string `json:"type"`
	Detail string `json:"detail"`
}

// newAcme opens the responder and the name server, and reads the directory.
func newAcme(client *http.Client, samples []*sample, options acmeOptions) (*acme, error) {
	responder, err := answerChallenges(options.challenges)
	if err != nil {
		return nil, err
	}
	if err := answerNames(options.dns); err != nil {
		return nil, err
	}
	a := &acme{client: client, samples: samples, responder: responder, accounts: make([]*account, options.callers)}
	var directory struct{ NewNonce, NewAccount, NewOrder string }
	if err := a.read(options.directory, &directory); err != nil {
		return nil, err
	}
	a.newOrder = directory.NewOrder
	a.newNonce, a.newAccount = directory.NewNonce, directory.NewAccount
	return a, nil
}

func (a *acme) requests() int64 { return a.sent.Load() }

func (a *acme) verify(answer []byte, index int) error { return verify(answer, a.samples[index]) }

func (a *acme) issue(caller, index int) ([]byte, error) {
	by, one, end := a.accounts[caller], a.samples[index], time.Now().Add(orderLimit)
	var placed order
	wanted := map[string]any{"identifiers": []map[string]string{{"type": "dns", "value": one.name}}}
	header, err := a.post(by, a.newOrder, wanted, &placed)
	if err != nil {
		return nil, fmt.Errorf("newOrder: %w", err)
	}
	url := header.Get("Location")
	if placed.Status != "ready" {
		for _, each := range placed.Authorizations {
			if err := a.prove(by, each); err != nil {
				return nil, err
			}
		}
		if err := a.await(by, url, &placed, end, "ready"); err != nil {
			return nil, err
		}
	}
	if _, err := a.post(by, placed.Finalize, map[string]string{"csr": one.csrBase64url()}, &placed); err != nil {
		return nil, fmt.Errorf("finalize: %w", err)
	}
	if placed.Status != "valid" {
		time.Sleep(pollEvery)
		if err := a.await(by, url, &placed, end, "valid"); err != nil {
			return nil, err
		}
	}
	var chain []byte
	if _, err := a.post(by, placed.Certificate, nil, &chain); err != nil {
		return nil, fmt.Errorf("certificate: %w", err)
	}
	return chain, nil
}

// prove responds to the http-01 challenge and waits a moment for servers that ask later.
func (a *acme) prove(by *account, url string) error {
	var asked authorization
	if _, err := a.post(by, url, nil, &asked); err != nil {
		return fmt.Errorf("authorization: %w", err)
	}
	for _, each := range asked.Challenges {
		if each.Type != "http-01" {
			continue
		}
		a.responder.expect(each.Token, by.thumbprint)
		if _, err := a.post(by, each.URL, struct{}{}, &each); err != nil {
			return fmt.Errorf("challenge: %w", err)
		}
		if each.Status != "valid" {
			time.Sleep(pollEvery)
		}
		return nil
	}
	return fmt.Errorf("there is no http-01 challenge")
}

// await reads the order until it has this status.
func (a *acme) await(by *account, url string, placed *order, end time.Time, status string) error {
	for {
		if _, err := a.post(by, url, nil, placed); err != nil {
			return fmt.Errorf("order: %w", err)
		}
		switch {
		case placed.Status == status:
			return nil
		case placed.Status == "invalid":
			return fmt.Errorf("the order is invalid: %+v", placed.Error)
		case time.Now().After(end):
			return fmt.Errorf("the order is %s after %s", placed.Status, orderLimit)
		}
		time.Sleep(pollEvery)
	}
}

// open registers the account of a caller.
func (a *acme) open(caller int) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	jwk, err := publicJwk(&key.PublicKey)
	if err != nil {
		return err
	}
	by := &account{key: key, jwk: jwk, thumbprint: thumbprint(&key.PublicKey)}
	response, err := a.client.Head(a.newNonce)
	if err != nil {
		return err
	}
	response.Body.Close()
	by.nonce = response.Header.Get("Replay-Nonce")
	header, err := a.post(by, a.newAccount, map[string]bool{"termsOfServiceAgreed": true}, nil)
	if err != nil {
		return fmt.Errorf("newAccount: %w", err)
	}
	by.url = header.Get("Location")
	a.accounts[caller] = by
	return nil
}

func (a *acme) read(url string, into any) error {
	response, err := a.client.Get(url)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	return json.NewDecoder(response.Body).Decode(into)
}

// post sends a signed request (RFC 8555 §6.2), POST-as-GET where there is no payload, and reads the answer into `into`: JSON, or as it is
// into a slice of bytes. A nonce that is refused is replaced by the one in the refusal.
func (a *acme) post(by *account, url string, payload, into any) (http.Header, error) {
	for attempt := 0; ; attempt++ {
		header, err := a.postOnce(by, url, payload, into)
		refused, known := err.(*refusal)
		if attempt == 3 || !known || !strings.Contains(refused.body, "urn:ietf:params:acme:error:badNonce") {
			return header, err
		}
	}
}

func (a *acme) postOnce(by *account, url string, payload, into any) (http.Header, error) {
	signed, err := by.sign(url, payload)
	if err != nil {
		return nil, err
	}
	a.sent.Add(1)
	response, err := a.client.Post(url, "application/jose+json", strings.NewReader(signed))
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	by.nonce = response.Header.Get("Replay-Nonce")
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, err
	}
	if response.StatusCode >= 300 {
		return nil, &refusal{response.StatusCode, string(body)}
	}
	if bytes, raw := into.(*[]byte); raw {
		*bytes = body
	} else if into != nil {
		err = json.Unmarshal(body, into)
	}
	return response.Header, err
}

// sign makes a flattened JWS, ES256, by kid once the account has a URL.
func (by *account) sign(url string, payload any) (string, error) {
	fields := map[string]any{"alg": "ES256", "nonce": by.nonce, "url": url}
	if by.url != "" {
		fields["kid"] = by.url
	} else {
		fields["jwk"] = by.jwk
	}
	header, err := encoded(fields)
	if err != nil {
		return "", err
	}
	body := ""
	if payload != nil {
		if body, err = encoded(payload); err != nil {
			return "", err
		}
	}
	signature, err := es256(by.key, header+"."+body)
	if err != nil {
		return "", err
	}
	return `{"protected":"` + header + `","payload":"` + body + `","signature":"` + signature + `"}`, nil
}

// publicJwk has the members that RFC 7638 §3.2 hashes, in its order.
func publicJwk(key *ecdsa.PublicKey) (json.RawMessage, error) {
	point, err := key.ECDH()
	if err != nil {
		return nil, err
	}
	octets := point.Bytes()
	coordinate := base64.RawURLEncoding.EncodeToString
	return fmt.Appendf(nil, `{"crv":"P-256","kty":"EC","x":"%s","y":"%s"}`, coordinate(octets[1:33]), coordinate(octets[33:])), nil
}
