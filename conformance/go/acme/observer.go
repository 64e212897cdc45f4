package main

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"

	"github.com/cert-manager/cert-manager/third_party/forked/acme"
)

// killed is the exit status of a process that a SIGKILL ended, as a shell tells it.
const killed = 137

// observer sees every answer of the server.
type observer struct {
	lock    sync.Mutex
	answers []answer
}

type answer struct {
	method, path string
	status       int
	location     bool
	// What a refusal says is wrong, without the namespace of ACME.
	problem string
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(request *http.Request) (*http.Response, error) { return f(request) }

func (o *observer) wrap(next http.RoundTripper) http.RoundTripper {
	return roundTrip(func(request *http.Request) (*http.Response, error) {
		response, err := next.RoundTrip(request)
		if err == nil {
			o.lock.Lock()
			defer o.lock.Unlock()
			located := response.Header.Get("Location") != ""
			o.answers = append(o.answers, answer{request.Method, request.URL.Path, response.StatusCode, located, problemOf(response)})
		}
		return response, err
	})
}

// problemOf reads the type of a problem document, and leaves the body as it was.
func problemOf(response *http.Response) string {
	if response.StatusCode < 400 {
		return ""
	}
	body, _ := io.ReadAll(response.Body)
	_ = response.Body.Close()
	response.Body = io.NopCloser(bytes.NewReader(body))
	var document struct{ Type string }
	_ = json.Unmarshal(body, &document)
	return strings.TrimPrefix(document.Type, "urn:ietf:params:acme:error:")
}

// missing tells of the first successful answer about an order that has no Location: cert-manager reads the order there.
func (o *observer) missing() error {
	about := 0
	for _, one := range o.answers {
		if one.method != http.MethodPost || one.status >= 300 || !isOrder(one.path) {
			continue
		}
		about++
		if !one.location {
			return fmt.Errorf("no Location on %d of %s", one.status, one.path)
		}
	}
	if about < 3 {
		return fmt.Errorf("only %d answers about orders were seen", about)
	}
	return nil
}

// isOrder tells paths of newOrder, orders and finalize by their last words but ids.
func isOrder(path string) bool {
	return strings.HasSuffix(path, "/new-order") || strings.Contains(path, "/order/")
}

// refusals tells of 4xx answers that would have ended an Order: all but badNonce, which the client repeats, the repeated finalize and the replaces.
func (o *observer) refusals() error {
	for _, one := range o.answers {
		harmless := one.status == http.StatusBadRequest && one.problem == "badNonce" || one.status == http.StatusForbidden && strings.HasSuffix(one.path, "/finalize") ||
			one.status == http.StatusConflict && strings.HasSuffix(one.path, "/new-order")
		if one.status >= 400 && one.status < 500 && !harmless {
			return fmt.Errorf("%d %s for %s %s", one.status, one.problem, one.method, one.path)
		}
	}
	return nil
}

func leafKey(asRSA bool) crypto.Signer {
	if !asRSA {
		return newKey()
	}
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
}

// finalizeAndDie sends finalize for the order in a file, and ends as a killed process does as soon as the server has answered.
func finalizeAndDie(file string) {
	fail := func(err error) {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	var ready order
	text, err := os.ReadFile(file)
	if err == nil {
		err = json.Unmarshal(text, &ready)
	}
	if err != nil {
		fail(err)
	}
	key, err := x509.ParsePKCS8PrivateKey(ready.AccountKey)
	if err != nil {
		fail(err)
	}
	w := newWalk()
	transport, err := w.httpClient(func(next http.RoundTripper) http.RoundTripper {
		return roundTrip(func(request *http.Request) (*http.Response, error) {
			response, err := next.RoundTrip(request)
			if err == nil && request.URL.String() == ready.FinalizeURL && response.StatusCode < 300 {
				os.Exit(killed)
			}
			return response, err
		})
	})
	if err != nil {
		fail(err)
	}
	client := &acme.Client{Key: key.(crypto.Signer), DirectoryURL: w.directory, HTTPClient: transport}
	_, _, err = client.CreateOrderCert(context.Background(), ready.FinalizeURL, ready.CSR, true)
	fail(fmt.Errorf("finalize was read to its end: %v", err))
}
