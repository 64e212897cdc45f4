package main

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"time"

	"github.com/cert-manager/cert-manager/third_party/forked/acme"
)

// finalizeCommand is how this program starts itself to be killed in the middle of finalize.
const finalizeCommand = "cert-manager-finalize"

// certManager does what cert-manager's controllers do, with cert-manager's own client: each step may be the last one of a process.
type certManager struct {
	walk   *walk
	key    crypto.Signer
	client *acme.Client
	seen   *observer
}

// order is what cert-manager keeps of an Order between two reconciliations.
type order struct {
	URL, FinalizeURL string
	CSR, AccountKey  []byte
}

// certManagerWalk walks the contract of cert-manager's Issuer and Order, RFC 8555 §7.3 to §7.5.
func certManagerWalk(w *walk) {
	seen := &observer{}
	transport, err := w.httpClient(seen.wrap)
	if err != nil {
		panic(err)
	}
	key := newKey()
	m := &certManager{walk: w, key: key, seen: seen, client: &acme.Client{Key: key, DirectoryURL: w.directory, HTTPClient: transport}}
	issue := func(challenge, label string, names ...string) func(context.Context) (*obtained, error) {
		return func(ctx context.Context) (*obtained, error) {
			return m.issue(ctx, wanted{challenge: challenge, label: label, names: names})
		}
	}

	w.can("register", m.register)
	if w.awayHook != "" {
		w.canAs("http-01", "HSM away in the middle: the order ends valid", m.outlast)
		return
	}
	w.canAs("register", "the same key again: 200 and Location (AM-1)", m.registerAgain)
	w.can("EAB", func(ctx context.Context) (*obtained, error) { return nil, m.bind(ctx, transport) })
	w.can("http-01", issue("http-01", "http", w.name("http")))
	w.canAs("http-01", "Location on newOrder, order reads and finalize (AM-1)", func(context.Context) (*obtained, error) { return nil, seen.missing() })
	w.canAs("http-01", "killed after finalize and resumed (AM-2)", m.resumed)
	w.canAs("http-01", "a challenge that is over is 200, one that is gone malformed, and the order starts anew (AM-4)", m.startedAnew)
	w.canAs("http-01", "an RSA key", func(ctx context.Context) (*obtained, error) {
		return m.issue(ctx, wanted{challenge: "http-01", label: "rsa", names: []string{w.name("rsa")}, rsa: true})
	})
	w.canAs("http-01", "the same newOrder again: the same order (AM-5)", m.repeated)
	w.can("several names", issue("http-01", "several", w.name("a"), w.name("b"), w.name("c")))
	w.can("IP", issue("http-01", "address", w.address))
	w.can("dns-01", issue("dns-01", "dns", w.name("dns")))
	w.can("wildcard", issue("dns-01", "wildcard", "*."+w.name("wild"), w.name("wild")))
	w.can("ARI", m.renew)
	w.canAs("ARI", "a replaces that was used is refused in words that name it (AT-13)", m.refusedReplaces)
	w.canAs("http-01", "no 4xx but for a finalize repeated and a replaces refused (AM-3)", func(context.Context) (*obtained, error) { return nil, seen.refusals() })
}

func (m *certManager) register(ctx context.Context) (*obtained, error) {
	account, err := m.client.Register(ctx, &acme.Account{Contact: []string{"mailto:cert-manager@acme.test"}}, acme.AcceptTOS)
	if err == nil && account.URI == "" {
		err = errors.New("newAccount answers without Location")
	}
	return nil, err
}

func (m *certManager) registerAgain(ctx context.Context) (*obtained, error) {
	_, err := m.client.Register(ctx, &acme.Account{}, acme.AcceptTOS)
	if !errors.Is(err, acme.ErrAccountAlreadyExists) {
		return nil, fmt.Errorf("not told that the account exists: %v", err)
	}
	account, err := m.client.GetReg(ctx, "")
	if err == nil && account.URI == "" {
		err = errors.New("no Location")
	}
	return nil, err
}

func (m *certManager) bind(ctx context.Context, transport *http.Client) error {
	mac, err := base64.RawURLEncoding.DecodeString(m.walk.macKey)
	if err != nil {
		return err
	}
	bound := &acme.Client{Key: newKey(), DirectoryURL: m.walk.directory, HTTPClient: transport}
	_, err = bound.Register(ctx, &acme.Account{ExternalAccountBinding: &acme.ExternalAccountBinding{KID: m.walk.kid, Key: mac}}, acme.AcceptTOS)
	return err
}

// wanted is a Certificate as its owner asks for it.
type wanted struct {
	challenge, label string
	names            []string
	rsa              bool
	options          []acme.OrderOption
}

// issue goes from newOrder to the certificate in one process.
func (m *certManager) issue(ctx context.Context, want wanted) (*obtained, error) {
	ready, err := m.prove(ctx, want)
	if err != nil {
		return nil, err
	}
	chain, _, err := m.client.CreateOrderCert(ctx, ready.FinalizeURL, ready.CSR, true)
	if err != nil {
		return nil, err
	}
	return save(want.label, want.names, chain)
}

// prove takes an order to `ready`: every authorization once, in the order of its URLs.
func (m *certManager) prove(ctx context.Context, want wanted) (*order, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	identifiers, request := sorted(want.names)
	created, err := m.client.AuthorizeOrder(ctx, identifiers, want.options...)
	if err != nil {
		return nil, err
	}
	answers := map[string]string{}
	if want.challenge == "http-01" {
		if err := m.walk.serveHTTP(ctx, answers); err != nil {
			return nil, err
		}
	}
	for _, url := range created.AuthzURLs {
		if err := m.authorize(ctx, want.challenge, url, answers); err != nil {
			return nil, err
		}
	}
	read, err := m.client.GetOrder(ctx, created.URI)
	if err != nil {
		return nil, err
	}
	if read.Status != acme.StatusReady {
		return nil, fmt.Errorf("every authorization is valid and the order %s", read.Status)
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, request, leafKey(want.rsa))
	return &order{URL: created.URI, FinalizeURL: created.FinalizeURL, CSR: csr}, err
}

func (m *certManager) authorize(ctx context.Context, kind, url string, answers map[string]string) error {
	authorization, err := m.client.GetAuthorization(ctx, url)
	if err != nil || authorization.Status == acme.StatusValid {
		return err
	}
	at := slices.IndexFunc(authorization.Challenges, func(offered *acme.Challenge) bool { return offered.Type == kind })
	if at < 0 {
		return fmt.Errorf("no %s is offered for %s", kind, authorization.Identifier.Value)
	}
	challenge, name := authorization.Challenges[at], authorization.Identifier.Value
	if kind == "dns-01" {
		value, err := m.client.DNS01ChallengeRecord(challenge.Token)
		if err != nil {
			return err
		}
		defer func() { _ = m.walk.dns(context.WithoutCancel(ctx), "remove", name, value) }()
		if err := m.walk.dns(ctx, "add", name, value); err != nil {
			return err
		}
	} else if answers[m.client.HTTP01ChallengePath(challenge.Token)], err = m.client.HTTP01ChallengeResponse(challenge.Token); err != nil {
		return err
	}
	if _, err := m.client.Accept(ctx, challenge); err != nil {
		return err
	}
	// The controller waits this long, and then looks again at its next reconciliation.
	waiting, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	_, err = m.client.WaitAuthorization(waiting, url)
	return err
}

// resumed has another process send finalize and die before it reads the answer; the Order still says ready, so finalize is sent again.
func (m *certManager) resumed(ctx context.Context) (*obtained, error) {
	names := []string{m.walk.name("killed")}
	ready, err := m.prove(ctx, wanted{challenge: "http-01", label: "killed", names: names})
	if err != nil {
		return nil, err
	}
	if ready.AccountKey, err = x509.MarshalPKCS8PrivateKey(m.key); err != nil {
		return nil, err
	}
	state, err := json.Marshal(ready)
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile("order.json", state, 0o600); err != nil {
		return nil, err
	}
	other := exec.CommandContext(ctx, os.Args[0], finalizeCommand, "order.json")
	if output, err := other.CombinedOutput(); other.ProcessState.ExitCode() != killed {
		return nil, fmt.Errorf("the process was to die in finalize: %v: %s", err, output)
	}
	return m.finalizeAgain(ctx, ready, names)
}

// finalizeAgain expects what the controller recovers from: success, or 403 while the order reads valid. Anything else ends the Order.
func (m *certManager) finalizeAgain(ctx context.Context, ready *order, names []string) (*obtained, error) {
	_, _, err := m.client.CreateOrderCert(ctx, ready.FinalizeURL, ready.CSR, true)
	var problem *acme.Error
	if err != nil && (!errors.As(err, &problem) || problem.StatusCode != http.StatusForbidden) {
		return nil, fmt.Errorf("finalize again: %w", err)
	}
	read, failure := m.client.GetOrder(ctx, ready.URL)
	if failure != nil {
		return nil, failure
	}
	if read.Status != acme.StatusValid {
		return nil, fmt.Errorf("finalize again gave %v, and the order reads %s: it is lost", err, read.Status)
	}
	chain, failure := m.client.FetchCert(ctx, read.CertURL, true)
	if failure != nil {
		return nil, failure
	}
	return save("killed", names, chain)
}

// repeated sends one newOrder twice before anything is proven.
func (m *certManager) repeated(ctx context.Context) (*obtained, error) {
	identifiers, _ := sorted([]string{m.walk.name("repeated")})
	first, err := m.client.AuthorizeOrder(ctx, identifiers)
	if err != nil {
		return nil, err
	}
	second, err := m.client.AuthorizeOrder(ctx, identifiers)
	if err == nil && first.URI != second.URI {
		err = fmt.Errorf("%s, then %s", first.URI, second.URI)
	}
	return nil, err
}

// renew asks for the window as cert-manager does at once after an issuance, and replaces the certificate.
func (m *certManager) renew(ctx context.Context) (*obtained, error) {
	leaf, err := leafOf("http.pem")
	if err != nil {
		return nil, err
	}
	information, err := m.client.GetRenewalInfo(ctx, leaf)
	if err != nil {
		return nil, err
	}
	if !information.SuggestedWindow.Start.After(time.Now()) {
		return nil, errors.New("the window of a new certificate has begun: cert-manager would issue again and again (AI-3)")
	}
	replaces, err := acme.WithOrderReplacesCertificate(leaf)
	if err != nil {
		return nil, err
	}
	return m.issue(ctx, wanted{"http-01", "renewed", []string{m.walk.name("http")}, false, []acme.OrderOption{replaces}})
}

func (m *certManager) refusedReplaces(ctx context.Context) (*obtained, error) {
	leaf, err := leafOf("http.pem")
	if err != nil {
		return nil, err
	}
	replaces, err := acme.WithOrderReplacesCertificate(leaf)
	if err != nil {
		return nil, err
	}
	_, err = m.client.AuthorizeOrder(ctx, acme.DomainIDs(m.walk.name("http")), replaces)
	var problem *acme.Error
	if !errors.As(err, &problem) || problem.StatusCode < 400 || problem.StatusCode > 499 {
		return nil, fmt.Errorf("a second replacement gave %v", err)
	}
	if !bytes.Contains([]byte(problem.Detail+problem.ProblemType), []byte("eplace")) {
		return nil, fmt.Errorf("cert-manager would not try again without replaces: %s", problem.Detail)
	}
	return nil, nil
}

// sorted are the identifiers as the controller sends them, and a request for the same names.
func sorted(names []string) ([]acme.AuthzID, *x509.CertificateRequest) {
	if address := net.ParseIP(names[0]); address != nil {
		return acme.IPIDs(names...), &x509.CertificateRequest{IPAddresses: []net.IP{address}}
	}
	inOrder := slices.Sorted(slices.Values(names))
	return acme.DomainIDs(inOrder...), &x509.CertificateRequest{DNSNames: inOrder}
}
