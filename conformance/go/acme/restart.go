package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os/exec"
	"time"

	"github.com/cert-manager/cert-manager/third_party/forked/acme"
)

// startedAnew has an authorization end under the controller's hands. Its Challenge may be accepted all the same, and says how it stands; one that
// the server no longer knows is malformed, which the controller takes for expired: it creates the Order anew. Another 4xx would end both for good.
func (m *certManager) startedAnew(ctx context.Context) (*obtained, error) {
	// These refusals are asked for: nobody counts them.
	transport, err := m.walk.httpClient(nil)
	if err != nil {
		return nil, err
	}
	client := &acme.Client{Key: m.key, DirectoryURL: m.walk.directory, HTTPClient: transport}
	want := wanted{challenge: "http-01", label: "anew", names: []string{m.walk.name("anew")}}
	identifiers, _ := sorted(want.names)
	first, err := client.AuthorizeOrder(ctx, identifiers)
	if err != nil {
		return nil, err
	}
	authorization, err := client.GetAuthorization(ctx, first.AuthzURLs[0])
	if err != nil {
		return nil, err
	}
	if err := client.RevokeAuthorization(ctx, authorization.URI); err != nil {
		return nil, err
	}
	challenge := *authorization.Challenges[0]
	if err := over(client.Accept(ctx, &challenge)); err != nil {
		return nil, err
	}
	challenge.URI += "AAAA"
	if _, err := client.Accept(ctx, &challenge); !isMalformed(err) {
		return nil, fmt.Errorf("a challenge that is not there gave %v: the Challenge is errored for good", err)
	}
	return m.issue(ctx, want)
}

// over judges the answer to a challenge whose authorization has ended: malformed starts the Order anew, and so does a state that is final.
func over(challenge *acme.Challenge, err error) error {
	if err != nil && !isMalformed(err) {
		return fmt.Errorf("a challenge that is over gave %w: the Challenge is errored for good", err)
	}
	if err == nil && challenge.Status == acme.StatusProcessing {
		return errors.New("a challenge that is over reads processing: the controller would wait for it")
	}
	return nil
}

func isMalformed(err error) bool {
	var problem *acme.Error
	return errors.As(err, &problem) && problem.ProblemType == "urn:ietf:params:acme:error:malformed"
}

// awaySeconds is longer than a signature may take, than a process that holds the token may stand still, and than a reconciliation.
const awaySeconds = "12"

// outlast takes the token away between `ready` and finalize, and then does what the controller does at each reconciliation until the order ends.
func (m *certManager) outlast(ctx context.Context) (*obtained, error) {
	want := wanted{challenge: "http-01", label: "outlast", names: []string{m.walk.name("outlast")}}
	ready, err := m.prove(ctx, want)
	if err != nil {
		return nil, err
	}
	if err := m.takeAway(ctx); err != nil {
		return nil, err
	}
	for tried := 0; ctx.Err() == nil; tried++ {
		chain, err := m.reconcile(ctx, ready)
		if err != nil {
			return nil, err
		}
		if chain != nil && tried == 0 {
			return nil, errors.New("a certificate was signed while the token was away: it was not")
		}
		if chain != nil {
			return save(want.label, want.names, chain)
		}
		time.Sleep(time.Second)
	}
	return nil, errors.New("the order did not end")
}

// reconcile finalizes once, within 10 s, and looks at the order. It gives the chain, or nil while the order is open; an error ends the Order.
func (m *certManager) reconcile(ctx context.Context, ready *order) ([][]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	chain, _, err := m.client.CreateOrderCert(ctx, ready.FinalizeURL, ready.CSR, true)
	if err == nil {
		return chain, nil
	}
	var problem *acme.Error
	refused := errors.As(err, &problem) && problem.StatusCode >= 400 && problem.StatusCode < 500
	if refused && problem.StatusCode != http.StatusForbidden {
		return nil, err
	}
	read, failure := m.client.GetOrder(ctx, ready.URL)
	if failure != nil && errors.As(failure, &problem) && problem.StatusCode < 500 {
		return nil, failure
	}
	if failure == nil && read.Status == acme.StatusValid {
		return m.client.FetchCert(ctx, read.CertURL, true)
	}
	if failure == nil && (refused || read.Status == acme.StatusInvalid) {
		return nil, fmt.Errorf("the order is lost: %v, and it reads %v", err, read)
	}
	return nil, nil
}

// takeAway returns when the token is away.
func (m *certManager) takeAway(ctx context.Context) error {
	hook := exec.CommandContext(ctx, m.walk.awayHook, awaySeconds)
	output, err := hook.StdoutPipe()
	if err != nil {
		return err
	}
	if err := hook.Start(); err != nil {
		return err
	}
	if line, err := bufio.NewReader(output).ReadString('\n'); err != nil || line != "away\n" {
		return fmt.Errorf("the token is not away: %q %v", line, err)
	}
	go func() { _ = hook.Wait() }()
	return nil
}
